//! A SIP message in parts that mutations change one by one, and the messages that generation starts from.

use filter_policy::testing::Random;

use crate::address::Address;

/// How a message reaches the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// In a UDP datagram.
    #[default]
    Datagram,
    /// In one TCP segment.
    Segment,
    /// In two TCP segments; so many thousandths of the message are in the first one.
    Segments(usize),
}

/// The first line, in the three parts of a request line or a status line and what separates them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StartLine {
    pub first: Vec<u8>,
    pub gap1: Vec<u8>,
    /// The Request-URI; of a response the status code is its user part.
    pub second: Address,
    pub gap2: Vec<u8>,
    pub third: Vec<u8>,
    pub end: Vec<u8>,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Vec<u8>),
    Addresses(Vec<Address>),
}

/// A header line, in the parts that mutations change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub name: Vec<u8>,
    pub colon: Vec<u8>,
    pub lead: Vec<u8>,
    pub value: Value,
    /// Between the addresses of a list.
    pub comma: Vec<u8>,
    pub trail: Vec<u8>,
    pub end: Vec<u8>,
}

/// A message in its parts, so that mutations can change each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub lead: Vec<u8>,
    pub start: StartLine,
    pub lines: Vec<Line>,
    pub blank: Vec<u8>,
    pub body: Vec<u8>,
    pub delivery: Delivery,
    /// Changes to the rendered bytes: a place in millionths, and what happens there.
    pub edits: Vec<(usize, Edit)>,
}

/// A change of the rendered bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Insert(Vec<u8>),
    Remove(usize),
    Replace(u8),
}

impl Line {
    pub(crate) fn text(name: &str, value: &str) -> Self {
        Self::new(name.into(), Value::Text(value.into()))
    }

    pub(crate) fn address(name: &str, address: Address) -> Self {
        Self::new(name.into(), Value::Addresses(vec![address]))
    }

    /// A line of these bytes alone.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        let mut line = Self::new(bytes.to_vec(), Value::Text(Vec::new()));
        line.colon.clear();
        line.lead.clear();
        line
    }

    fn new(name: Vec<u8>, value: Value) -> Self {
        Self {
            name,
            colon: b":".to_vec(),
            lead: b" ".to_vec(),
            value,
            comma: b", ".to_vec(),
            trail: Vec::new(),
            end: b"\r\n".to_vec(),
        }
    }

    /// Whether this is the header of that name, in its long or its compact form.
    pub(crate) fn is(&self, name: &str) -> bool {
        let compact = match name {
            "From" => "f",
            "To" => "t",
            "Via" => "v",
            "Call-ID" => "i",
            _ => return self.name.eq_ignore_ascii_case(name.as_bytes()),
        };
        self.name.eq_ignore_ascii_case(name.as_bytes()) || self.name.eq_ignore_ascii_case(compact.as_bytes())
    }

    fn render(&self, out: &mut Vec<u8>) {
        for part in [&self.name, &self.colon, &self.lead] {
            out.extend_from_slice(part);
        }
        match &self.value {
            Value::Text(text) => out.extend_from_slice(text),
            Value::Addresses(addresses) => {
                let rendered: Vec<_> = addresses.iter().map(Address::render).collect();
                out.extend_from_slice(&rendered.join(self.comma.as_slice()));
            }
        }
        out.extend_from_slice(&self.trail);
        out.extend_from_slice(&self.end);
    }
}

impl Message {
    /// The message as it is sent, with its edits made.
    pub(crate) fn render(&self) -> Vec<u8> {
        let mut out = self.lead.clone();
        let StartLine { first, gap1, second, gap2, third, end } = &self.start;
        for part in [first, gap1, &second.render(), gap2, third, end] {
            out.extend_from_slice(part);
        }
        for line in &self.lines {
            line.render(&mut out);
        }
        out.extend_from_slice(&self.blank);
        out.extend_from_slice(&self.body);
        for (place, edit) in &self.edits {
            let at = (out.len() * place / 1_000_000).min(out.len().saturating_sub(1));
            match edit {
                Edit::Insert(bytes) => drop(out.splice(at..at, bytes.iter().copied())),
                Edit::Remove(count) => drop(out.drain(at..(at + count).min(out.len()))),
                Edit::Replace(byte) => {
                    if let Some(old) = out.get_mut(at) {
                        *old = *byte;
                    }
                }
            }
        }
        out
    }

    /// Where in [`Self::lines`] the first header of this name is.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.lines.iter().position(|line| line.is(name))
    }
}

/// User agents: phones, servers, and what scanners call themselves.
const AGENTS: [&str; 8] = [
    "friendly-scanner",
    "Yealink SIP-T54W 96.86.0.45",
    "Asterisk PBX 18.20.0",
    "FreeSWITCH-mod_sofia/1.10.11-release~64bit",
    "pplsip",
    "Grandstream HT801 1.0.35.4",
    "kamailio (5.6.3 (x86_64/linux))",
    "VaxSIPUserAgent/3.1",
];

const HOSTS: [&str; 6] =
    ["198.51.100.9", "203.0.113.7:5080", "sip.example.com", "sbc1.carrier.example.net", "[2001:db8::9]", "192.0.2.44"];

/// A number as callers write it.
fn number(random: &mut Random) -> String {
    let digits: String = (0..7).map(|_| char::from(b'0' + random.below(10) as u8)).collect();
    let area = random.pick(&["202", "312", "900", "605", "416"]);
    match random.below(8) {
        0 => format!("1{area}{digits}"),
        1 => format!("{area}{digits}"),
        2 => format!("011442{digits}00"),
        3 => random.pick(&["911", "1001", "+4930123456", "*98", "00491515550100"]).to_owned(),
        4 => format!("+1-{area}-{}-{}", &digits[..3], &digits[3..]),
        _ => format!("+1{area}{digits}"),
    }
}

/// A message as real software sends it.
pub(crate) fn base(random: &mut Random) -> Message {
    let (calling, called) = (number(random), number(random));
    let (here, there) = (random.pick(&HOSTS), random.pick(&HOSTS));
    let method = random.pick(&[
        "INVITE",
        "INVITE",
        "INVITE",
        "OPTIONS",
        "REGISTER",
        "MESSAGE",
        "ACK",
        "BYE",
        "SUBSCRIBE",
        "REFER",
    ]);
    let serial = random.below(1_000_000);
    let mut message = Message {
        start: StartLine {
            first: method.into(),
            gap1: b" ".to_vec(),
            second: Address::uri(&called, there),
            gap2: b" ".to_vec(),
            third: b"SIP/2.0".to_vec(),
            end: b"\r\n".to_vec(),
        },
        blank: b"\r\n".to_vec(),
        ..Message::default()
    };
    let is_response = random.chance(8);
    if is_response {
        let (code, reason) =
            random.pick(&[("200", "OK"), ("180", "Ringing"), ("407", "Proxy Authentication Required")]);
        message.start.first = b"SIP/2.0".to_vec();
        message.start.second = Address { user: code.into(), ..Address::default() };
        message.start.third = reason.into();
    } else if random.chance(15) {
        message.start.second = Address::tel(&called, "");
        message.start.second.before.clear();
        message.start.second.after.clear();
        if random.chance(30) {
            message.start.second.uri_params = b";phone-context=+1".to_vec();
        }
    } else if random.chance(20) {
        message.start.second.uri_params = random.pick(&[";user=phone", ";transport=udp", ";npdi"]).into();
    }

    let mut from = match random.below(6) {
        0 => Address::uri(&calling, here),
        1 => Address::tel(&calling, ""),
        _ => Address::bracketed(&calling, here, ""),
    };
    from.display = random.pick(&["", "", "\"Alice\" ", "Bob ", "\"Smith, J.\" ", "\"a \\\" <sip:1@h>\" "]).into();
    if from.before.is_empty() {
        from.display.clear();
    }
    from.params = format!(";tag=as{serial:x}").into();
    let mut to = Address::bracketed(&called, there, "");
    if random.chance(25) {
        to.params = b";tag=to1".to_vec();
    }
    let transport = random.pick(&["UDP", "TCP"]);
    let compact = random.chance(15);
    let name = |long: &'static str, short: &'static str| if compact { short } else { long };
    let lines = &mut message.lines;
    lines.push(Line::text(
        name("Via", "v"),
        &format!("SIP/2.0/{transport} {};branch=z9hG4bK{serial:x}", here.trim_end_matches(":5080")),
    ));
    lines.push(Line::address(name("From", "f"), from));
    lines.push(Line::address(name("To", "t"), to));
    lines.push(Line::text(
        name("Call-ID", "i"),
        &format!("{serial:x}-{}@{}", random.below(9999), here.trim_matches(['[', ']'])),
    ));
    let cseq = if is_response { "INVITE" } else { method };
    lines.push(Line::text("CSeq", &format!("{} {cseq}", 1 + random.below(200))));
    lines.push(Line::text("Max-Forwards", "70"));
    if random.chance(75) {
        lines.push(Line::address(name("Contact", "m"), Address::bracketed(&calling, here, "")));
    }
    if random.chance(85) {
        lines.push(Line::text("User-Agent", random.pick(&AGENTS)));
    }
    if random.chance(35) {
        let asserted = number(random);
        let mut line =
            Line::address("P-Asserted-Identity", Address::bracketed(&asserted, here, "").named("\"Alice\" "));
        if let (true, Value::Addresses(addresses)) = (random.chance(30), &mut line.value) {
            addresses.push(Address::tel(&asserted, ""));
        }
        lines.push(line);
    }
    if random.chance(25) {
        let forwarding = number(random);
        lines.push(Line::address("Diversion", Address::bracketed(&forwarding, here, ";reason=unconditional")));
    }
    if random.chance(20) {
        lines.push(Line::text("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS"));
        lines.push(Line::text("Supported", "replaces, timer"));
    }
    // Real messages do not agree about the order.
    for _ in 0..random.below(4) {
        let (a, b) = (random.below(message.lines.len()), random.below(message.lines.len()));
        message.lines.swap(a, b);
    }
    if method == "INVITE" && random.chance(70) {
        message.body =
            b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=call\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
                .to_vec();
        message.lines.push(Line::text(name("Content-Type", "c"), "application/sdp"));
    }
    let length = message.body.len().to_string();
    message.lines.push(Line::text(name("Content-Length", "l"), &length));
    message
}
