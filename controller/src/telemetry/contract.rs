//! Compares docs/telemetry.md with what the program can send, in both directions.
//!
//! The program's side is taken from the types: the fields that serde knows, and the lists that the values are made from.

use std::{collections::BTreeSet, fmt};

use filter_core::{
    layout::{Action, Attestation, Method, Transport, anomaly},
    reason::Reason,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
    forward_to_deserialize_any,
};

use super::*;
use crate::kernel::{MAX_INTERFACES, StateTable};

const CONTRACT: &str = include_str!("../../../docs/telemetry.md");

/// A table of the document: the words of each row's first cell, and the whole row.
struct Rows(Vec<(String, &'static str)>);

impl Rows {
    /// The table after `<!-- MARK -->`.
    fn after(mark: &str) -> Self {
        let mark = format!("<!-- {mark} -->");
        let (_, rest) = CONTRACT.split_once(&mark).unwrap_or_else(|| panic!("docs/telemetry.md has no table {mark}"));
        let lines = rest.lines().skip_while(|line| line.is_empty()).skip(2).take_while(|line| line.starts_with('|'));
        Self(lines.map(|line| (ticked(line).into_iter().next().unwrap_or_default().to_owned(), line)).collect())
    }

    fn names(&self) -> BTreeSet<&str> {
        let names: BTreeSet<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), self.0.len(), "a name is in a table twice: {names:?}");
        names
    }

    /// What stands between backticks in a cell of the row `name`; the first cell is 0.
    fn values(&self, name: &str, cell: usize) -> BTreeSet<&'static str> {
        let (_, row) = self.0.iter().find(|(row, _)| row == name).unwrap_or_else(|| panic!("no row {name}"));
        row.split('|').nth(cell + 1).map(ticked).unwrap_or_default().into_iter().collect()
    }
}

/// What stands between backticks.
fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.into_iter().collect()
}

/// The fields of a structure, as serde knows them: with those that are left out when they are none.
pub(crate) fn fields<'de, T: Deserialize<'de>>() -> BTreeSet<&'static str> {
    struct Asked<'a>(&'a mut &'static [&'static str]);

    #[derive(Debug, thiserror::Error)]
    #[error("asked")]
    struct Stop;

    impl de::Error for Stop {
        fn custom<T: fmt::Display>(_: T) -> Self {
            Self
        }
    }

    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = Stop;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
            Err(Stop)
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Stop> {
            *self.0 = fields;
            Err(Stop)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut found: &'static [&'static str] = &[];
    // Whatever T is, it is answered with an error.
    assert!(T::deserialize(Asked(&mut found)).is_err());
    assert!(!found.is_empty(), "it is no structure");
    set(found.iter().copied())
}

/// The fields of a notice beside `event`.
fn fields_of(notice: &Notice) -> BTreeSet<&'static str> {
    match notice {
        Notice::Banned(_) => fields::<Ban>(),
        Notice::Detached(_) => fields::<Detached>(),
        Notice::Error { message: _ } => set(["message"]),
        Notice::Gone(_) => fields::<Gone>(),
        Notice::Held(_) => fields::<Held>(),
        Notice::Missed(_) => fields::<Missed>(),
        Notice::PolicyError(_) => fields::<PolicyError>(),
        Notice::PolicyWarning(_) => fields::<PolicyWarning>(),
        Notice::Reattached(_) => fields::<Reattached>(),
        Notice::Released(_) => fields::<Hold>(),
        Notice::Reloaded(_) => fields::<Reloaded>(),
        Notice::Removed(_) => fields::<Removed>(),
        Notice::RolledBack(_) => fields::<RolledBack>(),
        Notice::SourceError(_) => fields::<SourceError>(),
        Notice::SourceRestored(_) => fields::<SourceRestored>(),
        Notice::SourceRewritten(_) => fields::<SourceRewritten>(),
        Notice::Started(_) => fields::<Started>(),
        Notice::Stopped(_) => fields::<Stopped>(),
        Notice::Table(_) => fields::<Table>(),
        Notice::Unbanned(_) => fields::<Unbanned>(),
        Notice::Unchanged(_) => fields::<Unchanged>(),
    }
}

/// The kinds of notices, as serde knows them: the error about an unknown one lists all.
fn kinds() -> BTreeSet<String> {
    let error = serde_json::from_str::<Notice>(r#"{"event":"comet"}"#).unwrap_err().to_string();
    let (_, kinds) = error.split_once("expected one of").unwrap_or_else(|| panic!("{error}"));
    ticked(kinds).into_iter().map(str::to_owned).collect()
}

#[test]
fn every_field_of_a_packet_event_is_in_the_contract_and_the_other_way_round() {
    assert_eq!(Rows::after("fields: packet").names(), fields::<PacketEvent>());
}

#[test]
fn the_values_of_a_packet_events_fields_are_those_of_the_program() {
    let rows = Rows::after("fields: packet");
    for (field, values) in [
        ("action", set(Action::NAMES)),
        ("anomalies", anomaly::names(u32::MAX).collect()),
        ("attestation", set(Attestation::NAMES)),
        ("method", set(Method::NAMES)),
        ("transport", set(Transport::NAMES)),
        ("verdict", set(Reason::ALL.map(Reason::verdict_name))),
    ] {
        assert_eq!(rows.values(field, 2), values, "{field}");
    }
    let reasons = Rows::after("values: reason");
    assert_eq!(reasons.names(), set(Reason::NAMES));
    for reason in Reason::ALL {
        let (_, row) = reasons.0.iter().find(|(name, _)| name == reason.name()).expect("it was just found");
        assert_eq!(row.split('|').nth(2).map(str::trim), Some(reason.verdict_name()), "{row}");
    }
}

#[test]
fn every_notice_and_its_fields_are_in_the_contract_and_the_other_way_round() {
    let others = ["packet", "a rule", "a finding"];
    let marks = CONTRACT.split("<!-- fields: ").skip(1).filter_map(|rest| rest.split(" -->").next());
    let documented: BTreeSet<String> = marks.filter(|mark| !others.contains(mark)).map(str::to_owned).collect();
    assert_eq!(documented, kinds());
    let mut shown = BTreeSet::new();
    for notice in notice::examples() {
        let json = serde_json::to_value(&notice).expect("it is JSON");
        let kind = json["event"].as_str().expect("it has a kind").to_owned();
        let rows = Rows::after(&format!("fields: {kind}"));
        assert_eq!(rows.names(), fields_of(&notice), "{kind}");
        let sent = json.as_object().expect("it is an object").keys().map(String::as_str);
        assert!(set(sent.filter(|key| *key != "event")).is_subset(&rows.names()), "{kind}");
        shown.insert(kind);
    }
    assert_eq!(shown, kinds(), "`notice::examples` has every kind");
    assert_eq!(Rows::after("fields: a rule").names(), fields::<RuleRow>());
    assert_eq!(Rows::after("fields: a finding").names(), fields::<Finding>());
}

#[test]
fn every_metric_is_in_the_contract_with_its_type_and_labels_and_the_other_way_round() {
    let (_, rest) = CONTRACT.split_once("| metric | type | labels |").expect("there is a table of metrics");
    let rows: Vec<Vec<&str>> = rest
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let documented: Vec<(&str, &str, Vec<&str>)> =
        rows.iter().map(|row| (ticked(row[1])[0], row[2], ticked(row[3]))).collect();
    let sent: Vec<(&str, &str, Vec<&str>)> =
        Metric::ALL.iter().map(|metric| (metric.name(), metric.kind().name(), metric.labels().to_vec())).collect();
    assert_eq!(documented, sent);
    assert!(
        rows.iter().all(|row| !row[4].is_empty() && !row[5].is_empty()),
        "each has a unit, and says what it counts"
    );
}

#[test]
fn every_label_is_in_the_contract_with_its_bound() {
    let rows = Rows::after("labels");
    assert_eq!(rows.names(), Metric::ALL.iter().flat_map(|metric| metric.labels()).copied().collect());
    assert_eq!(rows.values("action", 1), set(Action::NAMES));
    assert_eq!(Rows::after("values: cause").names(), set(Unanswered::ALL.map(Unanswered::name)));
    assert_eq!(rows.values("table", 1), StateTable::ALL.map(StateTable::name).into());
    assert_eq!(rows.values("verdict", 1), set(Reason::ALL.map(Reason::verdict_name)));
    for (label, most) in [
        ("action", Action::COUNT),
        ("cause", Unanswered::ALL.len()),
        ("interface", MAX_INTERFACES),
        ("reason", Reason::COUNT),
        ("rule", filter_core::limits::MAX_RULES),
        ("table", StateTable::ALL.len()),
    ] {
        let (_, row) = rows.0.iter().find(|(name, _)| name == label).expect("its row was found");
        assert_eq!(row.split('|').nth(3).map(str::trim), Some(most.to_string().as_str()), "{row}");
    }
}
