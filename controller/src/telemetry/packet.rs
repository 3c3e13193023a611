//! Packet events as people and programs read them.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv6Addr},
};

use filter_core::{
    layout::{Action, Event, NO_RULE, NumberFormat, anomaly},
    reason::Reason,
};
use serde::{Deserialize, Serialize};

use super::{clock::Clock, table::RuleMode};
use filter_policy::{language::printable, numbering::number_text};

/// A packet that was dropped, or would have been, and why. Its JSON begins with `"event":"packet"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename = "packet")]
pub struct PacketEvent {
    /// When, RFC 3339 in UTC, to the millisecond.
    pub time: String,
    /// `pass`, `drop`, `reject` or `divert`: what happened, or in report mode would have happened.
    pub verdict: String,
    /// The mode of the rule.
    pub mode: RuleMode,
    /// Name of the reason.
    pub reason: String,
    /// Name of the rule that decided; none if none did.
    pub rule: Option<String>,
    /// Name of that rule's action; none if no rule decided.
    pub action: Option<String>,
    /// Source address; an IPv4 address is not mapped.
    pub source: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination address.
    pub destination: IpAddr,
    /// Destination port.
    pub destination_port: u16,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// Method, `response` for a status line.
    pub method: String,
    /// Calling number, E.164 without plus, or a short code; of an emergency service, its URN.
    pub calling: Option<String>,
    /// Called number, in the form of `calling`. Each is none if there is none or the policy did not need it.
    pub called: Option<String>,
    /// The attestation that the message claims. Its signature has not been verified.
    pub attestation: String,
    /// Anomalies of the message.
    pub anomalies: Vec<String>,
    /// Start of the User-Agent or Server.
    pub user_agent: Option<String>,
    /// Start of the Call-ID.
    pub call_id: Option<String>,
    /// Bytes of the packet.
    pub bytes: u32,
    /// Name of the interface that it came in on; none if it is gone.
    #[serde(default)]
    pub interface: Option<String>,
    /// The rule's legal basis, if the policy gives it one.
    #[serde(default)]
    pub basis: Option<String>,
    /// The number of From, as `calling`.
    #[serde(default)]
    pub from: Option<String>,
    /// The asserted number.
    #[serde(default)]
    pub asserted: Option<String>,
    /// The forwarding number.
    #[serde(default)]
    pub forwarded: Option<String>,
    /// Format of the calling number; none if there is none or the policy did not need it.
    #[serde(default)]
    pub calling_format: Option<String>,
    /// Format of the called number, likewise.
    #[serde(default)]
    pub called_format: Option<String>,
    /// The calling number's highest score in the policy's scored lists.
    #[serde(default)]
    pub reputation: Option<u32>,
    /// The upstream that the source belongs to, or the label of the address set that it is in.
    #[serde(default)]
    pub upstream: Option<String>,
    /// The commit of the policy in force.
    #[serde(default)]
    pub commit: Option<String>,
    /// The host's name, if its configuration gives it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
}

impl PacketEvent {
    /// Converts an event as the program wrote it; `rule` is the name of the rule that owns its counter slot. What the event alone does not
    /// say is none.
    pub(super) fn new(event: &Event, rule: Option<&str>, clock: &Clock) -> Self {
        let by_rule = event.slot != NO_RULE;
        let reason = Reason::from_number(event.reason);
        let action = Action::from_number(event.action).map_or("unknown", Action::name).to_owned();
        let report = event.report != 0;
        let verdict = reason.map_or("pass", Reason::verdict_name);
        Self {
            time: clock.wall(event.time),
            verdict: verdict.to_owned(),
            mode: RuleMode::of(report),
            reason: reason.map_or("unknown", Reason::name).to_owned(),
            rule: by_rule.then(|| rule.unwrap_or("unknown").to_owned()),
            action: by_rule.then_some(action),
            source: address(event.source),
            source_port: event.source_port,
            destination: address(event.destination),
            destination_port: event.destination_port,
            transport: event.transport.name().to_owned(),
            method: event.method.name().to_owned(),
            calling: number_text(event.calling),
            called: number_text(event.called),
            attestation: event.attestation.name().to_owned(),
            anomalies: anomaly::names(event.anomalies).map(str::to_owned).collect(),
            user_agent: start_of(&event.user_agent, event.user_agent_length),
            call_id: start_of(&event.call_id, event.call_id_length),
            bytes: event.length,
            interface: None,
            basis: None,
            from: number_text(event.from),
            asserted: number_text(event.asserted),
            forwarded: number_text(event.forwarded),
            calling_format: format(event.calling_format),
            called_format: format(event.called_format),
            reputation: None,
            upstream: None,
            commit: None,
            edge: None,
        }
    }

    /// The event as one line of JSON without its line end, safe to show on a terminal.
    #[must_use]
    pub fn json_line(&self) -> String {
        printable::json_line(self)
    }

    /// The numbers of the message.
    pub(super) fn numbers(&self) -> impl Iterator<Item = &str> {
        [&self.calling, &self.called, &self.from, &self.asserted, &self.forwarded]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// One line for people. What came from the packet is escaped.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{} ", self.time);
        if self.mode == RuleMode::Report {
            line.push_str("would ");
        }
        // A ban drops what follows as well, without further events.
        let does = if self.action.as_deref() == Some(Action::Ban.name()) { Action::Ban.name() } else { &self.verdict };
        let _ = write!(line, "{does:<6} {}", printable::escaped(self.rule.as_deref().unwrap_or(&self.reason)));
        let _ = write!(
            line,
            "  {} -> {} {}",
            endpoint(self.source, self.source_port),
            endpoint(self.destination, self.destination_port),
            self.transport
        );
        if self.method != "none" {
            let _ = write!(line, " {}", self.method);
        }
        for (label, value) in [("calling", &self.calling), ("called", &self.called)] {
            if let Some(value) = value {
                let _ = write!(line, " {label} {value}");
            }
        }
        for (label, value) in [("agent", &self.user_agent), ("call-id", &self.call_id)] {
            if let Some(value) = value {
                let _ = write!(line, " {label} \"{}\"", printable::escaped(value));
            }
        }
        if !self.anomalies.is_empty() {
            let _ = write!(line, " [{}]", self.anomalies.join(", "));
        }
        line
    }
}

/// A number's format, if there is a number.
fn format(format: NumberFormat) -> Option<String> {
    (format != NumberFormat::Missing).then(|| format.name().to_owned())
}

/// IPv4 addresses are stored as IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2).
fn address(bytes: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
}

fn endpoint(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn start_of(field: &[u8], length: u8) -> Option<String> {
    // The value is a piece of the message, with the white space and the line end around it.
    let bytes = field.get(..usize::from(length)).unwrap_or(field).trim_ascii();
    (!bytes.is_empty()).then(|| printable::text(bytes))
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use filter_core::layout::Method;

    use super::*;

    fn event() -> Event {
        let mut event = Event::new_zeroed();
        event.source[10..].copy_from_slice(&[0xff, 0xff, 10, 20, 0, 66]);
        event.destination = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        event.source_port = 5066;
        event.destination_port = 5060;
        event.slot = 1;
        event.reason = Reason::RuleDrop.number();
        event.method = Method::Options;
        event.calling = 0x1312_5550_100f_0000;
        event.user_agent[..8].copy_from_slice(b" a\x1b[2J\r\n");
        event.user_agent_length = 8;
        event
    }

    impl PacketEvent {
        /// An event for tests.
        pub(crate) fn example() -> Self {
            Self::new(&event(), Some("scanners"), &Clock { offset: 0 })
        }
    }

    #[test]
    fn the_json_of_an_event_is_as_documented() {
        let json = r#"{"event":"packet","time":"1970-01-01T00:00:00.000Z","verdict":"drop","mode":"enforce","reason":"rule-drop","rule":"scanners","action":"drop","source":"10.20.0.66","source_port":5066,"destination":"2001:db8::1","destination_port":5060,"transport":"udp","method":"OPTIONS","calling":"13125550100","called":null,"attestation":"none","anomalies":[],"user_agent":"a\u001b[2J","call_id":null,"bytes":0,"interface":null,"basis":null,"from":null,"asserted":null,"forwarded":null,"calling_format":null,"called_format":null,"reputation":null,"upstream":null,"commit":null}"#;
        assert_eq!(printable::json_line(&PacketEvent::example()), json);
        assert_eq!(serde_json::from_str::<PacketEvent>(json).unwrap(), PacketEvent::example());
    }

    #[test]
    fn an_event_of_a_host_with_a_name_has_it() {
        let event = PacketEvent { edge: Some("fra1-sbc2".to_owned()), ..PacketEvent::example() };
        let json = printable::json_line(&event);
        assert!(json.ends_with(r#""commit":null,"edge":"fra1-sbc2"}"#), "{json}");
        assert_eq!(serde_json::from_str::<PacketEvent>(&json).unwrap(), event);
    }

    #[test]
    fn an_event_names_its_rule_addresses_and_numbers() {
        let event = PacketEvent::new(&event(), Some("scanners"), &Clock { offset: 0 });
        assert_eq!(event.rule.as_deref(), Some("scanners"));
        assert_eq!(event.source, "10.20.0.66".parse::<IpAddr>().unwrap());
        assert_eq!(event.calling.as_deref(), Some("13125550100"));
        assert_eq!(event.called, None);
        assert_eq!(event.call_id, None);
        assert_eq!(event.time, "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_line_cannot_control_the_terminal() {
        let line = PacketEvent::new(&event(), Some("scanners"), &Clock { offset: 0 }).line();
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z drop   scanners  10.20.0.66:5066 -> [2001:db8::1]:5060 udp OPTIONS \
             calling 13125550100 agent \"a\\u{1b}[2J\""
        );
    }

    #[test]
    fn report_mode_shows_what_would_have_happened() {
        let mut event = event();
        event.report = 1;
        let event = PacketEvent::new(&event, Some("scanners"), &Clock { offset: 0 });
        assert_eq!((event.mode, event.verdict.as_str()), (RuleMode::Report, "drop"));
        assert!(event.line().contains(" would drop   scanners"), "{}", event.line());
    }

    #[test]
    fn the_line_of_a_packet_whose_source_is_banned_names_the_ban() {
        let mut event = event();
        (event.action, event.reason) = (Action::Ban as u8, Reason::RuleBan.number());
        let event = PacketEvent::new(&event, Some("scanners"), &Clock { offset: 0 });
        assert_eq!((event.verdict.as_str(), event.action.as_deref()), ("drop", Some("ban")));
        assert!(event.line().contains("Z ban    scanners  10.20.0.66:5066"), "{}", event.line());
    }

    #[test]
    fn fifteen_digits_fill_the_key_up_to_its_terminator() {
        assert_eq!(number_text(0x1234_5678_9012_345f).as_deref(), Some("123456789012345"));
        assert_eq!(number_text(0xf000_0000_0000_0000), None);
        assert_eq!(number_text(0), None);
        assert_eq!(number_text(0xaa9f_0000_0000_0000).as_deref(), Some("urn:service:sos.police"));
    }
}
