//! The generations that were in force, as they are listed.

use jiff::Timestamp;

use crate::{
    kernel::{self, Pins, State},
    repository::History,
    telemetry::{Generation, HistoryList},
};

/// The generations that are kept, newest first.
///
/// # Errors
/// The filter's state in the kernel cannot be read.
pub fn generations(history: &History, pins: &Pins) -> Result<HistoryList, kernel::Error> {
    let in_force = State::read(pins)?.map(|state| state.generation);
    let entries = history.entries();
    let time = |since: &str| since.parse::<Timestamp>().ok();
    let ends = entries.iter().skip(1).map(|entry| time(&entry.since)).chain([Some(Timestamp::now())]);
    let generations = entries.iter().zip(ends).map(|(entry, end)| Generation {
        generation: entry.generation,
        in_force: Some(entry.generation) == in_force,
        policy_hash: entry.policy_hash.clone(),
        commit: entry.commit.clone(),
        report: entry.report,
        by: entry.by.clone(),
        since: entry.since.clone(),
        seconds: time(&entry.since)
            .zip(end)
            .map_or(0, |(since, end)| u64::try_from(end.duration_since(since).as_secs()).unwrap_or(0)),
        rollback_of: entry.rollback_of,
        kept: entry.files.is_some(),
        policy: entry.policy.clone(),
    });
    let mut generations: Vec<Generation> = generations.collect();
    generations.reverse();
    Ok(HistoryList { held: history.hold(), generations })
}
