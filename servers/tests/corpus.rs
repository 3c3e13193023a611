//! The corpus's messages, attacks and cases: the engine reads what servers read in them, or reports an anomaly.
//!
//! `data/corpus-differences.tsv` lists the differences that stay, with their reasons.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use ringfence_servers::{
    Case, EngineReader, Field, Kind, Readers, Reading, attacks, cases, corpus, differences, messages, missing_packages,
};
use ringfence_tests::{say, workspace};

const LIST: &str = "servers/data/corpus-differences.tsv";

/// What is listed: file, field and difference.
type Row = (String, String, String);

fn listed() -> Result<BTreeSet<Row>> {
    let text = fs::read_to_string(workspace().join(LIST)).with_context(|| format!("failed to read {LIST}"))?;
    let mut rows = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let [file, field, what, note] = line.split('\t').collect::<Vec<_>>()[..] else {
            anyhow::bail!("{LIST}: {line}")
        };
        ensure!(note.len() > 10, "{LIST}: {file} {field} has no note");
        rows.insert((file.to_owned(), field.to_owned(), what.to_owned()));
    }
    Ok(rows)
}

/// Compares one part of the corpus with the servers that are installed.
fn compare(part: &str, cases: Option<Vec<Case>>) -> Result<()> {
    let Some(cases) = cases else { return Ok(()) };
    let Ok(mut readers) = Readers::start(None) else {
        say(&format!("\n*** LEFT OUT: {part}: no server to compare with: cargo xtask setup servers ***\n"));
        return Ok(());
    };
    let engine = EngineReader::new()?;
    let bytes: Vec<_> = cases.iter().map(|case| case.message.clone()).collect();
    let readings = readers.read(&bytes)?;
    let listed = listed()?;
    let (mut seen, mut unlisted) = (BTreeSet::new(), Vec::new());
    for (name, readings) in readers.names().iter().zip(&readings) {
        for (case, reading) in cases.iter().zip(readings) {
            for difference in differences(reading, &engine.read(&case.message)) {
                if difference.flagged {
                    continue;
                }
                let file = format!("{part}/{}", case.name);
                let row = (file.clone(), difference.field_name().to_owned(), difference.what.name().to_owned());
                if !listed.contains(&row) {
                    unlisted.push(format!(
                        "{file}\t{}\t{}\t{name} reads {}, the engine {}",
                        row.1, row.2, difference.theirs, difference.ours
                    ));
                }
                seen.insert(row);
            }
        }
    }
    say(&format!("{part}: {} messages, {} values are read otherwise than by a server", cases.len(), seen.len()));
    ensure!(unlisted.is_empty(), "not in {LIST}:\n{}", unlisted.join("\n"));
    let fixed: Vec<_> = listed.iter().filter(|row| row.0.starts_with(part) && !seen.contains(*row)).collect();
    // A server that is not installed shows nothing.
    if missing_packages().is_empty() {
        ensure!(fixed.is_empty(), "in {LIST}, but read as servers do: {fixed:?}");
    }
    Ok(())
}

#[test]
fn messages_of_real_senders_are_read_as_servers_read_them() -> Result<()> {
    compare("messages", messages()?)
}

#[test]
fn attacks_are_read_as_servers_read_them() -> Result<()> {
    compare("attacks", attacks()?)
}

#[test]
fn cases_of_public_reports_are_read_as_servers_read_them() -> Result<()> {
    compare("cases", cases()?)
}

/// The corpus records what three servers read. This needs none of them.
#[test]
fn attacks_are_read_as_the_corpus_records() -> Result<()> {
    let Some(attacks) = attacks()? else { return Ok(()) };
    let index = corpus().join("attacks/INDEX.tsv");
    let index = fs::read_to_string(&index).with_context(|| format!("failed to read {}", index.display()))?;
    let engine = EngineReader::new()?;
    let listed = listed()?;
    let (mut compared, mut unlisted) = (0, Vec::new());
    for line in index.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let Some(case) = attacks.iter().find(|case| case.name == columns[0]) else { continue };
        let ours = engine.read(&case.message);
        for text in columns.iter().skip(2) {
            let Some(theirs) = recorded(text) else { continue };
            compared += 1;
            for difference in differences(&theirs, &ours) {
                let file = format!("attacks/{}", case.name);
                let row = (file.clone(), difference.field_name().to_owned(), difference.what.name().to_owned());
                if !difference.flagged && !listed.contains(&row) {
                    unlisted.push(format!(
                        "{file}\t{}\t{}\t{} and not {}",
                        row.1, row.2, difference.theirs, difference.ours
                    ));
                }
            }
        }
    }
    ensure!(compared > 100, "only {compared} readings in the index");
    ensure!(unlisted.is_empty(), "not in {LIST}:\n{}", unlisted.join("\n"));
    Ok(())
}

/// `m=INVITE rU=… fU=… ua=…`, as the index has it; none if the server rejects the message, or reads it in part.
fn recorded(text: &str) -> Option<Reading> {
    let mut reading = Reading { kind: Kind::Request, ..Reading::default() };
    let text = text.strip_prefix("m=")?;
    if text.ends_with(" ERR") || text.starts_with("None") {
        return None;
    }
    let (method, text) = text.split_once(" rU=")?;
    let (request, text) = text.split_once(" fU=")?;
    // Texts are cut there after twelve bytes, and a line ends where the text has a line end.
    let (from, agent) = text.split_once(" ua=").unwrap_or((text, ""));
    if method.starts_with(|byte: char| byte.is_ascii_digit()) {
        reading.kind = Kind::Response;
    }
    for (field, value) in
        [(Field::Method, method), (Field::RequestUser, request), (Field::FromUser, from), (Field::UserAgent, agent)]
    {
        // What is not ASCII, or has a blank at an end, the index does not have as it was.
        let is_whole = value.is_ascii() && !value.contains(['@', ' ']) || field == Field::UserAgent;
        if !["", "-", "None", "<null>"].contains(&value) && is_whole {
            reading.values[field as usize].push(value.as_bytes().to_vec());
        }
    }
    Some(reading)
}
