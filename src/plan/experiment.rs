//! Chooses the variant of an experiment for a run.

use openhands_client::collections::inserted;
use std::collections::BTreeMap;

use openhands_client::agent_server::plugin::PluginSource;
use openhands_client::ids::RunId;
use uuid::Uuid;

use crate::input::task::plugins::{Experiment, Variant};

/// Separates these choices from the derived ids of other programs.
const NAMESPACE: Uuid = Uuid::from_u128(0x3f1d_6b2a_90c4_4e57_b0d8_7a15_2c4e_81f6);

/// The longest value of a tag (agent-server 1.16.1 and later).
const LONGEST_TAG: usize = 256;

/// Chooses a variant by the weights. The choice is always the same for the same run, because it may be restarted.
pub(super) fn choose(experiment: &Experiment, run: Option<&RunId>) -> Option<Variant> {
    let total: u64 = experiment.variants.iter().map(|variant| u64::from(variant.weight)).sum();
    let id = match run {
        Some(run) => Uuid::new_v5(&NAMESPACE, format!("{} {run}", experiment.experiment_id).as_bytes()),
        None => Uuid::new_v4(),
    };
    // The first four bytes contain neither the version nor the variant of the UUID, so they are evenly distributed.
    let [a, b, c, d, ..] = id.into_bytes();
    let mut point = (u64::from(u32::from_be_bytes([a, b, c, d])) * total) >> 32;
    experiment
        .variants
        .iter()
        .find(|variant| {
            let weight = u64::from(variant.weight);
            let chosen = point < weight;
            point = point.saturating_sub(weight);
            chosen
        })
        .cloned()
}

/// Returns the tags that distinguish the runs of an experiment, with the names of the automation service's own script
/// (`openhands-automation` 1.25.0). `profile` is the requested profile, even if it does not exist.
pub(super) fn tags(experiment: &Experiment, variant: &Variant, profile: Option<&str>) -> BTreeMap<String, String> {
    let known = [
        ("experimentid", Some(experiment.experiment_id.as_str())),
        ("variant", Some(variant.name.as_str())),
        ("modelprofile", profile),
    ];
    inserted(known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), shortened(value?)))))
}

/// Returns the tag with the plugins, if any of them has a web page.
pub(super) fn plugin_tag(plugins: &[PluginSource]) -> Option<(String, String)> {
    let pages: Vec<String> = plugins.iter().filter_map(PluginSource::page).collect();
    (!pages.is_empty()).then(|| ("plugins".to_owned(), shortened(&pages.join(","))))
}

fn shortened(value: &str) -> String {
    value.chars().take(LONGEST_TAG).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn experiment() -> Experiment {
        let variants = json!([{"name": "A", "weight": 1}, {"name": "B", "weight": 3}, {"name": "C", "weight": 6}]);
        serde_json::from_value(json!({"experiment_id": "exp", "variants": variants})).unwrap()
    }

    #[test]
    fn variants_are_chosen_as_their_weights_say() {
        let mut counts = BTreeMap::new();
        for number in 0..20_000 {
            let variant = choose(&experiment(), Some(&RunId::new(format!("run-{number}")))).unwrap();
            *counts.entry(variant.name).or_insert(0) += 1;
        }
        for (name, expected) in [("A", 2000), ("B", 6000), ("C", 12_000)] {
            let count: i32 = counts[name];
            // Five standard deviations. The ids are fixed, so the test either always passes or always fails.
            assert!((count - expected).abs() < 350, "{name}: {count}");
        }
    }

    #[test]
    fn a_run_that_starts_again_takes_the_same_variant() {
        let run = RunId::new("run");
        assert_eq!(choose(&experiment(), Some(&run)), choose(&experiment(), Some(&run)));
        assert!(choose(&experiment(), None).is_some());
    }
}
