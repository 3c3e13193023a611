//! The start line.

use filter_core::reason::Reason;
use ringfence_tests::packet::Packet;

use crate::{blocked_call, blocks, call, decide, has_anomaly, passes};

#[test]
fn line_ends_in_front_of_the_start_line() {
    blocks([&b"\r\n\r\n\r\n"[..], &blocked_call().bytes()].concat());
}

#[test]
fn white_space_in_front_of_the_start_line() {
    let outcome = blocks([&b" \t"[..], &blocked_call().bytes()].concat());
    assert!(outcome.field("anomalies").contains("malformed-start-line"), "{outcome:?}");
    blocks([&b"\0"[..], &blocked_call().bytes()].concat());
}

#[test]
fn method_in_odd_case() {
    blocks(blocked_call().start_line("invite sip:+12125553456@h SIP/2.0"));
    blocks(blocked_call().start_line("InViTe sip:+12125553456@h SIP/2.0"));
}

#[test]
fn several_spaces_in_the_start_line() {
    let outcome = blocks(blocked_call().start_line("INVITE   sip:+12125553456@h \t SIP/2.0"));
    assert!(outcome.field("anomalies").contains("malformed-start-line"), "{outcome:?}");
}

#[test]
fn spaces_in_the_request_uri() {
    let message = call().start_line("INVITE sip:+16055670000@h; lr SIP/2.0");
    let outcome = has_anomaly(message, "malformed-start-line");
    assert_eq!(outcome.rule.as_deref(), Some("called"));
}

#[test]
fn request_uri_in_angle_brackets() {
    let message = call().start_line("INVITE <sip:+16055670000@h> SIP/2.0");
    let outcome = has_anomaly(message, "malformed-start-line");
    assert_eq!(outcome.rule.as_deref(), Some("called"));
}

#[test]
fn version_in_odd_case_or_of_the_future() {
    blocks(blocked_call().start_line("INVITE sip:+12125553456@h sip/2.0"));
    let outcome = blocks(blocked_call().start_line("INVITE sip:+12125553456@h SIP/7.0"));
    assert!(outcome.field("anomalies").contains("unsupported-version"), "{outcome:?}");
}

#[test]
fn unknown_method() {
    let message = blocked_call().start_line("INVITE2 sip:+12125553456@h SIP/2.0");
    let outcome = passes(&Packet::udp(message), Reason::DefaultPass);
    assert_eq!(outcome.field("method"), "INVITE2");
}

#[test]
fn version_with_something_after_it_or_in_it() {
    for version in ["SIP/2.0abc", "SIP/2.0.", "SIP/2.00", "SIP/2", "SIP /2.0", "SIP/ 2.0", "SIP\t/\t2.0", "SIPS/2.0"] {
        let outcome = blocks(blocked_call().start_line(&format!("INVITE sip:+12125553456@h {version}")));
        assert!(outcome.field("anomalies").contains("unsupported-version"), "{version}: {outcome:?}");
        assert_eq!(outcome.field("called"), "12125553456", "{version}");
    }
}

#[test]
fn version_of_another_protocol() {
    let outcome = blocks(blocked_call().start_line("INVITE sip:+12125553456@h HTTP/1.1"));
    assert_eq!(outcome.field("anomalies"), "unsupported-version");
    let outcome = has_anomaly(blocked_call().start_line("OPTIONS http://h/ HTTP/1.1"), "unsupported-version");
    assert_eq!(outcome.field("method"), "OPTIONS");
    for line in ["GET / HTTP/1.1", "NOTIFY * HTTP/1.1", "OPTIONS / RTSP/1.0", "HTTP/1.1 200 OK"] {
        assert_eq!(decide(&Packet::udp(blocked_call().start_line(line))).field("kind"), "not-sip", "{line}");
    }
}

#[test]
fn folded_start_line() {
    for line in ["INVITE\r\n sip:+12125553456@h SIP/2.0", "INVITE sip:+12125553456@h\r\n\tSIP/2.0"] {
        let outcome = blocks(blocked_call().start_line(line));
        assert_eq!(outcome.field("anomalies"), "malformed-start-line");
        assert_eq!(outcome.field("called"), "12125553456");
    }
    let outcome = has_anomaly(blocked_call().start_line("SIP/2.0\r\n 200 OK"), "malformed-start-line");
    assert_eq!(outcome.field("method"), "200");
}

#[test]
fn line_ends_in_the_request_uri() {
    for line in ["INVITE \nsip:+12125553456@h SIP/2.0", "INVITE \r\n\r\nsip:+12125553456@h SIP/2.0"] {
        let outcome = blocks(blocked_call().start_line(line));
        assert_eq!(outcome.field("anomalies"), "malformed-start-line");
        assert_eq!(outcome.field("method"), "INVITE");
        assert_eq!(outcome.field("called"), "12125553456");
    }
    blocks(blocked_call().start_line("INVITE s\nip:+12125553456@h SIP/2.0"));
    for line in ["INVITE\n sip:+12125553456\n@h SIP/2.0", "INVITE\r\n\tsip:+12125553456@h\r\nx SIP/2.0"] {
        let outcome = blocks(blocked_call().start_line(line));
        assert_eq!((outcome.field("called"), outcome.field("method")), ("12125553456".into(), "INVITE".into()));
    }
}

#[test]
fn start_line_of_many_words() {
    let outcome = blocks(blocked_call().start_line(&format!("INVITE {}sip:+12125553456@h SIP/2.0", "x ".repeat(40))));
    assert!(outcome.field("anomalies").contains("malformed-start-line"));
    let outcome =
        blocks(blocked_call().start_line(&format!("INVITE sip:+12125553456@h;x={} SIP/2.0", "a".repeat(9_000))));
    assert_eq!(outcome.field("anomalies"), "");
}

#[test]
fn junk_before_the_start_line() {
    blocks([&b"X\r\n"[..], &blocked_call().bytes()].concat());
    for junk in ["X\r\n", "\u{feff}", "@"] {
        let outcome = has_anomaly([junk.as_bytes(), &blocked_call().bytes()].concat(), "malformed-start-line");
        assert_eq!(outcome.field("calling"), "16055620123", "{junk:?}");
    }
}

#[test]
fn lines_of_junk_before_the_start_line() {
    for junk in ["X\r\nY\r\n", "one\ntwo\nthree\n\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let outcome = has_anomaly([junk.as_bytes(), &blocked_call().bytes()].concat(), "malformed-start-line");
        assert_eq!(outcome.field("calling"), "16055620123", "{junk:?}");
    }
    blocks(["X\r\n".repeat(500).as_bytes(), &blocked_call().bytes()].concat());
}

#[test]
fn stun_before_the_start_line() {
    let header = b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl";
    for between in ["", "\r\n"] {
        let packet = [&header[..], between.as_bytes(), &blocked_call().bytes()].concat();
        let outcome = has_anomaly(packet, "malformed-start-line");
        assert_eq!(outcome.field("calling"), "16055620123", "{between:?}");
    }
    assert_eq!(decide(&Packet::udp(&header[..])).field("kind"), "stun");
}

#[test]
fn status_code_that_is_none() {
    for line in ["SIP/2.0 -200 OK", "SIP/2.0 20000 OK", "SIP/2.0x 200 OK"] {
        let outcome = decide(&Packet::udp(blocked_call().start_line(line)));
        assert_eq!(outcome.field("kind"), "response", "{line}");
        assert_ne!(outcome.field("anomalies"), "", "{line}");
    }
}

#[test]
fn bytes_that_are_in_no_token_before_the_method() {
    for prefix in [&b"\xef\xbb\xbf"[..], b"\xff", b"\"", b"(", b"x="] {
        let outcome = blocks([prefix, &blocked_call().bytes()[..]].concat());
        assert_eq!(
            (outcome.field("method"), outcome.field("anomalies")),
            ("INVITE".into(), "malformed-start-line".into())
        );
    }
}
