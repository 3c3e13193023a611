//! The Spamhaus DROP lists: as text, `1.10.16.0/20 ; SBL256894`, or as JSON with one object a line. Each object has `cidr` and
//! `sblid`, except the last, which has `"type":"metadata"` and the number of `records`.

use serde_json::Value;

use super::{
    ImportError, Imported,
    addresses::Addresses,
    input::{self, is_json, split_comment},
};
use crate::lists;

/// Reads either form.
pub(super) fn import(content: &[u8]) -> Result<Imported, ImportError> {
    let mut addresses = Addresses::default();
    if is_json(content) {
        json_lines(content, &mut addresses)?;
    } else {
        for (number, line) in lists::lines(content) {
            let (text, comment) = split_comment(line, b";#");
            if !text.is_empty() {
                addresses.add(number, text, comment);
            }
        }
    }
    Ok(addresses.finish("spamhaus-drop", false))
}

fn json_lines(content: &[u8], addresses: &mut Addresses) -> Result<(), ImportError> {
    let again = "download it again: it is incomplete";
    let mut records = 0_u64;
    for (number, line) in lists::lines(content) {
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let object: Value = match serde_json::from_slice(text) {
            Ok(object) => object,
            Err(error) if error.is_eof() => {
                return Err(ImportError::new(format!("line {number} ends in the middle of its JSON")).with_help(again));
            }
            Err(error) => {
                addresses.problems.add(number, text, format!("not JSON: {error}"));
                continue;
            }
        };
        if object["type"] == "metadata" {
            // Each list ends with one of these, so concatenated lists have several.
            if let Some(expected) = object["records"].as_u64().filter(|expected| *expected != records) {
                let message = format!("line {number} announces {expected} records, and there are {records}");
                return Err(ImportError::new(message).with_help(again));
            }
            records = 0;
            continue;
        }
        records += 1;
        match object["cidr"].as_str() {
            Some(cidr) => {
                let comment = object["sblid"].as_str().and_then(|id| input::comment(id.as_bytes()));
                addresses.add(number, cidr.as_bytes(), comment);
            }
            None => addresses.problems.add(number, text, "no member `cidr`"),
        }
    }
    if records > 0 {
        let message = "the list does not end with a line that has `\"type\":\"metadata\"`";
        return Err(ImportError::new(message).with_help(again));
    }
    Ok(())
}
