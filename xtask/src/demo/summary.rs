//! The result of the demo: what was sent, what arrived, and whether that is as it should be.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use anyhow::{Result, bail, ensure};
use filter_core::layout::Action;
use ringfence_tests::{
    capture::{Packet, by_source},
    netns::Wire,
    sip::CallCounts,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{screen::Screen, senders::Sender};

/// What the summary needs of the answer of `ringfence status --json`. The types of the answer itself are in a crate that
/// needs the BPF compiler; the demo must build without.
#[derive(Deserialize)]
pub(super) struct Status {
    interfaces: Vec<Interface>,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Interface {
    /// How the program runs there: `native` or `generic`.
    mode: String,
}

#[derive(Deserialize)]
struct Rule {
    rule: String,
    mode: Mode,
    action: String,
    packets: u64,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Enforce,
    Report,
}

impl Rule {
    /// True if its action drops packets, be it in force or not.
    fn drops(&self) -> bool {
        Action::from_name(&self.action).is_some_and(Action::drops)
    }
}

/// The counts, and the filter's own account.
pub(super) struct Summary {
    pub(super) seconds: u32,
    pub(super) senders: Vec<Sender>,
    /// Packets before the filter, by sender.
    pub(super) sent: BTreeMap<IpAddr, u64>,
    /// Packets after the filter.
    pub(super) arrived: Vec<Packet>,
    /// Requests that the server logged, by sender.
    pub(super) requests: BTreeMap<IpAddr, u64>,
    pub(super) ordinary: CallCounts,
    /// SIPp's errors about ordinary calls.
    pub(super) errors: String,
    /// Unwanted calls that were answered.
    pub(super) answered: u64,
    /// The filter's status; none without a filter.
    pub(super) status: Option<Status>,
}

impl Summary {
    /// Unwanted packets after the filter. The server's log is a second source: the larger count is used.
    fn unwanted(&self) -> u64 {
        let unwanted =
            |address: &IpAddr| self.senders.iter().any(|sender| sender.address == *address && !sender.wanted);
        let captured = self.arrived.iter().filter(|packet| unwanted(&packet.source)).count() as u64;
        let logged = self.requests.iter().filter(|(address, _)| unwanted(address)).map(|(_, count)| count).sum();
        captured.max(logged)
    }

    /// Packets by rule, in file order: of the rules that drop, or of those that would.
    fn dropped(&self, mode: Mode) -> impl Iterator<Item = (&str, u64)> {
        let rules = self.status.iter().flat_map(|status| &status.rules);
        rules.filter(move |rule| rule.mode == mode && rule.drops()).map(|rule| (rule.rule.as_str(), rule.packets))
    }

    pub(super) fn json(&self) -> Value {
        let arrived = by_source(&self.arrived);
        let by_name = |counts: &BTreeMap<IpAddr, u64>| -> Map<String, Value> {
            let count = |sender: &Sender| counts.get(&sender.address).copied().unwrap_or_default();
            self.senders.iter().map(|sender| (sender.name.to_owned(), count(sender).into())).collect()
        };
        let dropped = |mode| -> Map<String, Value> {
            self.dropped(mode).map(|(rule, packets)| (rule.to_owned(), packets.into())).collect()
        };
        json!({
            "seconds": self.seconds,
            "filter": self.status.is_some(),
            "mode": self.status.as_ref().and_then(|status| status.interfaces.first()).map(|interface| &interface.mode),
            "offered": by_name(&self.sent),
            "at_server": by_name(&arrived),
            "ordinary_calls": {
                "started": self.ordinary.started,
                "completed": self.ordinary.completed,
            },
            "dropped": dropped(Mode::Enforce),
            "would_drop": dropped(Mode::Report),
            "unwanted_calls_answered": self.answered,
            "unwanted_at_server": self.unwanted(),
        })
    }

    pub(super) fn table(&self, screen: &Screen) -> String {
        let arrived = by_source(&self.arrived);
        let mut text = format!("\n{}\n\n", screen.bold("Summary"));
        let _ = writeln!(text, "  {:<24}{:>14}{:>18}", "packets from", "offered", "reached server");
        for sender in &self.senders {
            let count = |counts: &BTreeMap<IpAddr, u64>| counts.get(&sender.address).copied().unwrap_or_default();
            let _ = writeln!(text, "  {:<24}{:>14}{:>18}", sender.name, count(&self.sent), count(&arrived));
        }
        if self.status.is_some() {
            let _ = writeln!(text, "\n  {:<24}{:>14}", "dropped by rule", "packets");
            for (mode, note) in [(Mode::Enforce, ""), (Mode::Report, "  would have (report mode)")] {
                for (rule, packets) in self.dropped(mode) {
                    // The sample policy has rules that nothing in the demo matches.
                    if packets > 0 {
                        let _ = writeln!(text, "  {rule:<24}{packets:>14}{note}");
                    }
                }
            }
        }
        let verdict = |good: bool, line: String| screen.styled(if good { "32" } else { "31" }, &line);
        let CallCounts { started, completed, .. } = self.ordinary;
        let _ = writeln!(text);
        let line = format!("  ordinary calls:                        {started} started, {completed} completed");
        let _ = writeln!(text, "{}", verdict(started == completed, line));
        let line = format!("  unwanted packets at the server:        {}", self.unwanted());
        let _ = writeln!(text, "{}", verdict(self.unwanted() == 0, line));
        text
    }

    /// Fails if ordinary calls were lost, or unwanted packets arrived.
    pub(super) fn judge(&self) -> Result<()> {
        let CallCounts { started, completed, failed } = self.ordinary;
        ensure!(started > 0, "no ordinary call was started");
        ensure!(
            started == completed,
            "{} of {started} ordinary calls were lost ({failed} failed); SIPp said:\n{}",
            started - completed,
            self.errors.lines().take(20).collect::<Vec<_>>().join("\n")
        );
        if self.status.is_none() {
            return Ok(());
        }
        for sender in self.senders.iter().filter(|sender| !sender.wanted) {
            ensure!(
                self.sent.contains_key(&sender.address),
                "{} has sent nothing, so the demo shows nothing",
                sender.name
            );
        }
        let unwanted = self.unwanted();
        if unwanted > 0 {
            let wanted =
                |packet: &&Packet| self.senders.iter().any(|sender| sender.wanted && sender.address == packet.source);
            let server = |packet: &&Packet| packet.source == Wire::SERVER_IPV4.parse::<IpAddr>().expect("an address");
            let strays = self.arrived.iter().filter(|packet| !wanted(packet) && !server(packet)).take(5);
            let strays: String = strays.map(|packet| format!("\n    {}  {}", packet.source, packet.summary)).collect();
            bail!("{unwanted} unwanted packets reached the server, among them:{strays}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: [u8; 4] = [10, 20, 0, 10];
    const SCAN: [u8; 4] = [10, 20, 0, 66];

    /// Twenty calls that were all completed, and a scan that was dropped completely.
    fn good() -> Summary {
        let sender = |name, address: [u8; 4], wanted| Sender {
            name,
            address: address.into(),
            wanted,
            what: String::new(),
            calls: None,
        };
        Summary {
            seconds: 2,
            senders: vec![sender("phones", PHONE, true), sender("scan", SCAN, false)],
            sent: BTreeMap::from([(PHONE.into(), 60), (SCAN.into(), 7)]),
            arrived: vec![Packet { source: PHONE.into(), summary: "Request: INVITE sip:x@10.20.0.1".into() }],
            requests: BTreeMap::from([(PHONE.into(), 60)]),
            ordinary: CallCounts { started: 20, completed: 20, failed: 0 },
            errors: String::new(),
            answered: 0,
            status: Some(
                serde_json::from_value(json!({
                    "interfaces": [{"interface": "sip0", "mode": "native"}],
                    "rules": [
                        {"rule": "emergency", "mode": "enforce", "action": "whitelist", "packets": 3},
                        {"rule": "scanners", "mode": "enforce", "action": "drop", "packets": 7},
                        {"rule": "scanners-risky", "mode": "report", "action": "drop", "packets": 2},
                    ],
                }))
                .expect("it is as `ringfence status` prints it"),
            ),
        }
    }

    #[test]
    fn all_calls_completed_and_nothing_unwanted_is_a_success() {
        good().judge().unwrap();
        let json = good().json();
        assert_eq!(json["ordinary_calls"], json!({"started": 20, "completed": 20}));
        assert_eq!(json["dropped"], json!({"scanners": 7}));
        assert_eq!(json["would_drop"], json!({"scanners-risky": 2}));
        assert_eq!(json["unwanted_at_server"], 0);
        assert_eq!(json["mode"], "native");
        assert_eq!(json["offered"], json!({"phones": 60, "scan": 7}));
    }

    #[test]
    fn an_unwanted_packet_after_the_filter_is_a_failure_that_shows_the_packet() {
        let mut summary = good();
        summary.arrived.push(Packet { source: SCAN.into(), summary: "Request: OPTIONS sip:100@10.20.0.1".into() });
        assert_eq!(summary.json()["unwanted_at_server"], 1);
        let error = summary.judge().unwrap_err().to_string();
        assert!(error.contains("1 unwanted") && error.contains("OPTIONS sip:100"), "{error}");
    }

    #[test]
    fn the_servers_log_counts_where_the_capture_has_seen_nothing() {
        let mut summary = good();
        summary.requests.insert(SCAN.into(), 4);
        assert_eq!(summary.unwanted(), 4);
        summary.judge().unwrap_err();
    }

    #[test]
    fn a_lost_call_is_a_failure() {
        let mut summary = good();
        summary.ordinary = CallCounts { started: 20, completed: 19, failed: 1 };
        let error = summary.judge().unwrap_err().to_string();
        assert!(error.contains("1 of 20"), "{error}");
    }

    #[test]
    fn a_sender_that_sent_nothing_is_a_failure() {
        let mut summary = good();
        summary.sent.remove(&IpAddr::from(SCAN));
        summary.judge().unwrap_err();
    }
}
