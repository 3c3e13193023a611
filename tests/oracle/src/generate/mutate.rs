//! Small random changes to valid input: what the generators, which know SIP's grammar, never write.

use super::Random;

/// What is put into the input: the grammar's delimiters, and words that a reader acts on.
const TOKENS: [&str; 65] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n ",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    "\u{7f}",
    "\u{ff}",
    "<",
    ">",
    "\"",
    "\\",
    ";",
    ",",
    ":",
    "@",
    "=",
    "?",
    "%",
    "/",
    "//",
    "+",
    "*",
    "#",
    "(",
    ")",
    "%40",
    "%3b",
    "%00",
    "SIP/2.0",
    "INVITE ",
    "sip:",
    "sips:",
    "tel:",
    "im:",
    "urn:service:sos",
    "+1",
    "0011",
    "12125551234",
    "anonymous",
    "invalid",
    ";tag=x",
    ";phone-context=+1",
    ";user=phone",
    ";verstat=TN-Validation-Passed",
    ";party=called",
    ";info=<>",
    ";info=\"\"",
    ";info=< ",
    ";ppt=shaken",
    "From:",
    "t :",
    "y:",
    "Identity: ",
    "Privacy: id",
    "Content-Length: 3",
    "User-Agent: x",
    "Contact: ",
    "Diversion: ",
    "History-Info: ",
    "P-Asserted-Identity: ",
    "Remote-Party-ID: ",
    "Route: ",
];

/// Changes a few places of the input.
#[must_use]
pub fn mutate(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..1 + random.below(5) {
        let at = random.below(bytes.len() + 1);
        let end = (at + 1 + random.below(30)).min(bytes.len());
        let token = TOKENS[random.below(TOKENS.len())].as_bytes();
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            1 => drop(bytes.drain(at..(at + 1).min(bytes.len()))),
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..(at + token.len()).min(bytes.len()), token.iter().copied())),
            4 => {
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                drop(bytes.splice(to..to, piece));
            }
            _ => drop(bytes.splice(at..at, token.iter().copied())),
        }
    }
    bytes
}
