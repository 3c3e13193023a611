//! What a policy's tables say about the values that were read: countries, regions, holders and scores of numbers, and labels of
//! sources. The engine only has classes of these.

use filter_core::{
    layout::Config,
    scratch::{Message, NumberOf, Scratch, Span},
    text::{self, Text},
};
use serde_json::{Map, Value, json};

use super::{
    Reading,
    explanation::{address, number_entry},
    reading::unfolded,
};
use crate::{
    compile::set_headers,
    facts::{Scores, Sources},
    language::{
        scope::Scope,
        upstream::{Filing, UpstreamKind},
    },
    model::{NumberRange, Policy, Upstream},
};

/// The tables of a policy, by prefix.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Sorted by prefix. Among equal prefixes, later ranges override earlier ones.
    ranges: Vec<&'a NumberRange>,
    pub(super) scores: Scores,
    sources: Sources,
    upstreams: &'a [Upstream],
    /// A configuration that says which headers the policy names.
    config: Box<Config>,
    /// The keys of these headers' scopes.
    header_scopes: Vec<String>,
}

/// What is known about a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub country: Option<&'a str>,
    pub region: Option<&'a str>,
    pub spid: Option<&'a str>,
}

/// The filing of an upstream, as conditions name it.
pub(super) fn filing(upstream: &Upstream) -> &str {
    upstream.rmd.as_deref().unwrap_or(Filing::NAMES[1])
}

impl<'a> Facts<'a> {
    /// A text of a message that has been read for this policy, as patterns see it.
    pub(super) fn text(&self, scratch: &Scratch, text: Text) -> Option<String> {
        let span = self.span(&scratch.message, text).filter(|_| scratch.message.kind.is_message())?;
        Some(unfolded(scratch.trimmed(span)))
    }

    /// The same as a span of the message.
    pub(super) fn span(&self, message: &Message, text: Text) -> Option<Span> {
        text::wanted_span(&self.config, message, text)
    }

    /// The tables of a policy.
    #[must_use]
    pub fn new(policy: &'a Policy) -> Self {
        let mut ranges: Vec<&NumberRange> = policy.numbering.ranges.iter().collect();
        ranges.sort_by(|one, other| one.prefix.cmp(&other.prefix));
        let mut config = Box::new(Config::EMPTY);
        set_headers(&mut config, &policy.headers);
        let scope = |index| policy.scope_name(Scope::Text(Text::named(index))).into_owned();
        let header_scopes = (0..policy.headers.len()).map(scope).collect();
        let (scores, sources) = (Scores::new(policy), Sources::new(policy));
        Self { ranges, scores, sources, upstreams: &policy.upstreams, config, header_scopes }
    }

    /// The scopes that cannot be read in the packet alone.
    pub(super) fn scopes(&self, reading: &Reading<'_>, scratch: &Scratch) -> Map<String, Value> {
        let mut scopes = Map::new();
        let numbers =
            [("calling", NumberOf::Calling), ("called", NumberOf::Called), ("forwarded", NumberOf::Forwarded)];
        for (name, of) in numbers {
            let place = self.place(reading, of);
            scopes.insert(format!("{name}_country"), place.country.into());
            scopes.insert(format!("{name}_region"), place.region.into());
            scopes.insert(format!("{name}_spid"), place.spid.into());
        }
        let score = reading.number(NumberOf::Calling).and_then(|number| self.scores.of(&number));
        scopes.insert("calling_reputation".to_owned(), score.into());
        scopes.insert(
            "upstream".to_owned(),
            json!(self.sources.upstreams(address(&scratch.packet.source, scratch.packet.ip_version))),
        );
        let upstream = self.upstream(scratch);
        let kind = upstream.and_then(|upstream| upstream.kind).map(UpstreamKind::name);
        scopes.insert("upstream_kind".to_owned(), kind.into());
        scopes.insert("upstream_rmd".to_owned(), upstream.map(filing).into());
        scopes.insert("caller_allowed".to_owned(), self.caller_allowed(scratch).into());
        for (index, scope) in self.header_scopes.iter().enumerate() {
            scopes.insert(scope.clone(), self.text(scratch, Text::named(index)).into());
        }
        scopes
    }

    /// The `[[upstream]]` that the packet's source belongs to.
    pub(super) fn upstream(&self, scratch: &Scratch) -> Option<&'a Upstream> {
        let source = address(&scratch.packet.source, scratch.packet.ip_version);
        let name = *self.sources.upstreams(source).first()?;
        self.upstreams.iter().find(|upstream| upstream.name == name)
    }

    /// The names of the upstream and the labels of the packet's source.
    pub(super) fn upstream_names(&self, scratch: &Scratch) -> Vec<&str> {
        self.sources.upstreams(address(&scratch.packet.source, scratch.packet.ip_version))
    }

    /// Whether the calling number is among those that the upstream may use; none if it has no list of them, or there is no message.
    pub(super) fn caller_allowed(&self, scratch: &Scratch) -> Option<bool> {
        let callers = self.upstream(scratch)?.callers.as_ref()?;
        let calling = scratch.message.number(NumberOf::Calling);
        scratch.message.kind.is_message().then(|| number_entry(callers, calling).is_some())
    }

    /// Where a number of the message belongs. A short code is in no country.
    pub(super) fn place(&self, reading: &Reading<'_>, of: NumberOf) -> Place<'a> {
        let mut place = Place::default();
        let Some(number) = reading.number(of).filter(|_| !reading.is_short_code(of)) else { return place };
        for length in 1..=number.len() {
            let prefix = &number[..length];
            let first = self.ranges.partition_point(|range| range.prefix.as_str() < prefix);
            for range in self.ranges[first..].iter().take_while(|range| range.prefix == prefix) {
                place.country = range.country.as_deref().or(place.country);
                place.region = range.region.as_deref().or(place.region);
                place.spid = range.spid.as_deref().or(place.spid);
            }
        }
        place
    }
}
