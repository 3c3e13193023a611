//! Messages that are made to get past a filter, sent by a stranger to real SIP parsers: without a filter they are read as what the
//! sample policy stops, and with it none is.

use std::{collections::BTreeSet, fs, net::TcpStream, thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use ringfence_servers::{Field, Kind, Reading, attacks};
use ringfence_tests::{
    filter::{Filter, FilterOptions},
    message::Message,
    netns::{Wire, WireOptions},
    process::wait_until,
    say, scratch, workspace,
};
use tempfile::TempDir;

use crate::{scene::binary, servers::Servers};

/// In the sample's list of scanners.
const SCANNER: &str = "friendly-scanner";
/// In the sample's list of numbers that place no calls.
const LISTED: &str = "+12025550100";
/// In the sample's list of premium numbers.
const PREMIUM: &str = "+19005551234";

/// How the attacks of the corpus write these, and what takes their place if only one of them is to be left in a message.
const DISGUISES: [(&str, &[(&str, &str)]); 3] = [
    ("scanner", &[(SCANNER, "Example-PBX/4.2x")]),
    (
        "calling",
        &[
            ("2025550100", "4155552671"),
            ("%32025550100", "%34155552671"),
            ("202-555-0100", "415-555-2671"),
            ("2550100", "2552671"),
        ],
    ),
    ("called", &[("9005551234", "3125550188"), ("%39005551234", "%33125550188"), ("(900)555-1234", "(312)555-0188")]),
];

/// Longer than the first times after which TCP sends a segment again: 0.2, 0.4 and 0.8 s.
const SEVERAL_COPIES: Duration = Duration::from_millis(1_600);

const LIMIT: Duration = Duration::from_secs(10);

/// What a server has read that the sample policy stops.
fn stopped_by_the_sample(reading: &Reading) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    if reading.kind != Kind::Request {
        return found;
    }
    let has = |field, wanted: &dyn Fn(&[u8]) -> bool| reading.of(field).iter().any(|value| wanted(value));
    if has(Field::UserAgent, &|agent| String::from_utf8_lossy(agent).to_ascii_lowercase().contains(SCANNER)) {
        found.insert("scanner");
    }
    if [Field::RequestUser, Field::FromUser, Field::ToUser].iter().any(|&field| has(field, &is_sql)) {
        found.insert("sql");
    }
    if has(Field::Method, &|method| method.eq_ignore_ascii_case(b"INVITE")) {
        if [Field::FromUser, Field::AssertedUser].iter().any(|&field| has(field, &|user| is_number(user, LISTED))) {
            found.insert("calling");
        }
        if has(Field::RequestUser, &|user| is_number(user, PREMIUM)) {
            found.insert("called");
        }
    }
    found
}

fn is_sql(user: &[u8]) -> bool {
    user.contains(&b'\'') && user.contains(&b'=')
}

/// Whether a server that reads this user part can take it for the number: with or without country code, international prefix,
/// separators, escapes and parameters.
fn is_number(user: &[u8], number: &str) -> bool {
    let mut digits = String::new();
    let mut rest = user;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = (byte == b'%').then(|| after.get(..2)).flatten().and_then(|pair| std::str::from_utf8(pair).ok());
        match escaped.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(plain) => {
                rest = &after[2..];
                digits.extend(plain.is_ascii_digit().then_some(plain as char));
            }
            None if matches!(byte, b';' | b':') && !digits.is_empty() => break,
            None => digits.extend(byte.is_ascii_digit().then_some(byte as char)),
        }
    }
    // (The sample's international prefixes are 011 and 00.)
    let digits = ["011", "00"].iter().find_map(|prefix| digits.strip_prefix(prefix)).unwrap_or(&digits);
    digits == &number[1..] || digits == &number[2..]
}

/// Servers on a wire, without a filter at first. The fields are dropped in this order.
struct Site {
    filter: Option<Filter>,
    servers: Servers,
    wire: Wire,
    scratch: TempDir,
}

impl Site {
    fn new() -> Result<Self> {
        let scratch = scratch()?;
        let wire = Wire::new(&WireOptions::default())?;
        let servers = Servers::start(&wire, scratch.path())?;
        Ok(Self { filter: None, servers, wire, scratch })
    }

    /// Puts the sample policy in force, with more rules about strangers if there are any.
    fn protect(&mut self, more: &str) -> Result<()> {
        let (sample, policy) = (workspace().join("policies"), self.scratch.path().join("policy"));
        fs::create_dir_all(policy.join("lists"))?;
        for entry in fs::read_dir(sample.join("lists"))? {
            let entry = entry?;
            fs::copy(entry.path(), policy.join("lists").join(entry.file_name()))?;
        }
        let rules = fs::read_to_string(sample.join("policy.toml"))?;
        let place = "[[rule]]\nname = \"not-sip-from-strangers\"";
        ensure!(rules.contains(place), "the sample has no {place}");
        fs::write(policy.join("policy.toml"), rules.replacen(place, &format!("{more}{place}"), 1))?;
        let options = FilterOptions::new(binary()?, Wire::SERVER_INTERFACE, &policy);
        self.filter = Some(Filter::start(&self.wire, self.scratch.path(), &options)?);
        Ok(())
    }

    /// Without the filter, each attack must be taken by a server, if `all` says so. With it, none may arrive as what the sample
    /// stops. Returns how many each server takes without it.
    fn attack(&mut self, attacks: &[(String, Vec<u8>)], all: bool) -> Result<Vec<usize>> {
        let messages: Vec<Vec<u8>> = attacks.iter().map(|(_, message)| message.clone()).collect();
        let before = self.servers.receive(&self.wire, &messages)?;
        self.protect("")?;
        let after = self.servers.receive(&self.wire, &messages)?;
        let mut arrived = Vec::new();
        let mut taken = BTreeSet::new();
        let mut counts = Vec::new();
        for (server, name) in self.servers.names().into_iter().enumerate() {
            let mut count = 0;
            for (index, (attack, _)) in attacks.iter().enumerate() {
                if !stopped_by_the_sample(&before[server][index]).is_empty() {
                    count += 1;
                    taken.insert(index);
                }
                let read = stopped_by_the_sample(&after[server][index]);
                if !read.is_empty() {
                    arrived.push(format!("{attack}: {name} reads {read:?}"));
                }
            }
            say(&format!("without a filter, {name} takes {count} of {} attacks", attacks.len()));
            counts.push(count);
        }
        let harmless: Vec<&str> =
            (0..attacks.len()).filter(|index| !taken.contains(index)).map(|index| attacks[index].0.as_str()).collect();
        assert!(arrived.is_empty(), "{} attacks got through:\n{}", arrived.len(), arrived.join("\n"));
        assert!(
            !all || harmless.is_empty(),
            "no server takes these, so that they prove nothing:\n{}",
            harmless.join("\n")
        );
        Ok(counts)
    }
}

fn call() -> Message {
    Message::invite()
}

fn scan() -> Message {
    call().set("User-Agent", SCANNER)
}

fn listed() -> Message {
    call().calling(LISTED)
}

fn from(value: &str) -> Message {
    call().set("From", value)
}

fn uri(uri: &str) -> Message {
    call().request_uri(uri)
}

fn line(line: &str) -> Message {
    call().start_line(line)
}

/// One for each kind of disguise. In each, one value alone is what the sample stops.
fn disguised() -> Vec<(String, Vec<u8>)> {
    let padding =
        |message: Message, lines: usize| (0..lines).fold(message, |message, _| message.add("X", &"y".repeat(70)));
    let many = |message: Message, lines: usize| (0..lines).fold(message, |message, _| message.add("X", "y"));
    let messages = [
        ("a scan without a disguise", scan()),
        ("a listed caller without a disguise", listed()),
        ("a premium number without a disguise", uri(&format!("sip:{PREMIUM}@h"))),
        // Start lines.
        ("a version with something after it", line(&format!("INVITE sip:{PREMIUM}@h SIP/2.0x"))),
        ("a tab in the start line", line(&format!("INVITE\tsip:{PREMIUM}@h\tSIP/2.0"))),
        ("several spaces in the start line", line(&format!("INVITE  sip:{PREMIUM}@h  SIP/2.0"))),
        ("a version of another protocol", line(&format!("INVITE sip:{PREMIUM}@h HTTP/1.1"))),
        ("a method in small letters", line(&format!("invite sip:{PREMIUM}@h SIP/2.0"))),
        ("a version in small letters", line(&format!("INVITE sip:{PREMIUM}@h sip/2.0"))),
        // Lines and header names.
        ("a space before the colon", listed().rename("From", "From ")),
        ("a tab before the colon", scan().rename("User-Agent", "User-Agent\t")),
        ("a fold before the colon", listed().rename("From", "From\r\n ")),
        ("a fold before the colon of User-Agent", scan().rename("User-Agent", "User-Agent\r\n\t")),
        ("a compact name", listed().rename("From", "f")),
        ("a name in odd case", scan().rename("User-Agent", "uSER-aGENT")),
        ("a folded value", from(&format!("\r\n <sip:{LISTED}@h>;tag=1"))),
        ("a folded user agent", scan().set("User-Agent", &format!("\r\n {SCANNER}"))),
        ("bare line feeds", listed().line_end("\n")),
        ("bare carriage returns", listed().line_end("\r")),
        ("a line that is no header", listed().line_first("no header")),
        ("two From headers", listed().add("From", "<sip:alice@h>;tag=2")),
        (
            "three hundred lines before From",
            many(call().without("From"), 300).add("From", &format!("<sip:{LISTED}@h>;tag=1")),
        ),
        ("three hundred folds before From", from(&format!("{}<sip:{LISTED}@h>;tag=1", "\r\n ".repeat(300)))),
        ("user agent after nine kilobytes", padding(call().without("User-Agent"), 120).add("User-Agent", SCANNER)),
        (
            "From after seventeen kilobytes",
            padding(call().without("From"), 230).add("From", &format!("<sip:{LISTED}@h>;tag=1")),
        ),
        // Addresses.
        ("an innocent number in the display name", from(&format!("\"+14155552671\" <sip:{LISTED}@h>;tag=1"))),
        ("an innocent address in the display name", from(&format!("\"<sip:+14155552671@h>\" <sip:{LISTED}@h>;tag=1"))),
        ("an escaped quote in the display name", from(&format!("\"\\\" <sip:a@h>\" <sip:{LISTED}@h>;tag=1"))),
        ("hundreds of escapes in the display name", from(&format!("\"{}\" <sip:{LISTED}@h>;tag=1", "\\a".repeat(300)))),
        ("an address without brackets", from(&format!("sip:{LISTED}@h;tag=1"))),
        ("white space in the brackets", from(&format!("< sip:{LISTED}@h>;tag=1"))),
        // User parts and schemes.
        ("escaped digits", from("<sip:%2B1%32025550100@h>;tag=1")),
        ("separators", from("<sip:+1-202-555-0100@h>;tag=1")),
        ("parameters in the user part", from(&format!("<sip:{LISTED};npdi@h>;tag=1"))),
        ("a password", from(&format!("<sip:{LISTED}:x@h>;tag=1"))),
        ("no plus", from("<sip:12025550100@h>;tag=1")),
        ("no country code", from("<sip:2025550100@h>;tag=1")),
        ("an international prefix", uri("sip:01119005551234@h")),
        ("an international prefix of other countries", uri("sip:0019005551234@h")),
        ("a control character in the user part", from(&format!("<sip:{LISTED}\u{1}@h>;tag=1"))),
        ("a space in the user part", from(&format!("<sip:{LISTED} @h>;tag=1"))),
        ("symbols between the digits", from("<sip:+1/202/5550100@h>;tag=1")),
        ("a symbol after the number", uri(&format!("sip:{PREMIUM}/x@h"))),
        ("a symbol after the number, and no plus", uri("sip:19005551234#@h")),
        ("a symbol before the number", uri(&format!("sip:~{PREMIUM}@h"))),
        ("two pluses", uri(&format!("sip:+{PREMIUM}@h"))),
        ("a scheme in odd case", from(&format!("<SiP:{LISTED}@h>;tag=1"))),
        ("a tel address", uri(&format!("tel:{PREMIUM}"))),
        ("a tel address with separators", uri("tel:+1(900)555-1234")),
        ("another scheme", from(&format!("<im:{LISTED}@h>;tag=1"))),
        ("no scheme", from(&format!("<{LISTED}@h>;tag=1"))),
        // Identities, and privacy.
        ("an asserted identity", call().add("P-Asserted-Identity", &format!("<sip:{LISTED}@h>"))),
        ("a second asserted identity", call().add("P-Asserted-Identity", &format!("<sip:a@h>, <sip:{LISTED}@h>"))),
        ("an anonymous display name", from(&format!("\"Anonymous\" <sip:{LISTED}@anonymous.invalid>;tag=1"))),
        ("privacy", listed().add("Privacy", "id")),
        ("SQL in the user part", from("<sip:x'or'1'='1@h>;tag=1")),
    ];
    let mut all: Vec<(String, Vec<u8>)> =
        messages.into_iter().map(|(name, message)| (name.to_owned(), message.bytes())).collect();
    for (name, before) in [("line ends before", "\r\n\r\n"), ("a space before", " "), ("a NUL before", "\0")] {
        all.push((format!("{name} the message"), [before.as_bytes(), &scan().bytes()].concat()));
    }
    all.push(("no blank line at the end".to_owned(), listed().unfinished().bytes()));
    all.push(("another message after it".to_owned(), [listed().bytes(), call().bytes()].concat()));
    all
}

#[test]
fn no_disguised_message_of_a_stranger_reaches_a_server_behind_the_sample_policy() -> Result<()> {
    Site::new()?.attack(&disguised(), true)?;
    Ok(())
}

#[test]
fn no_attack_of_the_corpus_reaches_a_server_behind_the_sample_policy() -> Result<()> {
    let Some(attacks) = attacks()? else { return Ok(()) };
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for attack in attacks {
        // As it is, three rules can stop it. With one reason left, each rule must.
        let mut variants = BTreeSet::from([attack.message.clone()]);
        for (kept, _) in DISGUISES {
            let others = DISGUISES.iter().filter(|(name, _)| *name != kept).flat_map(|(_, pairs)| *pairs);
            let variant = others.fold(attack.message.clone(), |text, (old, new)| replace(&text, old, new));
            if variants.insert(variant.clone()) {
                all.push((format!("{} ({kept} only)", attack.name), variant));
            }
        }
        all.push((attack.name, attack.message));
    }
    let counts = Site::new()?.attack(&all, false)?;
    assert!(counts.iter().all(|&count| count >= 100), "{counts:?} of {}", all.len());
    Ok(())
}

fn replace(text: &[u8], old: &str, new: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let length = if rest.starts_with(old.as_bytes()) {
            out.extend_from_slice(new.as_bytes());
            old.len()
        } else {
            out.push(rest[0]);
            1
        };
        rest = &rest[length..];
    }
    out
}

fn pieces(message: &[u8], length: usize) -> Vec<Vec<u8>> {
    message.chunks(length).map(<[u8]>::to_vec).collect()
}

/// Messages as TCP segments, each list on a connection of its own.
fn segmented() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let (scan, listed, ordinary) = (scan().bytes(), listed().bytes(), call().bytes());
    vec![
        ("a scan in one segment", vec![scan.clone()]),
        ("a listed caller in one segment", vec![listed.clone()]),
        ("line ends before the message", vec![[&b"\r\n\r\n"[..], &scan].concat()]),
        ("line ends in a segment of their own", vec![b"\r\n\r\n".to_vec(), scan.clone()]),
        ("a listed caller after an ordinary call", vec![ordinary.clone(), listed.clone()]),
        ("pieces of 100 bytes", pieces(&scan, 100)),
        ("pieces of 5 bytes", pieces(&scan[..30], 5).into_iter().chain([scan[30..].to_vec()]).collect()),
        ("a scan after an ordinary call in one segment", vec![[ordinary.clone(), scan.clone()].concat()]),
    ]
}

/// What the sample policy does not stop over TCP, as docs/policy.md says: streams are not reassembled.
fn split() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let after = |first: Vec<u8>, length| [vec![first], pieces(&scan().bytes(), length)].concat();
    let long = call().without("User-Agent").add("X", &"y".repeat(1_000)).add("User-Agent", SCANNER);
    vec![
        ("pieces of 100 bytes after line ends", after(b"\r\n\r\n".to_vec(), 100)),
        ("pieces of 100 bytes after an ordinary call", after(call().bytes(), 100)),
        ("pieces of 5 bytes after an ordinary call", after(call().bytes(), 5)),
        ("the user agent after 1,300 bytes", pieces(&long.bytes(), 1_300)),
    ]
}

/// Strangers may use UDP only.
const UDP_ONLY: &str = r#"[[rule]]
name = "tcp-from-strangers"
match.transport = "tcp"
action = "drop"

"#;

/// Each list of segments must reach Kamailio without a filter as what the sample policy stops, and none with it.
fn attack_over_tcp(attacks: &[(&'static str, Vec<Vec<u8>>)], more: &str) -> Result<()> {
    let mut site = Site::new()?;
    let lists: Vec<&[Vec<u8>]> = attacks.iter().map(|(_, segments)| &segments[..]).collect();
    let bad = |site: &Site, stream: &Option<TcpStream>| -> Result<bool> {
        let Some(stream) = stream else { return Ok(false) };
        let read = site.servers.kamailio_read(stream)?;
        Ok(read.iter().any(|reading| !stopped_by_the_sample(reading).is_empty()))
    };
    let streams = site.servers.connect(&site.wire, &lists, LIMIT)?;
    for ((name, _), stream) in attacks.iter().zip(&streams) {
        wait_until(&format!("message at Kamailio: {name}"), LIMIT, || Ok(bad(&site, stream)?.then_some(())))?;
    }
    drop(streams);
    site.protect(more)?;
    let streams = site.servers.connect(&site.wire, &lists, SEVERAL_COPIES)?;
    sleep(SEVERAL_COPIES);
    // The servers are still there: an ordinary call arrives.
    site.servers.receive(&site.wire, &[call().bytes()])?;
    let mut arrived = Vec::new();
    for ((name, _), stream) in attacks.iter().zip(&streams) {
        if bad(&site, stream)? {
            arrived.push(*name);
        }
    }
    assert!(arrived.is_empty(), "these got through: {arrived:#?}");
    Ok(())
}

#[test]
fn no_segmented_message_of_a_stranger_reaches_a_server_behind_the_sample_policy() -> Result<()> {
    attack_over_tcp(&segmented(), "")
}

#[test]
fn no_split_message_reaches_a_server_if_strangers_may_use_udp_only() -> Result<()> {
    attack_over_tcp(&split(), UDP_ONLY)
}
