//! What is no list, but a file of another kind.

use std::{path::PathBuf, sync::Arc};

use super::{
    lines::{LONGEST_LINE, without_mark},
    report::{Mistake, Reporter},
};
use crate::{
    foreign::{self, is_web_page},
    language::diagnostics::{Code, Diagnostics},
};

/// Bytes at the start of a file that say what it is.
const LOOKED_AT: usize = 8192;

/// Reports a file that is no text as what it is; otherwise there would be a mistake in each of its lines. False if it is reported.
pub(crate) fn ensure_text(file: &Arc<PathBuf>, content: &[u8], diagnostics: &mut Diagnostics) -> bool {
    let start = &content[..content.len().min(LOOKED_AT)];
    let Some((what, help)) = other_kind(start) else { return true };
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = &line[..line.len().min(LONGEST_LINE)];
    let mistake = Mistake::new(Code::NotText, 0..line.len().min(16), format!("this list is {what}")).help(help);
    Reporter::new(file, diagnostics).error(1, line, mistake);
    false
}

/// What a file is that begins so, and what to do; none if it is text.
fn other_kind(start: &[u8]) -> Option<(&'static str, &'static str)> {
    const UTF_8: &str = "save it as UTF-8: `iconv -f UTF-16 -t UTF-8 FILE`";
    if let Some(kind) = foreign::kind(start) {
        return Some((kind.what, kind.for_list));
    }
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") || is_wide(start) {
        return Some(("UTF-16", UTF_8));
    }
    if start.contains(&0) {
        return Some(("a binary file", "a list is text in UTF-8, with one entry a line"));
    }
    if is_web_page(without_mark(start).trim_ascii_start()) {
        return Some(("a web page", "download the list itself: it is text, with one entry a line"));
    }
    None
}

/// True for UTF-16 without a byte order mark: ASCII in which every second byte is zero.
fn is_wide(start: &[u8]) -> bool {
    let pairs = start.chunks_exact(2).take(16);
    let of =
        |zero: usize| pairs.clone().all(|pair| pair[zero] == 0 && pair[1 - zero].is_ascii() && pair[1 - zero] != 0);
    start.len() >= 4 && (of(0) || of(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::test_lists::file;

    #[test]
    fn a_file_of_another_kind_is_named() {
        let wide = |text: &str, from: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(from).collect::<Vec<u8>>();
        for (content, what) in [
            (wide("\u{feff}2025550100\r\n", u16::to_le_bytes), "UTF-16"),
            (wide("\u{feff}2025550100\r\n", u16::to_be_bytes), "UTF-16"),
            (wide("192.0.2.1\n", u16::to_le_bytes), "UTF-16"),
            (wide("192.0.2.1\n", u16::to_be_bytes), "UTF-16"),
            (b"192.0.2.1\n\0\x01\x02".to_vec(), "a binary file"),
            (vec![0; 100_000], "a binary file"),
            (b"\x1f\x8b\x08\0abc".to_vec(), "compressed (gzip)"),
            (b"\xef\xbb\xbf\n <!DOCTYPE html>".to_vec(), "a web page"),
        ] {
            let mut diagnostics = Diagnostics::default();
            assert!(!ensure_text(&file("x.txt"), &content, &mut diagnostics), "{what}");
            let found: Vec<_> = diagnostics.iter().map(|found| (found.code, found.message.as_str())).collect();
            assert_eq!(found, [(Code::NotText, format!("this list is {what}").as_str())]);
        }
        for content in
            [&b""[..], b"1", b"192.0.2.1\n", b"\xef\xbb\xbf192.0.2.1\n", "# M\u{fc}ller\n1605562\n".as_bytes()]
        {
            assert!(ensure_text(&file("x.txt"), content, &mut Diagnostics::default()), "{content:?}");
        }
    }
}
