//! Address lists: one address or CIDR a line.

use std::{net::IpAddr, ops::Range, path::PathBuf, sync::Arc};

use super::{
    lines::{lines, too_long, without_comment},
    report::{Mistake, Reporter},
};
use crate::{
    language::diagnostics::{Code, Diagnostics},
    model::AddressEntry,
};

/// Reads an address list: one address or CIDR a line, `#` comments. More than `most` entries are an error.
pub fn addresses(file: &Arc<PathBuf>, content: &[u8], most: usize, diagnostics: &mut Diagnostics) -> Vec<AddressEntry> {
    let mut reporter = Reporter::new(file, diagnostics);
    let mut entries = Vec::with_capacity((content.len() / 16).min(most));
    for (number, line) in lines(content) {
        if let Some(mistake) = too_long(line) {
            reporter.error(number, line, mistake);
            continue;
        }
        let (start, text) = without_comment(line);
        if text.is_empty() {
            continue;
        }
        match address(text) {
            Ok(_) if entries.len() >= most => {
                reporter.too_many(number, line);
                break;
            }
            Ok(entry) => {
                if let Some(mistake) = covers_everything(&entry, text.len()) {
                    reporter.warning(number, line, mistake.shifted(start));
                }
                entries.push(AddressEntry { line: number, ..entry });
            }
            Err(mistake) => reporter.error(number, line, mistake.shifted(start)),
        }
    }
    entries
}

/// The warning about an entry that contains every address.
#[must_use]
pub(crate) fn covers_everything(entry: &AddressEntry, length: usize) -> Option<Mistake> {
    (entry.prefix == 0).then(|| {
        let family = if entry.address.is_ipv4() { "IPv4" } else { "IPv6" };
        Mistake::new(Code::CoversEverything, 0..length, format!("this entry is every {family} address"))
            .help("to say \"any source\", leave the `source` condition out")
    })
}

/// Parses an address or CIDR. The line of the entry is 0.
///
/// # Errors
///
/// What is wrong with it, and where.
pub(crate) fn address(text: &[u8]) -> Result<AddressEntry, Mistake> {
    plain_ipv4(text).map_or_else(|| any_address(text), Ok)
}

/// Fast path: parses an IPv4 address or network, which nearly every line of a long list is, in a third of the time. None for
/// anything else and for anything that has a mistake in it: [`any_address`] has the last word on those.
fn plain_ipv4(text: &[u8]) -> Option<AddressEntry> {
    /// One to three digits without a leading zero, and the text after them.
    fn number(text: &[u8]) -> Option<(u32, &[u8])> {
        let count = text.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = text.split_at(count);
        if count == 0 || count > 1 && digits[0] == b'0' {
            return None;
        }
        Some((digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')), rest))
    }
    let mut bits = 0;
    let mut rest = text;
    for part in 0..4 {
        let (value, after) = number(rest)?;
        if value > 255 {
            return None;
        }
        bits = bits << 8 | value;
        rest = if part < 3 { after.strip_prefix(b".")? } else { after };
    }
    let mut prefix = 32;
    if !rest.is_empty() {
        (prefix, rest) = number(rest.strip_prefix(b"/")?)?;
    }
    let is_network = prefix <= 32 && u64::from(bits) << prefix & 0xffff_ffff == 0;
    let entry = AddressEntry { address: IpAddr::V4(bits.into()), prefix: prefix as u8, line: 0 };
    (rest.is_empty() && is_network).then_some(entry)
}

/// Slow path of [`address`]: any form, with an explanation of what is wrong.
fn any_address(text: &[u8]) -> Result<AddressEntry, Mistake> {
    let whole = 0..text.len();
    let bad = |span: Range<usize>, message: String| Mistake::new(Code::BadAddress, span, message);
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(bad(whole, "this is not an address".into()).help("one address or CIDR a line, in plain text"));
    };
    let (host, prefix) = match text.split_once('/') {
        None => (text, None),
        Some((host, prefix)) => (host, Some(prefix)),
    };
    let Ok(address) = host.parse::<IpAddr>() else {
        let mistake = bad(0..host.len(), format!("`{text}` is not an IP address or CIDR"));
        return Err(mistake.help(help(text, host)));
    };
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = match prefix {
        None => bits,
        Some(digits) => {
            let is_plain = !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
            match digits.parse::<u8>() {
                Ok(length) if is_plain && length <= bits => length,
                _ => {
                    let span = host.len() + 1..text.len();
                    let help = if digits.contains('.') {
                        format!("write the number of bits in the network, not its mask: {host}/24")
                    } else {
                        format!("a whole number from 0 to {bits}")
                    };
                    return Err(bad(span, format!("`{digits}` is not a prefix length")).help(help));
                }
            }
        }
    };
    // No packet's header has an IPv4-mapped address: logs and dual-stack programs write IPv4 addresses so.
    let (address, length) = match address {
        IpAddr::V6(six) if length >= MAPPED && six.to_ipv4_mapped().is_some() => {
            (address.to_canonical(), length - MAPPED)
        }
        IpAddr::V4(_) | IpAddr::V6(_) => (address, length),
    };
    let network = network(address, length);
    if network != address {
        return Err(Mistake::new(Code::HostBits, whole, format!("`{text}` has bits set after its prefix length"))
            .help(format!("did you mean `{network}/{length}`, or the one address `{address}`?")));
    }
    Ok(AddressEntry { address, prefix: length, line: 0 })
}

/// Bits before the IPv4 address in an IPv4-mapped one (RFC 4291 section 2.5.5.2).
const MAPPED: u8 = 96;

/// How to fix an entry whose `host` part is not an address.
fn help(text: &str, host: &str) -> &'static str {
    let is_host_name = host.bytes().any(|byte| byte.is_ascii_alphabetic()) && !host.contains(':');
    if is_host_name {
        "host names are not looked up: write the host's addresses instead"
    } else if host.contains('-') {
        "write a range as CIDRs, one a line"
    } else if text.contains([',', ';', ' ', '\t']) {
        "one address or CIDR a line"
    } else if host.split('.').count() == 4 {
        "four decimal numbers up to 255, without leading zeros"
    } else {
        "such as 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32"
    }
}

/// The address with all bits after `length` cleared.
fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((four.to_bits() & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((six.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lists::test_lists::file;

    #[test]
    fn addresses_are_read_with_and_without_prefix_length() {
        let content = "192.0.2.1 # one\n192.0.2.0/24\r\n\n2001:db8::1\n2001:db8::/32\n0.0.0.0/1\n";
        let mut diagnostics = Diagnostics::default();
        let entries = addresses(&file("x.txt"), content.as_bytes(), usize::MAX, &mut diagnostics);
        let read: Vec<_> =
            entries.iter().map(|entry| format!("{}/{}:{}", entry.address, entry.prefix, entry.line)).collect();
        assert_eq!(read, ["192.0.2.1/32:1", "192.0.2.0/24:2", "2001:db8::1/128:4", "2001:db8::/32:5", "0.0.0.0/1:6"]);
        assert!(diagnostics.is_empty(), "{diagnostics}");
    }

    #[test]
    fn an_ipv4_mapped_address_is_the_ipv4_address() {
        for (written, read) in [
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::FFFF:c000:201", "192.0.2.1/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::192.0.2.1", "::c000:201/128"),
            ("64:ff9b::192.0.2.1", "64:ff9b::c000:201/128"),
        ] {
            let entry = address(written.as_bytes()).unwrap_or_else(|mistake| panic!("{written}: {mistake:?}"));
            assert_eq!(format!("{}/{}", entry.address, entry.prefix), read, "{written}");
        }
        for written in ["::ffff:192.0.2.1/120", "::ffff:0:0/95", "::ffff:192.0.2.1/64"] {
            assert_eq!(address(written.as_bytes()).expect_err(written).code, Code::HostBits, "{written}");
        }
    }

    #[test]
    fn a_host_with_a_prefix_length_is_offered_its_network() {
        let mistake = address(b"192.0.2.77/26").expect_err("host bits are set");
        assert_eq!(mistake.code, Code::HostBits);
        assert_eq!(mistake.help.as_deref(), Some("did you mean `192.0.2.64/26`, or the one address `192.0.2.77`?"));
        for text in [
            "192.0.2.0/",
            "192.0.2.0/+8",
            "192.0.2.0/255.255.255.0",
            "192.0.2.0/033",
            "::/129",
            "1.2.3",
            "01.2.3.4",
            "",
        ] {
            assert_eq!(address(text.as_bytes()).expect_err(text).code, Code::BadAddress, "{text}");
        }
    }

    proptest! {
        #[test]
        fn both_paths_read_an_ipv4_network_alike(bits: u32, prefix in 0..=32_u8, whole: bool) {
            let IpAddr::V4(address) = network(IpAddr::V4(bits.into()), prefix) else { unreachable!() };
            let text = if whole { address.to_string() } else { format!("{address}/{prefix}") };
            let fast = plain_ipv4(text.as_bytes());
            prop_assert!(fast.is_some(), "{}", text);
            prop_assert_eq!(fast, any_address(text.as_bytes()).ok());
        }

        #[test]
        fn the_fast_path_never_disagrees_with_the_slow_one(text in "[0-2]?[0-9]{1,2}(\\.[0-9]{1,3}){2,4}(/[0-9.]{0,3})?[ #a/]?") {
            if let Some(entry) = plain_ipv4(text.as_bytes()) {
                prop_assert_eq!(Some(entry), any_address(text.as_bytes()).ok());
            }
        }

        #[test]
        fn a_network_written_out_is_read_back(address in any::<u32>(), length in 0..=32_u8, six in any::<u128>(), six_length in 0..=128_u8) {
            for (address, length) in [(IpAddr::V4(address.into()), length), (IpAddr::V6(six.into()), six_length)] {
                let network = network(address, length);
                if length >= MAPPED && matches!(network, IpAddr::V6(six) if six.to_ipv4_mapped().is_some()) {
                    continue;
                }
                let entry = super::address(format!("{network}/{length}").as_bytes()).expect("it is a network");
                prop_assert_eq!((entry.address, entry.prefix), (network, length));
            }
        }
    }
}
