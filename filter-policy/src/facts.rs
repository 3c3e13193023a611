//! What a policy says of sources, numbers and rules beyond what the kernel decides by: for whoever reports packets.
//!
//! All of it is a copy, so that it can be kept when the policy itself is let go.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;

use crate::{
    engine::MessageTables,
    language::action::Action,
    model::{AddressList, Policy, Rule, Test, Upstream},
    numbering::bcd,
};

/// What a policy says of sources, numbers and rules.
#[derive(Clone, Debug, Default)]
pub struct PolicyFacts {
    /// The legal basis of rules, by their name.
    bases: HashMap<String, String>,
    /// The names of the rules.
    rules: Vec<String>,
    /// The actions of the rules in force whose packets are answered, by the rule's name.
    answers: HashMap<String, Action>,
    scores: Scores,
    sources: Sources,
    upstreams: Vec<Upstream>,
    /// The rules that the caps of upstreams have become, by their names.
    caps: HashMap<String, Rule>,
    /// How messages are read for it; none if nothing is known of that.
    messages: Option<Arc<MessageTables>>,
}

impl PolicyFacts {
    /// Copies them out of a policy.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let bases = policy.rules.iter().filter_map(|rule| Some((rule.name.clone(), rule.basis.clone()?))).collect();
        let rules = policy.rules.iter().map(|rule| rule.name.clone()).collect();
        let answering = policy.rules.iter().filter(|rule| rule.action.answers() && !rule.report);
        let answers = answering.map(|rule| (rule.name.clone(), rule.action.clone())).collect();
        let (scores, sources) = (Scores::new(policy), Sources::new(policy));
        let upstreams = policy.upstreams.clone();
        let names: HashSet<&String> = upstreams.iter().flat_map(|upstream| &upstream.caps).collect();
        let caps = policy.rules.iter().filter(|rule| names.contains(&rule.name));
        let caps = caps.map(|rule| (rule.name.clone(), rule.clone())).collect();
        Self { bases, rules, answers, scores, sources, upstreams, caps, messages: None }
    }

    /// The same, and how messages are read for the policy. These tables take a while to make, unless they are those of the policy before.
    #[must_use]
    pub fn with_messages(policy: Policy, before: Option<&Self>) -> Self {
        let facts = Self::new(&policy);
        Self { messages: MessageTables::new(policy, before.and_then(|before| before.messages())), ..facts }
    }

    /// The legal basis of a rule.
    #[must_use]
    pub fn basis(&self, rule: &str) -> Option<&str> {
        self.bases.get(rule).map(String::as_str)
    }

    /// What a rule answers to the packets that it drops; none if it is silent, or in report mode.
    #[must_use]
    pub fn answer(&self, rule: &str) -> Option<&Action> {
        self.answers.get(rule)
    }

    /// The rules that answer, and what, in no order.
    pub fn answers(&self) -> impl Iterator<Item = (&str, &Action)> {
        self.answers.iter().map(|(rule, action)| (rule.as_str(), action))
    }

    /// How messages are read for the policy; none if that is not known here.
    #[must_use]
    pub fn messages(&self) -> Option<Arc<MessageTables>> {
        self.messages.clone()
    }

    /// The names of all rules, in file order.
    #[must_use]
    pub fn rule_names(&self) -> &[String] {
        &self.rules
    }

    /// The highest score among the entries of the scored lists that contain a number, given by its digits.
    #[must_use]
    pub fn score(&self, number: &str) -> Option<u32> {
        self.scores.of(number)
    }

    /// The upstream that a source belongs to: the one that has it among its trunks, or else the first of the labels of the sets that it
    /// is in. Limits are counted by the same.
    #[must_use]
    pub fn upstream(&self, source: IpAddr) -> Option<&str> {
        self.sources.upstreams(source).first().copied()
    }

    /// The rule that a cap has become; none if it is over.
    #[must_use]
    pub fn cap(&self, name: &str) -> Option<&Rule> {
        self.caps.get(name)
    }

    /// The upstreams of the policy, in file order.
    #[must_use]
    pub fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// The names of all sets that say whose a source is, sorted.
    #[must_use]
    pub fn set_names(&self) -> Vec<String> {
        self.sources.sets.iter().filter_map(|set| set.name.clone()).collect()
    }

    /// The names of the sets that say whose a source is, as far as it is in them: those with a label, those of upstreams, and those whose
    /// sources are believed, never banned, or excepted from a rule.
    #[must_use]
    pub fn sets(&self, source: IpAddr) -> Vec<&str> {
        self.sources.sets(source)
    }
}

/// The scores of the lists that rules about reputation use: all of them use the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scores {
    /// Digits, their number, whether the entry is exact, and its score; sorted.
    entries: Vec<(u64, u8, bool, u32)>,
}

impl Scores {
    pub(crate) fn new(policy: &Policy) -> Self {
        let conditions = policy.rules.iter().flat_map(|rule| &rule.conditions);
        let scored = conditions.into_iter().find_map(|condition| {
            let Test::Reputation(lists, ..) = &condition.test else { return None };
            Some(lists)
        });
        let lists = scored.into_iter().flatten();
        let mut entries: Vec<_> = lists
            .flat_map(|list| &list.entries)
            .map(|entry| (entry.digits, entry.length, entry.exact, entry.score))
            .collect();
        entries.sort_unstable();
        Self { entries }
    }

    /// The highest score among the entries that contain the number.
    pub(crate) fn of(&self, number: &str) -> Option<u32> {
        if self.entries.is_empty() {
            return None;
        }
        let digits = bcd::pack(number)?;
        let of = |length: u8| {
            let prefix = digits & (!0u64 << (64 - 4 * u32::from(length)));
            let whole = usize::from(length) == number.len();
            let exact = self.highest(prefix, length, true).filter(|_| whole);
            self.highest(prefix, length, false).max(exact)
        };
        (1..=number.len() as u8).filter_map(of).max()
    }

    /// The highest score of these entries.
    fn highest(&self, digits: u64, length: u8, exact: bool) -> Option<u32> {
        let key = (digits, length, exact);
        let end = self.entries.partition_point(|&(digits, length, exact, _)| (digits, length, exact) <= key);
        let &(digits, length, exact, score) = self.entries[..end].last()?;
        ((digits, length, exact) == key).then_some(score)
    }
}

/// Sets of sources that say whose a source is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    sets: Vec<SourceSet>,
}

#[derive(Clone, Debug)]
struct SourceSet {
    name: Option<String>,
    label: Option<String>,
    /// The upstream that has it among its trunks.
    upstream: Option<String>,
    networks: HashSet<IpNet>,
    /// The lengths of their prefixes.
    lengths: BTreeSet<u8>,
}

impl SourceSet {
    fn new(list: &Arc<AddressList>, upstreams: &[Upstream]) -> Self {
        let has = |upstream: &&Upstream| upstream.trunks.iter().any(|trunks| Arc::ptr_eq(trunks, list));
        let upstream = upstreams.iter().find(has).map(|upstream| upstream.name.clone());
        let networks: HashSet<IpNet> = list.entries.iter().map(|entry| entry.network().trunc()).collect();
        let lengths = networks.iter().map(IpNet::prefix_len).collect();
        Self { name: list.name.clone(), label: list.label.clone(), upstream, networks, lengths }
    }

    fn contains(&self, source: IpAddr) -> bool {
        let network = |length: u8| IpNet::new(source, length).ok().map(|network| network.trunc());
        self.lengths.iter().filter_map(|&length| network(length)).any(|network| self.networks.contains(&network))
    }
}

impl Sources {
    pub(crate) fn new(policy: &Policy) -> Self {
        let conditions = policy.rules.iter().flat_map(|rule| &rule.conditions);
        let tested = conditions.flat_map(|condition| {
            let lists: &[Arc<AddressList>] = if let Test::Source(lists) = &condition.test { lists } else { &[] };
            lists.iter().map(move |list| (list, condition.negated))
        });
        let mut lists: Vec<&Arc<AddressList>> =
            tested.filter(|(list, negated)| *negated || list.label.is_some()).map(|(list, _)| list).collect();
        lists.extend(policy.labelled.iter().chain(&policy.never_ban).chain(&policy.numbering.asserted_identity_from));
        lists.retain(|list| list.name.is_some() || list.label.is_some());
        // Also those that are written in the upstream itself.
        lists.extend(policy.upstreams.iter().flat_map(|upstream| &upstream.trunks));
        lists.sort_by_key(|list| (&list.name, &list.label, Arc::as_ptr(list)));
        lists.dedup_by(|one, other| Arc::ptr_eq(one, other));
        Self { sets: lists.into_iter().map(|list| SourceSet::new(list, &policy.upstreams)).collect() }
    }

    /// The name of the upstream that a source belongs to, if it does, and then the labels of the sets that it is in, sorted.
    pub(crate) fn upstreams(&self, source: IpAddr) -> Vec<&str> {
        let mut labels: Vec<&str> = self.holding(source).filter_map(|set| set.label.as_deref()).collect();
        labels.sort_unstable();
        labels.dedup();
        if let Some(name) = self.holding(source).find_map(|set| set.upstream.as_deref()) {
            labels.retain(|label| *label != name);
            labels.insert(0, name);
        }
        labels
    }

    fn sets(&self, source: IpAddr) -> Vec<&str> {
        self.holding(source).filter_map(|set| set.name.as_deref()).collect()
    }

    fn holding(&self, source: IpAddr) -> impl Iterator<Item = &SourceSet> {
        self.sets.iter().filter(move |set| set.contains(source))
    }
}
