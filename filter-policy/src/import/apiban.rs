//! APIBAN: `{"ipaddress":["192.0.2.1", ...],"ID":"1690000000"}`. Its answers come in pages: several may stand one behind the
//! other. An answer that is no list says why in place of the addresses.

use serde_json::{Deserializer, Value};

use super::{ImportError, Imported, addresses::Addresses, input::is_json};

/// Reads one answer or several.
pub fn import(content: &[u8]) -> Result<Imported, ImportError> {
    let download = "ask for the whole list again: `curl -sS https://apiban.org/api/KEY/banned`";
    if !is_json(content) {
        return Err(ImportError::new("the input is no JSON").help(download));
    }
    let mut addresses = Addresses::default();
    let mut answers = Deserializer::from_slice(content).into_iter::<Value>();
    // The line on which the next answer begins, and how far lines are counted.
    let (mut line, mut seen) = (1, 0);
    loop {
        let behind = answers.byte_offset().clamp(seen, content.len());
        let end = content.len() - content[behind..].trim_ascii_start().len();
        line += content[seen..end].iter().filter(|&&byte| byte == b'\n').count() as u32;
        seen = end;
        let answer = match answers.next() {
            None => break,
            Some(Ok(answer)) => answer,
            Some(Err(error)) if error.is_eof() => {
                return Err(ImportError::new("the input ends in the middle of its JSON").help(download));
            }
            Some(Err(error)) => return Err(ImportError::new(format!("the input is not JSON: {error}")).help(download)),
        };
        let Some(listed) = answer["ipaddress"].as_array() else {
            return Err(ImportError::new("an answer without the member `ipaddress`").help(download));
        };
        for address in listed {
            match address.as_str() {
                // The end of the pages; on its own, an answer to a question about what is new.
                Some("no new bans") => {}
                Some(text) if answer["ID"] == "unauthorized" || answer["ID"] == "none" => {
                    return Err(ImportError::new(format!("APIBAN did not send a list, it says: {text}")).help(download));
                }
                Some(text) => addresses.add(line, text.as_bytes(), None),
                None => addresses.problems.add(line, address.to_string().as_bytes(), "not a string"),
            }
        }
    }
    let imported = addresses.finish("apiban", false);
    if imported.entries == 0 && imported.problems.count == 0 {
        return Err(
            ImportError::new("APIBAN says that there is nothing new, which is not the whole list").help(download)
        );
    }
    Ok(imported)
}
