//! What a rule does: the actions of the policy language, with their arguments.
//!
//! [`filter_core::layout::Action`] is the action's number in the compiled rule, and knows what becomes of the packet. This
//! is the action as a policy states it. To add one, add its variant and what the `match`es here then ask for: the parser,
//! the schema and the help texts follow.

use std::ops::Range;

use filter_core::layout::Action as Kind;
use serde_json::{Value, json};
use toml::{Spanned, de::DeValue};

use super::{
    diagnostics::{Code, suggest},
    quantity,
    source::{Located, Reader, fields},
    stage::Stage,
};

/// What a rule does when it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Drops the packet, and bans its source for this long.
    Ban {
        /// How long, in seconds.
        seconds: u32,
        /// The first bits of an IPv4 address that are banned: 32 for the address itself.
        prefix4: u8,
        /// The first bits of an IPv6 address that are banned.
        prefix6: u8,
    },
    /// Skips the rest of the rule's stage and of the stage `fraud`.
    BypassFraudControl,
    /// Skips the rest of the rule's stage.
    Continue,
    /// Drops the packet, and redirects the caller.
    Divert {
        /// The SIP URI that the caller is sent to.
        uri: String,
    },
    /// Drops the packet.
    Drop,
    /// Drops the packet, and answers the call.
    Reject {
        /// The final SIP status of the answer.
        status: u16,
    },
    /// Passes the packet: no other rule is tried.
    Whitelist,
}

/// What an action is written with.
enum Form {
    /// A string with its name, such as `"drop"`.
    Bare(Action),
    /// A table with its name and an argument, such as `{ ban = "10m" }`.
    With(Argument),
}

/// The argument of an action.
#[derive(Clone, Copy)]
enum Argument {
    BanDuration,
    RejectStatus,
    DivertUri,
}

impl Action {
    /// The action without its argument.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ban { .. } => Kind::Ban,
            Self::BypassFraudControl => Kind::BypassFraudControl,
            Self::Continue => Kind::Continue,
            Self::Divert { .. } => Kind::Divert,
            Self::Drop => Kind::Drop,
            Self::Reject { .. } => Kind::Reject,
            Self::Whitelist => Kind::Whitelist,
        }
    }

    /// The name in policies and output.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The number that the compiled rule carries: the seconds of a ban, or the status of a reject; otherwise 0.
    #[must_use]
    pub const fn argument(&self) -> u32 {
        match self {
            Self::Ban { seconds, .. } => *seconds,
            Self::Reject { status } => *status as u32,
            Self::BypassFraudControl | Self::Continue | Self::Divert { .. } | Self::Drop | Self::Whitelist => 0,
        }
    }

    /// How long it bans; none if it bans nobody.
    #[must_use]
    pub const fn ban_time(&self) -> Option<u32> {
        match self {
            Self::Ban { seconds, .. } => Some(*seconds),
            Self::BypassFraudControl
            | Self::Continue
            | Self::Divert { .. }
            | Self::Drop
            | Self::Reject { .. }
            | Self::Whitelist => None,
        }
    }

    /// The bits of the prefixes that the action bans, of IPv4 and of IPv6 addresses; none if it bans nothing.
    #[must_use]
    pub const fn banned_prefixes(&self) -> Option<(u8, u8)> {
        match self {
            Self::Ban { prefix4, prefix6, .. } => Some((*prefix4, *prefix6)),
            Self::BypassFraudControl
            | Self::Continue
            | Self::Divert { .. }
            | Self::Drop
            | Self::Reject { .. }
            | Self::Whitelist => None,
        }
    }

    /// True if the caller is sent an answer.
    #[must_use]
    pub const fn answers(&self) -> bool {
        match self {
            Self::Divert { .. } | Self::Reject { .. } => true,
            Self::Ban { .. } | Self::BypassFraudControl | Self::Continue | Self::Drop | Self::Whitelist => false,
        }
    }

    /// True if, once a rule of stage `own` has acted, later rules of stage `other` are not tried.
    #[must_use]
    pub fn skips(&self, own: Stage, other: Stage) -> bool {
        match self {
            Self::BypassFraudControl => other == own || other == Stage::Fraud,
            Self::Continue => other == own,
            Self::Ban { .. } | Self::Divert { .. } | Self::Drop | Self::Reject { .. } | Self::Whitelist => true,
        }
    }

    /// Reads the value of `action`.
    pub(super) fn read(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Located<Self>> {
        let span = value.span();
        let action = match value.get_ref() {
            DeValue::String(name) => match form(kind_of(reader, name, &span)?) {
                Form::Bare(action) => action,
                Form::With(argument) => {
                    let message = format!("`{name}` needs {}", argument.noun());
                    let help = format!("write `action = {{ {name} = {} }}`", argument.example());
                    reader.error(Code::BadAction, &span, message, Some(help));
                    return None;
                }
            },
            DeValue::Table(table) => {
                let (options, fields): (Vec<_>, Vec<_>) = fields(table)
                    .into_iter()
                    .partition(|(name, ..)| PREFIX_KEYS.contains(name) && table.contains_key(Kind::Ban.name()));
                let [(name, name_span, value)] = fields.as_slice() else {
                    let help = "write one rule for each action".to_owned();
                    reader.error(Code::BadAction, &span, "a rule has exactly one action", Some(help));
                    return None;
                };
                match form(kind_of(reader, name, name_span)?) {
                    Form::Bare(_) => {
                        let help = format!("write `action = \"{name}\"`");
                        reader.error(Code::BadAction, name_span, format!("`{name}` takes no argument"), Some(help));
                        return None;
                    }
                    Form::With(argument) => {
                        let mut action = argument.read(reader, name, value, &span);
                        for (name, _, value) in &options {
                            prefix(reader, name, value, action.as_mut());
                        }
                        action?
                    }
                }
            }
            DeValue::Array(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Float(_)
            | DeValue::Integer(_) => {
                reader.wrong_type("action", value, "a string or a table such as { ban = \"10m\" }");
                return None;
            }
        };
        Some(Located { value: action, span })
    }

    /// The JSON schema of the value of `action`.
    pub(super) fn schema() -> Value {
        let (mut bare, mut with_argument) = (Vec::new(), Vec::new());
        for kind in Kind::ALL {
            let name = kind.name();
            match form(kind) {
                Form::Bare(_) => bare.push(name),
                Form::With(argument) => {
                    let mut properties = json!({ name: argument.schema() });
                    if matches!(argument, Argument::BanDuration) {
                        properties["prefix4"] = prefix_schema(8, 32, DEFAULT_PREFIXES.0);
                        properties["prefix6"] = prefix_schema(16, 128, DEFAULT_PREFIXES.1);
                    }
                    with_argument.push(json!({
                        "type": "object",
                        "properties": properties,
                        "required": [name],
                        "additionalProperties": false,
                    }));
                }
            }
        }
        with_argument.insert(0, json!({ "enum": bare }));
        json!({ "description": "What the rule does.", "anyOf": with_argument })
    }
}

/// Keys beside `ban`: how much of the source's address is banned.
const PREFIX_KEYS: [&str; 2] = ["prefix4", "prefix6"];

/// The prefixes that are banned if the rule names none. An IPv6 network has all the addresses of its /64 (RFC 4291 section 2.5.1):
/// whoever is banned could go on from the next one.
const DEFAULT_PREFIXES: (u8, u8) = (32, 64);

fn prefix_schema(least: u8, most: u8, default: u8) -> Value {
    json!({
        "description": "How many bits of the source's address are banned.",
        "type": "integer",
        "minimum": least,
        "maximum": most,
        "default": default,
    })
}

/// Reads `prefix4` or `prefix6` into the ban.
fn prefix(reader: &mut Reader<'_>, name: &str, value: &Spanned<DeValue<'_>>, ban: Option<&mut Action>) {
    let Some(bits) = reader.integer(name, value) else { return };
    let (least, most) = if name == "prefix4" { (8, 32) } else { (16, 128) };
    let Some(length) = u8::try_from(bits.value).ok().filter(|length| (least..=most).contains(length)) else {
        let message = format!("`{name}` cannot be {}", bits.value);
        let help = format!("use the length of a prefix, {least} to {most}");
        reader.error(Code::BadValue, &bits.span, message, Some(help));
        return;
    };
    if let Some(Action::Ban { prefix4, prefix6, .. }) = ban {
        *(if name == "prefix4" { prefix4 } else { prefix6 }) = length;
    }
}

/// Statuses that are nothing without a challenge (RFC 3261 section 22), which only the server behind the filter can make.
const CHALLENGES: [u16; 2] = [401, 407];

fn form(kind: Kind) -> Form {
    match kind {
        Kind::Ban => Form::With(Argument::BanDuration),
        Kind::BypassFraudControl => Form::Bare(Action::BypassFraudControl),
        Kind::Continue => Form::Bare(Action::Continue),
        Kind::Divert => Form::With(Argument::DivertUri),
        Kind::Drop => Form::Bare(Action::Drop),
        Kind::Reject => Form::With(Argument::RejectStatus),
        Kind::Whitelist => Form::Bare(Action::Whitelist),
    }
}

fn kind_of(reader: &mut Reader<'_>, name: &str, span: &Range<usize>) -> Option<Kind> {
    let kind = Kind::from_name(name);
    if kind.is_none() {
        let help = match name {
            // What other filters call it.
            "pass" | "accept" | "allow" => {
                Some("`whitelist` passes the packet at once, `continue` skips the rest of this rule's stage".to_owned())
            }
            _ => suggest(name, Kind::NAMES),
        };
        reader.error(Code::BadAction, span, format!("unknown action `{name}`"), help);
    }
    kind
}

/// A year. Whatever should be blocked for longer belongs in a list.
pub const LONGEST_BAN: u64 = 366 * 86_400;

/// The seconds of a ban's duration, such as `10m`; none if it is no duration, or longer than a year.
#[must_use]
pub fn ban_seconds(text: &str) -> Option<u32> {
    let seconds = quantity::duration(text).filter(|seconds| (1..=LONGEST_BAN).contains(seconds))?;
    u32::try_from(seconds).ok()
}

impl Argument {
    /// Bytes of the longest URI.
    const LONGEST_URI: usize = 255;

    const fn noun(self) -> &'static str {
        match self {
            Self::BanDuration => "a duration",
            Self::RejectStatus => "a status code",
            Self::DivertUri => "a URI",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::BanDuration => "\"10m\"",
            Self::RejectStatus => "603",
            Self::DivertUri => "\"sip:captcha@example.com\"",
        }
    }

    fn schema(self) -> Value {
        match self {
            Self::BanDuration => json!({
                "description": "Drops the packet and bans its source for this long, such as \"10m\"; at most a year.",
                "type": "string",
                "pattern": "^([0-9]+[smhd])+$",
            }),
            Self::RejectStatus => json!({
                "description": "Drops the packet and answers with this SIP status.",
                "type": "integer",
                "minimum": 400,
                "maximum": 699,
                "not": { "enum": CHALLENGES },
            }),
            Self::DivertUri => json!({
                "description": "Drops the packet and redirects the caller to this SIP URI.",
                "type": "string",
                "pattern": "^sips?:[!#-;=?-~]+$",
                "maxLength": Self::LONGEST_URI,
            }),
        }
    }

    /// Reads the argument; `span` is that of the whole action.
    fn read(
        self,
        reader: &mut Reader<'_>,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        span: &Range<usize>,
    ) -> Option<Action> {
        match self {
            Self::BanDuration => {
                let text = reader.string(name, value)?.value;
                if let Some(seconds) = ban_seconds(&text) {
                    let (prefix4, prefix6) = DEFAULT_PREFIXES;
                    return Some(Action::Ban { seconds, prefix4, prefix6 });
                }
                let help = "a whole number followed by s, m, h or d, such as \"10m\"; at most a year".to_owned();
                reader.error(Code::BadDuration, span, format!("`{text}` is not a valid ban duration"), Some(help));
            }
            Self::RejectStatus => {
                let number = reader.integer(name, value)?.value;
                let is_good = |status: &u16| (400..=699).contains(status) && !CHALLENGES.contains(status);
                if let Some(status) = u16::try_from(number).ok().filter(is_good) {
                    return Some(Action::Reject { status });
                }
                let help = "use a final failure status, 400 to 699, but not 401 and 407, which need a challenge: 603 Decline, \
                            607 Unwanted (RFC 8197), 608 Rejected (RFC 8688)";
                reader.error(
                    Code::BadAction,
                    span,
                    format!("calls cannot be rejected with {number}"),
                    Some(help.to_owned()),
                );
            }
            Self::DivertUri => {
                let uri = reader.string(name, value)?.value;
                let rest = ["sip:", "sips:"].iter().find_map(|scheme| uri.strip_prefix(scheme));
                // It is written into a Contact between `<` and `>`.
                let is_safe = uri.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"'));
                if rest.is_some_and(|rest| !rest.is_empty()) && is_safe && uri.len() <= Self::LONGEST_URI {
                    return Some(Action::Divert { uri });
                }
                let help = "use a SIP URI (RFC 3261 section 19.1), such as \"sip:captcha@example.com\"".to_owned();
                reader.error(Code::BadAction, span, format!("calls cannot be diverted to `{uri}`"), Some(help));
            }
        }
        None
    }
}
