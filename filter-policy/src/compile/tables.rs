//! The tables of rows: for each dimension, the rules that each class of its values satisfies.

use filter_core::{
    layout::{
        Attestation, CallerAllowed, DIMENSIONS, Dialog, Dimension, Method, NumberFormat, Payload, Verstat, anomaly,
        need, passport, privacy,
    },
    limits::MAX_PORTS,
};

use super::{
    CompileError, CompileErrorKind,
    addresses::AddressClass,
    numbers::{self, Numbers},
    rows::Rows,
    rule_set,
    rules::number_need,
};
use crate::model::{Condition, Flags, Identity, Policy, Test};

pub(super) fn address_rows(classes: &[AddressClass], needs: u32, rows: &mut Rows, tables: &mut [u32; DIMENSIONS]) {
    if needs & need::SOURCE != 0 {
        tables[Dimension::Source.index()] = rows.push_table(classes.iter().map(|class| class.source));
    }
    if needs & need::DESTINATION != 0 {
        tables[Dimension::Destination.index()] = rows.push_table(classes.iter().map(|class| class.destination));
    }
}

pub(super) fn number_rows(numbers: &Numbers, needs: u32, rows: &mut Rows, tables: &mut [u32; DIMENSIONS]) {
    let dimensions = [
        (Identity::Calling, Dimension::Calling),
        (Identity::Called, Dimension::Called),
        (Identity::Forwarded, Dimension::Forwarded),
        (Identity::From, Dimension::FromNumber),
        (Identity::Asserted, Dimension::AssertedNumber),
        (Identity::Preferred, Dimension::PreferredNumber),
        (Identity::To, Dimension::ToNumber),
    ];
    for (identity, dimension) in dimensions {
        if needs & number_need(identity) != 0 {
            let place = numbers::place(identity);
            tables[dimension.index()] = rows.push_table(numbers.rows.iter().map(|rows| rows[place]));
        }
    }
}

/// The tables of scopes that have few values and need no look-up.
pub(super) fn value_rows(
    policy: &Policy,
    rows: &mut Rows,
    tables: &mut [u32; DIMENSIONS],
    errors: &mut Vec<CompileError>,
) {
    for rule in &policy.rules {
        for condition in &rule.conditions {
            if matches!(&condition.test, Test::Format(identity, _) if !matches!(identity, Identity::Called | Identity::Calling))
            {
                let kind = CompileErrorKind::NoFormat(rule.name.clone());
                errors.push(kind.at(&condition.origin));
            }
        }
    }
    // Adds a table of `count` rows. `holds`: whether a test of this dimension holds for the value with an index; None for tests
    // of other dimensions.
    let mut table = |dimension: Dimension, count: usize, holds: &dyn Fn(&Test, usize) -> Option<bool>| {
        tables[dimension.index()] = rows.push_table((0..count).map(|value| {
            let mut row = rule_set::first(policy.rules.len());
            for (index, rule) in policy.rules.iter().enumerate() {
                let fails = |condition: &Condition| holds(&condition.test, value) == Some(condition.negated);
                if rule.conditions.iter().any(fails) {
                    rule_set::remove(&mut row, index);
                }
            }
            row
        }));
    };
    table(Dimension::Method, Method::COUNT, &|test, method| {
        let Test::Method(methods) = test else { return None };
        Some(methods.iter().any(|name| name.0.index() == method))
    });
    table(Dimension::CallingFormat, NumberFormat::COUNT, &|test, format| {
        let Test::Format(Identity::Calling, formats) = test else { return None };
        Some(formats.iter().any(|&named| named.index() == format))
    });
    table(Dimension::CalledFormat, NumberFormat::COUNT, &|test, format| {
        let Test::Format(Identity::Called, formats) = test else { return None };
        Some(formats.iter().any(|&named| named.index() == format))
    });
    table(Dimension::Attestation, Attestation::COUNT, &|test, attestation| {
        let Test::Attestation(named) = test else { return None };
        Some(named.iter().any(|&named| named.index() == attestation))
    });
    table(Dimension::Verstat, Verstat::COUNT, &|test, verstat| {
        let Test::Verstat(named) = test else { return None };
        Some(named.iter().any(|&named| named.index() == verstat))
    });
    table(Dimension::Neighbor, 2, &|test, neighbor| {
        let Test::Neighbor(wanted) = test else { return None };
        Some(usize::from(*wanted) == neighbor)
    });
    table(Dimension::CallingPrivacy, 1 << privacy::COUNT, &|test, bits| {
        let Test::CallingPrivacy(flags) = test else { return None };
        Some(flags_hold(*flags, bits as u32, privacy::CRITICAL))
    });
    table(Dimension::Passport, 1 << passport::COUNT, &|test, bits| {
        let Test::Passport(flags) = test else { return None };
        Some(flags_hold(*flags, bits as u32, 0))
    });
    table(Dimension::Dialog, Dialog::COUNT, &|test, dialog| {
        let Test::Dialog(named) = test else { return None };
        Some(named.iter().any(|&named| named.index() == dialog))
    });
    tables[Dimension::Service.index()] = service_rows(policy, rows);
    tables[Dimension::Payload.index()] = payload_rows(policy, rows);
    tables[Dimension::CallerAllowed.index()] = caller_rows(policy, rows);
}

/// The rows of signalling ports, and of an unknown one: a condition does not hold for that, and neither does its negation.
fn service_rows(policy: &Policy, rows: &mut Rows) -> u32 {
    let row = |service: usize| {
        let mut row = rule_set::first(policy.rules.len());
        for (index, rule) in policy.rules.iter().enumerate() {
            let fails = |condition: &Condition| {
                let service = policy.ports.get(service);
                let holds = if let Test::Port(ports) = &condition.test {
                    service.map(|(port, _)| ports.contains(port))
                } else if let Test::Transport(transports) = &condition.test {
                    service.map(|(_, transport)| transports.contains(transport))
                } else {
                    return false;
                };
                holds.is_none_or(|holds| holds == condition.negated)
            };
            if rule.conditions.iter().any(fails) {
                rule_set::remove(&mut row, index);
            }
        }
        row
    };
    rows.push_table((0..=MAX_PORTS).map(row))
}

/// True if these bits have one of the values. `none` is a value of bits among which only `aside` are set.
fn flags_hold(flags: Flags, bits: u32, aside: u32) -> bool {
    flags.bits & bits != 0 || (flags.none && bits & !aside == 0)
}

/// The rows of payloads. Nothing can be said about [`Payload::None`], so that a condition does not hold for it, and neither does
/// its negation.
fn payload_rows(policy: &Policy, rows: &mut Rows) -> u32 {
    let row = |payload: Payload| {
        let mut row = rule_set::first(policy.rules.len());
        for (index, rule) in policy.rules.iter().enumerate() {
            let fails = |condition: &Condition| {
                let Test::Payload(named) = &condition.test else { return false };
                payload == Payload::None || named.contains(&payload) == condition.negated
            };
            if rule.conditions.iter().any(fails) {
                rule_set::remove(&mut row, index);
            }
        }
        row
    };
    rows.push_table(Payload::ALL.map(row))
}

/// The rows of what is known of the calling number. Where nothing is, a condition does not hold, and neither does its negation.
fn caller_rows(policy: &Policy, rows: &mut Rows) -> u32 {
    let row = |allowed: CallerAllowed| {
        let mut row = rule_set::first(policy.rules.len());
        for (index, rule) in policy.rules.iter().enumerate() {
            let fails = |condition: &Condition| {
                let Test::CallerAllowed(wanted) = condition.test else { return false };
                allowed == CallerAllowed::Unknown || ((allowed == CallerAllowed::Yes) == wanted) == condition.negated
            };
            if rule.conditions.iter().any(fails) {
                rule_set::remove(&mut row, index);
            }
        }
        row
    };
    rows.push_table(CallerAllowed::ALL.map(row))
}

/// Adds the rows of the caller's identities, see [`filter_core::layout::Config::identity_row`]; returns the first one's index.
pub(super) fn identity_rows(
    policy: &Policy,
    numbers: &Numbers,
    rows: &mut Rows,
    errors: &mut Vec<CompileError>,
) -> u32 {
    let mut base = rule_set::first(policy.rules.len());
    for (index, rule) in policy.rules.iter().enumerate() {
        let is_positive = |condition: &&Condition| matches!(condition.test, Test::AnyIdentity(_)) && !condition.negated;
        let mut positive = rule.conditions.iter().filter(is_positive);
        if positive.next().is_some() {
            rule_set::remove(&mut base, index);
        }
        for second in positive {
            let kind = CompileErrorKind::SeveralPositive { rule: rule.name.clone(), scope: "any_identity".to_owned() };
            errors.push(kind.at(&second.origin));
        }
    }
    let first = rows.push(base);
    for &(hits, vetoes) in &numbers.any_identity {
        rows.push_table([hits, vetoes]);
    }
    first
}

/// Adds the rows of anomalies, see [`filter_core::layout::Config::anomaly_row`]; returns the first one's index.
pub(super) fn anomaly_rows(policy: &Policy, rows: &mut Rows, errors: &mut Vec<CompileError>) -> u32 {
    let mut table = vec![rule_set::NONE; 1 + 2 * anomaly::COUNT];
    table[0] = rule_set::first(policy.rules.len());
    for (index, rule) in policy.rules.iter().enumerate() {
        let mut asked = false;
        for condition in &rule.conditions {
            let Test::Anomaly(bits) = condition.test else { continue };
            if !condition.negated {
                if asked {
                    let kind =
                        CompileErrorKind::SeveralPositive { rule: rule.name.clone(), scope: "anomaly".to_owned() };
                    errors.push(kind.at(&condition.origin));
                    continue;
                }
                asked = true;
                rule_set::remove(&mut table[0], index);
            }
            for bit in (0..anomaly::COUNT).filter(|bit| bits & (1 << bit) != 0) {
                rule_set::insert(&mut table[1 + 2 * bit + usize::from(condition.negated)], index);
            }
        }
    }
    rows.push_table(table)
}
