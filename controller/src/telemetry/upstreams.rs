//! The upstreams of the policy in force: what it says of them, what their caps have counted, and what samples say of their packets.

use std::{collections::BTreeMap, fmt::Write as _};

use filter_policy::{
    facts::PolicyFacts,
    language::{
        printable::escaped,
        upstream::{Filing, UpstreamKind},
    },
    model::{Contact, Upstream},
};
use serde::{Deserialize, Serialize};

use super::{RuleMode, Top};
use crate::kernel::Counts;

/// The upstreams, in the order of the policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamList {
    /// The seconds of which [`UpstreamRow::passed`] and its like are: fewer than a minute if the daemon has not run that long.
    pub covered_seconds: f64,
    /// The upstreams.
    pub upstreams: Vec<UpstreamRow>,
}

/// An upstream of the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamRow {
    /// Its name.
    pub name: String,
    /// `carrier`, `customer` or `gateway`.
    pub kind: Option<String>,
    /// Its registration number at the FCC.
    pub frn: Option<String>,
    /// The number of its filing in the Robocall Mitigation Database.
    pub rmd: Option<String>,
    /// Its operating company number.
    pub ocn: Option<String>,
    /// The service provider code that it signs with.
    pub spc: Option<String>,
    /// Its trunks: sets with an `@`, and addresses that are written in the upstream.
    pub trunks: Vec<String>,
    /// How many addresses and networks they are.
    pub addresses: usize,
    /// How many numbers and prefixes its calls may come from; none if that is not said.
    pub callers: Option<usize>,
    /// Who answers for it.
    pub contacts: Vec<UpstreamContact>,
    /// Its caps that are not over.
    pub caps: Vec<UpstreamCap>,
    /// Packets that passed, estimated from samples.
    pub passed: f64,
    /// Packets that passed and would have been dropped, likewise.
    pub would: f64,
    /// Packets that were dropped, likewise.
    pub dropped: f64,
}

/// Somebody who answers for an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamContact {
    /// What they are asked about.
    pub role: Option<String>,
    /// Their name.
    pub name: Option<String>,
    /// Their address for mail.
    pub email: Option<String>,
    /// Their telephone number.
    pub telephone: Option<String>,
}

/// A cap on an upstream's calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamCap {
    /// The rule that it is, by whose name events have it.
    pub rule: String,
    /// The limit, as in `over`.
    pub limit: String,
    /// Whether it acts.
    pub mode: RuleMode,
    /// When it ends.
    pub until: Option<String>,
    /// INVITEs of calls over the cap, copies included.
    pub packets: u64,
    /// Of these, those that it only counted.
    pub reported: u64,
}

impl UpstreamList {
    /// The upstreams of a policy. `recent` has the packets of the last minute by upstream.
    #[must_use]
    pub fn new(facts: &PolicyFacts, counts: &Counts, recent: &Top) -> Self {
        let counted: BTreeMap<&str, (u64, u64)> =
            counts.rules.iter().map(|count| (count.rule.as_str(), (count.packets, count.reported))).collect();
        let row = |upstream: &Upstream| {
            let recent = recent.rows.iter().find(|row| row.key.as_deref() == Some(&upstream.name));
            let cap = |name: &String| {
                let rule = facts.cap(name)?;
                let (packets, reported) = counted.get(name.as_str()).copied().unwrap_or_default();
                Some(UpstreamCap {
                    rule: name.clone(),
                    limit: rule.over.as_ref()?.to_string(),
                    mode: RuleMode::of(rule.report),
                    until: rule.until.map(|until| until.to_string()),
                    packets,
                    reported,
                })
            };
            let Upstream { name, kind, frn, rmd, ocn, spc, trunks, contacts, callers, caps, .. } = upstream;
            let written = trunks.iter().flat_map(|list| match &list.name {
                Some(set) => vec![format!("@{set}")],
                None => list.entries.iter().map(|entry| entry.network().to_string()).collect(),
            });
            UpstreamRow {
                name: name.clone(),
                kind: kind.map(|kind| UpstreamKind::name(kind).to_owned()),
                frn: frn.clone(),
                rmd: rmd.clone(),
                ocn: ocn.clone(),
                spc: spc.clone(),
                trunks: written.collect(),
                addresses: trunks.iter().map(|list| list.entries.len()).sum(),
                callers: callers.as_ref().map(|lists| lists.iter().map(|list| list.entries.len()).sum()),
                contacts: contacts.iter().map(UpstreamContact::of).collect(),
                caps: caps.iter().filter_map(cap).collect(),
                passed: recent.map_or(0.0, |row| row.passed),
                would: recent.map_or(0.0, |row| row.would),
                dropped: recent.map_or(0.0, |row| row.dropped),
            }
        };
        Self { covered_seconds: recent.covered_seconds, upstreams: facts.upstreams().iter().map(row).collect() }
    }

    /// The text for people.
    #[must_use]
    pub fn render(&self) -> String {
        if self.upstreams.is_empty() {
            return "the policy in force has no upstreams\n".to_owned();
        }
        let mut text = String::new();
        for row in &self.upstreams {
            row.write(&mut text, self.covered_seconds);
        }
        text
    }
}

impl UpstreamRow {
    fn write(&self, text: &mut String, seconds: f64) {
        let kind = self.kind.as_deref().map(|kind| format!(" ({kind})")).unwrap_or_default();
        let _ = writeln!(text, "{}{kind}", escaped(&self.name));
        let rmd = self.rmd.as_deref().unwrap_or(Filing::NAMES[1]);
        let numbers = [
            ("rmd", Some(rmd)),
            ("frn", self.frn.as_deref()),
            ("ocn", self.ocn.as_deref()),
            ("spc", self.spc.as_deref()),
        ];
        let numbers = numbers.into_iter().filter_map(|(key, value)| Some(format!("{key} {}", value?)));
        let _ = writeln!(text, "  filing    {}", numbers.collect::<Vec<_>>().join(", "));
        let trunks = self.trunks.iter().map(|trunk| escaped(trunk)).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "  trunks    {trunks}: {} addresses and networks", self.addresses);
        if let Some(callers) = self.callers {
            let _ = writeln!(text, "  callers   {callers} numbers and prefixes");
        }
        for contact in &self.contacts {
            let parts = [&contact.role, &contact.name, &contact.email, &contact.telephone];
            let parts: Vec<_> = parts.into_iter().flatten().map(|part| escaped(part)).collect();
            let _ = writeln!(text, "  contact   {}", parts.join(", "));
        }
        for cap in &self.caps {
            let until = cap.until.as_deref().map(|until| format!(", until {until}")).unwrap_or_default();
            let done = match cap.mode {
                RuleMode::Enforce => format!("{} over it, {} of them only counted", cap.packets, cap.reported),
                RuleMode::Report => format!("{} over it", cap.packets),
            };
            let _ = writeln!(text, "  cap       {} ({}{until}): {done}", cap.limit, cap.mode.name());
        }
        let _ = writeln!(
            text,
            "  packets   in the last {seconds:.0} s about {:.0} passed, {:.0} would be dropped, {:.0} dropped",
            self.passed, self.would, self.dropped
        );
    }
}

impl UpstreamContact {
    fn of(contact: &Contact) -> Self {
        let Contact { role, name, email, telephone } = contact.clone();
        Self { role, name, email, telephone }
    }
}

#[cfg(test)]
mod tests {
    use filter_policy::testing;

    use super::*;
    use crate::kernel::RuleCount;
    use crate::telemetry::{Estimate, TopBy, TopRow};

    const POLICY: &str = "version = 1\n[network]\nudp = [5060]\n[sets.acme]\naddresses = [\"192.0.2.1\", \"192.0.2.2\"]\n\
                          [[upstream]]\nname = \"acme\"\nkind = \"carrier\"\ntrunks = [\"@acme\", \"198.51.100.0/24\"]\n\
                          rmd = \"RMD0001410\"\ncallers = [\"1605562\", \"44\"]\n\
                          contacts = { role = \"noc\", email = \"noc@acme.example\" }\n\
                          caps = [{ calls_per_second = 5, mode = \"enforce\", until = 2036-12-31 }, { calls_per_day = 9, until = 2026-01-31 }]\n\
                          [[upstream]]\nname = \"beta\"\ntrunks = \"192.0.2.9\"\n";

    fn list() -> UpstreamList {
        let facts = PolicyFacts::new(&testing::load(&[("policy.toml", POLICY)]).expect("it has no errors").0);
        let cap = RuleCount {
            rule: "upstream:acme:calls-per-second".to_owned(),
            packets: 12,
            reported: 2,
            ..RuleCount::default()
        };
        let counts = Counts { rules: vec![cap], ..Counts::default() };
        let estimate = Estimate { packets: 40.0, low: 30.0, high: 50.0 };
        let row = |key: Option<&str>| TopRow {
            key: key.map(str::to_owned),
            packets: estimate,
            passed: 30.0,
            would: 1.0,
            dropped: 9.0,
            series: None,
        };
        let recent = Top {
            by: TopBy::Upstream,
            sampling_off: false,
            window_seconds: 60.0,
            covered_seconds: 17.0,
            samples: 40,
            lost: 0,
            packets: estimate,
            rows: vec![row(None), row(Some("acme"))],
            more: 0,
            series: None,
        };
        UpstreamList::new(&facts, &counts, &recent)
    }

    #[test]
    fn the_list_has_what_the_policy_says_and_what_was_counted() {
        let list = list();
        let [acme, beta] = list.upstreams.as_slice() else { panic!("{list:?}") };
        assert_eq!((acme.trunks.join(" "), acme.addresses), ("@acme 198.51.100.0/24".to_owned(), 3));
        assert_eq!(
            (acme.kind.as_deref(), acme.rmd.as_deref(), acme.callers),
            (Some("carrier"), Some("RMD0001410"), Some(2))
        );
        // The other one is over.
        let [cap] = acme.caps.as_slice() else { panic!("{:?}", acme.caps) };
        assert_eq!((cap.limit.as_str(), cap.packets, cap.reported), ("5/s, burst 5, per rule, count calls", 12, 2));
        assert_eq!((cap.mode, cap.until.as_deref()), (RuleMode::Enforce, Some("2037-01-01T00:00:00Z")));
        assert_eq!((acme.passed, acme.would, acme.dropped, list.covered_seconds), (30.0, 1.0, 9.0, 17.0));
        assert_eq!((beta.kind.as_deref(), beta.callers, beta.passed, beta.caps.len()), (None, None, 0.0, 0));
    }

    #[test]
    fn people_read_each_with_its_caps_and_packets() {
        let expected = "\
acme (carrier)
  filing    rmd RMD0001410
  trunks    @acme, 198.51.100.0/24: 3 addresses and networks
  callers   2 numbers and prefixes
  contact   noc, noc@acme.example
  cap       5/s, burst 5, per rule, count calls (enforce, until 2037-01-01T00:00:00Z): 12 over it, 2 of them only counted
  packets   in the last 17 s about 30 passed, 1 would be dropped, 9 dropped
beta
  filing    rmd none
  trunks    192.0.2.9/32: 1 addresses and networks
  packets   in the last 17 s about 0 passed, 0 would be dropped, 0 dropped
";
        assert_eq!(list().render(), expected);
        assert_eq!(UpstreamList::default().render(), "the policy in force has no upstreams\n");
    }
}
