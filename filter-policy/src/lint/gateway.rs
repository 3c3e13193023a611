//! Rules that would block this host's default gateway.
//!
//! The gateway belongs to the host and not to the repository, so this is not part of [`crate::build`], and a policy means
//! the same everywhere: `ringfence check` asks for it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use super::traffic::{Traffic, blocks};
use crate::{
    POLICY_FILE,
    files::Files,
    language::diagnostics::{Code, Diagnostic, Diagnostics},
    locate::place_of,
    model::{Policy, Test},
};

/// The default gateways of this host, from the kernel's routing tables; none if they cannot be read.
#[must_use]
pub fn of_this_host() -> Vec<IpAddr> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut gateways = of_ipv4_routes(&read("/proc/net/route"));
    gateways.extend(of_ipv6_routes(&read("/proc/net/ipv6_route")));
    gateways.sort_unstable();
    gateways.dedup();
    gateways
}

/// `/proc/net/route`: a header, then `Iface Destination Gateway Flags RefCnt Use Metric Mask ...`. Addresses are 32-bit words
/// in hexadecimal and host byte order, so that on a little-endian host their bytes appear reversed (proc_pid_net(5)).
fn of_ipv4_routes(table: &str) -> Vec<IpAddr> {
    let row = |line: &str| {
        let mut words = line.split_whitespace().skip(1).map(|word| u32::from_str_radix(word, 16).ok());
        let (destination, gateway) = (words.next()??, words.next()??);
        let mask = words.nth(4)??;
        (destination == 0 && mask == 0 && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()).into())
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// `/proc/net/ipv6_route`: `destination length source length next-hop ...`, addresses as 32 hexadecimal digits.
fn of_ipv6_routes(table: &str) -> Vec<IpAddr> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = |word: &str| u128::from_str_radix(word, 16).ok();
        let next_hop = address(words.get(4)?)?;
        let default = address(words[0])? == 0 && words[1] == "00" && words[3] == "00";
        (default && next_hop != 0).then(|| Ipv6Addr::from_bits(next_hop).into())
    };
    table.lines().filter_map(row).collect()
}

/// Warns about every rule that blocks one of the gateways. Calls that arrive through address translation come from there.
pub fn warn(policy: &Policy, files: &dyn Files, gateways: &[IpAddr], diagnostics: &mut Diagnostics) {
    for (index, rule) in policy.rules.iter().enumerate() {
        if !blocks(rule) {
            continue;
        }
        for condition in &rule.conditions {
            let (Test::Source(lists), false) = (&condition.test, condition.negated) else { continue };
            for gateway in gateways {
                // An entry that holds every address has a warning of its own.
                let found = lists.iter().find_map(|list| {
                    list.entries
                        .iter()
                        .find(|entry| entry.prefix > 0 && entry.network().contains(gateway))
                        .map(|entry| (list, entry))
                });
                let Some((list, entry)) = found else { continue };
                if Traffic::From(*gateway).has_pinhole(&policy.rules[..index], rule.stage) {
                    continue;
                }
                let message = format!(
                    "this includes {gateway}, this host's default gateway, through {}/{} in {} line {}",
                    entry.address,
                    entry.prefix,
                    list.origin.file.display(),
                    entry.line
                );
                let help = "if calls arrive through address translation, they all come from there: remove it from the list, \
                            or add a pinhole for it before this rule";
                let diagnostic = Diagnostic::warning(Code::BlocksGateway, message).help(help);
                diagnostics.push(diagnostic.at(place_of(&condition.origin, "", files)));
            }
        }
    }
    diagnostics.sort(Path::new(POLICY_FILE));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{files::Table, testing};

    /// An address as this host writes it in `/proc/net/route`.
    fn word(address: [u8; 4]) -> String {
        format!("{:08X}", u32::from_ne_bytes(address))
    }

    #[test]
    fn default_gateways_are_read_from_the_kernels_tables() {
        let rows = [
            ("eth0", [0, 0, 0, 0], [192, 0, 2, 1], "0003", [0, 0, 0, 0]),
            // A default route without a gateway, and one to a network through a gateway.
            ("ppp0", [0, 0, 0, 0], [0, 0, 0, 0], "0001", [0, 0, 0, 0]),
            ("eth1", [198, 51, 100, 0], [192, 0, 2, 9], "0003", [255, 255, 255, 0]),
        ];
        let table = rows.iter().fold(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n".to_owned(),
            |table, row| {
                let (name, destination, gateway, flags, mask) = row;
                table
                    + &format!(
                        "{name}\t{}\t{}\t{flags}\t0\t0\t100\t{}\t0\t0\t0\n",
                        word(*destination),
                        word(*gateway),
                        word(*mask)
                    )
            },
        );
        assert_eq!(of_ipv4_routes(&table), ["192.0.2.1".parse::<IpAddr>().expect("a valid address")]);

        let zero = "0".repeat(32);
        let hop = "20010db8000000000000000000000001";
        let table = format!(
            "{zero} 00 {zero} 00 {hop} 00000400 00000001 00000000 00000003     eth0\n\
             20010db8000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
        );
        assert_eq!(of_ipv6_routes(&table), ["2001:db8::1".parse::<IpAddr>().expect("a valid address")]);
    }

    #[test]
    fn unreadable_tables_have_no_gateway() {
        for table in ["", "\n\n", "a b c d e f g h\n", "x\ta b c d e f g h\ny\t1 2\n", "0 00\n"] {
            assert!(of_ipv4_routes(table).is_empty() && of_ipv6_routes(table).is_empty(), "{table:?}");
        }
    }

    /// The warnings about rules on a host with the gateways 192.0.2.1 and 2001:db8::1.
    fn warnings(rules: &str) -> Vec<String> {
        let text = format!("version = 1\n[sets.bad]\naddresses = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n{rules}");
        let files = [("policy.toml", text.as_bytes())];
        let (policy, _) = testing::load(&[("policy.toml", &text)]).unwrap_or_else(|errors| panic!("{text}{errors}"));
        let mut diagnostics = Diagnostics::default();
        let gateways = ["192.0.2.1", "2001:db8::1"].map(|gateway| gateway.parse().expect("a valid address"));
        warn(&policy, &Table(&files), &gateways, &mut diagnostics);
        diagnostics.iter().map(|one| one.message.clone()).collect()
    }

    #[test]
    fn every_blocked_gateway_is_reported_with_the_entry_that_includes_it() {
        let warnings = warnings("[[rule]]\nname = \"r\"\nmatch.source = \"@bad\"\naction = { ban = \"1h\" }\n");
        assert_eq!(
            warnings,
            [
                "this includes 192.0.2.1, this host's default gateway, through 192.0.2.0/24 in policy.toml line 3",
                "this includes 2001:db8::1, this host's default gateway, through 2001:db8::/32 in policy.toml line 3",
            ]
        );
    }

    #[test]
    fn a_gateway_that_no_rule_blocks_is_not_reported() {
        for rules in [
            "[[rule]]\nname = \"r\"\nmatch.source = \"@bad\"\naction = \"drop\"\nmode = \"report\"\n",
            "[[rule]]\nname = \"r\"\nmatch.source = \"@bad\"\naction = \"whitelist\"\n",
            "[[rule]]\nname = \"r\"\nmatch.not.source = \"@bad\"\naction = \"drop\"\n",
            "[[rule]]\nname = \"r\"\nmatch.source = [\"192.0.2.2\", \"0.0.0.0/0\"]\naction = \"drop\"\n",
            "[[rule]]\nname = \"p\"\nmatch.source = [\"192.0.2.1\", \"2001:db8::1\"]\naction = \"continue\"\n\
             [[rule]]\nname = \"r\"\nmatch.source = \"@bad\"\naction = \"drop\"\n",
        ] {
            assert_eq!(warnings(rules), Vec::<String>::new(), "{rules}");
        }
    }

    #[test]
    fn a_pinhole_of_another_stage_or_with_other_conditions_does_not_help() {
        for pinhole in ["stage = \"fraud\"\n", "match.method = \"OPTIONS\"\n", "mode = \"report\"\n"] {
            let rules = format!(
                "[[rule]]\nname = \"p\"\nmatch.source = \"192.0.2.1\"\naction = \"continue\"\n{pinhole}\
                 [[rule]]\nname = \"r\"\nmatch.source = \"192.0.2.0/30\"\naction = \"drop\"\n"
            );
            assert_eq!(warnings(&rules).len(), 1, "{rules}");
        }
    }
}
