//! Prefixes of addresses, as bans have them.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use filter_core::layout::BanKey;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The bits of an IPv6 address that are banned if only the address is given. An IPv6 network has all the addresses of its /64 (RFC 4291
/// section 2.5.1): whoever is banned could continue from the next one.
const DEFAULT_IPV6: u8 = 64;

/// Bits in front of the IPv4 address in its mapped form (RFC 4291 section 2.5.5.2).
const MAPPED: u8 = 96;

/// A prefix of source addresses that is or can be banned. Its text is what reads back as the same prefix: an IPv4 address has no
/// length, an IPv6 address always has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

/// Why a text is no prefix that can be banned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// It has no bits that are compared.
    #[error("{0} is every address: a ban covers a part of them")]
    Everything(String),
    /// Bits are set after its length.
    #[error("{found} has bits set after its length: write {network}, or the address alone")]
    HostBits {
        /// The text.
        found: String,
        /// The network that has the address.
        network: String,
    },
    /// It is no address and no network.
    #[error(
        "`{0}` is no address such as 192.0.2.7 or 2001:db8::7, and no network such as 192.0.2.0/24 or 2001:db8::/48"
    )]
    Syntax(String),
}

impl Prefix {
    /// The prefix to ban for an address or a network: for an IPv6 address, its /64.
    ///
    /// # Errors
    /// It is neither, or it is every address.
    pub fn to_ban(text: &str) -> Result<Self, PrefixError> {
        Self::read(text, DEFAULT_IPV6)
    }

    /// The prefix of an address or a network: for an address, only that.
    ///
    /// # Errors
    /// It is neither, or it is every address.
    pub fn exactly(text: &str) -> Result<Self, PrefixError> {
        Self::read(text, 128)
    }

    fn read(text: &str, ipv6_length: u8) -> Result<Self, PrefixError> {
        let syntax = || PrefixError::Syntax(text.to_owned());
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(match address.to_canonical() {
                IpAddr::V4(address) => Ipv4Net::from(address).into(),
                IpAddr::V6(address) => Ipv6Net::new(address, ipv6_length).map_err(|_| syntax())?.trunc().into(),
            }));
        }
        let network = text.parse::<IpNet>().map_err(|_| syntax())?;
        if network.addr() != network.network() {
            return Err(PrefixError::HostBits { found: text.to_owned(), network: network.trunc().to_string() });
        }
        let network = match (network, network.addr().to_canonical()) {
            (IpNet::V6(_), IpAddr::V4(address)) if network.prefix_len() >= MAPPED => {
                Ipv4Net::new(address, network.prefix_len() - MAPPED).map_err(|_| syntax())?.into()
            }
            _ => network,
        };
        if network.prefix_len() == 0 {
            return Err(PrefixError::Everything(text.to_owned()));
        }
        Ok(Self(network))
    }

    /// The prefix in a key of the map; none if the key is none that this build writes.
    pub(super) fn of(key: &BanKey) -> Option<Self> {
        let length = u8::try_from(key.length).ok()?;
        Some(Self(match Ipv6Addr::from(key.source).to_ipv4_mapped() {
            Some(address) if length > MAPPED => Ipv4Net::new(address, length - MAPPED).ok()?.into(),
            _ => Ipv6Net::new(key.source.into(), length).ok()?.into(),
        }))
    }

    /// The key of the prefix in the map.
    pub(super) fn key(self) -> BanKey {
        let source = self.address_bits().to_be_bytes();
        BanKey { source, length: u32::from(self.length_in_map()) }
    }

    /// The address as 128 bits; IPv4 mapped.
    fn address_bits(self) -> u128 {
        match self.0.addr() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    /// The length as the program counts it: of the mapped address.
    pub(super) fn length_in_map(self) -> u8 {
        if self.is_ipv4() { self.length() + MAPPED } else { self.length() }
    }

    /// The bits that are compared.
    #[must_use]
    pub fn length(self) -> u8 {
        self.0.prefix_len()
    }

    /// True for a prefix of IPv4 addresses.
    #[must_use]
    pub fn is_ipv4(self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// True if an address is in both prefixes: one of them contains the other.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }

    /// The key in an address trie, left-aligned.
    pub(super) fn trie_key(self) -> u128 {
        if self.is_ipv4() { self.address_bits() << MAPPED } else { self.address_bits() }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpNet::V4(network) if network.prefix_len() == 32 => network.addr().fmt(f),
            IpNet::V4(_) | IpNet::V6(_) => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_ban(text: &str) -> String {
        Prefix::to_ban(text).map_or_else(|error| error.to_string(), |prefix| prefix.to_string())
    }

    #[test]
    fn an_address_stands_for_itself_in_ipv4_and_for_its_network_in_ipv6() {
        assert_eq!(to_ban("192.0.2.7"), "192.0.2.7");
        assert_eq!(to_ban("2001:db8::7"), "2001:db8::/64");
        assert_eq!(to_ban("2001:db8::7/128"), "2001:db8::7/128");
        assert_eq!(Prefix::exactly("2001:db8::7").unwrap().to_string(), "2001:db8::7/128");
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        assert_eq!(to_ban("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(to_ban("::ffff:192.0.2.0/120"), "192.0.2.0/24");
        assert!(to_ban("::ffff:0:0/96").contains("every address"));
    }

    #[test]
    fn what_cannot_be_banned_is_refused_with_the_reason() {
        assert!(to_ban("0.0.0.0/0").contains("every address"));
        assert!(to_ban("::/0").contains("every address"));
        assert!(to_ban("192.0.2.7/24").contains("write 192.0.2.0/24"), "{}", to_ban("192.0.2.7/24"));
        assert!(to_ban("example.com").contains("`example.com` is no address"));
    }

    #[test]
    fn a_prefix_comes_back_from_its_key() {
        for text in ["192.0.2.7", "192.0.2.0/24", "128.0.0.0/1", "2001:db8::/48", "2001:db8::7/128", "8000::/1"] {
            let prefix = Prefix::to_ban(text).unwrap();
            assert_eq!(Prefix::of(&prefix.key()), Some(prefix), "{text}");
        }
        assert_eq!(Prefix::to_ban("192.0.2.0/24").unwrap().key().length, 120);
    }

    #[test]
    fn prefixes_overlap_if_one_contains_the_other() {
        let overlap = |a: &str, b: &str| Prefix::exactly(a).unwrap().overlaps(Prefix::exactly(b).unwrap());
        assert!(overlap("192.0.2.7", "192.0.2.0/24") && overlap("192.0.2.0/24", "192.0.2.7"));
        assert!(overlap("2001:db8::7", "2001:db8::/64"));
        assert!(!overlap("192.0.2.7", "192.0.3.0/24") && !overlap("192.0.2.7", "2001:db8::/64"));
    }
}
