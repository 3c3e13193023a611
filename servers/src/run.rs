//! A run: messages by number, every server and the engine over each, and the differences by kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    compare::{Difference, differences},
    engine::EngineReader,
    generate::{Generated, Id},
    known::Known,
    reader::Readers,
    target,
};

/// Messages that are read at once.
const BATCH: u64 = 512;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the messages are drawn from.
    pub seed: u64,
    /// The first message's number.
    pub start: u64,
    /// How many messages.
    pub messages: u64,
    /// Every 20 seconds, prints the progress and writes the report so far to `target/servers/`.
    pub progress: bool,
}

/// Differences that look the same: one field, one way, and the fewest mutations that show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    field: &'static str,
    what: &'static str,
    mutations: Vec<String>,
}

/// A kind of difference, with the shortest message that shows it.
#[derive(Clone, Debug)]
struct Found {
    /// How many messages show it, by server.
    servers: BTreeMap<&'static str, u64>,
    example: Id,
    length: usize,
    theirs: String,
    ours: String,
    anomalies: Vec<String>,
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many messages were compared.
    pub messages: u64,
    /// How many of them each server acts on.
    pub acted_on: BTreeMap<&'static str, u64>,
    /// Differences that no list has.
    unexplained: BTreeMap<Key, Found>,
    /// Differences that are listed as faults to be fixed.
    to_fix: BTreeMap<Key, Found>,
    /// Differences that are explained, by the line of the list.
    explained: BTreeMap<usize, u64>,
    /// Differences with an anomaly, on which a policy can act.
    flagged: BTreeMap<Key, Found>,
    to_fix_lines: BTreeSet<usize>,
    crashes: Vec<(&'static str, String)>,
    unused: Vec<String>,
    time: Duration,
}

impl Report {
    /// Whether there is a difference that no list has.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unexplained.is_empty()
    }

    /// How many kinds of differences no list has.
    #[must_use]
    pub fn unexplained(&self) -> usize {
        self.unexplained.len()
    }

    /// The report in words. `flagged` adds the kinds that carry an anomaly.
    #[must_use]
    pub fn render(&self, flagged: bool) -> String {
        let mut text = String::new();
        table(&mut text, "UNEXPLAINED: read by a server, not by the engine, without an anomaly", &self.unexplained);
        table(&mut text, "TO FIX: listed in servers/data/to-fix.tsv", &self.to_fix);
        if flagged {
            table(&mut text, "FLAGGED: read differently, with an anomaly that a policy can act on", &self.flagged);
        }
        for (server, message) in &self.crashes {
            let _ = writeln!(text, "CRASH of {server} over {message}");
        }
        for row in &self.unused {
            let _ = writeln!(text, "not seen in this run: {row}");
        }
        text += &self.summary();
        text
    }

    /// The totals, in a line.
    #[must_use]
    pub fn summary(&self) -> String {
        let acted: Vec<_> = self.acted_on.iter().map(|(name, count)| format!("{name} {count}")).collect();
        format!(
            "{} messages in {:.0} s, taken for messages by: {}; kinds of differences: {} unexplained, {} to fix, {} explained, \
             {} flagged; {} crashes of servers",
            self.messages,
            self.time.as_secs_f64(),
            acted.join(", "),
            self.unexplained.len(),
            self.to_fix.len(),
            self.explained.len(),
            self.flagged.len(),
            self.crashes.len()
        )
    }
}

fn table(text: &mut String, title: &str, kinds: &BTreeMap<Key, Found>) {
    if kinds.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "{title}\nfield\tdifference\tmutations\tservers\texample\tserver reads\tengine reads\tanomalies"
    );
    let mut rows: Vec<_> = kinds.iter().collect();
    rows.sort_by_key(|(key, found)| (std::cmp::Reverse(found.servers.values().sum::<u64>()), (*key).clone()));
    for (key, found) in rows {
        let servers: Vec<_> = found.servers.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let mutations = if key.mutations.is_empty() { "(none)".to_owned() } else { key.mutations.join(" ") };
        let _ = writeln!(
            text,
            "{}\t{}\t{mutations}\t{}\t{}\t{}\t{}\t{}",
            key.field,
            key.what,
            servers.join(", "),
            found.example,
            found.theirs,
            found.ours,
            found.anomalies.join(",")
        );
    }
    text.push('\n');
}

/// Compares what the servers and the engine read, message by message.
///
/// # Errors
/// A list cannot be read, or a server cannot be started again.
pub fn run(readers: &mut Readers, options: &Options) -> Result<Report> {
    let mut run = Run {
        engine: EngineReader::new()?,
        explained: Known::explained()?,
        to_fix: Known::to_fix()?,
        names: readers.names(),
        report: Report::default(),
    };
    let clock = Instant::now();
    let mut said = Instant::now();
    let end = options.start + options.messages;
    let mut next = options.start;
    while next < end {
        let batch: Vec<_> = (next..(next + BATCH).min(end))
            .map(|index| Generated::new(&Id { seed: options.seed, index, only: None }))
            .collect();
        next += batch.len() as u64;
        run.compare(readers, &batch)?;
        if options.progress && said.elapsed() > Duration::from_secs(20) {
            said = Instant::now();
            let (done, rate) = (next - options.start, (next - options.start) as f64 / clock.elapsed().as_secs_f64());
            let so_far = Report { messages: done, time: clock.elapsed(), ..run.report.clone() };
            let path = target().join(format!("servers/report-{}-{}.tsv", options.seed, options.start));
            std::fs::write(&path, so_far.render(true))
                .with_context(|| format!("failed to write {}", path.display()))?;
            eprintln!(
                "{done} of {} messages, {rate:.0} a second; --start {next} continues from here; so far: {}",
                options.messages,
                path.display()
            );
        }
    }
    let mut report = run.report;
    report.messages = options.messages;
    report.time = clock.elapsed();
    report.unused = run.explained.unused(&report.explained.keys().copied().collect());
    report.unused.extend(run.to_fix.unused(&report.to_fix_lines));
    for (server, message) in readers.crashes.drain(..) {
        report.crashes.push((server, message.escape_ascii().to_string().chars().take(400).collect()));
    }
    Ok(report)
}

struct Run {
    engine: EngineReader,
    explained: Known,
    to_fix: Known,
    names: Vec<&'static str>,
    report: Report,
}

impl Run {
    fn compare(&mut self, readers: &mut Readers, batch: &[Generated]) -> Result<()> {
        let messages: Vec<_> = batch.iter().map(Generated::bytes).collect();
        let readings = readers.read(&messages)?;
        for (number, generated) in batch.iter().enumerate() {
            let engine = self.engine.read_delivered(&messages[number], generated.delivery());
            for (server, readings) in readings.iter().enumerate() {
                if readings[number].kind != crate::reading::Kind::Nothing {
                    *self.report.acted_on.entry(self.names[server]).or_default() += 1;
                }
                for difference in differences(&readings[number], &engine) {
                    self.found(readers, server, generated, &difference)?;
                }
            }
        }
        Ok(())
    }

    /// Finds the fewest mutations that show a difference, and counts it.
    fn found(
        &mut self,
        readers: &mut Readers,
        server: usize,
        generated: &Generated,
        difference: &Difference,
    ) -> Result<()> {
        let mut fewest = generated.clone();
        let mut shown = difference.clone();
        // What carries an anomaly is many and not urgent: it is counted as it is.
        if !difference.flagged {
            let mut only: Vec<usize> = (0..Generated::mutations_in(&generated.id)).collect();
            let mut place = 0;
            while place < only.len() {
                let mut fewer = only.clone();
                fewer.remove(place);
                let id = Id { only: Some(fewer.clone()), ..generated.id };
                let candidate = Generated::new(&id);
                match self.still(readers, server, &candidate, difference)? {
                    Some(still) => {
                        only = fewer;
                        fewest = candidate;
                        shown = still;
                    }
                    None => place += 1,
                }
            }
        }
        let mut mutations = fewest.mutations.clone();
        mutations.sort();
        let name = self.names[server];
        if !shown.flagged
            && let Some(line) = self.explained.find(name, &shown, &mutations)
        {
            *self.report.explained.entry(line).or_default() += 1;
            return Ok(());
        }
        let kinds = if shown.flagged {
            &mut self.report.flagged
        } else if let Some(line) = self.to_fix.find(name, &shown, &mutations) {
            self.report.to_fix_lines.insert(line);
            &mut self.report.to_fix
        } else {
            &mut self.report.unexplained
        };
        let bytes = fewest.bytes();
        let anomalies = self.engine.read_delivered(&bytes, fewest.delivery()).anomalies;
        let key = Key { field: shown.field_name(), what: shown.what.name(), mutations };
        let new = Found {
            servers: BTreeMap::new(),
            example: fewest.id.clone(),
            length: bytes.len(),
            theirs: shown.theirs,
            ours: shown.ours,
            anomalies,
        };
        let found = kinds.entry(key).or_insert_with(|| new.clone());
        if new.length < found.length {
            *found = Found { servers: std::mem::take(&mut found.servers), ..new };
        }
        *found.servers.entry(name).or_default() += 1;
        Ok(())
    }

    /// The same difference in another message, if it is there.
    fn still(
        &self,
        readers: &mut Readers,
        server: usize,
        candidate: &Generated,
        difference: &Difference,
    ) -> Result<Option<Difference>> {
        let bytes = candidate.bytes();
        let theirs = readers.read_one(server, &bytes)?;
        let ours = self.engine.read_delivered(&bytes, candidate.delivery());
        Ok(differences(&theirs, &ours).into_iter().find(|other| {
            other.field == difference.field && other.what == difference.what && other.flagged == difference.flagged
        }))
    }
}
