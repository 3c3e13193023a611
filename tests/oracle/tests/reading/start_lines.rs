//! Start lines.

use filter_core::{layout::Text, limits::INSPECTED_LENGTH, scratch::UriOf};

use crate::{Reading, first_fragment, start, tcp, udp};

const MALFORMED: &str = "malformed-start-line";
const UNSUPPORTED: &str = "unsupported-version";
const NOT_SIP: &str = "not-sip";
const BEYOND: &str = "headers-beyond-inspected-length";

#[track_caller]
fn is_call(reading: &Reading, user: &str) {
    assert_eq!((reading.kind(), reading.method().as_str()), ("request", "INVITE"), "{reading:?}");
    assert_eq!(reading.user(UriOf::Request), user, "{reading:?}");
    assert_eq!(reading.user(UriOf::From), "+14155552671", "{reading:?}");
}

#[track_caller]
fn is_not_sip(reading: &Reading) {
    assert_eq!((reading.kind(), reading.anomalies()), ("not-sip", vec![NOT_SIP]), "{reading:?}");
}

#[test]
fn ordinary_request() {
    is_call(&start("INVITE sip:1@h SIP/2.0").has(&[]), "1");
    is_call(&start("INVITE sip:1@h sip/2.0").has(&[]), "1");
    assert_eq!(start("invite sip:1@h SIP/2.0").has(&[]).method(), "invite");
}

#[test]
fn anything_after_the_slash_of_a_version_mark_is_a_version() {
    for version in ["SIP/2.0x", "SIP/2.0.", "SIP/2.0\u{ff}", "SIP/3.0", "SIP/", "sip/x", "SIP/20"] {
        is_call(&start(&format!("INVITE sip:1@h {version}")).has(&[UNSUPPORTED]), "1");
    }
}

#[test]
fn white_space_in_a_version_mark() {
    for version in ["SIP /2.0", "SIP/ 2.0", "SIP\t/\t2.0", "SIP\r\n /2.0", "SIP \u{b} / 2.0"] {
        is_call(&start(&format!("INVITE sip:1@h {version}")).has(&[MALFORMED, UNSUPPORTED]), "1");
    }
}

#[test]
fn folded_start_line() {
    for line in ["INVITE\r\n sip:1@h SIP/2.0", "INVITE sip:1@h\r\n\tSIP/2.0", "INVITE\n sip:1@h\n SIP/2.0"] {
        is_call(&start(line).has(&[MALFORMED]), "1");
        is_call(&start(&line.replace(['\r', '\n'], "\r")).has(&[MALFORMED, "control-character"]), "1");
    }
    // A line end that is no fold ends it.
    is_not_sip(&start("INVITE\r\nsip:1@h SIP/2.0"));
}

#[test]
fn a_folded_line_after_the_version_is_ignored() {
    is_call(&start("INVITE sip:1@h SIP/2.0\r\n X: y").has(&[]), "1");
    is_call(&start("INVITE sip:1@h SIP/2.0\r\n\tf: <sip:2@h>").has(&["malformed-header"]), "1");
}

#[test]
fn words_and_spaces() {
    for line in [
        "INVITE  sip:1@h SIP/2.0",
        "INVITE\tsip:1@h SIP/2.0",
        "INVITE\u{b}sip:1@h SIP/2.0",
        "INVITE sip:1@h  SIP/2.0",
        "INVITE sip:1@h\tSIP/2.0",
        "INVITE sip:1@h SIP/2.0 ",
        "INVITE sip:1@h SIP/2.0\0",
        "INVITE <sip:1@h> SIP/2.0",
    ] {
        is_call(&start(line).has(&[MALFORMED]), "1");
    }
    assert_eq!(start("INV/ITE sip:1@h SIP/2.0").has(&[MALFORMED]).method(), "INV/ITE");
    assert_eq!(start("INVITE/ sip:1@h SIP/2.0").has(&[MALFORMED]).method(), "INVITE/");
    assert_eq!(start("A-.!%*_+`'~9 sip:1@h SIP/2.0").has(&[]).method(), "A-.!%*_+`'~9");
}

#[test]
fn a_version_after_the_uri_comes_before_one_inside_it() {
    let reading = start("INVITE sip:1@h;x=SIP/2.0 SIP/2.0").has(&[]);
    assert_eq!(reading.text(Text::RequestHost), "h;x=SIP/2.0");
    let reading = start("INVITE sip:1@hSIP/2.0").has(&[MALFORMED]);
    is_call(&reading, "1");
    assert_eq!(reading.text(Text::RequestHost), "h");
    // The first of those after the URI.
    is_call(&start("INVITE sip:1@h SIP/2.0 sip:2@h SIP/2.0").has(&[MALFORMED]), "1");
    // A version in place of the URI is none.
    is_not_sip(&start("INVITE SIP/2.0"));
}

#[test]
fn two_blanks_before_the_version_are_an_empty_uri() {
    for line in ["REGISTER  SIP/2.0", "REGISTER\t SIP/2.0 ", "REGISTER   SIP/3.0"] {
        let reading = start(line);
        assert_eq!((reading.kind(), reading.method().as_str()), ("request", "REGISTER"), "{line}");
        assert!([MALFORMED, "malformed-uri"].iter().all(|name| reading.anomalies().contains(name)), "{reading:?}");
    }
    let reading = start("INVITEsip:1@h  SIP/2.0").has(&[MALFORMED, "malformed-uri"]);
    assert_eq!(reading.method(), "INVITEsip:1@h");
    // The lines of a Via are no start lines.
    is_not_sip(&start("Via:  SIP/2.0/UDP h"));
    is_not_sip(&tcp("Via:  SIP/2.0"));
}

#[test]
fn words_before_the_version_belong_to_the_uri() {
    is_call(
        &start(&format!("INVITE sip:1{}@h SIP/2.0", " x".repeat(40))).has(&[MALFORMED, "malformed-uri"]),
        &format!("1{}", " x".repeat(40)),
    );
}

#[test]
fn a_version_of_another_protocol() {
    for line in ["INVITE sip:1@h HTTP/1.1", "INVITE sip:1@h x/", "INVITE im:1@h IM/1.0"] {
        is_call(&start(line).has(&[UNSUPPORTED]), "1");
    }
    for (line, user) in [
        ("INVITE pres:+1 HTTP/1.1", "+1"),
        ("BYE mailto:1;x HTTP/1.1", ""),
        ("INVITE :1 HTTP/1.1", ""),
        ("INVITE 1 HTTP/1.1", ""),
        ("MESSAGE http://1@h HTTP/1.1", "//1"),
        ("OPTIONS http://1@h HTTP/1.1", "//1"),
        ("OPTIONS RTSP://h RTSP/1.0", ""),
    ] {
        let reading = start(line);
        assert!(reading.anomalies().contains(&UNSUPPORTED), "{reading:?}");
        assert_eq!((reading.kind(), reading.user(UriOf::Request).as_str()), ("request", user), "{line}");
    }
    assert_eq!(start("INVITE tel:1 HTTP/1.1").has(&[UNSUPPORTED]).user(UriOf::Request), "1");
    for line in [
        "GET / HTTP/1.1",
        "NOTIFY * HTTP/1.1",
        "GET http://user@h/ HTTP/1.1",
        "DESCRIBE RTSP://user@h RTSP/1.0",
        "OPTIONS / HTTP/1.1",
        "SUBSCRIBE /path HTTP/1.1",
        "GET im:1 IM/1.0",
        "INVITEE sip:1@h",
        "INVITE im:1@h",
    ] {
        is_not_sip(&start(line));
    }
}

#[test]
fn a_request_without_a_version() {
    // No server reads these. Sofia-SIP reads on over a control character in the Request-URI.
    is_not_sip(&udp("INVITE sip:1@h\r\nTo: x\r\n\r\n"));
    is_not_sip(&udp("INVITE sip:1@h\r\nVia: SIP/2.0/UDP h\r\n\r\n"));
    is_not_sip(&udp("INVITE sip:1@h\nSIP/2.0\r\n\r\n"));
    tcp("INVITE sip:1@h\r\n").has(&[NOT_SIP, "cut-start-line"]);
    is_call(&start("INVITE sip:1@h\nx SIP/2.0").has(&[MALFORMED, "malformed-uri"]), "1");
    let reading = tcp("INVITE tel:1\r\nx SIP/2.0\r\n\r\n").has(&[MALFORMED, "missing-header", "malformed-uri"]);
    assert_eq!((reading.method().as_str(), reading.user(UriOf::Request).as_str()), ("INVITE", "1"));
    for line in ["INVITE sip:1@h /x", "INVITE sip:1@h x y/z"] {
        is_call(&start(line).has(&[MALFORMED, "malformed-uri"]), "1");
    }
    let reading = start("INVITE sip:12\x0b34@h HTTP/1.1").has(&[MALFORMED, "control-character", "malformed-uri"]);
    is_call(&reading, "12\x0b34");
}

#[test]
fn only_spaces_separate_words() {
    // oSIP takes line ends for part of the Request-URI.
    for line in ["INVITE \nsip:1@h SIP/2.0", "INVITE \r\n\r\nsip:1@h sip/2.0"] {
        is_call(&start(line).has(&[MALFORMED]), "1");
    }
    is_call(&start("INVITE \nsip:1@h SIP/2.0x").has(&[MALFORMED, UNSUPPORTED]), "1");
    for line in ["INVITE s\nip:1@h SIP/2.0", "INVITE \nip:1@h SIP/2.0", "INVITE x\nsip:1@h SIP/2.0"] {
        let reading = start(line);
        assert_eq!((reading.kind(), reading.method().as_str()), ("request", "INVITE"), "{line}");
        assert!(reading.anomalies().contains(&MALFORMED), "{reading:?}");
    }
    for line in [
        "INVITE\nsip:1@h SIP/2.0",
        "GET \nsip:1@h SIP/2.0",
        "INVITE \nsip:1@h SIP/2.0/UDP",
        "INVITE \nsip:1@h  SIP/2.0",
    ] {
        let reading = start(line);
        assert_ne!(reading.method().as_str(), "INVITE", "{line}");
    }
    is_not_sip(&udp("INVITE \nsip:1@h SIP/2.0"));
}

#[test]
fn any_number_of_slashes() {
    is_call(&start(&format!("INVITE sip:1@h;x={} SIP/2.0", "/".repeat(3000))).has(&[]), "1");
    is_not_sip(&start(&"/".repeat(3000)));
}

#[test]
fn status_lines() {
    for (line, code, anomalies) in [
        ("SIP/2.0 200 OK", "200", &[][..]),
        ("SIP/2.0 200", "200", &[]),
        ("sip/2.0 200 ", "200", &[]),
        ("SIP/2.0  200 OK", "200", &[MALFORMED]),
        ("SIP/2.0\t200 OK", "200", &[MALFORMED]),
        ("SIP/2.0 20000 OK", "20000", &[MALFORMED]),
        ("SIP/2.0 -200 OK", "-200", &[MALFORMED]),
        ("SIP/2.0 +2", "+2", &[MALFORMED]),
        ("SIP/2.0 2/x", "2/x", &[MALFORMED]),
        ("SIP/2.0\r\n 200 OK", "200", &[MALFORMED]),
        ("SIP/2.0abc 200 OK", "200", &[UNSUPPORTED]),
        ("SIP/3.0 200 OK", "200", &[UNSUPPORTED]),
        ("SIP /2.0 200 OK", "200", &[MALFORMED, UNSUPPORTED]),
        ("SIP/ 2.0 200 OK", "200", &[MALFORMED, UNSUPPORTED]),
        ("xSIP/2.0 200 OK", "200", &[MALFORMED]),
        ("\u{feff}SIP/2.0 200 OK", "200", &[MALFORMED]),
        ("SIP/x 1", "1", &[MALFORMED, UNSUPPORTED]),
        ("SIPS/2.0 200 OK", "200", &[MALFORMED, UNSUPPORTED]),
        ("SIP//2.0 200 OK", "200", &[UNSUPPORTED]),
        ("SIP/2.0200 OK", "200", &[MALFORMED, UNSUPPORTED]),
    ] {
        let reading = start(line).has(anomalies);
        assert_eq!((reading.kind(), reading.method().as_str()), ("response", code), "{line:?}");
        assert_eq!(reading.user(UriOf::From), "+14155552671");
    }
    // No code, or part of a Via.
    for line in [
        "SIP/2.0",
        "SIP/",
        "SIP/2.0 OK",
        "SIP/2.0 -",
        "SIP/2.0 -x",
        "SIP/2.0/UDP 192.0.2.1",
        "SIP/ 2.0/UDP 1",
        "xSIP/ sip:1@h SIP/2.0",
    ] {
        is_not_sip(&start(line));
    }
}

#[test]
fn a_line_without_an_end() {
    let reading = udp("INVITE sip:1@h SIP/2.0").has(&[BEYOND]);
    assert_eq!((reading.kind(), reading.user(UriOf::Request).as_str()), ("request", "1"));
    assert_eq!(udp("SIP/2.0 200 OK").has(&[BEYOND]).kind(), "response");
    is_not_sip(&udp("INVITE sip:1@h"));
    // A line end that ends the packet is one.
    for line in ["INVITE sip:1@h SIP/2.0\r\n", "INVITE sip:1@h SIP/2.0\r", "INVITE sip:1@h SIP/2.0\n"] {
        assert_eq!(udp(line).has(&[BEYOND]).kind(), "request");
        assert_eq!(first_fragment(line).has(&[BEYOND]).kind(), "request");
    }
    let reading = first_fragment("INVITE sip:1@h SIP/2.0").has(&[NOT_SIP, "tiny-first-fragment"]);
    assert_eq!(reading.kind(), "not-sip");
}

#[test]
fn a_start_line_cut_by_a_segment_is_a_message() {
    for line in ["INVITE sip:1@h", "invite sip:1@h", "INVITE sip:1@h SI", "INVITE sips:1@", "INVITE sip:"] {
        let reading = tcp(line);
        assert_eq!((reading.kind(), reading.0.method.name()), ("request", "INVITE"), "{line}");
        assert!(reading.anomalies().contains(&MALFORMED) && reading.anomalies().contains(&BEYOND), "{reading:?}");
        assert!(!reading.anomalies().contains(&UNSUPPORTED), "{reading:?}");
    }
    assert_eq!(tcp("INVITE tel:1").has(&[MALFORMED, BEYOND]).user(UriOf::Request), "1");
    for line in [
        "INVITE im:1@h",
        "INVITE si",
        "OPTIONS  x",
        "INVITE im:1@h ",
        "INVITE <sip:1@h> S",
        "BYE x  sip",
        "BYE\r\n si",
        "BYE\r\n x S",
        // The version may follow in a folded line, or the rest of the URI after a line end.
        "INVITE im:1@h\r\n",
        "INVITE \r\n",
        "INVITE \nsip:1@h",
        "INVITE \nsip:1@h SIP/2.",
        // Of any protocol.
        "INVITE im:1@h x",
        "INVITE im:1@h SIP2",
        "INVITE <\0sip:1",
    ] {
        assert_eq!(tcp(line).has(&[NOT_SIP, "cut-start-line"]).kind(), "not-sip");
    }
    for line in
        ["INVITEE sip:1@h", "sip:1@h", "INVITE im:1 x", "INVITE im:1 SIP2", "INVITE\r\nsip:1@h", "INVITE \nsip:1@h x"]
    {
        is_not_sip(&tcp(line));
    }
}

#[test]
fn a_start_line_longer_than_what_is_inspected_is_a_message() {
    let line = |length: usize| format!("INVITE sip:1@h;x={}", "x".repeat(length));
    let long = udp(line(INSPECTED_LENGTH)).has(&[MALFORMED, BEYOND]);
    assert_eq!((long.kind(), long.user(UriOf::Request).as_str()), ("request", "1"));
    is_not_sip(&udp(line(INSPECTED_LENGTH - line(0).len())));
    for junk in ["", "junk\r\n"] {
        udp(format!("{junk}INVITE im:{}", "1".repeat(INSPECTED_LENGTH))).has(&[NOT_SIP, "cut-start-line"]);
    }
    let fragment = first_fragment(&line(INSPECTED_LENGTH));
    assert_eq!(fragment.has(&[NOT_SIP, "tiny-first-fragment"]).kind(), "not-sip");
}

#[test]
fn a_segment_cut_within_its_first_word() {
    for payload in [
        "S",
        "SI",
        "SIP/2.0",
        "sip/2.0 ",
        "I",
        "INV",
        "INVITE",
        "INVITE ",
        "subs",
        "SUBSCRIBE ",
        "SUBSCRIBE  ",
        "INVITE         ",
        "BYE\r\n ",
        "INVITE\r\n",
        "m",
        "\r\n\r\nINV",
        " m",
    ] {
        assert_eq!(tcp(payload).has(&[NOT_SIP, "cut-start-line"]).kind(), "not-sip", "{payload}");
        is_not_sip(&udp(payload));
    }
    for payload in ["X", "INVIT\r\n", "INVIT  ", "SIP "] {
        is_not_sip(&tcp(payload));
    }
}

#[test]
fn a_junk_line_before_the_start_line_of_a_datagram() {
    let call = |junk: &str| format!("{junk}INVITE sip:1@h SIP/2.0\r\nFrom: <sip:+14155552671@h>\r\n\r\n");
    for junk in ["junk\r\n", "junk\n", "GET / HTTP/1.1\r\n", "junk\r\n folded\r\n", "junk\r\n\r\n\t \r\n"] {
        is_call(&udp(call(junk)).has(&[MALFORMED, "missing-header"]), "1");
        // In a stream, that may be the end of another message.
        is_call(&tcp(call(junk)).has(&["missing-header", "several-messages"]), "1");
        let versions = &["unsupported-version", "missing-header", "several-messages"];
        is_call(&tcp(call(junk).replace("SIP/2.0\r", "SIP/2.0x\r")).has(versions), "1");
        is_call(&tcp(call(junk).replace("SIP/2.0\r", "SIP/2.0")).has(&["missing-header", "several-messages"]), "1");
        // Text, as far as anyone can tell.
        is_not_sip(&tcp(call(junk).replace("INVITE", "INVITES")));
        is_not_sip(&tcp(call(junk).replace("SIP/2.0", "SIP")));
    }
    // A carriage return alone does not end the first line.
    let reading = udp(call("two words\r")).has(&[MALFORMED, "missing-header", "control-character", "malformed-uri"]);
    assert_eq!(reading.method(), "two");
    // More lines than one, if the request has a known method.
    is_call(&udp(call("junk\r\njunk\r\n")).has(&[MALFORMED, "missing-header"]), "1");
    is_call(&udp(call(&"junk\r\n".repeat(1000))).has(&[MALFORMED, "missing-header"]), "1");
    is_call(&tcp(call(&"junk\r\n".repeat(1000))).has(&["missing-header", "several-messages"]), "1");
    is_not_sip(&udp(call("junk\r\njunk\r\n").replace("INVITE", "X")));
    // Lines that look a little like a request hide none.
    let decoys = "INVITE\r\nINVITE SIP/2.0\r\nBYE a/b c/d\r\nINVITE sip:1@h SIP\r\n".repeat(9);
    is_call(&tcp(call(&decoys)).has(&["missing-header", "several-messages"]), "1");
    // The line that is folded belongs to the junk.
    is_not_sip(&udp("junk\r\n INVITE sip:1@h\r\n\r\n"));
    let reading = udp("junk\r\nSIP/2.0 200 OK\r\n\r\n").has(&[MALFORMED, "missing-header"]);
    assert_eq!(reading.kind(), "response");
}

#[test]
fn a_folded_line_after_junk_is_part_of_it() {
    // Together they are a request of the method `junk`.
    let reading = udp("junk\r\n INVITE sip:1@h SIP/2.0\r\n\r\n");
    assert_eq!((reading.kind(), reading.method().as_str()), ("request", "junk"));
}

#[test]
fn keep_alives_and_stun_are_no_messages() {
    assert_eq!(udp("\r\n\r\n").has(&[]).kind(), "keep-alive");
    assert_eq!(udp("\0\0\0\0").has(&[]).kind(), "keep-alive");
    assert_eq!(udp(b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl").has(&[]).kind(), "stun");
    is_call(
        &udp("\0 \r\nINVITE sip:1@h SIP/2.0\r\nf: <sip:+14155552671@h>\r\n\r\n").has(&[MALFORMED, "missing-header"]),
        "1",
    );
}
