//! The daemon's configuration file: what `ringfence run` is to do on this host.
//!
//! It is read like a policy: every mistake at once, each at its place, with what was probably meant.

mod outputs;
mod policy;
mod responder;
pub mod schema;

use std::{
    fs,
    io::Read as _,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum as _;
use filter_policy::{
    files::too_large,
    language::{
        diagnostics::{Code, Diagnostic, Diagnostics, SourceFile},
        printable, quantity,
        source::{Located, Reader, fields},
    },
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub use self::{
    outputs::{FILE_KEYS, HEP_KEYS, JOURNAL_KEYS, STDOUT_KEYS, SYSLOG_KEYS},
    policy::GIT_KEYS,
    responder::{LONGEST_RETRY_AFTER, RESPONDER_KEYS},
};
use crate::{
    kernel::{Interface, MAX_INTERFACES, ModeChoice},
    outputs::OutputOptions,
    repository::Source,
    responder::Options as ResponderOptions,
};

/// Where the file is, unless `--config` names another one.
pub const DEFAULT_PATH: &str = "/etc/ringfence/ringfence.toml";

/// The version of the file's form.
pub const VERSION: i64 = 1;

/// Keys at the top of the file.
pub const TOP_KEYS: &[&str] =
    &["version", "edge", "interface", "policy", "limits", "state", "api", "pins", "outputs", "samples", "responder"];
/// Keys of `[[interface]]`.
pub const INTERFACE_KEYS: &[&str] = &["name", "mode"];
/// Keys of `[policy]`.
pub const POLICY_KEYS: &[&str] = &["directory", "git", "branch", "tag", "path", "poll", "allowed_signers", "report"];
/// Keys of `[limits]`.
pub const LIMITS_KEYS: &[&str] = &["max_list_bytes"];
/// Keys of `[state]`.
pub const STATE_KEYS: &[&str] = &["directory"];
/// Keys of `[api]`.
pub const API_KEYS: &[&str] = &["socket"];
/// Keys of `[pins]`.
pub const PINS_KEYS: &[&str] = &["directory"];
/// Keys of `[outputs]`: one for each output.
pub const OUTPUTS_KEYS: &[&str] = &["stdout", "prometheus", "file", "journal", "syslog", "hep"];

/// Keys of `[samples]`.
pub const SAMPLES_KEYS: &[&str] = &["per_second"];

/// The fewest and the most packets of each kind that may be sampled in a second. The program itself samples no more than some hundred for each
/// CPU.
pub const SAMPLES_RANGE: RangeInclusive<u64> = 0..=10_000;

/// Keys of `[outputs.prometheus]`.
pub const PROMETHEUS_KEYS: &[&str] = &["listen"];

/// The forms of what is written to standard output.
pub const FORMATS: &[&str] = &["text", "json"];

/// Characters of the longest name of an edge.
pub const LONGEST_EDGE: usize = 64;

/// Bytes of the longest name of an interface (`IFNAMSIZ` of include/uapi/linux/if.h, without the zero at its end).
pub const LONGEST_INTERFACE: usize = 15;

/// The least limit of the bytes of all lists, and the highest.
pub const LIST_BYTES_RANGE: RangeInclusive<u64> = 1 << 10..=1 << 40;

/// Bytes of the largest configuration file.
const LARGEST: u64 = 1 << 20;

/// The longest time between two tables, in seconds.
pub const LONGEST_INTERVAL: u64 = 3_600;

/// What a configuration file says. What it leaves out is none, or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    /// The name of this host in events and in the status.
    pub edge: Option<String>,
    /// Where to filter.
    pub interfaces: Vec<Interface>,
    /// Where the policy comes from. A relative directory is below the file's own directory.
    pub policy: Option<Source>,
    /// Report mode as a whole, whatever the policy says.
    pub report: Option<bool>,
    /// The most bytes of all lists of a policy together.
    pub list_bytes: Option<u64>,
    /// The directory for what is needed across restarts; a relative path as above.
    pub state: Option<PathBuf>,
    /// The API's socket; a relative path as above.
    pub socket: Option<PathBuf>,
    /// The directory of the filter's pins; a relative path as above.
    pub pins: Option<PathBuf>,
    /// JSON lines instead of text on standard output.
    pub json: Option<bool>,
    /// Time between two tables.
    pub interval: Option<Duration>,
    /// Where metrics are offered to Prometheus.
    pub prometheus: Option<SocketAddr>,
    /// The outputs beside standard output; relative paths as above.
    pub outputs: OutputOptions,
    /// How many packets of each kind are sampled in a second at most; 0 for none.
    pub samples: Option<u32>,
    /// How what rules reject or divert is answered; where the file does not say, the defaults.
    pub responder: ResponderOptions,
}

impl Configuration {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or has mistakes: all of them.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let (configuration, diagnostics) = Self::read_partly(path);
        if diagnostics.has_errors() { Err(diagnostics) } else { Ok(configuration) }
    }

    /// Reads what a file says in spite of its mistakes, and the mistakes.
    #[must_use]
    pub fn read_partly(path: &Path) -> (Self, Diagnostics) {
        let mut content = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content));
        let read = read.and_then(|length| if length as u64 > LARGEST { Err(too_large(LARGEST)) } else { Ok(content) });
        match read {
            Ok(content) => Self::parse_partly(path, &content),
            Err(error) => {
                let message = format!("cannot read the configuration {}: {error}", printable::path(path));
                (Self::default(), only(Diagnostic::error(Code::MissingFile, message)))
            }
        }
    }

    /// Reads the content of the file at `path`.
    ///
    /// # Errors
    /// It has mistakes: all of them.
    pub fn parse(path: &Path, content: &[u8]) -> Result<Self, Diagnostics> {
        let (configuration, diagnostics) = Self::parse_partly(path, content);
        if diagnostics.has_errors() { Err(diagnostics) } else { Ok(configuration) }
    }

    fn parse_partly(path: &Path, content: &[u8]) -> (Self, Diagnostics) {
        let file = match SourceFile::decode(path, content, "configuration") {
            Ok(file) => file,
            Err(mistake) => return (Self::default(), only(mistake)),
        };
        let mut diagnostics = Diagnostics::default();
        let directory = path.parent().unwrap_or(Path::new(""));
        let (configuration, _) = Reader::read(&file, &mut diagnostics, |reader, document| {
            File { reader, directory }.configuration(document)
        });
        diagnostics.sort(path);
        (configuration, diagnostics)
    }
}

fn only(diagnostic: Diagnostic) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    diagnostics.push(diagnostic);
    diagnostics
}

/// A value with its place.
type Value<'i> = Spanned<DeValue<'i>>;

/// A file that is being read.
struct File<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// Where the file is.
    directory: &'r Path,
}

impl File<'_, '_> {
    fn configuration(&mut self, document: &DeTable<'_>) -> Configuration {
        let mut configuration = Configuration::default();
        let mut has_version = false;
        for (key, span, value) in fields(document) {
            match key {
                "version" => {
                    has_version = true;
                    self.reader.version(value, VERSION, "the configuration", "configuration");
                }
                "edge" => configuration.edge = self.edge(key, value),
                "interface" => configuration.interfaces = self.interfaces(key, value),
                "policy" => {
                    let policy::Section { source, report } = self.policy(key, value);
                    (configuration.policy, configuration.report) = (source, report);
                }
                "limits" => self.section(key, value, LIMITS_KEYS, |file, key, value| {
                    configuration.list_bytes = file.number(key, value, LIST_BYTES_RANGE, "bytes");
                }),
                "state" => self.section(key, value, STATE_KEYS, |file, key, value| {
                    configuration.state = file.path(key, value);
                }),
                "api" => self.section(key, value, API_KEYS, |file, key, value| {
                    configuration.socket = file.path(key, value);
                }),
                "pins" => self.section(key, value, PINS_KEYS, |file, key, value| {
                    configuration.pins = file.path(key, value);
                }),
                "outputs" => self.section(key, value, OUTPUTS_KEYS, |file, key, value| match key {
                    "prometheus" => file.prometheus(value, &mut configuration),
                    "file" => file.events_file(value, &mut configuration),
                    "hep" => file.hep(value, &mut configuration),
                    "journal" => file.journal(value, &mut configuration),
                    "syslog" => file.syslog(value, &mut configuration),
                    _ => file.stdout(value, &mut configuration),
                }),
                "samples" => self.section(key, value, SAMPLES_KEYS, |file, key, value| {
                    let samples = file.number(key, value, SAMPLES_RANGE, "packets");
                    configuration.samples = samples.and_then(|samples| u32::try_from(samples).ok());
                }),
                "responder" => self.responder(key, value, &mut configuration),
                "interfaces" => {
                    let help = Some("write `[[interface]]`, once for each interface".to_owned());
                    let message = format!("unknown key `{key}` in the configuration");
                    self.reader.error(Code::UnknownKey, &span, message, help);
                }
                _ => self.reader.unknown_key(key, &span, "the configuration", TOP_KEYS),
            }
        }
        if !has_version {
            self.reader.missing_version(VERSION, "configuration");
        }
        configuration
    }

    fn prometheus(&mut self, value: &Value<'_>, configuration: &mut Configuration) {
        self.section("outputs.prometheus", value, PROMETHEUS_KEYS, |file, key, value| {
            configuration.prometheus = file.socket_address(key, value);
        });
        // Whoever writes the section wants metrics: without an address there would silently be none.
        let has_address = matches!(value.get_ref(), DeValue::Table(table) if table.contains_key("listen"));
        if matches!(value.get_ref(), DeValue::Table(_)) && !has_address {
            let help = Some("add `listen = \"127.0.0.1:9469\"`".to_owned());
            self.reader.error(Code::MissingKey, &value.span(), "`[outputs.prometheus]` has no `listen`", help);
        }
    }

    /// An address with a port, both as numbers.
    fn socket_address(&mut self, key: &str, value: &Value<'_>) -> Option<SocketAddr> {
        let text = self.reader.string(key, value)?;
        let address = text.value.parse().ok();
        if address.is_none() {
            let help =
                "write an address and a port, such as `127.0.0.1:9469`, or `[::]:9469` for all addresses of the host";
            let message = format!("`{key}` cannot be `{}`", text.value);
            self.reader.error(Code::BadValue, &text.span, message, Some(help.to_owned()));
        }
        address
    }

    /// Hands each known key of a section to `read`.
    fn section(
        &mut self,
        name: &str,
        value: &Value<'_>,
        known: &[&str],
        mut read: impl FnMut(&mut Self, &str, &Value<'_>),
    ) {
        let Some(table) = self.reader.table(name, value) else { return };
        for (key, span, value) in fields(table) {
            if known.contains(&key) {
                read(self, key, value);
            } else {
                self.reader.unknown_key(key, &span, &format!("`[{name}]`"), known);
            }
        }
    }

    /// A name that is shown and logged, and is easy to search for.
    fn edge(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        let name = self.reader.string(key, value)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.value.is_empty() || name.value.len() > LONGEST_EDGE || !name.value.bytes().all(is_plain) {
            let help = Some(format!("use letters, digits, `-`, `_` and `.`, at most {LONGEST_EDGE} of them"));
            self.reader.error(Code::BadValue, &name.span, format!("`{key}` cannot be `{}`", name.value), help);
            return None;
        }
        Some(name.value)
    }

    fn interfaces(&mut self, key: &str, value: &Value<'_>) -> Vec<Interface> {
        let DeValue::Array(array) = value.get_ref() else {
            self.reader.wrong_type(key, value, "sections (`[[interface]]`)");
            return Vec::new();
        };
        let mut interfaces: Vec<Interface> = Vec::new();
        for entry in array {
            let Some((interface, name)) = self.interface(key, entry) else { continue };
            if interfaces.iter().any(|known| known.name == interface.name) {
                let help = Some("remove one of the two".to_owned());
                let message = format!("the interface `{}` is listed twice", interface.name);
                self.reader.error(Code::BadValue, &name.span, message, help);
            } else if interfaces.len() == MAX_INTERFACES {
                let help =
                    Some("let a second daemon filter on the others, with `[pins]` and `[api]` of its own".to_owned());
                let message = format!("more than {MAX_INTERFACES} interfaces");
                self.reader.error(Code::BadValue, &name.span, message, help);
                break;
            } else {
                interfaces.push(interface);
            }
        }
        interfaces
    }

    fn interface(&mut self, key: &str, value: &Value<'_>) -> Option<(Interface, Located<String>)> {
        let mut name = None;
        let mut has_name = false;
        let mut mode = ModeChoice::default();
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            self.reader.wrong_type(key, value, "sections (`[[interface]]`)");
            return None;
        }
        self.section("[interface]", value, INTERFACE_KEYS, |file, key, value| match key {
            "name" => {
                has_name = true;
                name = file.interface_name(key, value);
            }
            _ => {
                let word = file.reader.word(key, value, &modes());
                mode = word.and_then(|word| ModeChoice::from_str(&word.value, false).ok()).unwrap_or_default();
            }
        });
        if !has_name {
            let help = Some("add `name = \"eth0\"`".to_owned());
            self.reader.error(Code::MissingKey, &value.span(), "this interface has no `name`", help);
        }
        let name = name?;
        Some((Interface { name: name.value.clone(), mode }, name))
    }

    fn interface_name(&mut self, key: &str, value: &Value<'_>) -> Option<Located<String>> {
        let name = self.reader.string(key, value)?;
        // As the kernel's dev_valid_name().
        let is_odd = |byte: u8| byte == b'/' || byte == b':' || byte.is_ascii_whitespace();
        let text = name.value.as_str();
        if text.is_empty() || text.len() > LONGEST_INTERFACE || text == "." || text == ".." || text.bytes().any(is_odd)
        {
            let help = Some("`ip -brief link` lists the interfaces of this host".to_owned());
            let message = format!("`{text}` is not a name that an interface can have");
            self.reader.error(Code::BadValue, &name.span, message, help);
            return None;
        }
        Some(name)
    }

    /// A path; a relative one is below the file's directory.
    fn path(&mut self, key: &str, value: &Value<'_>) -> Option<PathBuf> {
        let path = self.reader.string(key, value)?;
        if path.value.is_empty() {
            let help = Some("leave the key out for the default".to_owned());
            self.reader.error(Code::BadValue, &path.span, format!("`{key}` is an empty path"), help);
            return None;
        }
        Some(self.directory.join(path.value))
    }

    /// A number of what `of` says, within a range.
    fn number(&mut self, key: &str, value: &Value<'_>, range: RangeInclusive<u64>, of: &str) -> Option<u64> {
        let DeValue::Integer(written) = value.get_ref() else {
            self.reader.wrong_type(key, value, &format!("a number of {of}"));
            return None;
        };
        let number = written.as_str().parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let help = Some(format!("write a number of {of} from {} to {}", range.start(), range.end()));
            self.reader.error(Code::BadValue, &value.span(), format!("`{key}` cannot be {}", written.as_str()), help);
        }
        number
    }

    /// A time of at most `longest` seconds.
    fn time(&mut self, key: &str, value: &Value<'_>, longest: u64, help: &str) -> Option<Duration> {
        let text = self.reader.string(key, value)?;
        let seconds = quantity::duration(&text.value).filter(|seconds| *seconds <= longest);
        if seconds.is_none() {
            let help = Some(help.to_owned());
            self.reader.error(Code::BadDuration, &text.span, format!("`{key}` cannot be `{}`", text.value), help);
        }
        seconds.map(Duration::from_secs)
    }
}

/// The words for the mode of an interface.
#[must_use]
pub fn modes() -> Vec<&'static str> {
    ModeChoice::value_variants().iter().map(|mode| mode.name()).collect()
}
