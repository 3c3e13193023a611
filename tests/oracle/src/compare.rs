//! Readings and decisions of the engine and of the oracle, in one form.

use std::fmt::Write as _;

use filter_core::{
    layout::{Attestation, Method, NumberFormat, Text, Verstat},
    limits::NAMED_HEADERS,
    scratch::{Header, Kind, Number, NumberOf, Scratch, UriOf},
    text,
};
use filter_policy::engine::Decision;

use crate::{
    decide,
    read::{self, Message},
};

/// The oracle's decision in the engine's form.
pub fn as_engine(decision: &decide::Decision) -> Decision {
    let decide::Decision { reason, rule, would, matched } = decision.clone();
    Decision { reason, rule, would, matched }
}

/// What was read, in a form common to all three readers.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    pub kind: Kind,
    pub anomalies: u32,
    pub message: Option<Box<Fields>>,
}

/// The values of a request or a response.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    pub method: Method,
    pub written_method: String,
    pub texts: Vec<Option<String>>,
    /// The headers that only the policy names.
    pub named: Vec<Option<String>>,
    pub users: Vec<String>,
    pub numbers: Vec<Option<Digits>>,
    pub formats: [NumberFormat; 2],
    pub attestation: Attestation,
    pub verstat: Verstat,
    pub privacy: u32,
    pub passports: u32,
    pub to_tag: bool,
    pub content_length: Option<u32>,
}

/// The first fifteen digits of a number, how many it has, and whether it is a short code.
pub type Digits = (String, usize, bool);

/// The bytes in printable form.
pub fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The URIs that are still known when a message has been read. That of an entry of a list is not.
fn kept_uris() -> impl Iterator<Item = UriOf> {
    UriOf::ALL.into_iter().filter(|of| !matches!(*of, UriOf::Entry | UriOf::Last))
}

/// What an engine read.
pub fn readings(scratch: &Scratch) -> Read {
    let kind = scratch.message.kind;
    let is_sip = kind.is_message();
    Read { kind, anomalies: scratch.message.anomalies, message: is_sip.then(|| Box::new(fields(scratch))) }
}

fn fields(scratch: &Scratch) -> Fields {
    let texts =
        Text::ALL.map(|text| text::span(&scratch.message, text).map(|span| escaped(scratch.trimmed(span)))).to_vec();
    let named = (0..NAMED_HEADERS as u32).map(Header::named);
    let named = named
        .map(|header| scratch.message.has(header).then(|| escaped(scratch.trimmed(scratch.message.header(header)))));
    let number = |of: NumberOf| digits(scratch.message.number(of));
    let format = |of: NumberOf| scratch.message.number(of).format;
    Fields {
        method: scratch.message.method,
        written_method: escaped(scratch.bytes(scratch.message.header(Header::MethodOrCode))),
        texts,
        named: named.collect(),
        users: kept_uris().map(|uri| escaped(scratch.bytes(scratch.message.uri(uri).user))).collect(),
        numbers: NumberOf::ALL.into_iter().filter(|of| *of != NumberOf::Entry).map(number).collect(),
        formats: [format(NumberOf::Calling), format(NumberOf::Called)],
        attestation: scratch.message.attestation,
        verstat: scratch.message.verstat,
        privacy: scratch.message.privacy,
        passports: scratch.message.passports,
        to_tag: scratch.message.to_tag != 0,
        content_length: (scratch.message.content_length != u32::MAX).then_some(scratch.message.content_length),
    }
}

fn digits(number: &Number) -> Option<Digits> {
    let key = format!("{:016x}", number.key);
    let length = usize::from(number.digits);
    (number.key != 0).then(|| (key[..length.min(15)].to_owned(), length, number.short_code != 0))
}

/// What the oracle read.
pub fn of_oracle(message: &Message) -> Read {
    let numbers = &message.numbers;
    let number = |number: &Option<String>| -> Option<Digits> {
        let number = number.as_ref()?;
        let is_short_code = number.len() <= 6 && !number.starts_with('+');
        let digits = number.trim_start_matches('+');
        Some((digits[..digits.len().min(15)].to_owned(), digits.len().min(255), is_short_code))
    };
    let text = |text: &Option<Vec<u8>>| text.as_deref().map(|text| escaped(read::trimmed(text)));
    let fields = || Fields {
        method: message.method,
        written_method: escaped(&message.written_method),
        texts: Text::ALL.map(|of| text(&message.texts[of.index()])).to_vec(),
        named: message.named.iter().map(text).collect(),
        users: kept_uris().map(|uri| escaped(&message.users[uri.index()])).collect(),
        numbers: [
            &numbers.calling,
            &numbers.called,
            &numbers.forwarded,
            &numbers.from,
            &numbers.asserted,
            &numbers.preferred,
            &numbers.to,
        ]
        .map(number)
        .to_vec(),
        formats: [message.calling_format, message.called_format],
        attestation: message.attestation,
        verstat: message.verstat,
        privacy: message.privacy,
        passports: message.passports,
        to_tag: message.to_tag,
        content_length: message.content_length,
    };
    Read { kind: message.kind, anomalies: message.anomalies, message: message.is_sip().then(|| Box::new(fields())) }
}

/// Compares two readings.
///
/// # Errors
/// They differ: the error says where.
pub fn same(name: &str, read: &Read, other_name: &str, other: &Read) -> Result<(), String> {
    if read == other {
        return Ok(());
    }
    let (one, two) = (format!("{read:#?}"), format!("{other:#?}"));
    let mut what = String::from("readings differ:\n");
    let (one, two): (Vec<&str>, Vec<&str>) = (one.lines().collect(), two.lines().collect());
    if one.len() == two.len() {
        for (index, (one, two)) in one.iter().zip(&two).enumerate().filter(|(_, (one, two))| one != two) {
            let _ = writeln!(what, "line {index}: {name} {one}, {other_name} {two}");
        }
    } else {
        let _ = writeln!(what, "{name}: {}\n{other_name}: {}", one.join("\n"), two.join("\n"));
    }
    Err(what)
}
