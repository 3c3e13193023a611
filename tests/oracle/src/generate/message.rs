//! Packets as proptest strategies: SIP messages that use the freedom of the grammar (compact names, folding, display names,
//! separators), and some payloads that are not messages.

use std::net::{IpAddr, SocketAddr};

use filter_core::layout::Transport;
use filter_policy::engine::{Endpoints, datagram, frame};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    readings::{address, number},
    stock::PORTS,
};

/// A packet for a signalling port.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub port: u16,
    pub transport: Transport,
    pub payload: Vec<u8>,
}

impl Packet {
    /// The Ethernet frame.
    pub fn frame(&self) -> Vec<u8> {
        let endpoints = Endpoints {
            source: SocketAddr::new(self.source, 40_000),
            destination: SocketAddr::new(self.destination, self.port),
        };
        if self.transport == Transport::Udp {
            return datagram(&endpoints, &self.payload);
        }
        let mut segment = Vec::with_capacity(20 + self.payload.len());
        segment.extend_from_slice(&40_000u16.to_be_bytes());
        segment.extend_from_slice(&self.port.to_be_bytes());
        // Sequence and acknowledgement numbers, five words of header, PSH and ACK, window, no checksum, no urgent data.
        segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend_from_slice(&self.payload);
        frame(&endpoints, 6, &segment)
    }
}

/// Any packet for a signalling port of the generated policies.
pub fn packet() -> impl Strategy<Value = Packet> {
    let payload = prop_oneof![
        16 => message(),
        1 => select(vec![&b""[..], b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b"INVITE", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"])
            .prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..80),
        1 => (message(), any::<prop::sample::Index>()).prop_map(|(mut message, end)| {
            message.truncate(end.index(message.len()));
            message
        }),
    ];
    (address(), address(), select(&PORTS[..]), payload).prop_map(|(source, destination, (port, transport), payload)| {
        let same_family = source.is_ipv4() == destination.is_ipv4();
        let destination = if same_family { destination } else { source };
        Packet { source, destination, port, transport, payload }
    })
}

/// A message, mostly well-formed.
pub fn message() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        6 => (select(METHODS), uri()).prop_map(|(method, uri)| format!("{method} {uri} SIP/2.0")),
        1 => select(vec!["SIP/2.0 200 OK", "SIP/2.0 403 Forbidden", "SIP/2.0 180 ", "INVITE sip:a@b SIP/3.0", "INVITE sip:a@b"])
            .prop_map(str::to_owned),
        1 => (
            select(METHODS),
            select(vec![" ", "  ", "\t", "\r\n "]),
            uri(),
            select(vec![" SIP/2.0x", " SIP /2.0", "\r\n SIP/2.0", " HTTP/1.1", "SIP/2.0"]),
        )
            .prop_map(|(method, space, uri, version)| format!("{method}{space}{uri}{version}")),
    ];
    let agent = prop_oneof![select(AGENTS).prop_map(<[u8]>::to_vec), text()];
    let agent = (name(&["User-Agent", "user-agent", "USER-AGENT "]), agent);
    let headers = (
        option::weighted(0.95, header(&["From", "f", "FROM", "from ", "From\r\n "], ";tag=1")),
        option::weighted(
            0.95,
            (header(&["To", "t", "tO", "To\r\n "], ""), select(vec!["", "", ";tag=1", ";tag="]))
                .prop_map(|(to, tag)| to + tag),
        ),
        option::weighted(0.6, agent),
        (
            vec(header(&["P-Asserted-Identity", "p-asserted-identity"], ""), 0..3),
            option::weighted(0.2, header(&["P-Preferred-Identity"], "")),
            option::weighted(0.2, header(&["Remote-Party-ID"], "")),
            option::weighted(0.1, header(&["Remote-Party-ID"], ";party=called")),
        )
            .prop_map(|(asserted, preferred, remote, called)| {
                asserted.into_iter().chain(preferred).chain(remote).chain(called).collect::<Vec<_>>()
            }),
        vec(header(&["Diversion", "diversion", "History-Info", "Route"], ";reason=unconditional"), 0..3),
        option::weighted(0.3, select(IDENTITIES)),
        option::weighted(
            0.1,
            select(vec![
                "Privacy: id",
                "Privacy: header;critical",
                "Subject: a\tb",
                "s: union",
                "Call-ID: second",
                "nonsense",
                "Server: ab",
            ]),
        ),
    );
    let body = prop_oneof![
        select(vec![&b""[..], b"", b"friendly-scanner a.c 123", b"v=0\r\ns=abc\r\n"]).prop_map(<[u8]>::to_vec),
        text(),
    ];
    let mandatory = prop::bool::weighted(0.95);
    (start, headers, mandatory, body, select(vec!["\r\n", "\r\n", "\n"])).prop_map(
        |(start, headers, mandatory, body, end)| {
            let (from, to, agent, asserted, diversion, identity, other) = headers;
            let mut lines = vec![start];
            if mandatory {
                lines.extend(
                    ["Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "CSeq: 1 INVITE", "i: 1@a"].map(str::to_owned),
                );
            }
            lines.extend([from, to].into_iter().flatten());
            lines.extend(asserted);
            lines.extend(diversion);
            lines.extend(identity.map(str::to_owned));
            lines.extend(other.map(str::to_owned));
            let mut message = lines.join(end).into_bytes();
            message.extend_from_slice(end.as_bytes());
            if let Some((name, value)) = agent {
                message.extend_from_slice(format!("{name}: ").as_bytes());
                message.extend_from_slice(&value);
                message.extend_from_slice(end.as_bytes());
            }
            message.extend_from_slice(format!("Content-Length: {}{end}{end}", body.len()).as_bytes());
            message.extend_from_slice(&body);
            message
        },
    )
}

/// Long texts made of the beginnings, ends and parts of patterns, and of bytes that no pattern contains.
fn text() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"friendly-",
        b"scanner",
        b"Sip",
        b"vicious",
        b"cli",
        b"a",
        b"B",
        b"c",
        b"12",
        b"3",
        b"union",
        b" ",
        b".",
        b"\r\n\t",
        b"zzzzz",
        b"zzzzzzzzzzz",
        b"\xff",
    ];
    vec(select(PIECES), 0..16).prop_map(|pieces| pieces.concat())
}

const METHODS: &[&str] =
    &["INVITE", "INVITE", "INVITE", "OPTIONS", "REGISTER", "MESSAGE", "ACK", "BYE", "FOO", "invite"];

const AGENTS: &[&[u8]] = &[
    b"friendly-scanner",
    b"SIPcli/1.8",
    b"",
    b" abc  ",
    b"a\r\n\tc",
    b"x' union select",
    b"123",
    b"unions b",
    b"\xffA C",
    b"Friendly-\r\n scanner",
    b"\t\ta.c",
];

/// Claims A, B and C, a `div` PASSporT, and the compact form.
const IDENTITIES: &[&str] = &[
    "Identity: eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJBIiwiZGVzdCI6e30.sig;info=<https://a>",
    "Identity: eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJCIiwiZGVzdCI6e30.sig;info=<https://a>",
    "y: eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJDIiwiZGVzdCI6e30.sig;info=<https://a>",
    "Identity: eyJhbGciOiJFUzI1NiJ9.eyJkZXN0Ijp7InRuIjpbXX0.sig",
    "Identity: ..sig",
    "Identity: eyJhbGciOiJFUzI1NiJ9.eyJkZXN0Ijp7InRuIjpbXX0.sig;info=<https://a>;ppt=\"div\"",
    "Identity: eyJhbGciOiJFUzI1NiJ9.eyJkZXN0Ijp7InRuIjpbXX0.sig;ppt=rph",
];

fn name(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    select(names)
}

/// A header with a name-addr or addr-spec.
fn header(names: &'static [&'static str], parameters: &'static str) -> impl Strategy<Value = String> {
    let display = select(vec!["", "\"Alice\" ", "\"<sip:911@a>\" ", "Bob ", "\"a \\\" b\"", "\"1605562\"\r\n "]);
    (name(names), select(vec![": ", ":", ":\r\n  ", " : "]), display, uri(), prop::bool::weighted(0.8)).prop_map(
        move |(name, colon, display, uri, brackets)| {
            if brackets {
                format!("{name}{colon}{display}<{uri}>{parameters}")
            } else {
                format!("{name}{colon}{uri}{parameters}")
            }
        },
    )
}

fn uri() -> impl Strategy<Value = String> {
    let written =
        (number(), select(vec!["", "", "+", "011", "00"]), select(vec!["", "-", ".", "%2D", "%31"]), any::<bool>())
            .prop_map(|(digits, prefix, separator, parameters)| {
                let middle = digits.len() / 2;
                let tail = if parameters { ";npdi;rn=+12125550100" } else { "" };
                format!("{prefix}{}{separator}{}{tail}", &digits[..middle], &digits[middle..])
            });
    let user = prop_oneof![
        8 => written,
        2 => select(vec!["alice", "anonymous", "Unavailable", "a.c", "x'--", "%41bc", "+", "12ab", "12\u{1}", "1 2", "@12"])
            .prop_map(str::to_owned),
    ];
    (user, 0..16u8).prop_map(|(user, form)| match form {
        0 => format!("tel:{user}"),
        1 => format!("sips:{user}@example.com:5061;transport=tls"),
        2 => "sip:example.com".to_owned(),
        3 => format!("sip:{user}@anonymous.invalid"),
        4 => format!("mailto:{user}@example.com"),
        12 => format!("{user}@example.com"),
        13 => format!("tel:{user};phone-context=+1605"),
        14 => "urn:service:sos".to_owned(),
        5 => format!("SIP:{user}:password@[2001:db8::1]?header=value"),
        _ => format!("sip:{user}@example.com"),
    })
}
