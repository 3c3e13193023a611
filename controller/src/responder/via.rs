//! The topmost Via of an answer: where the request came from, for whoever has no other way to know (RFC 3261 section 18.2.1, RFC 3581).

use std::net::{IpAddr, SocketAddr};

/// The topmost Via.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopVia {
    /// The value of its line, with `received` and, if the request asks for it, `rport` in its first Via.
    pub(super) line: Vec<u8>,
    /// The port that the Via names for answers; none if it names none.
    pub(super) port: Option<u16>,
    /// True if the sender asks for the answer at the port that it sends from.
    pub(super) symmetric: bool,
}

impl TopVia {
    /// Reads the first value of the topmost Via line, and completes it for a request from this address and port; none if it is no Via.
    pub(super) fn new(line: &[u8], source: SocketAddr) -> Option<Self> {
        let mut parts = split(line, b',');
        let first = parts.next()?;
        let rest = line.get(first.len()..)?;
        let mut parameters = split(first, b';');
        let head = parameters.next()?;
        let (host, port) = sent_by(head)?;

        let mut symmetric = false;
        let mut value = head.trim_ascii().to_vec();
        for parameter in parameters {
            let name = parameter.split(|byte| *byte == b'=').next()?.trim_ascii();
            // Whoever claims to have received it was not asked.
            if name.eq_ignore_ascii_case(b"received") || name.is_empty() {
                continue;
            }
            value.push(b';');
            if name.eq_ignore_ascii_case(b"rport") {
                if !symmetric {
                    value.extend_from_slice(format!("rport={}", source.port()).as_bytes());
                } else {
                    value.pop();
                }
                symmetric = true;
                continue;
            }
            value.extend_from_slice(parameter.trim_ascii());
        }
        let source = source.ip().to_canonical();
        if symmetric || host != Some(source) {
            value.extend_from_slice(format!(";received={source}").as_bytes());
        }
        value.extend_from_slice(rest);
        Some(Self { line: value, port, symmetric })
    }
}

/// The host, if it is an address, and the port of `SIP/2.0/UDP host:port`; white space is allowed around each slash and the colon.
fn sent_by(head: &[u8]) -> Option<(Option<IpAddr>, Option<u16>)> {
    let mut slashes = head.splitn(3, |byte| *byte == b'/');
    let (protocol, version, rest) = (slashes.next()?, slashes.next()?, slashes.next()?.trim_ascii());
    if !protocol.trim_ascii().eq_ignore_ascii_case(b"SIP") || version.trim_ascii().is_empty() {
        return None;
    }
    let space = rest.iter().position(u8::is_ascii_whitespace)?;
    let text: Vec<u8> = rest[space..].iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let text = String::from_utf8(text).ok()?;
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, port) = text.split_at(end);
    let port = match port.strip_prefix(':') {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None if port.is_empty() => None,
        None => return None,
    };
    if host.is_empty() {
        return None;
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.parse::<IpAddr>().ok().map(|address| address.to_canonical()), port))
}

/// The parts of a value between separators that are not within quotes.
fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    value.split(move |&byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        byte == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(line: &str) -> Option<(String, Option<u16>, bool)> {
        let source = "192.0.2.7:40000".parse().unwrap();
        let via = TopVia::new(line.as_bytes(), source)?;
        Some((String::from_utf8(via.line).unwrap(), via.port, via.symmetric))
    }

    #[test]
    fn the_first_via_says_where_the_request_came_from() {
        for (line, expected, port, symmetric) in [
            // As RFC 3581 section 4 has it.
            (
                "SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff",
                "SIP/2.0/UDP 10.1.1.1:4540;rport=40000;branch=z9hG4bKkjshdyff;received=192.0.2.7",
                Some(4540),
                true,
            ),
            ("SIP/2.0/UDP 192.0.2.7;branch=x", "SIP/2.0/UDP 192.0.2.7;branch=x", None, false),
            ("SIP/2.0/UDP 192.0.2.7;rport", "SIP/2.0/UDP 192.0.2.7;rport=40000;received=192.0.2.7", None, true),
            ("SIP/2.0/UDP pc.example.com", "SIP/2.0/UDP pc.example.com;received=192.0.2.7", None, false),
            (
                "SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ; branch=z9hG4bKa7c6a8dlze.1",
                "SIP / 2.0 / UDP first.example.com: 4000;ttl=16;branch=z9hG4bKa7c6a8dlze.1;received=192.0.2.7",
                Some(4000),
                false,
            ),
            ("SIP/2.0/TCP [2001:db8::1]:5061", "SIP/2.0/TCP [2001:db8::1]:5061;received=192.0.2.7", Some(5061), false),
        ] {
            assert_eq!(top(line), Some((expected.to_owned(), port, symmetric)), "{line}");
        }
    }

    #[test]
    fn others_in_its_line_stay_as_they_are() {
        let (line, ..) = top("SIP/2.0/UDP a;x=\",;\\\"\";rport, SIP/2.0/UDP b;rport;received=1.2.3.4").unwrap();
        assert_eq!(
            line,
            "SIP/2.0/UDP a;x=\",;\\\"\";rport=40000;received=192.0.2.7, SIP/2.0/UDP b;rport;received=1.2.3.4"
        );
    }

    #[test]
    fn what_the_sender_claims_is_replaced() {
        let (line, ..) = top("SIP/2.0/UDP a;Received=203.0.113.1;rport=1;RPORT;branch=b").unwrap();
        assert_eq!(line, "SIP/2.0/UDP a;rport=40000;branch=b;received=192.0.2.7");
    }

    #[test]
    fn an_ipv6_source_is_recognised_and_written_without_brackets() {
        let source = "[2001:db8::7]:5060".parse().unwrap();
        let line = |line: &str| String::from_utf8(TopVia::new(line.as_bytes(), source).unwrap().line).unwrap();
        assert_eq!(line("SIP/2.0/UDP [2001:DB8:0::7]:5060;branch=b"), "SIP/2.0/UDP [2001:DB8:0::7]:5060;branch=b");
        assert_eq!(line("SIP/2.0/UDP h"), "SIP/2.0/UDP h;received=2001:db8::7");
    }

    #[test]
    fn what_is_no_via_is_none() {
        for line in [
            "",
            ";",
            ",",
            "SIP/2.0/UDP",
            "SIP/2.0 host",
            "SIP/2.0/UDP host:0",
            "SIP/2.0/UDP host:99999",
            "SIP/2.0/UDP [::1",
            "x/2.0/UDP h",
            "SIP/2.0/UDP :5060",
        ] {
            assert_eq!(top(line), None, "{line}");
        }
    }
}
