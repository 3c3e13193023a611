//! The instructions that the kernel executes for this thread, if the processor's counter can be used: virtual machines often
//! have none.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};

/// A counter that runs.
pub(crate) struct Instructions(OwnedFd);

/// `struct perf_event_attr`, `include/uapi/linux/perf_event.h`: its first version, of which all later ones accept the size.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

const PERF_TYPE_HARDWARE: u32 = 0;
const PERF_COUNT_HW_INSTRUCTIONS: u64 = 1;
const EXCLUDE_USER: u64 = 1 << 4;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;

impl Instructions {
    /// Starts to count what the kernel does for this thread. `None` if there is no counter, or none that may be used.
    pub(crate) fn start() -> Option<Self> {
        let attributes = Attributes {
            kind: PERF_TYPE_HARDWARE,
            size: size_of::<Attributes>() as u32,
            config: PERF_COUNT_HW_INSTRUCTIONS,
            flags: EXCLUDE_USER | EXCLUDE_HYPERVISOR,
            ..Attributes::default()
        };
        let (this_thread, any_cpu, no_group): (libc::pid_t, libc::c_int, libc::c_int) = (0, -1, -1);
        // SAFETY: the attributes have the size that they say, and outlive the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                this_thread,
                any_cpu,
                no_group,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the kernel has just opened this descriptor for us, and nothing else owns it.
        let counter = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        // A counter that a hypervisor only pretends to have stays at zero.
        counter.read().is_ok_and(|count| count > 0).then_some(counter)
    }

    /// The instructions so far.
    pub(crate) fn read(&self) -> Result<u64> {
        let mut count = 0u64;
        // SAFETY: the buffer is as long as the call is told, and outlives it.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
        if read < 0 {
            return Err(io::Error::last_os_error()).context("failed to read the instruction counter");
        }
        ensure!(read as usize == size_of::<u64>(), "the instruction counter cannot be scheduled");
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_starts_increases() {
        // Without a counter there is nothing to test: the tables then say so.
        let Some(counter) = Instructions::start() else { return };
        let before = counter.read().unwrap();
        std::fs::read_to_string("/proc/self/stat").unwrap();
        assert!(counter.read().unwrap() > before);
    }
}
