//! Threads in network namespaces, and what these count.

use std::{
    fs::{self, File},
    os::fd::AsFd as _,
    path::Path,
};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Moves this thread into a network namespace. It does not leave it again.
pub(crate) fn enter(namespace: &Path) -> Result<()> {
    let file = File::open(namespace).context("failed to open the namespace")?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).context("failed to enter the namespace")
}

/// The IPv4 packets that this thread's network namespace has received so far, including those that were dropped later.
pub(crate) fn ip_packets() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/snmp").context("failed to read the counters of IP")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, values) = lines.next().zip(lines.next()).context("the kernel does not count IP packets")?;
    let place = names.split(' ').position(|name| name == "InReceives").context("no InReceives")?;
    values.split(' ').nth(place).and_then(|value| value.parse().ok()).context("InReceives is not a number")
}
