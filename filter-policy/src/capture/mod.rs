//! Reads captures (pcap and pcapng, any link type that SIP is captured on, compressed or not) as Ethernet frames.

mod foreign;
mod input;

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
    path::Path,
};

use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader, data::PacketData};

pub use self::foreign::{check_message, check_text};
use self::input::Input;
use crate::engine::ETHERNET_ADDRESSES;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be opened or read.
    #[error("failed to read {file}")]
    Io {
        /// Path as given by the caller.
        file: String,
        /// What the operating system reported.
        #[source]
        source: std::io::Error,
    },
    /// It is compressed, and cannot be unpacked.
    #[error("failed to unpack {file} ({method}): {what}")]
    Compressed {
        /// Path as given by the caller.
        file: String,
        /// How it is compressed.
        method: &'static str,
        /// Why it cannot be unpacked.
        what: String,
        /// What the operator can do.
        help: String,
    },
    /// It is not a capture, or a broken one.
    #[error("{file} is not a readable pcap or pcapng file: {message}")]
    Format {
        /// Path as given by the caller.
        file: String,
        /// What the parser found wrong, in words.
        message: String,
    },
    /// It is neither a capture nor a message.
    #[error("{file} is {what}")]
    Foreign {
        /// Path as given by the caller.
        file: String,
        /// What it is instead.
        what: &'static str,
        /// How to get from it to a capture or a message.
        help: &'static str,
    },
    /// Some of its packets cannot be judged.
    #[error("{file}: {what}")]
    Unjudged {
        /// Path as given by the caller.
        file: String,
        /// How many, and why.
        what: String,
        /// How to capture them.
        help: &'static str,
    },
}

impl CaptureError {
    /// What the operator can do about it, if that is known.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Io { .. } | Self::Format { .. } => None,
            Self::Compressed { help, .. } => Some(help),
            Self::Foreign { help, .. } | Self::Unjudged { help, .. } => Some(help),
        }
    }
}

/// A packet from a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedPacket {
    /// Its number in the capture, from 1.
    pub number: u64,
    /// Nanoseconds since the epoch; 0 if the capture has no timestamp for it.
    pub time: u64,
    /// How many bytes of the file have been read so far, for progress reports.
    pub position: u64,
    /// The packet as an Ethernet frame. None if there is no IP packet that we can find in it.
    pub frame: Option<Vec<u8>>,
    /// True if the capture holds only the beginning of the packet. What is decided about that says nothing about the packet.
    pub is_cut: bool,
}

/// What a capture holds that cannot be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unjudged {
    /// All packets.
    pub packets: u64,
    /// Packets of which the capture holds only the beginning.
    pub cut: u64,
    /// The longest of these beginnings.
    pub longest_cut: usize,
    /// Packets of link types in which we cannot find an IP packet, by link type. None if the capture does not say which.
    pub links: BTreeMap<Option<i32>, u64>,
}

impl Unjudged {
    /// Succeeds if everything could be judged.
    ///
    /// # Errors
    /// Some packets could not be.
    pub fn check(&self, path: &Path) -> Result<(), CaptureError> {
        let mut reasons = Vec::new();
        if self.cut > 0 {
            reasons.push(format!(
                "{} of {} packets are cut to {} bytes or less, and cannot be judged",
                self.cut, self.packets, self.longest_cut
            ));
        }
        for (link, packets) in &self.links {
            let link = link.map_or("an unknown link type".to_owned(), |link| {
                format!("link type {link}{}", link_name(link).map(|name| format!(" ({name})")).unwrap_or_default())
            });
            reasons.push(format!("{packets} of {} packets are of {link}, and cannot be read", self.packets));
        }
        if reasons.is_empty() {
            return Ok(());
        }
        let help = if self.links.is_empty() {
            "capture whole packets: `tcpdump -s 0 -w FILE`"
        } else {
            "capture on an interface that carries Ethernet or IP: `tcpdump -i any -s 0 -w FILE`"
        };
        Err(CaptureError::Unjudged { file: input::name(path), what: reasons.join("; "), help })
    }
}

/// The name of a link type that SIP is not read in.
fn link_name(link: i32) -> Option<&'static str> {
    Some(match link {
        9 | 50 | 51 => "PPP",
        105 => "IEEE 802.11",
        119 | 127 | 192 => "IEEE 802.11 with a radio header",
        187 | 201 => "Bluetooth",
        189 | 220 | 249 => "USB",
        227 => "CAN",
        252 => "payloads exported by Wireshark",
        253 => "netlink",
        _ => return None,
    })
}

/// The magic numbers of all capture formats, in either byte order.
const MAGICS: [[u8; 4]; 5] = [
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x0a, 0x0d, 0x0d, 0x0a],
];

/// The most interfaces of a section of a pcapng file: each takes memory, and a compressed file can describe millions.
const MAX_INTERFACES: usize = 1 << 16;

/// True if the file, unpacked if it is compressed, starts with the magic number of a capture.
///
/// # Errors
/// The file cannot be opened, read or unpacked.
pub fn is_capture(path: &Path) -> Result<bool, CaptureError> {
    let start = Input::open(path)?.start(4)?;
    Ok(MAGICS.iter().any(|magic| start == magic))
}

/// Calls `visit` with each packet of the capture until it returns false. The path `-` is standard input.
///
/// A capture that is compressed (gzip, zstd) is unpacked while it is read. However long it is, only a part of it is in memory.
///
/// Returns what could not be judged, or read as a frame, in the packets that it has seen.
///
/// # Errors
/// The file cannot be read or unpacked, is no capture, or is corrupt; `visit` has then seen the packets before that point.
pub fn for_each_packet(path: &Path, mut visit: impl FnMut(CapturedPacket) -> bool) -> Result<Unjudged, CaptureError> {
    /// Enough to say what a file is that is no capture.
    const START: u64 = 1 << 12;
    let file = || input::name(path);
    let mut input = Input::open(path)?;
    let progress = input.progress();
    let format = |message: String| CaptureError::Format { file: file(), message };
    // The parser says only that reading failed.
    let failed = |message: String| progress.error().unwrap_or_else(|| format(message));
    let start = input.start(START)?;
    if !MAGICS.iter().any(|magic| start.starts_with(magic))
        && let Some(error) = foreign::no_capture(&file(), &start)
    {
        return Err(error);
    }
    let input = Cursor::new(start).chain(input);
    let mut reader = create_reader(1 << 20, input).map_err(|error| failed(describe(&error)))?;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut unjudged = Unjudged::default();
    let mut stalled = false;
    loop {
        let (used, captured) = match reader.next() {
            Ok((used, block)) => (used, convert(block, &mut interfaces)),
            Err(PcapError::Eof) => return Ok(unjudged),
            Err(PcapError::Incomplete(_)) if !stalled => {
                reader.refill().map_err(|error| failed(describe(&error)))?;
                // If the block is still incomplete after this, it is longer than the file or the buffer.
                stalled = reader.reader_exhausted();
                continue;
            }
            Err(PcapError::Incomplete(_)) => return Err(format("the last packet is cut off".to_owned())),
            Err(error) => return Err(failed(describe(&error))),
        };
        if interfaces.len() > MAX_INTERFACES {
            return Err(format(format!("it describes more than {MAX_INTERFACES} interfaces")));
        }
        if let Some(Captured { time, frame, captured, length }) = captured {
            unjudged.packets += 1;
            let is_cut = captured < length as usize;
            let frame = match frame {
                Ok(frame) => frame,
                Err(link) => {
                    *unjudged.links.entry(link).or_default() += 1;
                    None
                }
            };
            if is_cut {
                unjudged.cut += 1;
                unjudged.longest_cut = unjudged.longest_cut.max(captured);
            }
            let position = progress.position();
            if !visit(CapturedPacket { number: unjudged.packets, time, position, frame, is_cut }) {
                return Ok(unjudged);
            }
        }
        reader.consume(used);
    }
}

fn describe<E>(error: &PcapError<E>) -> String {
    let message = match error {
        PcapError::HeaderNotRecognized => "its header is not recognized",
        PcapError::Eof | PcapError::UnexpectedEof | PcapError::Incomplete(_) => "it is cut off",
        PcapError::BufferTooSmall => "a block in it is larger than a mebibyte",
        PcapError::ReadError => "reading failed",
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => "a block in it is malformed",
    };
    message.to_owned()
}

struct Interface {
    link: Linktype,
    /// Resolution of its timestamps.
    units_per_second: u64,
    /// pcap only: the fraction of a second is in nanoseconds, not microseconds.
    nanoseconds: bool,
    /// The most bytes of a packet that are captured; 0 for all.
    most: u32,
}

/// A packet in a block.
struct Captured {
    time: u64,
    frame: Frame,
    /// Bytes of it that were captured.
    captured: usize,
    /// Its length on the wire.
    length: u32,
}

/// A frame, or the link type that no IP packet can be found in.
type Frame = Result<Option<Vec<u8>>, Option<i32>>;

/// The packet in a block, if it holds one.
fn convert(block: PcapBlockOwned<'_>, interfaces: &mut Vec<Interface>) -> Option<Captured> {
    let packet = |time: u64, data: &[u8], length: u32, interface: Option<&Interface>| {
        let frame = interface.map_or(Err(None), |interface| ethernet(data, interface.link));
        Some(Captured { time, frame, captured: data.len(), length })
    };
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            interfaces.clear();
            interfaces.push(Interface {
                link: header.network,
                units_per_second: 1_000_000,
                nanoseconds: header.is_nanosecond_precision(),
                most: header.snaplen,
            });
            None
        }
        PcapBlockOwned::Legacy(legacy) => {
            let interface = interfaces.first()?;
            let fraction = u64::from(legacy.ts_usec) * if interface.nanoseconds { 1 } else { 1_000 };
            let time = u64::from(legacy.ts_sec) * 1_000_000_000 + fraction;
            packet(time, legacy.data, legacy.origlen, Some(interface))
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            None
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            let units_per_second = interface.ts_resolution().unwrap_or(1_000_000).max(1);
            let (link, most) = (interface.linktype, interface.snaplen);
            interfaces.push(Interface { link, units_per_second, nanoseconds: false, most });
            None
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(enhanced)) => {
            let interface = interfaces.get(enhanced.if_id as usize);
            let units = u64::from(enhanced.ts_high) << 32 | u64::from(enhanced.ts_low);
            let units_per_second = interface.map_or(1_000_000, |interface| interface.units_per_second);
            let time = u128::from(units) * 1_000_000_000 / u128::from(units_per_second);
            let data = enhanced.data.get(..enhanced.caplen as usize).unwrap_or(enhanced.data);
            packet(time as u64, data, enhanced.origlen, interface)
        }
        PcapBlockOwned::NG(Block::SimplePacket(simple)) => {
            let interface = interfaces.first();
            let most = interface.map_or(0, |interface| interface.most);
            let captured = if most == 0 { simple.origlen } else { simple.origlen.min(most) };
            let data = simple.data.get(..captured as usize).unwrap_or(simple.data);
            packet(0, data, simple.origlen, interface)
        }
        PcapBlockOwned::NG(_) => None,
    }
}

/// Raw IP, under the numbers that it has on some systems.
const OTHER_RAW: [Linktype; 2] = [Linktype(12), Linktype(14)];

/// The packet as an Ethernet frame.
fn ethernet(data: &[u8], link: Linktype) -> Frame {
    let with_type = |ethertype: [u8; 2], packet: &[u8]| {
        let mut frame = Vec::with_capacity(14 + packet.len());
        frame.extend_from_slice(&ETHERNET_ADDRESSES);
        frame.extend_from_slice(&ethertype);
        frame.extend_from_slice(packet);
        frame
    };
    if link == Linktype::WIRESHARK_UPPER_PDU {
        return Err(Some(link.0));
    }
    let link = if OTHER_RAW.contains(&link) { Linktype::RAW } else { link };
    Ok(match pcap_parser::data::get_packetdata(data, link, data.len()) {
        Some(PacketData::L2(frame)) => Some(frame.to_vec()),
        Some(PacketData::L3(ethertype, packet)) => Some(with_type(ethertype.to_be_bytes(), packet)),
        Some(PacketData::L4(..)) | None => None,
        Some(PacketData::Unsupported(_)) => return Err(Some(link.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture of one packet: pcap, little-endian, microseconds.
    fn pcap(link: u32, data: &[u8]) -> Vec<u8> {
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
        file.extend_from_slice(&link.to_le_bytes());
        file.extend_from_slice(&[7, 0, 0, 0, 9, 0, 0, 0]);
        file.extend_from_slice(&(data.len() as u32).to_le_bytes());
        file.extend_from_slice(&(data.len() as u32).to_le_bytes());
        file.extend_from_slice(data);
        file
    }

    fn packets(content: &[u8]) -> Result<Vec<CapturedPacket>, CaptureError> {
        read(content).map(|(packets, _)| packets)
    }

    /// The packets, and what could not be judged.
    fn read(content: &[u8]) -> Result<(Vec<CapturedPacket>, Unjudged), CaptureError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture");
        std::fs::write(&path, content).unwrap();
        assert!(is_capture(&path).unwrap());
        let mut packets = Vec::new();
        let unjudged = for_each_packet(&path, |packet| {
            packets.push(packet);
            true
        })?;
        Ok((packets, unjudged))
    }

    /// A capture of one packet: pcapng, little-endian, with the packet in a block of this type (3: simple, 6: enhanced).
    fn pcapng(link: u16, most: u32, kind: u32, interface: u32, data: &[u8], length: u32) -> Vec<u8> {
        let mut file = vec![0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0];
        file.extend_from_slice(&[0xff; 8]);
        file.extend_from_slice(&[28, 0, 0, 0, 1, 0, 0, 0, 20, 0, 0, 0]);
        file.extend_from_slice(&link.to_le_bytes());
        file.extend_from_slice(&[0, 0]);
        file.extend_from_slice(&most.to_le_bytes());
        file.extend_from_slice(&[20, 0, 0, 0]);
        let mut body = Vec::new();
        if kind == 6 {
            body.extend_from_slice(&interface.to_le_bytes());
            body.extend_from_slice(&[0; 8]);
            body.extend_from_slice(&(data.len() as u32).to_le_bytes());
        }
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(data);
        body.resize(body.len().next_multiple_of(4), 0);
        let block = (body.len() as u32 + 12).to_le_bytes();
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&block);
        file.extend_from_slice(&body);
        file.extend_from_slice(&block);
        file
    }

    #[test]
    fn an_ethernet_frame_is_returned_unchanged_with_its_time() {
        let frame = [1u8; 60];
        let read = packets(&pcap(1, &frame)).unwrap();
        assert_eq!(
            read,
            [CapturedPacket {
                number: 1,
                time: 7_000_009_000,
                position: 100,
                frame: Some(frame.to_vec()),
                is_cut: false
            }]
        );
    }

    #[test]
    fn a_raw_ip_packet_gets_an_ethernet_header() {
        let ip = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        let read = packets(&pcap(101, &ip)).unwrap();
        let frame = read[0].frame.as_ref().unwrap();
        assert_eq!(frame[12..14], [0x08, 0x00]);
        assert_eq!(frame[14..], ip);
    }

    #[test]
    fn cooked_and_loopback_packets_get_an_ethernet_header_and_keep_their_vlan_tag() {
        let ip = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        let tagged = [&[0, 9, 0x08, 0x00][..], &ip].concat();
        // As `tcpdump -i any` writes them, in both versions.
        let cooked = |ethertype: [u8; 2], packet: &[u8]| [&[0; 14][..], &ethertype, packet].concat();
        let cooked_2 = |ethertype: [u8; 2], packet: &[u8]| [&ethertype[..], &[0; 18], packet].concat();
        for (link, data, ethertype, packet) in [
            (0, [&[2, 0, 0, 0][..], &ip].concat(), [0x08, 0x00], &ip[..]),
            (113, cooked([0x08, 0x00], &ip), [0x08, 0x00], &ip),
            (113, cooked([0x81, 0x00], &tagged), [0x81, 0x00], &tagged),
            (276, cooked_2([0x08, 0x00], &ip), [0x08, 0x00], &ip),
            (276, cooked_2([0x81, 0x00], &tagged), [0x81, 0x00], &tagged),
        ] {
            let read = packets(&pcap(link, &data)).unwrap();
            let frame = read[0].frame.as_ref().unwrap();
            assert_eq!((&frame[12..14], &frame[14..]), (&ethertype[..], packet), "link type {link}");
        }
    }

    #[test]
    fn times_may_be_in_nanoseconds() {
        let mut file = pcap(1, &[1; 60]);
        file[..2].copy_from_slice(&[0x4d, 0x3c]);
        assert_eq!(packets(&file).unwrap()[0].time, 7_000_000_009);
    }

    #[test]
    fn a_truncated_capture_is_reported() {
        let mut file = pcap(1, &[1u8; 60]);
        file.truncate(file.len() - 10);
        let error = packets(&file).unwrap_err().to_string();
        assert!(error.contains("cut off"), "{error}");
    }

    #[test]
    fn a_packet_that_the_capture_cuts_is_marked_and_counted() {
        let mut cut = pcap(1, &[1u8; 60]);
        cut[36..40].copy_from_slice(&61_u32.to_le_bytes());
        let ng = |kind, length| pcapng(1, 60, kind, 0, &[1; 60], length);
        for (content, is_cut) in [
            (cut, true),
            (pcap(1, &[1; 60]), false),
            (ng(6, 90), true),
            (ng(6, 60), false),
            (ng(3, 90), true),
            (ng(3, 60), false),
        ] {
            let (packets, unjudged) = read(&content).unwrap();
            assert_eq!((packets.len(), packets[0].is_cut, unjudged.cut), (1, is_cut, u64::from(is_cut)));
            assert_eq!(packets[0].frame, Some(vec![1; 60]));
            let checked = unjudged.check(Path::new("x.pcap"));
            assert_eq!(checked.is_err(), is_cut);
            if let Err(error) = checked {
                assert_eq!(
                    error.to_string(),
                    "x.pcap: 1 of 1 packets are cut to 60 bytes or less, and cannot be judged"
                );
                assert!(error.help().unwrap().contains("-s 0"));
            }
        }
    }

    #[test]
    fn a_link_type_that_cannot_be_read_is_named() {
        for (content, says) in [
            (pcap(105, &[1; 60]), "1 of 1 packets are of link type 105 (IEEE 802.11), and cannot be read"),
            (pcap(252, &[1; 60]), "payloads exported by Wireshark"),
            (pcap(9999, &[1; 60]), "link type 9999,"),
            (pcapng(1, 0, 6, 7, &[1; 60], 60), "an unknown link type"),
        ] {
            let (packets, unjudged) = read(&content).unwrap();
            assert_eq!((packets.len(), &packets[0].frame), (1, &None));
            let error = unjudged.check(Path::new("x.pcap")).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.help().is_some());
        }
        // What an interface of this kind carries besides IP is no fault of the capture.
        let (_, unjudged) = read(&pcap(113, &[0; 8])).unwrap();
        assert_eq!(unjudged.check(Path::new("x.pcap")).ok(), Some(()));
    }

    #[test]
    fn a_file_that_is_no_capture_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture");
        for (content, says) in [
            (&b"BZh9"[..], "is compressed (bzip2)"),
            (b"INVITE sip:1@192.0.2.1 SIP/2.0\r\n\r\n", "is a SIP message, not a capture"),
            (b"U 192.0.2.1:5060 -> 192.0.2.2:5060\nINVITE sip:1@192.0.2.1 SIP/2.0\n", "ngrep"),
            (b"random", "its header is not recognized"),
            (b"", "cut off"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = for_each_packet(&path, |_| true).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
