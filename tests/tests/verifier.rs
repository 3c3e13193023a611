//! What the program costs the kernel's verifier, under policies from small to large: the instructions it walks, the states it
//! keeps, and the time loading takes. `cargo xtask vm` parses the lines that this prints, on other kernels.

use std::{
    fs,
    time::{Duration, Instant},
};

use aya::VerifierLogLevel;
use filter_core::layout::Transport;
use filter_policy::{engine::inspection, image::Image};
use ringfence::kernel::{Error, Instance};
use ringfence_hosts::policy;
use ringfence_tests::say;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of walked instructions that a policy may cost; the kernel's own limit is a million.
const BUDGET: u32 = 250_000;

// The only test of this program, because it lowers the process's limit of open files.
#[test]
fn the_verifier_walks_less_than_a_quarter_of_its_limit() {
    let sample = policy::sample().image;
    let inspection = inspection(sample.clone(), &[(5060, Transport::Udp)]);
    let everything = policy::everything().image;
    let addresses_only = policy::text(
        "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[[rule]]\nname = \"blocked\"\n\
         match.source = \"203.0.113.0/24\"\naction = \"drop\"\n",
    )
    .image;
    let policies = [
        ("addresses only", &addresses_only),
        ("inspection", &inspection),
        ("sample policy", &sample),
        ("everything", &everything),
    ];
    let costs = policies.map(|(name, image)| {
        let cost = Cost::of(name, image);
        let Cost { instructions, states, peak_states, loading } = &cost;
        say(&format!(
            "verifier: {name}: {instructions} instructions, {states} states, {peak_states} at once, loaded in {} ms",
            loading.as_millis()
        ));
        (name, cost)
    });
    for (name, cost) in &costs {
        assert!(cost.instructions > 100 && cost.instructions < BUDGET, "{name}: {cost:?}");
        assert!(cost.peak_states > 0 && cost.states > 0, "{name}: {cost:?}");
    }
    let [(_, addresses_only), _, _, (_, everything)] = costs;
    // Kernels before 6.8 also verify global functions that nothing calls: there, these are part of every program, and most of it.
    let (times, of) = if verifies_unused_functions() { (8, 7) } else { (3, 2) };
    assert!(
        times * addresses_only.instructions < of * everything.instructions,
        "the program contains what its policy does not use: {addresses_only:?}, {everything:?}"
    );
}

/// True on kernels before 6.8, whose verifier does not leave out global functions that nothing calls.
fn verifies_unused_functions() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next()) < (6, 8)
}

/// The cost of loading a policy's program.
#[derive(Debug)]
struct Cost {
    /// Instructions that the verifier walked.
    instructions: u32,
    /// States that it created, and how many of them existed at once.
    states: u32,
    peak_states: u32,
    /// Time to create and fill the maps and to verify the program.
    loading: Duration,
}

impl Cost {
    fn of(name: &str, image: &Image) -> Self {
        let start = Instant::now();
        // Log only the statistics: a kernel that rejects the program would log a million instructions.
        let loaded = Instance::load_logging(image, VerifierLogLevel::STATS);
        let instance = loaded.unwrap_or_else(|error| panic!("{name} does not load (this test needs root): {error}"));
        let loading = start.elapsed();
        let instructions = instance.verified_instructions().expect("the kernel answers").expect("it knows the count");
        let open = descriptors();
        drop(instance);
        let summary = verifier_summary(image, open);
        let number = |name: &str| -> u32 {
            let mut words = summary.split_whitespace().skip_while(|word| *word != name);
            let number = words.nth(1).and_then(|word| word.parse().ok());
            number.unwrap_or_else(|| panic!("no number after {name} in {summary:?}"))
        };
        assert_eq!(number("processed"), instructions, "{summary}");
        Self { instructions, states: number("total_states"), peak_states: number("peak_states"), loading }
    }
}

/// The number of open descriptors.
fn descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count() as u64
}

/// The last line of the verifier's log: `processed 45 insns (limit 1000000) max_states_per_insn 1 total_states 3 ...`.
///
/// aya keeps the log only if loading fails. So this makes it fail after the verifier has run: there is no descriptor left for
/// the program, which takes the last of the `loaded` ones.
fn verifier_summary(image: &Image, loaded: u64) -> String {
    let before = Descriptors(getrlimit(Resource::Nofile));
    // Lower descriptors may be free: then the limit must be higher.
    for current in loaded - 3..loaded + 30 {
        let maximum = before.0.maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum }).expect("a lower limit is allowed");
        match Instance::load_logging(image, VerifierLogLevel::STATS) {
            Ok(_) => panic!("the program got a descriptor"),
            Err(Error::Verifier { error, log }) if error.raw_os_error() == Some(libc::EMFILE) => {
                let summary = log.lines().map(str::trim).find(|line| line.starts_with("processed "));
                return summary.unwrap_or_else(|| panic!("no summary in\n{log}")).to_owned();
            }
            // Something created before the program got none, such as a map.
            Err(_) => {}
        }
    }
    panic!("the program was never the first to get no descriptor");
}

/// The previous limit of descriptors, restored on drop.
struct Descriptors(Rlimit);

impl Drop for Descriptors {
    fn drop(&mut self) {
        if let Err(error) = setrlimit(Resource::Nofile, self.0) {
            eprintln!("failed to restore the limit of descriptors: {error}");
        }
    }
}
