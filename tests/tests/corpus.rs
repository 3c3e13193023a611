//! Messages and captures from other sources: both hosts read them alike, and as other parsers do.
//!
//! They are not part of the repository. `RINGFENCE_CORPUS` names their folder; the default is `../shared/corpus` next to the
//! workspace. Without it these tests are skipped, with a notice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use etherparse::{SlicedPacket, TransportSlice};
use filter_core::{layout::Transport, limits::MAX_PORTS};
use filter_policy::{
    capture,
    engine::{Endpoints, Engine, datagram, inspection},
};
use ringfence_hosts::{Hosts, policy};
use ringfence_tests::workspace;
use serde_json::Value;

/// The fields that we read differently, each with the reason.
const DISAGREEMENTS: &str = "tests/data/corpus-disagreements.tsv";

/// The fields to compare: the corpus's name, and that of `inspect`.
const FIELDS: [(&str, &str); 9] = [
    ("is_sip", "is_sip"),
    ("method", "method"),
    ("ruri_user", "request_uri_user"),
    ("from_user", "from_user"),
    ("to_user", "to_user"),
    ("user_agent", "user_agent"),
    ("pai_user", "pai_user"),
    ("diversion_user", "diversion_user"),
    ("identity_attest", "attestation"),
];

/// The corpus's folder, if there is one.
fn corpus(test: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("RINGFENCE_CORPUS").map_or_else(|| workspace().join("../shared/corpus"), PathBuf::from);
    if folder.join("messages").is_dir() {
        return Some(folder);
    }
    // Not by eprintln: the test harness captures it, and shows nothing of a test that passes.
    let _ = writeln!(
        io::stderr(),
        "\n*** SKIPPED: {test}: no corpus in {} (RINGFENCE_CORPUS names another folder) ***\n",
        folder.display()
    );
    None
}

#[test]
fn both_hosts_read_every_message_of_the_corpus_alike() -> Result<()> {
    let Some(corpus) = corpus("both_hosts_read_every_message_of_the_corpus_alike") else { return Ok(()) };
    let built = policy::sample();
    let image = inspection(built.image.clone(), &[(5060, Transport::Udp)]);
    let mut hosts = Hosts::new(&image)?;
    let messages = messages(&corpus)?;
    ensure!(messages.len() > 500, "only {} messages in {}", messages.len(), corpus.display());
    for (id, message) in &messages {
        let outcome = hosts.run(&datagram(&Endpoints::default(), message)).with_context(|| id.clone())?;
        ensure!(outcome.reading.is_some(), "{id} was not read: {outcome:?}");
    }
    Ok(())
}

#[test]
fn both_hosts_read_and_judge_every_packet_of_the_corpus_alike() -> Result<()> {
    let Some(corpus) = corpus("both_hosts_read_and_judge_every_packet_of_the_corpus_alike") else { return Ok(()) };
    let built = policy::sample();
    let mut judge = Hosts::new(&built.image)?;
    let mut packets = 0;
    let mut messages = 0;
    for file in files(&corpus.join("pcaps"))? {
        let frames = frames(&file)?;
        let image = inspection(built.image.clone(), &signalling_ports(&frames));
        let mut reader = Hosts::new(&image)?;
        for (number, frame) in frames {
            let place = || format!("{} packet {number}", file.display());
            messages += u32::from(reader.run(&frame).with_context(place)?.field("is_sip") == "true");
            judge.run(&frame).with_context(place)?;
            packets += 1;
        }
    }
    ensure!(packets > 300 && messages > 150, "{messages} messages in {packets} packets");
    Ok(())
}

/// One field of one message, as read by other parsers.
struct Expected {
    id: String,
    field: &'static str,
    value: String,
    /// All parsers agree, or an RFC decides.
    sure: bool,
    torture: bool,
}

#[test]
fn readings_agree_with_other_parsers_except_where_the_list_says_why() -> Result<()> {
    let name = "readings_agree_with_other_parsers_except_where_the_list_says_why";
    let Some(corpus) = corpus(name) else { return Ok(()) };
    let readings = readings(&corpus)?;
    let mut listed = disagreements()?;
    let mut total = 0;
    let mut agreed = 0;
    let mut torture = (0, 0);
    let mut unexplained = Vec::new();
    for expected in expected(&corpus)? {
        let reading = readings.get(&expected.id).with_context(|| format!("no message {}", expected.id))?;
        let ours = &reading[expected.field];
        let equal = *ours == expected.value;
        if expected.sure {
            total += 1;
            agreed += u32::from(equal);
        }
        if expected.torture {
            torture.0 += u32::from(equal);
            torture.1 += 1;
        }
        if equal {
            continue;
        }
        let known = listed.remove(&(expected.id.clone(), expected.field.to_owned()));
        if known.as_ref() != Some(&(ours.clone(), expected.value.clone())) {
            unexplained.push(format!("{}\t{}\t{ours}\t{}", expected.id, expected.field, expected.value));
        }
    }
    eprintln!("torture fields: {} of {}", torture.0, torture.1);
    eprintln!("fields that others agree on, torture among them: {agreed} of {total}");
    ensure!(unexplained.is_empty(), "not in {DISAGREEMENTS} with these values:\n{}", unexplained.join("\n"));
    ensure!(listed.is_empty(), "in {DISAGREEMENTS}, although we agree: {:?}", listed.keys());
    ensure!(torture.0 == torture.1, "of torture.tsv every field must agree");
    ensure!(1000 * agreed >= 995 * total, "less than 99.5 %");
    Ok(())
}

/// Our reading of each message, under the corpus's names.
fn readings(corpus: &Path) -> Result<BTreeMap<String, BTreeMap<&'static str, String>>> {
    let built = policy::sample();
    let image = inspection(built.image.clone(), &[(5060, Transport::Udp)]);
    let mut engine = Engine::new(&image);
    let mut readings = BTreeMap::new();
    for (id, message) in messages(corpus)? {
        engine.decide(&datagram(&Endpoints::default(), &message));
        let reading = engine.reading().to_json();
        let text = |ours: &str| match &reading[ours] {
            Value::Bool(value) => u8::from(*value).to_string(),
            Value::String(text) => text.clone(),
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => String::new(),
        };
        readings.insert(id, FIELDS.iter().map(|&(theirs, ours)| (theirs, text(ours))).collect());
    }
    Ok(readings)
}

/// The expected fields, from torture.tsv or else from truth.tsv. Unresolved ties (`?`) are left out.
fn expected(corpus: &Path) -> Result<Vec<Expected>> {
    let mut all = Vec::new();
    let mut settled = BTreeSet::new();
    for row in table(&corpus.join("torture.tsv"))? {
        let [_, id, _, method, ruri, from, to, agent, _] = &row[..] else { anyhow::bail!("torture.tsv: {row:?}") };
        settled.insert(id.clone());
        for (index, value) in [(1, method), (2, ruri), (3, from), (4, to), (5, agent)] {
            let (field, value) = (FIELDS[index].0, value.clone());
            all.push(Expected { id: id.clone(), field, value, sure: true, torture: true });
        }
    }
    for row in table(&corpus.join("truth.tsv"))? {
        let [id, values @ .., confidence, _] = &row[..] else { anyhow::bail!("truth.tsv: {row:?}") };
        if settled.contains(id) {
            continue;
        }
        ensure!(values.len() == FIELDS.len(), "truth.tsv: {row:?}");
        for ((field, _), value) in FIELDS.into_iter().zip(values) {
            if value.starts_with('?') {
                continue;
            }
            let is_sip = values[0] == "1";
            let value = match (field, value.as_str()) {
                ("identity_attest", "A" | "B" | "C") => value.as_str(),
                ("identity_attest", "") => {
                    if is_sip {
                        "none"
                    } else {
                        ""
                    }
                }
                // A claim that no policy can match: not a SHAKEN token, no payload, a lower-case letter.
                ("identity_attest", _) => "unknown",
                (_, value) => value,
            };
            let sure = confidence.starts_with("3/3");
            all.push(Expected { id: id.clone(), field, value: value.to_owned(), sure, torture: false });
        }
    }
    Ok(all)
}

/// The checked-in list: by message and field, our value and theirs.
fn disagreements() -> Result<BTreeMap<(String, String), (String, String)>> {
    let mut all = BTreeMap::new();
    for row in table(&workspace().join(DISAGREEMENTS))? {
        let [id, field, ours, theirs, why] = &row[..] else { anyhow::bail!("{DISAGREEMENTS}: {row:?}") };
        ensure!(why.len() > 20, "{DISAGREEMENTS}: {id} {field} is not explained");
        let twice = all.insert((id.clone(), field.clone()), (ours.clone(), theirs.clone()));
        ensure!(twice.is_none(), "{DISAGREEMENTS}: {id} {field} is listed twice");
    }
    Ok(all)
}

/// The rows of a tab-separated file, without its header.
fn table(path: &Path) -> Result<Vec<Vec<String>>> {
    let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// Every message, with its name.
fn messages(corpus: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    files(&corpus.join("messages"))?
        .into_iter()
        .map(|file| {
            let id = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok((id, fs::read(&file)?))
        })
        .collect()
}

/// The files of a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// A capture's packets as numbered Ethernet frames.
fn frames(file: &Path) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut frames = Vec::new();
    capture::for_each_packet(file, |captured| {
        frames.extend(captured.frame.map(|frame| (captured.number, frame)));
        true
    })?;
    Ok(frames)
}

/// The destination ports of the messages in a capture.
fn signalling_ports(frames: &[(u64, Vec<u8>)]) -> Vec<(u16, Transport)> {
    let mut ports = BTreeSet::from([(5060, Transport::Udp), (5060, Transport::Tcp)]);
    for (_, frame) in frames {
        let Ok(packet) = SlicedPacket::from_ethernet(frame) else { continue };
        let (port, transport, payload) = match packet.transport {
            Some(TransportSlice::Udp(udp)) => (udp.destination_port(), Transport::Udp, udp.payload()),
            Some(TransportSlice::Tcp(tcp)) => (tcp.destination_port(), Transport::Tcp, tcp.payload()),
            _ => continue,
        };
        if payload.windows(7).any(|window| window == b"SIP/2.0") {
            ports.insert((port, transport));
        }
    }
    ports.into_iter().take(MAX_PORTS).collect()
}
