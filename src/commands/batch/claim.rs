//! Finds sandboxes that an earlier process of the batch requested but whose ids it could not record.
//!
//! A sandbox in OpenHands Cloud has no name that we choose. A sandbox is ours if it was created when we requested one, if this
//! batch does not know it, and if there are at most as many such sandboxes as unanswered requests. If there are more, they may
//! belong to another job: they are left and reported.

use openhands_client::collections::inserted;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use openhands_client::cloud::sandboxes::{SandboxInfo, Sandboxes};
use openhands_client::ids::SandboxId;
use openhands_client::retry::{Policy, retry};
use openhands_client::sandbox::SandboxError;
use openhands_client::text;
use tokio::time::{Instant, sleep};

use crate::batch::ledger::{Past, Records};
use crate::outcome::Failure;

/// The maximum difference of the clocks, together with the time that a request may wait.
const BEFORE: SignedDuration = SignedDuration::from_secs(60);
const AFTER: SignedDuration = SignedDuration::from_secs(120);

/// Assigns the sandboxes of cut-off requests to the rows that requested them. Returns the keys of the rows whose sandbox was
/// found.
///
/// # Errors
/// The sandboxes of the account cannot be listed.
pub(super) async fn claim(
    sandboxes: &Sandboxes,
    records: &mut Records,
) -> Result<BTreeMap<String, SandboxId>, Failure> {
    let open: Vec<(String, Timestamp)> =
        records.rows.iter().filter_map(|(key, past)| Some((key.clone(), requested(past)?))).collect();
    let Some(first) = open.iter().map(|(_, requested)| *requested).min() else { return Ok(BTreeMap::new()) };
    let limits = sandboxes.http().time_limits();
    let deadline = Instant::now() + limits.sandbox_shows_up;
    let is_recent = open.iter().any(|(_, requested)| {
        Timestamp::now().duration_since(*requested) < SignedDuration::try_from(limits.sandbox_shows_up).unwrap_or(AFTER)
    });
    let found = loop {
        let found = unknown(sandboxes, records, &open, first - BEFORE).await?;
        if found.len() >= open.len() || !is_recent || Instant::now() >= deadline {
            break found;
        }
        sleep(limits.confirm_again).await;
    };
    if found.len() > open.len() {
        let ids: Vec<String> = found.iter().map(ToString::to_string).collect();
        tracing::warn!(
            "{} requests for a sandbox were cut off, and {} sandboxes were made meanwhile: {}; delete those that no one else created with `openhands-runner sandbox delete ID`",
            open.len(),
            ids.len(),
            text::listed(&ids)
        );
        return Ok(BTreeMap::new());
    }
    let claimed: BTreeMap<String, SandboxId> = inserted(open.into_iter().map(|(key, _)| key).zip(found));
    for (key, id) in &claimed {
        tracing::info!(sandbox = %id, row = %key, "found the sandbox of a request that was cut off");
        if let Some(under_way) = records.rows.get_mut(key).and_then(|past| past.under_way.as_mut()) {
            under_way.requested = None;
            under_way.sandbox = Some(id.to_string());
        }
    }
    Ok(claimed)
}

/// Returns when the sandbox of a row was requested, if the result of the request is unknown.
fn requested(past: &Past) -> Option<Timestamp> {
    let under_way = past.under_way.as_ref().filter(|under_way| under_way.sandbox.is_none())?;
    under_way.requested.as_deref()?.parse().ok()
}

/// Returns the sandboxes that were created when one of ours was requested and that the batch does not know.
async fn unknown(
    sandboxes: &Sandboxes,
    records: &Records,
    open: &[(String, Timestamp)],
    oldest: Timestamp,
) -> Result<Vec<SandboxId>, Failure> {
    let policy = || Policy::cloud(sandboxes.http().time_limits());
    let mut found = Vec::new();
    let mut page_id: Option<String> = None;
    loop {
        let search = || sandboxes.search(page_id.as_deref());
        let page = retry("looking for sandboxes", policy(), search).await;
        let page = page.map_err(|error| Failure::from(SandboxError::request("looking for sandboxes")(error)))?;
        let mut is_over = page.items.is_empty();
        for info in &page.items {
            let Some(made) = made_at(info) else { continue };
            is_over |= made < oldest;
            let is_ours = |requested: &Timestamp| made >= *requested - BEFORE && made <= *requested + AFTER;
            if !records.sandboxes.contains(&info.id) && open.iter().any(|(_, requested)| is_ours(requested)) {
                found.push(SandboxId::new(&*info.id));
            }
        }
        page_id = page.next_page_id;
        if is_over || page_id.is_none() {
            return Ok(found);
        }
    }
}

/// Parses the creation time. The Cloud writes it in UTC, with or without an offset.
fn made_at(info: &SandboxInfo) -> Option<Timestamp> {
    let text = info.created_at.as_deref()?;
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}
