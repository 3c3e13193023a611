//! Errors of the compiler.

use filter_core::limits::{BAN_LENGTHS, DFA_TABLE, MAX_PORTS, MAX_RULES, NAMED_HEADERS, NUMBERING_PLANS};

use super::{MAX_CLASSES, MAX_ROWS};
use crate::model::Origin;

/// Why a policy cannot be compiled, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct CompileError {
    /// The place in the policy's files; None if the error is about the policy as a whole.
    pub origin: Option<Origin>,
    /// What is wrong.
    pub kind: CompileErrorKind,
}

impl CompileErrorKind {
    /// The error at a place in the policy's files.
    pub(super) fn at(self, origin: &Origin) -> CompileError {
        CompileError { origin: Some(origin.clone()), kind: self }
    }

    /// The error about the policy as a whole.
    pub(super) fn about_policy(self) -> CompileError {
        CompileError { origin: None, kind: self }
    }
}

/// What is wrong with a policy that resolved but does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileErrorKind {
    /// The lists overlap in too many combinations.
    #[error(
        "the lists make more than {MAX_CLASSES} combinations of {of} that rules distinguish; use fewer overlapping lists"
    )]
    TooManyClasses {
        /// Addresses or numbers.
        of: &'static str,
    },
    /// All dimensions together need too many rule sets.
    #[error("the policy needs {0} sets of rules, at most {MAX_ROWS} fit; use fewer overlapping lists")]
    TooManyRows(usize),
    /// More rules than a rule set has bits.
    #[error("the policy has {0} rules, at most {MAX_RULES} fit; this is the first one too many")]
    TooManyRules(usize),
    /// More signalling ports than the configuration holds.
    #[error("the policy has {0} signalling ports, at most {MAX_PORTS} fit")]
    TooManyPorts(usize),
    /// More headers than the configuration holds.
    #[error("the rules name {0} headers that have no scope of their own, at most {NAMED_HEADERS} fit")]
    TooManyHeaders(usize),
    /// More numbering plans than the configuration holds.
    #[error("the policy has {0} numbering plans, at most {NUMBERING_PLANS} fit")]
    TooManyPlans(usize),
    /// A number range whose prefix is not 1 to 15 digits.
    #[error("number range `{0}` is not 1 to 15 digits")]
    BadNumberRange(String),
    /// A list entry that does not fit into a trie.
    #[error("line {line} is {what}")]
    BadEntry {
        /// Line in the list's file.
        line: u32,
        /// What the entry is.
        what: &'static str,
    },
    /// Two conditions of one rule on the same value, which cannot be distinguished once their patterns share a table.
    #[error("rule `{rule}` has two conditions on `{scope}` that must both hold; move one of them into its own rule")]
    SeveralPositive {
        /// The name of the rule.
        rule: String,
        /// The key of the scope, such as `user_agent`.
        scope: String,
    },
    /// A format condition on a number whose format is not read.
    #[error("rule `{0}` asks for the format of a number that has none")]
    NoFormat(String),
    /// More lengths of banned prefixes than are looked up.
    #[error(
        "rule `{0}` bans prefixes of one more length: the rules of a policy may use {BAN_LENGTHS} of each IP version"
    )]
    TooManyBanPrefixes(String),
    /// More upstreams than have numbers.
    #[error("the policy has {count} upstreams{with}, at most {most} fit")]
    TooManyUpstreams {
        /// How many there are.
        count: usize,
        /// How many fit.
        most: usize,
        /// Which of them are counted.
        with: &'static str,
    },
    /// A rate of 0.
    #[error("rule `{0}` has a rate of 0")]
    ZeroRate(String),
    /// A pattern that is not valid in the byte-wise syntax.
    #[error("pattern `{pattern}` cannot be used: {reason}")]
    BadPattern {
        /// The pattern as written.
        pattern: String,
        /// The message of the regular expression parser.
        reason: String,
    },
    /// A pattern that makes the table of its text too large.
    #[error(
        "pattern `{pattern}` makes the table of `{text}` too large: {count} patterns with it need {need}, without it {}; \
         the table holds {DFA_TABLE} transitions",
        without.as_ref().map_or("nothing", |without| without.as_str())
    )]
    PatternsTooLarge {
        /// The first pattern with which the table does not fit.
        pattern: String,
        /// The name of the text.
        text: String,
        /// The number of patterns up to and including this one.
        count: usize,
        /// What they need.
        need: String,
        /// What the patterns before it need.
        without: Option<String>,
    },
}
