//! Random packets of the evasive kind: messages that are nearly right, in frames that are nearly right.
//!
//! A packet is kept in parts, so that a failing one can be made smaller part by part.

use std::net::IpAddr;

use super::{generate, random::Random};

/// A packet in parts.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Ethertypes of VLAN tags.
    pub tags: Vec<u16>,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// 32-bit words of IPv4 options.
    pub options: usize,
    /// IPv6 extension headers: protocol, and length in units of eight bytes behind the first.
    pub extensions: Vec<(u8, u8)>,
    /// Identification, offset in units of eight bytes, more fragments.
    pub fragment: Option<(u16, u16, bool)>,
    /// TCP flags; none for UDP.
    pub tcp: Option<u8>,
    pub source_port: u16,
    pub port: u16,
    /// What is added to the lengths that the headers claim: IP, then UDP or the TCP data offset.
    pub lies: (i32, i32),
    /// The payload, piece by piece.
    pub pieces: Vec<Vec<u8>>,
    /// Bytes behind the IP datagram.
    pub padding: usize,
    /// Bytes that are left of the frame.
    pub cut: Option<usize>,
    /// Bytes of the frame that are replaced.
    pub flips: Vec<(usize, u8)>,
}

impl Packet {
    /// The frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for tag in &self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 7]);
        }
        let transport = self.transport();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = 20 + 4 * self.options;
                frame.extend([0x08, 0x00, 0x40 | (header / 4) as u8, 0]);
                frame.extend(((header + transport.len()) as i32 + self.lies.0).to_be_bytes()[2..].to_vec());
                let (id, offset, more) = self.fragment.unwrap_or_default();
                frame.extend(id.to_be_bytes());
                frame.extend((offset | if more { 0x2000 } else { 0 }).to_be_bytes());
                frame.extend([64, self.protocol(), 0, 0]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                // No-operation options.
                frame.extend(vec![1; 4 * self.options]);
            }
            (source, destination) => {
                let octets = |address| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                let mut headers: Vec<(u8, Vec<u8>)> = self
                    .extensions
                    .iter()
                    .map(|&(protocol, length)| {
                        let bytes =
                            if protocol == 51 { (usize::from(length) + 2) * 4 } else { (usize::from(length) + 1) * 8 };
                        let mut header = vec![0; bytes];
                        header[1] = length;
                        (protocol, header)
                    })
                    .collect();
                if let Some((id, offset, more)) = self.fragment {
                    let place = offset << 3 | u16::from(more);
                    let mut header = vec![0, 0];
                    header.extend(place.to_be_bytes());
                    header.extend(u32::from(id).to_be_bytes());
                    headers.push((44, header));
                }
                let mut next = self.protocol();
                for (protocol, header) in headers.iter_mut().rev() {
                    header[0] = next;
                    next = *protocol;
                }
                let length = headers.iter().map(|header| header.1.len()).sum::<usize>() + transport.len();
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend((length as i32 + self.lies.0).to_be_bytes()[2..].to_vec());
                frame.extend([next, 64]);
                frame.extend(octets(source));
                frame.extend(octets(destination));
                headers.iter().for_each(|header| frame.extend(&header.1));
            }
        }
        frame.extend(transport);
        frame.extend(vec![0; self.padding]);
        for &(at, byte) in &self.flips {
            let at = at % frame.len();
            frame[at] = byte;
        }
        frame.truncate(self.cut.unwrap_or(usize::MAX));
        frame
    }

    fn protocol(&self) -> u8 {
        if self.tcp.is_some() { 6 } else { 17 }
    }

    fn transport(&self) -> Vec<u8> {
        let payload = self.pieces.concat();
        let mut bytes = [self.source_port.to_be_bytes(), self.port.to_be_bytes()].concat();
        match self.tcp {
            None => {
                bytes.extend((8 + payload.len() as i32 + self.lies.1).to_be_bytes()[2..].to_vec());
                bytes.extend([0, 0]);
            }
            Some(flags) => {
                let words = (5 + self.lies.1).clamp(0, 15) as u8;
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
            }
        }
        bytes.extend(payload);
        bytes
    }
}

/// Any packet for policies of `generate::policy`; `flow` tells connections apart.
pub fn packet(random: &mut Random, flow: u64) -> Packet {
    let source = address(random);
    let mut destination = address(random);
    if source.is_ipv4() != destination.is_ipv4() {
        destination = source;
    }
    let tcp = random.chance(20).then(|| random.pick(&[0x18, 0x18, 0x18, 0x10, 0x02]));
    let port = match random.below(20) {
        0 => 5059,
        1..4 => 5080,
        4..6 => 5061,
        _ => 5060,
    };
    let mut packet = Packet {
        tags: match random.below(20) {
            0 => vec![0x8100],
            1 => vec![0x88a8, 0x8100],
            2 if random.chance(30) => vec![0x8100, 0x9100, 0x8100],
            _ => Vec::new(),
        },
        source,
        destination,
        options: if random.chance(5) { random.below(11) } else { 0 },
        extensions: Vec::new(),
        fragment: None,
        tcp,
        // Connections that are continued are few: a dropped one hides everything behind it.
        source_port: if random.chance(10) { 40_000 + random.below(4) as u16 } else { 1024 + (flow % 64_000) as u16 },
        port,
        lies: (0, 0),
        pieces: payload(random),
        padding: if random.chance(5) { random.below(50) } else { 0 },
        cut: None,
        flips: Vec::new(),
    };
    if source.is_ipv6() && random.chance(15) {
        packet.extensions =
            (0..random.below(10)).map(|_| (random.pick(&[0, 43, 60, 51, 135]), random.below(3) as u8)).collect();
    }
    if random.chance(6) {
        let more = random.chance(60);
        packet.fragment = Some((random.below(4) as u16, if random.chance(50) { 0 } else { 64 }, more));
    }
    if random.chance(3) {
        packet.lies.0 = random.below(60) as i32 - 40;
    }
    if random.chance(3) {
        packet.lies.1 = random.below(60) as i32 - 40;
    }
    if random.chance(3) {
        packet.cut = Some(14 + random.below(packet.frame().len()));
    }
    if random.chance(4) {
        for _ in 0..=random.below(3) {
            packet.flips.push((12 + random.below(60), random.next() as u8));
        }
    }
    packet
}

fn address(random: &mut Random) -> IpAddr {
    let address: IpAddr = random.pick(&generate::ADDRESSES).parse().expect("an address");
    let further = random.pick(&[0u32, 0, 1, 2, 0xff, 0x1_0000]);
    match address {
        IpAddr::V4(address) => IpAddr::V4(u32::from(address).wrapping_add(further).into()),
        IpAddr::V6(address) => IpAddr::V6(u128::from(address).wrapping_add(u128::from(further)).into()),
    }
}

/// Bytes that mean something to somebody.
const SPECIAL: &[u8] = b"\0\t\n\r  \"\"<>>,,;;::@@%%\\=+(-./09AaZz\x01\x0b\x0f\x1f\x7f\x80\xff";

/// A payload in pieces.
pub fn payload(random: &mut Random) -> Vec<Vec<u8>> {
    const OTHERS: &[&[u8]] = &[
        b"",
        b"\r\n\r\n",
        b"\n",
        b"\0\0\0\0",
        b"  \r\n",
        b"INVITE",
        b"INVITE sip:a@b SIP/2.0",
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl",
        b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijk",
        b"\r\n\x00\x01\x21\x12\xa4\x42abcdefghijkl",
    ];
    match random.below(40) {
        0 | 1 => vec![random.pick(OTHERS).to_vec()],
        2 => vec![(0..random.below(90)).map(|_| random.next() as u8).collect()],
        3 => vec![(0..random.below(90)).map(|_| random.pick(SPECIAL)).collect()],
        _ => {
            let mut pieces = message(random);
            if random.chance(30) {
                mutate(random, &mut pieces);
            }
            pieces
        }
    }
}

/// Changes some bytes.
pub fn mutate(random: &mut Random, pieces: &mut Vec<Vec<u8>>) {
    for _ in 0..=random.below(3) {
        let index = random.below(pieces.len());
        let piece = &mut pieces[index];
        let at = random.below(piece.len());
        match random.below(7) {
            0 | 1 if at < piece.len() => piece[at] = random.pick(SPECIAL),
            2 | 3 => piece.insert(at, random.pick(SPECIAL)),
            4 if at < piece.len() => {
                piece.remove(at);
            }
            5 => {
                let other = random.below(pieces.len());
                pieces.swap(index, other);
            }
            _ => {
                let copy = piece.clone();
                pieces.insert(index, copy);
            }
        }
    }
    if random.chance(10) {
        let keep = random.below(pieces.len()) + 1;
        pieces.truncate(keep);
        let last = &mut pieces[keep - 1];
        let length = random.below(last.len() + 1);
        last.truncate(length);
    }
}

fn text(parts: &[&str]) -> Vec<u8> {
    parts.concat().into_bytes()
}

/// A message: start line, header fields, blank line, body; a piece each.
pub fn message(random: &mut Random) -> Vec<Vec<u8>> {
    let end = if random.chance(85) { "\r\n" } else { "\n" };
    let mut pieces = Vec::new();
    if random.chance(3) {
        pieces.push(text(&[random.pick(&["\r\n", "\r\n\r\n", " ", "\t", "\n \n"])]));
    }
    let mut method = random.pick(METHODS);
    pieces.push(if random.chance(88) {
        let uri = uri(random);
        let space = if random.chance(95) { " " } else { random.pick(&["  ", "\t", " x "]) };
        let version = if random.chance(95) {
            "SIP/2.0"
        } else {
            random.pick(&["sip/2.0", "SIP/3.0", "SIP/2.0 ", "SIP/2", "SIP/2.0 SIP/2.0", ""])
        };
        let uri = if random.chance(98) { uri } else { format!("<{uri}>") };
        text(&[method, space, &uri, " ", version, end])
    } else {
        method = "";
        text(&[
            random.pick(&[
                "SIP/2.0 200 OK",
                "SIP/2.0 403 Forbidden",
                "SIP/2.0 1800 x",
                "SIP/2.0  200",
                "sip/3.0 100 Trying",
                "SIP/2.0 abc",
                "SIP/2.0",
            ]),
            end,
        ])
    });
    let body = body(random, method);
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let mut common = |random: &mut Random, percent: usize, names: &[&str], value: String| {
        if random.chance(percent) {
            let line = field(random, names, &value, end);
            fields.push(line);
        }
    };
    let from = name_addr(random, true);
    common(random, 96, &["From", "f"], from);
    let to = name_addr(random, false);
    common(random, 96, &["To", "t"], to);
    let value = format!("{}@host", random.below(3));
    common(random, 97, &["Call-ID", "i"], value);
    common(random, 97, &["CSeq"], format!("1 {method}"));
    common(random, 97, &["Via", "v"], "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1".to_owned());
    common(random, 10, &["Via", "v"], "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2".to_owned());
    let value = agent(random);
    common(random, 60, &["User-Agent"], value);
    let value = agent(random);
    common(random, 20, &["Server"], value);
    let value = agent(random);
    common(random, 15, &["Subject", "s"], value);
    let value = several(random);
    common(random, 20, &["Contact", "m"], value);
    let value = several(random);
    common(random, 35, &["P-Asserted-Identity"], value);
    let value = several(random);
    common(random, 8, &["P-Asserted-Identity"], value);
    let value = name_addr(random, true);
    common(random, 12, &["Remote-Party-ID"], value);
    let value = several(random);
    common(random, 18, &["Diversion"], value);
    let value = several(random);
    common(random, 18, &["History-Info"], value);
    let value = several(random);
    common(random, 8, &["History-Info"], value);
    let value = several(random);
    common(random, 5, &["History-Info"], value);
    let value = random.pick(IDENTITIES).to_string();
    common(random, 25, &["Identity", "y"], value);
    let value = random.pick(IDENTITIES).to_string();
    common(random, 8, &["Identity", "y"], value);
    let value = random
        .pick(&["id", "none", "header;id", "ID ; user", "user;critical", "id,header", "identity", ""])
        .to_string();
    common(random, 12, &["Privacy"], value);
    common(random, 20, &["Content-Type", "c"], "application/sdp".to_owned());
    // Once more, which servers read differently.
    let again = name_addr(random, false);
    let names: &[&str] =
        random.pick(&[&["From", "f"][..], &["To", "t"], &["User-Agent"], &["Call-ID", "i"], &["Content-Length", "l"]]);
    common(random, 6, names, again);
    if random.chance(70) {
        let length = body.len();
        let length = match random.below(12) {
            0 => length + 1 + random.below(100),
            1 => length.saturating_sub(1 + random.below(100)),
            2 => random.pick(&[0, 4_000_000_000, 99_999_999_999]),
            _ => length,
        };
        let value = if random.chance(96) {
            length.to_string()
        } else {
            random.pick(&["", "1x", "1 2", "-1", "\t0"]).to_string()
        };
        fields.push(field(random, &["Content-Length", "l"], &value, end));
    }
    while random.chance(25) {
        fields.push(text(&[random.pick(STRANGE), end]));
    }
    for index in (1..fields.len()).rev() {
        if random.chance(30) {
            let other = random.below(index);
            fields.swap(index, other);
        }
    }
    if random.chance(1) {
        // More lines, or more bytes, than are looked at.
        let lines = if random.chance(50) {
            vec![text(&["k: x", end]); 240 + random.below(30)]
        } else {
            vec![text(&["X: ", &"x".repeat(7000 + random.below(1300)), end])]
        };
        let at = random.below(fields.len() + 1);
        fields.splice(at..at, lines);
    }
    pieces.extend(fields);
    if random.chance(97) {
        pieces.push(text(&[if random.chance(97) { end } else { random.pick(&["\n", " \r\n", "\r\r\n"]) }]));
        pieces.push(body);
    }
    pieces
}

/// Header lines that look like something else.
const STRANGE: &[&str] = &[
    "nonsense",
    "X-Foo: bar",
    "k: timer",
    "From-X: <sip:911@x>",
    "Fromm: <sip:911@x>",
    "To\u{1}: <sip:911@x>",
    "Bad\u{1}Name: x",
    "Two words: x",
    "X : y",
    ": y",
    "From",
    "From ",
    "f\t",
    "Contact-X\t: y",
    "Identity-Info: <https://x>",
    "Max-Forwards: 70",
    "  continued",
];

const METHODS: &[&str] = &[
    "INVITE",
    "INVITE",
    "INVITE",
    "OPTIONS",
    "REGISTER",
    "MESSAGE",
    "MESSAGE",
    "ACK",
    "BYE",
    "SUBSCRIBE",
    "FOO",
    "invite",
    "Message",
    "PRACKS",
];

const IDENTITIES: &[&str] = &[
    "eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJBIiwiZGVzdCI6e30.sig;info=<https://a>",
    "eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJCIiwiZGVzdCI6e30.sig;info=<https://a>",
    "eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJDIiwiZGVzdCI6e30.sig;info=<https://a>",
    "eyJhbGciOiJFUzI1NiJ9.eyJhdHRlc3QiOiJEIiwiZGVzdCI6e30.sig;info=<https://a>",
    "eyJhbGciOiJFUzI1NiJ9.eyJkZXN0Ijp7InRuIjpbXX0.sig",
    "x.eyJhdHRlc3QiOiJB",
    "x.eyJhdHRlc3QiOiJBI",
    "..sig",
    "",
];

fn agent(random: &mut Random) -> String {
    if random.chance(70) {
        String::from_utf8_lossy(random.pick(&generate::VALUES)).into_owned()
    } else {
        random.pick(&[" a ", "abc  ", "Friendly-\r\n scanner", "\t\ta.c", "x123", "sipcli\t"]).to_string()
    }
}

fn body(random: &mut Random, method: &str) -> Vec<u8> {
    let mut body: Vec<u8> = match random.below(8) {
        0..3 => Vec::new(),
        3 | 4 => b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=abc \r\nt=0 0\r\n".to_vec(),
        5 => b"v=0\ns=\nm=audio".to_vec(),
        _ => random.pick(&generate::VALUES).to_vec(),
    };
    if method.eq_ignore_ascii_case("MESSAGE") && random.chance(20) {
        body.extend(vec![b'x'; random.below(700)]);
        body.extend(b"friendly-scanner");
    }
    if random.chance(8) {
        body.extend(random.pick(&[
            &b"\r\n\r\n"[..],
            b"INVITE sip:911@x SIP/2.0\r\nFrom: x\r\n\r\n",
            b"\r\nSIP/2.0 200 OK\r\n\r\n",
            b"ACK sip:a SIP/2.0\n",
            b"garbage\r\n",
        ]));
    }
    body
}

/// A header line, written with the freedom of RFC 3261 section 7.3.1, and a little more.
fn field(random: &mut Random, names: &[&str], value: &str, end: &str) -> Vec<u8> {
    let name: String = match random.below(6) {
        0 => random.pick(names).to_uppercase(),
        1 => random.pick(names).to_lowercase(),
        2 => random
            .pick(names)
            .chars()
            .map(|letter| if random.chance(50) { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() })
            .collect(),
        3 => random.pick(names).to_string(),
        _ => names[0].to_owned(),
    };
    let colon = if random.chance(75) {
        ": "
    } else {
        random.pick(&[":", " : ", "\t:\t", ":\r\n ", ":\n\t", "  :", ": \r\n  \t", "\r\n : ", " \r\n:"])
    };
    let mut value = value.to_owned();
    if random.chance(8) {
        let fold = random.pick(&["\r\n ", "\n\t", "\r\n\t\t"]);
        let places: Vec<usize> = value.match_indices([' ', ';', '<', ',']).map(|place| place.0).collect();
        if !places.is_empty() {
            value.insert_str(random.pick(&places), fold);
        }
    }
    text(&[&name, colon, &value, if random.chance(95) { "" } else { " \t" }, end])
}

/// Values with commas between them, some in quotes.
fn several(random: &mut Random) -> String {
    let mut values = name_addr(random, false);
    while random.chance(30) {
        values += random.pick(&[",", ", ", " ,\r\n ", ",,"]);
        values += &name_addr(random, false);
    }
    values
}

/// A name-addr or addr-spec.
pub fn name_addr(random: &mut Random, tag: bool) -> String {
    const DISPLAYS: &[&str] = &[
        "",
        "",
        "\"Alice\" ",
        "\"<sip:911@a>\" ",
        "\"sip:16055621111@x, y\"",
        "Bob ",
        "\"a \\\" <sip:112@b>\" ",
        "\"\" ",
        "\"abc\"\r\n ",
        "a \"b\" c",
        "sip:911@x ",
        "tel:+16055620000 ",
        "\"unclosed ",
        "\\\"x ",
        "friendly-scanner",
    ];
    let parameters = if tag {
        random.pick(&[";tag=1", ";tag=a@b", " ;tag=1;x=\"<sip:911@y>\"", ""])
    } else {
        random.pick(&["", ";reason=unconditional", ";index=1.1", "?x=y"])
    };
    let uri = uri(random);
    if random.chance(80) {
        let close = if random.chance(97) { ">" } else { random.pick(&["", " >", ">>"]) };
        let open = if random.chance(96) { "<" } else { random.pick(&["< ", "<<", "<\t"]) };
        format!("{}{open}{uri}{close}{parameters}", random.pick(DISPLAYS))
    } else if random.chance(85) {
        format!("{uri}{parameters}")
    } else {
        format!("{}{uri}{parameters}", random.pick(DISPLAYS))
    }
}

fn uri(random: &mut Random) -> String {
    let user = user(random);
    match random.below(24) {
        0 | 1 => format!(
            "tel:{user}{}",
            random.pick(&["", ";phone-context=+1", ";verstat=TN-Validation-Passed", "?x", ",x"])
        ),
        2 => format!("sips:{user}@example.com:5061;transport=tls"),
        3 => "sip:example.com".to_owned(),
        4 => format!("sip:{user}@anonymous.invalid"),
        5 => format!("mailto:{user}@example.com"),
        6 => format!("SIP:{user}:password;x@[2001:db8::1]?header=value"),
        7 => format!("sip:{user}@a@b"),
        8 => format!("{}:{user}@host", random.pick(&["sIp", "SIPS", "TEL", "sipx", "urn", "s ip"])),
        9 => format!("sip:{user}@host;user=phone;verstat={}", random.pick(VERSTATS)),
        10 => "sip:@host".to_owned(),
        11 => "sip:".to_owned(),
        12 => format!("sip:{user}"),
        _ => format!("sip:{user}@example.com"),
    }
}

const VERSTATS: &[&str] = &[
    "TN-Validation-Passed",
    "TN-Validation-Passed-A",
    "tn-validation-failed",
    "No-TN-Validation",
    "TN-Valid",
    "TN-Validation-",
    "other",
    "",
];

/// A user part, mostly a number.
pub fn user(random: &mut Random) -> String {
    const OTHERS: &[&str] = &[
        "alice",
        "anonymous",
        "Anonymous",
        "a.c",
        "x'--",
        "%41bc",
        "+",
        "12ab",
        "",
        "%3",
        "%zz1",
        "..",
        "1+2",
        "unavailable",
    ];
    if random.chance(15) {
        return random.pick(OTHERS).to_string();
    }
    let stock = random.pick(&generate::NUMBERS);
    let mut digits = stock[..1 + random.below(stock.len())].to_owned();
    if random.chance(60) {
        digits = stock.to_string();
    }
    while random.chance(30) {
        digits.push(char::from(b'0' + random.below(10) as u8));
    }
    if random.chance(3) {
        digits = digits.repeat(1 + random.below(4));
    }
    if random.chance(1) {
        digits = "9".repeat(240 + random.below(30));
    }
    // As it may be dialled: with a plus, with prefixes, without the country code.
    let mut number = match random.below(8) {
        0..3 => format!("+{digits}"),
        3 => format!("011{digits}"),
        4 => format!("00{digits}"),
        5 => format!("0{}", digits.get(2..).unwrap_or("1")),
        6 => digits.get(1..).unwrap_or("1").to_owned(),
        _ => digits,
    };
    if random.chance(20) {
        let at = random.below(number.len() + 1);
        number.insert_str(at, random.pick(&["-", ".", "(", ")", "%2D", "%31", "%2b", "%20", "+", "%", "x", "%3"]));
    }
    if random.chance(15) {
        number += random.pick(&[
            ";npdi;rn=+12125550100",
            ";otg=x",
            ";phone-context=+1",
            ";verstat=TN-Validation-Passed",
            ":secret",
            ";a:b",
            ";",
        ]);
        if random.chance(30) {
            number += &format!(";verstat={}", random.pick(VERSTATS));
        }
    }
    number
}
