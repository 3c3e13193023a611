//! What a bug report needs, in one archive.

use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use filter_policy::{POLICY_FILE, files::Directory, language::printable};
use serde_json::{Value, json};

use super::{Options, daemon, examine, read, redact};
use crate::{
    api::DEFAULT_SOCKET,
    config::Configuration,
    kernel::{DEFAULT_PIN_DIRECTORY, Pins},
    repository::Source,
    telemetry::{DaemonState, Status},
};

/// Lines of the kernel's log that are kept, from its end.
const LOG_LINES: usize = 500;

/// Words of the lines that are kept.
const LOG_WORDS: &[&str] = &["bpf", "ringfence", "xdp"];

/// The largest configuration that is packed, in bytes.
const LARGEST_CONFIGURATION: u64 = 1 << 20;

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub content: String,
}

/// Collects everything. Without `with_numbers`, addresses and telephone numbers are replaced, and nothing of a list is shown.
#[must_use]
pub fn collect(options: &Options, with_numbers: bool) -> Vec<Part> {
    let text = |text: String| if with_numbers { text } else { redact::text(&text) };
    let value = |value: Value| if with_numbers { value } else { redact::json(value) };
    let line = |value: Value| printable::json_line(&value) + "\n";

    let mut parts = vec![Part { name: "README.txt", content: introduction(with_numbers) }];
    let mut add = |name, content| parts.push(Part { name, content });
    add("version.txt", versions());
    let report = serde_json::to_value(examine(options)).unwrap_or_default();
    add("doctor.json", line(value(report)));

    let path = options.configuration.as_deref();
    let configuration = path.and_then(|path| Configuration::read(path).ok()).unwrap_or_default();
    if let Some(path) = path {
        let content = read_configuration(path).map(|content| without_passwords(&content));
        let content = content.unwrap_or_else(|error| format!("cannot be read: {error}\n"));
        add("ringfence.toml", text(content));
    }
    let pins = options.pins.clone().or(configuration.pins).unwrap_or_else(|| DEFAULT_PIN_DIRECTORY.into());
    let socket = options.socket.clone().or(configuration.socket).unwrap_or_else(|| DEFAULT_SOCKET.into());
    add("status.json", line(value(status(&Pins::new(pins), &socket))));
    if let Some(directory) = configuration.policy.as_ref().and_then(Source::directory) {
        add("check.jsonl", check(directory, with_numbers).into_iter().map(value).map(line).collect());
    }
    let log = kernel_log().unwrap_or_else(|error| format!("cannot be read: {error}\n"));
    add("kernel.log", log.split_inclusive('\n').map(|line| of_log(line, with_numbers)).collect());
    parts
}

/// A text without the users and passwords of URLs.
fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut redacted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|character: char| character == '/' || character == '"' || character.is_whitespace());
        let (authority, rest) = part.split_at(end.unwrap_or(part.len()));
        let host = authority.rsplit_once('@').map_or_else(|| authority.to_owned(), |(_, host)| format!("***@{host}"));
        redacted += &format!("://{host}{rest}");
    }
    redacted
}

fn introduction(with_numbers: bool) -> String {
    let private = if with_numbers {
        "IT HOLDS TELEPHONE NUMBERS AND ADDRESSES, because --with-numbers was given."
    } else {
        "Telephone numbers and addresses have been replaced, and contents of lists left out. Names of hosts, rules, files and\n\
         interfaces are in it: look through it before you send it."
    };
    format!(
        "Written by `ringfence support`, for a bug report. Files that are missing could not be read or do not exist.\n{private}\n\n\
         version.txt     program, kernel, distribution\n\
         doctor.json     ringfence doctor --json\n\
         status.json     ringfence status --json\n\
         check.jsonl     ringfence check --json of the policy that the configuration names\n\
         ringfence.toml  the daemon's configuration\n\
         kernel.log      lines of the kernel's log about BPF and XDP\n"
    )
}

fn versions() -> String {
    let mut text = format!("ringfence {}\n", env!("CARGO_PKG_VERSION"));
    for path in ["/proc/version", "/etc/os-release"] {
        let _ = write!(text, "{}", read::text(path).unwrap_or_default());
    }
    text
}

/// A configuration that is a file of a usual size.
fn read_configuration(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_CONFIGURATION).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What `ringfence status --json` prints.
fn status(pins: &Pins, socket: &Path) -> Value {
    let without = |daemon| match Status::read(pins, None) {
        Ok(status) => serde_json::to_value(Status { daemon, ..status }).unwrap_or_default(),
        Err(error) => json!({"error": error.to_string()}),
    };
    match daemon::ask(socket) {
        daemon::Answer::Status(status) if status.pin_dir == pins.root() => {
            serde_json::to_value(status).unwrap_or_default()
        }
        daemon::Answer::Status(_) | daemon::Answer::NoDaemon => without(DaemonState::NotRunning),
        daemon::Answer::Error(_) => without(DaemonState::NotAnswering),
    }
}

/// The errors and warnings of a policy, one a line.
fn check(directory: &Path, with_numbers: bool) -> Vec<Value> {
    let files = match Directory::new(directory) {
        Ok(files) => files,
        Err(error) => return vec![json!({"error": error.to_string()})],
    };
    let built = filter_policy::build(&files, filter_policy::today());
    let diagnostics = match &built {
        Ok(built) => &built.diagnostics,
        Err(diagnostics) => diagnostics,
    };
    let mut lines: Vec<Value> = diagnostics
        .iter()
        .map(|diagnostic| if with_numbers { diagnostic.to_json() } else { without_list_content(diagnostic.to_json()) })
        .collect();
    let hash = built.as_ref().ok().map(|built| built.image.hash.clone());
    let memory =
        built.as_ref().ok().map(|built| built.image.kernel_memory().iter().map(|(_, bytes)| bytes).sum::<usize>());
    lines.push(json!({"code": "summary", "hash": hash, "kernel_bytes": memory}));
    lines
}

/// What is wrong with a list quotes its entries: only the place and the kind of mistake are kept.
fn without_list_content(mut diagnostic: Value) -> Value {
    let is_policy = diagnostic["file"].as_str().is_none_or(|file| Path::new(file).ends_with(POLICY_FILE));
    if !is_policy {
        for field in ["message", "help"] {
            diagnostic[field] = Value::Null;
        }
    }
    diagnostic
}

/// The lines of the kernel's log that are about BPF, as `dmesg` prints them.
fn kernel_log() -> io::Result<String> {
    let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
    let mut records = Vec::new();
    // A record is read as a whole, and is at most this long (`PRINTK_MESSAGE_MAX`, kernel/printk/internal.h).
    let mut buffer = [0; 8192];
    loop {
        match log.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => records.push(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            // A record has been overwritten since the last one was read.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(about_bpf(records.iter().map(String::as_str)))
}

/// The lines about BPF among records of /dev/kmsg: `priority,number,microseconds,flags;text`, then lines that begin with a space.
fn about_bpf<'a>(records: impl Iterator<Item = &'a str>) -> String {
    let mut lines = Vec::new();
    for record in records {
        let Some((head, rest)) = record.split_once(';') else { continue };
        let message = rest.lines().next().unwrap_or_default();
        let lower = message.to_lowercase();
        if LOG_WORDS.iter().any(|word| lower.contains(word)) {
            let microseconds = head.split(',').nth(2).and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
            lines.push(format!("[{}.{:06}] {message}\n", microseconds / 1_000_000, microseconds % 1_000_000));
        }
    }
    lines[lines.len().saturating_sub(LOG_LINES)..].concat()
}

/// A line of the log: its time stays.
fn of_log(line: &str, with_numbers: bool) -> String {
    match line.split_once("] ") {
        Some((time, message)) if !with_numbers => format!("{time}] {}", redact::text(message)),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_password_of_a_repository_is_left_out() {
        let text = "git = \"https://x:secret@h/p.git\"\nlisten = \"tcp://h:1\" # a@b\n";
        assert_eq!(without_passwords(text), "git = \"https://***@h/p.git\"\nlisten = \"tcp://h:1\" # a@b\n");
    }

    #[test]
    fn the_kernels_log_is_reduced_to_lines_about_bpf_with_their_times() {
        let records = [
            "6,1,1500000,-;eth0: link up\n",
            "4,2,12345678,-;BPF: invalid type from 192.0.2.7\n SUBSYSTEM=x\n",
            "6,3,13000001,-;eth0: XDP is on, driver limits the MTU\n",
            "broken",
        ];
        let log = about_bpf(records.into_iter());
        assert_eq!(
            log,
            "[12.345678] BPF: invalid type from 192.0.2.7\n[13.000001] eth0: XDP is on, driver limits the MTU\n"
        );
        let redacted: String = log.split_inclusive('\n').map(|line| of_log(line, false)).collect();
        assert!(redacted.starts_with("[12.345678] BPF: invalid type from <address>\n"), "{redacted}");
        assert_eq!(of_log("[1.000000] BPF 192.0.2.7\n", true), "[1.000000] BPF 192.0.2.7\n");
    }

    #[test]
    fn nothing_of_a_list_is_shown_unless_asked_for() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let policy = "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[sets.bad]\naddresses = \"bad.txt\"\n\
                      [[rule]]\nname = \"bad\"\nmatch.source = \"@bad\"\naction = \"drop\"\n";
        fs::write(folder.path().join(POLICY_FILE), policy).expect("written");
        fs::write(folder.path().join("bad.txt"), "192.0.2.7\nsecret entry\n").expect("written");
        let shown = |with_numbers| format!("{:?}", check(folder.path(), with_numbers));
        assert!(shown(true).contains("secret"), "{}", shown(true));
        assert!(!shown(false).contains("secret"), "{}", shown(false));
        assert!(shown(false).contains("bad.txt"), "{}", shown(false));
    }

    #[test]
    fn a_configuration_loses_its_addresses_and_keeps_its_keys() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("ringfence.toml");
        fs::write(&path, "version = 1\nedge = \"sbc\" # at 192.0.2.7, call +14155552671\n").expect("written");
        let options = Options {
            configuration: Some(path),
            pins: Some(folder.path().join("pins")),
            socket: Some(folder.path().join("socket")),
            ..Options::default()
        };
        let part = |with_numbers, name| {
            let parts = collect(&options, with_numbers);
            parts.into_iter().find(|part| part.name == name).unwrap_or_else(|| panic!("no {name}")).content
        };
        assert_eq!(part(false, "ringfence.toml"), "version = 1\nedge = \"sbc\" # at <address>, call <number>\n");
        assert!(part(true, "ringfence.toml").contains("192.0.2.7, call +14155552671"));
        for name in ["doctor.json", "status.json"] {
            let content = part(false, name);
            assert!(serde_json::from_str::<Value>(&content).is_ok_and(|value| value.is_object()), "{name}: {content}");
        }
        assert!(part(false, "version.txt").starts_with("ringfence "));
        assert!(part(true, "README.txt").contains("IT HOLDS TELEPHONE NUMBERS"));
    }
}
