//! Messages by number: a seed and an index name the same message everywhere and always.

use std::{fmt, str::FromStr};

use anyhow::{Context, bail};

use filter_policy::testing::Random;

use crate::{
    engine::EngineReader,
    message::{self, Message},
    mutate,
    reading::Reading,
};

/// The name of a generated message: `SEED:INDEX`, and after a slash which of its mutations are applied (all, if there is no
/// slash).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// What all messages of a run are drawn from.
    pub seed: u64,
    /// The number in the run.
    pub index: u64,
    /// The mutations that are applied, by number.
    pub only: Option<Vec<usize>>,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seed, self.index)?;
        if let Some(only) = &self.only {
            let numbers: Vec<_> = only.iter().map(ToString::to_string).collect();
            write!(f, "/{}", numbers.join(","))?;
        }
        Ok(())
    }
}

impl FromStr for Id {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, only) = match text.split_once('/') {
            Some((name, only)) => (name, Some(only)),
            None => (text, None),
        };
        let Some((seed, index)) = name.split_once(':') else { bail!("not SEED:INDEX or SEED:INDEX/MUTATIONS: {text}") };
        let number = |text: &str| text.parse::<u64>().with_context(|| format!("not a number: {text}"));
        let only = only
            .map(|only| {
                only.split(',').filter(|text| !text.is_empty()).map(|text| Ok(number(text)? as usize)).collect()
            })
            .transpose();
        Ok(Self { seed: number(seed)?, index: number(index)?, only: only.map_err(|error: anyhow::Error| error)? })
    }
}

/// A generated message and how it was made.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The name from which the same message can be made again.
    pub id: Id,
    /// The mutations that are applied, in words.
    pub mutations: Vec<String>,
    message: Message,
}

impl Generated {
    /// Makes the message of this name.
    #[must_use]
    pub fn new(id: &Id) -> Self {
        let mut random =
            Random(id.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ id.index.wrapping_mul(0xd129_0eaf_5c1d_63b5));
        random.next_u64();
        let mut message = message::base(&mut random);
        let count = Self::count(&mut random);
        // Each mutation has random numbers of its own, so that one can be left out without changing the others.
        let seeds: Vec<u64> = (0..count).map(|_| random.next_u64()).collect();
        let mut mutations = Vec::new();
        for (number, seed) in seeds.into_iter().enumerate() {
            if id.only.as_ref().is_none_or(|only| only.contains(&number)) {
                mutations.extend(mutate::apply(&mut message, &mut Random(seed)));
            }
        }
        Self { id: id.clone(), mutations, message }
    }

    fn count(random: &mut Random) -> usize {
        match random.below(20) {
            0 => 0,
            1..=11 => 1,
            12..=16 => 2,
            17..=18 => 3,
            _ => 5,
        }
    }

    /// How many mutations the message of this name has when all are applied.
    #[must_use]
    pub fn mutations_in(id: &Id) -> usize {
        let mut random =
            Random(id.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ id.index.wrapping_mul(0xd129_0eaf_5c1d_63b5));
        random.next_u64();
        message::base(&mut random);
        Self::count(&mut random)
    }

    /// The bytes that a server gets.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.message.render()
    }

    /// What the engine reads of it, delivered as the message says.
    #[must_use]
    pub fn read_by_engine(&self, engine: &EngineReader) -> Reading {
        engine.read_delivered(&self.bytes(), self.delivery())
    }

    pub(crate) fn delivery(&self) -> message::Delivery {
        self.message.delivery
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_one_message() {
        let id: Id = "7:12345/1,0".parse().expect("a good name");
        assert_eq!(id.to_string(), "7:12345/1,0");
        assert_eq!(Generated::new(&id).bytes(), Generated::new(&id).bytes());
        assert!("7".parse::<Id>().is_err());
    }

    #[test]
    fn leaving_out_one_mutation_leaves_the_others_alone() {
        let with = |index, only: Option<Vec<usize>>| Generated::new(&Id { seed: 1, index, only });
        let has_two = |&index: &u64| {
            let id = Id { seed: 1, index, only: None };
            Generated::mutations_in(&id) == 2 && Generated::new(&id).mutations.len() == 2
        };
        let index = (0..1000).find(has_two).expect("some have two");
        let both = with(index, None);
        assert_eq!(with(index, Some(vec![0, 1])).bytes(), both.bytes());
        assert_eq!(with(index, Some(vec![])).mutations, Vec::<String>::new());
        assert_eq!(with(index, Some(vec![0])).mutations, both.mutations[..1]);
    }
}
