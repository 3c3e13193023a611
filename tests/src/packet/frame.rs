//! Writing a packet as a frame.

use std::net::IpAddr;

use super::{
    ETHERNET, IPV4, IPV6, Packet, TAG, TCP, Transport, UDP,
    extension::{FRAGMENT, fragment_header},
};

impl Packet {
    /// The offset of the payload in the frame.
    #[must_use]
    pub fn payload_offset(&self) -> usize {
        self.transport_offset()
            + match self.transport {
                Transport::Udp => UDP,
                Transport::Tcp { .. } => TCP + self.tcp_options.len(),
                Transport::Other(_) => 0,
            }
    }

    /// The offset of the transport header in the frame.
    #[must_use]
    pub fn transport_offset(&self) -> usize {
        let ip = if self.source.is_ipv4() {
            IPV4 + self.ipv4_options.len()
        } else {
            IPV6 + self.extensions.iter().map(|extension| extension.bytes(0).len()).sum::<usize>()
        };
        ETHERNET + TAG * self.tags.len() + ip
    }

    /// The whole frame.
    ///
    /// # Panics
    /// The two addresses are of different families.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        self.framed(&self.transport_bytes(), None)
    }

    /// The datagram in two fragments. The first has `first` bytes, a multiple of 8, of transport header and payload.
    ///
    /// # Panics
    /// The datagram is shorter than that.
    #[must_use]
    pub fn fragments(&self, first: usize) -> [Vec<u8>; 2] {
        assert_eq!(first % 8, 0, "fragments are cut at multiples of eight bytes");
        let all = self.transport_bytes();
        let (head, tail) = all.split_at(first);
        [self.framed(head, Some((0, true))), self.framed(tail, Some((first, false)))]
    }

    /// A single fragment: these bytes, at this offset in the datagram.
    #[must_use]
    pub fn fragment(&self, offset: usize, more: bool, bytes: &[u8]) -> Vec<u8> {
        self.framed(bytes, Some((offset, more)))
    }

    fn framed(&self, transport: &[u8], fragment: Option<(usize, bool)>) -> Vec<u8> {
        let mut frame = self.macs.to_vec();
        for (ethertype, id) in &self.tags {
            frame.extend_from_slice(&ethertype.to_be_bytes());
            frame.extend_from_slice(&id.to_be_bytes());
        }
        let ethertype = if self.source.is_ipv4() { 0x0800 } else { 0x86dd };
        frame.extend_from_slice(&self.claims.ethertype.unwrap_or(ethertype).to_be_bytes());
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend_from_slice(&self.ipv4_header(source.octets(), destination.octets(), transport, fragment));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (next, extensions) = self.extension_headers(fragment);
                let length = (extensions.len() + transport.len()) as u16;
                frame.extend_from_slice(&[self.claims.ip_version.unwrap_or(6) << 4, 0, 0, 0]);
                frame.extend_from_slice(&self.claims.ip_length.unwrap_or(length).to_be_bytes());
                frame.extend_from_slice(&[next, 64]);
                frame.extend_from_slice(&source.octets());
                frame.extend_from_slice(&destination.octets());
                frame.extend_from_slice(&extensions);
            }
            (source, destination) => panic!("{source} cannot send to {destination}"),
        }
        frame.extend_from_slice(transport);
        frame.extend_from_slice(&self.padding);
        frame
    }

    fn ipv4_header(
        &self,
        source: [u8; 4],
        destination: [u8; 4],
        transport: &[u8],
        fragment: Option<(usize, bool)>,
    ) -> Vec<u8> {
        let length = IPV4 + self.ipv4_options.len();
        let words = self.claims.ipv4_header_words.unwrap_or((length / 4) as u8);
        let total = self.claims.ip_length.unwrap_or((length + transport.len()) as u16);
        let (offset, more) = fragment.unwrap_or((0, false));
        let mut header = vec![self.claims.ip_version.unwrap_or(4) << 4 | words & 0xf, 0];
        header.extend_from_slice(&total.to_be_bytes());
        header.extend_from_slice(&(self.id as u16).to_be_bytes());
        header.extend_from_slice(&((offset / 8) as u16 | u16::from(more) << 13).to_be_bytes());
        header.extend_from_slice(&[64, self.protocol(), 0, 0]);
        header.extend_from_slice(&source);
        header.extend_from_slice(&destination);
        header.extend_from_slice(&self.ipv4_options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    /// The protocol number of the first extension header (or of the transport), and all extension headers.
    fn extension_headers(&self, fragment: Option<(usize, bool)>) -> (u8, Vec<u8>) {
        let mut next = self.protocol();
        let mut headers = Vec::new();
        if let Some((offset, more)) = fragment {
            headers = fragment_header(next, offset, more, self.id);
            next = FRAGMENT;
        }
        for extension in self.extensions.iter().rev() {
            let mut header = extension.bytes(next);
            header.append(&mut headers);
            headers = header;
            next = extension.number();
        }
        (next, headers)
    }

    fn protocol(&self) -> u8 {
        match self.transport {
            Transport::Tcp { .. } => 6,
            Transport::Udp => 17,
            Transport::Other(protocol) => protocol,
        }
    }

    /// Transport header and payload.
    fn transport_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.transport {
            Transport::Other(_) => {
                bytes.extend_from_slice(&self.payload);
                return bytes;
            }
            Transport::Udp => {
                bytes.extend_from_slice(&self.source.port().to_be_bytes());
                bytes.extend_from_slice(&self.destination.port().to_be_bytes());
                let length = (UDP + self.payload.len()) as u16;
                bytes.extend_from_slice(&self.claims.udp_length.unwrap_or(length).to_be_bytes());
                bytes.extend_from_slice(&[0, 0]);
            }
            Transport::Tcp { flags, sequence } => {
                bytes.extend_from_slice(&self.source.port().to_be_bytes());
                bytes.extend_from_slice(&self.destination.port().to_be_bytes());
                bytes.extend_from_slice(&sequence.to_be_bytes());
                bytes.extend_from_slice(&[0, 0, 0, 1]);
                let words = ((TCP + self.tcp_options.len()) / 4) as u8;
                bytes.push(self.claims.tcp_header_words.unwrap_or(words) << 4);
                bytes.push(flags);
                bytes.extend_from_slice(&[0xff, 0xff, 0, 0, 0, 0]);
                bytes.extend_from_slice(&self.tcp_options);
            }
        }
        bytes.extend_from_slice(&self.payload);
        let at = if self.transport == Transport::Udp { 6 } else { 16 };
        let sum = match checksum(&[&self.pseudo_header(bytes.len()), &bytes]) {
            // In UDP, zero means no checksum; all ones is the same number in ones' complement (RFC 768).
            0 => 0xffff,
            sum => sum,
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The pseudo-header that the transport checksum covers (RFC 9293 section 3.1, RFC 8200 section 8.1).
    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        let mut header = Vec::new();
        for address in [self.source.ip(), self.destination.ip()] {
            match address {
                IpAddr::V4(address) => header.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => header.extend_from_slice(&address.octets()),
            }
        }
        header.extend_from_slice(&(length as u32).to_be_bytes());
        header.extend_from_slice(&[0, 0, 0, self.protocol()]);
        header
    }
}

/// The Internet checksum (RFC 1071) over pieces, of which all but the last must have an even length.
pub(super) fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for piece in pieces {
        for pair in piece.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
