//! Decides which of the sandboxes that appeared after a failed request was created by that request. Pure.
//!
//! A provider that can identify our sandboxes (`knows_its_own`) lists only ours. OpenHands Cloud lists every new sandbox of the
//! account, and another job may create one at the same moment. So the list is read until it is settled: long enough after the
//! request for our sandbox to be listed, and unchanged since the previous reading.
//!
//! | listed | the provider knows its own | the server said that it created none | settled | time limit reached | verdict |
//! | --- | --- | --- | --- | --- | --- |
//! | none | any | any | any | no | check again |
//! | none | any | any | any | yes | nothing is left |
//! | one | yes | any | any | any | it is ours |
//! | one | no | no | yes | any | it is ours |
//! | one | no | yes | any | any | uncertain: the server said that it created none |
//! | one | no | no | no | no, or new since the previous check | check again |
//! | one | no | no | no | yes | uncertain: ours may not be listed yet |
//! | several | yes | any | any | any | uncertain: only one can be ours |
//! | several | no | yes | any | any | uncertain |
//! | several | no | no | yes | any | uncertain |
//! | several | no | no | no | no, or new since the previous check | check again |
//! | several | no | no | no | yes | uncertain |
//!
//! An uncertain sandbox is never deleted. The user gets its id.

/// The known facts after the sandboxes were listed.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "the columns of the table above")]
pub(super) struct Sighting {
    /// The number of listed sandboxes that may be ours.
    pub(super) listed: usize,
    /// The number of sandboxes that the previous check listed; `None` for the first check.
    pub(super) listed_before: Option<usize>,
    /// Whether this check and the previous one list the same sandboxes.
    pub(super) is_unchanged: bool,
    /// Whether the provider lists only our sandboxes.
    pub(super) knows_its_own: bool,
    /// Whether the server has said that it created no sandbox.
    pub(super) refused: bool,
    /// Whether enough time has passed for our sandbox to be listed.
    pub(super) had_time_to_show: bool,
    /// Whether the time limit is reached.
    pub(super) is_late: bool,
}

/// The conclusion from a list of sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The request has created nothing.
    Nothing,
    /// The only listed sandbox is ours.
    Ours,
    /// Each of the listed sandboxes may belong to another job.
    Uncertain,
    /// It is too early for a conclusion.
    LookAgain,
}

impl Sighting {
    /// Returns the verdict according to the table above.
    pub(super) fn verdict(self) -> Verdict {
        let is_settled = self.had_time_to_show && self.is_unchanged;
        // A sandbox that has only just appeared is checked once more, even after the time limit.
        let is_over = self.is_late && self.listed_before.is_some_and(|before| before > 0);
        match self.listed {
            0 if self.is_late => Verdict::Nothing,
            0 => Verdict::LookAgain,
            1 if self.knows_its_own || (is_settled && !self.refused) => Verdict::Ours,
            _ if self.knows_its_own || is_settled || self.refused || is_over => Verdict::Uncertain,
            _ => Verdict::LookAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_taken_for_ours_only_where_that_is_certain() {
        let cloud = Sighting {
            listed: 1,
            listed_before: Some(1),
            is_unchanged: true,
            knows_its_own: false,
            refused: false,
            had_time_to_show: true,
            is_late: false,
        };
        let own = Sighting { knows_its_own: true, ..cloud };
        let early = Sighting { had_time_to_show: false, ..cloud };
        let first = Sighting { listed_before: None, is_unchanged: false, ..cloud };
        let changed = Sighting { is_unchanged: false, ..cloud };
        let (late, refused) = (|look| Sighting { is_late: true, ..look }, |look| Sighting { refused: true, ..look });
        let listed = |listed, look| Sighting { listed, ..look };
        let none_before = |look| Sighting { listed_before: Some(0), is_unchanged: false, ..look };
        for (claim, sighting, verdict) in [
            ("nothing yet", listed(0, none_before(cloud)), Verdict::LookAgain),
            ("nothing, first look", listed(0, first), Verdict::LookAgain),
            ("nothing to the end", late(listed(0, cloud)), Verdict::Nothing),
            ("nothing, at a provider that knows its own", late(listed(0, own)), Verdict::Nothing),
            ("one at a provider that knows its own", own, Verdict::Ours),
            ("one there, at the first look", Sighting { knows_its_own: true, ..first }, Verdict::Ours),
            ("one there, though refused", refused(own), Verdict::Ours),
            ("two at a provider that knows its own", listed(2, own), Verdict::Uncertain),
            ("one, settled", cloud, Verdict::Ours),
            ("one, settled, late", late(cloud), Verdict::Ours),
            ("one, at the first look", first, Verdict::LookAgain),
            ("one, too early", early, Verdict::LookAgain),
            ("one, another than before", changed, Verdict::LookAgain),
            ("one, another than before, late", late(changed), Verdict::Uncertain),
            ("one, new and late", late(none_before(cloud)), Verdict::LookAgain),
            ("one, refused", refused(cloud), Verdict::Uncertain),
            ("one, refused, at the first look", refused(first), Verdict::Uncertain),
            ("two, settled", listed(2, cloud), Verdict::Uncertain),
            ("two, at the first look", listed(2, first), Verdict::LookAgain),
            ("two, refused", refused(listed(2, first)), Verdict::Uncertain),
            ("two, changed, late", late(listed(2, changed)), Verdict::Uncertain),
            ("two, new and late", late(listed(2, none_before(cloud))), Verdict::LookAgain),
        ] {
            assert_eq!(sighting.verdict(), verdict, "{claim}");
        }
    }
}
