//! The parts of `bpf()` that aya does not offer: batches, mapped arrays, raw map values, information about links.
//!
//! Constants and structures are those of the kernel's `include/uapi/linux/bpf.h`; the unused tail of an attribute is zero.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    ptr::{self, NonNull},
};

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;

const BPF_MAP_TYPE_ARRAY: u32 = 2;

/// `BPF_F_MMAPABLE`: an array whose values can be mapped into memory.
pub(super) const MMAPABLE: u32 = 1 << 10;

/// Creates an array map. `name` may have up to 15 letters, digits and underscores.
pub(super) fn create_array(name: &str, value_size: u32, max_entries: u32, map_flags: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Attribute {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        inner_map_fd: u32,
        numa_node: u32,
        map_name: [u8; 16],
    }
    let mut map_name = [0; 16];
    let length = name.len().min(15);
    map_name[..length].copy_from_slice(&name.as_bytes()[..length]);
    let mut attribute = Attribute {
        map_type: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size,
        max_entries,
        map_flags,
        map_name,
        ..Attribute::default()
    };
    // SAFETY: the attribute has no pointers.
    let fd = unsafe { bpf(BPF_MAP_CREATE, &mut attribute) }?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads a value.
///
/// # Safety
/// `key` and `value` must be at least as long as the map's keys and values (per-CPU maps: the value rounded up to 8 bytes,
/// times the possible CPUs).
pub(super) unsafe fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    let mut attribute = Element {
        map_fd: map.as_raw_fd() as u32,
        key: key.as_ptr() as u64,
        value: value.as_mut_ptr() as u64,
        ..Element::default()
    };
    // SAFETY: both pointers are valid for this call, and long enough by this function's contract.
    unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attribute) }.map(drop)
}

/// Writes a value, whether or not the key exists.
///
/// # Safety
/// As for [`lookup`].
pub(super) unsafe fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut attribute = Element {
        map_fd: map.as_raw_fd() as u32,
        key: key.as_ptr() as u64,
        value: value.as_ptr() as u64,
        ..Element::default()
    };
    // SAFETY: both pointers are valid for this call, and long enough by this function's contract.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attribute) }.map(drop)
}

/// Removes a key of a hash map.
///
/// # Safety
/// `key` must be at least as long as the map's keys.
pub(super) unsafe fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    let mut attribute = Element { map_fd: map.as_raw_fd() as u32, key: key.as_ptr() as u64, ..Element::default() };
    // SAFETY: the pointer is valid for this call, and long enough by this function's contract.
    unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attribute) }.map(drop)
}

/// Reads up to `count` keys and values of a hash map: the first ones if `after` is none, else those after that position. Returns how
/// many there were, and the position after them; none at the end.
///
/// # Safety
/// `keys` and `values` must have room for `count` keys and values of the map, and its keys must be at least four bytes long.
pub(super) unsafe fn lookup_batch(
    map: BorrowedFd<'_>,
    after: Option<u32>,
    keys: &mut [u8],
    values: &mut [u8],
    count: u32,
) -> io::Result<(usize, Option<u32>)> {
    // (Of a hash map, a position is a bucket's index.)
    let mut next = 0u32;
    let mut attribute = Batch {
        in_batch: after.as_ref().map_or(0, |after| ptr::from_ref(after) as u64),
        out_batch: &raw mut next as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count,
        map_fd: map.as_raw_fd() as u32,
        ..Batch::default()
    };
    // SAFETY: the pointers are valid for this call: the kernel reads and writes positions of four bytes, and has room for the keys and
    // values by this function's contract.
    match unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attribute) } {
        Ok(_) => Ok((attribute.count as usize, Some(next))),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((attribute.count as usize, None)),
        Err(error) => Err(error),
    }
}

/// Writes `count` values at once.
///
/// # Safety
/// `keys` and `values` must have at least `count` keys and values of the map.
pub(super) unsafe fn update_batch(map: BorrowedFd<'_>, keys: &[u8], values: &[u8], count: u32) -> io::Result<()> {
    let mut attribute = Batch {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count,
        map_fd: map.as_raw_fd() as u32,
        ..Batch::default()
    };
    // SAFETY: both pointers are valid for this call, and long enough by this function's contract.
    unsafe { bpf(BPF_MAP_UPDATE_BATCH, &mut attribute) }.map(drop)
}

/// The values of an array with [`MMAPABLE`], mapped into this process's memory for writing.
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps the first `length` bytes of the values. The kernel refuses a length beyond the map (rounded up to a page).
    pub(super) fn new(map: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        let (protection, fd) = (libc::PROT_READ | libc::PROT_WRITE, map.as_raw_fd());
        // SAFETY: the kernel chooses the address, so no existing mapping is touched.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Self { start, length }),
            None => Err(io::Error::other("mapped at address 0")),
        }
    }

    /// Writes bytes at an offset.
    ///
    /// # Panics
    /// The bytes reach beyond the end of the mapping.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset.checked_add(bytes.len());
        assert!(end.is_some_and(|end| end <= self.length), "{} bytes at {offset} of {}", bytes.len(), self.length);
        // SAFETY: the range was just checked to be inside the mapping, and nothing else in this process points into it. BPF
        // programs may read it at the same time: to them it is memory that user space may change at any time.
        unsafe { self.start.as_ptr().add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and no pointer into it escapes from this type.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Pins a map, program or link.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let pathname = CString::new(path.as_os_str().as_bytes())?;
    let mut attribute =
        Object { pathname: pathname.as_ptr() as u64, bpf_fd: object.as_raw_fd() as u32, ..Object::default() };
    // SAFETY: the path is a zero-terminated string that outlives the call.
    unsafe { bpf(BPF_OBJ_PIN, &mut attribute) }.map(drop)
}

/// Opens a pinned program or link.
pub(super) fn get(path: &Path) -> io::Result<OwnedFd> {
    let pathname = CString::new(path.as_os_str().as_bytes())?;
    let mut attribute = Object { pathname: pathname.as_ptr() as u64, ..Object::default() };
    // SAFETY: the path is a zero-terminated string that outlives the call.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut attribute) }?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `XDP_FLAGS_SKB_MODE`: run in the network stack.
pub(super) const XDP_GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`: run in the driver.
pub(super) const XDP_NATIVE: u32 = 1 << 2;

/// Attaches an XDP program to an interface. It stays attached while the link is open or pinned.
pub(super) fn create_xdp_link(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    const BPF_XDP: u32 = 37;
    #[repr(C)]
    struct Attribute {
        program: u32,
        interface: u32,
        attach_type: u32,
        flags: u32,
    }
    let mut attribute = Attribute { program: program.as_raw_fd() as u32, interface, attach_type: BPF_XDP, flags };
    // SAFETY: the attribute has no pointers.
    let fd = unsafe { bpf(BPF_LINK_CREATE, &mut attribute) }?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Replaces the program of a link atomically: each packet sees either the old program or the new one.
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attribute {
        link: u32,
        new_program: u32,
        flags: u32,
        old_program: u32,
    }
    let mut attribute =
        Attribute { link: link.as_raw_fd() as u32, new_program: program.as_raw_fd() as u32, flags: 0, old_program: 0 };
    // SAFETY: the attribute has no pointers.
    unsafe { bpf(BPF_LINK_UPDATE, &mut attribute) }.map(drop)
}

/// Detaches a link's program from its interface at once, even if the link is still open elsewhere.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attribute = link.as_raw_fd() as u32;
    // SAFETY: the attribute has no pointers.
    unsafe { bpf(BPF_LINK_DETACH, &mut attribute) }.map(drop)
}

/// Information about an XDP link: `struct bpf_link_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkInfo {
    /// `enum bpf_link_type`.
    pub(super) kind: u32,
    /// The id of the link.
    pub(super) id: u32,
    /// The id of its program.
    pub(super) program: u32,
    padding: u32,
    /// Index of the interface, 0 once the interface is gone (XDP links only).
    pub(super) interface: u32,
    tail: [u32; 11],
}

/// `BPF_LINK_TYPE_XDP`.
pub(super) const LINK_TYPE_XDP: u32 = 6;

/// Gets information about a link from the kernel.
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let mut attribute = Information {
        bpf_fd: link.as_raw_fd() as u32,
        info_len: size_of::<LinkInfo>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which outlives the call; any bytes are a valid value.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attribute) }?;
    Ok(info)
}

/// Information about a program: `struct bpf_prog_info`, as far as it is needed. Its zero pointers ask for no arrays.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProgramInfo {
    /// From `type` to `prog_tags`.
    head: [u64; 24],
    /// How long it has run, in nanoseconds, while the kernel measured it.
    pub(super) run_time_ns: u64,
    /// How often it has run, while the kernel measured it.
    pub(super) run_cnt: u64,
}

/// Gets information about a program from the kernel.
pub(super) fn program_info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let mut info = ProgramInfo::default();
    let mut attribute = Information {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: size_of::<ProgramInfo>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which outlives the call; any bytes are a valid value, and all its
    // pointers are null, for arrays of no entries.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attribute) }?;
    Ok(info)
}

/// `struct { bpf_fd; info_len; info }`, for the command about information.
#[repr(C)]
#[derive(Default)]
struct Information {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct { pathname; bpf_fd; file_flags }`, for the commands about pins.
#[repr(C)]
#[derive(Default)]
struct Object {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `struct { map_fd; key; value; flags }`, for the commands about elements.
#[repr(C)]
#[derive(Default)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `struct { ... } batch`, for the commands about many elements.
#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The system call `bpf()`.
///
/// # Safety `attribute` must be of the type that `command` takes, and every pointer in it must be valid for what the
/// command does with it.
unsafe fn bpf<T>(command: libc::c_long, attribute: &mut T) -> io::Result<i32> {
    // SAFETY: by this function's contract; the size is that of the attribute.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attribute, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
