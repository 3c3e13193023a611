//! Captured packets as a pcapng file (draft-ietf-opsawg-pcapng), which Wireshark, tshark and sngrep open.

use super::{CapturedPacket, RuleMode};

/// Block types, section 4.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Options, sections 3.5 and 4.1 to 4.6.
const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
const SECTION_USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;
const PACKET_VERDICT: u16 = 7;
const RECEIVED: u16 = 4;
const DROPPED_BY_INTERFACE: u16 = 5;

/// Nanoseconds: 10 to the power of minus 9.
const NANOSECONDS: u8 = 9;
/// The packet came in.
const INBOUND: u32 = 1;
/// The kind of an XDP program's verdict (`epb_verdict`), before the eight bytes of the action.
const VERDICT_OF_XDP: u8 = 2;
/// `XDP_DROP` and `XDP_PASS` of include/uapi/linux/bpf.h.
const XDP_DROP: u64 = 1;
const XDP_PASS: u64 = 2;

/// Link types, as the registry of the Tcpdump Group numbers them.
const ETHERNET: u16 = 1;
const RAW_IP: u16 = 101;

/// Writes the blocks of a section.
#[derive(Debug, Default)]
pub struct Pcapng {
    /// The interfaces that have been described: their index, and whether frames have a link header.
    interfaces: Vec<(u32, bool)>,
}

impl Pcapng {
    /// The section's header.
    #[must_use]
    pub fn header() -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(0x1a2b_3c4d_u32.to_le_bytes());
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        // The section's length is not known.
        body.extend(u64::MAX.to_le_bytes());
        option(&mut body, SECTION_USER_APPLICATION, concat!("ringfence ", env!("CARGO_PKG_VERSION")).as_bytes());
        end_of_options(&mut body);
        block(SECTION_HEADER, &body)
    }

    /// A packet, after the description of its interface if that is new.
    pub fn packet(&mut self, packet: &CapturedPacket) -> Vec<u8> {
        let mut blocks = Vec::new();
        let key = (packet.interface, packet.has_link_header);
        let number = self.interfaces.iter().position(|&known| known == key).unwrap_or_else(|| {
            blocks.extend(interface(packet));
            self.interfaces.push(key);
            self.interfaces.len() - 1
        });
        let mut body = Vec::new();
        body.extend((number as u32).to_le_bytes());
        time(&mut body, packet.nanoseconds);
        body.extend((packet.frame.len() as u32).to_le_bytes());
        body.extend(packet.length.max(packet.frame.len() as u32).to_le_bytes());
        padded(&mut body, &packet.frame);
        option(&mut body, COMMENT, comment(packet).as_bytes());
        option(&mut body, PACKET_FLAGS, &INBOUND.to_le_bytes());
        let passed = packet.event.mode == RuleMode::Report || packet.event.verdict == "pass";
        let action = if passed { XDP_PASS } else { XDP_DROP };
        option(&mut body, PACKET_VERDICT, &[&[VERDICT_OF_XDP][..], &action.to_le_bytes()].concat());
        end_of_options(&mut body);
        blocks.extend(block(ENHANCED_PACKET, &body));
        blocks
    }

    /// How many packets have been captured, and how many were not, although they were to be. Statistics are of an interface: before the
    /// first packet there is none, and at the end of a file without packets one of no name stands for it.
    #[must_use]
    pub fn statistics(&self, nanoseconds: u64, captured: u64, lost: u64, is_end: bool) -> Option<Vec<u8>> {
        let mut blocks = Vec::new();
        if self.interfaces.is_empty() {
            if !is_end {
                return None;
            }
            blocks = describe(ETHERNET, "");
        }
        let mut body = Vec::new();
        body.extend(0_u32.to_le_bytes());
        time(&mut body, nanoseconds);
        option(&mut body, RECEIVED, &(captured + lost).to_le_bytes());
        option(&mut body, DROPPED_BY_INTERFACE, &lost.to_le_bytes());
        end_of_options(&mut body);
        blocks.extend(block(INTERFACE_STATISTICS, &body));
        Some(blocks)
    }
}

fn interface(packet: &CapturedPacket) -> Vec<u8> {
    let name = packet.event.interface.clone().unwrap_or_else(|| format!("interface {}", packet.interface));
    describe(if packet.has_link_header { ETHERNET } else { RAW_IP }, &name)
}

fn describe(link: u16, name: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(link.to_le_bytes());
    body.extend([0; 2]);
    // No limit that a reader would have to know.
    body.extend(0_u32.to_le_bytes());
    option(&mut body, INTERFACE_NAME, name.as_bytes());
    option(&mut body, INTERFACE_RESOLUTION, &[NANOSECONDS]);
    end_of_options(&mut body);
    block(INTERFACE_DESCRIPTION, &body)
}

/// What is said of the packet: `drop by rule scanners (rule-drop), commit 1f2e3d`.
fn comment(packet: &CapturedPacket) -> String {
    let event = &packet.event;
    let would = if event.mode == RuleMode::Report { "would " } else { "" };
    let mut comment = format!("ringfence: {would}{}", event.verdict);
    if let Some(rule) = &event.rule {
        comment += &format!(", rule {rule}");
    }
    let others = packet.would.iter().filter(|rule| event.rule.as_ref() != Some(rule));
    let others: Vec<&str> = others.map(String::as_str).collect();
    if !others.is_empty() {
        comment += &format!(", in report mode also {}", others.join(" "));
    }
    comment += &format!(", reason {}", event.reason);
    for (label, value) in [("basis", &event.basis), ("upstream", &event.upstream), ("commit", &event.commit)] {
        if let Some(value) = value {
            comment += &format!(", {label} {value}");
        }
    }
    comment
}

fn time(body: &mut Vec<u8>, nanoseconds: u64) {
    body.extend(((nanoseconds >> 32) as u32).to_le_bytes());
    body.extend((nanoseconds as u32).to_le_bytes());
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    padded(body, value);
}

fn end_of_options(body: &mut Vec<u8>) {
    option(body, END_OF_OPTIONS, &[]);
}

/// Blocks and what is in them begin at multiples of four bytes.
fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 12) as u32;
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), body, &length.to_le_bytes()].concat()
}

/// Takes a file apart into its blocks, piece by piece.
#[derive(Debug, Default)]
pub struct PcapngBlocks(Vec<u8>);

/// A block of a file that [`Pcapng`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcapngBlock {
    /// All of it.
    pub bytes: Vec<u8>,
}

impl PcapngBlocks {
    /// Adds the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    /// The next block, if it is complete.
    #[expect(clippy::should_implement_trait, reason = "there may be another one after none")]
    pub fn next(&mut self) -> Option<PcapngBlock> {
        let length = word(&self.0, 4)? as usize;
        // (No block is shorter. A length that cannot be is never complete.)
        if length < 12 || self.0.len() < length {
            return None;
        }
        Some(PcapngBlock { bytes: self.0.drain(..length).collect() })
    }
}

impl PcapngBlock {
    /// True for a packet.
    #[must_use]
    pub fn is_packet(&self) -> bool {
        word(&self.bytes, 0) == Some(ENHANCED_PACKET)
    }

    /// True for what the packets after it need: a section's header, an interface.
    #[must_use]
    pub fn is_head(&self) -> bool {
        matches!(word(&self.bytes, 0), Some(SECTION_HEADER | INTERFACE_DESCRIPTION))
    }

    /// How many packets have been lost, if the block says so.
    #[must_use]
    pub fn lost(&self) -> Option<u64> {
        if word(&self.bytes, 0)? != INTERFACE_STATISTICS {
            return None;
        }
        // After the header, the interface and the time: the options as this program writes them.
        let (mut at, bytes) = (8 + 12, &self.bytes);
        loop {
            let head = word(bytes, at)?;
            let (code, length) = (head as u16, (head >> 16) as usize);
            if code == DROPPED_BY_INTERFACE {
                return Some(u64::from_le_bytes(*bytes.get(at + 4..)?.first_chunk()?));
            }
            if code == END_OF_OPTIONS {
                return None;
            }
            at += 4 + length.next_multiple_of(4);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_says_its_length_at_both_ends_and_fills_words() {
        let mut writer = Pcapng::default();
        let header = Pcapng::header();
        let mut file = header.clone();
        for length in 0..9 {
            file.extend(writer.packet(&CapturedPacket::example(&vec![b'x'; length])));
        }
        file.extend(writer.statistics(1, 9, 2, false).unwrap());
        let mut blocks = PcapngBlocks::default();
        // In pieces, as they come over a connection.
        let mut kinds = Vec::new();
        let mut lost = None;
        for piece in file.chunks(7) {
            blocks.push(piece);
            while let Some(block) = blocks.next() {
                let length = block.bytes.len();
                assert_eq!(length % 4, 0);
                assert_eq!(word(&block.bytes, length - 4), Some(length as u32));
                kinds.push(word(&block.bytes, 0).unwrap());
                lost = block.lost().or(lost);
            }
        }
        assert_eq!(lost, Some(2));
        let packets = [ENHANCED_PACKET; 9];
        assert_eq!(kinds[..2], [SECTION_HEADER, INTERFACE_DESCRIPTION], "the interface is described once");
        assert_eq!(kinds[2..11], packets);
        assert_eq!(kinds[11..], [INTERFACE_STATISTICS]);
    }

    #[test]
    fn the_comment_says_what_became_of_the_packet_and_why() {
        let mut packet = CapturedPacket::example(b"x");
        packet.event.commit = Some("1f2e3d".to_owned());
        assert_eq!(comment(&packet), "ringfence: drop, rule scanners, reason rule-drop, commit 1f2e3d");
        packet.event.mode = RuleMode::Report;
        assert_eq!(comment(&packet), "ringfence: would drop, rule scanners, reason rule-drop, commit 1f2e3d");
    }
}
