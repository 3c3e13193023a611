//! Noticing that a policy has changed.

use std::time::{Duration, Instant};

use super::{Fingerprint, Repository};

/// How often to look: a look at a dozen files takes some tens of microseconds.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Looks without rest after which it is said that nothing has been read for so long: half a minute.
const RESTLESS: u32 = 300;

/// Looks at a source again and again, and says when it has changed and has come to rest.
///
/// Editors and git write several files, so a change counts once the source looks the same twice in a row. That also covers
/// the granularity of file times: they advance with the kernel's tick, every 10 ms at most, so two writes can share one
/// time. With more than a tick between two looks, what is read after the second look is what that look saw, or the next
/// look differs.
#[derive(Debug)]
pub struct Watch {
    repository: Repository,
    /// What the source looked like when it was last read.
    read: Fingerprint,
    /// What it looked like at the last look.
    seen: Option<Fingerprint>,
    /// How often in a row it looked different.
    restless: u32,
    pace: Pace,
}

/// Keeps looks at a directory with a hundred thousand files from taking the daemon's time.
#[derive(Debug, Default)]
struct Pace {
    /// Looks to leave out.
    left_out: u32,
}

impl Pace {
    /// The most looks that are left out after one: ten seconds.
    const MOST: u128 = 100;

    /// False if this look is to be left out.
    fn is_due(&mut self) -> bool {
        let is_due = self.left_out == 0;
        self.left_out = self.left_out.saturating_sub(1);
        is_due
    }

    /// Notes how long a look took: about a tenth of the time may go into looking.
    fn took(&mut self, time: Duration) {
        let looks = (time.as_nanos() * 10 / LOOK_INTERVAL.as_nanos()).min(Self::MOST);
        self.left_out = u32::try_from(looks).unwrap_or(0);
    }
}

impl Watch {
    /// Watches a source that is about to be read.
    #[must_use]
    pub fn new(repository: Repository) -> Self {
        let read = repository.fingerprint();
        Self { repository, read, seen: None, restless: 0, pace: Pace::default() }
    }

    /// As [`look`](Self::look), every [`LOOK_INTERVAL`], but less often where a look takes long.
    pub fn look_in_time(&mut self) -> Option<Fingerprint> {
        if !self.pace.is_due() {
            // Time without rest passes all the same.
            self.restless = if self.restless > 0 { self.restless.saturating_add(1) } else { 0 };
            return None;
        }
        let start = Instant::now();
        let settled = self.look();
        self.pace.took(start.elapsed());
        settled
    }

    /// Looks once: the new fingerprint if the source has changed since it was read and has come to rest.
    pub fn look(&mut self) -> Option<Fingerprint> {
        let now = self.repository.fingerprint();
        let at_rest = self.seen.replace(now) == Some(now);
        self.restless = if at_rest { 0 } else { self.restless.saturating_add(1) };
        if now == self.read {
            return None;
        }
        if !at_rest {
            tracing::debug!("change of the policy's files noticed");
        }
        at_rest.then_some(now)
    }

    /// True once, if the source has been changing for so long that somebody should know why nothing of it comes in force.
    #[must_use]
    pub fn is_restless(&self) -> bool {
        self.restless == RESTLESS
    }

    /// Notes that the source is about to be read: as it looked when `look` returned `fingerprint`, or else as it is now.
    pub fn about_to_read(&mut self, fingerprint: Option<Fingerprint>) {
        self.read = fingerprint.unwrap_or_else(|| self.repository.fingerprint());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::repository::Source;

    #[test]
    fn a_change_counts_when_it_has_come_to_rest_and_until_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Directory(folder.path().to_owned());
        let mut watch = Watch::new(Repository::open(source, &folder.path().join(".state")).unwrap());
        assert_eq!(watch.look(), None);
        assert_eq!(watch.look(), None);
        fs::write(folder.path().join("a.txt"), "1").unwrap();
        assert_eq!(watch.look(), None, "it may still be written");
        fs::write(folder.path().join("b.txt"), "1").unwrap();
        assert_eq!(watch.look(), None, "it was still being written");
        let settled = watch.look();
        assert!(settled.is_some());
        assert_eq!(watch.look(), settled, "nobody has read it yet");
        watch.about_to_read(settled);
        assert_eq!(watch.look(), None);
        fs::write(folder.path().join("c.txt"), "1").unwrap();
        watch.about_to_read(None);
        assert_eq!((watch.look(), watch.look()), (None, None));
    }

    #[test]
    fn looks_that_take_long_are_rare() {
        let mut pace = Pace::default();
        let mut looks_after = |time| {
            pace.took(time);
            (0..).find(|_| pace.is_due()).unwrap()
        };
        assert_eq!(looks_after(Duration::from_micros(80)), 0, "a dozen files");
        assert_eq!(looks_after(Duration::from_millis(10)), 1);
        assert_eq!(looks_after(Duration::from_millis(400)), 40, "a hundred thousand files");
        assert_eq!(looks_after(Duration::from_secs(3600)), 100, "a file server that had gone");
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Directory(folder.path().to_owned());
        let mut watch = Watch::new(Repository::open(source, &folder.path().join(".state")).unwrap());
        fs::write(folder.path().join("a.txt"), "1").unwrap();
        assert_eq!(watch.look(), None);
        watch.pace.left_out = 2;
        assert_eq!((watch.look_in_time(), watch.look_in_time()), (None, None));
        assert!(watch.look_in_time().is_some(), "the change is found when it is time");
    }

    #[test]
    fn a_source_that_never_rests_is_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Directory(folder.path().to_owned());
        let mut watch = Watch::new(Repository::open(source, &folder.path().join(".state")).unwrap());
        let mut text = String::new();
        let mut look = || {
            text.push('x');
            fs::write(folder.path().join("a.txt"), &text).unwrap();
            assert_eq!(watch.look(), None);
            watch.is_restless()
        };
        let reported = (0..2 * RESTLESS).filter(|_| look()).count();
        assert_eq!(reported, 1);
        assert!(watch.look().is_some(), "it rests");
    }
}
