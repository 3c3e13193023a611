//! Noticing that a policy has changed.

use std::time::Duration;

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
}

impl Watch {
    /// Watches a source that is about to be read.
    #[must_use]
    pub fn new(repository: Repository) -> Self {
        let read = repository.fingerprint();
        Self { repository, read, seen: None, restless: 0 }
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
