//! The stocks that generators draw from.

use filter_core::{
    layout::{Attestation, Method, NumberFormat, Text, Transport, Verstat},
    limits::NAMED_HEADERS,
};
use filter_policy::language::stage::Stage;
use filter_policy::model::{Comparison, Identity};

/// The signalling ports of every generated policy.
pub const PORTS: [(u16, Transport); 4] =
    [(5060, Transport::Udp), (5060, Transport::Tcp), (5061, Transport::Tls), (5080, Transport::Udp)];

pub const ADDRESSES: [&str; 14] = [
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.2",
    "10.0.128.0",
    "10.0.255.255",
    "10.1.0.0",
    "192.0.2.1",
    "255.255.255.255",
    "2001:db8::",
    "2001:db8::1",
    "2001:db8:0:1::",
    "2001:db8::ffff:ffff",
    "fe80::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

pub const NUMBERS: [&str; 16] = [
    "911",
    "112",
    "1",
    "12",
    "1605562",
    "16055620000",
    "16055621111",
    "12015550100",
    "442071838750",
    "44",
    "20123456789",
    "123456789012345678",
    "8121234567",
    "77771234567",
    "4402071838750",
    "35301234567",
];

pub const PATTERNS: [&str; 9] =
    ["friendly-scanner", "sip(vicious|cli)", "^$", "^a", "b$", "[0-9]{3}", r"\bunion\b", "a.c", " "];

pub const VALUES: [&[u8]; 10] = [
    b"friendly-scanner",
    b"SIPcli/1.8",
    b"",
    b"abc",
    b"a\r\n\tc",
    b"x' union select",
    b"123",
    b"\t ab \r\n ",
    b"unions b",
    b"\xff\x00A C",
];

pub(super) const COUNTRIES: [&str; 3] = ["US", "GB", "EG"];
pub(super) const REGIONS: [&str; 3] = ["US-SD", "US-NJ", "CA-MB"];
pub(super) const SPIDS: [&str; 3] = ["0123", "9999", "ABCD"];
pub(super) const STAGES: [Stage; 3] = [Stage::Blacklist, Stage::Shield, Stage::Fraud];

pub(super) const METHODS: [Method; 5] =
    [Method::Response, Method::Other, Method::Invite, Method::Options, Method::Register];
pub(super) const FORMATS: [NumberFormat; 4] =
    [NumberFormat::Missing, NumberFormat::Anonymous, NumberFormat::TooShort, NumberFormat::Valid];
pub(super) const ATTESTATIONS: [Attestation; 5] =
    [Attestation::None, Attestation::A, Attestation::B, Attestation::C, Attestation::Unknown];
pub(super) const VERSTATS: [Verstat; 3] = [Verstat::None, Verstat::TnValidationPassed, Verstat::TnValidationFailed];
/// Headers that every generated policy names: most have no place of their own.
pub(super) const HEADER_NAMES: [&str; NAMED_HEADERS] = [
    "x-foo",
    "x",
    "supported",
    "diversion",
    "identity-info",
    "from-x",
    "x-a-name-of-forty-characters-no-more--xx",
    "from",
];

pub const TEXT_SCOPES: [Text; 3] = [Text::UserAgent, Text::FromUser, Text::Body];
pub(super) const COMPARISONS: [Comparison; 5] =
    [Comparison::AtLeast, Comparison::AtMost, Comparison::Equal, Comparison::Less, Comparison::More];
pub(super) const IDENTITIES: [Identity; 7] = [
    Identity::Asserted,
    Identity::Called,
    Identity::Calling,
    Identity::Forwarded,
    Identity::From,
    Identity::Preferred,
    Identity::To,
];
