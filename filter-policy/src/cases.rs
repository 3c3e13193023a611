//! The test cases of a policy repository: `tests/*.toml`.
//!
//! A case is a message, or a few fields from which one is built, and the verdict that is expected. Files are read in the order
//! of their names.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Deserialize;

use crate::{engine::MAX_DATAGRAM, files::Directory, language::printable};

/// A file of test cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "case")]
    cases: Vec<Case>,
}

/// One test case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case shows, as a sentence.
    pub name: String,
    /// The address that the message comes from; 192.0.2.1 by default.
    #[serde(default = "default_source")]
    pub source: IpAddr,
    /// The signalling port that the message is sent to; by default the policy's first one.
    pub port: Option<u16>,
    /// A file with the whole message, relative to the file of the case. The fields below must then be absent.
    pub message: Option<PathBuf>,
    /// The method; INVITE by default.
    pub method: Option<String>,
    /// From's user part, as on the wire.
    pub calling: Option<String>,
    /// The Request-URI's and To's user part.
    pub called: Option<String>,
    /// P-Asserted-Identity's user part.
    pub asserted: Option<String>,
    /// Diversion's user part.
    pub forwarded: Option<String>,
    /// User-Agent.
    pub user_agent: Option<String>,
    /// The attestation claimed in an Identity header: A, B or C.
    pub attestation: Option<String>,
    /// From's display name.
    pub from_display: Option<String>,
    /// Additional header lines, each `Name: value`.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The message body; empty by default. Content-Length is computed from it.
    pub body: Option<String>,
    /// When the message arrives, such as `2026-11-27T18:30:00-05:00`; now if it is not given.
    pub at: Option<String>,
    /// What the policy must do with the message.
    pub expect: Expectation,
}

/// The verdict that a case expects. Fields that are not given match anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// `pass`, `drop`, `reject` or `divert`.
    pub verdict: String,
    /// The rule that decides; `""` for no rule.
    pub rule: Option<String>,
    /// The report-mode rules that match, in order.
    pub would: Option<Vec<String>>,
}

/// Why test cases cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A file cannot be read.
    #[error("failed to read {file}: {source}")]
    Io {
        /// A file, relative to the policy directory; or `tests`, with that directory in front.
        file: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
    /// A file is not a valid file of test cases.
    #[error("{file}: {message}")]
    Toml {
        /// Relative to the policy directory.
        file: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
    /// A case contradicts itself or has an invalid value.
    #[error("{file}: case {case:?}: {message}")]
    Case {
        /// Relative to the policy directory.
        file: PathBuf,
        /// The `name` of the case.
        case: String,
        /// What is wrong, and how to fix it.
        message: String,
    },
}

/// A case that can be run: with its file and the message's bytes.
#[derive(Clone, Debug)]
pub struct PreparedCase {
    /// The file, relative to the policy directory.
    pub file: PathBuf,
    /// The case as written in the file.
    pub case: Case,
    /// The UDP payload.
    pub payload: Vec<u8>,
    /// When the message arrives, if the case says so.
    pub at: Option<Timestamp>,
}

/// Bytes of the longest file of test cases.
const LONGEST_FILE: u64 = 4 << 20;

fn default_source() -> IpAddr {
    // A documentation address (RFC 5737) that is in no sample list.
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))
}

/// Reads the test cases of the policy repository in `directory`; none if it has no directory `tests`.
///
/// # Errors
/// All mistakes in all files.
pub fn read(directory: &Path) -> Result<Vec<PreparedCase>, Vec<CaseError>> {
    let folder = directory.join("tests");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(vec![CaseError::Io { file: folder, source }]),
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let repository =
        Directory::new(directory).map_err(|source| vec![CaseError::Io { file: directory.to_owned(), source }])?;
    let mut prepared = Vec::new();
    let mut errors = Vec::new();
    for path in files {
        let file = path.strip_prefix(directory).unwrap_or(&path).to_owned();
        match read_file(&repository, &file) {
            Ok(cases) => {
                for case in cases {
                    match payload(&repository, &file, &case).and_then(|payload| Ok((payload, time(&file, &case)?))) {
                        Ok((payload, at)) => prepared.push(PreparedCase { file: file.clone(), case, payload, at }),
                        Err(error) => errors.push(error),
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(prepared) } else { Err(errors) }
}

fn read_file(repository: &Directory, file: &Path) -> Result<Vec<Case>, CaseError> {
    let text = repository
        .read_bounded(file, LONGEST_FILE)
        .and_then(|text| {
            String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
        })
        .map_err(|source| CaseError::Io { file: file.to_owned(), source })?;
    let parsed: File = toml::from_str(&text)
        .map_err(|error| CaseError::Toml { file: file.to_owned(), message: printable_lines(&error.to_string()) })?;
    Ok(parsed.cases)
}

/// Makes a text of several lines safe for a terminal: it quotes the file, which is untrusted.
fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(|line| printable::escaped(&line.replace('\t', " "))).collect();
    lines.join("\n")
}

/// When the message of a case arrives.
fn time(file: &Path, case: &Case) -> Result<Option<Timestamp>, CaseError> {
    let parsed = case.at.as_ref().map(|at| at.parse().map_err(|_| at)).transpose();
    parsed.map_err(|at| CaseError::Case {
        file: file.to_owned(),
        case: case.name.clone(),
        message: format!("{at:?} is not a time: write it with its offset, such as 2026-11-27T18:30:00-05:00"),
    })
}

/// The message of a case: the content of the file that it names, or built from its fields.
fn payload(repository: &Directory, file: &Path, case: &Case) -> Result<Vec<u8>, CaseError> {
    let mistake = |message: String| CaseError::Case { file: file.to_owned(), case: case.name.clone(), message };
    if !["pass", "drop", "reject", "divert"].contains(&case.expect.verdict.as_str()) {
        return Err(mistake(format!("{:?} is not a verdict: use pass, drop, reject or divert", case.expect.verdict)));
    }
    let Some(message) = &case.message else { return message_of(case).map_err(mistake) };
    let fields = [
        &case.method,
        &case.calling,
        &case.called,
        &case.asserted,
        &case.forwarded,
        &case.user_agent,
        &case.attestation,
        &case.from_display,
        &case.body,
    ];
    if fields.iter().any(|field| field.is_some()) || !case.headers.is_empty() {
        return Err(mistake("it has both a message file and message fields: use one or the other".to_owned()));
    }
    let message = file.parent().unwrap_or(Path::new("")).join(message);
    repository.read_bounded(&message, MAX_DATAGRAM as u64).map_err(|source| {
        if source.kind() == io::ErrorKind::FileTooLarge {
            mistake(format!("its message is larger than a UDP datagram ({MAX_DATAGRAM} bytes)"))
        } else {
            CaseError::Io { file: message, source }
        }
    })
}

/// A complete message built from the fields of a case.
fn message_of(case: &Case) -> Result<Vec<u8>, String> {
    let method = case.method.as_deref().unwrap_or("INVITE");
    let user = |user: &Option<String>| user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let called = user(&case.called);
    let mut lines = vec![
        format!("{method} sip:{called}sbc.example.com SIP/2.0"),
        "Via: SIP/2.0/UDP peer.example.net;branch=z9hG4bKcase".to_owned(),
        match &case.from_display {
            Some(name) => format!("From: \"{name}\" <sip:{}peer.example.net>;tag=case", user(&case.calling)),
            None => format!("From: <sip:{}peer.example.net>;tag=case", user(&case.calling)),
        },
        format!("To: <sip:{called}sbc.example.com>"),
        "Call-ID: case@peer.example.net".to_owned(),
        format!("CSeq: 1 {method}"),
        "Max-Forwards: 70".to_owned(),
        "Contact: <sip:peer.example.net>".to_owned(),
    ];
    if case.asserted.is_some() {
        lines.push(format!("P-Asserted-Identity: <sip:{}peer.example.net>", user(&case.asserted)));
    }
    if case.forwarded.is_some() {
        lines.push(format!("Diversion: <sip:{}peer.example.net>;reason=unconditional", user(&case.forwarded)));
    }
    if let Some(agent) = &case.user_agent {
        lines.push(format!("User-Agent: {agent}"));
    }
    if let Some(attestation) = &case.attestation {
        // The payload begins with `{"attest":"A` in base64url (RFC 8588); the last character depends on the claim.
        let last = match attestation.as_str() {
            "A" => 'B',
            "B" => 'C',
            "C" => 'D',
            other => return Err(format!("{other:?} is not an attestation: use A, B or C")),
        };
        lines.push(format!(
            "Identity: eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJ{last}IiwiZGVzdCI6e319.c2lnbmF0dXJl;info=<https://cert.example.net/c.pem>;alg=ES256;ppt=shaken"
        ));
    }
    lines.extend(case.headers.iter().cloned());
    if let Some(bad) = lines.iter().find(|line| line.contains(['\r', '\n'])) {
        return Err(format!("there is a line break in {bad:?}: put such a message into a file"));
    }
    let body = case.body.as_deref().unwrap_or_default();
    lines.push(format!("Content-Length: {}", body.len()));
    let mut message = lines.join("\r\n");
    message.push_str("\r\n\r\n");
    message.push_str(body);
    Ok(message.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tests")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join("tests").join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_message_is_built_from_fields() {
        let folder = repository(&[(
            "a.toml",
            "[[case]]\nname = \"x\"\ncalling = \"+12125550100\"\ncalled = \"911\"\nattestation = \"B\"\n\
             body = \"hello\"\nexpect = { verdict = \"pass\" }\n",
        )]);
        let cases = read(folder.path()).unwrap();
        let text = String::from_utf8(cases[0].payload.clone()).unwrap();
        assert!(text.starts_with("INVITE sip:911@sbc.example.com SIP/2.0\r\n"), "{text}");
        assert!(text.contains("From: <sip:+12125550100@peer.example.net>;tag=case\r\n"), "{text}");
        assert!(text.contains(".eyJhdHRlc3QiOiJC"), "{text}");
        assert!(text.ends_with("Content-Length: 5\r\n\r\nhello"), "{text}");
    }

    #[test]
    fn every_mistake_in_every_file_is_reported() {
        let folder = repository(&[
            ("a.toml", "[[case]]\nname = \"x\"\ncaling = \"1\"\nexpect = { verdict = \"pass\" }\n"),
            ("b.toml", "[[case]]\nname = \"y\"\nexpect = { verdict = \"allow\" }\n"),
            ("c.toml", "[[case]]\nname = \"z\"\nmessage = \"none.sip\"\nexpect = { verdict = \"drop\" }\n"),
        ]);
        let errors: Vec<String> = read(folder.path()).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].contains("caling") && errors[0].contains("line 3"), "{errors:?}");
        assert!(errors[1].contains("case \"y\"") && errors[1].contains("allow"), "{errors:?}");
        assert!(errors[2].contains("none.sip"), "{errors:?}");
    }

    #[test]
    fn an_error_that_quotes_its_file_is_safe_for_a_terminal() {
        let folder = repository(&[("a.toml", "[[case]]\nname = \"x\"\ncaling = \"\u{202e}\"\n")]);
        let error = read(folder.path()).unwrap_err()[0].to_string();
        assert!(error.contains("caling = \"\\u{202e}\""), "{error}");
        assert!(error.lines().count() > 1 && !error.contains('\u{202e}'), "{error}");
    }

    #[test]
    fn a_repository_without_tests_has_no_cases() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_file_of_the_repository_is_refused_and_does_not_block() {
        let case = |message: &str| {
            format!("[[case]]\nname = \"x\"\nmessage = \"{message}\"\nexpect = {{ verdict = \"drop\" }}\n")
        };
        let outside = tempfile::NamedTempFile::new().unwrap();
        let errors_of = |files: &[(&str, &str)]| {
            let folder = repository(files);
            let tests = folder.path().join("tests");
            std::os::unix::fs::symlink(outside.path(), tests.join("link.sip")).unwrap();
            std::os::unix::fs::symlink("/dev/zero", tests.join("device.sip")).unwrap();
            let made = std::process::Command::new("mkfifo").arg(tests.join("pipe.sip")).status().unwrap();
            assert!(made.success());
            fs::write(tests.join("long.sip"), vec![b'a'; MAX_DATAGRAM + 1]).unwrap();
            fs::write(folder.path().join("good.sip"), "OPTIONS sip:a SIP/2.0\r\n\r\n").unwrap();
            read(folder.path()).map(|cases| cases.len()).map_err(|errors| {
                errors
                    .iter()
                    .map(|error| format!("{error}: {:?}", std::error::Error::source(error)))
                    .collect::<String>()
            })
        };
        for (message, expected) in [
            ("link.sip", "a symbolic link leads out"),
            ("device.sip", "a symbolic link leads out"),
            ("pipe.sip", "not a regular file"),
            ("long.sip", "larger than a UDP datagram"),
            ("/etc/passwd", "outside of the policy's directory"),
            ("../../../../../../../../etc/passwd", "outside of the policy's directory"),
        ] {
            let errors = errors_of(&[("a.toml", &case(message))]).unwrap_err();
            assert!(errors.contains(expected), "{message}: {errors}");
        }
        assert_eq!(errors_of(&[("a.toml", &case("../good.sip"))]), Ok(1));
        let long = format!("#{}\n", "a".repeat(LONGEST_FILE as usize));
        let errors = errors_of(&[("a.toml", &long)]).unwrap_err();
        assert!(errors.contains("it has more than 4194304 bytes"), "{errors}");
    }
}
