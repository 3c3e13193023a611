//! Which lines of the source a packet's time goes into.
//!
//! `perf record` interrupts this thread by a timer (the software event `cpu-clock`, which virtual machines have as well) while
//! the kernel runs a program, and notes the address. The kernel knows which line each piece of a program's machine code comes
//! from.

mod lines;

use std::{collections::BTreeMap, os::fd::AsFd as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use ringfence::kernel::Instance;
use ringfence_tests::process::{Spawned, run as output_of};
use rustix::thread::gettid;

use self::lines::{Code, by_line};
use crate::{
    driver::{Driver, OneCpu},
    micro::verdicts,
    report::Table,
};

/// Samples per second: as many as kernels allow by default, and no multiple of the timer's own frequency.
const FREQUENCY: u32 = 3989;

/// How many lines are shown.
const LINES: usize = 60;

/// Profiles all cases whose name contains `only`.
pub(crate) fn run(quick: bool, only: &str, say: &dyn Fn(&Table)) -> Result<()> {
    let _cpu = OneCpu::stay()?;
    let seconds = if quick { 1 } else { 5 };
    let mut found = false;
    for (name, subject) in verdicts::SUBJECTS {
        if name.contains(only) {
            found = true;
            let (mut driver, instance) = subject()?;
            profile(name, &mut driver, &instance, seconds)?.iter().for_each(say);
        }
    }
    let names: Vec<_> = verdicts::SUBJECTS.iter().map(|(name, _)| *name).collect();
    ensure!(found, "nothing to profile has {only:?} in its name; there is: {}", names.join("; "));
    Ok(())
}

fn profile(name: &str, driver: &mut Driver, instance: &Instance, seconds: u32) -> Result<[Table; 2]> {
    let code = Code::of(instance.program()?.fd()?.as_fd())?;
    let folder = ringfence_tests::scratch()?;
    let data = folder.path().join("perf.data");
    let samples = addresses(&sampled(driver, &data, seconds, folder.path())?)?;
    let inside: Vec<_> = samples.iter().copied().filter(|address| code.function(*address).is_some()).collect();
    ensure!(!inside.is_empty(), "none of {} samples is in the program", samples.len());
    let lines = by_line(&code, &inside);
    let share = |count: usize| format!("{:.1} %", 100.0 * count as f64 / inside.len() as f64);

    let mut ran: Vec<_> = inside.iter().filter_map(|address| code.function(*address)).collect();
    ran.sort_unstable();
    ran.dedup();
    let hot: u64 = ran.iter().map(|(_, length)| u64::from(*length)).sum();
    let mut files = Table::new(
        format!("{name}: files"),
        format!(
            "{} of {} samples are in the program; {hot} of its {} bytes of machine code are in the {} functions that have samples.",
            inside.len(),
            samples.len(),
            code.size(),
            ran.len(),
        ),
        &["file", "share"],
    );
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    lines.iter().for_each(|(line, count)| *counts.entry(&line.file).or_default() += count);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.iter().for_each(|(file, count)| files.row([(*file).to_owned(), share(*count)]));

    let mut table = Table::new(format!("{name}: lines"), "", &["line", "share", "source"]);
    for (line, count) in lines.iter().take(LINES) {
        table.row([format!("{}:{}", line.file, line.number), share(*count), line.text.chars().take(100).collect()]);
    }
    Ok([files, table])
}

/// Runs the driver's program while perf samples this thread. Returns perf's list of addresses.
fn sampled(driver: &mut Driver, data: &Path, seconds: u32, scratch: &Path) -> Result<String> {
    let mut record = Command::new("perf");
    record.args(["record", "--event", "cpu-clock", "--freq", &FREQUENCY.to_string(), "--tid"]);
    record.arg(gettid().as_raw_nonzero().to_string()).arg("--output").arg(data);
    record.args(["--", "sleep", &seconds.to_string()]);
    let mut perf = Spawned::start("perf", record, scratch)?;
    let status = loop {
        driver.run_first(1 << 14)?;
        if let Some(status) = perf.poll()? {
            break status;
        }
    };
    ensure!(status.success(), "perf record failed: {}", perf.last_words());
    let mut script = Command::new("perf");
    script.args(["script", "--fields", "ip", "--input"]).arg(data);
    output_of(script)
}

/// The addresses that `perf script --fields ip` prints, one per line.
fn addresses(text: &str) -> Result<Vec<u64>> {
    let words = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let address = |word: &str| u64::from_str_radix(word, 16).with_context(|| format!("perf printed {word:?}"));
    words.map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_what_perf_prints() {
        assert_eq!(
            addresses(" ffffffffc0201234 \n\n ffffffff81000000\n").unwrap(),
            [0xffff_ffff_c020_1234, 0xffff_ffff_8100_0000]
        );
        assert!(addresses("cpu-clock:\n").is_err());
    }
}
