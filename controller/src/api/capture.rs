//! Captured packets as the body of an answer: a pcapng file that is written as they come.

use std::{convert::Infallible, fmt, time::Duration};

use axum::body::Bytes;
use filter_core::layout::{Observed, STRATA, Stratum};
use filter_policy::language::diagnostics::suggest;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};

use crate::{
    kernel::{Observer, Pins},
    telemetry::{
        Bus, CAPTURES, EventFilter, FILTER_KEYS, FilterError, Interest, Message, Pcapng, QUEUE, Subscription,
        wall_clock,
    },
};

/// Blocks that wait for a reader. While they wait, packets wait on the bus, where those that find no room are counted.
const WAITING: usize = 16;

/// Time between two counts of what was lost.
const STATISTICS: Duration = Duration::from_secs(1);

/// How long packets that came in time may take until they are here.
const LATE: Duration = Duration::from_millis(400);

/// The longest capture, in seconds: a week.
const LONGEST: u64 = 7 * 86_400;

/// The query of a request for captured packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureQuery {
    /// Which packets.
    pub filter: EventFilter,
    /// Also those that pass.
    pub passed: bool,
    /// End after so many packets.
    pub count: Option<u64>,
    /// End after so many seconds.
    pub seconds: Option<u64>,
}

impl CaptureQuery {
    /// Reads the query of a URI.
    ///
    /// # Errors
    /// A parameter or its value is wrong.
    pub fn parse(query: &str) -> Result<Self, FilterError> {
        let mut parsed = Self::default();
        for (key, word) in form_urlencoded::parse(query.as_bytes()) {
            let wrong =
                |key, help: &str| FilterError::Word { key, found: word.to_string(), help: Some(help.to_owned()) };
            let number =
                |key| word.parse().ok().filter(|number| *number > 0).ok_or_else(|| wrong(key, "write a number"));
            match key.as_ref() {
                "count" => parsed.count = Some(number("count")?),
                "seconds" => parsed.seconds = Some(number("seconds")?.min(LONGEST)),
                "passed" => parsed.passed = word.parse().map_err(|_| wrong("passed", "write true or false"))?,
                key => {
                    if !parsed.filter.add(key, &word)? {
                        let known = ["count", "passed", "seconds"].into_iter().chain(FILTER_KEYS);
                        return Err(FilterError::Key { found: key.to_owned(), help: suggest(key, known) });
                    }
                }
            }
        }
        Ok(parsed)
    }
}

/// The query for a URI.
impl fmt::Display for CaptureQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("passed", if self.passed { "true" } else { "false" });
        for (key, value) in [("count", self.count), ("seconds", self.seconds)] {
            value.iter().for_each(|value| {
                query.append_pair(key, &value.to_string());
            });
        }
        query.extend_pairs(self.filter.words());
        f.write_str(&query.finish())
    }
}

/// A capture that has begun: packets wait for it.
pub(super) struct Capture {
    subscription: Subscription,
    observer: Option<Observer>,
    before: Observed,
    query: CaptureQuery,
}

impl Capture {
    /// Captures at a time. Each may have a queue full of packets with their bytes.
    pub(super) const MOST: usize = 4;

    /// Subscribes to captured packets; none if there are as many captures as there may be.
    pub(super) fn begin(bus: &Bus, pins: &Pins, query: CaptureQuery) -> Option<Self> {
        let interest = if query.passed { Interest::CAPTURES | Interest::PASSED } else { Interest::CAPTURES };
        let observer = Observer::open(pins).ok();
        // Before the program is asked for packets, so that what is lost from the first one on is counted.
        let before = observed(observer.as_ref());
        let subscription = bus.subscribe_one_of(CAPTURES, interest, QUEUE, Self::MOST)?;
        Some(Self { subscription, observer, before, query })
    }

    /// Packets that were to be captured and were not, by whatever filter.
    fn lost(&self) -> u64 {
        let now = observed(self.observer.as_ref());
        let kinds = if self.query.passed { 0..STRATA } else { Stratum::Would.index()..STRATA };
        let lost = |observed: &Observed| -> u64 {
            let lost = |kind: usize| observed.captures_lost[kind].wrapping_add(observed.captures_suppressed[kind]);
            kinds.clone().map(lost).sum()
        };
        self.subscription.lost() + lost(&now).saturating_sub(lost(&self.before))
    }

    /// The blocks of the file.
    pub(super) fn blocks(self) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(self.write(sender));
        ReceiverStream::new(receiver).map(|block| Ok(Bytes::from(block)))
    }

    async fn write(mut self, sender: mpsc::Sender<Vec<u8>>) {
        let mut file = Pcapng::default();
        let seconds = self.query.seconds;
        let end = seconds
            .map(|seconds| (Instant::now() + Duration::from_secs(seconds), wall_clock() + seconds * 1_000_000_000));
        let mut tick = interval(STATISTICS);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut captured = 0;
        let mut is_read = sender.send(Pcapng::header()).await.is_ok();
        while is_read && self.query.count.is_none_or(|count| captured < count) {
            tokio::select! {
                biased;
                () = sender.closed() => return,
                _ = tick.tick() => {
                    if let Some(block) = file.statistics(wall_clock(), captured, self.lost(), false) {
                        is_read = sender.send(block).await.is_ok();
                    }
                }
                // Before the end: what has come in time and waits here belongs to the file, however slow its reader is.
                message = self.subscription.next() => {
                    let Some(message) = message else { break };
                    let Message::Captured(packet) = message else { continue };
                    if end.is_some_and(|(_, end)| packet.nanoseconds > end) {
                        break;
                    }
                    if self.query.filter.matches_captured(&packet) {
                        captured += 1;
                        is_read = sender.send(file.packet(&packet)).await.is_ok();
                    }
                }
                () = until(end.map(|(end, _)| end + LATE)) => break,
            }
        }
        if let Some(block) = file.statistics(wall_clock(), captured, self.lost(), true) {
            let _ = sender.send(block).await;
        }
    }
}

fn observed(observer: Option<&Observer>) -> Observed {
    observer.and_then(|observer| observer.observed().ok()).unwrap_or_default()
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_reads_back_as_what_it_was_written_from() {
        let text = "passed=true&count=5&seconds=60&rule=scanners&source=10.0.0.0%2F8";
        let query = CaptureQuery::parse(text).unwrap();
        assert_eq!((query.passed, query.count, query.seconds), (true, Some(5), Some(60)));
        assert_eq!(query.to_string(), text);
    }

    #[test]
    fn a_wrong_query_is_a_mistake_that_says_what_to_write() {
        let mistake = |text: &str| CaptureQuery::parse(text).unwrap_err().to_string();
        assert_eq!(mistake("count=0"), "`count` cannot be `0`: write a number");
        assert_eq!(mistake("passed=maybe"), "`passed` cannot be `maybe`: write true or false");
        assert_eq!(mistake("secconds=5"), "there is no parameter `secconds`: did you mean `seconds`?");
    }
}
