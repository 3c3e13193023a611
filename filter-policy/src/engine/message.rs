//! What a message says, for whoever reports a packet: all of it, whatever the rules of the policy ask for.

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use filter_core::{
    event,
    layout::{Event, Transport},
    scratch::{Extent, Kind, Scratch},
};
use zerocopy::FromZeros as _;

use ipnet::IpNet;

use super::{Memory, UserHost, inspection, read_afresh};
use crate::{
    compile::compile,
    image::Image,
    model::{AddressEntry, AddressList, Numbering, Policy},
};

/// What a policy says about how messages are read: its numbering plans and ranges, and the sources that are believed. Nothing of its rules,
/// whose lists may be long.
pub struct MessageTables {
    image: Image,
    /// A hash of what they are made from.
    origin: u64,
}

impl MessageTables {
    /// Those of a policy; none if it does not compile. Most policies that follow each other differ in their rules: then they are those of
    /// the one before.
    #[must_use]
    pub fn new(policy: Policy, before: Option<Arc<Self>>) -> Option<Arc<Self>> {
        let Policy { ports, numbering, .. } = policy;
        let origin = hash_of(&ports, &numbering);
        if let Some(before) = before.filter(|before| before.origin == origin) {
            return Some(before);
        }
        let without_rules = Policy {
            default_drop: false,
            report: false,
            ports,
            numbering,
            rules: Vec::new(),
            never_ban: Vec::new(),
            labelled: Vec::new(),
            upstreams: Vec::new(),
            allow_emergency: false,
            headers: Vec::new(),
        };
        let image = inspection(compile(&without_rules).ok()?, &without_rules.ports);
        Some(Arc::new(Self { image, origin }))
    }
}

/// A hash of all that reading depends on. (Not of where in the files it is written.)
fn hash_of(ports: &[(u16, Transport)], numbering: &Numbering) -> u64 {
    let Numbering { plan, plans, neighbor_digits, called_from_to, asserted_identity_from, ranges } = numbering;
    let networks = |lists: &[Arc<AddressList>]| -> Vec<IpNet> {
        lists.iter().flat_map(|list| &list.entries).map(AddressEntry::network).collect()
    };
    let ports: Vec<(u16, u8)> = ports.iter().map(|(port, transport)| (*port, transport.number())).collect();
    let plans: Vec<_> = plans.iter().map(|(sources, plan)| (networks(sources), plan)).collect();
    let believed = networks(asserted_identity_from);
    let mut hasher = DefaultHasher::new();
    (ports, plan, plans, neighbor_digits, called_from_to, believed, ranges).hash(&mut hasher);
    hasher.finish()
}

impl fmt::Debug for MessageTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageTables").finish_non_exhaustive()
    }
}

/// Reads messages in reported packets with the engine, so that what is reported is what would be judged.
pub struct MessageReader {
    tables: Arc<MessageTables>,
    scratch: Box<Scratch>,
}

impl MessageReader {
    /// A reader.
    ///
    /// # Panics
    /// There is no memory for the scratch.
    #[must_use]
    pub fn new(tables: Arc<MessageTables>) -> Self {
        Self { tables, scratch: Scratch::new_box_zeroed().expect("memory for the engine's scratch") }
    }

    /// Sets what an event says of the message in its packet, given from the Ethernet header on. Nothing changes if there is none, or if the
    /// packet is cut off.
    pub fn read(&mut self, event: &mut Event, frame: &[u8]) {
        if frame.len() < event.length as usize {
            return;
        }
        // A new one for each packet: nothing is to be remembered of fragments and connections.
        let memory = Memory::default();
        let host = UserHost::new(&self.tables.image, &memory, frame);
        let s = &mut *self.scratch;
        read_afresh(host, s);
        let is_message = s.message.kind.is_message() && s.message.extent == Extent::Whole;
        // Of a segment without a message, the program may know more: it knows what came before.
        let is_read = is_message || s.message.kind != Kind::Unread && s.packet.transport == Transport::Udp;
        if is_read {
            let judged = *event;
            s.event = judged;
            event::fill_message(s);
            *event = s.event;
            keep_judged(event, &judged);
        }
    }
}

/// Puts back what the program has read: that is what was judged, perhaps by the policy before this one, and only it knows what came before in
/// the connection.
fn keep_judged(event: &mut Event, judged: &Event) {
    event.anomalies |= judged.anomalies;
    let numbers = [
        (&mut event.calling, judged.calling),
        (&mut event.called, judged.called),
        (&mut event.from, judged.from),
        (&mut event.asserted, judged.asserted),
        (&mut event.forwarded, judged.forwarded),
    ];
    for (number, judged) in numbers {
        if judged != 0 {
            *number = judged;
        }
    }
    if judged.calling != 0 {
        event.calling_format = judged.calling_format;
    }
    if judged.called != 0 {
        event.called_format = judged.called_format;
    }
}

impl fmt::Debug for MessageReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use filter_core::layout::{Attestation, Method, NumberFormat, anomaly};

    use super::*;
    use crate::{
        engine::{Endpoints, datagram, segment},
        testing,
    };

    const POLICY: &str = "version = 1\n[network]\nudp = [5060]\ntcp = [5060]\n\
        [numbering]\ncountry_code = \"1\"\nasserted_identity_from = \"@trunks\"\n\
        [sets.trunks]\naddresses = [\"192.0.2.1\"]\n\
        [[rule]]\nname = \"one\"\nmatch.source = [\"198.51.100.1\"]\naction = \"drop\"\n";

    const INVITE: &str = "INVITE sip:2125550142@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
        From: <sip:+13125550100@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nP-Asserted-Identity: <sip:+13125550199@h>\r\n\
        Diversion: <sip:+14155550123@h>\r\nCall-ID: x@y\r\nCSeq: 7 INVITE\r\nUser-Agent: phone\r\nContent-Length: 0\r\n\r\n";

    fn tables(policy: &str) -> Arc<MessageTables> {
        let (policy, _) = testing::load(&[("policy.toml", policy)]).expect("the policy is good");
        MessageTables::new(policy, None).expect("it compiles")
    }

    #[test]
    fn tables_are_made_anew_only_if_messages_are_read_in_another_way() {
        let of = |text: &str| testing::load(&[("policy.toml", text)]).expect("the policy is good").0;
        let before = tables(POLICY);
        let is_kept = |text: &str| {
            let tables = MessageTables::new(of(text), Some(Arc::clone(&before))).expect("it compiles");
            Arc::ptr_eq(&tables, &before)
        };
        assert!(is_kept(&POLICY.replace("action = \"drop\"", "action = \"continue\"")));
        assert!(!is_kept(&POLICY.replace("country_code = \"1\"", "country_code = \"44\"")));
        assert!(!is_kept(&POLICY.replace("tcp = [5060]", "tcp = [5070]")));
        assert!(!is_kept(&POLICY.replace("192.0.2.1", "192.0.2.2")), "other sources are believed");
    }

    fn read(frame: &[u8], length: usize) -> Event {
        let mut event = Event::new_zeroed();
        event.length = length as u32;
        event.slot = 7;
        event.source_port = 9;
        MessageReader::new(tables(POLICY)).read(&mut event, frame);
        event
    }

    #[test]
    fn everything_is_read_that_a_report_says_though_no_rule_asks_for_it() {
        let frame = datagram(&Endpoints::default(), INVITE.as_bytes());
        let event = read(&frame, frame.len());
        assert_eq!((event.method, event.called), (Method::Invite, 0x1212_5550_142f_0000));
        assert_eq!(
            (event.calling, event.from),
            (0x1312_5550_199f_0000, 0x1312_5550_100f_0000),
            "the trunk is believed"
        );
        assert_eq!((event.asserted, event.forwarded), (0x1312_5550_199f_0000, 0x1415_5550_123f_0000));
        assert_eq!((event.calling_format, event.within_dialog), (NumberFormat::Fictional, 1));
        assert_eq!(event.attestation, Attestation::None);
        assert_eq!(event.user_agent[..usize::from(event.user_agent_length)].trim_ascii(), b"phone");
        assert_eq!(event.call_id[..usize::from(event.call_id_length)].trim_ascii(), b"x@y");
        assert_eq!((event.slot, event.source_port), (7, 9), "what the program says of the packet stays");
    }

    #[test]
    fn what_was_judged_is_what_is_reported() {
        let frame = segment(&Endpoints::default(), 100, INVITE.as_bytes());
        let mut event = Event::new_zeroed();
        event.length = frame.len() as u32;
        event.anomalies = anomaly::SPLIT_MESSAGE;
        event.called = 0x4411_5550_123f_0000;
        event.called_format = NumberFormat::TooShort;
        MessageReader::new(tables(POLICY)).read(&mut event, &frame);
        assert_eq!(event.anomalies, anomaly::SPLIT_MESSAGE);
        assert_eq!((event.called, event.called_format), (0x4411_5550_123f_0000, NumberFormat::TooShort));
        assert_eq!(event.from, 0x1312_5550_100f_0000);
    }

    #[test]
    fn a_message_over_tcp_is_read_too() {
        let frame = segment(&Endpoints::default(), 100, INVITE.as_bytes());
        assert_eq!(read(&frame, frame.len()).called, 0x1212_5550_142f_0000);
    }

    #[test]
    fn an_anomaly_is_noted_and_what_is_no_message_says_nothing() {
        let frame = datagram(&Endpoints::default(), INVITE.replace("Call-ID: x@y\r\n", "").as_bytes());
        assert_eq!(read(&frame, frame.len()).anomalies, anomaly::MISSING_HEADER);
        let frame = datagram(&Endpoints::default(), b"garbage");
        let event = read(&frame, frame.len());
        assert_eq!((event.method, event.called, event.anomalies), (Method::None, 0, anomaly::NOT_SIP));
    }

    #[test]
    fn nothing_is_read_in_a_packet_that_is_cut_off_or_for_another_port() {
        let mut frame = datagram(&Endpoints::default(), INVITE.as_bytes());
        let length = frame.len();
        let cut = read(&frame[..length - 1], length);
        frame[37] ^= 1;
        for event in [cut, read(&frame, length)] {
            assert_eq!((event.method, event.called, event.user_agent_length), (Method::None, 0, 0));
        }
    }
}
