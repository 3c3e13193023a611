//! The engine's host in user space.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use filter_core::{
    host::{Host, Words},
    layout::{
        Ban, BanKey, BanLengths, Config, Counter, Dfa, FlowKey, FragmentKey, InterfaceCounts, NO_RULE, Node,
        NumberClass, Remembered, Rule, RuleSet, Trie, rule_flag,
    },
    limits::{BUCKET_WORDS, BUCKETS},
    packet::mapped,
    scratch::Scratch,
    trie::Tables,
};
use zerocopy::{FromZeros as _, IntoBytes as _};

use crate::image::Image;

/// State across packets, and what is recorded about the current one.
#[derive(Default)]
pub struct Memory {
    now: Cell<u64>,
    counters: RefCell<HashMap<u32, Counter>>,
    fragments: RefCell<HashMap<Vec<u8>, Remembered>>,
    flows: RefCell<HashMap<Vec<u8>, Remembered>>,
    bans: RefCell<HashMap<(u32, [u8; 16]), Ban>>,
    limits: Limits,
    matched: RefCell<Vec<u32>>,
    would: RefCell<BTreeSet<usize>>,
    /// Counter slots of the rules whose rates this packet was counted for, and did not exceed.
    within_rate: RefCell<Vec<u32>>,
    /// The ban because of which this packet was dropped.
    banned_by: Cell<Option<Ban>>,
    /// True if this packet has earned its source a ban.
    earned: Cell<bool>,
    /// The rules that are on, if they are not those of the image.
    on: Option<RuleSet>,
}

/// The words of the table of limits. It takes no memory before the first of them is used.
#[derive(Default)]
struct Limits(RefCell<Vec<u64>>);

/// One of its buckets.
#[derive(Clone, Copy)]
pub struct Bucket<'m> {
    limits: &'m Limits,
    first: usize,
}

impl Words for Bucket<'_> {
    fn get(self, index: usize) -> u64 {
        self.limits.0.borrow()[self.first + index]
    }

    fn put(self, index: usize, value: u64) {
        self.limits.0.borrow_mut()[self.first + index] = value;
    }

    fn exchange(self, index: usize, old: u64, new: u64) -> bool {
        let is_old = self.get(index) == old;
        if is_old {
            self.put(index, new);
        }
        is_old
    }
}

impl Memory {
    pub(super) fn set_time(&self, nanoseconds: u64) {
        self.now.set(nanoseconds);
    }

    pub(super) fn set_on(&mut self, on: RuleSet) {
        self.on = Some(on);
    }

    pub(super) fn begin(&self) {
        self.matched.borrow_mut().clear();
        self.would.borrow_mut().clear();
        self.within_rate.borrow_mut().clear();
        self.banned_by.set(None);
        self.earned.set(false);
    }

    /// Bans an address for good.
    pub(super) fn ban(&self, address: IpAddr) {
        let source = match address {
            IpAddr::V4(address) => mapped(address.octets()),
            IpAddr::V6(address) => address.octets(),
        };
        let ban = Ban { until: u64::MAX, since: 0, packets: 0, emergency: 0, slot: NO_RULE, reserved: 0 };
        self.bans.borrow_mut().insert((128, source), ban);
    }

    /// The policy's lengths of prefixes, and those of the other bans, as many as there is room for.
    fn ban_lengths(&self, policy: &BanLengths) -> BanLengths {
        let mut lengths = *policy;
        for &(length, source) in self.bans.borrow().keys() {
            let list = if length > 96 && source.starts_with(&mapped([0; 4])[..12]) {
                &mut lengths.ipv4
            } else {
                &mut lengths.ipv6
            };
            let length = length as u8;
            if !list.contains(&length)
                && let Some(free) = list.iter_mut().find(|entry| **entry == 0)
            {
                *free = length;
            }
        }
        lengths
    }

    /// The rules that would have dropped the packet, were it not for their mode or its TCP connection.
    pub(super) fn would(&self) -> Vec<usize> {
        self.would.borrow().iter().copied().collect()
    }

    pub(super) fn within_rate(&self) -> Vec<u32> {
        self.within_rate.borrow().clone()
    }

    pub(super) fn banned_by(&self) -> Option<Ban> {
        self.banned_by.get()
    }

    pub(super) fn earned(&self) -> bool {
        self.earned.get()
    }

    pub(super) fn matched(&self) -> Vec<usize> {
        self.matched.borrow().iter().map(|&rule| rule as usize).collect()
    }
}

/// The host for one packet: the packet, a policy's image, and the memory.
#[derive(Clone, Copy)]
pub struct UserHost<'m> {
    image: &'m Image,
    memory: &'m Memory,
    packet: &'m [u8],
}

impl<'m> UserHost<'m> {
    /// The host for one packet.
    #[must_use]
    pub fn new(image: &'m Image, memory: &'m Memory, packet: &'m [u8]) -> Self {
        Self { image, memory, packet }
    }
}

impl Tables for UserHost<'_> {
    fn root(&self, trie: Trie, index: usize) -> u32 {
        self.image.roots.of(trie)[index]
    }

    fn node(&self, index: u32) -> Option<&Node> {
        self.image.nodes.get(index as usize)
    }

    fn leaf(&self, index: u32) -> Option<u32> {
        self.image.leaves.get(index as usize).copied()
    }
}

impl<'m> Host<'m> for UserHost<'m> {
    type Words = Bucket<'m>;

    fn config(self) -> &'m Config {
        &self.image.config
    }

    fn now(self) -> u64 {
        self.memory.now.get()
    }

    fn packet_length(self) -> u32 {
        self.packet.len() as u32
    }

    fn load<const N: usize>(self, offset: u32) -> Option<&'m [u8; N]> {
        self.packet.get(offset as usize..)?.first_chunk()
    }

    fn copy_message(self, scratch: &mut Scratch, offset: u32, length: u32) -> bool {
        let start = offset as usize;
        let Some(message) = self.packet.get(start..start + length as usize) else { return false };
        let Some(buffer) = scratch.buffer.get_mut(..message.len()) else { return false };
        buffer.copy_from_slice(message);
        true
    }

    fn address_class(self, class: u32) -> Option<u32> {
        self.image.address_classes.get(class as usize).copied()
    }

    fn number_class(self, class: u32) -> Option<&'m NumberClass> {
        self.image.number_classes.get(class as usize)
    }

    fn row(self, index: u32) -> Option<&'m RuleSet> {
        match &self.memory.on {
            Some(on) if self.image.time_row() == Some(index) => Some(on),
            _ => self.image.rows.get(index as usize),
        }
    }

    fn rule(self, index: u32) -> Option<&'m Rule> {
        self.image.rules.get(index as usize)
    }

    fn dfa(self, index: u32) -> Option<&'m Dfa> {
        self.image.dfas.get(index as usize).map(|dfa| &**dfa)
    }

    fn count_rule(self, rule: u32, slot: u32, update: impl FnOnce(&mut Counter)) {
        let mut matched = self.memory.matched.borrow_mut();
        if matched.last() != Some(&rule) {
            matched.push(rule);
        }
        let mut counters = self.memory.counters.borrow_mut();
        let counter = counters.entry(slot).or_insert_with(Counter::new_zeroed);
        let spared = counter.spared;
        update(counter);
        let is_report = self.image.rules.get(rule as usize).is_some_and(|rule| rule.flags & rule_flag::REPORT != 0);
        if is_report || counter.spared != spared {
            self.memory.would.borrow_mut().insert(rule as usize);
        }
    }

    /// Users of this host want to see what a packet says. (Tests that read as the kernel does ask for no events.)
    fn reads_whole(self) -> bool {
        self.image.config.events_per_second != 0
    }

    fn count_packet(self, _update: impl FnOnce(&mut InterfaceCounts)) {}

    fn emit(self, _scratch: &mut Scratch) -> bool {
        true
    }

    fn ban_lengths(self) -> BanLengths {
        self.memory.ban_lengths(&self.image.config.ban_lengths)
    }

    fn ban(self, key: &BanKey) -> Option<Ban> {
        self.memory.bans.borrow().get(&(key.length, key.source)).copied()
    }

    fn count_banned(self, key: &BanKey) {
        if let Some(ban) = self.memory.bans.borrow_mut().get_mut(&(key.length, key.source)) {
            ban.packets += 1;
            self.memory.banned_by.set(Some(*ban));
        }
    }

    fn set_ban(self, key: &BanKey, ban: &Ban) {
        let old = self.memory.bans.borrow_mut().insert((key.length, key.source), *ban);
        // An emergency call writes the ban that it suspends, with the same end.
        self.memory.earned.set(old.is_none_or(|old| old.until != ban.until));
    }

    fn bucket(self, index: u32) -> Option<Bucket<'m>> {
        let index = index as usize;
        let mut words = self.memory.limits.0.borrow_mut();
        if words.is_empty() {
            *words = vec![0; BUCKETS * BUCKET_WORDS];
        }
        (index < BUCKETS).then(|| Bucket { limits: &self.memory.limits, first: index * BUCKET_WORDS })
    }

    fn note_within(self, slot: u32) {
        self.memory.within_rate.borrow_mut().push(slot);
    }

    fn first_fragment(self, key: &FragmentKey) -> Option<Remembered> {
        self.memory.fragments.borrow().get(key.as_bytes()).copied()
    }

    fn remember_fragment(self, key: &FragmentKey, value: &Remembered) {
        self.memory.fragments.borrow_mut().insert(key.as_bytes().to_vec(), *value);
    }

    fn dropped_flow(self, key: &FlowKey) -> Option<Remembered> {
        self.memory.flows.borrow().get(key.as_bytes()).copied()
    }

    fn remember_flow(self, key: &FlowKey, value: &Remembered) {
        self.memory.flows.borrow_mut().insert(key.as_bytes().to_vec(), *value);
    }
}

#[cfg(test)]
mod tests {
    use filter_core::{
        find::{Blank, Colon, Needle, NotBlank, find, find_near},
        host::Function,
        scratch::{Header, Span, Uri, UriOf, uri_flag},
        uri::{ReadCommonUri, ReadNumber, ReadUri},
    };

    use super::*;
    use crate::{build, files::Table};

    fn assert_equal<N: Needle>(host: UserHost<'_>, s: &mut Scratch, from: u32, end: u32) {
        let near = (find_near::<N, _>(host, s, from, end), s.cursors.at);
        let searched = (find::<N, _>(host, s, from, end), s.cursors.at);
        assert_eq!(near, searched, "{:?} in {from}..{end} of {:?}", N::KIND, s.buffer[..48].escape_ascii().to_string());
    }

    #[test]
    fn the_near_search_finds_what_the_full_search_finds() {
        let files = [("policy.toml", b"version = 1\n".as_slice())];
        let image = build(&Table(&files), (2026, 11, 22)).expect("the policy is good").image;
        let memory = Memory::default();
        let host = UserHost::new(&image, &memory, &[]);
        let mut s = Scratch::new_box_zeroed().expect("memory");
        // A mark at each place, including places after the end, where an earlier packet may have left one.
        for mark in 0..48 {
            s.buffer[..48].fill(b'x');
            s.buffer[mark] = b':';
            s.buffer[47 - mark] = b' ';
            for (from, end) in (0..40).flat_map(|from| (0..40).map(move |end| (from, end))) {
                assert_equal::<Colon>(host, &mut s, from, end);
                assert_equal::<Blank>(host, &mut s, from, end);
                assert_equal::<NotBlank>(host, &mut s, from, end);
            }
        }
    }

    /// Where the values are in the buffer.
    const VALUE: usize = 100;

    /// Reads a URI in both ways, if the common way reads it; true then.
    fn is_read_alike(host: UserHost<'_>, s: &mut Scratch, of: UriOf, header: Header) -> bool {
        s.message.anomalies = 0;
        s.message.uris[of.index()] = Uri::EMPTY;
        let is_read = ReadCommonUri::run(host, s, of.number(), header.number()) != 0;
        let common = s.message.uris[of.index()];
        if !is_read {
            assert_eq!(common.as_bytes(), Uri::EMPTY.as_bytes());
            return false;
        }
        s.message.uris[of.index()] = Uri::EMPTY;
        ReadUri::run(host, s, of.number(), header.number());
        if !s.message.uris[of.index()].user.is_empty() {
            ReadNumber::run(host, s, 0, 0);
        }
        let general = &s.message.uris[of.index()];
        let text = s.buffer[VALUE..VALUE + 120].escape_ascii();
        assert_eq!(common.as_bytes(), general.as_bytes(), "{common:?}, {general:?}: {text}");
        assert_eq!(general.flags & uri_flag::MALFORMED, 0, "{text}");
        assert_eq!(s.message.anomalies, 0, "{text}");
        true
    }

    #[test]
    fn what_is_read_as_a_common_uri_is_read_so_by_the_general_reading() {
        const POLICY: &str = "version = 1\n[network]\nudp = [5060]\n\
            [numbering]\ncountry_code = \"1\"\nstrip = [\"1111\", \"*9\"]\n\
            [[rule]]\nname = \"odd\"\nmatch.anomaly = \"malformed-uri\"\naction = \"drop\"\n";
        const VALUES: [(UriOf, Header, &str, &str); 9] = [
            (UriOf::Request, Header::RequestUri, "sip:+16055620123@sip.example.net;user=phone", " SIP/2.0\r\n"),
            (UriOf::Request, Header::RequestUri, "sips:1111911@host", " SIP/2.0\r\n"),
            (
                UriOf::From,
                Header::From,
                " \"Alice\" <sip:+13125550100@sip.example.net>;tag=9fxced76sl\r\n",
                "X: <y>\r\n",
            ),
            (UriOf::From, Header::From, "\"\"<sip:5550100@anonymous.invalid>;a=1\r\n", "X: <y>\r\n"),
            (UriOf::To, Header::To, " <SIPS:2125550123@10.0.0.1:5060>\r\n", "X: <y>\r\n"),
            (UriOf::To, Header::To, "<sip:+266696687@h>\r\n", "X: <y>\r\n"),
            (UriOf::To, Header::To, " \"Bob\" <sip:1111222233334444@sip.example.net>\r\n", "X: <y>\r\n"),
            (UriOf::Entry, Header::Entry, " <sip:+13125550100@sip.example.net>", ", <sip:1@h>\r\n"),
            (UriOf::Entry, Header::Entry, "<sip:+13125550100@sip.example.net>;party=calling\r\n", "X: <y>\r\n"),
        ];
        let files = [("policy.toml", POLICY.as_bytes())];
        let built = build(&Table(&files), (2026, 11, 22));
        let image = built.unwrap_or_else(|error| panic!("{}", error.render(false, None))).image;
        let memory = Memory::default();
        let host = UserHost::new(&image, &memory, &[]);
        let mut s = Scratch::new_box_zeroed().expect("memory");
        let (mut alike, mut left) = (0, 0);
        for (of, header, value, rest) in VALUES {
            // Each byte in place of each, and each length of the value: in the message's middle, and at its end.
            let text = [value.as_bytes(), rest.as_bytes()].concat();
            for (at, byte) in (0..text.len()).flat_map(|at| (0..=255u8).map(move |byte| (at, byte))) {
                s.buffer[VALUE..VALUE + 200].fill(0);
                s.buffer[VALUE..VALUE + text.len()].copy_from_slice(&text);
                s.buffer[VALUE + at] = byte;
                for (end, body) in [(value.len(), 1000), (value.len(), 0), (at, 0), (value.len() - 1, 1000)] {
                    s.message.length = if body == 0 { (VALUE + end) as u32 } else { 1500 };
                    s.message.body = body;
                    s.message.headers[header.index()] = Span { start: VALUE as u16, end: (VALUE + end) as u16 };
                    if is_read_alike(host, &mut s, of, header) { alike += 1 } else { left += 1 }
                }
            }
        }
        // Both happen: digits in place of digits are common, most other bytes are not.
        assert!(alike > 10_000 && left > 10_000, "{alike} read, {left} not");
    }
}
