//! Reads captures (pcap and pcapng, any link type that SIP is captured on) as Ethernet frames.

use std::{fs::File, io::Read, path::Path};

use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader, data::PacketData};

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
    /// It is not a capture, or a broken one.
    #[error("{file} is not a readable pcap or pcapng file: {message}")]
    Format {
        /// Path as given by the caller.
        file: String,
        /// What the parser found wrong, in words.
        message: String,
    },
}

/// A packet from a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedPacket {
    /// Its number in the capture, from 1.
    pub number: u64,
    /// Nanoseconds since the epoch; 0 if the capture has no timestamp for it.
    pub time: u64,
    /// Its offset in the file, for progress reports.
    pub position: u64,
    /// The packet as an Ethernet frame. None if its link type is one in which we cannot find an IP packet.
    pub frame: Option<Vec<u8>>,
}

/// The magic numbers of all capture formats, in either byte order.
const MAGICS: [[u8; 4]; 5] = [
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x0a, 0x0d, 0x0d, 0x0a],
];

/// True if the file starts with the magic number of a capture.
///
/// # Errors
/// The file cannot be opened or read.
pub fn is_capture(path: &Path) -> Result<bool, CaptureError> {
    let io = |source| CaptureError::Io { file: path.display().to_string(), source };
    let mut start = Vec::new();
    File::open(path).map_err(io)?.take(4).read_to_end(&mut start).map_err(io)?;
    Ok(MAGICS.iter().any(|magic| start == magic))
}

/// Calls `visit` with each packet of the capture until it returns false.
///
/// # Errors
/// The file cannot be read, or is corrupt; `visit` has then seen the packets before that point.
pub fn for_each_packet(path: &Path, mut visit: impl FnMut(CapturedPacket) -> bool) -> Result<(), CaptureError> {
    let file = || path.display().to_string();
    let input = File::open(path).map_err(|source| CaptureError::Io { file: file(), source })?;
    let format = |message: String| CaptureError::Format { file: file(), message };
    let mut reader = create_reader(1 << 20, input).map_err(|error| format(describe(&error)))?;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut number = 0;
    let mut position = 0;
    let mut stalled = false;
    loop {
        let (used, captured) = match reader.next() {
            Ok((used, block)) => (used, convert(block, &mut interfaces)),
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) if !stalled => {
                reader.refill().map_err(|error| format(describe(&error)))?;
                // If the block is still incomplete after this, it is longer than the file or the buffer.
                stalled = reader.reader_exhausted();
                continue;
            }
            Err(PcapError::Incomplete(_)) => return Err(format("the last packet is cut off".to_owned())),
            Err(error) => return Err(format(describe(&error))),
        };
        if let Some((time, frame)) = captured {
            number += 1;
            if !visit(CapturedPacket { number, time, position, frame }) {
                return Ok(());
            }
        }
        reader.consume(used);
        position += used as u64;
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
}

/// The packet in a block, if it holds one: its time and frame.
fn convert(block: PcapBlockOwned<'_>, interfaces: &mut Vec<Interface>) -> Option<(u64, Option<Vec<u8>>)> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            interfaces.clear();
            interfaces.push(Interface {
                link: header.network,
                units_per_second: 1_000_000,
                nanoseconds: header.is_nanosecond_precision(),
            });
            None
        }
        PcapBlockOwned::Legacy(packet) => {
            let interface = interfaces.first()?;
            let fraction = u64::from(packet.ts_usec) * if interface.nanoseconds { 1 } else { 1_000 };
            let time = u64::from(packet.ts_sec) * 1_000_000_000 + fraction;
            Some((time, ethernet(packet.data, interface.link)))
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            None
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            let units_per_second = interface.ts_resolution().unwrap_or(1_000_000).max(1);
            interfaces.push(Interface { link: interface.linktype, units_per_second, nanoseconds: false });
            None
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let interface = interfaces.get(packet.if_id as usize)?;
            let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let time = u128::from(units) * 1_000_000_000 / u128::from(interface.units_per_second);
            let data = packet.data.get(..packet.caplen as usize).unwrap_or(packet.data);
            Some((time as u64, ethernet(data, interface.link)))
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let interface = interfaces.first()?;
            let data = packet.data.get(..packet.origlen as usize).unwrap_or(packet.data);
            Some((0, ethernet(data, interface.link)))
        }
        PcapBlockOwned::NG(_) => None,
    }
}

/// The packet as an Ethernet frame.
fn ethernet(data: &[u8], link: Linktype) -> Option<Vec<u8>> {
    let with_type = |ethertype: [u8; 2], packet: &[u8]| {
        let mut frame = Vec::with_capacity(14 + packet.len());
        frame.extend_from_slice(&ETHERNET_ADDRESSES);
        frame.extend_from_slice(&ethertype);
        frame.extend_from_slice(packet);
        frame
    };
    match pcap_parser::data::get_packetdata(data, link, data.len())? {
        PacketData::L2(frame) => Some(frame.to_vec()),
        PacketData::L3(ethertype, packet) => Some(with_type(ethertype.to_be_bytes(), packet)),
        PacketData::L4(..) | PacketData::Unsupported(_) => None,
    }
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture");
        std::fs::write(&path, content).unwrap();
        assert!(is_capture(&path).unwrap());
        let mut packets = Vec::new();
        for_each_packet(&path, |packet| {
            packets.push(packet);
            true
        })?;
        Ok(packets)
    }

    #[test]
    fn an_ethernet_frame_is_returned_unchanged_with_its_time() {
        let frame = [1u8; 60];
        let read = packets(&pcap(1, &frame)).unwrap();
        assert_eq!(
            read,
            [CapturedPacket { number: 1, time: 7_000_009_000, position: 24, frame: Some(frame.to_vec()) }]
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
    fn a_truncated_capture_is_reported() {
        let mut file = pcap(1, &[1u8; 60]);
        file.truncate(file.len() - 10);
        let error = packets(&file).unwrap_err().to_string();
        assert!(error.contains("cut off"), "{error}");
    }
}
