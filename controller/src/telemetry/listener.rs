//! Readers of packet events, each with the filter and the queue of its own.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use tokio_stream::Stream;

use super::{EventFilter, Missed, PacketEvent};

/// How many packet events wait for a reader. One that is slower misses the oldest.
const BACKLOG: usize = 4096;

/// What a reader gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The next event.
    Event(Arc<PacketEvent>),
    /// Events were lost here, since the reader is too slow.
    Missed(Missed),
}

/// A stream of the packet events that a filter lets through, as they come. See [`Bus::listen`](super::Bus::listen).
#[derive(Debug)]
pub struct Listener {
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    filter: EventFilter,
    waiting: Mutex<Waiting>,
}

/// What waits for a reader.
#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Arc<PacketEvent>>,
    /// Events that were lost since the last report to the reader.
    lost: u64,
    /// Lost events that have been reported to it.
    reported: u64,
    /// Time of the last event that it got.
    after: Option<String>,
    reader: Option<Waker>,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Each holder completes its change in one step.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event that the filter lets through. Returns how many were lost for it.
    fn offer(&self, event: &Arc<PacketEvent>) -> u64 {
        if !self.filter.matches(event) {
            return 0;
        }
        let mut waiting = self.waiting();
        let is_full = waiting.events.len() == BACKLOG;
        if is_full {
            waiting.events.pop_front();
            waiting.lost += 1;
        }
        waiting.events.push_back(Arc::clone(event));
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
        is_full.into()
    }
}

impl Stream for Listener {
    type Item = Heard;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Heard>> {
        let mut waiting = self.queue.waiting();
        if waiting.lost > 0 {
            // Before the events that wait: the lost ones are older.
            let events = std::mem::take(&mut waiting.lost);
            waiting.reported += events;
            let (total, behind, after) = (waiting.reported, waiting.events.len() as u64, waiting.after.clone());
            return Poll::Ready(Some(Heard::Missed(Missed { events, total, behind, after })));
        }
        match waiting.events.pop_front() {
            Some(event) => {
                waiting.after = Some(event.time.clone());
                Poll::Ready(Some(Heard::Event(event)))
            }
            None => {
                waiting.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The readers of packet events.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    queues: Vec<Weak<Queue>>,
    /// Events that readers have missed, also those that are gone.
    lost: u64,
}

impl Listeners {
    /// Adds a reader. It goes when it is dropped.
    pub(super) fn add(&mut self, filter: EventFilter) -> Listener {
        let queue = Arc::new(Queue { filter, waiting: Mutex::default() });
        self.queues.push(Arc::downgrade(&queue));
        Listener { queue }
    }

    /// Hands an event to each reader that wants it.
    pub(super) fn offer(&mut self, event: &Arc<PacketEvent>) {
        let lost = &mut self.lost;
        self.queues.retain(|queue| queue.upgrade().inspect(|queue| *lost += queue.offer(event)).is_some());
    }

    /// Events that readers have missed.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt as _;

    use super::*;

    fn event(number: usize) -> Arc<PacketEvent> {
        let (source_port, time) = ((number % 2) as u16, number.to_string());
        Arc::new(PacketEvent { source_port, time, bytes: number as u32, ..PacketEvent::example() })
    }

    fn next(listener: &mut Listener) -> Heard {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(listener.next()).unwrap()
    }

    #[test]
    fn a_slow_reader_misses_the_oldest_and_is_told_how_many_and_how_far_behind_it_is() {
        let mut listeners = Listeners::default();
        let mut slow = listeners.add(EventFilter::default());
        listeners.offer(&event(0));
        assert_eq!(next(&mut slow), Heard::Event(event(0)));
        for number in 1..=BACKLOG + 3 {
            listeners.offer(&event(number));
        }
        let after = Some("0".to_owned());
        let missed = Missed { events: 3, total: 3, behind: BACKLOG as u64, after };
        assert_eq!(next(&mut slow), Heard::Missed(missed));
        assert_eq!(next(&mut slow), Heard::Event(event(4)));
        for number in 0..3 {
            listeners.offer(&event(number));
        }
        let missed = Missed { events: 2, total: 5, behind: BACKLOG as u64, after: Some("4".to_owned()) };
        assert_eq!(next(&mut slow), Heard::Missed(missed));
        assert_eq!(listeners.lost(), 5);
    }

    #[test]
    fn what_a_filter_leaves_out_fills_no_queue() {
        let mut listeners = Listeners::default();
        let mut filter = EventFilter::default();
        filter.add("rule", "other").unwrap();
        let mut listener = listeners.add(filter);
        let other = Arc::new(PacketEvent { rule: Some("other".to_owned()), ..PacketEvent::example() });
        listeners.offer(&other);
        for number in 0..=BACKLOG {
            listeners.offer(&event(number));
        }
        assert_eq!((next(&mut listener), listeners.lost()), (Heard::Event(other), 0));
    }

    #[test]
    fn a_reader_that_has_gone_is_forgotten() {
        let mut listeners = Listeners::default();
        drop(listeners.add(EventFilter::default()));
        listeners.offer(&event(1));
        assert!(listeners.queues.is_empty());
    }

    #[test]
    fn a_reader_that_waits_is_woken() {
        let mut listeners = Listeners::default();
        let mut listener = listeners.add(EventFilter::default());
        let reader = std::thread::spawn(move || next(&mut listener));
        while listeners.queues[0].upgrade().is_some_and(|queue| queue.waiting().reader.is_none()) {
            std::thread::yield_now();
        }
        listeners.offer(&event(1));
        assert_eq!(reader.join().unwrap(), Heard::Event(event(1)));
    }
}
