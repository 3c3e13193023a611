//! APIBAN: `{"ipaddress":["192.0.2.1", ...],"ID":"1690000000"}`. Responses come in pages, so an input may hold several of them
//! in a row. A response without a list gives the reason in place of the addresses.

use serde_json::{Deserializer, Value};

use super::{ImportError, Imported, addresses::Addresses, input::is_json};

/// Reads one or more responses.
pub(super) fn import(content: &[u8]) -> Result<Imported, ImportError> {
    let download = "request the whole list again: `curl -sS https://apiban.org/api/KEY/banned`";
    if !is_json(content) {
        return Err(ImportError::new("the input is not JSON").with_help(download));
    }
    let mut addresses = Addresses::default();
    let mut responses = Deserializer::from_slice(content).into_iter::<Value>();
    // The line on which the next response begins, and the offset up to which lines have been counted.
    let (mut line, mut seen) = (1, 0);
    loop {
        let after = responses.byte_offset().clamp(seen, content.len());
        let end = content.len() - content[after..].trim_ascii_start().len();
        line += content[seen..end].iter().filter(|&&byte| byte == b'\n').count() as u32;
        seen = end;
        let response = match responses.next() {
            None => break,
            Some(Ok(response)) => response,
            Some(Err(error)) if error.is_eof() => {
                return Err(ImportError::new("the input ends in the middle of its JSON").with_help(download));
            }
            Some(Err(error)) => {
                return Err(ImportError::new(format!("the input is not JSON: {error}")).with_help(download));
            }
        };
        let Some(listed) = response["ipaddress"].as_array() else {
            return Err(ImportError::new("a response has no member `ipaddress`").with_help(download));
        };
        for address in listed {
            match address.as_str() {
                // Ends the pages. On its own, it answers a request for what is new.
                Some("no new bans") => {}
                Some(text) if response["ID"] == "unauthorized" || response["ID"] == "none" => {
                    return Err(ImportError::new(format!("APIBAN did not send a list but the message: {text}"))
                        .with_help(download));
                }
                Some(text) => addresses.add(line, text.as_bytes(), None),
                None => addresses.problems.add(line, address.to_string().as_bytes(), "not a string"),
            }
        }
    }
    let imported = addresses.finish("apiban", false);
    if imported.entries == 0 && imported.problems.count == 0 {
        return Err(ImportError::new("APIBAN reported that there is nothing new, so this is not the whole list")
            .with_help(download));
    }
    Ok(imported)
}
