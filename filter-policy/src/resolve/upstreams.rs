//! `[[upstream]]`: who sends calls, and the rules that their caps become.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use filter_core::number::is_emergency_key;

use super::{Resolver, sets::List};
use crate::{
    language::{
        action::Action,
        diagnostics::{Code, closest, suggest},
        scope::Scope,
        source::{self, Cap, Located, Scalar, Source, Values},
        stage::Stage,
        upstream::{self, CapKind, FILING_DIGITS, FILING_PREFIX, Filing, UpstreamKind, cap_rule},
    },
    lists,
    model::{
        AddressEntry, AddressList, Condition, Contact, Identity, NumberEntry, NumberList, Numbering, Origin, Test,
        Upstream,
    },
    numbering::emergency,
};

/// The most calls in a second that a cap can allow, as for any rate.
const MOST_CALLS: i64 = 1_000_000;

/// The legal ground of a cap: what was agreed with the upstream.
const BASIS: &str = "contract";

impl Resolver<'_> {
    /// Reads the upstreams, and adds the rules of their caps after all others.
    pub(super) fn read_upstreams(&mut self, source: &mut Source, numbering: &Numbering) {
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut rules = Vec::new();
        for written in &source.upstreams {
            let name = &written.name;
            let line = self.file.line(name.span.start);
            if let Some(first) = seen.insert(&name.value, line).filter(|_| !name.value.is_empty()) {
                let message = format!("there is already an upstream `{}`, in line {first}", name.value);
                let help = "put all its trunks into one: `trunks` takes several sets".to_owned();
                self.error(Code::DuplicateUpstream, &name.span, message, Some(help));
            }
            let caps = self.caps(written);
            let upstream = self.upstream(written, numbering, &caps);
            rules.extend(caps);
            self.upstreams.push(upstream);
        }
        self.overlapping_trunks(&source.upstreams);
        self.labels_of_upstreams(source);
        source.rules.extend(rules);
    }

    fn upstream(&mut self, written: &source::Upstream, numbering: &Numbering, caps: &[source::Rule]) -> Upstream {
        let trunks = written.trunks.as_ref().map(|values| self.addresses("trunks", values)).unwrap_or_default();
        let callers = written.callers.as_ref().map(|values| self.numbers("callers", values, numbering));
        let frn = self.checked(written.frn.as_ref(), "frn", upstream::is_registration, || {
            "an FRN has ten digits, with its leading zeros: \"0012345678\"".to_owned()
        });
        let rmd = self.checked(written.rmd.as_ref(), "rmd", upstream::is_filing, || {
            filing_help(written.rmd.as_ref().map_or("", |rmd| &rmd.value))
        });
        let code = || "use four letters and digits, such as \"709J\"".to_owned();
        let is_code = |text: &str| lists::is_spid(&text.to_ascii_uppercase());
        let ocn = self.checked(written.ocn.as_ref(), "ocn", is_code, code).map(|ocn| ocn.to_ascii_uppercase());
        let spc = self.checked(written.spc.as_ref(), "spc", is_code, code).map(|spc| spc.to_ascii_uppercase());
        Upstream {
            name: written.name.value.clone(),
            trunks,
            kind: written.kind,
            frn,
            rmd,
            ocn,
            spc,
            contacts: written.contacts.iter().map(|contact| self.contact(contact)).collect(),
            callers,
            caps: caps.iter().map(|rule| rule.name.value.clone()).collect(),
            origin: self.origin(&written.name.span),
        }
    }

    /// A text in the form that it must have.
    fn checked(
        &mut self,
        text: Option<&Located<String>>,
        key: &str,
        is_good: impl Fn(&str) -> bool,
        help: impl Fn() -> String,
    ) -> Option<String> {
        let text = text?;
        if is_good(&text.value) {
            return Some(text.value.clone());
        }
        self.error(Code::BadValue, &text.span, format!("`{}` is not a valid `{key}`", text.value), Some(help()));
        None
    }

    fn contact(&mut self, written: &source::Contact) -> Contact {
        let source::Contact { span, role, name, email, telephone } = written;
        if [role, name, email, telephone].iter().all(|text| text.is_none()) {
            let help = "add `email` or `telephone`, and `role` or `name`".to_owned();
            self.error(Code::Empty, span, "a contact is empty", Some(help));
        }
        let is_email = |text: &str| {
            let parts = text.split_once('@');
            parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
                && !text.contains(char::is_whitespace)
        };
        let is_telephone = |text: &str| {
            let rest = text.strip_prefix('+').unwrap_or(text);
            rest.bytes().any(|byte| byte.is_ascii_digit())
                && rest.bytes().all(|byte| byte.is_ascii_digit() || b"-.() ".contains(&byte))
        };
        let plain = |text: &Option<Located<String>>| text.as_ref().map(|text| text.value.clone());
        Contact {
            role: plain(role),
            name: plain(name),
            email: self
                .checked(email.as_ref(), "email", is_email, || "use an address such as \"noc@example.net\"".to_owned()),
            telephone: self.checked(telephone.as_ref(), "telephone", is_telephone, || {
                "use digits, and `+`, spaces and `-.()` between them: \"+1 605 562 0100\"".to_owned()
            }),
        }
    }

    /// The rules that an upstream's caps are, as they would be written.
    fn caps(&mut self, upstream: &source::Upstream) -> Vec<source::Rule> {
        let mut rules = Vec::new();
        let mut counts = CapKind::ALL.map(|kind| (kind, 0));
        for cap in &upstream.caps {
            let action = self.cap_action(cap);
            for (kind, limit) in &cap.limits {
                let Some(rate) = self.cap_rate(*kind, limit) else { continue };
                let before = counts.iter_mut().find(|(known, _)| known == kind);
                let before = before.map_or(0, |(_, count)| std::mem::replace(count, *count + 1));
                if upstream.name.value.is_empty() {
                    continue;
                }
                let at = |value: &str| Located { value: value.to_owned(), span: limit.span.clone() };
                let name = Scalar::String(upstream.name.value.clone());
                let values = vec![Located { value: name, span: upstream.name.span.clone() }];
                rules.push(source::Rule {
                    span: limit.span.clone(),
                    name: at(&cap_rule(&upstream.name.value, *kind, before)),
                    stage: Stage::Fraud,
                    conditions: vec![source::Condition {
                        scope: Located { value: Scope::Upstream, span: upstream.name.span.clone() },
                        negated: false,
                        values: Located { value: values, span: upstream.name.span.clone() },
                    }],
                    action: Some(Located { value: action.clone(), span: limit.span.clone() }),
                    report: !cap.is_enforced,
                    over: Some(source::Over { rate, burst: cap.burst.clone(), per: None, count: Some(at("calls")) }),
                    basis: Some(at(BASIS)),
                    review: None,
                    until: cap.until.clone(),
                    tcp: None,
                    hours: Vec::new(),
                    is_cap: true,
                });
            }
        }
        rules
    }

    fn cap_action(&mut self, cap: &Cap) -> Action {
        let Some(written) = &cap.action else { return Action::Drop };
        if matches!(written.value, Action::Drop | Action::Reject { .. } | Action::Divert { .. }) {
            return written.value.clone();
        }
        let help = "use \"drop\" or { reject = 503 }; a ban would also hit calls within the cap".to_owned();
        let message = format!("a cap cannot have the action `{}`", written.value.name());
        self.error(Code::BadAction, &written.span, message, Some(help));
        Action::Drop
    }

    /// The rate of a cap.
    fn cap_rate(&mut self, kind: CapKind, limit: &Located<String>) -> Option<Located<String>> {
        let most = match kind {
            CapKind::Rate => return Some(limit.clone()),
            CapKind::Second => MOST_CALLS,
            CapKind::Day => u32::MAX.into(),
        };
        let unit = if kind == CapKind::Day { 'd' } else { 's' };
        if limit.value.parse::<i64>().is_ok_and(|count| (1..=most).contains(&count)) {
            return Some(Located { value: format!("{}/{unit}", limit.value), span: limit.span.clone() });
        }
        let message = format!("`{}` cannot be {}", kind.key(), limit.value);
        self.error(Code::BadRate, &limit.span, message, Some(format!("use a whole number from 1 to {most}")));
        None
    }

    /// Reports addresses that several upstreams have: calls from there could be either's.
    fn overlapping_trunks(&mut self, written: &[source::Upstream]) {
        let mut trunks: Vec<Trunk<'_>> = Vec::new();
        let upstreams = std::mem::take(&mut self.upstreams);
        for (index, upstream) in upstreams.iter().enumerate() {
            for list in &upstream.trunks {
                trunks.extend(list.entries.iter().map(|entry| Trunk { upstream: index, list, entry }));
            }
        }
        // Networks either contain each other or share nothing: sorted like this, those that contain one are on a stack.
        trunks.sort_by_key(|trunk| (trunk.key(), trunk.upstream));
        let mut around: Vec<&Trunk<'_>> = Vec::new();
        let mut reported = BTreeSet::new();
        for trunk in &trunks {
            while around.last().is_some_and(|outer| !outer.entry.network().contains(&trunk.entry.network())) {
                around.pop();
            }
            if let Some(outer) = around.last().filter(|outer| outer.upstream != trunk.upstream) {
                let (first, second) = if outer.upstream < trunk.upstream { (*outer, trunk) } else { (trunk, *outer) };
                if reported.insert((first.upstream, second.upstream)) {
                    let span = written[second.upstream].trunks.as_ref().map_or(0..0, |values| values.span.clone());
                    let [one, other] = [first, second].map(|trunk| &upstreams[trunk.upstream]);
                    let message = format!(
                        "{} is a trunk of `{}`, and of `{}` in line {}",
                        trunk.entry.network(),
                        other.name,
                        one.name,
                        one.origin.line
                    );
                    let help = format!(
                        "an address is one upstream's: take it out of {} or of {}",
                        first.place(),
                        second.place()
                    );
                    self.error(Code::OverlappingUpstreams, &span, message, Some(help));
                }
            }
            around.push(trunk);
        }
        self.upstreams = upstreams;
    }

    /// Reports labels that are the name of an upstream whose trunks they are not on.
    fn labels_of_upstreams(&mut self, source: &Source) {
        for set in &source.sets {
            let Some(label) = &set.label else { continue };
            let named = self.upstreams.iter().find(|upstream| upstream.name == label.value);
            let is_trunk = |upstream: &Upstream| {
                upstream.trunks.iter().any(|list| list.name.as_deref() == Some(set.name.value.as_str()))
            };
            if let Some(upstream) = named.filter(|upstream| !is_trunk(upstream)) {
                let message = format!(
                    "the upstream `{}` in line {} does not have the set `{}` among its trunks",
                    label.value, upstream.origin.line, set.name.value
                );
                let help = format!("add \"@{}\" to its `trunks`, or use another label", set.name.value);
                self.error(Code::DuplicateUpstream, &label.span, message, Some(help));
            }
        }
    }

    /// The condition that a cap has besides what is written: it neither counts nor drops an emergency call.
    pub(super) fn no_emergency(origin: &Origin) -> Condition {
        const DIGITS: u8 = 3;
        let all = NumberEntry {
            digits: emergency::ALL.0,
            length: emergency::ALL.1,
            exact: false,
            score: 0,
            line: origin.line,
        };
        // The digits of a short code are followed by a nibble of ones.
        let codes = (0..0x1000_u64).filter(|code| is_emergency_key(code << 52 | 0xf << 48));
        let codes = codes.map(|code| NumberEntry { digits: code << 52, length: DIGITS, exact: true, ..all });
        let list = NumberList { name: None, entries: codes.chain([all]).collect(), origin: origin.clone() };
        let test = Test::Number(Identity::Called, vec![Arc::new(list)]);
        Condition { scope: test.scope(), test, negated: true, origin: origin.clone() }
    }

    /// The addresses of upstreams, and of sets with a label.
    pub(super) fn upstream_sources(&mut self, values: &Values) -> Vec<Arc<AddressList>> {
        let mut found = Vec::new();
        for text in self.strings("upstream", values) {
            let mut is_known = false;
            let mut names: Vec<String> = Vec::new();
            for upstream in &self.upstreams {
                names.push(upstream.name.clone());
                if upstream.name == text.value {
                    is_known = true;
                    found.extend(upstream.trunks.iter().cloned());
                }
            }
            for set in self.sets.values_mut() {
                if let List::Addresses(list) = &set.list {
                    names.extend(list.label.clone());
                    if list.label.as_deref() == Some(text.value) {
                        is_known = true;
                        set.used = true;
                        found.push(Arc::clone(list));
                    }
                }
            }
            if !is_known {
                let help = suggest(text.value, names.iter().map(String::as_str))
                    .or_else(|| Some(format!("add an `[[upstream]]` with `name = \"{}\"`", text.value)));
                self.error(Code::UnknownUpstream, &text.span, format!("there is no upstream `{}`", text.value), help);
            }
        }
        dedup(&mut found);
        found
    }

    /// The addresses of the upstreams of these kinds. There may be none.
    pub(super) fn sources_of_kinds(&mut self, key: &str, values: &Values) -> Option<Vec<Arc<AddressList>>> {
        let kinds = self.named(key, values, Code::BadValue, &UpstreamKind::NAMES, |index| UpstreamKind::ALL[index])?;
        Some(self.trunks(|upstream| upstream.kind.is_some_and(|kind| kinds.contains(&kind))))
    }

    /// The addresses of the upstreams with these filings. There may be none.
    pub(super) fn sources_of_filings(&mut self, key: &str, values: &Values) -> Option<Vec<Arc<AddressList>>> {
        let mut found = Vec::new();
        let strings = self.strings(key, values);
        let is_complete = strings.len() == values.value.len();
        let mut is_good = is_complete;
        for text in strings {
            let filing = text.value.to_ascii_uppercase();
            match Filing::NAMES.iter().position(|name| name.eq_ignore_ascii_case(text.value)).map(|at| Filing::ALL[at])
            {
                Some(Filing::Filed) => found.extend(self.trunks(|upstream| upstream.rmd.is_some())),
                Some(Filing::None) => found.extend(self.trunks(|upstream| upstream.rmd.is_none())),
                None if upstream::is_filing(&filing) => {
                    found.extend(self.trunks(|upstream| upstream.rmd.as_ref() == Some(&filing)));
                }
                None => {
                    is_good = false;
                    let is_number = text.value.bytes().any(|byte| byte.is_ascii_digit());
                    let help = match closest(text.value, Filing::NAMES) {
                        _ if is_number => filing_help(text.value),
                        Some(name) => format!("did you mean `{name}`?"),
                        None => "use `filed`, `none`, or a number such as \"RMD0001410\"".to_owned(),
                    };
                    self.error(Code::BadValue, &text.span, format!("`{key}` cannot be `{}`", text.value), Some(help));
                }
            }
        }
        dedup(&mut found);
        is_good.then_some(found)
    }

    fn trunks(&self, is_wanted: impl Fn(&Upstream) -> bool) -> Vec<Arc<AddressList>> {
        self.upstreams
            .iter()
            .filter(|upstream| is_wanted(upstream))
            .flat_map(|upstream| upstream.trunks.clone())
            .collect()
    }
}

/// How the number of a filing is written, with the one that was probably meant.
fn filing_help(written: &str) -> String {
    let digits: String = written.chars().filter(char::is_ascii_digit).collect();
    if !digits.is_empty() && digits.len() <= FILING_DIGITS {
        return format!("did you mean `{FILING_PREFIX}{digits:0>FILING_DIGITS$}`?");
    }
    format!("use the number of the filing: {FILING_PREFIX} and {FILING_DIGITS} digits, such as \"RMD0001410\"")
}

/// Leaves each list in once.
fn dedup(lists: &mut Vec<Arc<AddressList>>) {
    let mut seen = BTreeSet::new();
    lists.retain(|list| seen.insert(Arc::as_ptr(list)));
}

/// An address or network of an upstream.
struct Trunk<'a> {
    upstream: usize,
    list: &'a AddressList,
    entry: &'a AddressEntry,
}

impl Trunk<'_> {
    /// Sorts a network before those that it contains.
    fn key(&self) -> (bool, u128, u8) {
        let address = match self.entry.address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        (self.entry.address.is_ipv6(), address, self.entry.prefix)
    }

    /// Where it is written.
    fn place(&self) -> String {
        let file = self.list.origin.file.display();
        match &self.list.name {
            Some(name) => format!("`@{name}` ({file}:{})", self.entry.line),
            None => format!("{file}:{}", self.entry.line),
        }
    }
}
