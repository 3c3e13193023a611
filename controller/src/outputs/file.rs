//! A file of JSON lines: packet events and notices.
//!
//! The file is the one that the path names at the moment of writing. Whoever rotates it, by renaming or by truncating it, sends
//! no signal.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
    },
    path::{Path, PathBuf},
};

use filter_policy::{files::what_it_is, language::printable};

use super::{Output, is_table, trouble::Trouble};
use crate::telemetry::{Interest, Message};

/// The daemon's user writes, its group reads.
const MODE: u32 = 0o640;

/// Writes each packet event and each notice but the table as one line of JSON. Lines are whole: what is left of one that did
/// not fit on the disk is taken off again.
#[derive(Debug)]
pub(super) struct EventsFile {
    path: PathBuf,
    /// The group that gets a file that is made.
    group: Option<u32>,
    open: Option<Open>,
    trouble: Trouble,
}

/// The file as it was opened.
#[derive(Debug)]
struct Open {
    file: File,
    /// The device and the inode.
    id: (u64, u64),
    /// True if its last line has no end: the next line must not be glued to it.
    is_torn: bool,
}

impl EventsFile {
    pub(super) fn new(path: PathBuf, group: Option<u32>) -> Self {
        let trouble = Trouble::new(format!("the events file {}", printable::path(&path)));
        Self { path, group, open: None, trouble }
    }

    /// Appends a line, with its end, to the file that has the path now.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let now = fs::metadata(&self.path).map(|file| (file.dev(), file.ino())).ok();
        let open = match self.open.take() {
            Some(open) if Some(open.id) == now => self.open.insert(open),
            // It was moved or removed, or is not open yet.
            _ => self.open.insert(Open::new(&self.path, self.group)?),
        };
        open.append(line)
    }
}

impl Open {
    fn new(path: &Path, group: Option<u32>) -> io::Result<Self> {
        let file = match open(path, true) {
            Ok(made) => {
                // Whatever the umask says.
                made.set_permissions(Permissions::from_mode(MODE))?;
                if let Some(group) = group {
                    // A user who is not in the group keeps the file.
                    let _ = fchown(&made, None, Some(group));
                }
                made
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(path, false)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(path, group)?;
                return if path.parent().is_some_and(Path::is_dir) { Self::new(path, group) } else { Err(error) };
            }
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let what = what_it_is(metadata.file_type());
            return Err(io::Error::other(format!("it is {what}, not a file")));
        }
        // A daemon that was killed may have left the beginning of a line.
        let mut last = [b'\n'];
        if metadata.len() > 0 {
            file.read_exact_at(&mut last, metadata.len() - 1)?;
        }
        Ok(Self { file, id: (metadata.dev(), metadata.ino()), is_torn: last != [b'\n'] })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let is_torn = self.is_torn && self.file.metadata()?.len() > 0;
        let whole = if is_torn { [b"\n", line].concat() } else { line.to_vec() };
        let mut written = 0;
        while written < whole.len() {
            match self.file.write(&whole[written..]) {
                Ok(0) => return self.take_back(written, io::ErrorKind::WriteZero.into()),
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.take_back(written, error),
            }
        }
        self.is_torn = false;
        Ok(())
    }

    /// Takes off the beginning of a line that could not be written to its end.
    fn take_back(&mut self, written: usize, error: io::Error) -> io::Result<()> {
        if written > 0 {
            let end = self.file.metadata().map(|file| file.len());
            // It is shorter if it was truncated meanwhile.
            let begin = end.ok().and_then(|end| end.checked_sub(written as u64));
            self.is_torn = begin.is_none_or(|begin| self.file.set_len(begin).is_err());
        }
        Err(error)
    }
}

/// Opens the file to append to, which must be new or exist. What is not a file does not hold up the thread.
fn open(path: &Path, is_new: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create_new(is_new)
        .mode(MODE)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

/// Makes the directory of the file, unless it exists. Those above it are not the daemon's.
fn make_directory(path: &Path, group: Option<u32>) -> io::Result<()> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else { return Ok(()) };
    match DirBuilder::new().mode(0o750).create(directory) {
        Ok(()) => {
            if let Some(group) = group {
                let _ = std::os::unix::fs::chown(directory, None, Some(group));
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

impl Output for EventsFile {
    fn name(&self) -> &'static str {
        "file"
    }

    fn interest(&self) -> Interest {
        Interest::NOTICES | Interest::PACKETS
    }

    fn lost(&self) -> u64 {
        self.trouble.lost()
    }

    fn write(&mut self, message: &Message) {
        // Counters are for those who ask for them: each second's table would outweigh the events.
        if matches!(message, Message::Notice(notice) if is_table(notice)) {
            return;
        }
        let Some(line) = message.json_line() else { return };
        match self.append((line + "\n").as_bytes()) {
            Ok(()) => self.trouble.end(),
            Err(error) => self.trouble.lose(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::CString, os::unix::fs::symlink};

    use super::*;
    use crate::telemetry::{Missed, Notice};

    fn message(events: u64) -> Message {
        Notice::Missed(Missed { events, ..Missed::default() }).into()
    }

    /// The numbers of the messages in a file, each of whose lines is whole.
    fn numbers(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["events"].as_u64().unwrap();
        text.lines().map(number).collect()
    }

    fn output(path: &Path) -> EventsFile {
        EventsFile::new(path.to_owned(), None)
    }

    #[test]
    fn a_file_that_was_renamed_truncated_or_removed_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log/events.jsonl"), folder.path().join("events.1"));
        let mut output = output(&path);
        output.write(&message(1));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        fs::rename(&path, &old).unwrap();
        output.write(&message(2));
        assert_eq!((numbers(&old), numbers(&path)), (vec![1], vec![2]), "renamed");
        fs::rename(&path, &old).unwrap();
        fs::write(&path, "").unwrap();
        output.write(&message(3));
        assert_eq!((numbers(&old), numbers(&path)), (vec![2], vec![3]), "renamed, and made by another");
        fs::copy(&path, &old).unwrap();
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        output.write(&message(4));
        assert_eq!(numbers(&path), [4], "copied and truncated: no hole at the beginning");
        fs::remove_file(&path).unwrap();
        output.write(&message(5));
        output.write(&message(6));
        assert_eq!((numbers(&path), output.lost()), (vec![5, 6], 0), "removed");
    }

    #[test]
    fn a_file_that_cannot_be_written_loses_lines_which_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        fs::create_dir(&path).unwrap();
        let mut output = output(&path);
        output.write(&message(1));
        output.write(&message(2));
        assert_eq!((output.lost(), output.trouble.is_failing()), (2, true));
        fs::remove_dir(&path).unwrap();
        output.write(&message(3));
        assert_eq!((numbers(&path), output.lost(), output.trouble.is_failing()), (vec![3], 2, false));
    }

    #[test]
    fn what_is_not_a_file_neither_gets_lines_nor_holds_up_the_output() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let name = CString::new(fifo.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: the name is a zero-terminated string that outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let full = folder.path().join("full");
        symlink("/dev/full", &full).unwrap();
        for path in [&fifo, &full] {
            let mut output = output(path);
            output.write(&message(1));
            assert_eq!(output.lost(), 1, "{}", path.display());
        }
    }

    #[test]
    fn a_line_that_an_earlier_daemon_has_left_unfinished_is_not_glued_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        fs::write(&path, "{\"event\":\"mis").unwrap();
        let mut output = output(&path);
        output.write(&message(1));
        output.write(&message(2));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"event\":\"mis\n{\"event\":\"missed\",\"events\":1,"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }

    /// On a file system of two pages, in a mount namespace of the thread.
    #[test]
    fn a_full_disk_loses_whole_lines_and_writing_goes_on_when_there_is_room_again() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can mount a small file system");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let target = CString::new(folder.path().as_os_str().as_encoded_bytes()).unwrap();
        // The folder goes after the thread, with which the mount goes.
        let path = folder.path().join("events.jsonl");
        let thread = std::thread::spawn(move || {
            // SAFETY: takes no pointers, and changes only what this thread sees.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0, "{}", io::Error::last_os_error());
            let (none, private) = (c"none", libc::MS_REC | libc::MS_PRIVATE);
            // SAFETY: the names are zero-terminated strings that outlive the call; the mounts are this thread's.
            let mount = |target: &std::ffi::CStr, kind: &std::ffi::CStr, flags, options: &std::ffi::CStr| unsafe {
                libc::mount(none.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
            };
            assert_eq!(mount(c"/", c"none", private, c""), 0, "{}", io::Error::last_os_error());
            assert_eq!(mount(&target, c"tmpfs", 0, c"size=8k"), 0, "{}", io::Error::last_os_error());
            let mut output = output(&path);
            let mut sent = 0;
            while output.lost() < 3 {
                sent += 1;
                output.write(&message(sent));
            }
            let written = numbers(&path);
            assert_eq!(written, (1..=sent - 3).collect::<Vec<_>>(), "the disk has whole lines, and the first of them");
            OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
            output.write(&message(sent + 1));
            assert_eq!((numbers(&path), output.lost()), (vec![sent + 1], 3));
            assert!(!output.trouble.is_failing());
        });
        thread.join().unwrap();
    }
}
