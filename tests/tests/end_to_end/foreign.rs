//! Another XDP program, attached to an interface as other tools do it: by netlink, without a link.

use std::{
    ffi::CString,
    fs,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use ringfence_tests::{netns::Wire, process::run};

/// The program's name in `ip -details link`.
pub(crate) const NAME: &str = "another_tools";

/// A program that passes everything. It is removed when this is dropped, or with the interface.
pub(crate) struct Program {
    file_system: PathBuf,
}

impl Program {
    /// Loads it and attaches it to the server's interface.
    pub(crate) fn attach(wire: &Wire, scratch: &Path) -> Result<Self> {
        let program = load()?;
        // Mount another BPF file system: the machine's may not be mounted yet.
        let file_system = scratch.join("bpf");
        fs::create_dir(&file_system)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "bpf", "bpf"]).arg(&file_system);
        run(mount)?;
        let attached = Self { file_system };
        let pin = attached.file_system.join("program");
        pin_program(&program, &pin)?;
        let mut set = wire.server.command("ip");
        set.args(["link", "set", "dev", Wire::SERVER_INTERFACE, "xdp", "pinned"]).arg(&pin);
        run(set)?;
        Ok(attached)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        umount.arg(&self.file_system);
        if let Err(error) = run(umount) {
            eprintln!("{error:#}");
        }
    }
}

/// The members of `union bpf_attr` for BPF_PROG_LOAD, up to the name (include/uapi/linux/bpf.h).
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The members for BPF_OBJ_PIN.
#[repr(C)]
struct Pin {
    path: u64,
    program: u32,
    flags: u32,
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_PROG_TYPE_XDP: u32 = 6;

fn load() -> Result<OwnedFd> {
    // r0 = XDP_PASS; exit
    let instructions: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
    let license = c"MIT";
    let mut name = [0; 16];
    name[..NAME.len()].copy_from_slice(NAME.as_bytes());
    let attributes = Load {
        program_type: BPF_PROG_TYPE_XDP,
        instruction_count: 2,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name,
    };
    // SAFETY: the attributes have the kernel's layout, and the instructions and the licence they point to outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<Load>()) };
    let fd = i32::try_from(result).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(std::io::Error::last_os_error).context("failed to load a program")?;
    // SAFETY: the kernel has just opened this descriptor for us, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn pin_program(program: &OwnedFd, path: &Path) -> Result<()> {
    let text = CString::new(path.as_os_str().as_encoded_bytes())?;
    let attributes = Pin { path: text.as_ptr() as u64, program: program.as_raw_fd().cast_unsigned(), flags: 0 };
    // SAFETY: the attributes have the kernel's layout, and the path they point to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_PIN, &raw const attributes, size_of::<Pin>()) };
    if result < 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| format!("failed to pin {}", path.display()));
    }
    Ok(())
}
