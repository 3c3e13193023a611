//! Putting the program on interfaces, and taking it off again.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use super::{
    Attached, Error, Filter, Interface, Mode, ModeChoice, Pins, bpf, error::Context as _, filter::Present, host,
    instance::Live, interface, pins, traffic,
};

impl Filter {
    pub(super) fn ensure_no_other_program(&self, name: &str, index: u32) -> Result<(), Error> {
        let Some(on) = host::xdp_on(index)? else { return Ok(()) };
        let pin = self.pins.link(name);
        if pin.exists() {
            let link = bpf::get(&pin).context(|| format!("open {}", pin.display()))?;
            let info = bpf::link_info(link.as_fd()).context(|| format!("ask about {}", pin.display()))?;
            if info.program == on.program {
                return Ok(());
            }
        }
        let mut owners = interface::owners(on.program);
        let off = match other_pins(&self.pins, name, on.program) {
            Some(pins) => {
                owners.insert(0, format!("the pins in {}", pins.root().display()));
                format!("ringfence detach --pin-dir {}", pins.root().display())
            }
            None => host::detach_command(name, on),
        };
        let (interface, program) = (name.to_owned(), host::program_name(on.program));
        Err(Error::AnotherProgram { interface, id: on.program, name: program, owners, off })
    }

    /// Attaches the program to the interfaces that are present, or leaves all of them as they were. Takes it off those that are not listed
    /// any more.
    pub(super) fn swap(
        &self,
        live: &Live,
        present: &[Present],
        interfaces: &[Interface],
    ) -> Result<(Vec<Attached>, Vec<String>), Error> {
        let mut undo = Undo::new(&self.pins);
        let mut attached = Vec::new();
        for (interface, index) in present {
            attached.push(self.attach(live.program.as_fd(), interface, *index, &mut undo)?);
        }
        undo.disarm();
        let mut removed = Vec::new();
        for interface in self.pins.interfaces()? {
            if !interfaces.iter().any(|listed| listed.name == interface) {
                detach_from(&self.pins, &interface)?;
                removed.push(interface);
            }
        }
        Ok((attached, removed))
    }

    pub(super) fn attach(
        &self,
        program: BorrowedFd<'_>,
        interface: &Interface,
        index: u32,
        undo: &mut Undo<'_>,
    ) -> Result<Attached, Error> {
        let Interface { name: interface, mode } = interface;
        let mode = *mode;
        let mut note = None;
        let pin = self.pins.link(interface);
        if pin.exists() {
            match self.update(program, interface, index, mode)? {
                Update::Done(mode, link) => {
                    undo.updated.push(link);
                    return Ok(Attached { interface: interface.to_owned(), mode, created: false, note: None });
                }
                // Only for these causes. Any other failure is an error, and no reason to discard a link.
                Update::Recreate(why) => {
                    detach_from(&self.pins, interface)?;
                    note = Some(format!("the link was recreated: {why}"));
                }
            }
        }
        // Counters are no reason not to filter.
        if let Err(error) = traffic::begin(&self.pins, index) {
            note.get_or_insert(format!("its counters go on from those of another interface: {error}"));
        }
        let created = create_link(program, interface, index, mode);
        if created.is_err() {
            // Another program may have been put there since it was looked for: the kernel says no more than that it is busy.
            self.ensure_no_other_program(interface, index)?;
        }
        let (link, mode, fallback) = created?;
        self.pins.create_interface(interface)?;
        undo.created.push(interface.to_owned());
        bpf::pin(link.as_fd(), &pin).context(|| format!("pin the link {}", pin.display()))?;
        Ok(Attached { interface: interface.to_owned(), mode, created: true, note: note.or(fallback) })
    }

    fn update(&self, program: BorrowedFd<'_>, interface: &str, index: u32, mode: ModeChoice) -> Result<Update, Error> {
        let pin = self.pins.link(interface);
        let link = bpf::get(&pin).context(|| format!("open {}", pin.display()))?;
        let info = bpf::link_info(link.as_fd()).context(|| format!("ask about {}", pin.display()))?;
        if info.kind != bpf::LINK_TYPE_XDP {
            return Ok(Update::Recreate("the pin was not an XDP link".to_owned()));
        }
        if info.interface != index {
            return Ok(Update::Recreate("the interface has been recreated".to_owned()));
        }
        let current = host::xdp_on(index)?.and_then(|on| on.mode).unwrap_or(Mode::Generic);
        if mode.excludes(current) {
            return Ok(Update::Recreate(format!("it was in {current} mode")));
        }
        match bpf::update_link(link.as_fd(), program) {
            Ok(()) => Ok(Update::Done(current, link)),
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {
                Ok(Update::Recreate("it had been detached".to_owned()))
            }
            Err(error) => Err(error).context(|| format!("replace the program on {interface}")),
        }
    }
}

/// The result of updating a link.
enum Update {
    Done(Mode, OwnedFd),
    Recreate(String),
}

/// Reverts a swap on the first interfaces if it fails on a later one.
pub(super) struct Undo<'a> {
    pins: &'a Pins,
    updated: Vec<OwnedFd>,
    created: Vec<String>,
    armed: bool,
}

impl<'a> Undo<'a> {
    pub(super) fn new(pins: &'a Pins) -> Self {
        Self { pins, updated: Vec::new(), created: Vec::new(), armed: true }
    }

    /// Nothing is to be reverted any more.
    pub(super) fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        for interface in &self.created {
            if let Err(error) = detach_from(self.pins, interface) {
                tracing::error!("failed to detach the filter from {interface} again: {error}");
            }
        }
        if self.updated.is_empty() {
            return;
        }
        let program = self.pins.generation(pins::CURRENT).join(pins::PROGRAM);
        let restored = bpf::get(&program).and_then(|program| {
            self.updated.iter().try_for_each(|link| bpf::update_link(link.as_fd(), program.as_fd()))
        });
        if let Err(error) = restored {
            tracing::error!("failed to restore the previous policy on an interface: {error}");
        }
    }
}

/// Creates a link: in native mode if the driver supports it, unless a mode was requested. The third value says why the mode
/// is not native.
fn create_link(
    program: BorrowedFd<'_>,
    interface: &str,
    index: u32,
    choice: ModeChoice,
) -> Result<(OwnedFd, Mode, Option<String>), Error> {
    let mut fallback = None;
    if choice != ModeChoice::Generic {
        match bpf::create_xdp_link(program, index, bpf::XDP_NATIVE) {
            Ok(link) => return Ok((link, Mode::Native, None)),
            Err(error) if !is_the_drivers_refusal(&error) => {
                return Err(error).context(|| format!("attach to {interface}"));
            }
            Err(error) if choice == ModeChoice::Native => {
                return Err(Error::NoNativeMode { interface: interface.to_owned(), reason: error.to_string() });
            }
            Err(error) => fallback = Some(format!("the driver refused native mode: {error}")),
        }
    }
    let link = bpf::create_xdp_link(program, index, bpf::XDP_GENERIC).context(|| format!("attach to {interface}"))?;
    Ok((link, Mode::Generic, fallback))
}

/// Whether the driver has no XDP, or cannot use it with the interface's configuration (MTU, queues). Other refusals would
/// affect generic mode as well.
fn is_the_drivers_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE | libc::EMSGSIZE | libc::ENOSPC | libc::ENOSYS | 524)
    )
}

/// Detaches the filter from an interface at once, and removes its pin.
pub(super) fn detach_from(pins: &Pins, interface: &str) -> Result<(), Error> {
    let pin = pins.link(interface);
    if pin.exists() {
        let link = bpf::get(&pin).context(|| format!("open {}", pin.display()))?;
        match bpf::detach_link(link.as_fd()) {
            Ok(()) => {}
            // The interface is gone already, or the link cannot be detached. Remove the pin anyway.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOLINK | libc::EOPNOTSUPP | libc::EINVAL)) => {}
            Err(error) => return Err(error).context(|| format!("detach from {interface}")),
        }
    }
    pins.remove_interface(interface)
}

/// The pins of another Ringfence filter whose program this is.
pub(super) fn other_pins(own: &Pins, interface: &str, program: u32) -> Option<Pins> {
    let parent = own.root().parent()?;
    let candidates = [parent, Path::new(pins::BPFFS)].into_iter().filter_map(|folder| folder.read_dir().ok()).flatten();
    candidates.flatten().map(|entry| Pins::new(entry.path())).find(|pins| {
        let link = bpf::get(&pins.link(interface)).and_then(|link| bpf::link_info(link.as_fd()));
        link.is_ok_and(|link| link.program == program)
    })
}
