//! Telemetry: everything Ringfence reports, as types.
//!
//! [`PacketEvent`] is one packet that was dropped, or would have been. [`Notice`] is something that happened to the filter
//! or its policy, and the periodic [`Table`] of counters. Both serialise to one JSON object whose first field, `event`,
//! names its kind, and both print as text. The [`Bus`] carries them, as [`Message`]s, to the outputs and the API.
//! [`Status`] is the state at one moment.
//!
//! The JSON is a contract, docs/telemetry.md: a test compares it with the types here, and field names and their order are fixed by
//! others. New fields may be added; readers must ignore fields they do not know.

mod answers;
mod bans;
mod bus;
mod capture;
mod clock;
#[cfg(test)]
pub(crate) mod contract;
mod filter;
mod history;
mod listener;
mod message;
mod meter;
mod metrics;
mod notice;
mod packet;
mod pcapng;
mod sample;
mod sampling;
mod source;
mod status;
mod table;
mod talkers;
mod upstreams;

pub use self::{
    answers::{AnswerCounts, Answers, Unanswered},
    bans::{Ban, BanList, Lifted, Unbanned},
    bus::{Bus, CAPTURES, DEFAULT_RECENT, Delivery, Interest, QUEUE, RESPONDER, Subscription},
    capture::{CapturedPacket, is_answered},
    clock::wall_clock,
    filter::{EventFilter, EventQuery, FILTER_KEYS, FilterError, MODES, NumberPrefix, Source, VERDICTS, mode},
    history::{Generation, Held, HistoryList, Hold, RolledBack},
    listener::{Heard, Listener},
    message::Message,
    meter::{EventReader, Meter, Unread},
    metrics::{ClientCounts, Clients, Metric, MetricType, Reading, ReloadErrors, Scrape, ScrapeCounts, Scrapes},
    notice::{
        Detached, Finding, Gone, Missed, Notice, PolicyError, PolicyWarning, Reattached, Reloaded, Removed, Started,
        Stopped,
    },
    packet::PacketEvent,
    pcapng::{Pcapng, PcapngBlock, PcapngBlocks},
    sample::{Fate, Sample},
    sampling::{DEFAULT_SAMPLES, Sampling, captured_kinds},
    source::{SourceError, SourceRestored, SourceRewritten, SourceStatus, Unchanged},
    status::{DaemonFacts, DaemonState, FilterState, InterfacePackets, InterfaceStatus, OutputStatus, Status},
    table::{Reasons, RuleMode, RuleRow, Table, Tables},
    talkers::{Estimate, Series, Suggestion, Suggestions, Talkers, Top, TopBy, TopQuery, TopRow, TopSort},
    upstreams::{UpstreamCap, UpstreamContact, UpstreamList, UpstreamRow},
};

/// The start of a hash, as much as people compare.
pub(crate) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// The start of a commit's ID, with the mark of files that are not as they are in the commit.
pub(crate) fn short_commit(commit: &str) -> String {
    let mark = if commit.ends_with("-dirty") { "-dirty" } else { "" };
    format!("{}{mark}", short(commit))
}

/// A captured packet for tests of other rooms.
#[cfg(test)]
pub(crate) fn captured_example(payload: &[u8]) -> CapturedPacket {
    CapturedPacket::example(payload)
}
