//! The XDP program inside the binary.

/// The ELF object that the build script built from `filter-ebpf`, aligned for the ELF reader.
pub static OBJECT: &[u8] = &ALIGNED.0;

/// Aligns bytes to 8 bytes: the reader casts them to 64-bit ELF headers.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/ringfence.bpf.o")));

#[cfg(test)]
mod tests {
    use super::OBJECT;

    #[test]
    fn the_object_is_an_aligned_elf_file_for_bpf() {
        assert_eq!(&OBJECT[..4], b"\x7fELF");
        assert_eq!(u16::from_le_bytes([OBJECT[18], OBJECT[19]]), 247, "e_machine is not EM_BPF");
        assert_eq!(OBJECT.as_ptr() as usize % 8, 0);
    }
}
