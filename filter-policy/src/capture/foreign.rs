//! Files that are neither a capture nor a message: what they are, and how to get from them to one.

use super::{CaptureError, MAGICS};
use crate::foreign::{self, PASS_CAPTURE, begins_with_tag, is_web_page};

/// What a file is, and what to do with it.
type Foreign = (&'static str, &'static str);

/// Checks that a file may be one message, exactly the payload of a datagram. A payload need not be SIP.
///
/// # Errors
/// It is a capture, an archive, a trace printed by some tool, or something else that no peer sends.
pub fn check_message(file: &str, content: &[u8]) -> Result<(), CaptureError> {
    if MAGICS.iter().any(|magic| content.starts_with(magic)) {
        return Err(error(
            file,
            ("a capture, not a message", "`ringfence replay` and `ringfence inspect` read captures"),
        ));
    }
    foreign(content).map_or(Ok(()), |foreign| Err(error(file, foreign)))
}

/// Checks a payload in which no SIP message was found: text is not what comes in a datagram by chance, so it is the wrong file.
///
/// # Errors
/// It is such text.
pub fn check_text(file: &str, content: &[u8]) -> Result<(), CaptureError> {
    /// Some phones keep their bindings alive with a word.
    const SHORTEST: usize = 16;
    let text = content.trim_ascii();
    let is_text =
        std::str::from_utf8(text).is_ok_and(|text| !text.chars().any(|c| c.is_control() && !c.is_whitespace()));
    // Requests of related protocols, and SIP with a mistake in its first line, come to SIP ports indeed.
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default().to_ascii_lowercase();
    let is_request = [&b"sip:"[..], b"sips:", b"tel:", b"sip/", b"http/", b"rtsp/"].iter().any(|part| has(&line, part));
    if !is_text || is_request || text.len() < SHORTEST {
        return Ok(());
    }
    Err(error(
        file,
        (
            "text, but no SIP message: its first line is neither `INVITE sip:... SIP/2.0` nor the like",
            "pass exactly the payload of one datagram, without lines that a log or a tool has added",
        ),
    ))
}

/// Why a file that begins so is not a capture; none if it is not known what it is.
pub(super) fn no_capture(file: &str, start: &[u8]) -> Option<CaptureError> {
    let line = start.trim_ascii_start().split(|&byte| byte == b'\n').next().unwrap_or_default();
    let foreign = foreign(start).or_else(|| {
        has(line, b"SIP/2.0").then_some((
            "a SIP message, not a capture",
            "`ringfence explain FILE` says what is decided about it, `ringfence inspect FILE` what is read in it",
        ))
    })?;
    Some(error(file, foreign))
}

fn error(file: &str, (what, help): Foreign) -> CaptureError {
    CaptureError::Foreign { file: file.to_owned(), what, help }
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn foreign(content: &[u8]) -> Option<Foreign> {
    if let Some(kind) = foreign::kind(content) {
        return Some((kind.what, kind.for_capture));
    }
    if (content.starts_with(b"\xff\xfe") && content.get(3) == Some(&0)) || content.starts_with(b"\xfe\xff\0") {
        return Some(("UTF-16 text", "convert it first: `iconv -f UTF-16 -t UTF-8 FILE > message.sip`"));
    }
    // Everything else is text.
    if content.contains(&0) { None } else { printed(content) }
}

/// What a text is, if a tool has printed it.
fn printed(content: &[u8]) -> Option<Foreign> {
    const LINES: usize = 20;
    const PAYLOAD: &str = "capture with `tcpdump -s 0 -w FILE`, or save as pcap; or pass the payload of one message alone, with its \
                           line breaks";
    let start = content.trim_ascii_start();
    if is_web_page(start) {
        return Some(("a web page", PASS_CAPTURE));
    }
    if begins_with_tag(start, &["<?xml", "<pdml", "<psml"]) {
        return Some(("XML", PAYLOAD));
    }
    if [&b"{"[..], b"[{", b"[\n"].iter().any(|open| start.starts_with(open)) {
        return Some(("JSON", PAYLOAD));
    }
    let lines: Vec<&[u8]> = start.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).take(LINES).collect();
    let first = lines[0];
    // A message begins with its start line, whatever its body quotes.
    let start: Vec<&[u8]> = first.split(|&byte| byte == b' ').take(4).collect();
    let is_escape = || first.windows(2).any(|two| two == b"\\r") || has(first, b"#015");
    if matches!(start[..], [_, _, b"SIP/2.0"]) || start[0] == b"SIP/2.0" && !is_escape() {
        return None;
    }
    // `\r\n` in so many characters, or `#015#012` as syslog writes it.
    let breaks = |escape: &[u8]| content.windows(escape.len()).filter(|window| *window == escape).count();
    let is_escaped = breaks(b"\\r\\n") > 2 || breaks(b"\\n") > 2 || breaks(b"#015#012") > 2 || breaks(b"#012") > 2;
    if has(content, b"SIP/2.0") && is_escaped && breaks(b"\n") <= 2 {
        return Some((
            "a message whose line breaks are written out, as `\\r\\n` or `#015#012`",
            "put the line breaks back: `printf '%b' \"$(cat FILE)\" > message.sip`; for syslog, `sed 's/#015#012/\\r\\n/g'`",
        ));
    }
    for line in &lines {
        let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(8).collect();
        let is_endpoint = |word: &[u8]| word.contains(&b':') && word.iter().any(u8::is_ascii_digit);
        let is_arrow =
            words.windows(3).any(|three| three[1] == b"->" && is_endpoint(three[0]) && is_endpoint(three[2]));
        if is_arrow {
            return Some(("a printed trace, as ngrep and sngrep write it", PAYLOAD));
        }
        if matches!(words[..], [_, b"IP" | b"IP6", _, b">", ..] | [_, _, b"IP" | b"IP6", _, b">", ..]) {
            return Some(("packets printed by tcpdump", PAYLOAD));
        }
        let is_server =
            [&b"<--- SIP read"[..], b"<--- Received SIP", b"<--- Transmitting SIP", b"Reliably Transmitting"];
        if is_server.iter().any(|mark| has(line, mark))
            || matches!(words[..], [b"recv" | b"send", _, b"bytes", b"from" | b"to", ..])
        {
            return Some(("a log of a SIP server", PAYLOAD));
        }
    }
    if first.starts_with(b"interface: ") {
        return Some(("a printed trace, as ngrep and sngrep write it", PAYLOAD));
    }
    let is_dump = |line: &[u8]| {
        let mut words = line.split(|byte| byte.is_ascii_whitespace() || *byte == b':').filter(|word| !word.is_empty());
        let is_hex = |word: &[u8]| word.iter().all(u8::is_ascii_hexdigit);
        let offset = words.next().is_some_and(|word| {
            let digits = word.strip_prefix(b"0x").unwrap_or(word);
            matches!(digits.len(), 4..=8) && digits.iter().all(|&digit| digit == b'0')
        });
        offset && words.by_ref().take(4).filter(|word| matches!(word.len(), 2 | 4 | 8) && is_hex(word)).count() == 4
    };
    if is_dump(first) {
        return Some(("a hex dump", "make bytes of it: `xxd -r FILE > message.sip`, or `text2pcap` for a capture"));
    }
    // A line of a log, with a message in it or after it.
    let is_dated = first.len() > 15
        && first[..4].iter().all(u8::is_ascii_digit)
        && first[4] == b'-'
        && first[13..].contains(&b':');
    if is_dated && has(content, b"SIP/2.0") {
        return Some(("a log with messages in it", PAYLOAD));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9\r\nCall-ID: a -> b:1\r\n\r\n";

    #[test]
    fn what_no_peer_sends_is_named() {
        let escaped = INVITE.replace("\r\n", "\\r\\n");
        let syslog = format!("Nov 20 13:22:46 pbx kamailio: {}", INVITE.replace("\r\n", "#015#012"));
        for (content, says) in [
            (b"\x1f\x8b\x08\0abc".to_vec(), "gzip"),
            (b"\xd4\xc3\xb2\xa1\x02\0".to_vec(), "a capture, not"),
            (b"snoop\0\0\0\0".to_vec(), "snoop"),
            (b"\xff\xfeI\0N\0".to_vec(), "UTF-16"),
            (b"<html>".to_vec(), "web page"),
            (format!("U 192.0.2.1:5060 -> 192.0.2.2:5060\n{INVITE}").into(), "ngrep"),
            (format!("interface: eth0\nfilter: port 5060\n####\nU 2026/11/20 13:22:46.1 192.0.2.1:5060 -> 192.0.2.2:5060 #4\n{INVITE}").into(), "ngrep"),
            (format!("2026/11/20 13:22:46.123456 192.0.2.1:5060 -> 192.0.2.2:5060\n{INVITE}").into(), "sngrep"),
            (format!("13:22:46.123456 IP 192.0.2.1.5060 > 192.0.2.2.5060: SIP: {INVITE}").into(), "tcpdump"),
            (format!("<--- SIP read from UDP:192.0.2.1:5060 --->\n{INVITE}<------------->\n").into(), "log of a SIP server"),
            (format!("recv 512 bytes from udp/[192.0.2.1]:5060 at 13:22:46:\n---\n{INVITE}").into(), "log of a SIP server"),
            (format!("2026-11-20 13:22:46 received {INVITE}").into(), "log with messages"),
            (escaped.into_bytes(), "written out"),
            (syslog.into_bytes(), "written out"),
            (b"00000000: 494e 5649 5445 2073 6970 3a31 4031 3932  INVITE sip:1@192\n".to_vec(), "hex dump"),
            (b"0000  49 4e 56 49 54 45 20 73  69 70 3a 31 40 31 39 32\n0010  2e\n".to_vec(), "hex dump"),
        ] {
            let error = check_message("x", &content).expect_err(says).to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
    }

    #[test]
    fn what_peers_send_is_a_message() {
        let traced = format!("{INVITE}U 192.0.2.1:5060 -> 192.0.2.2:5060\\r\\n\\r\\n\\r\\n\n");
        let contents: [&[u8]; 12] = [
            INVITE.as_bytes(),
            b"\r\n\r\nINVITE sip:1@192.0.2.1 SIP/2.0\r\n\r\n",
            b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\n\r\n",
            traced.as_bytes(),
            b"",
            b"\r\n\r\n",
            b"\0",
            b"jaK",
            b"\0\x01\0\0\x21\x12\xa4\x42............",
            b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n",
            b"OPTIONS sip:100@192.0.2.1\r\n\r\n",
            b"\x80\0\0\x01abcdefghijklmnopqrstuvw",
        ];
        for content in contents {
            let shown = content.escape_ascii();
            assert!(check_message("x", content).is_ok(), "{shown}");
            assert!(check_text("x", content).is_ok(), "{shown}");
        }
        let error = check_text("x", b"Dear colleagues,\nthis is no message.\n").expect_err("it is prose").to_string();
        assert!(error.contains("no SIP message"), "{error}");
    }
}
