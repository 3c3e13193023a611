//! The test cases of a policy repository: `tests/*.toml`.
//!
//! A case is a message, or a few fields from which one is built, and the verdict that is expected. Messages may come before it. Files
//! are read in the order of their names.

mod message;

use std::{
    fs, io,
    net::IpAddr,
    ops::Range,
    path::{Path, PathBuf},
};

use filter_core::reason::Reason;
use jiff::Timestamp;
use serde::Deserialize;
use toml::Spanned;

use self::message::{Fields, message_table};
use crate::{
    engine::MAX_DATAGRAM,
    files::Directory,
    language::{
        diagnostics::{Code, Diagnostic, Diagnostics, SourceFile, suggest},
        quantity,
    },
};

/// A file of test cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "case")]
    cases: Vec<Case>,
}

message_table! {
    /// One test case.
    struct Case {
        name: Spanned<String>,
        at: Option<Spanned<String>>,
        #[serde(default)]
        banned: bool,
        #[serde(default)]
        before: Vec<Spanned<Earlier>>,
        expect: Written,
    }
}

message_table! {
    /// Messages that come before that of a case. What they do not say is as in the case.
    struct Earlier {
        count: Option<Spanned<u64>>,
        every: Option<Spanned<String>>,
        ago: Option<Spanned<String>>,
    }
}

/// What is expected, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    verdict: Spanned<String>,
    reason: Option<Spanned<String>>,
    rule: Option<String>,
    would: Option<Vec<String>>,
}

/// The verdict that a case expects. Fields that are not given match anything.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// `pass`, `drop`, `reject` or `divert`.
    pub verdict: String,
    /// The name of the reason, such as `banned`.
    pub reason: Option<String>,
    /// The rule that decides; `""` for no rule.
    pub rule: Option<String>,
    /// The report-mode rules that match, in order.
    pub would: Option<Vec<String>>,
}

/// A message that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How long before the message of the case, in nanoseconds. 0 for that one itself.
    pub ago: u64,
    /// The address that it comes from.
    pub source: IpAddr,
    /// The signalling port that it is sent to; by default the policy's first one.
    pub port: Option<u16>,
    /// Which of the case's payloads it is.
    pub payload: usize,
}

/// A case that can be run.
#[derive(Clone, Debug)]
pub struct PreparedCase {
    /// The file, relative to the policy directory.
    pub file: PathBuf,
    /// The line of its name.
    pub line: u32,
    /// What the case shows, as a sentence.
    pub name: String,
    /// When its message arrives, if the case says so.
    pub at: Option<Timestamp>,
    /// True if its source is banned when the first message arrives.
    pub banned: bool,
    /// The UDP payloads of its messages, each once.
    pub payloads: Vec<Vec<u8>>,
    /// The messages in the order in which they arrive. The last one is that of the case.
    pub arrivals: Vec<Arrival>,
    /// What the policy must do with the last message.
    pub expect: Expectation,
}

impl PreparedCase {
    /// The address that the case's own message comes from.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.arrivals.last().map(|arrival| arrival.source)
    }
}

/// A mistake in a case, with its place in the file.
struct Mistake {
    span: Range<usize>,
    code: Code,
    message: String,
    help: Option<String>,
}

impl Mistake {
    fn new(span: Range<usize>, message: String) -> Self {
        Self { span, code: Code::BadValue, message, help: None }
    }

    fn help(mut self, help: &str) -> Self {
        self.help = Some(help.to_owned());
        self
    }
}

/// Bytes of the longest file of test cases.
const LONGEST_FILE: u64 = 4 << 20;

/// The most messages that may come before that of a case.
pub const MAX_EARLIER: u64 = 100_000;

/// The longest time before that of a case at which a message may arrive, in nanoseconds: 366 days.
pub const LONGEST_AGO: u64 = 366 * 86_400 * 1_000_000_000;

/// Reads the test cases of the policy repository in `directory`; none if it has no directory `tests`.
///
/// # Errors
/// All mistakes in all files.
pub fn read(directory: &Path) -> Result<Vec<PreparedCase>, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut prepared = Vec::new();
    match files(directory) {
        Ok((repository, files)) => {
            for file in files {
                read_file(&repository, &file, &mut prepared, &mut diagnostics);
            }
        }
        Err((path, error)) => diagnostics.push(unreadable(&path, &error)),
    }
    if diagnostics.is_empty() { Ok(prepared) } else { Err(diagnostics) }
}

/// The repository, and its files of test cases in order. None without a directory `tests`.
fn files(directory: &Path) -> Result<(Directory, Vec<PathBuf>), (PathBuf, io::Error)> {
    let repository = Directory::new(directory).map_err(|error| (directory.to_owned(), error))?;
    let folder = directory.join("tests");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((repository, Vec::new())),
        Err(error) => return Err((folder, error)),
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.strip_prefix(directory).map(Path::to_owned).unwrap_or(path))
        .collect();
    files.sort();
    Ok((repository, files))
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error(Code::MissingFile, format!("cannot read {}: {error}", path.display()))
}

fn read_file(repository: &Directory, path: &Path, prepared: &mut Vec<PreparedCase>, diagnostics: &mut Diagnostics) {
    let content = match repository.read_bounded(path, LONGEST_FILE) {
        Ok(content) => content,
        Err(error) => return diagnostics.push(unreadable(path, &error)),
    };
    let file = match SourceFile::decode(path, &content, "file") {
        Ok(file) => file,
        Err(diagnostic) => return diagnostics.push(diagnostic),
    };
    let mut complain = |mistake: Mistake| {
        let Mistake { span, code, message, help } = mistake;
        diagnostics.push(Diagnostic::error(code, message).at(file.place(span)).maybe_help(help));
    };
    match toml::from_str::<File>(&file.text) {
        Err(error) => complain(syntax(&error)),
        Ok(File { cases }) => {
            for case in &cases {
                match prepare(repository, &file, case) {
                    Ok(case) => prepared.push(case),
                    Err(mistake) => complain(mistake),
                }
            }
        }
    }
}

/// What the reader of TOML has found.
fn syntax(error: &toml::de::Error) -> Mistake {
    let span = error.span().unwrap_or_default();
    let message = error.message();
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    if let Some((key, rest)) = unknown {
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        let help = suggest(key, known);
        return Mistake { span, code: Code::UnknownKey, message: format!("unknown key `{key}`"), help };
    }
    if let Some(key) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let message = format!("`{key}` is missing");
        return Mistake { span, code: Code::MissingKey, message, help: None };
    }
    Mistake { span, code: Code::Syntax, message: message.to_owned(), help: None }
}

fn prepare(repository: &Directory, file: &SourceFile, case: &Case) -> Result<PreparedCase, Mistake> {
    let Case { name, at, banned, before, expect, .. } = case;
    let own = case.fields();
    let mut payloads = vec![payload(repository, &file.path, &own, &name.span())?];
    let mut arrivals = Vec::new();
    for earlier in before {
        let fields = earlier.get_ref().fields().or(&own);
        let times = times(earlier)?;
        if arrivals.len() as u64 + times.count > MAX_EARLIER {
            let message = format!("more than {MAX_EARLIER} messages come before that of the case");
            return Err(Mistake::new(earlier.span(), message).help("a smaller `count` shows the same"));
        }
        let (source, port) = (fields.source()?, fields.port);
        let payload_index = payloads.len();
        payloads.push(payload(repository, &file.path, &fields, &earlier.span())?);
        arrivals.extend(times.ago().map(|ago| Arrival { ago, source, port, payload: payload_index }));
    }
    // Those of the same time stay in the order of the file.
    arrivals.sort_by_key(|arrival| std::cmp::Reverse(arrival.ago));
    arrivals.push(Arrival { ago: 0, source: own.source()?, port: own.port, payload: 0 });
    Ok(PreparedCase {
        file: file.path.to_path_buf(),
        line: file.line(name.span().start),
        name: name.get_ref().clone(),
        at: at.as_ref().map(time).transpose()?,
        banned: *banned,
        payloads,
        arrivals,
        expect: expectation(expect)?,
    })
}

/// When the messages of an entry arrive.
#[derive(Debug, PartialEq, Eq)]
struct Times {
    count: u64,
    every: u64,
    /// Nanoseconds from the first of them to the message of the case.
    first: u64,
}

impl Times {
    fn ago(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |index| self.first - index * self.every)
    }
}

fn times(earlier: &Spanned<Earlier>) -> Result<Times, Mistake> {
    let Earlier { count, every, ago, .. } = earlier.get_ref();
    let count_span = count.as_ref().map_or_else(|| earlier.span(), Spanned::span);
    let count = count.as_ref().map_or(1, |count| *count.get_ref());
    if count == 0 || count > MAX_EARLIER {
        let help = format!("use a number from 1 to {MAX_EARLIER}");
        return Err(Mistake::new(count_span, format!("`count` cannot be {count}")).help(&help));
    }
    let every = every.as_ref().map_or(Ok(0), duration)?;
    // Without a time of its own, the next one after the last would be that of the case.
    let all = every.checked_mul(count);
    let (first, span) = match ago {
        Some(ago) => (Some(duration(ago)?), ago.span()),
        None => (all, earlier.span()),
    };
    let too_long = || {
        let message = "these messages arrive more than 366 days before that of the case".to_owned();
        Mistake::new(span.clone(), message).help("use smaller values of `count`, `every` and `ago`")
    };
    let first = first.filter(|first| *first <= LONGEST_AGO).ok_or_else(too_long)?;
    if every.checked_mul(count - 1).is_none_or(|last| last > first) {
        let message = "the last of these messages would arrive after that of the case".to_owned();
        let help = "make `ago` at least `count` times `every`, or leave it out";
        return Err(Mistake::new(span, message).help(help));
    }
    Ok(Times { count, every, first })
}

/// The nanoseconds of a duration, which may be of milliseconds.
fn duration(text: &Spanned<String>) -> Result<u64, Mistake> {
    let written = text.get_ref().as_str();
    let milliseconds = written.strip_suffix("ms").map(|count| count.parse::<u64>().ok());
    let nanoseconds = match milliseconds {
        Some(count) => count.and_then(|count| count.checked_mul(1_000_000)),
        None => quantity::duration(written).and_then(|seconds| seconds.checked_mul(1_000_000_000)),
    };
    nanoseconds.ok_or_else(|| {
        let message = format!("`{written}` is not a duration");
        let help = "write it like \"250ms\", \"2s\", \"10m\" or \"1h30m\"".to_owned();
        Mistake { span: text.span(), code: Code::BadDuration, message, help: Some(help) }
    })
}

/// When the message of a case arrives.
fn time(at: &Spanned<String>) -> Result<Timestamp, Mistake> {
    at.get_ref().parse().map_err(|_| Mistake {
        span: at.span(),
        code: Code::BadDate,
        message: format!("`{}` is not a time", at.get_ref()),
        help: Some("write it with its offset, such as 2026-11-27T18:30:00-05:00".to_owned()),
    })
}

fn expectation(expect: &Written) -> Result<Expectation, Mistake> {
    let known = |name: &Spanned<String>, names: &[&str], what: &str| {
        if names.contains(&name.get_ref().as_str()) {
            return Ok(name.get_ref().clone());
        }
        let help = suggest(name.get_ref(), names.iter().copied());
        Err(Mistake { help, ..Mistake::new(name.span(), format!("`{}` is not a {what}", name.get_ref())) })
    };
    Ok(Expectation {
        verdict: known(&expect.verdict, &["pass", "drop", "reject", "divert"], "verdict")?,
        reason: expect.reason.as_ref().map(|reason| known(reason, &Reason::NAMES, "reason")).transpose()?,
        rule: expect.rule.clone(),
        would: expect.would.clone(),
    })
}

/// A message: the content of the file that is named, or built from the fields.
fn payload(repository: &Directory, file: &Path, fields: &Fields, name: &Range<usize>) -> Result<Vec<u8>, Mistake> {
    let Some(message) = &fields.message else { return fields.build(name) };
    if fields.has_content() {
        let text = "there are both a message file and fields of a message".to_owned();
        return Err(Mistake::new(message.span(), text).help("use one or the other"));
    }
    let path = file.parent().unwrap_or(Path::new("")).join(message.get_ref());
    repository.read_bounded(&path, MAX_DATAGRAM as u64).map_err(|error| {
        let (code, text) = if error.kind() == io::ErrorKind::FileTooLarge {
            (Code::TooLarge, format!("{} is larger than a UDP datagram ({MAX_DATAGRAM} bytes)", path.display()))
        } else {
            (Code::MissingFile, format!("cannot read {}: {error}", path.display()))
        };
        Mistake { code, ..Mistake::new(message.span(), text) }
    })
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

    fn errors(files: &[(&str, &str)]) -> Vec<String> {
        let diagnostics = read(repository(files).path()).unwrap_err();
        diagnostics.iter().map(|diagnostic| diagnostic.to_json().to_string()).collect()
    }

    #[test]
    fn a_message_is_built_from_fields() {
        let folder = repository(&[(
            "a.toml",
            "[[case]]\nname = \"x\"\ncalling = \"+12125550100\"\ncalled = \"911\"\nattestation = \"B\"\n\
             body = \"hello\"\nexpect = { verdict = \"pass\" }\n",
        )]);
        let cases = read(folder.path()).unwrap();
        assert_eq!((cases[0].line, cases[0].arrivals.len()), (2, 1));
        let text = String::from_utf8(cases[0].payloads[0].clone()).unwrap();
        assert!(text.starts_with("INVITE sip:911@sbc.example.com SIP/2.0\r\n"), "{text}");
        assert!(text.contains("From: <sip:+12125550100@peer.example.net>;tag=case\r\n"), "{text}");
        assert!(text.contains(".eyJhdHRlc3QiOiJC"), "{text}");
        assert!(text.ends_with("Content-Length: 5\r\n\r\nhello"), "{text}");
    }

    #[test]
    fn messages_before_it_are_in_the_order_of_their_arrival_and_like_its_own() {
        let text = "[[case]]\nname = \"x\"\nsource = \"192.0.2.7\"\ncalled = \"911\"\nbefore = [\n\
                    { count = 2, every = \"250ms\", ago = \"1s\" },\n\
                    { ago = \"10m\", source = \"2001:db8::1\", method = \"REGISTER\" },\n\
                    { message = \"m.sip\" },\n\
                    { count = 3, every = \"2s\" },\n\
                    ]\nexpect = { verdict = \"pass\" }\n";
        let folder = repository(&[("a.toml", text), ("m.sip", "OPTIONS sip:a SIP/2.0\r\n\r\n")]);
        let case = read(folder.path()).unwrap().remove(0);
        let (own, other): (IpAddr, IpAddr) = ("192.0.2.7".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let arrivals: Vec<_> =
            case.arrivals.iter().map(|arrival| (arrival.ago / 1_000_000, arrival.source, arrival.payload)).collect();
        assert_eq!(
            arrivals,
            [
                (600_000, other, 2),
                (6_000, own, 4),
                (4_000, own, 4),
                (2_000, own, 4),
                (1_000, own, 1),
                (750, own, 1),
                (0, own, 3),
                (0, own, 0)
            ]
        );
        assert_eq!((&case.payloads[1], &case.payloads[4]), (&case.payloads[0], &case.payloads[0]));
        assert!(case.payloads[2].starts_with(b"REGISTER sip:911@"));
        assert!(case.payloads[3].starts_with(b"OPTIONS sip:a "));
    }

    #[test]
    fn every_mistake_in_every_file_is_reported_with_its_place() {
        let errors = errors(&[
            ("a.toml", "[[case]]\nname = \"x\"\ncaling = \"1\"\nexpect = { verdict = \"pass\" }\n"),
            ("b.toml", "[[case]]\nname = \"y\"\nexpect = { verdict = \"dorp\" }\n"),
            ("c.toml", "[[case]]\nname = \"z\"\nmessage = \"none.sip\"\nexpect = { verdict = \"drop\" }\n"),
        ]);
        assert_eq!(errors.len(), 3, "{errors:?}");
        for (error, parts) in errors.iter().zip([
            [r#""message":"unknown key `caling`""#, r#""line":3,"column":1"#, "did you mean `calling`?"],
            [r#""message":"`dorp` is not a verdict""#, r#""line":3,"column":22"#, "did you mean `drop`?"],
            ["none.sip", r#""line":3,"column":11"#, r#""code":"missing-file""#],
        ]) {
            for part in parts {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }

    #[test]
    fn what_a_case_cannot_have_is_an_error_with_its_place_and_how_to_fix_it() {
        for (line, place, says, help) in [
            ("at = \"yesterday\"", 6, "`yesterday` is not a time", "2026-11-27T18:30:00-05:00"),
            ("attestation = \"D\"", 15, "`D` is not an attestation", "use A, B or C"),
            ("source = \"a.example\"", 10, "`a.example` is not an address", "one address"),
            ("headers = [\"a: b\", \"c: d\\r\\ne: f\"]", 20, "there is a line break", "into a file"),
            ("message = \"m\"\nmethod = \"BYE\"", 11, "both a message file and fields", "one or the other"),
            ("before = [{ count = 0 }]", 21, "`count` cannot be 0", "from 1 to 100000"),
            ("before = [{ every = \"fast\" }]", 21, "`fast` is not a duration", "250ms"),
            ("before = [{ ago = \"400d\" }]", 19, "more than 366 days", "smaller"),
            ("before = [{ count = 5, every = \"1s\", ago = \"3s\" }]", 44, "after that of the case", "leave it out"),
            ("before = [{ count = 60000 }, { count = 60000 }]", 30, "more than 100000 messages", "smaller"),
            ("before = [{ counts = 2 }]", 13, "unknown key `counts`", "did you mean `count`?"),
        ] {
            let text = format!("[[case]]\nname = \"x\"\nexpect = {{ verdict = \"pass\" }}\n{line}\n");
            let errors = errors(&[("a.toml", &text)]);
            assert_eq!(errors.len(), 1, "{line}: {errors:?}");
            assert!(errors[0].contains(&format!(r#""line":4,"column":{place},"#)), "{line}: {}", errors[0]);
            assert!(errors[0].contains(says) && errors[0].contains(help), "{line}: {}", errors[0]);
        }
    }

    #[test]
    fn an_error_that_quotes_its_file_is_safe_for_a_terminal() {
        let folder = repository(&[("a.toml", "[[case]]\nname = \"x\"\ncaling = \"\u{202e}\"\n")]);
        let error = read(folder.path()).unwrap_err().render(false, None);
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
            read(folder.path()).map(|cases| cases.len()).map_err(|errors| errors.render(false, None))
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
