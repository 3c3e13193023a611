//! The calls that the programs see: each run is another one.

use anyhow::{Result, ensure};
use ringfence::kernel::Instance;

use super::records;
use crate::{
    driver::{self, Record, XDP_PASS},
    generate::{self, Packet, Prefix},
};

/// Calls that no list matches, though each look-up goes as deep as the list does: a quarter come from trunks, the others
/// from addresses next to blocked ones; calling numbers are next to listed ones, called numbers are random.
pub(super) fn ordinary_calls(count: usize, prefixes: &[Prefix], listed: &[[u8; 10]]) -> Vec<Record> {
    let set: std::collections::HashSet<_> = listed.iter().collect();
    let called = generate::numbers(100_000, 2);
    records(count, |random| {
        let source = if random.below(4) == 0 {
            (198 << 24 | 18 << 16 | random.below(1 << 16) as u128) << 96
        } else {
            let near = (random.one_of(prefixes).bits >> 96) as u32 ^ (0x100 << random.below(4));
            u128::from(near) << 96
        };
        let calling = loop {
            let mut number: [u8; 10] = random.one_of(listed);
            number[9] = b'0' + random.below(10) as u8;
            if !set.contains(&number) {
                break number;
            }
        };
        driver::record(source, calling, random.one_of(&called))
    })
}

/// The calls that the policy passes: generated neighbours may be in another block.
pub(super) fn passing(instance: &Instance, packet: &Packet, records: Vec<Record>) -> Result<Vec<Record>> {
    let wanted = records.len();
    let mut frame = packet.frame.clone();
    let mut left = Vec::with_capacity(wanted);
    for record in records {
        frame[packet.source..packet.source + 4].copy_from_slice(&record.source[..4]);
        for (places, digits) in [(packet.calling, record.calling), (packet.called, record.called)] {
            for place in places {
                frame[place..place + 10].copy_from_slice(&digits);
            }
        }
        if instance.run(&frame)?.action == XDP_PASS {
            left.push(record);
        }
    }
    ensure!(left.len() * 2 > wanted, "only {} of {wanted} calls pass", left.len());
    left.truncate(1 << left.len().ilog2());
    Ok(left)
}
