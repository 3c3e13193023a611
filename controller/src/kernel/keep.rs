//! Keeping the filter on its interfaces: one that was recreated gets it again, and one that is not wanted any more is freed.

use std::os::fd::AsFd as _;

use super::{
    Attached, Error, Filter, Interface, Pins,
    attach::{Undo, detach_from},
    bpf,
    error::Context as _,
    host, pins,
    snapshot::is_attached,
    state::{self, MetaInterface},
};

/// What has become of an interface.
#[derive(Debug)]
pub enum Kept {
    /// The filter is on it.
    On,
    /// There is no such interface.
    Gone,
    /// The filter was off it, and has been attached again.
    Again(Attached),
}

impl Filter {
    /// Looks at an interface, and attaches the policy in force to it if it is there and the filter is not on it.
    ///
    /// # Errors
    /// Another program is on it, or the system refuses.
    pub fn keep(&mut self, interface: &Interface) -> Result<Kept, Error> {
        if is_attached(&self.pins, &interface.name)? {
            return Ok(Kept::On);
        }
        let index = match host::interface_index(&interface.name) {
            Ok(index) => index,
            Err(Error::UnknownInterface(_)) => return Ok(Kept::Gone),
            Err(error) => return Err(error),
        };
        host::ensure_ethernet(&interface.name, index)?;
        self.ensure_no_other_program(&interface.name, index)?;
        let path = self.pins.generation(pins::CURRENT).join(pins::PROGRAM);
        let program = bpf::get(&path).context(|| format!("open {}", path.display()))?;
        let mut undo = Undo::new(&self.pins);
        let attached = self.attach(program.as_fd(), interface, index, &mut undo)?;
        undo.disarm();
        let entry = MetaInterface { name: state::padded(&interface.name), index, mode: attached.mode.number() };
        let entries = &mut self.meta.interfaces;
        let is_its = |known: &MetaInterface| known.name == entry.name;
        let place = entries.iter().position(is_its).or_else(|| entries.iter().position(|known| known.name[0] == 0));
        if let Some(place) = place {
            entries[place] = entry;
        }
        self.meta_table.set(0, &self.meta)?;
        Ok(Kept::Again(attached))
    }

    /// Takes the filter off one interface.
    ///
    /// # Errors
    /// The filter is not on it, or on no other: then the whole filter has to be detached. Or the system refuses.
    pub fn take_off(&mut self, interface: &str) -> Result<(), Error> {
        let on = self.pins.interfaces()?;
        if !on.iter().any(|name| name == interface) {
            return Err(Error::NotThere { interface: interface.to_owned(), on });
        }
        if on.len() == 1 {
            return Err(Error::LastInterface(interface.to_owned()));
        }
        detach_from(&self.pins, interface)?;
        let name = state::padded(interface);
        let left: Vec<MetaInterface> =
            self.meta.interfaces.iter().copied().filter(|entry| entry.name != name).collect();
        self.meta.interfaces.fill(MetaInterface { name: [0; 16], index: 0, mode: 0 });
        self.meta.interfaces[..left.len()].copy_from_slice(&left);
        self.meta_table.set(0, &self.meta)
    }
}

/// Takes a filter that no daemon works with off one interface.
///
/// # Errors
/// A daemon works with the pins, there is no filter, or as [`Filter::take_off`].
pub fn take_off(pins: &Pins, interface: &str) -> Result<(), Error> {
    host::check()?;
    if !pins.exist() {
        return Err(Error::NoFilter(pins.root().to_path_buf()));
    }
    Filter::open(pins.clone())?.take_off(interface)
}
