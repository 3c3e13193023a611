//! Files of other kinds, by how they begin, and how to get from them to what was asked for.

/// A kind of file that neither a capture, a message nor a list is.
pub(crate) struct Foreign {
    magic: &'static [u8],
    pub(crate) what: &'static str,
    /// What to do if a capture or a message was asked for.
    pub(crate) for_capture: &'static str,
    /// What to do if a list to import was asked for.
    pub(crate) for_list: &'static str,
}

const CONVERT: &str = "convert it first: `editcap -F pcap FILE capture.pcap`";
pub(crate) const PASS_CAPTURE: &str = "pass a capture, or the payload of one datagram";
const NO_LIST: &str = "look for the same list in text or CSV form";

/// Defines the kinds: the magic, what it is, and the two answers. `unpack COMMAND` makes both answers from one command.
macro_rules! kinds {
    ($($magic:literal, $what:literal, $kind:ident $first:tt $(, $second:expr)?;)*) => {
        const KINDS: &[Foreign] = &[$(kinds!(@row $magic, $what, $kind $first $(, $second)?)),*];
    };
    (@row $magic:literal, $what:literal, unpack $command:literal) => {
        Foreign {
            magic: $magic,
            what: $what,
            for_capture: concat!("unpack it first: `", $command, " FILE > capture.pcap`"),
            for_list: concat!("unpack it first: `", $command, " FILE | ringfence import ...`"),
        }
    };
    (@row $magic:literal, $what:literal, answers $for_capture:tt, $for_list:expr) => {
        Foreign { magic: $magic, what: $what, for_capture: $for_capture, for_list: $for_list }
    };
}

kinds! {
    b"\x1f\x8b\x08", "compressed (gzip)", unpack "zcat";
    b"BZh", "compressed (bzip2)", unpack "bzcat";
    b"\xfd7zXZ\0", "compressed (xz)", unpack "xzcat";
    b"\x28\xb5\x2f\xfd", "compressed (zstd)", unpack "zstdcat";
    b"\x04\x22\x4d\x18", "compressed (lz4)", unpack "lz4cat";
    b"PK\x03\x04", "a ZIP archive or spreadsheet", unpack "unzip -p";
    b"snoop\0\0\0", "a capture of snoop", answers CONVERT, NO_LIST;
    b"GMBU", "a capture of Network Monitor", answers CONVERT, NO_LIST;
    b"\x34\xcd\xb2\xa1", "a capture of a modified libpcap", answers CONVERT, NO_LIST;
    b"\xa1\xb2\xcd\x34", "a capture of a modified libpcap", answers CONVERT, NO_LIST;
    b"%PDF-", "a PDF", answers PASS_CAPTURE, NO_LIST;
    b"\x7fELF", "a program (binary)", answers PASS_CAPTURE, NO_LIST;
}

/// The kind of a file that begins so; none if it is not known.
pub(crate) fn kind(content: &[u8]) -> Option<&'static Foreign> {
    KINDS.iter().find(|kind| content.starts_with(kind.magic))
}

/// True if the text begins with one of the tags, in any case.
pub(crate) fn begins_with_tag(text: &[u8], tags: &[&str]) -> bool {
    tags.iter().any(|tag| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes())))
}

/// True if the text begins as a web page does.
pub(crate) fn is_web_page(text: &[u8]) -> bool {
    begins_with_tag(text, &["<!doctype", "<html", "<head", "<body"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_file_is_unpacked_into_what_was_asked_for() {
        let gzip = kind(b"\x1f\x8b\x08\0abc").expect("it is gzip");
        assert_eq!(gzip.for_capture, "unpack it first: `zcat FILE > capture.pcap`");
        assert_eq!(gzip.for_list, "unpack it first: `zcat FILE | ringfence import ...`");
        assert!(kind(b"BZh").is_some() && kind(b"BYE").is_none() && kind(b"").is_none());
    }

    #[test]
    fn a_web_page_is_known_by_its_first_tag() {
        assert!(is_web_page(b"<HTML><p>") && is_web_page(b"<body>"));
        assert!(!is_web_page(b"<?xml?><html>") && !is_web_page(b"<htm"));
    }
}
