//! What the naive reader makes of messages, in words. The engine is compared with it on random messages; here it is compared
//! with what was decided.

mod addresses;
mod header_lines;
mod identities;
mod start_lines;
mod uris;

use std::net::IpAddr;

use filter_core::{
    layout::{Text, Transport, anomaly},
    scratch::UriOf,
};
use filter_policy::{build, files::Table, model::Policy, today};
use ringfence_oracle::read::{self, Packet, read_payload};
use ringfence_tests::message::Message;

/// This source's asserted identities are believed.
const BELIEVED: &str = "192.0.2.10";

const STRANGER: &str = "198.51.100.7";

const POLICY: &str = r#"version = 1
default = "pass"

[network]
udp = [5060]
tcp = [5060]

[numbering]
country_code = "1"
international_prefix = "011"
asserted_identity_from = ["192.0.2.10"]
"#;

thread_local! {
    static BUILT: Policy = build(&Table(&[("policy.toml", POLICY.as_bytes())]), today()).expect("the policy is valid").policy;
}

/// A message that has been read.
#[derive(Debug)]
struct Reading(read::Message);

impl Reading {
    fn anomalies(&self) -> Vec<&'static str> {
        anomaly::names(self.0.anomalies).collect()
    }

    #[track_caller]
    fn has(self, anomalies: &[&str]) -> Self {
        assert_eq!(self.anomalies(), anomalies, "{self:?}");
        self
    }

    fn kind(&self) -> &'static str {
        self.0.kind.name()
    }

    fn method(&self) -> String {
        lossy(&self.0.written_method)
    }

    fn user(&self, of: UriOf) -> String {
        lossy(&self.0.users[of.index()])
    }

    fn text(&self, text: Text) -> String {
        self.0.texts[text.index()].as_deref().map(|text| lossy(read::trimmed(text))).unwrap_or_default()
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn packet(transport: Transport, source: &str, payload: &[u8]) -> Packet {
    Packet {
        source: source.parse().expect("an address"),
        destination: IpAddr::from([192, 0, 2, 1]),
        source_port: 5060,
        port: 5060,
        transport,
        fragment: None,
        opens: false,
        urgent: false,
        sequence: 1,
        payload: payload.to_vec(),
    }
}

fn read(packet: &Packet) -> Reading {
    Reading(BUILT.with(|policy| read_payload(policy, packet)))
}

fn udp(payload: impl AsRef<[u8]>) -> Reading {
    read(&packet(Transport::Udp, STRANGER, payload.as_ref()))
}

fn tcp(payload: impl AsRef<[u8]>) -> Reading {
    read(&packet(Transport::Tcp, STRANGER, payload.as_ref()))
}

/// A datagram whose end is in other fragments.
fn first_fragment(payload: &str) -> Reading {
    let mut packet = packet(Transport::Udp, STRANGER, payload.as_bytes());
    packet.fragment = Some((packet.source, packet.destination, 7));
    read(&packet)
}

fn message(message: Message) -> Reading {
    udp(message.bytes())
}

/// From a source whose asserted identity is believed.
fn believed(message: Message) -> Reading {
    read(&packet(Transport::Udp, BELIEVED, &message.bytes()))
}

/// An ordinary call with this start line.
fn start(line: &str) -> Reading {
    message(Message::invite().start_line(line))
}

/// An ordinary call from this address.
fn from(value: &str) -> Reading {
    message(Message::invite().set("From", value))
}

fn number(number: &Option<String>) -> &str {
    number.as_deref().unwrap_or_default()
}
