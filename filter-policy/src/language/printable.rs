//! Text that attackers chose, made fit for a terminal.

use std::fmt::Write as _;

/// Bytes of a packet as text: what is no UTF-8 becomes U+FFFD.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Escapes what a terminal would act upon: control characters (C0, DEL, C1), and those that change the direction of text or
/// are not seen.
pub fn escaped(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if is_dangerous(character) {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// A value as one line of JSON, in which such characters are escapes too: the line may be shown on a terminal.
pub fn json_line(value: &impl serde::Serialize) -> String {
    let json = match serde_json::to_string(value) {
        Ok(json) => json,
        Err(error) => serde_json::json!({"event": "error", "message": error.to_string()}).to_string(),
    };
    if !json.chars().any(is_dangerous) {
        return json;
    }
    let mut line = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_dangerous(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(character);
        }
    }
    line
}

fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_cannot_clear_the_operators_screen() {
        assert_eq!(escaped("a\u{1b}[2Jb\u{9b}31m"), "a\\u{1b}[2Jb\\u{9b}31m");
    }

    #[test]
    fn text_cannot_be_turned_round() {
        assert_eq!(escaped("drop\u{202e}ssap"), "drop\\u{202e}ssap");
    }

    #[test]
    fn json_lines_hold_no_control_characters_and_read_back_the_same() {
        let value = serde_json::json!({"user_agent": "a\u{1b}[2J\u{9b}\u{7f}\u{202e}é\n"});
        let line = json_line(&value);
        assert!(!line.chars().any(is_dangerous), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }
}
