//! The INVITEs of the floods, and their frames.

use std::net::Ipv4Addr;

use anyhow::Result;
use ringfence_tests::netns::Wire;

use crate::generate;

/// The address of the scanner.
pub(crate) const SCANNER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// The address of the ordinary caller.
const CALLER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 23);

/// Length of the INVITEs in bytes, without IP and UDP headers.
const INVITE: usize = 900;

/// The header by which the filters recognise the scanner.
pub(crate) const AGENT: &str = "User-Agent: friendly-scanner";

/// The scanner's INVITE, with the headers in SIPVicious's order.
pub(crate) fn scanner_message() -> String {
    message("100", AGENT, SCANNER)
}

fn ordinary_message() -> String {
    message("ordinary", "User-Agent: ExamplePhone/4.2", CALLER)
}

fn message(user: &str, agent: &str, source: Ipv4Addr) -> String {
    let head = format!(
        "INVITE sip:{user}@10.20.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {source}:5060;branch=z9hG4bK-3017\r\n\
         {agent}\r\n\
         From: \"caller\" <sip:caller@{source}>;tag=3136\r\n\
         To: <sip:{user}@10.20.0.1>\r\n\
         Contact: <sip:caller@{source}:5060>\r\n\
         Call-ID: 301702964093@{source}\r\n\
         CSeq: 1 INVITE\r\n\
         Max-Forwards: 70\r\n\
         Content-Type: application/sdp\r\n"
    );
    // The length has three digits.
    let body = INVITE - head.len() - "Content-Length: 000\r\n\r\n".len();
    let line = "a=rtpmap:101 telephone-event/8000\r\n";
    let mut description = format!(
        "v=0\r\no=- 1 1 IN IP4 {source}\r\ns=-\r\nc=IN IP4 {source}\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0 101\r\n"
    );
    while description.len() + line.len() <= body {
        description += line;
    }
    description += &"x".repeat(body - description.len());
    format!("{head}Content-Length: {body}\r\n\r\n{description}")
}

/// Nine scanner packets and an ordinary one.
pub(crate) fn mixed(wire: &Wire) -> Result<Vec<Vec<u8>>> {
    let (scanner, ordinary) = (frame(wire, SCANNER, &scanner_message())?, frame(wire, CALLER, &ordinary_message())?);
    let mut frames = vec![scanner; 9];
    frames.insert(4, ordinary);
    Ok(frames)
}

/// The message as a UDP datagram in an Ethernet frame to the server's interface.
pub(crate) fn frame(wire: &Wire, source: Ipv4Addr, message: &str) -> Result<Vec<u8>> {
    let (network, server) = wire.macs()?;
    let mut frame = generate::udp(4, 5060, message.as_bytes());
    frame[..6].copy_from_slice(&server);
    frame[6..12].copy_from_slice(&network);
    frame[26..30].copy_from_slice(&source.octets());
    frame[30..34].copy_from_slice(&Wire::SERVER_IPV4.parse::<Ipv4Addr>()?.octets());
    let sum: u32 = frame[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_length_that_the_document_says() {
        assert_eq!(scanner_message().len(), INVITE);
        assert_eq!(ordinary_message().len(), INVITE);
    }

    #[test]
    fn nftables_can_reach_the_user_agent() {
        assert!(8 + scanner_message().find(AGENT).unwrap() + AGENT.len() < 256);
    }
}
