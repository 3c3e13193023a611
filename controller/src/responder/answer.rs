//! The answer to a request, without state: the same request gets the same answer (RFC 3261 section 8.2.7).

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::SocketAddr,
};

use filter_core::layout::Method;
use filter_policy::{engine::Request, language::action::Action};

use super::{Options, via::TopVia};
use crate::telemetry::Unanswered;

/// The basis of a rule that blocks by analytics (47 CFR 64.1200(k)(9)): callers learn whom they can turn to.
const ANALYTICS: &str = "analytics";

/// The status codes whose answers have a meaning of their own here.
const MOVED_TEMPORARILY: u16 = 302;
const SERVICE_UNAVAILABLE: u16 = 503;
const DECLINE: u16 = 603;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its status code.
    pub(super) code: u16,
    /// The message.
    pub(super) message: Vec<u8>,
    /// The port that it is sent to.
    pub(super) port: u16,
}

/// Makes answers.
#[derive(Debug)]
pub(super) struct Answerer {
    options: Options,
    /// The key of the tags in To.
    key: RandomState,
}

impl Answerer {
    pub(super) fn new(options: Options) -> Self {
        Self { options, key: RandomState::new() }
    }

    /// The answer of a rule with this action and basis to a request of `length` bytes.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn answer(
        &self,
        request: &Request,
        length: usize,
        source: SocketAddr,
        action: &Action,
        basis: Option<&str>,
    ) -> Result<Answer, Unanswered> {
        // Without state, a CANCEL belongs to nothing (RFC 3261 section 8.2.7).
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return Err(Unanswered::Never);
        }
        if request.within_dialog {
            return Err(Unanswered::WithinDialog);
        }
        let (first, others) = request.vias.split_first().ok_or(Unanswered::Unreadable)?;
        let via = TopVia::new(first, source).ok_or(Unanswered::Unreadable)?;
        let Said { code, phrase, header } = self.says(action, basis).ok_or(Unanswered::Never)?;

        let mut message = format!("SIP/2.0 {code} {phrase}\r\n").into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            message.extend_from_slice(name.as_bytes());
            message.extend_from_slice(b": ");
            message.extend_from_slice(value);
            message.extend_from_slice(b"\r\n");
        };
        line("Via", &via.line);
        others.iter().for_each(|value| line("Via", value));
        line("From", &request.from);
        let tag = format!(";tag={:016x}", self.tag(request));
        line("To", &[&request.to, tag.as_bytes()].concat());
        line("Call-ID", &request.call_id);
        line("CSeq", &request.cseq);
        line("Content-Length", b"0");
        // Whoever forges a source must not gain by it: an answer repeats less than the request has, and adds one header.
        if message.len() + b"\r\n".len() > length {
            return Err(Unanswered::TooLarge);
        }
        message.extend_from_slice(header.as_bytes());
        message.extend_from_slice(b"\r\n");
        let port = match via.port {
            port if !self.options.symmetric && !via.symmetric => port.unwrap_or(SIP_PORT),
            _ => source.port(),
        };
        Ok(Answer { code, message, port })
    }

    /// What an action says, on this basis; none if it says nothing.
    fn says(&self, action: &Action, basis: Option<&str>) -> Option<Said> {
        Some(match action {
            Action::Divert { uri } => Said {
                code: MOVED_TEMPORARILY,
                phrase: phrase(MOVED_TEMPORARILY),
                header: format!("Contact: <{uri}>\r\n"),
            },
            Action::Reject { status: DECLINE } if basis == Some(ANALYTICS) => match self.options.redress.text() {
                Some(redress) => {
                    let location = self.options.redress.location;
                    let header =
                        format!("Reason: SIP;cause=603;text=\"v=analytics1;{redress}\";location={location}\r\n");
                    Said { code: DECLINE, phrase: "Network Blocked", header }
                }
                None => Said { code: DECLINE, phrase: phrase(DECLINE), header: String::new() },
            },
            Action::Reject { status: SERVICE_UNAVAILABLE } => Said {
                code: SERVICE_UNAVAILABLE,
                phrase: phrase(SERVICE_UNAVAILABLE),
                header: format!("Retry-After: {}\r\n", self.options.retry_after.as_secs()),
            },
            Action::Reject { status } => Said { code: *status, phrase: phrase(*status), header: String::new() },
            Action::Ban { .. } | Action::BypassFraudControl | Action::Continue | Action::Drop | Action::Whitelist => {
                return None;
            }
        })
    }

    /// The number of the tag in To: without the key it cannot be guessed, and every copy of the request has the same.
    fn tag(&self, request: &Request) -> u64 {
        let mut hasher = self.key.build_hasher();
        for part in [&request.call_id, &request.from, &request.cseq, &request.uri, &request.vias[0]] {
            hasher.write(part);
            hasher.write_usize(part.len());
        }
        hasher.finish()
    }
}

/// The port of a Via that names none (RFC 3261 section 18.2.2).
const SIP_PORT: u16 = 5060;

/// True if a rule can say whom to turn to, with this action and basis.
pub(super) fn wants_redress(action: &Action, basis: Option<&str>) -> bool {
    matches!(action, Action::Reject { status: DECLINE }) && basis == Some(ANALYTICS)
}

/// The status code of an action's answers; none if it has none.
pub(super) fn code(action: &Action) -> Option<u16> {
    match action {
        Action::Divert { .. } => Some(MOVED_TEMPORARILY),
        Action::Reject { status } => Some(*status),
        Action::Ban { .. } | Action::BypassFraudControl | Action::Continue | Action::Drop | Action::Whitelist => None,
    }
}

struct Said {
    code: u16,
    phrase: &'static str,
    /// A header line with its end, or nothing.
    header: String,
}

/// The reason phrase of a status code: that of the RFC which defines it, or else of its class.
const fn phrase(code: u16) -> &'static str {
    match code {
        302 => "Moved Temporarily",
        400 => "Bad Request",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        423 => "Interval Too Brief",
        428 => "Use Identity Header",
        429 => "Provide Referrer Identity",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity Info",
        437 => "Unsupported Credential",
        438 => "Invalid Identity Header",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ if code < 500 => "Request Failure",
        _ if code < 600 => "Server Failure",
        _ => "Global Failure",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::responder::Redress;

    const SOURCE: &str = "192.0.2.7:40000";

    fn request() -> Request {
        Request {
            method: Method::Invite,
            uri: b"sip:+12125550142@192.0.2.1".to_vec(),
            vias: vec![
                b"SIP/2.0/UDP 10.1.1.1:5070;rport;branch=z9hG4bK1, SIP/2.0/UDP a".to_vec(),
                b"SIP/2.0/TCP b;branch=z9hG4bK2".to_vec(),
            ],
            from: b"\"A\" <sip:+14155550100@a>;tag=1".to_vec(),
            to: b"<sip:+12125550142@192.0.2.1>".to_vec(),
            call_id: b"x@y".to_vec(),
            cseq: b"7 INVITE".to_vec(),
            within_dialog: false,
        }
    }

    fn answerer(options: Options) -> Answerer {
        Answerer::new(options)
    }

    fn options() -> Options {
        let redress = Redress { url: Some("https://example.net/blocked".to_owned()), ..Redress::default() };
        Options { redress, ..Options::default() }
    }

    fn reject(status: u16) -> Action {
        Action::Reject { status }
    }

    fn answer(request: &Request, action: &Action, basis: Option<&str>) -> Result<(u16, String), Unanswered> {
        let answer = answerer(options()).answer(request, 1_000, SOURCE.parse().unwrap(), action, basis)?;
        Ok((answer.code, String::from_utf8(answer.message).unwrap()))
    }

    /// The message without what is random in it.
    fn without_tag(message: &str) -> String {
        let (before, after) = message.split_once(">;tag=").expect("From has one");
        let (between, rest) = after.split_once(">;tag=").expect("To has one");
        format!("{before}>;tag={between}>;tag=TAG{}", &rest[16..])
    }

    #[test]
    fn an_answer_repeats_what_the_rfc_asks_for_in_order() {
        let (code, message) = answer(&request(), &reject(403), None).unwrap();
        assert_eq!(code, 403);
        assert_eq!(
            without_tag(&message),
            "SIP/2.0 403 Forbidden\r\n\
             Via: SIP/2.0/UDP 10.1.1.1:5070;rport=40000;branch=z9hG4bK1;received=192.0.2.7, SIP/2.0/UDP a\r\n\
             Via: SIP/2.0/TCP b;branch=z9hG4bK2\r\n\
             From: \"A\" <sip:+14155550100@a>;tag=1\r\n\
             To: <sip:+12125550142@192.0.2.1>;tag=TAG\r\n\
             Call-ID: x@y\r\nCSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_copy_gets_the_same_answer_and_another_request_another_tag() {
        let answerer = answerer(options());
        let answer = |request: &Request| {
            answerer.answer(request, 1_000, SOURCE.parse().unwrap(), &reject(603), None).unwrap().message
        };
        let first = answer(&request());
        assert_eq!(answer(&request()), first);
        for other in [
            Request { call_id: b"z".to_vec(), ..request() },
            Request { cseq: b"8 INVITE".to_vec(), ..request() },
            Request { uri: b"sip:other@h".to_vec(), ..request() },
        ] {
            let tag = |message: &[u8]| {
                let message = String::from_utf8_lossy(message).into_owned();
                message.lines().find(|line| line.starts_with("To: ")).map(str::to_owned)
            };
            assert_ne!(tag(&answer(&other)), tag(&first));
        }
        let elsewhere = Answerer::new(options());
        let elsewhere = elsewhere.answer(&request(), 1_000, SOURCE.parse().unwrap(), &reject(603), None).unwrap();
        assert_ne!(elsewhere.message, first, "the key is the process's own");
    }

    #[test]
    fn blocking_by_analytics_names_the_redress_and_nothing_else_does() {
        let reason = "\r\nReason: SIP;cause=603;text=\"v=analytics1;url=https://example.net/blocked\";location=RLN\r\n";
        let (code, message) = answer(&request(), &reject(603), Some("analytics")).unwrap();
        assert!(code == 603 && message.starts_with("SIP/2.0 603 Network Blocked\r\n"), "{message}");
        assert!(message.contains(reason), "{message}");
        for (status, basis) in [(603, Some("dno")), (603, None), (403, Some("analytics")), (607, Some("analytics"))] {
            let (_, message) = answer(&request(), &reject(status), basis).unwrap();
            assert!(!message.contains("Reason") && !message.contains("Network Blocked"), "{message}");
        }
        let silent = Answerer::new(Options::default());
        let plain = silent.answer(&request(), 1_000, SOURCE.parse().unwrap(), &reject(603), Some("analytics")).unwrap();
        assert!(plain.message.starts_with(b"SIP/2.0 603 Decline\r\n"), "without a contact there is no such answer");
    }

    #[test]
    fn a_redress_may_have_every_kind_of_contact() {
        let redress = Redress {
            url: Some("https://e.example".to_owned()),
            tel: Some("+12125550100".to_owned()),
            email: Some("noc@e.example".to_owned()),
            location: "LN",
        };
        let answerer = Answerer::new(Options { redress, ..Options::default() });
        let answer = answerer.answer(&request(), 1_000, SOURCE.parse().unwrap(), &reject(603), Some("analytics"));
        let message = String::from_utf8(answer.unwrap().message).unwrap();
        let text = "text=\"v=analytics1;url=https://e.example;tel=+12125550100;email=noc@e.example\";location=LN\r\n";
        assert!(message.contains(text), "{message}");
    }

    #[test]
    fn a_diverted_call_learns_where_to_go_and_an_overloaded_one_when_to_come_back() {
        let divert = Action::Divert { uri: "sip:captcha@example.com".to_owned() };
        let (code, message) = answer(&request(), &divert, None).unwrap();
        assert_eq!(code, 302);
        assert!(message.starts_with("SIP/2.0 302 Moved Temporarily\r\n"), "{message}");
        assert!(message.contains("\r\nContact: <sip:captcha@example.com>\r\n"), "{message}");

        let answerer = Answerer::new(Options { retry_after: Duration::from_secs(90), ..Options::default() });
        let answer = answerer.answer(&request(), 1_000, SOURCE.parse().unwrap(), &reject(503), None).unwrap();
        let message = String::from_utf8(answer.message).unwrap();
        assert!(message.starts_with("SIP/2.0 503 Service Unavailable\r\n"), "{message}");
        assert!(message.contains("\r\nRetry-After: 90\r\n"), "{message}");
    }

    #[test]
    fn every_status_that_a_policy_can_name_has_a_phrase() {
        for (status, expected) in
            [(400, "Bad Request"), (499, "Request Failure"), (608, "Rejected"), (699, "Global Failure")]
        {
            let (_, message) = answer(&request(), &reject(status), None).unwrap();
            assert!(message.starts_with(&format!("SIP/2.0 {status} {expected}\r\n")), "{message}");
        }
    }

    #[test]
    fn what_must_not_be_answered_is_not() {
        for (request, cause) in [
            (Request { method: Method::Ack, ..request() }, Unanswered::Never),
            (Request { method: Method::Cancel, ..request() }, Unanswered::Never),
            (Request { within_dialog: true, ..request() }, Unanswered::WithinDialog),
            (Request { vias: vec![b"no via".to_vec()], ..request() }, Unanswered::Unreadable),
            (Request { vias: Vec::new(), ..request() }, Unanswered::Unreadable),
        ] {
            assert_eq!(answer(&request, &reject(603), None), Err(cause));
        }
        for action in [Action::Drop, Action::Ban { seconds: 1, prefix4: 32, prefix6: 64 }] {
            assert_eq!(answer(&request(), &action, None), Err(Unanswered::Never));
        }
    }

    #[test]
    fn an_answer_exceeds_what_it_answers_by_one_header_at_most() {
        let answerer = answerer(options());
        let of_length = |length, action: &Action, basis| {
            answerer
                .answer(&request(), length, SOURCE.parse().unwrap(), action, basis)
                .map(|answer| answer.message.len())
        };
        let plain = of_length(1_000, &reject(603), None).unwrap();
        assert_eq!(of_length(plain, &reject(603), None), Ok(plain));
        assert_eq!(of_length(plain - 1, &reject(603), None), Err(Unanswered::TooLarge));
        let divert = Action::Divert { uri: "sip:captcha@example.com".to_owned() };
        let header = "Contact: <sip:captcha@example.com>\r\n".len();
        let moved = of_length(1_000, &divert, None).unwrap();
        assert_eq!(of_length(moved - header, &divert, None), Ok(moved));
        assert_eq!(of_length(moved - header - 1, &divert, None), Err(Unanswered::TooLarge));
    }

    #[test]
    fn without_symmetry_an_answer_goes_to_the_port_of_the_via_unless_that_asks_for_rport() {
        let port = |symmetric, via: &str| {
            let answerer = Answerer::new(Options { symmetric, ..Options::default() });
            let request = Request { vias: vec![via.as_bytes().to_vec()], ..request() };
            answerer.answer(&request, 1_000, SOURCE.parse().unwrap(), &reject(603), None).unwrap().port
        };
        assert_eq!(port(true, "SIP/2.0/UDP h:5070"), 40_000);
        assert_eq!(port(false, "SIP/2.0/UDP h:5070"), 5_070);
        assert_eq!(port(false, "SIP/2.0/UDP h"), 5_060);
        assert_eq!(port(false, "SIP/2.0/UDP h:5070;rport"), 40_000);
    }
}
