//! The senders of the demo, and what they send.

use std::{net::IpAddr, path::Path};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::sip::Call;

/// Calls per second of each sender.
const PHONES: u32 = 10;
const CARRIER: u32 = 5;
const DNO: u32 = 20;
const BLOCKED_PREFIX: u32 = 5;
const BLOCKED_ADDRESS: u32 = 5;

/// A sender. Whether its packets are unwanted is known by its address alone: no packet has to be read for that.
pub(super) struct Sender {
    pub(super) name: &'static str,
    pub(super) address: IpAddr,
    pub(super) wanted: bool,
    pub(super) what: String,
    /// Its calls, and how many it places per second. The scanner places none.
    pub(super) calls: Option<(Vec<Call>, u32)>,
}

/// All senders. The carrier and the blocked address come from the policy's lists, and are left out if it has no such list.
pub(super) fn all(policy: &Path) -> Result<Vec<Sender>> {
    let calls = |name, address, wanted, rate, calls, what: &str| Sender {
        name,
        address,
        wanted,
        what: format!("SIPp, {rate} calls a second{what}"),
        calls: Some((calls, rate)),
    };
    let local = |last| IpAddr::from([10, 20, 0, last]);
    let mut senders = vec![calls(
        "phones",
        local(10),
        true,
        PHONES,
        phone_calls(),
        ": ordinary ones, emergency calls, a PBX on the risky\n                                     \
         list, the one caller let through to +1 605 562",
    )];
    if let Some(address) = first_address(&policy.join("lists/trunks.txt")) {
        senders.push(calls("carrier", address, true, CARRIER, carrier_calls(), " from a trunk on the policy's list"));
    }
    senders.push(Sender {
        name: "scan",
        address: local(66),
        wanted: false,
        what: "SIPVicious: svmap asks for OPTIONS, svwar tries extensions".to_owned(),
        calls: None,
    });
    let what = " from numbers that never place calls";
    senders.push(calls("do-not-originate", local(77), false, DNO, dno_calls(policy)?, what));
    senders.push(calls("blocked-prefix", local(78), false, BLOCKED_PREFIX, prefix_calls(), " to +1 605 562 xxxx"));
    if let Some(address) = first_address(&policy.join("lists/blocked-addresses.txt")) {
        let what = " from an address on the block list";
        senders.push(calls("blocked-address", address, false, BLOCKED_ADDRESS, carrier_calls(), what));
    }
    Ok(senders)
}

/// Calls that must go through: ordinary ones, and ones that come close to a rule.
fn phone_calls() -> Vec<Call> {
    let mut calls = carrier_calls();
    // National form, and E.164 without a plus.
    calls.push(Call::new("4158675309", "2128675310"));
    calls.push(Call::new("14158675309", "+442079460123"));
    calls.push(Call::new("+14158675309", "911"));
    calls.push(Call::new("+14158675309", "+12128675311").by("FPBX-16.0.40.8(18.20.0)"));
    calls.push(Call::new("+16055550160", "+16055622000"));
    calls
}

/// Calls that no rule blocks.
fn carrier_calls() -> Vec<Call> {
    (0..16).map(|n| Call::new(&format!("+1415867{:04}", 5300 + n), &format!("+1212867{:04}", 5400 + n))).collect()
}

fn prefix_calls() -> Vec<Call> {
    (0..50).map(|n| Call::new(&format!("+1303492{:04}", 1000 + n), &format!("+1605562{:04}", 2000 + n))).collect()
}

/// The first single IPv4 address in a list, if the list exists.
fn first_address(list: &Path) -> Option<IpAddr> {
    let text = std::fs::read_to_string(list).ok()?;
    let mut entries = text.lines().filter_map(|line| line.split(['#', ' ', '\t']).next());
    entries.find_map(|entry| entry.parse::<std::net::Ipv4Addr>().ok()).map(IpAddr::V4)
}

/// Calls from the policy's Do-Not-Originate list: each prefix is padded to a whole number.
fn dno_calls(policy: &Path) -> Result<Vec<Call>> {
    let path = policy.join("lists/dno.csv");
    let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let mut rows = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let header = rows.next().with_context(|| format!("{} is empty", path.display()))?;
    let column = header.split(',').position(|name| name.trim() == "number");
    let column = column.with_context(|| format!("no column \"number\" in {}", path.display()))?;
    let calls: Vec<_> = rows
        .filter_map(|row| {
            let digits = row.split(',').nth(column)?.trim().trim_end_matches('$').trim_start_matches('+');
            let national = digits.strip_prefix('1').unwrap_or(digits);
            // A prefix covers every number that begins with it.
            (!national.is_empty()).then(|| Call::new(&format!("+1{national:2<10}"), "+12128675310"))
        })
        .take(1000)
        .collect();
    ensure!(!calls.is_empty(), "no numbers in {}", path.display());
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn do_not_originate_prefixes_are_padded_to_numbers() {
        let policy = tempfile::tempdir().unwrap();
        std::fs::create_dir(policy.path().join("lists")).unwrap();
        let list = "# comment\nexpires,number\n,2025550147$\n2099-12-31,605555010\n,37\n\n";
        std::fs::write(policy.path().join("lists/dno.csv"), list).unwrap();
        let numbers: Vec<_> = dno_calls(policy.path()).unwrap().into_iter().map(|call| call.calling).collect();
        assert_eq!(numbers, ["+12025550147", "+16055550102", "+13722222222"]);
    }
}
