//! Random header lines, URIs and user parts.

use super::{Random, payload::text, stock::NUMBERS};

/// A header line, using the freedom that RFC 3261 section 7.3.1 gives, and a little more.
pub(super) fn field(random: &mut Random, names: &[&str], value: &str, end: &str) -> Vec<u8> {
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
    let colon = if random.chance(94) {
        ": "
    } else {
        random.pick(&[
            ":",
            " : ",
            "\t:\t",
            ":\r\n ",
            ":\n\t",
            "  :",
            ": \r\n  \t",
            "\r\n : ",
            " \r\n:",
            "\n\t:",
            " \r\n \r\n\t : ",
            "\r :",
            "\r\n x: ",
        ])
    };
    let mut value = value.to_owned();
    if random.chance(5) {
        let fold = random.pick(&["\r\n ", "\n\t", "\r\n\t\t", "\r ", "\r\n  \r\n ", "\r\n f: ", "\n To:x"]);
        let places: Vec<usize> = value.match_indices([' ', ';', '<', ',']).map(|place| place.0).collect();
        if !places.is_empty() {
            value.insert_str(random.pick(&places), fold);
        }
    }
    text(&[&name, colon, &value, if random.chance(95) { "" } else { " \t" }, end])
}

/// One or more values, separated by commas.
pub(super) fn several(random: &mut Random) -> String {
    let mut values = name_addr(random, false);
    let more = if random.chance(1) { 95 } else { 30 };
    while random.chance(more) {
        values += random.pick(&[",", ", ", " ,\r\n ", ",,", ",\t"]);
        values += &name_addr(random, false);
    }
    values
}

/// A name-addr or addr-spec. Most follow the grammar, or no message with many of them would.
pub fn name_addr(random: &mut Random, tag: bool) -> String {
    if random.chance(15) {
        return odd_name_addr(random, tag);
    }
    const DISPLAYS: &[&str] =
        &["", "", "\"Alice\" ", "Bob ", "\"<sip:911@a>\" ", "\"a \\\" <sip:112@b>, x\" ", "\"abc\"\r\n "];
    let parameters = if tag {
        random.pick(&[";tag=1", ";tag=1", " ;tag=1;x=\"<sip:911@y>\"", ""])
    } else {
        random.pick(&[
            "",
            "",
            ";reason=unconditional",
            ";index=1.1",
            ";party=called",
            ";screen=yes; party = \"Called\"",
            ";party=calling",
        ])
    };
    let uri = plain_uri(random);
    if random.chance(85) {
        format!("{}<{uri}>{parameters}", random.pick(DISPLAYS))
    } else {
        format!("{uri}{parameters}")
    }
}

fn odd_name_addr(random: &mut Random, tag: bool) -> String {
    const DISPLAYS: &[&str] = &[
        "\"<sip:911@a>\" ",
        "\"sip:16055621111@x, y\"",
        "Bob ",
        "\"a \\\" <sip:112@b>\" ",
        "\"\" ",
        "\"abc\"\r\n ",
        "a \"b\" c",
        "sip:911@x ",
        "tel:+16055620000 ",
        "im:911@x ",
        "\"unclosed ",
        "\\\"x ",
        "friendly-scanner",
        "it's ",
        "'a<b' ",
        "a@b ",
        "a:b \"c\" ",
        "a;b ",
        "a>b ",
        "a, ",
        "<> ",
        "\"a\" <><",
    ];
    const CLOSINGS: &[&str] =
        &["", " >", ">>", ">x", "> x", "> <sip:911@x>", ">\r\n ", ">,<sip:911@x>", "\r\n >", "\0>"];
    let display = match random.below(20) {
        0..8 => "\"Alice\" ".repeat(random.below(2)),
        8 if random.chance(20) => {
            format!("\"{}\" ", random.pick(&["\\a", "\\\"", "\\\\"]).repeat(250 + random.below(40)))
        }
        9 if random.chance(20) => "\"a\"".repeat(120 + random.below(40)),
        _ => random.pick(DISPLAYS).to_owned(),
    };
    let parameters = if tag {
        random.pick(&[";tag=1", ";tag=a@b", " ;tag=1;x=\"<sip:911@y>\"", ""])
    } else {
        random.pick(&[
            "",
            "",
            ";reason=unconditional",
            ";index=1.1",
            "?x=y",
            ";party=called",
            ";screen=yes; party = \"Called\"",
            ";party=calling",
            ";party=calledx",
        ])
    };
    let uri = if random.chance(50) { odd_uri(random) } else { plain_uri(random) };
    if random.chance(80) {
        let close = if random.chance(93) { ">" } else { random.pick(CLOSINGS) };
        let open = if random.chance(95) { "<" } else { random.pick(&["< ", "<<", "<\t", "< <", "<> <", "<\r\n "]) };
        format!("{display}{open}{uri}{close}{parameters}")
    } else {
        let display = if random.chance(85) { "" } else { &display };
        let parameters =
            if random.chance(90) { parameters } else { random.pick(&[" x", " ;tag=1", " <", "\r\n ,x", ">"]) };
        format!("{display}{uri}{parameters}")
    }
}

pub(super) fn uri(random: &mut Random) -> String {
    if random.chance(20) { odd_uri(random) } else { plain_uri(random) }
}

fn plain_uri(random: &mut Random) -> String {
    let user = plain_user(random);
    match random.below(16) {
        0 | 1 => format!("tel:{user}{}", random.pick(&["", ";phone-context=+1605", ";verstat=TN-Validation-Passed"])),
        2 => format!("sips:{user}@example.com:5061;transport=tls"),
        3 => "sip:example.com".to_owned(),
        4 => format!("sip:{user}@anonymous.invalid"),
        5 => format!("im:{user}@example.com"),
        6 => format!("{user}@example.com"),
        7 => format!("sip:{user}@host;user=phone;verstat={}", random.pick(VERSTATS)),
        8 => random.pick(&["urn:service:sos", "urn:service:sos.police", "urn:service:sos.x"]).to_owned(),
        9 => format!("SIP:{user}:password;x@[2001:db8::1]?header=value"),
        10 => "sip:".to_owned() + random.pick(&["anonymous@h", "alice@h", "Unavailable@h", "a.c@h", "%41nonymous@h"]),
        _ => format!("sip:{user}@example.com"),
    }
}

fn odd_uri(random: &mut Random) -> String {
    let mut user = user(random);
    if random.chance(6) {
        user.insert_str(
            0,
            random.pick(&["@", ":", ";", ">", " ", "//", "sip:", "sips: ", "\t", "\u{1}", "\r\n ", "1>", "@:"]),
        );
    }
    match random.below(36) {
        0 | 1 => format!(
            "tel:{user}{}",
            random.pick(&[
                "",
                ";phone-context=+1",
                ";phone-context=+1-605",
                ";verstat=TN-Validation-Passed",
                "?x",
                ",x",
                "#x",
                "/x",
                ":x",
                "@h",
                " ",
                " ;x",
                ";x= y",
            ])
        ),
        2 => format!("sips:{user}@example.com:5061;transport=tls"),
        3 => "sip:example.com".to_owned(),
        4 => format!("sip:{user}@anonymous.invalid"),
        5 => format!("mailto:{user}@example.com"),
        6 => format!("SIP:{user}:password;x@[2001:db8::1]?header=value"),
        7 => format!("sip:{user}@a@b"),
        8 => format!(
            "{}:{user}@host",
            random.pick(&["sIp", "SIPS", "TEL", "sipx", "urn", "s ip", "sip ", "%73ip", "im", ""])
        ),
        9 => format!("sip:{user}@host;user=phone;verstat={}", random.pick(VERSTATS)),
        10 => "sip:@host".to_owned(),
        11 => "sip:".to_owned(),
        12 => format!("sip:{user}"),
        13 | 14 => format!("{user}@example.com"),
        15 => user,
        16 => {
            format!("{}:{user}@host;x", random.pick(&["im", "pres", "tels", "http://", "sip://", "URL:sip", "tel:tel"]))
        }
        17 | 18 => random.pick(URNS).to_owned(),
        19 => format!("sip:{user}@host{}", random.pick(&[" ", "\r\n ", " x", ";x=\u{1}", ";a@b", ">", "> ", ",x"])),
        20 => format!("sip:{user}@host;phone-context={}", random.pick(CONTEXTS)),
        21 => format!("sip:{user};phone-context={}@host", random.pick(CONTEXTS)),
        22 => format!("tel:{user};phone-context={}", random.pick(CONTEXTS)),
        _ => format!("sip:{user}@example.com"),
    }
}

const URNS: &[&str] = &[
    "urn:service:sos",
    "urn:service:sos",
    "URN:Service:SOS.Police",
    "urn:service:sos.fire;x=y",
    "urn:service:sos.animal-control",
    "urn:service:sos.other",
    "urn:service:sosx",
    "urn:service:counseling?x",
    "urn: service:sos",
    "urn :service:sos@h",
    "urn:service:sos x",
    "urn:%00",
    "urn:anonymous",
    "urn:911",
];

const CONTEXTS: &[&str] = &[
    "+1",
    "+1605",
    "+44(20)",
    "+4-9",
    "example.com",
    "1605",
    "+",
    "+123456789012345",
    "x;phone-context=+1",
    "+1x",
    "+1 ",
];

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
        "Private",
        "%41nonymous",
        "WITHHELD;x=y",
        "b%6cocked",
        "restricted ",
    ];
    if random.chance(15) {
        return random.pick(OTHERS).to_string();
    }
    let mut number = dialled(random);
    if random.chance(10) {
        let at = random.below(number.len() + 1);
        number.insert_str(
            at,
            random.pick(&[
                "\u{1}", "\0", " ", "\t", "\u{b}", "\u{1f}", "\r\n ", "\n\t", "%00", "%09", "%1f", "%0", "%zz", ">",
            ]),
        );
    }
    if random.chance(15) {
        number += random.pick(&[
            ";npdi;rn=+12125550100",
            ";otg=x",
            ";phone-context=+1",
            ";verstat=TN-Validation-Passed",
            ":secret",
            ":sec ret",
            ";a\u{1}b",
            ";a%0",
            ";a:b",
            ";",
        ]);
        if random.chance(30) {
            number += &format!(";verstat={}", random.pick(VERSTATS));
        }
    }
    number
}

/// A number as people and systems write it: with technical prefixes, separators, and what may be mistaken for them.
pub fn dialled(random: &mut Random) -> String {
    const SEPARATORS: &[&str] =
        &["-", ".", "(", ")", "%2D", "%31", "%2b", "%20", "+", "%", "x", "%3", "(0)", "%280)", "(0", "#", "*", ","];
    let mut number = digits(random);
    if random.chance(10) {
        number.insert_str(
            0,
            random
                .pick(&["1111#", "1111%23", "#", "*", "*9", "9", "9,", "88", "11", "+00", "*+", "9+", "2+", "1111#+"]),
        );
    }
    if random.chance(20) {
        // Often after the country code.
        let places = if random.chance(50) { 4 } else { number.len() };
        let at = random.below(number.len().min(places) + 1);
        number.insert_str(at, random.pick(SEPARATORS));
    }
    number
}

/// A number, maybe with separators and parameters.
fn plain_user(random: &mut Random) -> String {
    let mut number = digits(random);
    if random.chance(15) {
        let at = random.below(number.len() + 1);
        number.insert_str(at, random.pick(&["-", ".", "(", ")", "%2D", "%31", "%2b", "%20", "+", "x"]));
    }
    if random.chance(10) {
        number +=
            random.pick(&[";npdi;rn=+12125550100", ";otg=x", ";phone-context=+1", ";verstat=TN-Validation-Passed"]);
    }
    number
}

/// A number's digits, as people dial it: with a plus, with a prefix, without the country code.
fn digits(random: &mut Random) -> String {
    let stock = random.pick(&NUMBERS);
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
    match random.below(8) {
        0..3 => format!("+{digits}"),
        3 => format!("011{digits}"),
        4 => format!("00{digits}"),
        5 => format!("0{}", digits.get(2..).unwrap_or("1")),
        6 => digits.get(1..).unwrap_or("1").to_owned(),
        _ => digits,
    }
}
