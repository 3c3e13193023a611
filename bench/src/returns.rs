//! How many calls the engine makes for a packet: of its functions, and of the callbacks of its loops. (The kernel's own helpers, and
//! the few functions that are called once for each message, are not among them.)
//!
//! Where the kernel replaces every return with a thunk, much of a packet's time goes into them. Unlike the time, their number is the
//! same on every machine, so a test can hold it.

use std::{cell::RefCell, collections::BTreeMap};

use filter_core::{
    engine,
    host::{Function, Host, Step},
    layout::{
        Ban, BanKey, BanLengths, Config, Counter, Dfa, FlowKey, FragmentKey, InterfaceCounts, Node, NumberClass,
        Remembered, Rule, RuleSet, Trie,
    },
    reason::Reason,
    scratch::Scratch,
    trie::Tables,
};
use filter_policy::{
    engine::{Memory, UserHost},
    image::Image,
};
use zerocopy::FromZeros as _;

/// The calls that a packet has made, by the function or the loop.
type Calls = BTreeMap<String, u32>;

/// Counts the calls that the engine makes for this packet in the kernel, and returns what it decides.
fn count(image: &Image, packet: &[u8]) -> (Reason, Calls) {
    let (memory, calls) = (Memory::default(), RefCell::default());
    let host = Counting { host: UserHost::new(image, &memory, packet), calls: &calls };
    let mut scratch = Scratch::new_box_zeroed().expect("memory for the engine's scratch");
    let reason = engine::decide(host, &mut scratch);
    (reason, calls.into_inner())
}

/// A host that counts.
#[derive(Clone, Copy)]
struct Counting<'m> {
    host: UserHost<'m>,
    calls: &'m RefCell<Calls>,
}

impl Counting<'_> {
    fn add(self, name: String) {
        *self.calls.borrow_mut().entry(name).or_default() += 1;
    }
}

impl Tables for Counting<'_> {
    fn root(&self, trie: Trie, index: usize) -> u32 {
        self.host.root(trie, index)
    }

    fn node(&self, index: u32) -> Option<&Node> {
        self.host.node(index)
    }

    fn leaf(&self, index: u32) -> Option<u32> {
        self.host.leaf(index)
    }
}

impl<'m> Host<'m> for Counting<'m> {
    type Words = <UserHost<'m> as Host<'m>>::Words;

    fn call<F: Function>(self, scratch: &mut Scratch, a: u32, b: u32) -> u32 {
        self.add(format!("{:?}", F::KIND));
        F::run(self, scratch, a, b)
    }

    fn repeat<S: Step>(self, step: &mut S) {
        let name = std::any::type_name::<S>().split('<').next().unwrap_or_default();
        for index in 0..S::TIMES {
            if index >= S::AHEAD && (index - S::AHEAD) % S::BATCH == 0 {
                self.add(name.to_owned());
            }
            if step.step(index) {
                break;
            }
        }
    }

    fn config(self) -> &'m Config {
        self.host.config()
    }

    fn now(self) -> u64 {
        self.host.now()
    }

    fn packet_length(self) -> u32 {
        self.host.packet_length()
    }

    fn load<const N: usize>(self, offset: u32) -> Option<&'m [u8; N]> {
        self.host.load(offset)
    }

    fn copy_message(self, scratch: &mut Scratch, offset: u32, length: u32) -> bool {
        self.host.copy_message(scratch, offset, length)
    }

    fn address_class(self, class: u32) -> Option<u32> {
        self.host.address_class(class)
    }

    fn number_class(self, class: u32) -> Option<&'m NumberClass> {
        self.host.number_class(class)
    }

    fn row(self, index: u32) -> Option<&'m RuleSet> {
        self.host.row(index)
    }

    fn rule(self, index: u32) -> Option<&'m Rule> {
        self.host.rule(index)
    }

    fn dfa(self, index: u32) -> Option<&'m Dfa> {
        self.host.dfa(index)
    }

    fn count_rule(self, rule: u32, slot: u32, update: impl FnOnce(&mut Counter)) {
        self.host.count_rule(rule, slot, update);
    }

    fn count_packet(self, update: impl FnOnce(&mut InterfaceCounts)) {
        self.host.count_packet(update);
    }

    fn emit(self, scratch: &mut Scratch) -> bool {
        self.host.emit(scratch)
    }

    fn ban_lengths(self) -> BanLengths {
        self.host.ban_lengths()
    }

    fn ban(self, key: &BanKey) -> Option<Ban> {
        self.host.ban(key)
    }

    fn count_banned(self, key: &BanKey) {
        self.host.count_banned(key);
    }

    fn set_ban(self, key: &BanKey, ban: &Ban) {
        self.host.set_ban(key, ban);
    }

    fn bucket(self, index: u32) -> Option<Self::Words> {
        self.host.bucket(index)
    }

    fn first_fragment(self, key: &FragmentKey) -> Option<Remembered> {
        self.host.first_fragment(key)
    }

    fn remember_fragment(self, key: &FragmentKey, value: &Remembered) {
        self.host.remember_fragment(key, value);
    }

    fn dropped_flow(self, key: &FlowKey) -> Option<Remembered> {
        self.host.dropped_flow(key)
    }

    fn remember_flow(self, key: &FlowKey, value: &Remembered) {
        self.host.remember_flow(key, value);
    }
}

mod tests {
    use super::*;
    use crate::{
        generate::{self, Packet},
        messages::scanner_message,
        policies::{self, Lists},
        sample_policy,
    };

    #[track_caller]
    fn assert_at_most(most: u32, image: &Image, packet: &[u8], expected: Reason) {
        let (reason, calls) = count(image, packet);
        assert_eq!(reason, expected);
        let all: u32 = calls.values().sum();
        assert!(all <= most, "{all} calls, not {most}: {calls:#?}");
    }

    #[test]
    fn the_calls_for_a_packet_stay_few() {
        let lists = Lists::generated(100, 100);
        let [small, sample, large] = [
            policies::small(&lists).build().unwrap(),
            sample_policy::sample().unwrap(),
            policies::all_scopes(&lists).build().unwrap(),
        ];
        let invite = Packet::invite(4).frame;
        let scanner = generate::udp(4, 5060, scanner_message().as_bytes());
        assert_at_most(16, &small, &invite, Reason::DefaultPass);
        assert_at_most(72, &sample, &invite, Reason::DefaultPass);
        assert_at_most(66, &large, &invite, Reason::DefaultPass);
        // (One of them makes the event, which is not due for most of a flood's packets.)
        assert_at_most(12, &small, &scanner, Reason::RuleDrop);
        assert_at_most(13, &sample, &scanner, Reason::RuleDrop);
        assert_at_most(12, &large, &scanner, Reason::RuleDrop);
    }
}
