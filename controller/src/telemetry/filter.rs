//! Which packet events a reader wants.

use std::{fmt, net::IpAddr, str::FromStr};

use filter_core::reason::Reason;
use filter_policy::language::{diagnostics::suggest, printable};
use ipnet::IpNet;

use super::{CapturedPacket, PacketEvent, RuleMode};

/// What can happen to a packet, as [`PacketEvent::verdict`] names it.
pub const VERDICTS: [&str; 4] = ["pass", "drop", "reject", "divert"];

/// The names of the modes, as [`PacketEvent::mode`] has them.
pub const MODES: [&str; 2] = [RuleMode::Enforce.name(), RuleMode::Report.name()];

/// Digits of the longest prefix of a number (ITU-T E.164), with some to spare for numbers that are none.
const LONGEST_NUMBER: usize = 20;

/// The most words of a filter: a reader does not make the daemon compare for long.
const MOST_WORDS: usize = 64;

/// A filter of packet events. Words of the same kind are alternatives; an event must satisfy each kind that has words. The
/// empty filter lets every event through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Names of rules.
    pub rules: Vec<String>,
    /// Networks of the source.
    pub sources: Vec<Source>,
    /// What one of the numbers begins with.
    pub numbers: Vec<NumberPrefix>,
    /// Some of [`VERDICTS`].
    pub verdicts: Vec<String>,
    /// Whether the rule acts, or only reports.
    pub modes: Vec<RuleMode>,
    /// Why the packet got its verdict.
    pub reasons: Vec<Reason>,
    /// Labels of the sets that the source is in.
    pub upstreams: Vec<String>,
}

/// A network, or an address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(IpNet);

/// The first digits of a number, without a plus; or the beginning of an emergency service's URN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberPrefix(String);

/// Why a filter cannot be read. The text says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The source has bits after its length.
    #[error("{found} has bits set after its length: write {network}, or the address alone")]
    HostBits {
        /// The text.
        found: String,
        /// The network that has the address.
        network: IpNet,
    },
    /// There is no such parameter.
    #[error("there is no parameter `{}`{}", printable::escaped(found), Help(help.as_deref()))]
    Key {
        /// The text.
        found: String,
        /// What was probably meant.
        help: Option<String>,
    },
    /// The source is no address.
    #[error(
        "`{}` is no address such as 192.0.2.7 or 2001:db8::7, and no network such as 192.0.2.0/24 or 2001:db8::/48",
        printable::escaped(.0)
    )]
    Source(String),
    /// The number has no digits.
    #[error("`{}` is no beginning of a number: write its first digits, such as 4930 or +4930", printable::escaped(.0))]
    Number(String),
    /// There are too many words.
    #[error("the filter has more than {MOST_WORDS} words")]
    TooMany,
    /// There is no such value.
    #[error("`{key}` cannot be `{}`{}", printable::escaped(found), Help(help.as_deref()))]
    Word {
        /// The parameter.
        key: &'static str,
        /// The text.
        found: String,
        /// What was probably meant.
        help: Option<String>,
    },
}

/// The end of an error's text.
struct Help<'a>(Option<&'a str>);

impl fmt::Display for Help<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|help| write!(f, ": {help}"))
    }
}

/// The parameters of a filter in the query of a request.
pub const FILTER_KEYS: [&str; 7] = ["rule", "source", "number", "verdict", "mode", "reason", "upstream"];

impl EventFilter {
    /// True if the event is one that the reader wants.
    #[must_use]
    pub fn matches(&self, event: &PacketEvent) -> bool {
        self.matches_besides(event, &[])
    }

    /// True if the packet is one that the reader wants. Its rules are also those that would have dropped it.
    #[must_use]
    pub fn matches_captured(&self, packet: &CapturedPacket) -> bool {
        self.matches_besides(&packet.event, &packet.would)
    }

    fn matches_besides(&self, event: &PacketEvent, rules: &[String]) -> bool {
        any(&self.rules, |rule| event.rule.as_deref() == Some(rule) || rules.contains(rule))
            && any(&self.sources, |source| source.contains(event.source))
            && any(&self.numbers, |prefix| event.numbers().any(|number| number.starts_with(&prefix.0)))
            && any(&self.verdicts, |verdict| event.verdict == *verdict)
            && any(&self.modes, |mode| event.mode == *mode)
            && any(&self.reasons, |reason| event.reason == reason.name())
            && any(&self.upstreams, |upstream| event.upstream.as_deref() == Some(upstream))
    }

    /// Adds a word of a query. False if the parameter is not one of a filter.
    ///
    /// # Errors
    /// The word is wrong.
    pub fn add(&mut self, key: &str, word: &str) -> Result<bool, FilterError> {
        match key {
            "rule" => self.rules.push(word.to_owned()),
            "source" => self.sources.push(word.parse()?),
            "number" => self.numbers.push(word.parse()?),
            "verdict" => self.verdicts.push(one_of("verdict", word, &VERDICTS)?.to_owned()),
            "mode" => self.modes.push(mode(one_of("mode", word, &MODES)?)),
            "reason" => {
                let unknown = || one_of("reason", word, &Reason::NAMES).err().unwrap_or(FilterError::TooMany);
                self.reasons.push(Reason::from_name(word).ok_or_else(unknown)?);
            }
            "upstream" => self.upstreams.push(word.to_owned()),
            _ => return Ok(false),
        }
        if self.words().len() > MOST_WORDS { Err(FilterError::TooMany) } else { Ok(true) }
    }

    /// The filter as the parameters of a query, which [`Self::add`] reads.
    #[must_use]
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let Self { rules, sources, numbers, verdicts, modes, reasons, upstreams } = self;
        let rules = rules.iter().map(|rule| ("rule", rule.clone()));
        let sources = sources.iter().map(|source| ("source", source.0.to_string()));
        let numbers = numbers.iter().map(|number| ("number", number.0.clone()));
        let verdicts = verdicts.iter().map(|verdict| ("verdict", verdict.clone()));
        let modes = modes.iter().map(|mode| ("mode", mode.name().to_owned()));
        let reasons = reasons.iter().map(|reason| ("reason", reason.name().to_owned()));
        let upstreams = upstreams.iter().map(|upstream| ("upstream", upstream.clone()));
        rules.chain(sources).chain(numbers).chain(verdicts).chain(modes).chain(reasons).chain(upstreams).collect()
    }

    /// Checks that each rule of the filter is one of `known`, so that a name with a mistake does not look like silence.
    ///
    /// # Errors
    /// A rule is not.
    pub fn check_rules<'a>(&self, known: impl IntoIterator<Item = &'a str> + Clone) -> Result<(), FilterError> {
        match self.rules.iter().find(|rule| !known.clone().into_iter().any(|name| name == **rule)) {
            Some(rule) => Err(FilterError::Word { key: "rule", found: rule.clone(), help: suggest(rule, known) }),
            None => Ok(()),
        }
    }
}

/// True without words, or if one of them holds.
fn any<T>(words: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    words.is_empty() || words.iter().any(holds)
}

fn one_of(key: &'static str, word: &str, known: &[&'static str]) -> Result<&'static str, FilterError> {
    known.iter().copied().find(|name| *name == word).ok_or_else(|| FilterError::Word {
        key,
        found: word.to_owned(),
        help: suggest(word, known.iter().copied()),
    })
}

/// The mode of this name, which is one of [`MODES`].
#[must_use]
pub fn mode(name: &str) -> RuleMode {
    if name == MODES[0] { RuleMode::Enforce } else { RuleMode::Report }
}

impl Source {
    fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Source {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_canonical().into()));
        }
        let network = text.parse::<IpNet>().map_err(|_| FilterError::Source(text.to_owned()))?;
        if network.addr() != network.network() {
            return Err(FilterError::HostBits { found: text.to_owned(), network: network.trunc() });
        }
        Ok(Self(network))
    }
}

impl FromStr for NumberPrefix {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let wrong = || FilterError::Number(text.to_owned());
        if text.starts_with("urn:") {
            return Ok(Self(text.to_owned()));
        }
        // With the visual separators that people copy (RFC 3966 section 5.1.1).
        let rest = text.trim().trim_start_matches('+');
        let digits: String = rest.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
        let is_number = !digits.is_empty() && digits.len() <= LONGEST_NUMBER;
        if is_number && digits.bytes().all(|byte| byte.is_ascii_digit()) { Ok(Self(digits)) } else { Err(wrong()) }
    }
}

/// The query of a request for events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Which events.
    pub filter: EventFilter,
    /// Continue with new events.
    pub follow: bool,
    /// How many past events; all that are kept if none.
    pub last: Option<usize>,
}

impl EventQuery {
    /// Reads the query of a URI. A parameter that is not known is a mistake: what it asks for would be missing from the answer.
    ///
    /// # Errors
    /// A parameter or its value is wrong.
    pub fn parse(query: &str) -> Result<Self, FilterError> {
        const BOOLS: [&str; 2] = ["false", "true"];
        let mut parsed = Self::default();
        for (key, word) in form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "follow" => parsed.follow = one_of("follow", &word, &BOOLS)? == "true",
                "last" => {
                    let help = || Some("write a number".to_owned());
                    let wrong = |_| FilterError::Word { key: "last", found: word.to_string(), help: help() };
                    parsed.last = Some(word.parse().map_err(wrong)?);
                }
                key => {
                    if !parsed.filter.add(key, &word)? {
                        let known = ["follow", "last"].into_iter().chain(FILTER_KEYS);
                        return Err(FilterError::Key { found: key.to_owned(), help: suggest(key, known) });
                    }
                }
            }
        }
        Ok(parsed)
    }
}

/// The query for a URI.
impl fmt::Display for EventQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("follow", if self.follow { "true" } else { "false" });
        if let Some(last) = self.last {
            query.append_pair("last", &last.to_string());
        }
        query.extend_pairs(self.filter.words());
        f.write_str(&query.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> EventQuery {
        EventQuery::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn mistake(text: &str) -> String {
        EventQuery::parse(text).map_or_else(|error| error.to_string(), |query| panic!("{text} is {query:?}"))
    }

    #[test]
    fn words_of_a_kind_are_alternatives_and_every_kind_must_hold() {
        let event = PacketEvent {
            called: Some("493012345".to_owned()),
            reason: "rule-drop".to_owned(),
            ..PacketEvent::example()
        };
        for (text, expected) in [
            ("", true),
            ("rule=scanners", true),
            ("rule=other", false),
            ("rule=other&rule=scanners", true),
            ("source=10.20.0.66", true),
            ("source=10.20.0.64/29", true),
            ("source=::ffff:10.20.0.66", true),
            ("source=10.20.0.67", false),
            ("source=2001:db8::/32", false),
            ("number=1312", true),
            ("number=%2B1312555", true),
            ("number=%2B49-30", true),
            ("number=312", false),
            ("verdict=drop", true),
            ("verdict=reject&verdict=divert", false),
            ("mode=enforce", true),
            ("mode=report", false),
            ("reason=rule-drop", true),
            ("reason=banned", false),
            ("rule=scanners&source=10.20.0.0/16&number=49&verdict=drop&mode=enforce&reason=rule-drop", true),
            ("rule=scanners&source=10.20.0.0/16&number=44", false),
        ] {
            assert_eq!(query(text).filter.matches(&event), expected, "{text}");
        }
        let without = PacketEvent { rule: None, calling: None, ..PacketEvent::example() };
        assert!(!query("rule=scanners").filter.matches(&without) && !query("number=1").filter.matches(&without));
    }

    #[test]
    fn a_query_reads_back_as_what_it_was_written_from() {
        let text = "follow=true&last=7&rule=a+%26+b&source=10.0.0.0%2F8&number=49&verdict=reject&mode=report&reason=banned&upstream=carrier-a";
        let parsed = query(text);
        assert_eq!(parsed.to_string(), text);
        assert_eq!((parsed.follow, parsed.last, &*parsed.filter.rules[0]), (true, Some(7), "a & b"));
        for key in FILTER_KEYS {
            assert!(parsed.filter.words().iter().any(|(name, _)| *name == key), "{key} is not in the test");
        }
    }

    #[test]
    fn a_wrong_word_says_what_to_write() {
        assert_eq!(mistake("verdict=dorp"), "`verdict` cannot be `dorp`: did you mean `drop`?");
        assert_eq!(mistake("mode=x"), "`mode` cannot be `x`: use one of `enforce`, `report`");
        assert_eq!(mistake("reason=rule-drp"), "`reason` cannot be `rule-drp`: did you mean `rule-drop`?");
        assert_eq!(mistake("ruel=x"), "there is no parameter `ruel`: did you mean `rule`?");
        assert!(mistake("source=10.0.0.1/8").contains("write 10.0.0.0/8"), "{}", mistake("source=10.0.0.1/8"));
        assert!(mistake("source=example.com").contains("no address such as"));
        assert!(mistake("number=alice").contains("first digits") && mistake("number=").contains("first digits"));
        assert!(mistake("last=x").contains("write a number"));
        assert!(mistake(&"rule=x&".repeat(65)).contains("more than 64"));
        let filter = query("rule=scaners").filter;
        let error = filter.check_rules(["scanners", "strangers"]).unwrap_err();
        assert_eq!(error.to_string(), "`rule` cannot be `scaners`: did you mean `scanners`?");
        assert_eq!(filter.check_rules(["scaners"]), Ok(()));
    }
}
