//! Texts: from the patterns of all rules on a text to one table, with the rules that each match concerns.

use std::collections::HashMap;

use filter_core::layout::{Dfa, LITERAL_NEEDS_AUTOMATON, Literal, RuleSet, TEXTS, Text};

use super::{
    dfa::{self, Compiled, DfaError},
    error::{CompileError, CompileErrorKind},
    rows::Rows,
    rule_set,
};
use crate::language::scope::Scope;
use crate::model::{Origin, PatternEntry, PatternList, Policy, Test};

/// The result of the compilation, as in [`filter_core::layout::Config`].
pub(super) struct Texts {
    pub texts: u32,
    pub text_rows: [u32; TEXTS],
    pub text_dfas: [u32; TEXTS],
    pub dfas: Vec<Box<Dfa>>,
}

/// Compiles the patterns of every text that rules name.
pub(super) fn compile(policy: &Policy, rows: &mut Rows, errors: &mut Vec<CompileError>) -> Texts {
    let mut texts = Texts { texts: 0, text_rows: [0; TEXTS], text_dfas: [0; TEXTS], dfas: Vec::new() };
    for text in Text::ALL.into_iter().chain((0..policy.headers.len()).map(Text::named)) {
        let name = policy.scope_name(Scope::Text(text));
        let Some(mut collected) = Collected::new(policy, text, &name, errors) else { continue };
        let Some(mut compiled) = collected.compile(&name, errors) else { continue };
        texts.texts |= text.bit();
        texts.text_rows[text.index()] = rows.push(collected.base);
        texts.text_dfas[text.index()] = texts.dfas.len() as u32;
        let pairs: Vec<u32> = compiled
            .accepts
            .iter()
            .map(|groups| {
                if groups.is_empty() {
                    return 0; // no match state
                }
                let (mut hits, mut vetoes) = (rule_set::NONE, rule_set::NONE);
                for &group in groups {
                    let rules = &collected.group_rules[group];
                    rule_set::unite(&mut hits, &rules.0);
                    rule_set::unite(&mut vetoes, &rules.1);
                }
                rows.push_pair(hits, vetoes)
            })
            .collect();
        for accept in &mut compiled.dfa.accept {
            *accept = pairs[*accept as usize];
        }
        let decide = |literal: &&mut Literal| literal.length != 0 && literal.row != LITERAL_NEEDS_AUTOMATON;
        for literal in compiled.dfa.literals.iter_mut().filter(decide) {
            literal.row = pairs[literal.row as usize];
        }
        texts.dfas.push(compiled.dfa);
    }
    texts
}

/// The patterns on one text.
struct Collected<'a> {
    /// Rules that hold if nothing matches.
    base: RuleSet,
    /// Each pattern once, in the order of the policy, with the rules that require it and those that exclude it.
    patterns: Vec<Pattern<'a>>,
    group_rules: Vec<(RuleSet, RuleSet)>,
}

struct Pattern<'a> {
    list: &'a PatternList,
    entry: &'a PatternEntry,
    rules: (RuleSet, RuleSet),
}

impl Pattern<'_> {
    fn origin(&self) -> Origin {
        Origin { file: self.list.origin.file.clone(), line: self.entry.line }
    }
}

impl<'a> Collected<'a> {
    /// None if no rule looks at this text.
    fn new(policy: &'a Policy, text: Text, name: &str, errors: &mut Vec<CompileError>) -> Option<Self> {
        let mut base = rule_set::first(policy.rules.len());
        let mut patterns: Vec<Pattern<'a>> = Vec::new();
        let mut index: HashMap<&str, usize> = HashMap::new();
        let mut used = false;
        for (rule, conditions) in policy.rules.iter().enumerate() {
            let mut asked = false;
            for condition in &conditions.conditions {
                let Test::Text(of, lists) = &condition.test else { continue };
                if *of != text {
                    continue;
                }
                used = true;
                if !condition.negated {
                    if asked {
                        errors.push(
                            CompileErrorKind::SeveralPositive { rule: conditions.name.clone(), scope: name.to_owned() }
                                .at(&condition.origin),
                        );
                        continue;
                    }
                    asked = true;
                    rule_set::remove(&mut base, rule);
                }
                for list in lists {
                    for entry in &list.entries {
                        let at = *index.entry(&entry.pattern).or_insert_with(|| {
                            patterns.push(Pattern { list, entry, rules: (rule_set::NONE, rule_set::NONE) });
                            patterns.len() - 1
                        });
                        let (hits, vetoes) = &mut patterns[at].rules;
                        rule_set::insert(if condition.negated { vetoes } else { hits }, rule);
                    }
                }
            }
        }
        used.then_some(Self { base, patterns, group_rules: Vec::new() })
    }

    fn compile(&mut self, name: &str, errors: &mut Vec<CompileError>) -> Option<Compiled> {
        let bad = self.patterns.iter().filter_map(|pattern| {
            let reason = dfa::parse(&pattern.entry.pattern).err()?;
            let kind = CompileErrorKind::BadPattern { pattern: pattern.entry.pattern.clone(), reason };
            Some(kind.at(&pattern.origin()))
        });
        let before = errors.len();
        errors.extend(bad);
        if errors.len() > before {
            return None;
        }
        let (groups, rules) = self.groups(self.patterns.len());
        self.group_rules = rules;
        match dfa::compile(&groups) {
            Ok(compiled) => Some(compiled),
            Err(error) => {
                errors.push(self.blame(name, &error));
                None
            }
        }
    }

    /// The first `count` patterns, grouped by the rules that they concern.
    fn groups(&self, count: usize) -> (Vec<Vec<&'a str>>, Vec<(RuleSet, RuleSet)>) {
        let mut groups: Vec<Vec<&str>> = Vec::new();
        let mut rules = Vec::new();
        let mut index = HashMap::new();
        for pattern in &self.patterns[..count] {
            let group = *index.entry(pattern.rules).or_insert_with(|| {
                groups.push(Vec::new());
                rules.push(pattern.rules);
                groups.len() - 1
            });
            groups[group].push(&pattern.entry.pattern);
        }
        (groups, rules)
    }

    /// Finds the first pattern with which the table is too large.
    fn blame(&self, name: &str, error: &DfaError) -> CompileError {
        let attempt = |count: usize| dfa::compile(&self.groups(count).0);
        // Invariant: `fits` patterns fit, `too_many` do not.
        let (mut fits, mut too_many) = (0, self.patterns.len());
        let (mut without, mut need) = (None, error.clone());
        while too_many - fits > 1 {
            let middle = fits.midpoint(too_many);
            match attempt(middle) {
                Ok(compiled) => (fits, without) = (middle, Some(compiled.size.to_string())),
                Err(error) => (too_many, need) = (middle, error),
            }
        }
        let pattern = &self.patterns[too_many - 1];
        let text = pattern.entry.pattern.clone();
        let kind = match need {
            DfaError::Pattern(reason) => CompileErrorKind::BadPattern { pattern: text, reason },
            DfaError::TooLarge(need) => CompileErrorKind::PatternsTooLarge {
                pattern: text,
                text: name.to_owned(),
                count: too_many,
                need,
                without,
            },
        };
        kind.at(&pattern.origin())
    }
}
