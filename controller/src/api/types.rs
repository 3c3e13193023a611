//! What the server asks of the daemon's loop, and the parts that server and client share.

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::telemetry::{Fate, Notice, Removed, Stopped, TopBy, TopQuery, TopSort};

/// What a reload or a rollback came to: `reloaded`, `unchanged`, `rolled-back`, `held`, or why no policy was put in force.
pub type ReloadAnswer = Notice;

/// What taking the filter off an interface came to; an error is a line for people.
pub type TakeOffAnswer = Result<Removed, String>;

/// A request to the daemon's loop, with the way to answer it. One that is dropped is answered with an error.
#[derive(Debug)]
pub enum Request {
    /// Bring an earlier policy back, or let the newest one in again; with who asks.
    Change(Change, String, oneshot::Sender<ReloadAnswer>),
    /// Ask the program at once for what is listened to now; an error is a line for people.
    Observe(oneshot::Sender<Result<(), String>>),
    /// Read the policy again; with who asks.
    Reload(String, oneshot::Sender<ReloadAnswer>),
    /// End the daemon.
    Stop {
        /// Whether the filter is to be removed at the end.
        detach: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Stopped>,
    },
    /// Take the filter off one interface.
    TakeOff {
        /// Its name.
        interface: String,
        /// Where the answer goes.
        answer: oneshot::Sender<TakeOffAnswer>,
    },
}

/// What is to be in force instead of the newest policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The newest policy again.
    Release,
    /// The policy of this generation; if none, of the last one that had another policy.
    Rollback(Option<u64>),
}

/// See [`Change`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RollbackRequest {
    /// The generation; none for the last one that had another policy.
    #[serde(default)]
    pub generation: Option<u64>,
    /// Hold no generation any more.
    #[serde(default)]
    pub release: bool,
}

/// Which sources are to be banned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BanRequest {
    /// An address or a network: for an IPv6 address, its /64.
    pub prefix: String,
    /// For how long.
    pub seconds: u32,
    /// A note for people.
    pub comment: Option<String>,
}

/// A list of sources that are to be banned, all or none of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BansRequest {
    /// The sources; none may be there twice.
    pub bans: Vec<BansRequestItem>,
}

/// A source of a [`BansRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BansRequestItem {
    /// An address or a network: for an IPv6 address, its /64.
    pub prefix: String,
    /// For how long.
    pub seconds: u32,
    /// A note for people.
    pub comment: Option<String>,
    /// Its line in the list, for the message of an error.
    pub line: u32,
}

/// What came of a list of bans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BansAnswer {
    /// How many sources are banned by it.
    pub added: u64,
    /// How many keep a ban that they had, and that ends later.
    pub kept: u64,
}

/// Which interface the filter is to be taken off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DetachRequest {
    /// Its name.
    pub interface: String,
}

/// Which sources are to be freed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnbanRequest {
    /// An address or a network; none for all that are banned.
    pub prefix: Option<String>,
}

/// A question of [`Talkers`](crate::telemetry::Talkers), as the parameters of a query. What it leaves out has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopRequest {
    /// What the rows are; sources if none.
    pub by: Option<TopBy>,
    /// How far back, in seconds, at most 600; 60 if none.
    pub seconds: Option<u64>,
    /// Only packets that this became of.
    pub fate: Option<Fate>,
    /// Only rows whose key has this text in it, in letters of either case.
    pub contains: Option<String>,
    /// What the rows are sorted by; all packets if none.
    pub sort: Option<TopSort>,
    /// The most rows, at most 1,000; 10 if none.
    pub rows: Option<usize>,
    /// In how many equal parts of the window packets are counted apart, for the `series` in the answer; at most 120, no series if none.
    pub buckets: Option<usize>,
    /// Only packets with this user agent. As with all that follow, an empty text stands for packets that have none.
    pub agent: Option<String>,
    /// Only packets with this called number.
    pub called: Option<String>,
    /// Only packets with this calling number.
    pub calling: Option<String>,
    /// Only packets with this method.
    pub method: Option<String>,
    /// Only packets from this /24, or this /64 in IPv6.
    pub prefix: Option<String>,
    /// Only packets with this reason.
    pub reason: Option<String>,
    /// Only packets that this rule dropped, or would have.
    pub rule: Option<String>,
    /// Only packets whose source is in these sets, as they are in a row.
    pub set: Option<String>,
    /// Only packets from this address.
    pub source: Option<String>,
    /// Only packets whose source has this label.
    pub upstream: Option<String>,
}

impl TopRequest {
    /// Seconds if none are asked for.
    pub const SECONDS: u64 = 60;
    /// Rows if none are asked for.
    pub const ROWS: usize = 10;
    /// The most rows.
    const MOST_ROWS: usize = 1_000;
    /// The most parts of the window.
    pub const MOST_BUCKETS: usize = 120;

    /// The key that packets must have, by what it is a key of.
    #[must_use]
    pub fn only(&self, by: TopBy) -> Option<&str> {
        let key = match by {
            TopBy::Agent => &self.agent,
            TopBy::Called => &self.called,
            TopBy::Calling => &self.calling,
            TopBy::Method => &self.method,
            TopBy::Prefix => &self.prefix,
            TopBy::Reason => &self.reason,
            TopBy::Rule => &self.rule,
            TopBy::Set => &self.set,
            TopBy::Source => &self.source,
            TopBy::Upstream => &self.upstream,
        };
        key.as_deref()
    }

    /// See [`Self::only`].
    pub fn set_only(&mut self, by: TopBy, key: Option<String>) {
        let place = match by {
            TopBy::Agent => &mut self.agent,
            TopBy::Called => &mut self.called,
            TopBy::Calling => &mut self.calling,
            TopBy::Method => &mut self.method,
            TopBy::Prefix => &mut self.prefix,
            TopBy::Reason => &mut self.reason,
            TopBy::Rule => &mut self.rule,
            TopBy::Set => &mut self.set,
            TopBy::Source => &mut self.source,
            TopBy::Upstream => &mut self.upstream,
        };
        *place = key;
    }

    /// The question, with its defaults and within its limits.
    ///
    /// # Errors
    /// A source or a prefix is none: in a line what is wrong.
    pub fn query(&self) -> Result<TopQuery, String> {
        let key = |key: &str| (!key.is_empty()).then(|| key.to_owned());
        let source = self.source.as_deref().unwrap_or_default();
        if !source.is_empty() && source.parse::<IpAddr>().is_err() {
            return Err(format!("source={source}: write an address, such as 192.0.2.7"));
        }
        let prefix = self.prefix.as_deref().unwrap_or_default();
        if !prefix.is_empty() && !TopQuery::is_prefix(prefix) {
            return Err(format!("prefix={prefix}: write a /24, such as 192.0.2.0/24, or a /64 in IPv6"));
        }
        Ok(TopQuery {
            by: self.by.unwrap_or(TopBy::Source),
            window: Duration::from_secs(self.seconds.unwrap_or(Self::SECONDS)),
            only: TopBy::ALL.into_iter().filter_map(|by| Some((by, key(self.only(by)?)))).collect(),
            fate: self.fate,
            contains: self.contains.clone(),
            sort: self.sort.unwrap_or_default(),
            rows: self.rows.unwrap_or(Self::ROWS).min(Self::MOST_ROWS),
            buckets: self.buckets.unwrap_or(0).min(Self::MOST_BUCKETS),
        })
    }
}

/// The query for a URI.
impl fmt::Display for TopRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let pairs = [
            ("by", self.by.map(|by| by.name().to_owned())),
            ("seconds", self.seconds.map(|seconds| seconds.to_string())),
            ("fate", self.fate.map(|fate| fate.name().to_owned())),
            ("contains", self.contains.clone()),
            ("sort", self.sort.map(|sort| sort.name().to_owned())),
            ("rows", self.rows.map(|rows| rows.to_string())),
            ("buckets", self.buckets.map(|buckets| buckets.to_string())),
        ];
        query.extend_pairs(pairs.into_iter().filter_map(|(key, value)| Some((key, value?))));
        query.extend_pairs(TopBy::ALL.into_iter().filter_map(|by| Some((by.name(), self.only(by)?))));
        f.write_str(&query.finish())
    }
}

/// The OpenAPI document of the API.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// The paths of the API's resources.
pub(super) mod path {
    pub(in crate::api) const BAN: &str = "/ban";
    pub(in crate::api) const BANS: &str = "/bans";
    pub(in crate::api) const CAPTURE: &str = "/capture";
    pub(in crate::api) const COUNTERS: &str = "/counters";
    pub(in crate::api) const DETACH: &str = "/detach";
    pub(in crate::api) const EVENTS: &str = "/events";
    pub(in crate::api) const HISTORY: &str = "/history";
    pub(in crate::api) const OPENAPI: &str = "/openapi.json";
    pub(in crate::api) const RELOAD: &str = "/reload";
    pub(in crate::api) const ROLLBACK: &str = "/rollback";
    pub(in crate::api) const STATUS: &str = "/status";
    pub(in crate::api) const STOP: &str = "/stop";
    pub(in crate::api) const SUGGEST: &str = "/suggest";
    pub(in crate::api) const TOP: &str = "/top";
    pub(in crate::api) const UNBAN: &str = "/unban";
    pub(in crate::api) const UPSTREAMS: &str = "/upstreams";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::{
        kernel::Mode,
        telemetry::{
            Answers, Ban, BanList, Estimate, Generation, Held, HistoryList, Hold, InterfacePackets, InterfaceStatus,
            OutputStatus, RuleRow, Series, SourceStatus, Status, Suggestion, Suggestions, Table, Top, TopRow,
            UpstreamCap, UpstreamContact, UpstreamList, UpstreamRow, contract::fields,
        },
    };

    fn document() -> Value {
        serde_json::from_str(OPENAPI).expect("it is JSON")
    }

    fn keys(value: &Value) -> BTreeSet<&str> {
        value.as_object().into_iter().flat_map(|object| object.keys()).map(String::as_str).collect()
    }

    #[test]
    fn the_document_has_the_paths_of_the_server() {
        assert_eq!(keys(&document()["paths"]), crate::api::server::routes().map(|(path, _)| path).into());
    }

    #[test]
    fn the_documents_schemas_have_the_fields_of_the_programs_types() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        let all = [
            ("Ban", fields::<Ban>()),
            ("BanList", fields::<BanList>()),
            ("BansAnswer", fields::<BansAnswer>()),
            ("BansRequestItem", fields::<BansRequestItem>()),
            ("Estimate", fields::<Estimate>()),
            ("Generation", fields::<Generation>()),
            ("Held", fields::<Held>()),
            ("HistoryList", fields::<HistoryList>()),
            ("Hold", fields::<Hold>()),
            ("InterfacePackets", fields::<InterfacePackets>()),
            ("InterfaceStatus", fields::<InterfaceStatus>()),
            ("OutputStatus", fields::<OutputStatus>()),
            ("RuleRow", fields::<RuleRow>()),
            ("Series", fields::<Series>()),
            ("SourceStatus", fields::<SourceStatus>()),
            ("Status", fields::<Status>()),
            ("Answers", fields::<Answers>()),
            ("Suggestion", fields::<Suggestion>()),
            ("Suggestions", fields::<Suggestions>()),
            ("Table", fields::<Table>()),
            ("Top", fields::<Top>()),
            ("TopRow", fields::<TopRow>()),
            ("UpstreamCap", fields::<UpstreamCap>()),
            ("UpstreamContact", fields::<UpstreamContact>()),
            ("UpstreamList", fields::<UpstreamList>()),
            ("UpstreamRow", fields::<UpstreamRow>()),
        ];
        for (name, fields) in &all {
            assert_eq!(keys(&schemas[name]["properties"]), *fields, "{name}");
        }
        let others = |name: &&str| *name != "Error" && *name != "Event" && !name.starts_with("notice-");
        let documented: BTreeSet<&str> = keys(schemas).into_iter().filter(others).collect();
        assert_eq!(documented, all.into_iter().map(|(name, _)| name).collect());
    }

    #[test]
    fn the_documents_parameters_and_bodies_are_those_that_the_program_reads() {
        let document = document();
        let parameters = |path: &str, method: &str| -> BTreeSet<String> {
            let parameters = document["paths"][path][method]["parameters"].as_array().cloned().unwrap_or_default();
            parameters.iter().filter_map(|parameter| parameter["name"].as_str().map(str::to_owned)).collect()
        };
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(parameters(path::TOP, "get"), fields::<TopRequest>().into_iter().map(str::to_owned).collect());
        let filter = crate::telemetry::FILTER_KEYS;
        assert_eq!(parameters(path::EVENTS, "get"), set(&[&["last", "follow"][..], &filter].concat()));
        assert_eq!(parameters(path::CAPTURE, "get"), set(&[&["passed", "count", "seconds"][..], &filter].concat()));
        let body = |path: &str| {
            keys(&document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"])
        };
        assert_eq!(body(path::BAN), fields::<BanRequest>());
        assert_eq!(body(path::BANS), fields::<BansRequest>());
        assert_eq!(body(path::UNBAN), fields::<UnbanRequest>());
        assert_eq!(body(path::DETACH), fields::<DetachRequest>());
        assert_eq!(body(path::ROLLBACK), fields::<RollbackRequest>());
    }

    #[test]
    fn the_documents_lists_of_values_are_those_of_the_program() {
        let document = document();
        let values = |value: &Value| -> BTreeSet<String> {
            value["enum"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect()
        };
        let schema = |name: &str, field: &str| values(&document["components"]["schemas"][name]["properties"][field]);
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(schema("Top", "by"), names(&TopBy::ALL.map(TopBy::name)));
        assert_eq!(schema("InterfaceStatus", "mode"), names(&[Mode::Native, Mode::Generic].map(Mode::name)));
        let parameters = document["paths"][path::TOP]["get"]["parameters"].as_array().expect("it has some");
        let of = |name: &str| {
            let parameter = parameters.iter().find(|parameter| parameter["name"] == name).expect("it is one");
            values(&parameter["schema"])
        };
        assert_eq!(of("by"), names(&TopBy::ALL.map(TopBy::name)));
        assert_eq!(of("fate"), names(&Fate::ALL.map(Fate::name)));
        assert_eq!(of("sort"), names(&TopSort::ALL.map(TopSort::name)));
    }

    #[test]
    fn what_is_asked_arrives_as_it_was_asked() {
        let request = TopRequest {
            by: Some(TopBy::Called),
            seconds: Some(10),
            fate: Some(Fate::Would),
            contains: Some("a b&c".to_owned()),
            sort: Some(TopSort::Dropped),
            rows: Some(5),
            buckets: Some(500),
            rule: Some("scanners".to_owned()),
            set: Some(String::new()),
            prefix: Some("192.0.2.0/24".to_owned()),
            ..TopRequest::default()
        };
        let uri: axum::http::Uri = format!("/top?{request}").parse().unwrap();
        let axum::extract::Query(arrived) = axum::extract::Query::<TopRequest>::try_from_uri(&uri).unwrap();
        assert_eq!(arrived, request);
        let query = arrived.query().unwrap();
        assert_eq!(query.buckets, TopRequest::MOST_BUCKETS);
        let text = |text: &str| Some(text.to_owned());
        let only = [(TopBy::Prefix, text("192.0.2.0/24")), (TopBy::Rule, text("scanners")), (TopBy::Set, None)];
        assert_eq!(query.only, only);
    }

    #[test]
    fn what_is_no_address_is_said() {
        let source = TopRequest { source: Some("192.0.2".to_owned()), ..TopRequest::default() };
        assert!(source.query().unwrap_err().contains("source=192.0.2: write an address"));
        for prefix in ["192.0.2.0", "192.0.2.1/24", "192.0.2.0/25", "2001:db8::/48", "x/24"] {
            let request = TopRequest { prefix: Some(prefix.to_owned()), ..TopRequest::default() };
            assert!(request.query().unwrap_err().contains("write a /24"), "{prefix}");
        }
    }
}
