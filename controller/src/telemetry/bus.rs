//! The bus: carries messages from the daemon's loop to the outputs and the API.
//!
//! Publishing never waits. Each subscriber has a queue of its own; what does not fit is lost to that subscriber alone, and
//! counted.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    ops::BitOr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc;

use super::{
    AnswerCounts, ClientCounts, DaemonFacts, EventFilter, Listener, Message, Notice, OutputStatus, PacketEvent,
    ScrapeCounts, SourceStatus, listener::Listeners,
};

/// How many messages an output may be behind before it loses some.
pub const QUEUE: usize = 1024;

/// How many packet events the bus keeps for readers that come later.
pub const DEFAULT_RECENT: usize = 1000;

/// The place in each queue that only the last message may take, so that a reader that has fallen behind still learns how
/// the daemon ended.
const RESERVED: usize = 1;

/// Which messages a subscriber gets: a set, such as `Interest::NOTICES | Interest::PACKETS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(u8);

impl Interest {
    /// Notices, with the table.
    pub const NOTICES: Self = Self(1);
    /// Packet events.
    pub const PACKETS: Self = Self(1 << 1);
    /// Packets with their bytes that were dropped, or would have been.
    pub const CAPTURES: Self = Self(1 << 2);
    /// Packets with their bytes that passed.
    pub const PASSED: Self = Self(1 << 3);
    /// Packets with their bytes that were dropped, and that a rule answers.
    pub const ANSWERED: Self = Self(1 << 4);

    /// True if all of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if something is in both sets.
    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The kinds of a message: whoever wants one of them gets it.
    fn of(message: &Message) -> Self {
        match message {
            Message::Captured(packet) if packet.has_passed() => Self::PASSED,
            Message::Captured(packet) if packet.is_to_be_answered() => Self::CAPTURES | Self::ANSWERED,
            Message::Captured(_) => Self::CAPTURES,
            Message::Notice(_) => Self::NOTICES,
            Message::Packet(_) => Self::PACKETS,
        }
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How a message is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The last message before the bus closes.
    Last,
    /// Any other message.
    Normal,
}

/// A subscriber's end of its queue.
#[derive(Debug)]
pub struct Subscription {
    receiver: mpsc::Receiver<Message>,
    /// See [`Queue::lost`].
    lost_here: Arc<AtomicU64>,
    /// See [`Queue::lost_by_reader`].
    lost: Arc<AtomicU64>,
    /// See [`Queue::left_out`].
    left_out: Arc<AtomicU64>,
}

impl Subscription {
    /// Waits for the next message; none when the bus has closed and the queue is empty. Blocks the thread.
    ///
    /// # Panics
    /// In an asynchronous task.
    pub fn next_blocking(&mut self) -> Option<Message> {
        self.receiver.blocking_recv()
    }

    /// Says how many of the messages that it got the subscriber could not hand on, all in all.
    pub fn set_lost(&self, lost: u64) {
        self.lost.store(lost, Ordering::Relaxed);
    }

    /// Says how many of the messages that it got the subscriber has left out, because they are not for it.
    pub fn set_left_out(&self, left_out: u64) {
        self.left_out.store(left_out, Ordering::Relaxed);
    }

    /// As [`Self::next_blocking`], in an asynchronous task.
    pub async fn next(&mut self) -> Option<Message> {
        self.receiver.recv().await
    }

    /// How many messages were lost here, since the queue was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_here.load(Ordering::Relaxed)
    }
}

/// The bus's end of a subscriber's queue.
#[derive(Debug)]
struct Queue {
    name: &'static str,
    interest: Interest,
    sender: mpsc::Sender<Message>,
    /// Messages that did not fit.
    lost: Arc<AtomicU64>,
    /// Messages that the subscriber got, and lost.
    lost_by_reader: Arc<AtomicU64>,
    /// Messages that it left out, because they are not for it.
    left_out: Arc<AtomicU64>,
}

impl Queue {
    /// Messages that did not reach whoever the subscriber sends them to.
    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed) + self.lost_by_reader.load(Ordering::Relaxed)
    }

    /// False once the subscriber has gone away.
    fn is_read(&self) -> bool {
        !self.sender.is_closed()
    }

    fn offer(&self, message: &Message, delivery: Delivery) {
        if !self.interest.meets(Interest::of(message)) {
            return;
        }
        let has_room = delivery == Delivery::Last || self.sender.capacity() > RESERVED;
        if !has_room || self.sender.try_send(message.clone()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The name under which the status counts what readers of the API's events have missed.
pub(super) const READERS: &str = "events";

/// The name under which it counts what those who capture packets have missed.
pub const CAPTURES: &str = "capture";

/// The name under which it counts what the responder has missed.
pub const RESPONDER: &str = "responder";

/// The subscribers. There are several of one name while several capture packets.
#[derive(Debug, Default)]
struct Queues {
    all: Vec<Queue>,
    /// What those that have ended had lost, by their name: the counts do not go back.
    ended: BTreeMap<&'static str, u64>,
}

impl Queues {
    fn add(&mut self, name: &'static str, interest: Interest, capacity: usize) -> Subscription {
        let (sender, receiver) = mpsc::channel(capacity + RESERVED);
        let lost = Arc::new(AtomicU64::new(0));
        let lost_here = Arc::new(AtomicU64::new(0));
        let left_out = Arc::new(AtomicU64::new(0));
        self.all.push(Queue {
            name,
            interest,
            sender,
            lost: Arc::clone(&lost_here),
            lost_by_reader: Arc::clone(&lost),
            left_out: Arc::clone(&left_out),
        });
        Subscription { receiver, lost_here, lost, left_out }
    }

    /// Forgets those that are not read any more.
    fn tidy(&mut self) {
        self.remove(|queue| !queue.is_read());
    }

    fn remove(&mut self, is_ended: impl Fn(&Queue) -> bool) {
        for ended in self.all.extract_if(.., |queue| is_ended(queue)) {
            if ended.lost() > 0 {
                *self.ended.entry(ended.name).or_default() += ended.lost();
            }
        }
    }

    /// What was lost and left out under each name, in the order in which the names came.
    fn counts(&self) -> Vec<(&'static str, [u64; 2])> {
        let mut counts: Vec<(&'static str, [u64; 2])> = Vec::new();
        let all = self.all.iter().map(|queue| (queue.name, [queue.lost(), queue.left_out.load(Ordering::Relaxed)]));
        for (name, [lost, left_out]) in all.chain(self.ended.iter().map(|(name, lost)| (*name, [*lost, 0]))) {
            match counts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sums)) => *sums = [sums[0] + lost, sums[1] + left_out],
                None => counts.push((name, [lost, left_out])),
            }
        }
        counts
    }
}

/// The packet events that are kept, and those who wait for new ones.
#[derive(Debug, Default)]
struct Recent {
    kept: VecDeque<Arc<PacketEvent>>,
    listeners: Listeners,
}

/// The bus, and what it remembers: the last packet events, and the facts that only notices hold.
#[derive(Debug)]
pub struct Bus {
    queues: Mutex<Queues>,
    facts: Mutex<DaemonFacts>,
    /// Outputs that answer others' requests, and have no queue: the name, the address, and what became of the requests.
    exporters: Mutex<Vec<(&'static str, SocketAddr, Arc<ScrapeCounts>)>>,
    clients: Arc<ClientCounts>,
    answers: Arc<AnswerCounts>,
    /// Kept events and listeners share this lock, so that a listener gets each event exactly once.
    recent: Mutex<Recent>,
}

impl Bus {
    /// A bus without subscribers. `policy` names where the daemon reads its policy, `edge` the host.
    #[must_use]
    pub fn new(policy: String, edge: Option<String>) -> Self {
        Self {
            queues: Mutex::default(),
            facts: Mutex::new(DaemonFacts { policy, edge, ..DaemonFacts::default() }),
            exporters: Mutex::default(),
            clients: Arc::default(),
            answers: Arc::default(),
            recent: Mutex::default(),
        }
    }

    /// Adds a subscriber with a queue of `capacity` messages. Its losses are counted under `name`.
    pub fn subscribe(&self, name: &'static str, interest: Interest, capacity: usize) -> Subscription {
        lock(&self.queues).add(name, interest, capacity)
    }

    /// As [`Self::subscribe`], unless there are `most` subscribers of the name already.
    pub fn subscribe_one_of(
        &self,
        name: &'static str,
        interest: Interest,
        capacity: usize,
        most: usize,
    ) -> Option<Subscription> {
        let mut queues = lock(&self.queues);
        queues.tidy();
        let has_room = queues.all.iter().filter(|queue| queue.name == name).count() < most;
        has_room.then(|| queues.add(name, interest, capacity))
    }

    /// Ends the subscriptions of this name: their queues are closed once they are read.
    pub fn unsubscribe(&self, name: &'static str) {
        lock(&self.queues).remove(|queue| queue.name == name);
    }

    /// Adds an output that has no queue, but answers requests at an address. It counts what becomes of them.
    pub fn add_exporter(&self, name: &'static str, address: SocketAddr) -> Arc<ScrapeCounts> {
        let counts = Arc::new(ScrapeCounts::default());
        lock(&self.exporters).push((name, address, Arc::clone(&counts)));
        counts
    }

    /// What becomes of the API's clients.
    #[must_use]
    pub fn clients(&self) -> Arc<ClientCounts> {
        Arc::clone(&self.clients)
    }

    /// What becomes of the packets that rules answer.
    #[must_use]
    pub fn answers(&self) -> Arc<AnswerCounts> {
        Arc::clone(&self.answers)
    }

    /// Hands a message to every subscriber that wants it, and remembers what the status needs of it.
    pub fn publish(&self, message: impl Into<Message>) {
        self.deliver(&message.into(), Delivery::Normal);
    }

    /// Publishes the last message and closes all queues: subscribers drain them and end.
    pub fn close(&self, last: Option<Notice>) {
        if let Some(last) = last {
            self.deliver(&last.into(), Delivery::Last);
        }
        lock(&self.queues).all.clear();
    }

    fn deliver(&self, message: &Message, delivery: Delivery) {
        match message {
            Message::Notice(notice) => lock(&self.facts).record(notice),
            Message::Packet(event) => self.remember(event),
            // Their bytes are too many to keep.
            Message::Captured(_) => {}
        }
        let mut queues = lock(&self.queues);
        queues.tidy();
        for queue in &queues.all {
            queue.offer(message, delivery);
        }
    }

    /// True if a subscriber wants this. One that has gone away does not.
    #[must_use]
    pub fn wants(&self, interest: Interest) -> bool {
        lock(&self.queues).all.iter().any(|queue| queue.is_read() && queue.interest.contains(interest))
    }

    fn remember(&self, event: &Arc<PacketEvent>) {
        let mut recent = lock(&self.recent);
        if recent.kept.len() == DEFAULT_RECENT {
            recent.kept.pop_front();
        }
        recent.kept.push_back(Arc::clone(event));
        recent.listeners.offer(event);
    }

    /// The last packet events that the filter lets through, `last` at most, and a listener for those that follow them.
    #[must_use]
    pub fn listen(&self, last: usize, filter: EventFilter) -> (Vec<Arc<PacketEvent>>, Listener) {
        let mut recent = lock(&self.recent);
        let mut kept: Vec<_> =
            recent.kept.iter().rev().filter(|event| filter.matches(event)).take(last).cloned().collect();
        kept.reverse();
        (kept, recent.listeners.add(filter))
    }

    /// Notes that the first policy is in force, or another one in its place.
    pub fn set_started(&self) {
        lock(&self.facts).has_started = true;
    }

    /// Notes how the policy's repository is.
    pub fn set_source(&self, source: Option<SourceStatus>) {
        lock(&self.facts).source = source;
    }

    /// What only the daemon knows, at this moment.
    #[must_use]
    pub fn facts(&self) -> DaemonFacts {
        let status = |output: &str, lost| OutputStatus { output: output.to_owned(), lost, listen: None, left_out: 0 };
        // Those that others ask for appear once they have missed something.
        let counts = lock(&self.queues).counts().into_iter().filter(|(name, [lost, _])| *name != CAPTURES || *lost > 0);
        let mut outputs: Vec<OutputStatus> =
            counts.map(|(name, [lost, left_out])| OutputStatus { left_out, ..status(name, lost) }).collect();
        for (name, address, counts) in lock(&self.exporters).iter() {
            outputs.push(OutputStatus { listen: Some(address.to_string()), ..status(name, counts.read().lost()) });
        }
        let lost = lock(&self.recent).listeners.lost();
        if lost > 0 {
            outputs.push(status(READERS, lost));
        }
        let answers = self.answers.read();
        DaemonFacts { outputs, clients: self.clients.read(), answers, ..lock(&self.facts).clone() }
    }
}

/// Locks, whether or not another holder has panicked: each holder completes its change in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use tokio_stream::Stream as _;

    use super::*;
    use crate::telemetry::{CapturedPacket, Heard, Missed, RuleMode};

    fn missed(events: u64) -> Notice {
        Notice::Missed(Missed { events, ..Missed::default() })
    }

    fn drain(subscription: &mut Subscription) -> Vec<Message> {
        std::iter::from_fn(|| subscription.next_blocking()).collect()
    }

    #[test]
    fn a_subscriber_that_does_not_read_loses_messages_and_the_loss_is_counted() {
        let bus = Bus::new(String::new(), None);
        let mut slow = bus.subscribe("slow", Interest::NOTICES, 2);
        let mut ready = bus.subscribe("ready", Interest::NOTICES, 8);
        for events in 0..5 {
            bus.publish(missed(events));
        }
        let lost =
            |name: &str| bus.facts().outputs.iter().find(|output| output.output == name).map(|output| output.lost);
        assert_eq!((lost("slow"), lost("ready")), (Some(3), Some(0)));
        slow.set_lost(2);
        assert_eq!(lost("slow"), Some(5), "what the subscriber could not hand on, too");
        ready.set_left_out(7);
        let left_out: Vec<u64> = bus.facts().outputs.iter().map(|output| output.left_out).collect();
        assert_eq!(left_out, [0, 7]);
        bus.close(None);
        assert_eq!(drain(&mut slow), [missed(0).into(), missed(1).into()]);
        assert_eq!(drain(&mut ready).len(), 5);
    }

    #[test]
    fn what_several_who_capture_have_lost_is_one_count_that_never_goes_back() {
        let bus = Bus::new(String::new(), None);
        let lost = || bus.facts().outputs.iter().map(|output| (output.output.clone(), output.lost)).collect::<Vec<_>>();
        let captures = [1, 2].map(|_| bus.subscribe(CAPTURES, Interest::CAPTURES, 1));
        assert_eq!(lost(), [], "nobody has missed anything");
        (0..3).for_each(|_| bus.publish(CapturedPacket::example(b"x")));
        assert_eq!(lost(), [(CAPTURES.to_owned(), 4)]);
        drop(captures);
        bus.publish(CapturedPacket::example(b"x"));
        assert_eq!(lost(), [(CAPTURES.to_owned(), 4)]);
    }

    #[test]
    fn the_last_message_fits_into_a_full_queue() {
        let bus = Bus::new(String::new(), None);
        let mut slow = bus.subscribe("slow", Interest::NOTICES, 1);
        bus.publish(missed(1));
        bus.publish(missed(2));
        bus.close(Some(missed(3)));
        assert_eq!(drain(&mut slow), [missed(1).into(), missed(3).into()]);
    }

    #[test]
    fn who_wants_notices_alone_gets_no_packet_events() {
        let bus = Bus::new(String::new(), None);
        let (mut notices, mut all) = (
            bus.subscribe("notices", Interest::NOTICES, 4),
            bus.subscribe("all", Interest::NOTICES | Interest::PACKETS, 4),
        );
        bus.publish(PacketEvent::example());
        bus.publish(missed(1));
        bus.close(None);
        assert_eq!(drain(&mut notices), [missed(1).into()]);
        assert_eq!(drain(&mut all).len(), 2);
    }

    #[test]
    fn only_who_wants_bytes_gets_captured_packets_and_the_bus_says_whether_anyone_does() {
        let bus = Bus::new(String::new(), None);
        let mut all = bus.subscribe("all", Interest::NOTICES | Interest::PACKETS, 4);
        assert!(!bus.wants(Interest::CAPTURES));
        let mut bytes = bus.subscribe("bytes", Interest::CAPTURES, 4);
        assert!(bus.wants(Interest::CAPTURES));
        bus.publish(CapturedPacket::example(b"x"));
        bus.publish(missed(1));
        assert!(bus.listen(usize::MAX, EventFilter::default()).0.is_empty(), "they are not kept");
        assert_eq!(bytes.next_blocking(), Some(CapturedPacket::example(b"x").into()));
        drop(bytes);
        assert!(!bus.wants(Interest::CAPTURES));
        bus.publish(missed(2));
        assert_eq!(bus.facts().outputs.len(), 1, "who has gone away loses nothing");
        bus.close(None);
        assert_eq!(drain(&mut all).len(), 2);
    }

    #[test]
    fn who_answers_gets_only_what_a_rule_in_force_answers_until_unsubscribed() {
        let bus = Bus::new(String::new(), None);
        let mut answers = bus.subscribe(RESPONDER, Interest::ANSWERED, 8);
        let mut captures = bus.subscribe(CAPTURES, Interest::CAPTURES, 8);
        let packet = |verdict: &str, mode| {
            let event = PacketEvent { verdict: verdict.to_owned(), mode, ..PacketEvent::example() };
            CapturedPacket { event, ..CapturedPacket::example(b"x") }
        };
        let (reject, divert) = (packet("reject", RuleMode::Enforce), packet("divert", RuleMode::Enforce));
        let others = [packet("drop", RuleMode::Enforce), packet("reject", RuleMode::Report)];
        for packet in others.into_iter().chain([reject.clone(), divert.clone()]) {
            bus.publish(packet);
        }
        assert!(bus.wants(Interest::ANSWERED));
        bus.unsubscribe(RESPONDER);
        assert!(!bus.wants(Interest::ANSWERED));
        bus.publish(reject.clone());
        assert_eq!(drain(&mut answers), [reject.into(), divert.into()]);
        bus.close(None);
        assert_eq!(drain(&mut captures).len(), 5);
    }

    #[test]
    fn a_listener_gets_each_event_once_kept_or_as_it_comes() {
        let bus = Bus::new(String::new(), None);
        let event = |bytes| PacketEvent { bytes, ..PacketEvent::example() };
        for bytes in 0..3 {
            bus.publish(event(bytes));
        }
        let (kept, mut listener) = bus.listen(2, EventFilter::default());
        assert_eq!(kept.iter().map(|event| event.bytes).collect::<Vec<_>>(), [1, 2]);
        bus.publish(event(3));
        let mut context = Context::from_waker(Waker::noop());
        let mut next = || Pin::new(&mut listener).poll_next(&mut context);
        assert_eq!(next(), Poll::Ready(Some(Heard::Event(Arc::new(event(3))))));
        assert!(next().is_pending());
    }

    #[test]
    fn the_last_events_are_the_last_that_the_filter_lets_through() {
        let bus = Bus::new(String::new(), None);
        for bytes in 0..10 {
            let rule = if bytes % 2 == 0 { "even" } else { "odd" };
            bus.publish(PacketEvent { bytes, rule: Some(rule.to_owned()), ..PacketEvent::example() });
        }
        let mut filter = EventFilter::default();
        filter.add("rule", "even").unwrap();
        let (kept, _listener) = bus.listen(2, filter);
        assert_eq!(kept.iter().map(|event| event.bytes).collect::<Vec<_>>(), [6, 8]);
    }

    #[test]
    fn only_the_last_events_are_kept() {
        let bus = Bus::new(String::new(), None);
        for _ in 0..=DEFAULT_RECENT {
            bus.publish(PacketEvent::example());
        }
        assert_eq!(bus.listen(usize::MAX, EventFilter::default()).0.len(), DEFAULT_RECENT);
    }
}
