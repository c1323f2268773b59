//! What a conversation has cost.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// US dollars, or unknown. Unknown is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Cost(Option<f64>);

impl Cost {
    /// A known cost.
    #[must_use]
    pub const fn dollars(dollars: f64) -> Self {
        Self(Some(dollars))
    }

    /// US dollars, if known.
    #[must_use]
    pub fn known(self) -> Option<f64> {
        self.0
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.is_none()
    }

    /// This cost, or the other where this one is unknown.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }

    /// The larger of both: a cost only grows, and a server may tell of it late.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        if other.0 > self.0 { other } else { self }
    }

    /// The sum over the entries of `stats.usage_to_metrics`; unknown when there is none, as before the first message.
    #[must_use]
    pub fn of_stats(stats: Option<&Value>) -> Self {
        let entries = stats.and_then(|stats| stats.get("usage_to_metrics")).and_then(Value::as_object);
        let costs: Vec<f64> = entries
            .into_iter()
            .flat_map(Map::values)
            .filter_map(|entry| entry.get("accumulated_cost")?.as_f64())
            .collect();
        if costs.is_empty() { Self(None) } else { Self(Some(costs.iter().sum())) }
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
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_cost_is_not_zero_and_a_known_one_only_grows() {
        assert!(Cost::of_stats(None).is_unknown());
        assert!(Cost::of_stats(Some(&json!({"usage_to_metrics": {}}))).is_unknown());
        assert!(Cost::of_stats(Some(&json!([null]))).is_unknown());
        assert_eq!(Cost::dollars(0.5).or_more(Cost::dollars(0.4)), Cost::dollars(0.5));
        assert_eq!(Cost::dollars(0.4).or_more(Cost::dollars(0.5)), Cost::dollars(0.5));
        assert_eq!(Cost::dollars(0.0).or_more(Cost::default()), Cost::dollars(0.0));
        assert_eq!(Cost::default().or_more(Cost::dollars(0.0)), Cost::dollars(0.0));
        let free = json!({"usage_to_metrics": {"default": {"accumulated_cost": 0.0}}});
        assert_eq!(Cost::of_stats(Some(&free)), Cost::dollars(0.0));
    }
}
