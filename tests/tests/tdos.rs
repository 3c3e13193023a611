//! `docs/tdos.md`: each of its attacks on a real server while ordinary calls go through it. The rules are the document's.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use ringfence_tests::{
    attack::{Attack, Outcome, play},
    filter, say,
};

/// One attack at a time: each takes what the machine has.
static ONE: Mutex<()> = Mutex::new(());

/// Plays the attack behind the filter. All ordinary calls must be completed.
fn survives(attack: Attack) -> Result<Outcome> {
    let binary = filter::build(!cfg!(debug_assertions))?;
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = play(attack, Some(&binary))?;
    say(&format!("{attack}: {outcome:?}"));
    for calls in [outcome.ordinary, outcome.to_victim] {
        ensure!(calls.started > 0 && calls.completed == calls.started, "calls were lost: {outcome:?}");
    }
    ensure!(outcome.sent > 500, "there was no attack: {outcome:?}");
    Ok(outcome)
}

/// At most this many requests of the attack may have arrived: the rate a second, and the burst.
fn is_within(outcome: Outcome, rate: f64, burst: f64) -> Result<()> {
    let limit = rate * outcome.duration.as_secs_f64() + burst;
    ensure!(outcome.arrived as f64 <= limit + 1.0, "more than {limit:.0} arrived: {outcome:?}");
    Ok(())
}

#[test]
fn calls_survive_a_flood_from_spoofed_sources_three_times_and_not_without_the_filter() -> Result<()> {
    for _ in 0..3 {
        is_within(survives(Attack::Flood)?, 50.0, 50.0)?;
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let without = play(Attack::Flood, None)?;
    say(&format!("without a filter: {without:?}"));
    ensure!(without.ordinary.completed < without.ordinary.started, "the flood is harmless: {without:?}");
    Ok(())
}

#[test]
fn a_call_flood_at_one_number_gets_its_rate_and_costs_others_nothing() -> Result<()> {
    let outcome = survives(Attack::CallFlood)?;
    is_within(outcome, 5.0, 20.0)?;
    // The number can still be called: the rate is not a block.
    ensure!(outcome.arrived >= 20, "{outcome:?}");
    Ok(())
}

#[test]
fn a_storm_of_registers_gets_the_rate_of_each_source() -> Result<()> {
    is_within(survives(Attack::Registers)?, 50.0 * 1.0, 50.0 * 20.0)
}

#[test]
fn nothing_of_a_scan_arrives() -> Result<()> {
    let outcome = survives(Attack::Scan)?;
    ensure!(outcome.arrived == 0, "{outcome:?}");
    Ok(())
}

#[test]
fn nothing_of_fragmented_calls_arrives_or_waits_to_be_reassembled() -> Result<()> {
    let outcome = survives(Attack::Fragments)?;
    ensure!(outcome.arrived == 0 && outcome.reassembling == 0, "{outcome:?}");
    Ok(())
}
