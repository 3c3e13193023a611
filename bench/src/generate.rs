//! Lists and packets. Every run generates the same ones.

use std::{
    collections::HashSet,
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use filter_policy::testing;

/// The generator of the lists. It draws a number below a bound by multiplication, as it always has: the measured lists stay
/// the same.
#[derive(Clone)]
pub(crate) struct Random(testing::Random);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(testing::Random(seed))
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.word()) * bound as u128) >> 64) as usize
    }

    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// An address block: the left-aligned address and the length of the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Prefix {
    pub bits: u128,
    pub length: u32,
}

impl Prefix {
    fn new(bits: u128, length: u32) -> Self {
        Self { bits: bits & !(u128::MAX.checked_shr(length).unwrap_or(0)), length }
    }

    /// A random address in the block.
    pub(crate) fn address(self, random: &mut Random) -> u128 {
        let host = u128::MAX.checked_shr(self.length).unwrap_or(0);
        let any = u128::from(random.word()) << 64 | u128::from(random.word());
        self.bits | any & host
    }
}

/// Distinct IPv4 blocks: 70 % single addresses, 29 % /24 and 1 % /20, spread evenly over the unicast space. For caches,
/// this is the worst case.
pub(crate) fn ipv4_prefixes(count: usize) -> Vec<Prefix> {
    let mut random = Random::new(4);
    distinct(count, || {
        let length = match random.below(100) {
            0..70 => 32,
            70..99 => 24,
            _ => 20,
        };
        let address = random.word() as u32;
        // Documentation, benchmarks (RFC 2544: the bench's own peers) and private space are left out.
        let usable = !matches!(address >> 24, 0 | 10 | 127 | 172 | 192 | 198 | 203 | 224..);
        usable.then(|| Prefix::new(u128::from(address) << 96, length))
    })
}

/// Distinct IPv6 blocks: 10 % /32, 40 % /48, 40 % /64, 10 % single addresses, in allocated space.
pub(crate) fn ipv6_prefixes(count: usize) -> Vec<Prefix> {
    let mut random = Random::new(6);
    distinct(count, || {
        let length = match random.below(10) {
            0 => 32,
            1..5 => 48,
            5..9 => 64,
            _ => 128,
        };
        let first: u16 = match random.below(6) {
            0 => 0x2001,
            1 => 0x2400 | random.below(0x10) as u16,
            2 => 0x2600 | random.below(0x10) as u16,
            3 => 0x2800 | random.below(0x10) as u16,
            4 => 0x2a00 | random.below(0x20) as u16,
            _ => 0x2c00 | random.below(0x10) as u16,
        };
        let rest = u128::from(random.word()) << 64 | u128::from(random.word());
        Some(Prefix::new(u128::from(first) << 112 | rest >> 16, length))
    })
}

/// Distinct ten-digit numbers with area codes in use and valid exchanges.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<[u8; 10]> {
    let areas = area_codes();
    let mut random = Random::new(seed);
    distinct(count, || Some(number(&areas, &mut random)))
}

fn number(areas: &[[u8; 3]], random: &mut Random) -> [u8; 10] {
    let [a, b, c] = random.one_of(areas);
    let exchange = loop {
        let exchange = 200 + random.below(800);
        // N11 is not assigned; 555, 950, 958 and 959 are reserved for special uses.
        if exchange % 100 != 11 && !matches!(exchange, 555 | 950 | 958 | 959) {
            break exchange;
        }
    };
    let rest = format!("{exchange:03}{:04}", random.below(10_000));
    let [d, e, f, g, h, i, j] = rest.as_bytes().try_into().expect("three and four digits");
    [a, b, c, d, e, f, g, h, i, j]
}

/// Area codes of the United States, from the built-in table.
fn area_codes() -> Vec<[u8; 3]> {
    include_str!("../../filter-policy/src/numbering/nanp.tsv")
        .lines()
        .filter(|line| line.contains("\tUS\t") && line.ends_with("geographic"))
        .filter_map(|line| line.as_bytes()[..3].try_into().ok())
        .collect()
}

/// Calls `make` until it has returned `count` different values.
fn distinct<T: Copy + Eq + std::hash::Hash>(count: usize, mut make: impl FnMut() -> Option<T>) -> Vec<T> {
    let mut seen = HashSet::with_capacity(count);
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        if let Some(one) = make()
            && seen.insert(one)
        {
            all.push(one);
        }
    }
    all
}

/// A list file of blocks.
pub(crate) fn address_list(prefixes: &[Prefix], version: u8) -> String {
    let mut text = String::with_capacity(prefixes.len() * 20);
    for prefix in prefixes {
        let _ = if version == 4 {
            writeln!(text, "{}/{}", Ipv4Addr::from((prefix.bits >> 96) as u32), prefix.length)
        } else {
            writeln!(text, "{}/{}", Ipv6Addr::from(prefix.bits), prefix.length)
        };
    }
    text
}

/// A list file of exact numbers, in the national format.
pub(crate) fn number_list(numbers: &[[u8; 10]]) -> String {
    let mut text = String::with_capacity(numbers.len() * 12 + 8);
    text.push_str("number\n");
    for number in numbers {
        text.extend(number.iter().map(|digit| char::from(*digit)));
        text.push_str("$\n");
    }
    text
}

/// A list file of prefixes: blocks of ten thousand and of a thousand numbers.
pub(crate) fn prefix_list(count: usize) -> String {
    let blocks = distinct(count, {
        let (areas, mut random) = (area_codes(), Random::new(10));
        move || {
            let number = number(&areas, &mut random);
            Some((number, if random.below(2) == 0 { 6 } else { 7 }))
        }
    });
    let mut text = String::from("number\n");
    for (number, digits) in blocks {
        text.extend(number[..digits].iter().map(|digit| char::from(*digit)));
        text.push('\n');
    }
    text
}

/// A list file of patterns: the names of scanners, then random names.
pub(crate) fn pattern_list(count: usize) -> String {
    const KNOWN: [&str; 22] = [
        "friendly-scanner",
        "friendly-request",
        "sipvicious",
        "sundayddr",
        "^sipv",
        "sipcli",
        "sip-cli",
        "sipsak",
        "sip-?scan",
        "siparmyknife",
        "^SIVuS",
        "^smap",
        "^iWar",
        "^Gulp",
        "^pplsip",
        "Nmap NSE",
        "Nsauditor",
        "^SipReg",
        "fgfdhgfxjfhyjhkj",
        "VaxSIPUserAgent",
        "VaxIPUserAgent",
        "Test Agent",
    ];
    let mut random = Random::new(50);
    let mut text = String::new();
    for index in 0..count {
        match KNOWN.get(index) {
            Some(known) => text.push_str(known),
            None => {
                for _ in 0..6 + random.below(8) {
                    text.push(char::from(b'a' + random.below(26) as u8));
                }
                if index % 5 == 0 {
                    text.push_str("/[0-9]+");
                }
            }
        }
        text.push('\n');
    }
    text
}

/// The template of a message: 895 bytes and 14 header lines, as a phone or a session border controller sends it.
const INVITE: &str = "INVITE sip:+1CALLED$$$$@sip.example.net;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.23:5060;branch=z9hG4bK-524287-1---c2b5f1a3d9e04a7b;rport\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:alice@198.51.100.23:5060;transport=udp>\r\n\
    To: \"Bob\" <sip:+1CALLED$$$$@sip.example.net>\r\n\
    From: \"Alice\" <sip:+1CALLING$$$@sip.example.net>;tag=9fxced76sl\r\n\
    Call-ID: 3848276298220188511@198.51.100.23\r\n\
    CSeq: 1 INVITE\r\n\
    User-Agent: ExamplePhone/4.2.1 (Linux; build 20260512a)\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, INFO\r\n\
    Supported: replaces, timer, 100rel\r\n\
    Session-Expires: 1800\r\n\
    P-Asserted-Identity: <sip:+1CALLING$$$@sip.example.net>\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 215\r\n\
    \r\n\
    v=0\r\no=alice 2890844526 2890844526 IN IP4 198.51.100.23\r\ns=-\r\nc=IN IP4 198.51.100.23\r\nt=0 0\r\n\
    m=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

/// The user agent of the template.
pub(crate) const AGENT: &str = "ExamplePhone/4.2.1 (Linux; build 20260512a)";

/// A frame, and the offsets of the values that differ between runs.
#[derive(Clone)]
pub(crate) struct Packet {
    pub frame: Vec<u8>,
    pub source: usize,
    pub source_length: usize,
    pub calling: [usize; 2],
    pub called: [usize; 2],
}

impl Packet {
    /// A frame whose values never change.
    pub(crate) fn fixed(frame: Vec<u8>) -> Self {
        Self { frame, source: 0, source_length: 0, calling: [0; 2], called: [0; 2] }
    }

    /// The INVITE in a UDP datagram over IPv4 or IPv6.
    pub(crate) fn invite(version: u8) -> Self {
        Self::with_agent(version, AGENT)
    }

    /// The INVITE with this user agent.
    pub(crate) fn with_agent(version: u8, agent: &str) -> Self {
        let template = INVITE.replace(AGENT, agent);
        let places = |marker: &str| {
            let mut found = template.match_indices(marker).map(|(at, _)| at);
            [found.next().unwrap_or(0), found.next().unwrap_or(0)]
        };
        let (called, calling) = (places("CALLED$$$$"), places("CALLING$$$"));
        let text = template.replace("CALLED$$$$", "2125550123").replace("CALLING$$$", "3125550100");
        let frame = udp(version, 5060, text.as_bytes());
        let headers = frame.len() - text.len();
        let moved = |places: [usize; 2]| places.map(|place| place + headers);
        let (source, source_length) = if version == 4 { (26, 4) } else { (22, 16) };
        Self { frame, source, source_length, calling: moved(calling), called: moved(called) }
    }
}

/// A UDP datagram from a documentation address, in an Ethernet frame; checksums are zero, since nothing checks them.
pub(crate) fn udp(version: u8, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend_from_slice(&5060u16.to_be_bytes());
    datagram.extend_from_slice(&port.to_be_bytes());
    datagram.extend_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(payload);
    ip(version, 17, &datagram)
}

/// The same for a TCP segment.
pub(crate) fn tcp(version: u8, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend_from_slice(&40_000u16.to_be_bytes());
    segment.extend_from_slice(&port.to_be_bytes());
    segment.extend_from_slice(&[0; 8]);
    segment.extend_from_slice(&[0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend_from_slice(payload);
    ip(version, 6, &segment)
}

fn ip(version: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if version == 4 {
        frame.extend_from_slice(&[0x08, 0x00, 0x45, 0]);
        frame.extend_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 0, 64, protocol, 0, 0]);
        frame.extend_from_slice(&Ipv4Addr::new(198, 51, 100, 7).octets());
        frame.extend_from_slice(&Ipv4Addr::new(192, 0, 2, 1).octets());
    } else {
        frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[protocol, 64]);
        frame.extend_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets());
        frame.extend_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
    }
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invite_has_the_length_that_the_document_says() {
        let packet = Packet::invite(4);
        assert_eq!(packet.frame.len(), 14 + 20 + 8 + 895);
        let head = INVITE.split("\r\n\r\n").next().unwrap();
        assert_eq!(head.lines().count() - 1, 14);
        for (places, digits) in [(packet.calling, b"3125550100"), (packet.called, b"2125550123")] {
            for place in places {
                assert_eq!(&packet.frame[place..place + 10], digits);
            }
        }
    }

    #[test]
    fn another_user_agent_moves_the_numbers_and_nothing_else() {
        let packet = Packet::with_agent(4, &"x".repeat(100));
        assert_eq!(packet.frame.len(), Packet::invite(4).frame.len() - AGENT.len() + 100);
        let calling = packet.calling.map(|place| &packet.frame[place..place + 10]);
        assert_eq!(calling, [b"3125550100"; 2]);
    }

    #[test]
    fn every_run_generates_the_same_lists() {
        assert_eq!(ipv4_prefixes(1000), ipv4_prefixes(1000));
        assert_eq!(numbers(100, 1), numbers(100, 1));
        assert_ne!(numbers(100, 1), numbers(100, 2));
    }
}
