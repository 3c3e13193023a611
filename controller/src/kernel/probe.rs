//! Packets that a newly loaded program is tested with before it is attached.

use filter_core::{layout::Transport, reason::Verdict};

use super::{Error, Instance};
use filter_policy::{engine::Engine, image::Image};

/// `XDP_DROP` and `XDP_PASS`, `include/uapi/linux/bpf.h`.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// A packet that the loaded program must judge as the engine does in user space.
pub(super) struct Probe {
    name: &'static str,
    packet: Vec<u8>,
    /// The expected verdict, if it does not depend on the policy.
    known: Option<Verdict>,
}

/// Runs the probes through the program, and compares the verdicts with those of the engine in user space.
pub(super) fn verify(instance: &Instance, image: &Image) -> Result<(), Error> {
    let mut engine = Engine::new(image);
    for Probe { name, packet, known } in probes(image) {
        let expected = match known.unwrap_or_else(|| engine.decide(&packet).reason.verdict()) {
            Verdict::Drop => XDP_DROP,
            Verdict::Pass => XDP_PASS,
        };
        let found = instance.run(&packet)?.action;
        if found != expected {
            return Err(Error::WrongVerdict { probe: name, found: action(found), expected: action(expected) });
        }
    }
    Ok(())
}

fn action(number: u32) -> String {
    match number {
        XDP_DROP => "XDP_DROP".to_owned(),
        XDP_PASS => "XDP_PASS".to_owned(),
        other => format!("XDP action {other}"),
    }
}

/// Packets that every policy must pass, and messages to each signalling port.
pub(super) fn probes(image: &Image) -> Vec<Probe> {
    let ports = &image.config.ports;
    let quiet_port = (9..=u16::MAX).find(|port| !ports.iter().any(|known| known.port == *port)).unwrap_or(0);
    let mut arp = vec![0; 60];
    arp[..6].fill(0xff);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let mut probes = vec![
        Probe { name: "ARP", packet: arp, known: Some(Verdict::Pass) },
        Probe {
            name: "UDP to a port without signalling",
            packet: udp(quiet_port, b"not signalling"),
            known: Some(Verdict::Pass),
        },
    ];
    for port in ports.iter().filter(|port| port.port != 0 && port.transport == Transport::Udp) {
        probes.push(Probe { name: "a scanner's OPTIONS", packet: udp(port.port, SCAN), known: None });
        probes.push(Probe { name: "an INVITE", packet: udp(port.port, INVITE), known: None });
        probes.push(Probe { name: "a keep-alive", packet: udp(port.port, b"\r\n\r\n"), known: None });
    }
    probes
}

const SCAN: &[u8] = b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bK-1\r\n\
    From: \"sipvicious\"<sip:100@1.1.1.1>;tag=1\r\n\
    To: \"sipvicious\"<sip:100@1.1.1.1>\r\n\
    Call-ID: 1@198.51.100.7\r\n\
    CSeq: 1 OPTIONS\r\n\
    User-Agent: friendly-scanner\r\n\
    Max-Forwards: 70\r\n\
    Content-Length: 0\r\n\r\n";

const INVITE: &[u8] = b"INVITE sip:+12125550123@192.0.2.1;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK-2\r\n\
    From: <sip:+13125550100@198.51.100.7>;tag=2\r\n\
    To: <sip:+12125550123@192.0.2.1>\r\n\
    Call-ID: 2@198.51.100.7\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:198.51.100.7>\r\n\
    Max-Forwards: 70\r\n\
    Content-Length: 0\r\n\r\n";

/// A UDP datagram from 198.51.100.7 to 192.0.2.1 (documentation addresses, RFC 5737) in an Ethernet frame.
fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 42];
    packet[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    packet[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    packet[12..14].copy_from_slice(&[0x08, 0x00]);
    packet[14] = 0x45;
    packet[16..18].copy_from_slice(&(28 + payload.len() as u16).to_be_bytes());
    packet[22] = 64;
    packet[23] = 17;
    packet[26..30].copy_from_slice(&[198, 51, 100, 7]);
    packet[30..34].copy_from_slice(&[192, 0, 2, 1]);
    packet[34..36].copy_from_slice(&5060u16.to_be_bytes());
    packet[36..38].copy_from_slice(&port.to_be_bytes());
    packet[38..40].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}
