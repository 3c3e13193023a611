//! Evaluates an image on readings, following the documentation of `filter_core::layout` literally. The engine does the same
//! for packets; this tests the compiler by itself, without having to build a packet for each reading.

use std::net::IpAddr;

use filter_core::{
    layout::{
        Action, CallerAllowed, Dimension, Node, RuleSet, TEXTS, Transport, Trie, address_flag, anomaly, need, rule_flag,
    },
    limits::{MAX_PORTS, RULE_WORDS},
    reason::Reason,
    trie::{Tables, lookup, number_key},
};
use filter_policy::{image::Image, model::Identity};

use crate::evaluate::{Outcome, Readings};

struct Reader<'a>(&'a Image);

impl Tables for Reader<'_> {
    fn root(&self, trie: Trie, index: usize) -> u32 {
        self.0.roots.of(trie)[index]
    }

    fn node(&self, index: u32) -> Option<&Node> {
        self.0.nodes.get(index as usize)
    }

    fn leaf(&self, index: u32) -> Option<u32> {
        self.0.leaves.get(index as usize).copied()
    }
}

/// The class of an address.
pub fn address_class(image: &Image, address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => lookup(&Reader(image), Trie::Ipv4, u64::from(u32::from(address)) << 32, 0),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            lookup(&Reader(image), Trie::Ipv6, (bits >> 64) as u64, bits as u64)
        }
    }
}

/// The class of a number; 0 without one.
pub fn number_class(image: &Image, digits: Option<&str>) -> u32 {
    let Some(number) = digits else { return 0 };
    let digits = number.trim_start_matches('+');
    let is_short_code = digits.len() <= 6 && digits.len() == number.len();
    let mut text: String = digits.chars().take(15).collect();
    text.push(if digits.len() > 15 { 'e' } else { 'f' });
    let packed = u64::from_str_radix(&format!("{text:0<16}"), 16).expect("digits");
    lookup(&Reader(image), Trie::Number, number_key(packed, is_short_code), 0)
}

/// Evaluates an image.
pub fn evaluate(image: &Image, readings: &Readings, exceeded: &[usize]) -> Outcome {
    let config = &image.config;
    let mut candidates: RuleSet = std::array::from_fn(|word| {
        (0..64).filter(|bit| word * 64 + bit < image.rules.len()).fold(0, |bits, bit| bits | 1 << bit)
    });
    let mut narrow = |dimension: Dimension, value: u32| {
        let row = &image.rows[(config.rows[dimension.index()] + value) as usize];
        candidates.iter_mut().zip(row).for_each(|(word, row)| *word &= row);
    };
    narrow(Dimension::Source, address_class(image, readings.source));
    narrow(Dimension::Destination, address_class(image, readings.destination));
    let index = |(port, transport)| {
        let ports = &mut config.ports.iter();
        ports.position(|entry| (entry.port, entry.transport) == (port, transport)).expect("a signalling port")
    };
    let service = readings.service.map_or(MAX_PORTS, index);
    narrow(Dimension::Service, service as u32);
    narrow(Dimension::Payload, u32::from(readings.payload.number()));
    if readings.is_message {
        narrow(Dimension::Method, u32::from(readings.method.number()));
        let numbers = [
            (Dimension::Calling, Identity::Calling),
            (Dimension::Called, Identity::Called),
            (Dimension::Forwarded, Identity::Forwarded),
            (Dimension::FromNumber, Identity::From),
            (Dimension::AssertedNumber, Identity::Asserted),
            (Dimension::PreferredNumber, Identity::Preferred),
            (Dimension::ToNumber, Identity::To),
        ];
        for (dimension, identity) in numbers {
            narrow(dimension, number_class(image, readings.numbers.of(identity)));
        }
        narrow(Dimension::CallingFormat, u32::from(readings.calling_format.number()));
        narrow(Dimension::CalledFormat, u32::from(readings.called_format.number()));
        narrow(Dimension::Attestation, u32::from(readings.attestation.number()));
        narrow(Dimension::Verstat, u32::from(readings.verstat.number()));
        narrow(Dimension::Neighbor, u32::from(neighbors(image, readings)));
        if config.callers_row != 0 {
            narrow(Dimension::CallerAllowed, caller_allowed(image, readings).number().into());
        }
        narrow(Dimension::CallingPrivacy, readings.privacy);
        narrow(Dimension::Dialog, u32::from(readings.dialog.number()));
        narrow(Dimension::Passport, readings.passports);
        if config.needs & need::ANY_IDENTITY != 0 {
            narrow_identities(image, &mut candidates, &readings.numbers.identities);
        }
        for text in (0..TEXTS).filter(|text| config.texts & (1 << text) != 0) {
            narrow_text(image, &mut candidates, text, readings.texts[text].as_deref());
        }
    } else {
        let row = &image.rows[config.message_row as usize];
        candidates.iter_mut().zip(row).for_each(|(word, row)| *word &= !row);
    }
    narrow_anomalies(image, &mut candidates, readings.anomalies);
    walk(image, candidates, readings, exceeded)
}

fn caller_allowed(image: &Image, readings: &Readings) -> CallerAllowed {
    let class = image.address_classes[address_class(image, readings.source) as usize];
    let number = address_flag::upstream(class) as usize;
    if number == 0 || number > image.config.callers as usize {
        return CallerAllowed::Unknown;
    }
    let calling = number_class(image, readings.numbers.calling.as_deref());
    let row = image.rows[(image.config.callers_row + calling) as usize];
    if row[(number - 1) / 64] >> ((number - 1) % 64) & 1 == 1 { CallerAllowed::Yes } else { CallerAllowed::No }
}

fn neighbors(image: &Image, readings: &Readings) -> bool {
    let shared = image.config.neighbor_digits as usize;
    let digits = |number: &Option<String>| number.as_ref().map(|number| number.trim_start_matches('+').to_owned());
    let (calling, called) = (digits(&readings.numbers.calling), digits(&readings.numbers.called));
    let (calling, called) = (calling.as_deref(), called.as_deref());
    match (calling.and_then(|digits| digits.get(..shared)), called.and_then(|digits| digits.get(..shared))) {
        (Some(calling), Some(called)) => shared > 0 && calling == called,
        _ => false,
    }
}

fn narrow_text(image: &Image, candidates: &mut RuleSet, text: usize, value: Option<&[u8]>) {
    let mut hits = [0; RULE_WORDS];
    if let Some(value) = value {
        let dfa = &image.dfas[image.config.text_dfas[text] as usize];
        let mut state = dfa.start;
        for class in value.iter().map(|&byte| u32::from(dfa.class[usize::from(byte)])).chain([dfa.end_class]) {
            state = u32::from(dfa.table[((state << dfa.shift) | class) as usize]);
            if state >= dfa.first_match {
                let row = dfa.accept[(state - dfa.first_match) as usize] as usize;
                pair(image, row, &mut hits, candidates);
            }
        }
    }
    let base = &image.rows[image.config.text_rows[text] as usize];
    for word in 0..RULE_WORDS {
        candidates[word] &= base[word] | hits[word];
    }
}

fn narrow_anomalies(image: &Image, candidates: &mut RuleSet, anomalies: u32) {
    let first = image.config.anomaly_row as usize;
    let mut hits = [0; RULE_WORDS];
    for bit in (0..anomaly::COUNT).filter(|bit| anomalies & (1 << bit) != 0) {
        pair(image, first + 1 + 2 * bit, &mut hits, candidates);
    }
    for word in 0..RULE_WORDS {
        candidates[word] &= image.rows[first][word] | hits[word];
    }
}

fn narrow_identities(image: &Image, candidates: &mut RuleSet, identities: &[String]) {
    let first = image.config.identity_row as usize;
    let mut hits = [0; RULE_WORDS];
    for number in identities {
        pair(image, first + 1 + 2 * number_class(image, Some(number)) as usize, &mut hits, candidates);
    }
    for word in 0..RULE_WORDS {
        candidates[word] &= image.rows[first][word] | hits[word];
    }
}

fn pair(image: &Image, row: usize, hits: &mut RuleSet, candidates: &mut RuleSet) {
    for word in 0..RULE_WORDS {
        hits[word] |= image.rows[row][word];
        candidates[word] &= !image.rows[row + 1][word];
    }
}

fn walk(image: &Image, mut candidates: RuleSet, readings: &Readings, exceeded: &[usize]) -> Outcome {
    let (mut would, mut pinholes) = (Vec::new(), Vec::new());
    for (index, rule) in image.rules.iter().enumerate() {
        if candidates[index / 64] & (1 << (index % 64)) == 0
            || (rule.flags & rule_flag::OVER != 0 && !exceeded.contains(&index))
        {
            continue;
        }
        let spares =
            rule.flags & rule_flag::TCP_PASS != 0 || rule.flags & rule_flag::TCP_TRUSTED != 0 && readings.is_trusted;
        if spares && readings.service.is_some_and(|(_, transport)| transport == Transport::Tcp) {
            would.push(index);
            continue;
        }
        if rule.flags & rule_flag::FINAL != 0 {
            let reason = match Action::from_number(rule.action) {
                Some(Action::Whitelist) => Reason::RuleWhitelist,
                Some(Action::Ban) => Reason::RuleBan,
                Some(Action::Reject) => Reason::RuleReject,
                Some(Action::Divert) => Reason::RuleDivert,
                Some(Action::BypassFraudControl | Action::Continue | Action::Drop) | None => Reason::RuleDrop,
            };
            return Outcome { verdict: reason.verdict(), reason, rule: Some(index), would, pinholes };
        }
        if rule.flags & rule_flag::REPORT != 0 {
            would.push(index)
        } else {
            pinholes.push(index)
        }
        candidates.iter_mut().zip(&rule.after).for_each(|(word, after)| *word &= after);
    }
    let reason = if image.config.default_drop != 0 { Reason::DefaultDrop } else { Reason::DefaultPass };
    Outcome { verdict: reason.verdict(), reason, rule: None, would, pinholes }
}
