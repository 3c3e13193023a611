//! What is in force, asked and noted without another generation.

use std::os::fd::AsFd as _;

use super::{Error, Filter, Interface, host, state};
use crate::kernel::bpf;

impl Filter {
    /// Whether the filter that was found is one that this version can go on with as it is. If it is an older version's, or was being
    /// taken over from one, only another policy can take its place.
    #[must_use]
    pub fn can_be_adopted(&self) -> bool {
        self.older.is_none() && self.policy_hash().is_some()
    }

    /// The hash of the policy in force; none before the first one.
    #[must_use]
    pub fn policy_hash(&self) -> Option<String> {
        Some(self.meta.policy_hash()).filter(|hash| !hash.is_empty())
    }

    /// The commit of the policy in force.
    #[must_use]
    pub fn commit(&self) -> Option<String> {
        self.meta.commit()
    }

    /// The number of the generation in force; 0 before the first one.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.meta.generation
    }

    /// Numbers the next generation after `last`, if it were not anyway: the pins may be newer than what is known of earlier
    /// generations.
    pub fn continue_after(&mut self, last: u64) {
        if self.meta.generation == 0 {
            self.meta.generation = last;
        }
    }

    /// Notes that the policy in force is also that of this commit.
    ///
    /// # Errors
    /// The state in the kernel cannot be written.
    pub fn note_commit(&mut self, commit: Option<&str>) -> Result<(), Error> {
        let commit = state::padded(commit.unwrap_or_default());
        if self.meta.commit == commit {
            return Ok(());
        }
        self.meta.commit = commit;
        self.meta_table.set(0, &self.meta)
    }

    /// True if the filter is on exactly those of these interfaces that exist, in modes that are wanted there. Otherwise
    /// [`install`](Filter::install) has something to do, whatever the policy.
    #[must_use]
    pub fn is_on(&self, interfaces: &[Interface]) -> bool {
        let Ok(pinned) = self.pins.interfaces() else { return false };
        let is_listed = |name: &String| interfaces.iter().any(|interface| interface.name == *name);
        pinned.iter().all(is_listed)
            && interfaces.iter().all(|interface| self.is_on_interface(interface).unwrap_or(false))
    }

    fn is_on_interface(&self, interface: &Interface) -> Option<bool> {
        let index = match host::interface_index(&interface.name) {
            Ok(index) => index,
            // Nothing can be done about it before it is there, and then `keep` does it.
            Err(Error::UnknownInterface(_)) => return Some(true),
            Err(_) => return None,
        };
        let link = bpf::get(&self.pins.link(&interface.name)).ok()?;
        let info = bpf::link_info(link.as_fd()).ok()?;
        let on = host::xdp_on(index).ok()??;
        let mode = on.mode.is_none_or(|mode| !interface.mode.excludes(mode));
        Some(info.kind == bpf::LINK_TYPE_XDP && info.interface == index && info.program == on.program && mode)
    }
}
