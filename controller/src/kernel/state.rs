//! Two pinned maps that only user space reads: what is in force, and which rule owns which counters.

use filter_core::{layout::SCHEMA_VERSION, limits::RULE_SLOTS};
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout};

use super::Error;

/// The longest name of a rule that fits into a counter slot, in bytes.
pub const RULE_NAME: usize = 64;

/// The number of interfaces that can share one set of pins.
pub const MAX_INTERFACES: usize = 16;

filter_core::layouts! {
    #[cfg(test)]
    pub(super) const LAYOUTS;

    /// The only value of the meta map. The first field never moves: it says whether the rest can be read.
    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
    pub(super) struct Meta {
        /// [`SCHEMA_VERSION`] of the program that created the pins.
        pub(super) schema: u32,
        /// The number of rules of the generation.
        pub(super) rules: u32,
        /// Increases with each policy that is put in force; 0 before the first one.
        pub(super) generation: u64,
        /// When the pins were created, in seconds since 1970.
        pub(super) started: u64,
        /// When the generation was put in force, in seconds since 1970.
        pub(super) loaded: u64,
        /// The number of instructions that the verifier processed.
        pub(super) verified_instructions: u32,
        /// 1 if it is in report mode as a whole.
        pub(super) report: u32,
        /// The hash of its image, hexadecimal.
        pub(super) policy_hash: [u8; 64],
        /// The commit of the policy repository, hexadecimal; empty if there is none.
        pub(super) commit: [u8; 64],
        /// The interfaces that it is attached to; unused entries have no name.
        pub(super) interfaces: [MetaInterface; MAX_INTERFACES],
    }

    /// An interface in [`Meta`].
    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
    pub(super) struct MetaInterface {
        /// Its name, zero-padded.
        pub(super) name: [u8; 16],
        /// Its index when the link was created.
        pub(super) index: u32,
        /// 1 native, 2 generic.
        pub(super) mode: u32,
    }

    /// A counter slot: the rule whose name owns it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
    pub(super) struct Slot {
        /// The rule's name, zero-padded; empty for a free slot.
        pub(super) name: [u8; RULE_NAME],
        /// The last generation in which a rule of this name was in force.
        pub(super) generation: u64,
    }
}

impl Meta {
    /// The value for new pins.
    pub(super) fn new(now: u64) -> Self {
        Self { schema: SCHEMA_VERSION, started: now, ..Self::new_zeroed() }
    }

    pub(super) fn policy_hash(&self) -> String {
        text(&self.policy_hash)
    }

    pub(super) fn commit(&self) -> Option<String> {
        Some(text(&self.commit)).filter(|commit| !commit.is_empty())
    }
}

impl Slot {
    pub(super) fn name(&self) -> String {
        text(&self.name)
    }

    fn is_free(&self) -> bool {
        self.name[0] == 0
    }
}

/// Assigns a slot to each rule: the one that its name owns, else a free one, else the one whose rule was removed the
/// longest ago.
///
/// A slot of `running`, the generation in force, is never reassigned: its program counts there until the swap. There are
/// twice as many slots as rules in a policy, so there are always enough. Returns the slot of each rule, and the slots with
/// new owners. The latter are updated in `slots`, and the caller must clear their counters. Their generation is 0 until the
/// new one is in force: if that never happens, they are the first to be reassigned.
pub(super) fn assign(names: &[String], slots: &mut [Slot], running: u64) -> Result<(Vec<u16>, Vec<u16>), Error> {
    if let Some(name) = names.iter().find(|name| name.is_empty() || name.len() > RULE_NAME) {
        return Err(Error::RuleName(name.clone()));
    }
    let mut assigned: Vec<Option<u16>> = names
        .iter()
        .map(|name| slots.iter().position(|slot| slot.name == padded(name)).map(|slot| slot as u16))
        .collect();
    let mut available: Vec<u16> = (0..slots.len() as u16)
        .filter(|&slot| !assigned.contains(&Some(slot)))
        .filter(|&slot| {
            let slot = &slots[usize::from(slot)];
            slot.is_free() || slot.generation != running
        })
        .collect();
    // Free slots first, then the oldest ones; in reverse order, since they are popped.
    available.sort_by_key(|&slot| {
        let entry = &slots[usize::from(slot)];
        std::cmp::Reverse((!entry.is_free(), entry.generation, slot))
    });
    let mut changed = Vec::new();
    for (name, slot) in names.iter().zip(&mut assigned) {
        if slot.is_some() {
            continue;
        }
        let taken = available.pop().ok_or_else(|| Error::Internal("out of counter slots".to_owned()))?;
        *slot = Some(taken);
        slots[usize::from(taken)] = Slot { name: padded(name), generation: 0 };
        changed.push(taken);
    }
    Ok((assigned.into_iter().flatten().collect(), changed))
}

/// A text in a field of fixed size. It is truncated if it is too long.
pub(super) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    let length = text.len().min(N);
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
    field
}

/// The text in a zero-padded field.
pub(super) fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

const _: () = assert!(RULE_SLOTS >= 2 * filter_core::limits::MAX_RULES, "see `assign`");

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn empty(count: usize) -> Vec<Slot> {
        vec![Slot { name: [0; RULE_NAME], generation: 0 }; count]
    }

    /// Assigns slots, and puts the generation in force.
    fn install(rules: &[&str], slots: &mut [Slot], generation: u64) -> (Vec<u16>, Vec<u16>) {
        let (used, changed) = assign(&names(rules), slots, generation - 1).unwrap();
        for &slot in &used {
            slots[usize::from(slot)].generation = generation;
        }
        (used, changed)
    }

    #[test]
    fn a_name_keeps_its_slot_when_the_order_changes() {
        let mut slots = empty(4);
        assert_eq!(install(&["a", "b"], &mut slots, 1).0, [0, 1]);
        assert_eq!(install(&["b", "new", "a"], &mut slots, 2), (vec![1, 2, 0], vec![2]));
    }

    #[test]
    fn a_rule_that_comes_back_finds_its_counters() {
        let mut slots = empty(4);
        install(&["a", "b"], &mut slots, 1);
        install(&["a", "c"], &mut slots, 2);
        assert_eq!(install(&["a", "b"], &mut slots, 3), (vec![0, 1], vec![]));
    }

    #[test]
    fn the_rule_that_was_removed_first_loses_its_slot_first_and_only_if_none_is_free() {
        let mut slots = empty(4);
        install(&["a", "b"], &mut slots, 1);
        install(&["b", "c"], &mut slots, 2);
        assert_eq!(install(&["c", "d"], &mut slots, 3).1, [3], "the fourth was still free");
        assert_eq!(install(&["c", "d", "e"], &mut slots, 4).1, [0], "a was removed in generation 2, b in generation 3");
        assert_eq!(slots[0].name(), "e");
    }

    #[test]
    fn the_running_generation_never_loses_a_slot() {
        let mut slots = empty(2);
        install(&["a", "b"], &mut slots, 1);
        assert!(assign(&names(&["c"]), &mut slots, 1).is_err());
        assert_eq!((slots[0].name(), slots[1].name()), ("a".to_owned(), "b".to_owned()));
    }

    #[test]
    fn policies_that_never_came_into_force_use_up_no_slots() {
        let mut slots = empty(4);
        install(&["a", "b"], &mut slots, 1);
        for attempt in ["c", "d", "e", "f"] {
            let attempt = [attempt, &format!("{attempt}2")].map(str::to_owned);
            assign(&attempt, &mut slots, 1).unwrap();
        }
        install(&["g", "h"], &mut slots, 2);
        install(&["i", "j"], &mut slots, 3);
        assert_eq!(slots.iter().map(Slot::name).collect::<Vec<_>>(), ["i", "j", "g", "h"]);
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let error = assign(&["x".repeat(65)], &mut empty(2), 0).unwrap_err();
        assert!(matches!(error, Error::RuleName(_)), "{error}");
    }
}
