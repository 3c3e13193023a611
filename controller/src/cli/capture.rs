//! `ringfence capture`: dropped packets as a file for Wireshark.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, IsTerminal as _, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use filter_policy::language::{diagnostics::plural, printable, quantity};

use super::{Place, filter::FilterArgs};
use crate::{
    api::{CaptureQuery, Client},
    telemetry::{PcapngBlock, PcapngBlocks},
};

/// The fewest bytes of a file of a ring.
const LEAST_FILE: u64 = 64 * 1024;

/// Write the packets that are dropped, or would be, to a pcapng file
///
/// tcpdump and sngrep on this host do not see what is dropped in the network card's driver; Wireshark, tshark and sngrep open the file that
/// this writes. The comment of each packet says what became of it, by which rule, why, and by which commit of the policy. Over 2,000 packets
/// a second on each CPU are counted instead of captured. Captured packets hold numbers and whatever else callers sent: only the user who
/// runs this can read the file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the capture has ended
  2  bad usage: a filter that is wrong, a rule that is not in force, a file that cannot be written
  3  no daemon answers

Examples:
  ringfence capture -w dropped.pcapng
  ringfence capture -w scans.pcapng --rule scanners --count 100
  ringfence capture -w ring.pcapng --file-size 100M --files 10
  ringfence capture -w all.pcapng --passed --source 198.51.100.0/24 --seconds 1m
  ringfence capture -w - --rule scanners")]
pub struct CaptureArgs {
    /// The file, which is overwritten; - for standard output
    #[arg(short, long, value_name = "FILE")]
    pub write: PathBuf,
    /// Also packets that pass
    #[arg(long)]
    pub passed: bool,
    /// End after so many packets
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after this time, such as 30s or 10m
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub seconds: Option<u64>,
    /// Begin another file after so many bytes, such as 100M: FILE-00001.pcapng, FILE-00002.pcapng, ...
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub file_size: Option<u64>,
    /// Keep only so many files
    #[arg(long, value_name = "COUNT", requires = "file_size", value_parser = clap::value_parser!(u32).range(1..))]
    pub files: Option<u32>,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub filter: FilterArgs,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

fn seconds(text: &str) -> Result<u64, String> {
    let plain = text.parse().ok().filter(|seconds| *seconds > 0);
    plain.or_else(|| quantity::duration(text)).ok_or_else(|| "write a time such as 30s, 10m or 1h".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err("write a size such as 500k, 100M or 1G".to_owned()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    match bytes {
        Some(bytes) if bytes >= LEAST_FILE => Ok(bytes),
        Some(_) => Err("a file has at least 64k".to_owned()),
        None => Err("write a size such as 500k, 100M or 1G".to_owned()),
    }
}

/// Runs `ringfence capture`.
///
/// # Errors
/// No daemon answers, or the file cannot be written.
pub fn run(args: CaptureArgs) -> anyhow::Result<ExitCode> {
    let is_standard_output = args.write.as_os_str() == "-";
    if is_standard_output {
        ensure!(
            !io::stdout().is_terminal(),
            "a pcapng file is nothing for a terminal: send it to a program, or use -w FILE"
        );
        ensure!(args.file_size.is_none(), "--file-size is for files, and -w - is standard output");
    }
    let found = args.place.find()?;
    let query =
        CaptureQuery { filter: args.filter.filter(), passed: args.passed, count: args.count, seconds: args.seconds };
    let mut blocks = PcapngBlocks::default();
    let mut written = Written {
        ring: Ring { limit: args.file_size, keep: args.files, ..Ring::new(args.write.clone()) },
        ..Written::default()
    };
    let name = if is_standard_output { "standard output".to_owned() } else { printable::path(&args.write) };
    let written_all = super::block_on(async {
        let client = Client::connect(&found.socket).await?;
        let capture = client.capture(&query, |piece| {
            blocks.push(piece);
            while let Some(block) = blocks.next() {
                if written.is_new() {
                    written.open(is_standard_output)?;
                    eprintln!("capturing to {name}");
                }
                written.write(&block)?;
            }
            written.flush()
        });
        // What has been captured until Ctrl-C is in the file, and is counted.
        tokio::select! {
            result = capture => result,
            result = tokio::signal::ctrl_c() => Ok(result),
        }
    })?;
    match written_all {
        // The reader has seen enough.
        Err(error) if is_standard_output && error.kind() == io::ErrorKind::BrokenPipe => {}
        written_all => written_all.with_context(|| format!("failed to write {name}"))?,
    }
    let Written { packets, lost, .. } = written;
    eprintln!("{packets} {} captured, {lost} lost", plural(packets, "packet", "packets"),);
    Ok(ExitCode::SUCCESS)
}

/// What is written, and where.
#[derive(Default)]
struct Written {
    ring: Ring,
    packets: u64,
    lost: u64,
}

/// The file that is written, and those before it.
#[derive(Default)]
struct Ring {
    path: PathBuf,
    limit: Option<u64>,
    keep: Option<u32>,
    to: Option<Box<dyn Write>>,
    bytes: u64,
    number: u32,
    files: VecDeque<PathBuf>,
    /// What each file begins with: the section's header, and the interfaces.
    head: Vec<u8>,
}

impl Ring {
    fn new(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// Opens the next file.
    fn next(&mut self) -> io::Result<()> {
        let path = match self.limit {
            None => self.path.clone(),
            Some(_) => {
                self.number += 1;
                numbered(&self.path, self.number)
            }
        };
        self.to = Some(Box::new(io::BufWriter::new(create(&path)?)));
        self.bytes = 0;
        self.files.push_back(path);
        while let Some(keep) = self.keep
            && self.files.len() > keep as usize
            && let Some(oldest) = self.files.pop_front()
        {
            fs::remove_file(&oldest)?;
        }
        let head = self.head.clone();
        self.write(&head)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.to.as_mut().map_or(Ok(()), |to| to.write_all(bytes))
    }
}

impl Written {
    fn is_new(&self) -> bool {
        self.ring.to.is_none()
    }

    fn open(&mut self, is_standard_output: bool) -> io::Result<()> {
        if is_standard_output {
            self.ring.to = Some(Box::new(io::stdout()));
            return Ok(());
        }
        self.ring.next()
    }

    fn write(&mut self, block: &PcapngBlock) -> io::Result<()> {
        let is_full = self.ring.limit.is_some_and(|limit| self.ring.bytes + block.bytes.len() as u64 > limit);
        if block.is_packet() && is_full {
            self.flush()?;
            self.ring.next()?;
        }
        self.packets += u64::from(block.is_packet());
        self.lost = block.lost().unwrap_or(self.lost);
        if block.is_head() {
            self.ring.head.extend_from_slice(&block.bytes);
        }
        self.ring.write(&block.bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.ring.to.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// A file that only this user can read, also if it was there before. No link is followed: in a directory of somebody else's, it could lead
/// anywhere.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let found = file.metadata()?;
    if found.is_file() {
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("it is another user's file"));
        }
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.set_len(0)?;
    }
    Ok(file)
}

/// `dropped-00001.pcapng` for `dropped.pcapng`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or("pcapng".as_ref()).to_string_lossy();
    path.with_file_name(format!("{stem}-{number:05}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Pcapng;

    #[test]
    fn sizes_have_units_and_a_least() {
        assert_eq!(size("100M"), Ok(100 << 20));
        assert_eq!(size("65536"), Ok(65_536));
        assert!(
            size("1k").is_err() && size("12X").is_err() && size("").is_err() && size("99999999999999999999G").is_err()
        );
    }

    #[test]
    fn a_file_that_was_there_becomes_readable_by_its_owner_alone_and_a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("old.pcapng");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(create(&path).unwrap());
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.len(), found.permissions().mode() & 0o777), (0, 0o600));
        let link = directory.path().join("link.pcapng");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(create(&link).is_err());
        // What is no file is left as it is.
        drop(create(Path::new("/dev/null")).unwrap());
        assert_eq!(fs::metadata("/dev/null").unwrap().permissions().mode() & 0o777, 0o666);
    }

    #[test]
    fn a_ring_of_files_keeps_the_last_ones_each_readable_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.pcapng");
        let ring = Ring { limit: Some(1_000), keep: Some(2), ..Ring::new(path) };
        let mut written = Written { ring, ..Written::default() };
        written.open(false).unwrap();
        let mut file = Pcapng::default();
        let mut blocks = PcapngBlocks::default();
        blocks.push(&Pcapng::header());
        for _ in 0..20 {
            blocks.push(&file.packet(&crate::telemetry::captured_example(&[b'x'; 200])));
        }
        while let Some(block) = blocks.next() {
            written.write(&block).unwrap();
        }
        written.flush().unwrap();
        assert_eq!(written.packets, 20);
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 2, "{names:?}");
        for name in names {
            let content = fs::read(directory.path().join(&name)).unwrap();
            assert!(content.starts_with(&Pcapng::header()), "{name}");
            assert!(content.len() <= 1_000, "{name} has {} bytes", content.len());
            let mut blocks = PcapngBlocks::default();
            blocks.push(&content);
            let kinds: Vec<bool> = std::iter::from_fn(|| blocks.next()).map(|block| block.is_packet()).collect();
            assert_eq!(kinds[..3], [false, false, true], "{name}: a header, an interface, packets");
        }
    }
}
