//! Random payloads: messages that are nearly well-formed, and payloads that are not messages.

use filter_core::limits::INSPECTED_LENGTH;

use super::{
    Random,
    sip::{field, name_addr, several},
    start_line::start_line,
    stock::VALUES,
};

/// Bytes with a meaning to some reader.
const SPECIAL: &[u8] = b"\0\t\n\r  \"\"<>>,,;;::@@%%\\=+(-./09AaZz\x01\x0b\x0f\x1f\x7f\x80\xff";

/// A payload, in pieces.
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
        2 => vec![(0..random.below(90)).map(|_| random.next_u64() as u8).collect()],
        3 => vec![(0..random.below(90)).map(|_| random.pick(SPECIAL)).collect()],
        4 => {
            // A segment that ends soon.
            let mut start = message(random).concat();
            start.truncate(if random.chance(50) { random.below(12) } else { random.below(80) });
            vec![start]
        }
        5 => {
            // Something else before a message, or a second message after it.
            let mut pieces: Vec<_> = (0..=random.below(3)).map(|_| random.pick(BEFORE).to_vec()).collect();
            if random.chance(30) {
                pieces = message(random);
            }
            pieces.extend(message(random));
            if random.chance(20) {
                mutate(random, &mut pieces);
            }
            pieces
        }
        _ => {
            let mut pieces = message(random);
            if random.chance(30) {
                mutate(random, &mut pieces);
            }
            pieces
        }
    }
}

/// What servers skip before a message, in datagrams or in streams.
const BEFORE: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"RTSP/1.0 200 OK\r\n\r\n",
    b"a=sendrecv\r\n",
    b"junk\n",
    b"INVITE\n",
    b"OPTIONS sip:a/b@c\r\n",
    b"INVITE SIP/2.0 SI\r\n",
    b"BYE x y/SIP z\r\n",
    b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl",
    b"Via: SIP/2.0/UDP 192.0.2.1\r\n",
    b"\r\n",
];

/// Changes a few bytes or pieces.
fn mutate(random: &mut Random, pieces: &mut Vec<Vec<u8>>) {
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

pub(super) fn text(parts: &[&str]) -> Vec<u8> {
    parts.concat().into_bytes()
}

/// A message: start line, header fields, blank line and body, each a piece.
pub fn message(random: &mut Random) -> Vec<Vec<u8>> {
    let end = if random.chance(85) { "\r\n" } else { random.pick(&["\n", "\n", "\n", "\r", "\r\r\n"]) };
    let mut pieces = Vec::new();
    if random.chance(3) {
        pieces.push(text(&[random.pick(&["\r\n", "\r\n\r\n", " ", "\t", "\n \n", "\r\n\0"])]));
    }
    let method = if random.chance(88) { random.pick(METHODS) } else { "" };
    pieces.push(text(&[&start_line(random, method, end), end]));
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
    let mut to = name_addr(random, false);
    if random.chance(30) {
        to += random.pick(TAGS);
    }
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
    for (percent, names) in ADDRESSES {
        let mut percent = *percent;
        loop {
            let value = several(random);
            common(random, percent, names, value);
            // Every further line is rarer, and sometimes there are more than are kept.
            percent /= 2;
            if percent == 0 {
                break;
            }
        }
    }
    if random.chance(2) {
        for _ in 0..15 + random.below(25) {
            let names = random.pick(ADDRESSES).1;
            let value = several(random);
            common(random, 97, names, value);
        }
    }
    for percent in [25, 8, 3] {
        let value = random.pick(IDENTITIES).to_owned() + random.pick(PASSPORTS);
        common(random, percent, &["Identity", "y"], value);
    }
    for percent in [15, 5] {
        let value = random.pick(PRIVACY).to_owned();
        common(random, percent, &["Privacy"], value);
    }
    common(random, 20, &["Content-Type", "c"], "application/sdp".to_owned());
    for percent in [30, 15, 8] {
        let value = agent(random);
        let names = random.pick(NAMED);
        common(random, percent, names, value);
    }
    // A duplicate field, which servers read differently.
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
    while random.chance(15) {
        fields.push(text(&[random.pick(STRANGE), end]));
    }
    for index in (1..fields.len()).rev() {
        if random.chance(30) {
            let other = random.below(index);
            fields.swap(index, other);
        }
    }
    if random.chance(1) {
        // Many lines, or more bytes than are inspected.
        let lines = match random.below(3) {
            0 => vec![text(&["k: x", end]); 240 + random.below(300)],
            1 => vec![text(&["X: x", &"\r\n x".repeat(200 + random.below(300)), end])],
            _ => vec![text(&["X: ", &"x".repeat(INSPECTED_LENGTH - 1200 + random.below(1300)), end])],
        };
        let at = random.below(fields.len() + 1);
        fields.splice(at..at, lines);
    }
    pieces.extend(fields);
    if random.chance(97) {
        let blank = if random.chance(94) { end } else { random.pick(&["\n", " \r\n", "\r\r\n", "\r", "\r\n"]) };
        pieces.push(text(&[blank]));
        pieces.push(body);
    }
    pieces
}

/// The fields of which every value counts, and how often they are there.
const ADDRESSES: &[(usize, &[&str])] = &[
    (35, &["P-Asserted-Identity"]),
    (15, &["P-Preferred-Identity"]),
    (15, &["Remote-Party-ID"]),
    (20, &["Diversion"]),
    (20, &["History-Info"]),
    (15, &["Route"]),
];

/// The ends of To.
const TAGS: &[&str] =
    &[";tag=1", " ; tag = x", ";TAG=\"a\"", ";tag=", ";tag", ";x=y;tag=;tag=1", ";xtag=1", "\r\n ;tag=1", ";tag=,"];

const PRIVACY: &[&str] = &[
    "id",
    "none",
    "header;id",
    "ID ; user",
    "user;critical",
    "id,header",
    "identity",
    "",
    "critical",
    "history , session",
    "\r\n id x;\tuser",
    ";;id",
];

/// Headers that are read if the policy names them, and one whose name is longer than theirs.
const NAMED: &[&[&str]] = &[
    &["X-Foo"],
    &["X"],
    &["Supported", "k"],
    &["Identity-Info", "n"],
    &["From-X"],
    &["X-A-Name-Of-Forty-Characters-No-More--xx"],
    &["X-A-Name-Of-Forty-Characters-No-More--xxx"],
];

/// Header lines that look like other ones.
const STRANGE: &[&str] = &[
    "nonsense",
    "X-Foo: bar",
    "k: timer",
    "From-X: <sip:911@x>",
    "Fromm: <sip:911@x>",
    "To\u{1}: <sip:911@x>",
    "Bad\u{1}Name: x",
    "Two words: x",
    " x-foo: x",
    "\tK: x",
    "X-Foo\r\n : x",
    "X-Foo",
    "x\u{1}: x",
    "X : y",
    ": y",
    "From",
    "From ",
    "f\t",
    "Contact-X\t: y",
    "Identity-Info: <https://x>",
    "Max-Forwards: 70",
    "  continued",
    "  To: <sip:911@x>",
    "\tf: x",
    "From\r\n x",
    "X\r\n : y",
    "t\n\t",
    "P-Preferred-Identity",
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
    "PRACK",
    "PRACKS",
    "INV/ITE",
    "INVITE/",
    "xSIP",
    "\u{1}",
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

/// The ends of Identity.
const PASSPORTS: &[&str] = &[
    "",
    "",
    ";ppt=shaken",
    ";ppt=shaken",
    ";alg=ES256;ppt=\"shaken\"",
    " ; ppt = Shaken ",
    ";ppt=div",
    ";PPT=\"div\";ppt=shaken",
    ";ppt=rph",
    ";ppt=msgi",
    ";ppt=",
    ";ppt",
    ";xppt=div",
    "\r\n ;ppt\r\n =div,x",
];

fn agent(random: &mut Random) -> String {
    if random.chance(70) {
        String::from_utf8_lossy(random.pick(&VALUES)).into_owned()
    } else {
        random
            .pick(&[
                " a ",
                "abc  ",
                "Friendly-\r\n scanner",
                "\t\ta.c",
                "x123",
                "sipcli\t",
                " \u{1}a.c",
                "\r\n \u{b}abc",
            ])
            .to_string()
    }
}

fn body(random: &mut Random, method: &str) -> Vec<u8> {
    let mut body: Vec<u8> = match random.below(8) {
        0..3 => Vec::new(),
        3 | 4 => b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=abc \r\nt=0 0\r\n".to_vec(),
        5 => b"v=0\ns=\nm=audio".to_vec(),
        _ => random.pick(&VALUES).to_vec(),
    };
    if method.eq_ignore_ascii_case("MESSAGE") && random.chance(20) {
        body.extend(vec![b'x'; random.below(700)]);
        body.extend(b"friendly-scanner");
    }
    if random.chance(15) {
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
