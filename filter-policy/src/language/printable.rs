//! Makes text from packets, policy files and file names safe to show on a terminal.
//!
//! Anyone can send a packet, and many can open a pull request. Everything that reaches a terminal goes through here.

use std::{fmt::Write as _, path::Path};

/// The bytes of a packet as text. Invalid UTF-8 becomes U+FFFD.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Escapes the characters that a terminal would act on or not show: control characters (C0, DEL, C1), characters that
/// change the direction of text, and invisible ones.
#[must_use]
pub fn escaped(text: &str) -> String {
    escape_if(text, needs_escape)
}

/// As [`escaped`], for a text of several lines.
#[must_use]
pub fn lines(text: &str) -> String {
    escape_if(text, |character| character != '\n' && needs_escape(character))
}

/// A file's name, which can hold any character but a slash.
#[must_use]
pub fn path(path: &Path) -> String {
    escaped(&path.display().to_string())
}

/// As [`escaped`], for a line of source text: tabs are kept, because the renderer expands them.
pub(super) fn source_text(text: &str) -> String {
    escape_if(text, |character| character != '\t' && needs_escape(character))
}

/// A value as one line of JSON. The same characters become `\u` escapes, so that the line can be shown on a terminal.
pub fn json_line(value: &impl serde::Serialize) -> String {
    let json = match serde_json::to_string(value) {
        Ok(json) => json,
        Err(error) => serde_json::json!({"event": "error", "message": error.to_string()}).to_string(),
    };
    if !json.chars().any(needs_escape) {
        return json;
    }
    let mut line = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if needs_escape(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(character);
        }
    }
    line
}

fn escape_if(text: &str, needs_escape: impl Fn(char) -> bool) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if needs_escape(character) {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// True for a character that [`escaped`] escapes.
#[must_use]
pub fn needs_escape(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    character.is_control()
        || matches!(character,
            // Line and paragraph separators, and interlinear annotations.
            '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}'
            // Unicode's Default_Ignorable_Code_Point: invisible characters, bidirectional controls, joiners, variation
            // selectors, the byte order mark, and tags.
            | '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_cannot_clear_the_operators_screen() {
        assert_eq!(escaped("a\u{1b}[2Jb\u{9b}31m"), "a\\u{1b}[2Jb\\u{9b}31m");
    }

    #[test]
    fn text_cannot_change_direction() {
        assert_eq!(escaped("drop\u{202e}ssap"), "drop\\u{202e}ssap");
    }

    #[test]
    fn invisible_characters_are_shown() {
        assert_eq!(escaped("1\u{200b}2\u{feff}3\u{ad}4\u{2060}5\u{e0041}6\u{3164}"), {
            "1\\u{200b}2\\u{feff}3\\u{ad}4\\u{2060}5\\u{e0041}6\\u{3164}"
        });
        assert_eq!(escaped("Zoë 東京 ok"), "Zoë 東京 ok");
    }

    #[test]
    fn json_lines_hold_no_control_characters_and_read_back_the_same() {
        let value = serde_json::json!({"user_agent": "a\u{1b}[2J\u{9b}\u{7f}\u{202e}é\n"});
        let line = json_line(&value);
        assert!(!line.chars().any(needs_escape), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }
}
