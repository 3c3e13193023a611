//! Messages in TCP segments.

use filter_core::reason::Reason;
use ringfence_tests::{
    message::Message,
    packet::{Packet, flag},
};

use crate::{POLICY, blocked_call, blocks_packet, call, decide, passes};

#[test]
fn retransmission_after_a_drop() {
    let packet = Packet::tcp(blocked_call()).from_port(42_002);
    let outcomes = POLICY.run(&[packet.frame(), packet.frame(), Packet::tcp(call()).from_port(42_002).frame()]);
    assert_eq!(outcomes[0].rule.as_deref(), Some("calling"));
    assert_eq!(outcomes[1].reason, Reason::FlowOfDropped);
    assert_eq!(outcomes[2].reason, Reason::FlowOfDropped);
}

#[test]
fn message_in_the_segment_that_opens_the_connection() {
    blocks_packet(&Packet::tcp(blocked_call()).from_port(42_003).flags(flag::SYN));
}

#[test]
fn syn_in_the_middle_of_a_dropped_connection() {
    let message = Packet::tcp(blocked_call()).from_port(42_004);
    let syn = Packet::tcp("").from_port(42_004).flags(flag::SYN);
    let outcomes = POLICY.run(&[message.frame(), syn.frame(), message.frame(), message.frame()]);
    // It reaches the server, whose TCP still waits for the dropped bytes. When they are sent again, they are dropped again.
    assert_eq!(outcomes[1].reason, Reason::StreamWithoutMessage);
    assert_eq!(outcomes[2].rule.as_deref(), Some("calling"));
    assert_eq!(outcomes[3].reason, Reason::FlowOfDropped);
}

#[test]
fn copy_in_a_segment_that_begins_earlier() {
    let (ordinary, blocked) = (call().bytes(), blocked_call().bytes());
    let segment = |bytes: &[u8], sequence: u32| Packet::tcp(bytes).from_port(42_017).sequence(sequence).frame();
    let start = u32::MAX - 20;
    let second = start.wrapping_add(ordinary.len() as u32);
    let both = [&ordinary[..], &blocked].concat();
    let outcomes = POLICY.run(&[
        segment(&ordinary, start),
        segment(&blocked, second),
        // The last bytes of the first message with the second one, then both.
        segment(&both[ordinary.len() - 5..], second.wrapping_sub(5)),
        segment(&both, start),
        // The first one alone.
        segment(&ordinary, start),
    ]);
    let reasons: Vec<Reason> = outcomes.iter().map(|outcome| outcome.reason).collect();
    let dropped = Reason::FlowOfDropped;
    assert_eq!(reasons, [Reason::DefaultPass, Reason::RuleDrop, dropped, dropped, Reason::DefaultPass]);
}

#[test]
fn forged_segment_outside_the_window() {
    let ordinary = call().bytes();
    let segment = |bytes: &[u8], sequence: u32| Packet::tcp(bytes).from_port(42_018).sequence(sequence).frame();
    let mut frames = Vec::new();
    for number in 0..8 {
        frames.push(segment(&ordinary, 1_000_000 + number * ordinary.len() as u32));
        if number == 2 {
            for forged in [0, 500_000, 0x8000_0000] {
                frames.push(segment(&blocked_call().bytes(), forged));
            }
        }
    }
    let outcomes = POLICY.run(&frames);
    let passed = outcomes.iter().filter(|outcome| outcome.reason == Reason::DefaultPass).count();
    let dropped = outcomes.iter().filter(|outcome| outcome.reason == Reason::RuleDrop).count();
    assert_eq!((passed, dropped), (8, 3));
}

#[test]
fn first_segment_with_a_part_of_the_headers() {
    let message = Message::request("OPTIONS").set("User-Agent", "friendly").bytes();
    let headers_end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("they end");
    let anomalies = |port: u16, sequence: u32, bytes: &[u8]| {
        let syn = Packet::tcp("").from_port(port).flags(flag::SYN).sequence(99).frame();
        let data = Packet::tcp(bytes).from_port(port).sequence(sequence).frame();
        POLICY.run(&[syn, data])[1].field("anomalies")
    };
    let is_split = |anomalies: &str| anomalies.split(' ').any(|name| name == "split-message");
    for end in [3, 12, 60, 200, headers_end] {
        assert!(is_split(&anomalies(42_200, 100, &message[..end])), "{end} bytes");
        // In the middle of a connection it is only what it looks like.
        assert!(!is_split(&anomalies(42_200, 2_000, &message[..end])), "{end} bytes");
    }
    assert!(!is_split(&anomalies(42_201, 100, &message)));
    let long = Message::request("OPTIONS").add("X-Padding", &"x".repeat(2_000)).bytes();
    assert!(is_split(&anomalies(42_202, 100, &long[..999])));
    assert!(!is_split(&anomalies(42_202, 100, &long[..1_000])), "as long as any path allows");
}

#[test]
fn start_line_cut_after_an_odd_request_uri() {
    let segment = |text: &str| Packet::tcp(text.as_bytes().to_vec()).from_port(41_000 + text.len() as u16);
    // Sofia-SIP takes any protocol's version, Kamailio and libre read on over a control character.
    for line in ["INVITE s%69p:+16055620123@h HTT", "MESSAGE <\0sip:+16055620123@h", "INVITE x\u{1}sip:+1605"] {
        assert_eq!(decide(&segment(line)).field("anomalies"), "cut-start-line", "{line:?}");
    }
    // The end of a text.
    for line in ["message from the bank: your", "info about the transfer"] {
        passes(&segment(line), Reason::MidMessage);
    }
}

#[test]
fn message_cut_into_segments() {
    let message = blocked_call().bytes();
    // Each on a connection of its own.
    let segment = |bytes: &[u8]| Packet::tcp(bytes).from_port(42_100 + bytes.len() as u16);
    // Streams are not reassembled here: a segment that starts mid-message passes, is counted, and is not read.
    passes(&segment(&message[40..]), Reason::MidMessage);
    // The beginning of one is noticed, wherever it is cut.
    for end in [1, 4, 7] {
        let outcome = decide(&segment(&message[..end]));
        assert_eq!(outcome.rule.as_deref(), Some("unreadable"), "{outcome:?}");
        assert_eq!(outcome.field("anomalies"), "cut-start-line");
    }
    let outcome = decide(&segment(&message[..20]));
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"), "{outcome:?}");
    assert!(outcome.field("anomalies").contains("malformed-start-line"));
    // A start line and From in one segment are enough.
    blocks_packet(&segment(&message[..250]));
}

#[test]
fn second_message_in_the_segment() {
    let two = [Message::request("OPTIONS").bytes(), blocked_call().bytes()].concat();
    let outcome = decide(&Packet::tcp(two).from_port(42_006));
    assert_eq!(outcome.rule.as_deref(), Some("unreadable"));
    assert!(outcome.field("anomalies").contains("several-messages"));
}

#[test]
fn keep_alive_in_front_of_the_message_in_a_segment() {
    blocks_packet(&Packet::tcp([&b"\r\n\r\n"[..], &blocked_call().bytes()].concat()).from_port(42_007));
}

#[test]
fn request_after_something_else_in_the_segment() {
    let invite = blocked_call().bytes();
    for (port, before) in [
        "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
        "a b c/1\r\nContent-Length: 4\r\n\r\nbody\r\n",
        "a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n",
    ]
    .iter()
    .enumerate()
    {
        let bytes = [before.as_bytes(), &invite].concat();
        let outcome = decide(&Packet::tcp(bytes).from_port(42_150 + port as u16));
        assert!(outcome.is_drop(), "{before:?}: {outcome:?}");
        assert_eq!(outcome.field("calling"), "16055620123", "{before:?}");
        assert!(outcome.field("anomalies").contains("several-messages"), "{before:?}");
    }
    // The rest of an ordinary body is no message.
    passes(&Packet::tcp("a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n").from_port(42_110), Reason::MidMessage);
}

#[test]
fn urgent_byte_in_a_number() {
    let urgent = flag::ACK | flag::PSH | flag::URG;
    let outcome = decide(&Packet::tcp(call().calling("+160556x20123")).from_port(42_111).flags(urgent));
    assert!(outcome.field("anomalies").contains("urgent-data"), "{outcome:?}");
    // It may be anywhere in the message.
    let outcome = decide(&Packet::tcp("om: <sip:+160556x20123@h>\r\n").from_port(42_112).flags(urgent));
    assert_eq!(outcome.field("anomalies"), "urgent-data", "{outcome:?}");
    let outcome = decide(&Packet::tcp(call()).from_port(42_113));
    assert!(!outcome.field("anomalies").contains("urgent-data"), "{outcome:?}");
}
