//! Answers the requests that a rule rejects or diverts.
//!
//! The program in the kernel drops them; their bytes come by the bus, as to whoever captures packets. The answers are made without state, from
//! the request alone, and leave as whole frames. What is answered is bounded: in all, to each source, and by the size of what is
//! answered.

mod answer;
mod frame;
mod limit;
mod socket;
mod via;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use filter_core::layout::Transport;
use filter_policy::{
    engine::{NoRequest, RequestReader},
    facts::PolicyFacts,
    language::diagnostics::plural,
};

pub use self::limit::Rate;
use self::{
    answer::{Answerer, code, wants_redress},
    frame::Received,
    limit::{Limits, Refused},
    socket::PacketSocket,
};
use crate::telemetry::{Bus, CapturedPacket, Interest, Message, Notice, QUEUE, RESPONDER, Unanswered};

/// The answers in all, unless the configuration says otherwise.
pub const DEFAULT_TOTAL: Rate = Rate::per_second(500);

/// The answers to each source, unless the configuration says otherwise. A peer sends all its calls from one address.
pub const DEFAULT_PER_SOURCE: Rate = Rate::per_second(10);

/// When an overloaded caller may try again, unless the configuration says otherwise.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Where a call was blocked, as RFC 8606 names it, seen from the caller.
pub const LOCATIONS: [&str; 5] = ["LN", "LPN", "RLN", "RPN", "TN"];

/// Bytes of the longest contact.
pub const LONGEST_CONTACT: usize = 128;

/// How answers are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// False if nothing is answered, whatever the policy says.
    pub enabled: bool,
    /// How many answers are sent.
    pub total: Rate,
    /// How many are sent to one source.
    pub per_source: Rate,
    /// True if an answer goes to the port that the request came from; false if only where its Via asks for that (RFC 3581).
    pub symmetric: bool,
    /// What a 503 says about when to try again.
    pub retry_after: Duration,
    /// Whom a caller can turn to who was blocked by analytics.
    pub redress: Redress,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enabled: true,
            total: DEFAULT_TOTAL,
            per_source: DEFAULT_PER_SOURCE,
            symmetric: true,
            retry_after: DEFAULT_RETRY_AFTER,
            redress: Redress::default(),
        }
    }
}

/// Whom a caller can turn to who was blocked by analytics (603+).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redress {
    /// A web page.
    pub url: Option<String>,
    /// A telephone number.
    pub tel: Option<String>,
    /// An e-mail address.
    pub email: Option<String>,
    /// Where the call was blocked, one of [`LOCATIONS`].
    pub location: &'static str,
}

impl Default for Redress {
    fn default() -> Self {
        Self { url: None, tel: None, email: None, location: "RLN" }
    }
}

impl Redress {
    /// As it is in the text of Reason; none if there is no contact.
    fn text(&self) -> Option<String> {
        let contacts = [("url", &self.url), ("tel", &self.tel), ("email", &self.email)];
        let parts: Vec<String> =
            contacts.iter().filter_map(|(name, contact)| Some(format!("{name}={}", contact.as_ref()?))).collect();
        (!parts.is_empty()).then(|| parts.join(";"))
    }
}

/// The responder. It has a thread while the policy in force has something to answer.
#[derive(Debug)]
pub struct Responder {
    options: Options,
    bus: Arc<Bus>,
    /// What the policy in force says; shared with the thread.
    policy: Arc<Mutex<Arc<PolicyFacts>>>,
    is_running: bool,
}

impl Responder {
    /// One that answers nothing until it has a policy.
    #[must_use]
    pub fn new(options: Options, bus: Arc<Bus>) -> Self {
        Self { options, bus, policy: Arc::default(), is_running: false }
    }

    /// Answers as this policy says from now on. Call it for each policy that comes in force.
    pub fn set_policy(&mut self, facts: Option<Arc<PolicyFacts>>) {
        let facts = facts.unwrap_or_default();
        let answers = self.options.enabled && facts.answers().next().is_some();
        if answers {
            self.bus.answers().begin(facts.answers().filter_map(|(_, action)| code(action)));
            self.warn(&facts);
        }
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = facts;
        if answers && !self.is_running {
            match self.begin() {
                Ok(()) => self.is_running = true,
                Err(error) => self.complain(format!("{SILENT}: {error}")),
            }
        } else if !answers && self.is_running {
            // Its thread ends when it has read what is in its queue.
            self.bus.unsubscribe(RESPONDER);
            self.is_running = false;
        }
    }

    /// Starts the thread.
    fn begin(&self) -> io::Result<()> {
        let reader = RequestReader::new().map_err(|mistakes| io::Error::other(mistakes.totals()))?;
        let socket = PacketSocket::open();
        if let Err(error) = &socket {
            self.complain(format!("{SILENT}: {}", refusal(error)));
        }
        let mut subscription = self.bus.subscribe(RESPONDER, Interest::ANSWERED, QUEUE);
        let (bus, policy) = (Arc::clone(&self.bus), Arc::clone(&self.policy));
        let mut work = Work {
            answerer: Answerer::new(self.options.clone()),
            limits: Limits::new(self.options.total, self.options.per_source, Instant::now()),
            reader,
        };
        thread::Builder::new().name(RESPONDER.to_owned()).spawn(move || {
            while let Some(message) = subscription.next_blocking() {
                let Message::Captured(packet) = message else { continue };
                let facts = Arc::clone(&policy.lock().unwrap_or_else(PoisonError::into_inner));
                let result = work.frames(&packet, &facts, Instant::now()).and_then(|answer| {
                    let socket = socket.as_ref().map_err(|_| Unanswered::NotPermitted)?;
                    for frame in &answer.frames {
                        socket.send(packet.interface, frame).map_err(|error| unsent(&error))?;
                    }
                    Ok(answer.code)
                });
                match result {
                    Ok(code) => bus.answers().sent(code),
                    Err(cause) => bus.answers().suppressed(cause),
                }
            }
        })?;
        Ok(())
    }

    /// Warns about rules whose answers lack what the law asks for.
    fn warn(&self, facts: &PolicyFacts) {
        if self.options.redress.text().is_some() {
            return;
        }
        let mut rules: Vec<&str> = facts
            .answers()
            .filter(|(rule, action)| wants_redress(action, facts.basis(rule)))
            .map(|(rule, _)| rule)
            .collect();
        rules.sort_unstable();
        if !rules.is_empty() {
            let block = plural(rules.len() as u64, "rule blocks", "rules block");
            self.complain(format!(
                "{} {block} by analytics with 603 ({}), and callers do not learn whom they can turn to: set `redress_url`, `redress_tel` \
                 or `redress_email` in `[responder]` of the configuration",
                rules.len(),
                rules.join(", ")
            ));
        }
    }

    fn complain(&self, message: String) {
        self.bus.publish(Notice::Error { message });
    }
}

const SILENT: &str = "calls that rules reject or divert are dropped without an answer";

/// Why there is no socket, and what helps.
fn refusal(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "CAP_NET_RAW is missing: add it to `AmbientCapabilities=` and `CapabilityBoundingSet=` of the unit \
                (`systemctl edit ringfence`), and AF_PACKET to `RestrictAddressFamilies=`"
            .to_owned();
    }
    if error.raw_os_error() == Some(libc::EAFNOSUPPORT) {
        return "packet sockets are not allowed here: add AF_PACKET to `RestrictAddressFamilies=` of the unit \
                (`systemctl edit ringfence`)"
            .to_owned();
    }
    format!("failed to open a packet socket: {error}")
}

/// What an error of sending counts as.
fn unsent(error: &io::Error) -> Unanswered {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Unanswered::NotPermitted,
        // Longer than the interface takes.
        Some(libc::EMSGSIZE) => Unanswered::TooLarge,
        _ => Unanswered::NotSent,
    }
}

/// What makes answers.
struct Work {
    answerer: Answerer,
    limits: Limits,
    reader: RequestReader,
}

/// An answer, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
struct Frames {
    code: u16,
    frames: Vec<Vec<u8>>,
}

impl Work {
    /// The frames that answer a packet, counted against the limits.
    fn frames(&mut self, packet: &CapturedPacket, facts: &PolicyFacts, now: Instant) -> Result<Frames, Unanswered> {
        let event = &packet.event;
        let source = SocketAddr::new(event.source, event.source_port);
        let destination = SocketAddr::new(event.destination, event.destination_port);
        let rule = event.rule.as_deref().ok_or(Unanswered::Never)?;
        let action = facts.answer(rule).ok_or(Unanswered::Never)?;
        // First what costs nothing: under a flood, most end here.
        self.limits.check(source.ip(), now).map_err(|refused| match refused {
            Refused::Source => Unanswered::RateSource,
            Refused::Total => Unanswered::RateTotal,
        })?;
        let received = Received::new(&packet.frame, source, destination)?;
        let transport = Transport::from_name(&event.transport).ok_or(Unanswered::Unreadable)?;
        let request = self.reader.read(&packet.frame, destination.port(), transport).map_err(|none| match none {
            NoRequest::Response => Unanswered::Never,
            NoRequest::Unreadable => Unanswered::Unreadable,
        })?;
        let length = packet.payload.len();
        let answer = self.answerer.answer(&request, length, source, action, event.basis.as_deref())?;
        let frames = if transport == Transport::Udp {
            received.datagram(answer.port, &answer.message).map(|frame| vec![frame])
        } else {
            let length = u32::try_from(length).map_err(|_| Unanswered::TooLarge)?;
            received.segments(length, &answer.message).map(Vec::from)
        };
        let frames = frames.ok_or(Unanswered::Address)?;
        self.limits.take(source.ip(), now);
        Ok(Frames { code: answer.code, frames })
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use etherparse::PacketHeaders;
    use filter_policy::{
        engine::{Endpoints, datagram, segment},
        testing::{self, Random},
    };

    use super::*;
    use crate::telemetry::{PacketEvent, RuleMode, captured_example};

    const POLICY: &str = "version = 1\n[[rule]]\nname = \"spam\"\nbasis = \"analytics\"\nmatch.called = \"1605562\"\n\
                          action = { reject = 603 }\n[[rule]]\nname = \"captcha\"\nmatch.called = \"1605563\"\n\
                          action = { divert = \"sip:captcha@example.com\" }\n[[rule]]\nname = \"trial\"\nmode = \"report\"\n\
                          match.called = \"1605564\"\naction = { reject = 403 }\n[[rule]]\nname = \"silent\"\n\
                          match.called = \"1605565\"\naction = \"drop\"\n";

    fn facts(text: &str) -> Arc<PolicyFacts> {
        Arc::new(PolicyFacts::new(&testing::load(&[("policy.toml", text)]).unwrap().0))
    }

    fn work() -> Work {
        let redress = Redress { email: Some("noc@example.net".to_owned()), ..Redress::default() };
        let options = Options { per_source: Rate::per_second(3), redress, ..Options::default() };
        Work {
            limits: Limits::new(options.total, options.per_source, Instant::now()),
            answerer: Answerer::new(options),
            reader: RequestReader::new().unwrap(),
        }
    }

    const INVITE: &str = "INVITE sip:+16055620100@198.51.100.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:40000;rport;branch=z9hG4bK1\r\n\
                          Max-Forwards: 70\r\nFrom: <sip:+14155550100@a>;tag=1\r\nTo: <sip:+16055620100@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\
                          Contact: <sip:+14155550100@192.0.2.7:40000>\r\nContent-Length: 0\r\n\r\n";

    fn ends() -> Endpoints {
        let [source, destination] = ["192.0.2.7:40000", "198.51.100.1:5060"].map(|end| end.parse().unwrap());
        Endpoints { source, destination }
    }

    /// A frame as the daemon hands it on when this rule has dropped it.
    fn packet(frame: Vec<u8>, payload: Range<usize>, rule: &str, transport: &str) -> CapturedPacket {
        let Endpoints { source, destination } = ends();
        let event = PacketEvent {
            verdict: "reject".to_owned(),
            mode: RuleMode::Enforce,
            rule: Some(rule.to_owned()),
            source: source.ip(),
            source_port: source.port(),
            destination: destination.ip(),
            destination_port: destination.port(),
            transport: transport.to_owned(),
            basis: facts(POLICY).basis(rule).map(str::to_owned),
            ..captured_example(b"").event
        };
        CapturedPacket { event, frame, payload, ..captured_example(b"") }
    }

    fn over_udp(message: &str, rule: &str) -> CapturedPacket {
        let frame = datagram(&ends(), message.as_bytes());
        let payload = frame.len() - message.len()..frame.len();
        packet(frame, payload, rule, "udp")
    }

    fn message(frame: &[u8]) -> String {
        String::from_utf8_lossy(PacketHeaders::from_ethernet_slice(frame).unwrap().payload.slice()).into_owned()
    }

    #[test]
    fn each_rule_gives_its_own_answer() {
        let mut work = work();
        let mut answer = |rule: &str| {
            let frames = work.frames(&over_udp(INVITE, rule), &facts(POLICY), Instant::now())?;
            Ok::<_, Unanswered>((frames.code, message(&frames.frames[0])))
        };
        let (code, spam) = answer("spam").unwrap();
        assert_eq!(code, 603);
        assert!(
            spam.starts_with("SIP/2.0 603 Network Blocked\r\n") && spam.contains("email=noc@example.net"),
            "{spam}"
        );
        let (code, captcha) = answer("captcha").unwrap();
        assert_eq!(code, 302);
        assert!(captcha.contains("\r\nContact: <sip:captcha@example.com>\r\n"), "{captcha}");
        for rule in ["trial", "silent", "unknown"] {
            assert_eq!(answer(rule), Err(Unanswered::Never), "{rule}");
        }
    }

    #[test]
    fn the_limits_count_answers_and_not_what_gets_none() {
        let (mut work, facts, now) = (work(), facts(POLICY), Instant::now());
        let garbage = over_udp("garbage", "spam");
        for _ in 0..10 {
            assert_eq!(work.frames(&garbage, &facts, now), Err(Unanswered::Unreadable));
        }
        let packet = over_udp(INVITE, "spam");
        let first = work.frames(&packet, &facts, now).unwrap();
        for _ in 0..2 {
            assert_eq!(work.frames(&packet, &facts, now).as_ref(), Ok(&first), "a copy gets a copy of the answer");
        }
        assert_eq!(work.frames(&packet, &facts, now), Err(Unanswered::RateSource));
        assert!(work.frames(&packet, &facts, now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn over_tcp_the_answer_and_a_reset_are_sent() {
        let message_ = INVITE.replace("/UDP", "/TCP");
        let frame = segment(&ends(), 7, message_.as_bytes());
        let payload = frame.len() - message_.len()..frame.len();
        let frames = work().frames(&packet(frame, payload, "spam", "tcp"), &facts(POLICY), Instant::now()).unwrap();
        assert_eq!(frames.frames.len(), 2);
        assert!(message(&frames.frames[0]).starts_with("SIP/2.0 603 "));
        assert_eq!(message(&frames.frames[1]), "");
    }

    #[test]
    fn only_what_is_initial_and_a_request_is_answered() {
        let mut work = work();
        for (message, cause) in [
            (INVITE.replace("INVITE", "ACK"), Unanswered::Never),
            (INVITE.replace("INVITE", "CANCEL"), Unanswered::Never),
            (INVITE.replace("INVITE sip:+16055620100@198.51.100.1 SIP/2.0", "SIP/2.0 603 Decline"), Unanswered::Never),
            (INVITE.replace("+16055620100@b>", "+16055620100@b>;tag=2"), Unanswered::WithinDialog),
            ("\r\n\r\n".to_owned(), Unanswered::Unreadable),
        ] {
            let result = work.frames(&over_udp(&message, "spam"), &facts(POLICY), Instant::now());
            assert_eq!(result, Err(cause), "{message}");
        }
    }

    #[test]
    fn whatever_is_answered_the_answer_is_one_response_and_bounded() {
        let mut random = Random(7);
        let (mut work, facts, now) = (work(), facts(POLICY), Instant::now());
        let header = "Contact: <sip:captcha@example.com>\r\n".len();
        let pieces: [&[u8]; 12] =
            [b"\r\n", b"\n", b"\r", b" ", b"\t", b";", b",", b"\"", b":", b"Via: x\r\n", b";tag=", b"\0"];
        let mut answered = 0;
        for round in 0..3_000 {
            let mut message = INVITE.as_bytes().to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(message.len());
                match random.below(3) {
                    0 => message[at] = random.below(256) as u8,
                    1 => drop(message.remove(at)),
                    _ => drop(message.splice(at..at, pieces[random.below(pieces.len())].iter().copied())),
                }
            }
            let frame = datagram(&ends(), &message);
            let packet = packet(frame.clone(), frame.len() - message.len()..frame.len(), "captcha", "udp");
            let later = now + Duration::from_secs(round);
            let Ok(answer) = work.frames(&packet, &facts, later) else { continue };
            answered += 1;
            let answer = &answer.frames[0];
            assert!(answer.len() <= frame.len() + header, "{}", message.escape_ascii());
            assert_eq!(work.reader.read(answer, 40_000, Transport::Udp), Err(NoRequest::Response));
            let text = PacketHeaders::from_ethernet_slice(answer).unwrap().payload.slice().to_vec();
            let ends = text.windows(4).filter(|window| *window == b"\r\n\r\n").count();
            assert!(ends == 1 && text.ends_with(b"\r\n\r\n"), "{}", text.escape_ascii());
            assert!(!text.contains(&0), "{}", text.escape_ascii());
        }
        assert!(answered > 500, "{answered} answers say little");
    }

    #[test]
    fn a_responder_listens_only_while_the_policy_answers() {
        let bus = Arc::new(Bus::new(String::new(), None));
        let mut responder = Responder::new(Options::default(), Arc::clone(&bus));
        let listens = || bus.wants(Interest::ANSWERED);
        responder.set_policy(Some(facts("version = 1\n")));
        assert!(!listens() && bus.facts().answers.is_none());
        responder.set_policy(Some(facts(POLICY)));
        assert!(listens() && !bus.wants(Interest::CAPTURES));
        assert_eq!(
            bus.facts().answers.unwrap().sent,
            [(302, 0), (603, 0)].into(),
            "what is in report mode answers nothing"
        );
        responder.set_policy(None);
        assert!(!listens() && bus.facts().answers.is_some(), "the counts stay");
        let mut off = Responder::new(Options { enabled: false, ..Options::default() }, Arc::clone(&bus));
        off.set_policy(Some(facts(POLICY)));
        assert!(!listens());
    }

    #[test]
    fn a_rule_without_redress_is_complained_of_once_for_each_policy() {
        let bus = Arc::new(Bus::new(String::new(), None));
        let mut notices = bus.subscribe("test", Interest::NOTICES, 8);
        let mut responder = Responder::new(Options::default(), Arc::clone(&bus));
        responder.set_policy(Some(facts(POLICY)));
        bus.close(None);
        let mut complaints = Vec::new();
        while let Some(Message::Notice(notice)) = notices.next_blocking() {
            complaints.push(notice.json_line());
        }
        let about = complaints.iter().filter(|line| line.contains("(spam)") && line.contains("redress_url")).count();
        assert_eq!(about, 1, "{complaints:?}");
    }

    #[test]
    fn a_refused_socket_names_the_capability_that_is_missing() {
        assert!(refusal(&io::Error::from_raw_os_error(libc::EPERM)).contains("CAP_NET_RAW"));
        assert!(refusal(&io::Error::from_raw_os_error(libc::EAFNOSUPPORT)).contains("AF_PACKET"));
        for (errno, cause) in [
            (libc::EPERM, Unanswered::NotPermitted),
            (libc::EMSGSIZE, Unanswered::TooLarge),
            (libc::ENETDOWN, Unanswered::NotSent),
        ] {
            assert_eq!(unsent(&io::Error::from_raw_os_error(errno)), cause);
        }
    }
}
