//! The daemon's log: a reader of standard error that does not read must not hold up the daemon.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

/// How many lines the reader may be behind before some are lost.
const QUEUE: usize = 256;

/// How long the process waits at its end for the lines in the queue.
const FLUSH: Duration = Duration::from_millis(500);

/// Writes lines in a thread of its own. What does not fit into its queue is lost, and counted.
#[derive(Clone, Debug)]
pub struct Log {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Everything before it has been written.
    End(SyncSender<()>),
}

impl Log {
    /// A log on standard error.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn stderr() -> io::Result<Self> {
        Self::on(io::stderr())
    }

    fn on(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, entries) = mpsc::sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let log = Self { queue, lost: Arc::clone(&lost) };
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(to, &entries, &lost))?;
        Ok(log)
    }

    /// Waits until everything has been written, but not for a reader that does not read.
    pub fn finish(&self) {
        let (sender, written) = mpsc::sync_channel(1);
        if self.queue.try_send(Entry::End(sender)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

/// Takes whole lines, and never blocks or fails.
impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Entry::Line(bytes.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(mut to: impl Write, entries: &Receiver<Entry>, lost: &AtomicU64) {
    for entry in entries {
        // A reader that goes away ends nothing: the filter matters more.
        let _ = match entry {
            Entry::Line(line) => to.write_all(&line).and_then(|()| to.flush()),
            Entry::End(written) => {
                let _ = written.try_send(());
                Ok(())
            }
        };
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(to, "{lost} log messages are missing here: this reader was too slow");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Writes once it is let.
    struct Gated {
        gate: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Fails at once when the gate is gone: then it is open for good.
            let _ = self.gate.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_delays_nothing_and_learns_how_many_messages_are_missing() {
        let (opener, gate) = mpsc::channel();
        let written = Arc::default();
        let mut log = Log::on(Gated { gate, written: Arc::clone(&written) }).unwrap();
        for line in 0..QUEUE * 2 {
            log.write_all(format!("line {line}\n").as_bytes()).unwrap();
        }
        log.finish();
        assert!(written.lock().unwrap().is_empty());
        drop(opener);
        while Arc::strong_count(&written) > 1 && !String::from_utf8_lossy(&written.lock().unwrap()).contains("missing")
        {
            thread::sleep(Duration::from_millis(1));
        }
        // Makes the log's thread write what is left.
        log.finish();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lost: usize = text
            .lines()
            .filter_map(|line| line.split_once(" log messages"))
            .map(|(count, _)| count.parse::<usize>().unwrap())
            .sum();
        let lines = text.lines().filter(|line| line.starts_with("line ")).count();
        assert!(lost > 0, "{text}");
        assert_eq!(lines + lost, QUEUE * 2, "{text}");
    }
}
