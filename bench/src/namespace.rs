//! Threads in network namespaces.

use std::{fs::File, os::fd::AsFd as _, path::Path};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Moves this thread into a network namespace. It does not leave it again.
pub(crate) fn enter(namespace: &Path) -> Result<()> {
    let file = File::open(namespace).context("failed to open the namespace")?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).context("failed to enter the namespace")
}
