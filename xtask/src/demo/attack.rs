//! `cargo xtask demo --attack`: one attack, without a filter and with one.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, ensure};
use ringfence_tests::attack::{self, Attack, Outcome};

use super::screen::Screen;

/// Plays the attack without a filter and, if there is a binary, with one.
pub(super) fn show(attack: Attack, binary: Option<&Path>, screen: &Screen, interrupted: &AtomicBool) -> Result<()> {
    screen.say(&format!(
        "{}\n{}, while three callers place ordinary calls through a Kamailio.\nThe rules are those of docs/tdos.md.\n",
        screen.bold(&format!("Attack: {attack}")),
        attack.what()
    ));
    screen.say("                      ATTACK SENT   REACHED SERVER   ORDINARY CALLS COMPLETED");
    let row = |name: &str, outcome: &Outcome| {
        let (all, done) = (
            outcome.ordinary.started + outcome.to_victim.started,
            outcome.ordinary.completed + outcome.to_victim.completed,
        );
        screen.say(&format!("  {name:<16} {:>14} {:>16} {:>15} of {all}", outcome.sent, outcome.arrived, done));
        done == all
    };
    row("without a filter", &attack::play(attack, None)?);
    let Some(binary) = binary else { return Ok(()) };
    ensure!(!interrupted.load(Ordering::Relaxed), "interrupted; everything has been removed again");
    let is_whole = row("with Ringfence", &attack::play(attack, Some(binary))?);
    ensure!(is_whole, "ordinary calls were lost behind the filter");
    Ok(())
}
