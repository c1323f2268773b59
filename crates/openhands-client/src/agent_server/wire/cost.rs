//! The cost of a conversation.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A cost in US dollars, or unknown, which is not the same as 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Cost(Option<f64>);

impl Cost {
    /// Creates a known cost.
    #[must_use]
    pub const fn dollars(dollars: f64) -> Self {
        Self(Some(dollars))
    }

    /// Returns the US dollars, if they are known.
    #[must_use]
    pub fn known(self) -> Option<f64> {
        self.0
    }

    /// Returns whether the cost is unknown.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.is_none()
    }

    /// Returns this cost, or the other one if this one is unknown.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }

    /// Returns the larger cost: a cost never decreases, and a server may report it late.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        if other.0 > self.0 { other } else { self }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(dollars) => write!(f, "${dollars:.4}"),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_cost_only_grows() {
        assert_eq!(Cost::dollars(0.5).or_more(Cost::dollars(0.4)), Cost::dollars(0.5));
        assert_eq!(Cost::dollars(0.4).or_more(Cost::dollars(0.5)), Cost::dollars(0.5));
        assert_eq!(Cost::dollars(0.0).or_more(Cost::default()), Cost::dollars(0.0));
        assert_eq!(Cost::default().or_more(Cost::dollars(0.0)), Cost::dollars(0.0));
    }
}
