//! Three readers, one verdict: the engine in user space, the engine in the kernel (BPF_PROG_TEST_RUN) and the naive oracle get
//! the same random packets under the same random policies. They must agree on the verdict, the reason, the deciding rule, the
//! matching rules in report mode, and everything they read.
//!
//! `RINGFENCE_CASES` sets the number of packets, `RINGFENCE_SEED` the seed, to repeat a run. A failing case is shrunk and
//! printed as a fixture.

mod compare;
mod fixture;
mod shrink;

use std::time::Instant;

use filter_policy::model::Policy;
use ringfence_oracle::generate::{
    self, Random,
    frame::{self, Packet},
    seeded_policy,
};

use crate::{
    compare::{Seen, check},
    shrink::{shrink, shrink_pieces},
};

/// Packets that all three get in an ordinary test run.
const CASES: usize = 100_000;

/// Packets for one policy: making and loading it takes as long as some thousand packets.
const BATCH: usize = 1_000;

#[test]
fn user_space_kernel_and_oracle_agree() {
    // The same packets each time, so that a failure is due to a change. To search for more differences, set another seed.
    let seed = from_environment("RINGFENCE_SEED").unwrap_or(0x0516_2026);
    let cases = from_environment("RINGFENCE_CASES").map_or(CASES, |cases| cases as usize);
    println!("{cases} packets; RINGFENCE_SEED={seed} repeats this run");
    let start = Instant::now();
    let mut seen = Seen::default();
    for batch in 0..cases.div_ceil(BATCH) {
        let (policy, inspect, packets) = case(seed, batch as u64, BATCH.min(cases - batch * BATCH));
        let frames: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
        if let Err(difference) = check(&policy, inspect, &frames, true, &mut seen) {
            let fixture = shrink(policy, inspect, packets, difference);
            panic!("batch {batch} of RINGFENCE_SEED={seed}:\n{fixture}");
        }
    }
    println!("{seen}in {:.0} s", start.elapsed().as_secs_f64());
    if cases >= CASES {
        seen.must_be_varied();
    }
}

/// More policies with fewer packets each: nothing has to be loaded here.
#[test]
fn user_space_and_oracle_agree_under_many_policies() {
    const POLICIES: u64 = 500;
    let seed = from_environment("RINGFENCE_SEED").unwrap_or(0x5eed);
    let mut seen = Seen::default();
    for batch in 0..POLICIES {
        let (policy, inspect, packets) = case(seed ^ 0xffff, batch, 100);
        let frames: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
        if let Err(difference) = check(&policy, inspect, &frames, false, &mut seen) {
            let fixture = shrink(policy, inspect, packets, difference);
            panic!("batch {batch} of RINGFENCE_SEED={seed}:\n{fixture}");
        }
    }
}

/// A failing case is only useful if its fixture is short: an artificial difference must be shrunk to the bytes that cause it.
#[test]
fn a_failing_case_is_shrunk_to_what_makes_it_fail() {
    let mut random = Random(7);
    let mut pieces = generate::message(&mut random);
    pieces.insert(2, b"X-Culprit: here\r\n".to_vec());
    let fails = |pieces: &[Vec<u8>]| pieces.concat().windows(7).any(|window| window == b"Culprit");
    shrink_pieces(&mut pieces, &mut |pieces| fails(pieces));
    assert_eq!(pieces.concat(), b"Culprit");
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// A policy and packets for it. Under every second policy everything is read, so that the readings can be compared.
fn case(seed: u64, batch: u64, packets: usize) -> (Policy, bool, Vec<Packet>) {
    let mut random = Random(seed ^ batch.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let policy = seeded_policy::policy(&mut random);
    let packets = (0..packets).map(|index| frame::packet(&mut random, index as u64)).collect();
    (policy, batch.is_multiple_of(2), packets)
}
