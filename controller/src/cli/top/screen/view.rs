//! The views of the screen.

use crate::telemetry::TopBy;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// What an operator on call must see at once.
    Health,
    /// Who sent most: a table.
    Rows(TopBy),
}

impl View {
    /// All of them, with their keys and names, in the order of the tabs.
    pub(super) const ALL: [(char, &'static str, Self); 11] = [
        ('1', "rules", Self::Rows(TopBy::Rule)),
        ('2', "sources", Self::Rows(TopBy::Source)),
        ('3', "called", Self::Rows(TopBy::Called)),
        ('4', "calling", Self::Rows(TopBy::Calling)),
        ('5', "agents", Self::Rows(TopBy::Agent)),
        ('6', "upstreams", Self::Rows(TopBy::Upstream)),
        ('7', "health", Self::Health),
        ('8', "prefixes", Self::Rows(TopBy::Prefix)),
        ('9', "methods", Self::Rows(TopBy::Method)),
        ('0', "reasons", Self::Rows(TopBy::Reason)),
        ('-', "sets", Self::Rows(TopBy::Set)),
    ];

    fn index(self) -> usize {
        Self::ALL.iter().position(|(_, _, view)| *view == self).unwrap_or(0)
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        Self::ALL[self.index()].1
    }

    /// The one with this key.
    pub(super) fn of_key(key: char) -> Option<Self> {
        Self::ALL.into_iter().find(|(of_view, _, _)| *of_view == key).map(|(_, _, view)| view)
    }

    /// The one to the right of it.
    pub(super) fn next(self) -> Self {
        Self::ALL[(self.index() + 1) % Self::ALL.len()].2
    }

    /// The one to the left of it.
    pub(super) fn previous(self) -> Self {
        Self::ALL[(self.index() + Self::ALL.len() - 1) % Self::ALL.len()].2
    }

    /// What the rows of its table are.
    pub(super) fn by(self) -> Option<TopBy> {
        match self {
            Self::Health => None,
            Self::Rows(by) => Some(by),
        }
    }
}

/// The view that one of its rows opens.
pub(super) fn inside(by: TopBy) -> View {
    View::Rows(match by {
        TopBy::Source => TopBy::Called,
        TopBy::Agent
        | TopBy::Called
        | TopBy::Calling
        | TopBy::Method
        | TopBy::Prefix
        | TopBy::Reason
        | TopBy::Rule
        | TopBy::Set
        | TopBy::Upstream => TopBy::Source,
    })
}
