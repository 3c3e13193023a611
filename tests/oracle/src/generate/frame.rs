//! Random evasive packets: frames that are nearly well-formed.
//!
//! A packet is kept in parts, so that a failing one can be shrunk part by part.

use std::net::IpAddr;

use super::{Random, payload::payload, stock::ADDRESSES};

/// A packet in parts.
#[derive(Clone, Debug)]
pub struct Packet {
    /// EtherTypes of VLAN tags.
    pub tags: Vec<u16>,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// 32-bit words of IPv4 options.
    pub options: usize,
    /// IPv6 extension headers: protocol, and length in units of eight bytes without the first eight.
    pub extensions: Vec<(u8, u8)>,
    /// Identification, offset in units of eight bytes, more fragments.
    pub fragment: Option<(u16, u16, bool)>,
    /// TCP flags; `None` for UDP.
    pub tcp: Option<u8>,
    /// TCP sequence number.
    pub sequence: u32,
    pub source_port: u16,
    pub port: u16,
    /// Added to the lengths in the headers: IP, then UDP or the TCP data offset.
    pub lies: (i32, i32),
    /// The payload, in pieces.
    pub pieces: Vec<Vec<u8>>,
    /// Bytes after the IP datagram.
    pub padding: usize,
    /// The length to which the frame is cut.
    pub cut: Option<usize>,
    /// Bytes of the frame to replace: position and new value.
    pub flips: Vec<(usize, u8)>,
}

impl Packet {
    /// The whole frame.
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
                bytes.extend(self.sequence.to_be_bytes());
                bytes.extend([0, 0, 0, 1, words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
            }
        }
        bytes.extend(payload);
        bytes
    }
}

/// Any packet for the policies of this module; `flow` distinguishes connections.
pub fn packet(random: &mut Random, flow: u64) -> Packet {
    let source = address(random);
    let mut destination = address(random);
    if source.is_ipv4() != destination.is_ipv4() {
        destination = source;
    }
    let tcp = random.chance(20).then(|| random.pick(&[0x18, 0x18, 0x18, 0x10, 0x02, 0x38]));
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
            2 if random.chance(60) => {
                (0..random.below(8) + 3).map(|_| random.pick(&[0x8100, 0x88a8, 0x9100])).collect()
            }
            _ => Vec::new(),
        },
        source,
        destination,
        options: if random.chance(5) { random.below(11) } else { 0 },
        extensions: Vec::new(),
        fragment: None,
        tcp,
        // Mostly where the connection began, or a little before or after that.
        sequence: random.pick(&[1, 2, 2, 2, 3, 600, 65_537, 65_538, 70_000, u32::MAX]),
        // Few datagrams have anything to do with each other. Segments continue a connection more often.
        source_port: if random.chance(if tcp.is_some() { 60 } else { 10 }) {
            40_000 + random.below(4) as u16
        } else {
            1024 + (flow % 64_000) as u16
        },
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
        if random.chance(10) {
            // More than are followed.
            packet.extensions.push((random.pick(&[0, 43, 60]), 255));
        }
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
            packet.flips.push((12 + random.below(60), random.next_u64() as u8));
        }
    }
    packet
}

fn address(random: &mut Random) -> IpAddr {
    let address: IpAddr = random.pick(&ADDRESSES).parse().expect("an address");
    let further = random.pick(&[0u32, 0, 1, 2, 0xff, 0x1_0000]);
    match address {
        IpAddr::V4(address) => IpAddr::V4(u32::from(address).wrapping_add(further).into()),
        IpAddr::V6(address) => IpAddr::V6(u128::from(address).wrapping_add(u128::from(further)).into()),
    }
}
