//! What the compiler refuses.

use filter_core::limits::{DFA_TABLE, MAX_PORTS, MAX_RULES};

use super::{MAX_CLASSES, MAX_ROWS};
use crate::model::Origin;

/// A policy that cannot be compiled: why, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct CompileError {
    /// The place in the policy's files; none if it is the policy as a whole.
    pub origin: Option<Origin>,
    /// What is wrong.
    pub kind: CompileErrorKind,
}

/// What is wrong with a policy that resolved but does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileErrorKind {
    /// The values of a list make too many combinations of conditions.
    #[error(
        "the lists make more than {MAX_CLASSES} combinations of {of} that rules tell apart; use fewer lists that overlap"
    )]
    TooManyClasses {
        /// Addresses or numbers.
        of: &'static str,
    },
    /// The rule sets of all dimensions are too many.
    #[error("the policy needs {0} sets of rules, at most {MAX_ROWS} fit; use fewer lists that overlap")]
    TooManyRows(usize),
    /// More rules than a set of rules has bits.
    #[error("the policy has {0} rules, at most {MAX_RULES} fit; this is the first one too many")]
    TooManyRules(usize),
    /// More signalling ports than the configuration holds.
    #[error("the policy has {0} signalling ports, at most {MAX_PORTS} fit")]
    TooManyPorts(usize),
    /// A number range that is no digit string of 1 to 15 digits.
    #[error("number range `{0}` is not 1 to 15 digits")]
    BadNumberRange(String),
    /// A list entry that cannot lie in a trie.
    #[error("line {line} is {what}")]
    BadEntry {
        /// Line in the list's file.
        line: u32,
        /// What the entry is.
        what: &'static str,
    },
    /// Two conditions of one rule over one value that cannot be told apart once the patterns share one table.
    #[error(
        "rule `{rule}` asks for `{scope}` in two conditions that must both hold; write one of them as a rule of its own"
    )]
    SeveralPositive {
        /// The rule.
        rule: String,
        /// The scope.
        scope: &'static str,
    },
    /// A format condition on a number whose format is not read.
    #[error("rule `{0}` asks for the format of a number that has none")]
    NoFormat(String),
    /// A rate of nothing.
    #[error("rule `{0}` has a rate of 0")]
    ZeroRate(String),
    /// A pattern that the byte-wise syntax does not have.
    #[error("pattern `{pattern}` cannot be used: {reason}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What the regular expression parser says.
        reason: String,
    },
    /// A pattern that makes its text's table too large.
    #[error(
        "pattern `{pattern}` makes the table of `{text}` too large: {count} patterns with it need {need}, without it {}; \
         the table holds {DFA_TABLE} transitions",
        without.as_ref().map_or("nothing", |without| without.as_str())
    )]
    PatternsTooLarge {
        /// The pattern that made it grow past the end.
        pattern: String,
        /// The text's name.
        text: &'static str,
        /// Patterns up to this one.
        count: usize,
        /// What they need.
        need: String,
        /// What the patterns before it need.
        without: Option<String>,
    },
}
