//! The usage of a conversation: tokens and cost for each usage id.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Cost;

/// The maximum number of usage ids that are kept. A conversation has one for its agent, one for its condenser, and few others.
const MOST_IDS: usize = 64;

/// `stats.usage_to_metrics`: tokens and cost for each usage id. Empty before the first message.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Usage {
    metrics: BTreeMap<String, Metrics>,
}

/// The usage of one LLM.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// The cost in US dollars.
    pub cost: Cost,
    /// The number of tokens.
    pub tokens: Tokens,
}

/// Token counts, as the server reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Tokens {
    /// Prompt tokens.
    #[serde(rename = "prompt_tokens")]
    pub prompt: u64,
    /// Completion tokens.
    #[serde(rename = "completion_tokens")]
    pub completion: u64,
    /// Prompt tokens that were read from a cache.
    #[serde(rename = "cache_read_tokens")]
    pub cache_read: u64,
    /// Prompt tokens that were written to a cache.
    #[serde(rename = "cache_write_tokens")]
    pub cache_write: u64,
    /// Completion tokens that the LLM used for reasoning.
    #[serde(rename = "reasoning_tokens")]
    pub reasoning: u64,
}

impl Usage {
    /// Reads a `stats` object. An object of an unexpected form counts as empty.
    #[must_use]
    pub fn parse(stats: &str) -> Self {
        serde_json::from_str(stats).unwrap_or_default()
    }

    /// Returns the metrics by usage id, such as `agent` and `condenser`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Metrics)> {
        self.metrics.iter().map(|(id, metrics)| (id.as_str(), metrics))
    }

    /// Returns whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }

    /// Returns the sum of all costs; unknown if none is known.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let known = self.metrics.values().filter_map(|metrics| metrics.cost.known());
        known
            .fold(None, |sum: Option<f64>, cost| Some(sum.unwrap_or(0.0) + cost))
            .map(Cost::dollars)
            .unwrap_or_default()
    }

    /// Returns the sum of all tokens.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.metrics.values().fold(Tokens::default(), |sum, Metrics { tokens, .. }| Tokens {
            prompt: sum.prompt.saturating_add(tokens.prompt),
            completion: sum.completion.saturating_add(tokens.completion),
            cache_read: sum.cache_read.saturating_add(tokens.cache_read),
            cache_write: sum.cache_write.saturating_add(tokens.cache_write),
            reasoning: sum.reasoning.saturating_add(tokens.reasoning),
        })
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Stats<'s> {
            #[serde(borrow, default)]
            usage_to_metrics: Option<&'s RawValue>,
        }
        let stats = Stats::deserialize(deserializer)?;
        let entries = stats.usage_to_metrics.and_then(|raw| serde_json::from_str::<Entries>(raw.get()).ok());
        Ok(Self { metrics: entries.map(|entries| entries.0).unwrap_or_default() })
    }
}

/// The first entries of a map, up to the maximum.
struct Entries(BTreeMap<String, Metrics>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("metrics by usage id")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = BTreeMap::new();
                while entries.len() < MOST_IDS {
                    let Some((id, raw)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? else {
                        return Ok(Entries(entries));
                    };
                    entries.extend(metrics(raw.get()).map(|metrics| (id.into_owned(), metrics)));
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// Reads metrics without the lists of single calls. An impossible cost counts as unknown.
fn metrics(raw: &str) -> Option<Metrics> {
    #[derive(Deserialize)]
    struct Form<'m> {
        #[serde(borrow, default)]
        accumulated_cost: Option<&'m RawValue>,
        #[serde(borrow, default)]
        accumulated_token_usage: Option<&'m RawValue>,
    }
    fn read<'r, T: Deserialize<'r>>(raw: Option<&'r RawValue>) -> Option<T> {
        serde_json::from_str(raw?.get()).ok()
    }
    let form: Form<'_> = serde_json::from_str(raw).ok()?;
    let cost = read::<f64>(form.accumulated_cost).filter(|dollars| dollars.is_finite() && *dollars >= 0.0);
    let tokens = read::<Tokens>(form.accumulated_token_usage).unwrap_or_default();
    Some(Metrics { cost: cost.map(Cost::dollars).unwrap_or_default(), tokens })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_and_tokens_are_summed_over_the_usage_ids() {
        let usage = Usage::parse(
            r#"{"usage_to_metrics":{"agent":{"accumulated_cost":0.5,"accumulated_token_usage":{"prompt_tokens":20,"completion_tokens":4,"x":1},
                "costs":[1,2]},"condenser":{"accumulated_cost":0.25,"accumulated_token_usage":null}}}"#,
        );
        assert_eq!(usage.cost(), Cost::dollars(0.75));
        assert_eq!((usage.tokens().prompt, usage.tokens().completion), (20, 4));
        assert_eq!(usage.iter().map(|(id, _)| id).collect::<Vec<_>>(), ["agent", "condenser"]);
    }

    #[test]
    fn what_is_not_there_is_unknown_and_not_zero() {
        for stats in ["", "null", "[null]", "{}", r#"{"usage_to_metrics":{}}"#, r#"{"usage_to_metrics":[1]}"#] {
            assert!(Usage::parse(stats).cost().is_unknown(), "{stats}");
        }
        assert_eq!(Usage::parse(r#"{"usage_to_metrics":{"a":{"accumulated_cost":0.0}}}"#).cost(), Cost::dollars(0.0));
    }

    #[test]
    fn a_cost_that_cannot_be_is_unknown() {
        for cost in ["-10", "1e999", "\"1\"", "null", "[]"] {
            let usage = Usage::parse(&format!(r#"{{"usage_to_metrics":{{"a":{{"accumulated_cost":{cost}}}}}}}"#));
            assert!(usage.cost().is_unknown(), "{cost}");
        }
    }

    #[test]
    fn a_map_without_end_is_cut() {
        let entries: Vec<String> = (0..1000).map(|n| format!(r#""{n:04}":{{"accumulated_cost":1}}"#)).collect();
        let usage = Usage::parse(&format!(r#"{{"usage_to_metrics":{{{}}}}}"#, entries.join(",")));
        assert_eq!(usage.iter().count(), MOST_IDS);
    }
}
