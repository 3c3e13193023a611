//! The conditions of a rule: what each scope makes of its values.

use std::{iter, sync::Arc};

use filter_core::layout::{
    Attestation, Dialog, Method, NumberFormat, Payload, Transport, Verstat, anomaly, passport, privacy,
};

use super::{Resolver, sets::List};
use crate::{
    language::{
        diagnostics::{Code, suggest},
        scope::Scope,
        source::{self, Located, Scalar, Values},
    },
    lists,
    model::{Comparison, Condition, Flags, MethodName, Numbering, Test},
    numbering,
};

impl Resolver<'_> {
    /// None if no value of the condition could be read, which has been reported.
    pub(super) fn condition(&mut self, condition: &source::Condition, numbering: &Numbering) -> Option<Condition> {
        let scope = condition.scope.value;
        let key: &str = &scope.key(&self.headers);
        let values = &condition.values;
        let test = match scope {
            Scope::Anomaly => {
                let bits = self.named(key, values, Code::UnknownAnomaly, &anomaly::NAMES, |index| 1_u32 << index)?;
                Test::Anomaly(bits.into_iter().fold(0, |all, bit| all | bit))
            }
            Scope::AnyIdentity => Test::AnyIdentity(non_empty(self.numbers(key, values, numbering))?),
            Scope::Attestation => {
                let claim = |index| Attestation::ALL[index];
                Test::Attestation(self.named(key, values, Code::BadValue, &Attestation::NAMES, claim)?)
            }
            Scope::CallingPrivacy => Test::CallingPrivacy(self.flags(key, values, &privacy::NAMES)?),
            Scope::Country(identity) => Test::Country(identity, self.countries(key, values)?),
            Scope::Destination => Test::Destination(non_empty(self.addresses(key, values))?),
            Scope::Dialog => {
                let place = |index| Dialog::ALL[index];
                Test::Dialog(self.named(key, values, Code::BadValue, &Dialog::NAMES, place)?)
            }
            Scope::Format(identity) => {
                let format = |index| NumberFormat::ALL[index];
                Test::Format(identity, self.named(key, values, Code::UnknownFormat, &NumberFormat::NAMES, format)?)
            }
            Scope::Method => Test::Method(self.methods(key, values)?),
            Scope::CallerAllowed => Test::CallerAllowed(self.boolean(key, values)?),
            Scope::Neighbor => Test::Neighbor(self.boolean(key, values)?),
            Scope::Number(identity) => Test::Number(identity, non_empty(self.numbers(key, values, numbering))?),
            Scope::Passport => Test::Passport(self.flags(key, values, &passport::NAMES)?),
            Scope::Payload => Test::Payload(self.payloads(key, values)?),
            Scope::Port => Test::Port(self.condition_ports(values)?),
            Scope::Region(identity) => Test::Region(identity, self.regions(key, values)?),
            Scope::Reputation => self.reputation(values)?,
            Scope::Source => Test::Source(non_empty(self.addresses(key, values))?),
            Scope::Spid(identity) => Test::Spid(identity, self.spids(key, values)?),
            Scope::Text(text) => Test::Text(text, non_empty(self.patterns(key, text, values))?),
            Scope::Transport => {
                let transport = |index| Transport::ALL[index];
                Test::Transport(self.named(key, values, Code::BadValue, &Transport::NAMES, transport)?)
            }
            Scope::Upstream => Test::Source(non_empty(self.upstream_sources(values))?),
            Scope::UpstreamKind => Test::Source(self.sources_of_kinds(key, values)?),
            Scope::UpstreamRmd => Test::Source(self.sources_of_filings(key, values)?),
            Scope::Verstat => {
                let result = |index| Verstat::ALL[index];
                Test::Verstat(self.named(key, values, Code::BadValue, &Verstat::NAMES, result)?)
            }
        };
        Some(Condition { test, scope, negated: condition.negated, origin: self.origin(&condition.scope.span) })
    }

    /// Values that are names from a table; `value` turns a name's index into a value.
    pub(super) fn named<T>(
        &mut self,
        key: &str,
        values: &Values,
        code: Code,
        names: &[&str],
        value: impl Fn(usize) -> T,
    ) -> Option<Vec<T>> {
        let strings = self.strings(key, values);
        let mut found = Vec::with_capacity(strings.len());
        for text in &strings {
            match names.iter().position(|name| name.eq_ignore_ascii_case(text.value)) {
                Some(index) => found.push(value(index)),
                None => {
                    let help = suggest(text.value, names.iter().copied());
                    self.error(code, &text.span, format!("`{key}` cannot be `{}`", text.value), help);
                }
            }
        }
        (found.len() == values.value.len()).then_some(found)
    }

    /// Names of bits, or `none`.
    fn flags(&mut self, key: &str, values: &Values, bits: &[&str]) -> Option<Flags> {
        let names: Vec<&str> = iter::once("none").chain(bits.iter().copied()).collect();
        let found = self.named(key, values, Code::BadValue, &names, |index| index)?;
        let bits = found.iter().filter_map(|index| index.checked_sub(1)).fold(0, |bits, bit| bits | 1 << bit);
        Some(Flags { none: found.contains(&0), bits })
    }

    fn payloads(&mut self, key: &str, values: &Values) -> Option<Vec<Payload>> {
        // `Payload::None` cannot be matched.
        const FIRST: usize = Payload::Sip.index();
        let payload = |index| Payload::ALL[FIRST + index];
        self.named(key, values, Code::BadValue, &Payload::NAMES[FIRST..], payload)
    }

    fn methods(&mut self, key: &str, values: &Values) -> Option<Vec<MethodName>> {
        // `Method::None`, for packets without a message, cannot be matched.
        const FIRST: usize = Method::Response.index();
        let method = |index| MethodName(Method::ALL[FIRST + index]);
        self.named(key, values, Code::UnknownMethod, &Method::NAMES[FIRST..], method)
    }

    fn boolean(&mut self, key: &str, values: &Values) -> Option<bool> {
        if let [Located { value: Scalar::Boolean(wanted), .. }] = values.value.as_slice() {
            return Some(*wanted);
        }
        let help = Some(format!("write `{key} = true`"));
        self.error(Code::WrongType, &values.span, format!("`{key}` must be true or false"), help);
        None
    }

    fn condition_ports(&mut self, values: &Values) -> Option<Vec<u16>> {
        let mut ports = Vec::new();
        for value in &values.value {
            match value.value {
                Scalar::Integer(port) if (1..=65_535).contains(&port) => ports.push(port as u16),
                Scalar::Integer(port) => {
                    let help = Some("ports are 1 to 65535".to_owned());
                    self.error(Code::BadValue, &value.span, format!("{port} is not a port"), help);
                }
                Scalar::Boolean(_) | Scalar::String(_) => {
                    let help = Some("write `port = 5060`".to_owned());
                    self.error(Code::WrongType, &value.span, "values of `port` must be integers", help);
                }
            }
        }
        non_empty(ports)
    }

    fn countries(&mut self, key: &str, values: &Values) -> Option<Vec<String>> {
        let mut countries = Vec::new();
        for text in self.strings(key, values) {
            let country = text.value.to_ascii_uppercase();
            if numbering::is_country(&country) {
                countries.push(country);
                continue;
            }
            let help = match country.as_str() {
                "UK" => "did you mean `GB`?".to_owned(),
                "EL" => "did you mean `GR`?".to_owned(),
                _ => "use a two-letter ISO 3166-1 code, such as \"US\", \"GB\" or \"LV\"".to_owned(),
            };
            self.error(Code::UnknownCountry, &text.span, format!("there is no country `{}`", text.value), Some(help));
        }
        non_empty(countries)
    }

    fn regions(&mut self, key: &str, values: &Values) -> Option<Vec<String>> {
        let mut regions = Vec::new();
        for text in self.strings(key, values) {
            let region = text.value.to_ascii_uppercase();
            if numbering::is_region(&region) {
                regions.push(region);
                continue;
            }
            let with_country = format!("US-{region}");
            let help = if numbering::is_region(&with_country) {
                format!("did you mean `{with_country}`?")
            } else {
                "use an ISO 3166-2 code with its country, such as \"US-SD\" or \"CA-ON\"".to_owned()
            };
            self.error(Code::UnknownRegion, &text.span, format!("there is no region `{}`", text.value), Some(help));
        }
        non_empty(regions)
    }

    fn spids(&mut self, key: &str, values: &Values) -> Option<Vec<String>> {
        let mut spids = Vec::new();
        for text in self.strings(key, values) {
            let spid = text.value.to_ascii_uppercase();
            if lists::is_spid(&spid) {
                spids.push(spid);
                continue;
            }
            let help = Some("use four letters and digits, such as \"0123\" or \"652F\"".to_owned());
            self.error(Code::BadValue, &text.span, format!("`{}` is not an OCN or SPID", text.value), help);
        }
        non_empty(spids)
    }

    fn reputation(&mut self, values: &Values) -> Option<Test> {
        let parsed = match values.value.as_slice() {
            [Located { value: Scalar::String(text), .. }] => comparison(text),
            _ => None,
        };
        let Some((comparison, threshold)) = parsed else {
            let message = "`calling_reputation` must be a comparison";
            let help = "write one comparison with a score from 0 to 100: \">= 80\", \"< 20\", \"= 0\"".to_owned();
            self.error(Code::BadValue, &values.span, message, Some(help));
            return None;
        };
        let mut lists = Vec::new();
        for set in self.sets.values_mut() {
            if let List::Numbers { list, scored: true } = &set.list {
                set.used = true;
                lists.push(Arc::clone(list));
            }
        }
        if lists.is_empty() {
            let help = "add a set of numbers whose CSV file has a column `score`".to_owned();
            self.error(Code::NoScores, &values.span, "no set of numbers has scores", Some(help));
            return None;
        }
        Some(Test::Reputation(lists, comparison, threshold))
    }
}

/// None if every value of a condition was a mistake, which has been reported.
fn non_empty<T>(values: Vec<T>) -> Option<Vec<T>> {
    (!values.is_empty()).then_some(values)
}

/// `>= 80` and the like; a bare number is an equality.
fn comparison(text: &str) -> Option<(Comparison, u32)> {
    let text = text.trim();
    let forms = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        (">", Comparison::More),
        ("<", Comparison::Less),
        ("==", Comparison::Equal),
        ("=", Comparison::Equal),
        ("", Comparison::Equal),
    ];
    let (rest, comparison) =
        forms.iter().find_map(|(sign, comparison)| text.strip_prefix(sign).map(|rest| (rest, *comparison)))?;
    let score: u32 = rest.trim().parse().ok().filter(|score| *score <= 100)?;
    Some((comparison, score))
}
