//! Whole verdicts over messages.

use anyhow::Result;
use filter_core::reason::Reason;
use filter_policy::image::Image;
use ringfence::kernel::Instance;

use super::{
    ANY, Effort, Figures, Measurement,
    calls::{ordinary_calls, passing},
    expect_only, thousands,
};
use crate::{
    driver::{self, Driver, Entries, Record, XDP_DROP, XDP_PASS},
    generate::{self, Packet},
    machine::Kind,
    messages::{SCANNER, scanner_message},
    policies::{self, Lists},
    report::Target,
    sample_policy,
};

/// The baseline when runs are compared.
const SCAN: &str = "copy_and_scan_unrolled";

/// The policies, by the names of their rows.
const SMALL: &str = "user agents, method, numbers";
const OLDER: &str = "sample policy, older scopes";
const SAMPLE: &str = "sample policy";
const LARGE: &str = "64 rules";

fn images() -> Result<[(&'static str, Image); 4]> {
    let lists = Lists::generated(100_000, 100_000);
    Ok([
        (SMALL, policies::small(&lists).build()?),
        (OLDER, sample_policy::without_newer_scopes()?),
        (SAMPLE, sample_policy::sample()?),
        (LARGE, policies::all_scopes(&lists).build()?),
    ])
}

/// A program to profile, and the instance that keeps it.
pub(crate) type Subject = (Driver, Instance);

type Prepare = fn() -> Result<Subject>;

/// What can be profiled: the programs and packets of some of the tables.
pub(crate) const SUBJECTS: [(&str, Prepare); 3] = [
    ("A scanner's INVITE, sample policy", || {
        subject(&scanner_packet(), &[driver::record(0, ANY, ANY)], &sample_policy::sample()?)
    }),
    ("An INVITE, 64 rules, many calls", || invite(usize::MAX)),
    ("An INVITE, 64 rules, one call again and again", || invite(1)),
];

fn invite(most: usize) -> Result<Subject> {
    let image = policies::all_scopes(&Lists::generated(100_000, 100_000)).build()?;
    let packet = Packet::invite(4);
    let calls = ordinary_calls(1 << 15, &generate::ipv4_prefixes(100_000), &generate::numbers(100_000, 1));
    let mut records = passing(&Instance::load(&image)?, &packet, calls)?;
    records.truncate(most);
    subject(&packet, &records, &image)
}

fn subject(packet: &Packet, records: &[Record], image: &Image) -> Result<Subject> {
    let instance = Instance::load(image)?;
    let mut driver = Driver::new(packet, records, &Entries::None)?;
    driver.add("ringfence", instance.program()?.fd()?)?;
    Ok((driver, instance))
}

/// Every packet is another call.
pub(super) fn cold(title: &str, effort: Effort) -> Result<Measurement> {
    const TEXT: &str = "64 rules over all scopes, 100,000 blocked sources, 100,000 Do-Not-Originate numbers and 10,000 prefixes, 50 \
        user-agent patterns. `user agents, method, numbers` has four rules over the same patterns and numbers. `older scopes`: \
        the rule of the sample policy about any identity is about the calling number only, as it was before there was such a \
        scope. `copy_and_scan` copies the message into per-CPU memory and finds its header lines, and does nothing else: no \
        Ethernet, IP or UDP header, no compact names, no values, no look-ups. `copy_and_scan_unrolled` does the same without \
        `bpf_loop`, whose steps are calls. The verdict is compared with the faster of the two.";
    let measured = whole(title, TEXT, usize::MAX, effort)?;
    let note =
        |ratio: Ratios| format!("over empty, against the faster scan; {:.1} x the one with bpf_loop", ratio.looped);
    let [small, large] = [measured.ratios(SMALL)?, measured.ratios(LARGE)?];
    let name = "whole verdict over an 895-byte INVITE, 64 rules over all scopes, against a bare copy and scan";
    let mut targets = vec![Target::at_most(name, large.fastest, 5.0, " x").noted(note(large))];
    let name = "whole verdict, policy of user agents, method, called and calling lists, against a bare copy and scan";
    targets.push(Target::at_most(name, small.fastest, 2.5, " x").noted(note(small)));
    Ok((measured.figures.table, targets))
}

/// Every packet is the same call, so that everything is in the caches.
pub(super) fn hot(title: &str, effort: Effort) -> Result<Measurement> {
    let measured = whole(title, "The programs of the table above.", 1, effort)?;
    let large = measured.ratios(LARGE)?;
    let name = "whole verdict, 64 rules over all scopes, one call again and again, against a bare copy and scan";
    let target = Target::at_most(name, large.fastest, 4.0, " x").noted("over empty, against the faster scan");
    Ok((measured.figures.table, vec![target]))
}

struct Whole {
    figures: Figures,
}

/// A verdict's cost as a multiple of that of a bare copy and scan.
#[derive(Clone, Copy)]
struct Ratios {
    looped: f64,
    /// Of the faster scan.
    fastest: f64,
}

impl Whole {
    fn ratios(&self, name: &str) -> Result<Ratios> {
        let verdict = self.figures.over_empty(name)?;
        let looped = self.figures.over_empty("copy_and_scan")?;
        let unrolled = self.figures.over_empty("copy_and_scan_unrolled")?;
        Ok(Ratios { looped: verdict / looped, fastest: verdict / looped.min(unrolled) })
    }
}

/// Measures all policies on the first `most` calls that each of them passes.
fn whole(title: &str, text: &str, most: usize, effort: Effort) -> Result<Whole> {
    let (prefixes, numbers) = (generate::ipv4_prefixes(100_000), generate::numbers(100_000, 1));
    let images = images()?;
    let packet = Packet::invite(4);
    let mut records = ordinary_calls(1 << 15, &prefixes, &numbers);
    for (_, image) in &images {
        records = passing(&Instance::load(image)?, &packet, records)?;
    }
    records.truncate(most);
    let mut driver = Driver::new(&packet, &records, &Entries::None)?;
    for own in ["empty", "copy", "copy_and_scan", "copy_and_scan_unrolled"] {
        driver.add_own(own)?;
    }
    // Loaded again: the rates that their rules have counted so far are gone.
    let mut instances = Vec::new();
    for (name, image) in &images {
        let instance = Instance::load(image)?;
        driver.add(name, instance.program()?.fd()?)?;
        driver.expect(name, XDP_PASS)?;
        instances.push((*name, instance));
    }
    let all = driver.measure(effort.rounds, effort.repeat / 2)?;
    for (name, instance) in &instances {
        expect_only(name, instance, Reason::DefaultPass)?;
    }
    let calls = match records.len() {
        1 => "Every packet is the same call, and passes".to_owned(),
        count => format!(
            "Every packet is another call ({} of them, with different source, calling and called numbers), and passes",
            thousands(count)
        ),
    };
    let programs: Vec<_> = instances.iter().map(|(name, instance)| (*name, instance)).collect();
    Ok(Whole { figures: Figures::new(title, format!("{calls}. {text}"), all, &programs, SCAN)? })
}

fn scanner_packet() -> Packet {
    let mut frame = generate::udp(4, 5060, scanner_message().as_bytes());
    frame[26..30].copy_from_slice(&SCANNER.octets());
    Packet::fixed(frame)
}

/// The packet of a flood, which is dropped for its user agent before the rest is read.
pub(super) fn scanner(title: &str, effort: Effort) -> Result<Measurement> {
    let packet = scanner_packet();
    let mut driver = Driver::new(&packet, &[driver::record(0, ANY, ANY)], &Entries::None)?;
    for own in ["empty", "copy", "copy_and_scan", "copy_and_scan_unrolled"] {
        driver.add_own(own)?;
    }
    let mut instances = Vec::new();
    for (name, image) in images()? {
        let instance = Instance::load(&image)?;
        driver.add(name, instance.program()?.fd()?)?;
        driver.expect(name, XDP_DROP)?;
        instances.push((name, instance));
    }
    let all = driver.measure(effort.rounds, effort.repeat / 2)?;
    for (name, instance) in &instances {
        expect_only(name, instance, Reason::RuleDrop)?;
    }
    let text = "The packet of the flood below, always the same: it is dropped for its user agent, before its URIs and \
    numbers are read. The policies are those of the tables above; the flood has the last two.";
    let programs: Vec<_> = instances.iter().map(|(name, instance)| (*name, instance)).collect();
    let figures = Figures::new(title, text, all, &programs, SCAN)?;
    let scan = figures.over_empty("copy_and_scan")?.min(figures.over_empty("copy_and_scan_unrolled")?);
    let over = figures.over_empty(SAMPLE)?;
    let name = "scanner dropped by user agent, 900-byte INVITE, sample policy";
    let targets = vec![
        Target::at_most(&format!("{name}, against a bare copy and scan"), over / scan, 1.5, " x"),
        Target::at_most(&format!("{name}, over empty"), over, 160.0, " ns").on(Kind::NoSafeRet),
        Target::at_most(&format!("{name}, over empty"), over, 350.0, " ns").on(Kind::SafeRet),
    ];
    Ok((figures.table, targets))
}
