//! From an address in a program's machine code to the line of source that it comes from.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_BTF_GET_FD_BY_ID: libc::c_long = 19;

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    /// The file, without the folders that its crate is in.
    pub file: String,
    pub number: u32,
    pub text: String,
}

/// The machine code of a program.
pub(super) struct Code {
    /// Its functions: where each begins, and its length. Sorted.
    functions: Vec<(u64, u32)>,
    /// Where the code of each line begins; the same line can have several places. Sorted.
    places: Vec<(u64, Line)>,
}

impl Code {
    /// The code of a loaded program.
    pub(super) fn of(program: BorrowedFd<'_>) -> Result<Self> {
        // SAFETY: there are no pointers in it.
        let counts = unsafe { info(program, ProgramInfo::default()) }?;
        ensure!(
            counts.nr_jited_line_info > 0,
            "the kernel gives no lines: the program must be compiled to machine code"
        );
        let mut starts = vec![0u64; counts.nr_jited_ksyms as usize];
        let mut lengths = vec![0u32; counts.nr_jited_func_lens as usize];
        let mut lines = vec![LineInfo::default(); counts.nr_line_info as usize];
        let mut addresses = vec![0u64; counts.nr_jited_line_info as usize];
        let wanted = ProgramInfo {
            nr_jited_ksyms: counts.nr_jited_ksyms,
            jited_ksyms: starts.as_mut_ptr() as u64,
            nr_jited_func_lens: counts.nr_jited_func_lens,
            jited_func_lens: lengths.as_mut_ptr() as u64,
            nr_line_info: counts.nr_line_info,
            line_info: lines.as_mut_ptr() as u64,
            line_info_rec_size: size_of::<LineInfo>() as u32,
            nr_jited_line_info: counts.nr_jited_line_info,
            jited_line_info: addresses.as_mut_ptr() as u64,
            jited_line_info_rec_size: size_of::<u64>() as u32,
            ..ProgramInfo::default()
        };
        // SAFETY: each pointer is to a vector with as many values as the number beside it, and these outlive the call.
        unsafe { info(program, wanted) }?;
        let strings = strings(counts.btf_id)?;
        let line = |info: &LineInfo| -> Result<Line> {
            Ok(Line {
                file: short(&text(&strings, info.file_name_off)?),
                number: info.line_col >> 10,
                text: text(&strings, info.line_off)?.trim().to_owned(),
            })
        };
        let places = addresses.iter().zip(&lines).map(|(address, info)| Ok((*address, line(info)?)));
        let mut places = places.collect::<Result<Vec<_>>>()?;
        places.sort_by_key(|(address, _)| *address);
        let mut functions: Vec<_> = starts.into_iter().zip(lengths).collect();
        functions.sort_unstable();
        Ok(Self { functions, places })
    }

    /// The function that has this address: where it begins, and its length.
    pub(super) fn function(&self, address: u64) -> Option<(u64, u32)> {
        let after = self.functions.partition_point(|(start, _)| *start <= address);
        let (start, length) = *self.functions.get(after.checked_sub(1)?)?;
        (address < start + u64::from(length)).then_some((start, length))
    }

    /// The line of this address, if it is in the program.
    pub(super) fn line(&self, address: u64) -> Option<&Line> {
        let (start, _) = self.function(address)?;
        let after = self.places.partition_point(|(place, _)| *place <= address);
        let (place, line) = self.places.get(after.checked_sub(1)?)?;
        // What comes before a function's first line is of no line, and not of the last one of the function before it.
        (*place >= start).then_some(line)
    }

    /// Bytes of machine code of all functions.
    pub(super) fn size(&self) -> u64 {
        self.functions.iter().map(|(_, length)| u64::from(*length)).sum()
    }
}

/// A path from the crate's folder on, such as `filter-core/src/find.rs`.
fn short(path: &str) -> String {
    let parts: Vec<_> = path.split('/').collect();
    let source = parts.iter().rposition(|part| *part == "src").unwrap_or(1);
    parts[source.saturating_sub(1)..].join("/")
}

/// `struct bpf_prog_info`, `include/uapi/linux/bpf.h`, as far as it is needed.
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; 16],
    ifindex: u32,
    gpl_compatible: u32,
    netns_dev: u64,
    netns_ino: u64,
    nr_jited_ksyms: u32,
    nr_jited_func_lens: u32,
    jited_ksyms: u64,
    jited_func_lens: u64,
    btf_id: u32,
    func_info_rec_size: u32,
    func_info: u64,
    nr_func_info: u32,
    nr_line_info: u32,
    line_info: u64,
    jited_line_info: u64,
    nr_jited_line_info: u32,
    line_info_rec_size: u32,
    jited_line_info_rec_size: u32,
    nr_prog_tags: u32,
}

/// `struct bpf_line_info`. The last word has the column in its lower ten bits.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct LineInfo {
    insn_off: u32,
    file_name_off: u32,
    line_off: u32,
    line_col: u32,
}

/// `struct bpf_btf_info`, its first version.
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct BtfInfo {
    btf: u64,
    btf_size: u32,
    id: u32,
}

/// Asks the kernel about an object.
///
/// # Safety
/// What the pointers in `wanted` point to has room for as many values as `wanted` says, and nothing else uses it.
unsafe fn info<T: FromBytes + IntoBytes + Immutable>(object: BorrowedFd<'_>, wanted: T) -> Result<T> {
    #[repr(C)]
    struct Attribute {
        fd: u32,
        length: u32,
        info: u64,
    }
    let mut found = wanted;
    let attribute =
        Attribute { fd: object.as_raw_fd() as u32, length: size_of::<T>() as u32, info: (&raw mut found) as u64 };
    // SAFETY: the attribute outlives the call, and `found` is as long as it says. The caller answers for what that points to.
    let status =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw const attribute, size_of::<Attribute>()) };
    if status < 0 {
        return Err(io::Error::last_os_error()).context("failed to get the properties of the program");
    }
    Ok(found)
}

/// The strings of a program's type information.
fn strings(btf: u32) -> Result<Vec<u8>> {
    // SAFETY: the attribute is an id, and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_BTF_GET_FD_BY_ID, &raw const btf, size_of::<u32>()) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(io::Error::last_os_error).context("failed to open the program's type information")?;
    // SAFETY: the kernel has just opened this descriptor for us, and nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: there are no pointers in it.
    let size = unsafe { info(fd.as_fd(), BtfInfo::default()) }?.btf_size;
    let mut content = vec![0u8; size as usize];
    // SAFETY: the buffer has as many bytes as it says, and outlives the call.
    unsafe { info(fd.as_fd(), BtfInfo { btf: content.as_mut_ptr() as u64, btf_size: size, id: 0 }) }?;
    // struct btf_header: magic, version, flags, header length; offsets and lengths of types and of strings.
    let word = |at: usize| {
        let bytes = content.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).context("the type information is too short")
    };
    let start = (word(4)? + word(16)?) as usize;
    let strings = content.get(start..start + word(20)? as usize);
    Ok(strings.context("the type information has no strings")?.to_vec())
}

fn text(strings: &[u8], offset: u32) -> Result<String> {
    let rest = strings.get(offset as usize..).context("a line has no text")?;
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
}

/// Samples per line, most first.
pub(super) fn by_line<'a>(code: &'a Code, samples: &[u64]) -> Vec<(&'a Line, usize)> {
    let mut counts: HashMap<&Line, usize> = HashMap::new();
    for line in samples.iter().filter_map(|address| code.line(*address)) {
        *counts.entry(line).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(a, one), (b, other)| other.cmp(one).then_with(|| (&a.file, a.number).cmp(&(&b.file, b.number))));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u32) -> Line {
        Line { file: "filter-core/src/find.rs".to_owned(), number, text: String::new() }
    }

    /// Two functions with a gap between them, and one line in two places.
    fn code() -> Code {
        Code {
            functions: vec![(100, 50), (200, 50)],
            places: vec![(104, line(1)), (120, line(2)), (204, line(3)), (220, line(1))],
        }
    }

    #[test]
    fn an_address_belongs_to_the_line_that_begins_before_it_in_its_function() {
        let code = code();
        let number = |address| code.line(address).map(|line| line.number);
        assert_eq!([104, 119, 120, 149, 230].map(number), [1, 1, 2, 2, 1].map(Some));
        // Before a function's first line, between functions, and outside of all.
        assert_eq!([102, 201, 150, 199, 250, 0].map(number), [None; 6]);
        assert_eq!((code.function(110), code.size()), (Some((100, 50)), 100));
    }

    #[test]
    fn samples_of_a_line_are_added_up_over_its_places() {
        let code = code();
        let counts = by_line(&code, &[104, 221, 205, 999]);
        let counts: Vec<_> = counts.iter().map(|(line, count)| (line.number, *count)).collect();
        assert_eq!(counts, [(1, 2), (3, 1)]);
    }

    #[test]
    fn paths_begin_with_the_crate() {
        assert_eq!(short("/home/one/ringfence/filter-core/src/text/mod.rs"), "filter-core/src/text/mod.rs");
        assert_eq!(short("filter-ebpf/src/host.rs"), "filter-ebpf/src/host.rs");
        assert_eq!(short("src/main.rs"), "src/main.rs");
    }
}
