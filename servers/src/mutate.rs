//! Mutations of messages: each changes one thing that parsers disagree about, and says what.

use filter_policy::testing::Random;

use crate::{
    address::Address,
    message::{Delivery, Edit, Line, Message, Value},
};

/// Bytes with a name.
type Variant = (&'static str, &'static [u8]);

/// What is put where a blank is expected.
const GAPS: [Variant; 13] = [
    ("two-spaces", b"  "),
    ("tab", b"\t"),
    ("fold", b"\r\n "),
    ("fold-tab", b"\r\n\t"),
    ("lf-fold", b"\n "),
    ("vt", b"\x0b"),
    ("ff", b"\x0c"),
    ("nul", b"\0"),
    ("nothing", b""),
    ("cr", b"\r"),
    ("nbsp", b"\xc2\xa0"),
    ("many-spaces", b"                                                                        "),
    ("lf", b"\n"),
];

const VERSIONS: [Variant; 27] = [
    ("suffix", b"SIP/2.0x"),
    ("SIP/2.00", b"SIP/2.00"),
    ("SIP/3.0", b"SIP/3.0"),
    ("SIP/1.0", b"SIP/1.0"),
    ("SIP/2.", b"SIP/2."),
    ("SIP/2", b"SIP/2"),
    ("SIP/02.0", b"SIP/02.0"),
    ("lower-case", b"sip/2.0"),
    ("mixed-case", b"Sip/2.0"),
    ("space-before-slash", b"SIP /2.0"),
    ("space-after-slash", b"SIP/ 2.0"),
    ("tab-before-slash", b"SIP\t/2.0"),
    ("fold-before-slash", b"SIP\r\n /2.0"),
    ("fold-after-slash", b"SIP/\r\n 2.0"),
    ("trailing-space", b"SIP/2.0 "),
    ("trailing-word", b"SIP/2.0 x"),
    ("trailing-nul", b"SIP/2.0\0"),
    ("trailing-cr", b"SIP/2.0\r"),
    ("trailing-param", b"SIP/2.0;x=1"),
    ("trailing-vt", b"SIP/2.0\x0b"),
    ("no-slash", b"SIP2.0"),
    ("sips", b"SIPS/2.0"),
    ("http", b"HTTP/1.1"),
    ("none", b""),
    ("two-slashes", b"SIP//2.0"),
    ("prefix", b"XSIP/2.0"),
    ("leading-nul", b"\0SIP/2.0"),
];

const METHODS: [Variant; 16] = [
    ("lower-case", b"invite"),
    ("mixed-case", b"Invite"),
    ("slash", b"INVITE/"),
    ("escape", b"INV%49TE"),
    ("leading-nul", b"\0INVITE"),
    ("trailing-nul", b"INVITE\0"),
    ("leading-space", b" INVITE"),
    ("leading-tab", b"\tINVITE"),
    ("leading-vt", b"\x0bINVITE"),
    ("trailing-control", b"INVITE\x01"),
    ("comma", b"INVITE,"),
    ("colon", b"INVITE:"),
    ("unknown", b"FOOBAR"),
    ("one-letter", b"I"),
    ("prefix", b"XINVITE"),
    ("high-byte", b"INVITE\xff"),
];

/// What comes in front of a message.
const LEADS: [Variant; 15] = [
    ("crlf", b"\r\n"),
    ("crlfcrlf", b"\r\n\r\n"),
    ("lf", b"\n"),
    ("cr", b"\r"),
    ("space", b" "),
    ("tab", b"\t"),
    ("nul", b"\0"),
    ("crlf-nul", b"\r\n\0"),
    ("crlf-space", b"\r\n "),
    ("many-crlf", b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"),
    ("byte-order-mark", b"\xef\xbb\xbf"),
    ("junk-line", b"X\r\n"),
    ("vt", b"\x0b"),
    ("junk-byte", b"@"),
    ("keep-alive-and-space", b"\r\n\r\n "),
];

/// How a line ends.
const ENDS: [Variant; 14] = [
    ("lf", b"\n"),
    ("cr", b"\r"),
    ("lfcr", b"\n\r"),
    ("crcrlf", b"\r\r\n"),
    ("crlfcr", b"\r\n\r"),
    ("space", b" \r\n"),
    ("tab", b"\t\r\n"),
    ("nul", b"\0\r\n"),
    ("empty-fold", b"\r\n \r\n"),
    ("vt", b"\x0b\r\n"),
    ("nel", b"\xc2\x85\r\n"),
    ("nul-alone", b"\0"),
    ("lf-space", b" \n"),
    ("ff", b"\x0c\r\n"),
];

const SCHEMES: [Variant; 23] = [
    ("upper-case", b"SIP:"),
    ("sips", b"sips:"),
    ("tel", b"tel:"),
    ("im", b"im:"),
    ("pres", b"pres:"),
    ("none", b""),
    ("colon-alone", b":"),
    ("space-after", b"sip: "),
    ("space-before-colon", b"sip :"),
    ("twice", b"sip:sip:"),
    ("slashes", b"sip://"),
    ("tel-slashes", b"tel://"),
    ("http", b"http://"),
    ("escape", b"s%69p:"),
    ("mailto", b"mailto:"),
    ("urn", b"urn:service:"),
    ("unknown", b"x-y.z+1:"),
    ("tab-after", b"sip:\t"),
    ("fold-after", b"sip:\r\n "),
    ("nul-after", b"sip:\0"),
    ("h323", b"h323:"),
    ("urn-tel", b"URN:tel:"),
    ("digit", b"1sip:"),
];

/// What is put into a user part.
const IN_USER: [Variant; 47] = [
    ("tab", b"\t"),
    ("space", b" "),
    ("nul", b"\0"),
    ("control", b"\x01"),
    ("vt", b"\x0b"),
    ("del", b"\x7f"),
    ("nbsp", b"\xc2\xa0"),
    ("high-byte", b"\xff"),
    ("cr", b"\r"),
    ("fold", b"\r\n "),
    ("lf-fold", b"\n\t"),
    ("escaped-space", b"%20"),
    ("escaped-nul", b"%00"),
    ("escaped-crlf", b"%0d%0a"),
    ("escaped-at", b"%40"),
    ("escaped-hash", b"%23"),
    ("escaped-semicolon", b"%3bx=1"),
    ("percent", b"%"),
    ("bad-escape", b"%zz"),
    ("cut-escape", b"%4"),
    ("parameter", b";x=1"),
    ("question-mark", b"?x"),
    ("slash", b"/"),
    ("hash", b"#"),
    ("password", b":pw"),
    ("colon", b":"),
    ("comma", b",1"),
    ("quote", b"\""),
    ("apostrophe", b"'"),
    ("open-angle", b"<"),
    ("close-angle", b">"),
    ("at", b"@"),
    ("backslash", b"\\"),
    ("tilde", b"~"),
    ("equals", b"="),
    ("ampersand", b"&"),
    ("dollar", b"$"),
    ("bracket", b"["),
    ("brace", b"{"),
    ("bar", b"|"),
    ("caret", b"^"),
    ("backtick", b"`"),
    ("hyphen", b"-"),
    ("dot", b"."),
    ("star", b"*"),
    ("parenthesis", b"("),
    ("plus", b"+"),
];

/// Whole user parts.
const USERS: [Variant; 10] = [
    ("anonymous", b"anonymous"),
    ("empty", b""),
    ("plus", b"+"),
    ("emergency", b"911"),
    ("two-zeros", b"0019005551234"),
    ("escaped", b"%2b1%39%30%305551234"),
    ("arabic-digits", b"\xd9\xa1\xd9\xa9\xd9\xa0"),
    ("long", b"+1900555123412345678901234567890123456789012345678901234567890"),
    ("visual", b"+1 (900) 555-1234"),
    ("extension", b"+19005551234x123"),
];

const ATS: [Variant; 11] = [
    ("twice", b"@@"),
    ("space-before", b" @"),
    ("space-after", b"@ "),
    ("escape", b"%40"),
    ("none", b""),
    ("fold-before", b"\r\n @"),
    ("fold-after", b"@\r\n "),
    ("nul-before", b"\0@"),
    ("good-user-before", b"@good@"),
    ("empty-password", b":@"),
    ("password-with-at", b":a@b@"),
];

const HOSTS: [Variant; 11] = [
    ("empty", b""),
    ("port", b"h:5060"),
    ("empty-port", b"h:"),
    ("large-port", b"h:99999"),
    ("bad-port", b"h:x"),
    ("dot", b"h."),
    ("percent", b"h%"),
    ("space", b"h h"),
    ("at", b"h@good"),
    ("underscore", b"a_b"),
    ("bad-ipv6", b"[::1"),
];

const BEFORE: [Variant; 12] = [
    ("nothing", b""),
    ("space-inside", b"< "),
    ("tab-inside", b"<\t"),
    ("twice", b"<<"),
    ("space-before", b" <"),
    ("quoted", b"\"<\"<"),
    ("other-uri", b"<sip:good@h> <"),
    ("fold-inside", b"<\r\n "),
    ("nul", b"\0<"),
    ("empty-pair", b"<><"),
    ("fold-before", b"\r\n <"),
    ("nul-inside", b"<\0"),
];

const AFTER: [Variant; 8] = [
    ("nothing", b""),
    ("twice", b">>"),
    ("space-inside", b" >"),
    ("fold-inside", b"\r\n >"),
    ("nul-inside", b"\0>"),
    ("space-after", b"> "),
    ("junk", b">x"),
    ("tab-inside", b"\t>"),
];

const DISPLAYS: [Variant; 37] = [
    ("quoted", b"\"a\" "),
    ("token", b"a "),
    ("no-space", b"a"),
    ("comma", b"a,b "),
    ("semicolon", b"a;b "),
    ("colon", b"a:b "),
    ("single-quotes", b"'a' "),
    ("escaped-quote", b"\"a\\\"\" "),
    ("escaped-backslash", b"\"a\\\\\" "),
    ("quoted-uri", b"\"<sip:good@h>\" "),
    ("quoted-uri-escaped", b"\"\\\"<sip:good@h>\" "),
    ("sip-uri", b"sip:x "),
    ("tel-uri", b"tel:+1 "),
    ("uri-with-user", b"sip:good@h "),
    ("fold-in-quotes", b"\"a\r\n b\" "),
    ("close-angle", b"a > "),
    ("comment", b"(a) "),
    ("open-quote", b"\"unclosed "),
    ("odd-quote", b"a\"b "),
    ("high-byte", b"\xe9 "),
    ("utf-8", b"\xe4\xb8\xad "),
    ("empty-quotes", b"\"\" "),
    ("nul", b"\0 "),
    ("nul-in-quotes", b"\"a\0b\" "),
    ("at", b"a@b "),
    ("two-strings", b"\"a\"\"b\" "),
    ("encoded-word", b"=?utf-8?q?a?= "),
    ("semicolon-alone", b"; "),
    ("comma-alone", b", "),
    ("uri-and-comma", b"sip:good@h, "),
    ("uri-pair-and-comma", b"<sip:good@h>, "),
    ("trailing-backslash", b"a\\ "),
    ("fold", b"a\r\n "),
    ("tab", b"a\t"),
    ("control", b"\"\x01\" "),
    ("bell", b"\x07 "),
    ("slash", b"a/b "),
];

const PARAMS: [Variant; 13] = [
    ("uri-in-tag", b";tag=<sip:good@h>"),
    ("quoted-uri-in-tag", b";tag=\"<sip:good@h>\""),
    ("no-value", b";x"),
    ("two-semicolons", b";;tag=1"),
    ("second-uri", b",<sip:good@h>"),
    ("second-uri-spaced", b" , <sip:good@h>;tag=2"),
    ("headers", b"?x=y"),
    ("two-tags", b";tag=1;tag=2"),
    ("space-before", b" ;tag=1"),
    ("open-quote", b";x=\"a"),
    ("fold", b"\r\n ;tag=1"),
    ("trailing-semicolon", b";tag=1;"),
    ("junk", b" junk"),
];

const URI_PARAMS: [Variant; 10] = [
    ("phone", b";user=phone"),
    ("close-angle", b";x=>"),
    ("open-angle", b";x=<"),
    ("context", b";phone-context=+1"),
    ("headers", b"?a=b"),
    ("at", b";x=@good"),
    ("number-portability", b";npdi;rn=+19995550000"),
    ("space", b"; x"),
    ("comma", b",x"),
    ("fold", b"\r\n ;x"),
];

const COLONS: [Variant; 25] = [
    ("space-before", b" :"),
    ("tab-before", b"\t:"),
    ("fold-before", b"\r\n :"),
    ("fold-tab-before", b"\r\n\t:"),
    ("lf-fold-before", b"\n :"),
    ("two-folds-before", b"\r\n \r\n :"),
    ("vt-before", b"\x0b:"),
    ("ff-before", b"\x0c:"),
    ("nul-before", b"\0:"),
    ("cr-before", b"\r:"),
    ("nbsp-before", b"\xc2\xa0:"),
    ("many-spaces-before", b"                                                                  :"),
    ("twice", b"::"),
    ("twice-spaced", b": :"),
    ("none", b""),
    ("equals", b"="),
    ("semicolon", b";"),
    ("fold-after", b":\r\n "),
    ("fold-tab-after", b":\r\n\t"),
    ("lf-fold-after", b":\n "),
    ("two-folds-after", b":\r\n \r\n "),
    ("cr-fold-after", b":\r "),
    ("nul-after", b":\0"),
    ("vt-after", b":\x0b"),
    ("space-fold-after", b": \r\n \t"),
];

/// Lines that are put before another header.
const JUNK_LINES: [Variant; 20] = [
    ("no-colon", b"junk\r\n"),
    ("no-name", b": value\r\n"),
    ("fold", b" folded\r\n"),
    ("name-alone", b"From\r\n"),
    ("nul", b"\0\r\n"),
    ("vt", b"\x0b\r\n"),
    ("empty-value", b"X:\r\n"),
    ("trailing-backslash", b"X: \\\r\n"),
    ("open-quote", b"X: \"unclosed\r\n"),
    ("cr", b"\r"),
    ("space", b" \r\n"),
    ("tab", b"\t\r\n"),
    ("folded-header", b"X: a\r\n From: <sip:good@h>\r\n"),
    ("lf-folded", b"X: a\n b\n"),
    ("bad-name", b"X Y: z\r\n"),
    ("high-byte", b"X\xff: z\r\n"),
    ("lf-blank", b"X: a\n"),
    ("open-angle", b"Subject: <\r\n"),
    ("cr-header", b"X: a\rFrom: <sip:good@h>;tag=1\r\n"),
    ("bad-contact", b"Contact: <<\r\n"),
];

const BLANKS: [Variant; 8] = [
    ("lf", b"\n"),
    ("none", b""),
    ("cr", b"\r"),
    ("lfcr", b"\n\r"),
    ("nul", b"\0\r\n"),
    ("space", b" \r\n"),
    ("crcrlf", b"\r\r\n"),
    ("tab-and-blank", b"\t\r\n\r\n"),
];

const COMMAS: [Variant; 10] = [
    ("no-space", b","),
    ("space-before", b" , "),
    ("twice", b",, "),
    ("fold", b",\r\n "),
    ("fold-before", b"\r\n , "),
    ("semicolon", b"; "),
    ("nul", b"\0, "),
    ("tab", b"\t,\t"),
    ("space-alone", b" "),
    ("none", b""),
];

const LENGTHS: [Variant; 9] = [
    ("zero", b"0"),
    ("larger", b"9999"),
    ("negative", b"-1"),
    ("word", b"abc"),
    ("empty", b""),
    ("plus", b"+0"),
    ("huge", b"99999999999999999999"),
    ("two-numbers", b"0 0"),
    ("one", b"1"),
];

/// Headers whose reading is compared.
const HEADERS: [&str; 7] = ["From", "To", "User-Agent", "P-Asserted-Identity", "Diversion", "Call-ID", "Via"];

/// Where a URI is read.
const URIS: [&str; 8] =
    ["Request-URI", "Request-URI", "From", "From", "To", "P-Asserted-Identity", "Diversion", "Contact"];

/// Applies one mutation. Returns what it did, or nothing if the message lacks what it would have changed.
pub(crate) fn apply(message: &mut Message, random: &mut Random) -> Option<String> {
    match random.below(35) {
        0 => start_gap(message, random),
        1 | 2 => version(message, random),
        3 => method(message, random),
        4 => named(random.pick(&LEADS), "lead", |bytes| message.lead = bytes),
        5 => named(random.pick(&ENDS), "start-end", |bytes| message.start.end = bytes),
        6..=8 => uri(message, random, "scheme", random_variant(&SCHEMES), |address, bytes| address.scheme = bytes),
        9..=12 => in_user(message, random),
        13 => uri(message, random, "user", random_variant(&USERS), |address, bytes| address.user = bytes),
        14 => uri(message, random, "at", random_variant(&ATS), |address, bytes| address.at = bytes),
        15 => uri(message, random, "host", random_variant(&HOSTS), |address, bytes| address.host = bytes),
        16 => {
            uri(message, random, "uri-params", random_variant(&URI_PARAMS), |address, bytes| address.uri_params = bytes)
        }
        17 => uri(message, random, "before-uri", random_variant(&BEFORE), |address, bytes| address.before = bytes),
        18 => uri(message, random, "after-uri", random_variant(&AFTER), |address, bytes| address.after = bytes),
        19..=21 => display(message, random),
        22 => uri(message, random, "params", random_variant(&PARAMS), |address, bytes| address.params = bytes),
        23 => header(message, random, "name", name_variant),
        24 | 25 => {
            header(message, random, "colon", |line, random| named(random.pick(&COLONS), "", |bytes| line.colon = bytes))
        }
        26 => header(message, random, "end", |line, random| named(random.pick(&ENDS), "", |bytes| line.end = bytes)),
        27 => header(message, random, "around-value", around_value),
        28 => duplicate(message, random),
        29 => order(message, random),
        30 => padding(message, random),
        31 => junk_line(message, random),
        32 => rest(message, random),
        33 => open_pair(message, random),
        _ => edit(message, random),
    }
}

fn random_variant(variants: &'static [Variant]) -> impl Fn(&mut Random) -> Variant {
    |random| random.pick(variants)
}

fn named((name, bytes): Variant, what: &str, change: impl FnOnce(Vec<u8>)) -> Option<String> {
    change(bytes.to_vec());
    Some(format!("{what}:{name}").trim_start_matches(':').to_owned())
}

fn start_gap(message: &mut Message, random: &mut Random) -> Option<String> {
    let gap = random.pick(&GAPS);
    if random.chance(50) {
        named(gap, "gap-1", |bytes| message.start.gap1 = bytes)
    } else {
        named(gap, "gap-2", |bytes| message.start.gap2 = bytes)
    }
}

fn version(message: &mut Message, random: &mut Random) -> Option<String> {
    let variant = random.pick(&VERSIONS);
    if message.start.first == b"SIP/2.0" {
        named(variant, "status-version", |bytes| message.start.first = bytes)
    } else {
        named(variant, "version", |bytes| message.start.third = bytes)
    }
}

fn method(message: &mut Message, random: &mut Random) -> Option<String> {
    if message.start.first == b"SIP/2.0" {
        let code =
            random.pick(&[("five-digits", &b"20000"[..]), ("negative", b"-200"), ("suffix", b"200x"), ("none", b"")]);
        return named(code, "status", |bytes| message.start.second.user = bytes);
    }
    named(random.pick(&METHODS), "method", |bytes| message.start.first = bytes)
}

/// An address of the message, and what it is called.
fn address<'a>(message: &'a mut Message, random: &mut Random) -> Option<(&'static str, &'a mut Address)> {
    let name = random.pick(&URIS);
    if name == "Request-URI" {
        return (!message.start.second.scheme.is_empty()).then_some((name, &mut message.start.second));
    }
    let position = message.position(name)?;
    match &mut message.lines[position].value {
        Value::Addresses(addresses) => Some((name, addresses.first_mut()?)),
        Value::Text(_) => None,
    }
}

fn uri(
    message: &mut Message,
    random: &mut Random,
    what: &str,
    variant: impl FnOnce(&mut Random) -> Variant,
    change: impl FnOnce(&mut Address, Vec<u8>),
) -> Option<String> {
    let (target, address) = address(message, random)?;
    named(variant(random), &format!("{what}:{target}"), |bytes| change(address, bytes))
}

fn in_user(message: &mut Message, random: &mut Random) -> Option<String> {
    let (target, address) = address(message, random)?;
    let (place, at) = match random.below(4) {
        0 => ("start", 0),
        1 => ("middle", address.user.len() / 2),
        _ => ("end", address.user.len()),
    };
    named(random.pick(&IN_USER), &format!("user-{place}:{target}"), |bytes| drop(address.user.splice(at..at, bytes)))
}

fn display(message: &mut Message, random: &mut Random) -> Option<String> {
    let (target, address) = address(message, random)?;
    if target == "Request-URI" {
        return None;
    }
    if random.chance(15) {
        let (name, unit, count): (_, &[u8], _) = random.pick(&[
            ("300-escapes", &b"\\\""[..], 300),
            ("300-spaces", b" ", 300),
            ("300-quotes", b"\"\" ", 300),
            ("7000-bytes", b"a", 7000),
            ("9000-bytes", b"a", 9000),
            ("300-folds", b"\r\n a", 300),
        ]);
        address.display = [b"\"", &unit.repeat(count)[..], b"\" "].concat();
        return Some(format!("display:{target}:{name}"));
    }
    named(random.pick(&DISPLAYS), &format!("display:{target}"), |bytes| address.display = bytes)
}

fn header(
    message: &mut Message,
    random: &mut Random,
    what: &str,
    change: impl FnOnce(&mut Line, &mut Random) -> Option<String>,
) -> Option<String> {
    let name = random.pick(&HEADERS);
    let position = message.position(name)?;
    let label = change(&mut message.lines[position], random)?;
    Some(format!("{what}:{name}:{label}"))
}

fn name_variant(line: &mut Line, random: &mut Random) -> Option<String> {
    let name = line.name.clone();
    let with = |before: &[u8], after: &[u8]| [before, &name, after].concat();
    let (label, new) = match random.below(17) {
        0 => ("lower-case", name.to_ascii_lowercase()),
        1 => ("upper-case", name.to_ascii_uppercase()),
        2 => ("leading-space", with(b" ", b"")),
        3 => ("leading-tab", with(b"\t", b"")),
        4 => ("leading-nul", with(b"\0", b"")),
        5 => ("leading-vt", with(b"\x0b", b"")),
        6 => ("leading-cr", with(b"\r", b"")),
        7 => ("trailing-nul", with(b"", b"\0")),
        8 => ("trailing-nbsp", with(b"", b"\xc2\xa0")),
        9 => ("trailing-underscore", with(b"", b"_")),
        10 => ("quoted", with(b"\"", b"\"")),
        11 => ("cut", name[..name.len() - 1].to_vec()),
        12 => ("doubled", with(&name, b"")),
        13 => ("leading-blank-line", with(b"\r\n", b"")),
        14 => ("underscores", name.iter().map(|&byte| if byte == b'-' { b'_' } else { byte }).collect()),
        15 => ("leading-high-byte", with(b"\xff", b"")),
        _ => {
            let short: &[u8] = match name.as_slice() {
                b"From" => b"f",
                b"To" => b"t",
                b"Via" => b"v",
                b"Call-ID" => b"i",
                _ => return None,
            };
            ("compact", short.to_vec())
        }
    };
    line.name = new;
    Some(label.to_owned())
}

fn around_value(line: &mut Line, random: &mut Random) -> Option<String> {
    let gap = random.pick(&GAPS);
    match random.below(4) {
        0 => named(gap, "trail", |bytes| line.trail = bytes),
        1 => named(random.pick(&COMMAS), "comma", |bytes| line.comma = bytes),
        2 => {
            line.lead = b" \r\n".repeat(300);
            Some("300-folds".to_owned())
        }
        _ => named(gap, "lead", |bytes| line.lead = bytes),
    }
}

fn duplicate(message: &mut Message, random: &mut Random) -> Option<String> {
    let name = random.pick(&HEADERS);
    let position = message.position(name);
    if random.chance(15) {
        message.lines.remove(position?);
        return Some(format!("without:{name}"));
    }
    let copy = match name {
        "From" | "To" | "P-Asserted-Identity" | "Diversion" => {
            Line::address(name, Address::bracketed("good", "h", ";tag=2"))
        }
        "User-Agent" => Line::text(name, "good"),
        "Via" => Line::text(name, "SIP/2.0/UDP h;branch=z9hG4bKgood"),
        _ => Line::text(name, "good@h"),
    };
    let (label, at) = match random.below(3) {
        0 => ("before", position?),
        1 => ("after", position? + 1),
        _ => ("last", message.lines.len()),
    };
    message.lines.insert(at, copy);
    Some(format!("second-{label}:{name}"))
}

fn order(message: &mut Message, random: &mut Random) -> Option<String> {
    let name = random.pick(&HEADERS);
    let line = message.lines.remove(message.position(name)?);
    if random.chance(50) {
        message.lines.insert(0, line);
        Some(format!("first:{name}"))
    } else {
        message.lines.push(line);
        Some(format!("last:{name}"))
    }
}

fn padding(message: &mut Message, random: &mut Random) -> Option<String> {
    let (label, count, line): (_, usize, Vec<u8>) = match random.below(9) {
        0 => ("80-lines", 80, b"X: y\r\n".to_vec()),
        1 => ("300-lines", 300, b"X: y\r\n".to_vec()),
        2 => ("8000-bytes", 1, [b"X: ", &b"y".repeat(8000)[..], b"\r\n"].concat()),
        3 => ("17000-bytes", 1, [b"X: ", &b"y".repeat(17_000)[..], b"\r\n"].concat()),
        4 => ("300-folds", 1, [b"X: y", &b"\r\n y".repeat(300)[..], b"\r\n"].concat()),
        5 => ("300-commas", 1, [b"X: y", &b",y".repeat(300)[..], b"\r\n"].concat()),
        6 => ("300-quotes", 1, [b"X: ", &b"\"\" ".repeat(300)[..], b"\r\n"].concat()),
        7 => ("60-vias", 60, b"Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\n".to_vec()),
        _ => ("300-colons", 1, [b"X: ", &b": ".repeat(300)[..], b"\r\n"].concat()),
    };
    let at = random.below(message.lines.len() + 1);
    message.lines.insert(at, Line { end: Vec::new(), ..Line::raw(&line.repeat(count)) });
    Some(format!("padding:{label}"))
}

fn junk_line(message: &mut Message, random: &mut Random) -> Option<String> {
    let (label, bytes) = random.pick(&JUNK_LINES);
    let at = random.below(message.lines.len() + 1);
    message.lines.insert(at, Line { end: Vec::new(), ..Line::raw(bytes) });
    Some(format!("{}:{label}", if at == 0 { "junk-first" } else { "junk-line" }))
}

fn rest(message: &mut Message, random: &mut Random) -> Option<String> {
    match random.below(6) {
        0 => named(random.pick(&BLANKS), "blank", |bytes| message.blank = bytes),
        1 => {
            let position = message.lines.iter().position(|line| line.name.eq_ignore_ascii_case(b"Content-Length"))?;
            named(random.pick(&LENGTHS), "content-length", |bytes| message.lines[position].value = Value::Text(bytes))
        }
        2 => {
            message.body.extend_from_slice(
                b"BYE sip:second@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK2\r\nFrom: <sip:second@h>;tag=1\r\nTo: \
                  <sip:second@h>\r\nCall-ID: 2@h\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n",
            );
            Some("second-message".to_owned())
        }
        3 => {
            message.delivery = Delivery::Segment;
            Some("tcp".to_owned())
        }
        _ => {
            message.delivery = Delivery::Segments(1 + random.below(998));
            Some("tcp-segments".to_owned())
        }
    }
}

/// Pairs of bytes whose second half some server looks for beyond the line.
const PAIRS: [(&str, u8, u8); 4] =
    [("bracket", b'[', b']'), ("comment", b'(', b')'), ("angle", b'<', b'>'), ("quote", b'"', b'"')];

/// Opens a pair in a header or in the Request-URI, and closes it in a later line or in the body, where other headers follow.
fn open_pair(message: &mut Message, random: &mut Random) -> Option<String> {
    let (name, open, close) = random.pick(&PAIRS);
    let place =
        random.pick(&["Via", "Via", "Record-Route", "Route", "Contact", "From", "Request-URI", "Content-Type", "CSeq"]);
    let value_before: &[u8] = random.pick(&[&b";x="[..], b" ", b";x", b""]);
    let opening = [value_before, &[open]].concat();
    let extra: &[u8] = match place {
        "Record-Route" => b"<sip:h;lr>",
        "Route" => b"<sip:h;lr>",
        "Content-Type" => b"application/sdp",
        _ => b"",
    };
    if place == "Request-URI" {
        message.start.second.host.extend_from_slice(&opening);
    } else if extra.is_empty() {
        let position = message.position(place)?;
        message.lines[position].trail = opening;
    } else {
        let at = random.below(message.lines.len() + 1);
        let mut line = Line::text(place, "");
        line.value = Value::Text(extra.to_vec());
        line.trail = opening;
        message.lines.insert(at, line);
    }
    let others = b"\r\nFrom: <sip:good@h>;tag=2\r\nTo: <sip:good@h>\r\nCall-ID: good@h\r\nUser-Agent: good\r\n";
    if random.chance(35) {
        let at = random.below(message.lines.len() + 1);
        let bytes = [b"X: ", &[close][..], &others[..]].concat();
        message.lines.insert(at, Line { end: Vec::new(), ..Line::raw(&bytes) });
        return Some(format!("open-{name}:{place}:closed-in-a-line"));
    }
    let rest = b"\r\nv=0\r\n";
    message.body = [&[close][..], &others[..], &rest[..]].concat();
    // Of the whole body, or of what a server that reads headers in it has left.
    let length = if random.chance(50) { message.body.len() } else { rest.len() - 2 };
    let position = message.lines.iter().position(|line| line.name.eq_ignore_ascii_case(b"Content-Length"));
    if let Some(position) = position {
        message.lines[position].value = Value::Text(length.to_string().into());
    }
    Some(format!("open-{name}:{place}:closed-in-the-body"))
}

fn edit(message: &mut Message, random: &mut Random) -> Option<String> {
    let (class, byte) = match random.below(4) {
        0 => ("control", random.pick(&[0, 1, 8, 9, 10, 11, 12, 13, 0x1b, 0x7f])),
        1 => ("punctuation", random.pick(b" \"'(),./:;<=>?@[\\]%#&")),
        2 => ("letter", random.pick(b"aZ09")),
        _ => ("high", random.pick(&[0x80, 0xa0, 0xc2, 0xff])),
    };
    // Headers, not the body.
    let place = random.below(900_000);
    let (label, edit) = match random.below(3) {
        0 => (format!("edit-insert:{class}"), Edit::Insert(vec![byte])),
        1 => ("edit-remove".to_owned(), Edit::Remove(1 + random.below(3))),
        _ => (format!("edit-replace:{class}"), Edit::Replace(byte)),
    };
    message.edits.push((place, edit));
    Some(label)
}
