//! What samples are summed up by, and chosen by.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use filter_policy::numbering::number_text;

use super::{
    Item, TopBy,
    intern::{Interner, Key},
};

/// Bits of the prefixes that sources are summed up by.
const PREFIXES: (u8, u8) = (24, 64);

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Row {
    Address(IpAddr),
    Network(IpAddr, u8),
    Number(u64),
    Text(Key),
}

impl Row {
    /// Calls `each` with the rows that a sample is in: one, or one for each of its rules.
    pub(super) fn each(item: &Item, by: TopBy, mut each: impl FnMut(Self)) {
        if by == TopBy::Rule && item.rules().next().is_some() {
            item.rules().map(Self::Text).for_each(each);
        } else {
            each(Self::of(item, by));
        }
    }

    pub(super) fn of(item: &Item, by: TopBy) -> Self {
        let [calling, called] = item.numbers;
        match by {
            TopBy::Agent => Self::Text(item.agent),
            TopBy::Called => Self::Number(called),
            TopBy::Calling => Self::Number(calling),
            TopBy::Method => Self::Text(item.method),
            TopBy::Prefix => network(item.source),
            TopBy::Reason => Self::Text(item.reason),
            TopBy::Rule => Self::Text(item.rule),
            TopBy::Set => Self::Text(item.sets),
            TopBy::Source => Self::Address(item.source),
            TopBy::Upstream => Self::Text(item.upstream),
        }
    }

    pub(super) fn text(self, texts: &Interner) -> Option<String> {
        match self {
            Self::Address(address) => Some(address.to_string()),
            Self::Network(address, length) => Some(format!("{address}/{length}")),
            Self::Number(key) => number_text(key),
            Self::Text(key) => texts.text(key).map(str::to_owned),
        }
    }
}

fn network(source: IpAddr) -> Row {
    let (ipv4, ipv6) = PREFIXES;
    match source {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Row::Network(IpAddr::from([a, b, c, 0]), ipv4)
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address) & (u128::MAX << (128 - u32::from(ipv6)));
            Row::Network(Ipv6Addr::from(bits).into(), ipv6)
        }
    }
}

/// What samples must have.
pub(super) enum Wanted {
    /// This row's key.
    Row(TopBy, Row),
    /// A number with this text, or none; with the keys that were compared.
    Number(TopBy, Option<String>, HashMap<u64, bool>),
    /// A text that no sample has.
    Nothing,
}

impl Wanted {
    /// What a row's key stands for.
    pub(super) fn new(by: TopBy, key: Option<&str>, texts: &Interner) -> Self {
        let row = match by {
            TopBy::Called | TopBy::Calling => return Self::Number(by, key.map(str::to_owned), HashMap::new()),
            TopBy::Source => key.and_then(|key| key.parse().ok()).map(Row::Address),
            TopBy::Prefix => key.and_then(prefix),
            TopBy::Agent | TopBy::Method | TopBy::Reason | TopBy::Rule | TopBy::Set | TopBy::Upstream => match key {
                Some(key) => texts.find(key).map(Row::Text),
                None => Some(Row::Text(Key::NONE)),
            },
        };
        row.map_or(Self::Nothing, |row| Self::Row(by, row))
    }

    pub(super) fn has(&mut self, item: &Item) -> bool {
        match self {
            Self::Row(TopBy::Rule, Row::Text(Key::NONE)) => item.rules().next().is_none(),
            Self::Row(TopBy::Rule, row) => item.rules().any(|rule| Row::Text(rule) == *row),
            Self::Row(by, row) => Row::of(item, *by) == *row,
            Self::Number(by, text, compared) => {
                let [calling, called] = item.numbers;
                let number = if *by == TopBy::Called { called } else { calling };
                *compared.entry(number).or_insert_with(|| number_text(number) == *text)
            }
            Self::Nothing => false,
        }
    }
}

/// The row of `192.0.2.0/24`; none if sources are not summed up by such a prefix.
fn prefix(text: &str) -> Option<Row> {
    let (address, length) = text.split_once('/')?;
    let row = Row::Network(address.parse().ok()?, length.parse().ok()?);
    (network(address.parse().ok()?) == row).then_some(row)
}

/// True if this is the key of a row of [`TopBy::Prefix`].
pub(super) fn is_prefix(text: &str) -> bool {
    prefix(text).is_some()
}
