//! The user agent that costs the filter most, among those that no pattern matches.

use anyhow::{Context as _, Result, ensure};
use aya::{TestRun as _, TestRunOptions};
use filter_core::reason::Reason;
use ringfence::kernel::Instance;

use super::{ANY, COLUMNS, Effort, Figures, Measurement, expect_only};
use crate::{
    driver::{self, Driver, Entries, XDP_PASS},
    generate::{AGENT, Packet, Random},
    policies::{self, Lists},
    report::{Table, Target},
};

/// As long as a user agent can be if the INVITE has to fit into an Ethernet frame.
const LONG: usize = 600;

/// Tries of the search: at random, then changes of the worst so far.
const RANDOM: usize = 200;
const CHANGES: usize = 400;

/// Compares an ordinary user agent, an ordinary text of the greatest length, and the worst one that a search finds.
pub(super) fn worst(title: &str, effort: Effort) -> Result<Measurement> {
    let lists = Lists::generated(1000, 1000);
    let image = policies::all_scopes(&lists).build()?;
    let long: String = "ordinary text of a long user agent / 1.2 ".chars().cycle().take(LONG).collect();
    let found = search(&Instance::load(&image)?, &lists.patterns, &long)?;
    let mut table = Table::new(title, "", &COLUMNS);
    let mut over = Vec::new();
    for (kind, agent) in [("ordinary", AGENT), ("long", &long), ("worst", &found)] {
        let instance = Instance::load(&image)?;
        let name = format!("64 rules, {kind}");
        let scan = format!("copy_and_scan_unrolled, {kind}");
        let mut driver = Driver::new(&Packet::fixed(frame(agent)), &[driver::record(0, ANY, ANY)], &Entries::None)?;
        driver.add_own("empty")?;
        driver.add_own_as("copy_and_scan_unrolled", &scan)?;
        driver.add(&name, instance.program()?.fd()?)?;
        driver.expect(&name, XDP_PASS)?;
        let all = driver.measure(effort.rounds, effort.repeat / 2)?;
        expect_only(&name, &instance, Reason::DefaultPass)?;
        let figures = Figures::new(title, "", all, &[(&name, &instance)], &scan)?;
        over.push(figures.over_empty(&name)?);
        // The first baseline is the table's.
        match (&mut table.costs, figures.table.costs) {
            (Some(costs), Some(more)) => costs.rows.extend(more.rows),
            (costs, first) => *costs = first,
        }
        // One row of the empty program is enough.
        table.rows.extend(figures.table.rows.into_iter().skip(usize::from(!table.rows.is_empty())));
    }
    table.text = format!(
        "The INVITE of 895 bytes with another user agent, the same packet again and again; it passes. `ordinary` has {} bytes, `long` \
         {LONG} of ordinary text, `worst` {LONG} bytes that a search found: beginnings of the patterns and of words in them, put \
         together so that none matches, and changed as long as that made the verdict slower. It begins with `{}`.",
        AGENT.len(),
        &found[..40],
    );
    let name = "the worst user agent against the ordinary one, whole verdict over empty";
    // The long one may be as bad as any, and a busy machine can make it seem worse.
    let worst = over[1].max(over[2]);
    let note = format!("{:.2} x an ordinary text of the same length", over[2] / over[1]);
    Ok((table, vec![Target::at_most(name, worst / over[0], 2.0, " x").noted(note)]))
}

/// An INVITE from a source that no list has.
fn frame(agent: &str) -> Vec<u8> {
    Packet::with_agent(4, agent).frame
}

/// Looks for a user agent that is slow to judge, beginning with this one.
fn search(instance: &Instance, patterns: &str, first: &str) -> Result<String> {
    let pieces = pieces(patterns);
    let mut random = Random::new(14);
    let mut best = (0, String::new());
    let consider = |agent: String, best: &mut (u128, String)| -> Result<()> {
        let Some(first) = cost(instance, &agent)? else { return Ok(()) };
        // What seems to be worse is measured again: most often the machine was slow, and not the filter.
        if first > best.0
            && let Some(again) = cost(instance, &agent)?
            && first.min(again) > best.0
        {
            *best = (first.min(again), agent);
        }
        Ok(())
    };
    consider(first.to_owned(), &mut best)?;
    for piece in &pieces {
        consider(piece.chars().cycle().take(LONG).collect(), &mut best)?;
    }
    for _ in 0..RANDOM {
        let mut agent = String::new();
        let few: Vec<_> = (0..1 + random.below(4)).map(|_| &pieces[random.below(pieces.len())]).collect();
        while agent.len() < LONG {
            agent.push_str(few[random.below(few.len())]);
        }
        agent.truncate(LONG);
        consider(agent, &mut best)?;
    }
    for _ in 0..CHANGES {
        let piece = &pieces[random.below(pieces.len())];
        let at = random.below(LONG - piece.len());
        let mut agent = best.1.clone();
        // A stretch of the piece, so that one change can make a difference that is more than noise.
        let end = (at + piece.len() * (1 + random.below(8))).min(LONG);
        agent.replace_range(at..end, &piece.chars().cycle().take(end - at).collect::<String>());
        consider(agent, &mut best)?;
    }
    ensure!(!best.1.is_empty(), "every user agent that was tried matches a pattern");
    Ok(best.1)
}

/// The least time of several runs; `None` if the message does not pass.
fn cost(instance: &Instance, agent: &str) -> Result<Option<u128>> {
    let frame = frame(agent);
    let mut least = u128::MAX;
    for repeat in [1, 400, 400, 400] {
        let options = TestRunOptions { data_in: Some(&frame), repeat, ..TestRunOptions::default() };
        let run = instance.program()?.test_run(options).context("failed to run a user agent")?;
        if run.return_value != XDP_PASS {
            return Ok(None);
        }
        if repeat > 1 {
            least = least.min(run.duration.as_nanos());
        }
    }
    Ok(Some(least))
}

/// What almost matches: beginnings of the patterns, as far as they are literal.
fn pieces(patterns: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for pattern in patterns.lines() {
        let literal: String = pattern
            .chars()
            .skip_while(|first| *first == '^')
            .take_while(|c| c.is_ascii_alphanumeric() || " -_".contains(*c))
            .collect();
        let length = literal.len();
        for end in [1, 2, 3, length / 2, length.saturating_sub(1)] {
            let piece = literal.get(..end.min(length)).unwrap_or_default().to_owned();
            if !piece.is_empty() && !pieces.contains(&piece) {
                pieces.push(piece);
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_beginnings_without_the_signs_of_expressions() {
        let pieces = pieces("^sipv\nsip-?scan\nabcdef/[0-9]+\n");
        assert!(pieces.iter().all(|piece| piece.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')), "{pieces:?}");
        assert!(pieces.contains(&"sip".to_owned()) && pieces.contains(&"abcde".to_owned()), "{pieces:?}");
    }

    #[test]
    fn the_longest_message_fits_into_an_ethernet_frame() {
        assert!(frame(&"x".repeat(LONG)).len() <= 1514);
    }
}
