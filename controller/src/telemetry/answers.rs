//! What became of the packets that a rule rejects or diverts: the answers that the daemon has sent, and those that it has not.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// Why a packet of a rule that rejects or diverts got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unanswered {
    /// An address or a port that nobody is answered at, or a frame that cannot be turned round.
    Address,
    /// An ACK, a CANCEL or a response, to which there is no answer.
    Never,
    /// The kernel did not take the answer.
    NotSent,
    /// The daemon may not send packets.
    NotPermitted,
    /// The answers in all.
    RateTotal,
    /// The answers to its source.
    RateSource,
    /// The answer would be larger than what it answers.
    TooLarge,
    /// No request that could be answered: cut off, ambiguous, or without a header that an answer repeats.
    Unreadable,
    /// The request is within a dialog.
    WithinDialog,
}

impl Unanswered {
    /// Every cause.
    pub const ALL: [Self; 9] = [
        Self::Address,
        Self::Never,
        Self::NotPermitted,
        Self::NotSent,
        Self::RateSource,
        Self::RateTotal,
        Self::TooLarge,
        Self::Unreadable,
        Self::WithinDialog,
    ];

    /// Its name in metrics and in the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Never => "never",
            Self::NotPermitted => "not-permitted",
            Self::NotSent => "not-sent",
            Self::RateSource => "rate-source",
            Self::RateTotal => "rate-total",
            Self::TooLarge => "too-large",
            Self::Unreadable => "unreadable",
            Self::WithinDialog => "within-dialog",
        }
    }
}

/// How many answers were sent, and how many were not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// By status code: the answers that were sent.
    pub sent: BTreeMap<u16, u64>,
    /// By cause: the packets that got none.
    pub suppressed: BTreeMap<String, u64>,
}

/// Counts of [`Answers`] that grow.
#[derive(Debug, Default)]
pub struct AnswerCounts(Mutex<Option<Answers>>);

impl AnswerCounts {
    /// Begins to count, if that has not begun: these codes, and every cause, are there from now on.
    pub fn begin(&self, codes: impl IntoIterator<Item = u16>) {
        self.update(|answers| {
            for code in codes {
                answers.sent.entry(code).or_default();
            }
            for cause in Unanswered::ALL {
                answers.suppressed.entry(cause.name().to_owned()).or_default();
            }
        });
    }

    /// Counts an answer that was sent.
    pub fn sent(&self, code: u16) {
        self.update(|answers| *answers.sent.entry(code).or_default() += 1);
    }

    /// Counts a packet that got none.
    pub fn suppressed(&self, cause: Unanswered) {
        self.update(|answers| *answers.suppressed.entry(cause.name().to_owned()).or_default() += 1);
    }

    /// The counts now; none if no policy has asked for answers yet.
    #[must_use]
    pub fn read(&self) -> Option<Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, update: impl FnOnce(&mut Answers)) {
        update(self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
    }
}

impl Answers {
    /// A line for people.
    pub(super) fn line(&self) -> String {
        let sent: u64 = self.sent.values().sum();
        let mut line = format!("answers: {sent} sent");
        let causes: Vec<String> = self
            .suppressed
            .iter()
            .filter(|(cause, count)| **count > 0 && *cause != Unanswered::Never.name())
            .map(|(cause, count)| format!("{count} {cause}"))
            .collect();
        if !causes.is_empty() {
            line += &format!("; not answered: {}", causes.join(", "));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_what_was_sent_and_why_others_got_nothing() {
        let counts = AnswerCounts::default();
        assert_eq!(counts.read(), None);
        counts.begin([603]);
        let line = || counts.read().unwrap().line();
        assert_eq!(line(), "answers: 0 sent");
        counts.sent(603);
        counts.sent(302);
        counts.suppressed(Unanswered::Never);
        assert_eq!(line(), "answers: 2 sent", "an ACK is no failure");
        counts.suppressed(Unanswered::RateSource);
        assert_eq!(line(), "answers: 2 sent; not answered: 1 rate-source");
        counts.begin([603, 503]);
        assert_eq!(counts.read().unwrap().sent, [(302, 1), (503, 0), (603, 1)].into(), "it goes on");
    }

    #[test]
    fn every_cause_is_counted_from_the_start_under_a_name_of_its_own() {
        let counts = AnswerCounts::default();
        counts.begin([]);
        assert_eq!(counts.read().unwrap().suppressed.len(), Unanswered::ALL.len());
    }
}
