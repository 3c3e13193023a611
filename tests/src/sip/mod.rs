//! Real SIP software on both ends: Kamailio with a SIPp called party behind it, SIPp callers, SIPVicious scanners.

mod caller;
mod scanner;
mod server;

pub use caller::{Call, CallCounts, Caller, Calling, Scenario};
pub use scanner::Scanner;
pub use server::Server;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::netns::Wire;

/// The signalling port of the server.
pub const SIP_PORT: u16 = 5060;

/// A user agent that is on no list.
pub const ORDINARY_AGENT: &str = "Yealink SIP-T54W 96.86.0.45";

/// The server's address for senders of this address family.
#[must_use]
pub fn server_address(source: IpAddr) -> SocketAddr {
    let address = match source {
        IpAddr::V4(_) => Wire::SERVER_IPV4,
        IpAddr::V6(_) => Wire::SERVER_IPV6,
    };
    SocketAddr::new(address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), SIP_PORT)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}
