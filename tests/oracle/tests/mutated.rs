//! The engine and the naive reader agree about input that is almost valid. The fuzz targets look further.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ringfence_oracle::{
    compare::escaped,
    fuzz::{self, Target},
    generate::{self, Random, mutate},
};

/// Runs a target with mutations of what `generate` makes.
fn agree(target: Target, generate: impl Fn(&mut Random) -> Vec<u8>) {
    for number in 0..50_000 {
        let random = &mut Random(number);
        let valid = generate(random);
        let input = mutate(random, valid);
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            panic!("number {number}: b\"{}\"", escaped(&input));
        }
    }
}

#[test]
fn messages_are_read_alike() {
    agree(fuzz::message, |random| generate::payload(random).concat());
}

#[test]
fn addresses_are_read_alike() {
    agree(fuzz::uri, |random| generate::name_addr(random, true).into_bytes());
}

#[test]
fn numbers_are_read_alike() {
    agree(fuzz::number, |random| {
        let policy = random.below(32) as u8;
        [&[policy], generate::user(random).as_bytes()].concat()
    });
}
