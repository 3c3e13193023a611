//! Random start lines: most are well-formed, and the others are what some server still takes for one.

use super::{Random, sip::uri};

/// What may stand between two words. Not all of it is a fold.
const SPACES: &[&str] = &["  ", "\t", "\u{b}", " x ", "\r\n ", "\n\t", "\r ", " \r\n\t \n ", "\0", "\r\n"];

const VERSIONS: &[&str] = &[
    "sip/2.0",
    "SIP/3.0",
    "SIP/2.0 ",
    "SIP/2.0\0",
    "SIP/2.0x",
    "SIP/2",
    "SIP/",
    "SIP",
    "SIP /2.0",
    "SIP/ 2.0",
    "SIP\t/\t2.0",
    "SIP\r\n /2.0",
    "SIP/2.0 SIP/2.0",
    "SIP/2.0 sip:911@x SIP/2.0",
    "SIP/2.0\r\n folded",
    "SIP/2.0\r\n\tf: <sip:911@x>",
    "xSIP/2.0",
    "HTTP/1.1",
    "x y/z",
    "/x",
    "x/",
    "",
];

const STATUS_LINES: &[&str] = &[
    "SIP/2.0 200 OK",
    "SIP/2.0 403 Forbidden",
    "SIP/2.0 180 ",
    "SIP/2.0 404",
    "SIP/2.0 1800 x",
    "SIP/2.0  200",
    "sip/3.0 100 Trying",
    "SIP/2.0x 200 OK",
    "SIP/2.0 abc",
    "SIP/2.0 -200 x",
    "SIP/2.0",
    "SIP/",
    "SIP /2.0 200 OK",
    "SIP/ 2.0 200 OK",
    "SIP/2.0\r\n 200 OK",
    "SIP/2.0 200\r\n OK",
    "\u{feff}SIP/2.0 200 OK",
    "xSIP/2.0 200 OK",
];

/// Lines before the start line.
const JUNK: &[&str] = &[
    "junk",
    "two words",
    "GET / HTTP/1.1",
    "junk\r\n folded",
    "junk\r\n\r\n \t",
    "SIP",
    "From: <sip:911@x>",
    "x\r\ny",
];

/// A start line without its line end, maybe after some junk. The method is empty for a response.
pub(super) fn start_line(random: &mut Random, method: &str, end: &str) -> String {
    let junk = if random.chance(3) { random.pick(JUNK).to_owned() + end } else { String::new() };
    if method.is_empty() {
        return junk + random.pick(STATUS_LINES);
    }
    let mut uri = uri(random);
    if random.chance(3) {
        uri = format!("<{uri}{}", random.pick(&[">", ">", "", " >", "><sip:911@x>"]));
    }
    match random.below(60) {
        0 => uri += random.pick(&["SIP/2.0", "sip/", "SIP /x"]),
        1 => uri += random.pick(&[";x=SIP/2.0", ";SIP/@x"]),
        2 => uri += &format!(";x={}", "/".repeat(55 + random.below(15))),
        _ => {}
    }
    let space = |random: &mut Random| if random.chance(95) { " " } else { random.pick(SPACES) };
    let version = if random.chance(88) { "SIP/2.0" } else { random.pick(VERSIONS) };
    format!("{junk}{method}{}{uri}{}{version}", space(random), space(random))
}
