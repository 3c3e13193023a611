//! Where a server reads something that the engine does not.

use crate::reading::{FIELDS, Field, Kind, Reading};

/// How the engine's reading differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The server has a value, the engine none.
    Missing,
    /// Both have a value, and they differ.
    Other,
    /// To the server it is a message, to the engine it is not.
    Unread,
}

impl What {
    /// Its name in reports and lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Other => "other",
            Self::Unread => "unread",
        }
    }
}

/// One difference between a server and the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The value concerned; none if the whole message is.
    pub field: Option<Field>,
    /// How the engine differs.
    pub what: What,
    /// Whether the engine reported an anomaly: then a policy can act on the message.
    pub flagged: bool,
    /// What the server read.
    pub theirs: String,
    /// What the engine read.
    pub ours: String,
}

impl Difference {
    /// The name of the field, or `message`.
    #[must_use]
    pub fn field_name(&self) -> &'static str {
        self.field.map_or("message", Field::name)
    }
}

/// What of this server's reading the engine reads differently.
#[must_use]
pub fn differences(server: &Reading, engine: &Reading) -> Vec<Difference> {
    if server.kind == Kind::Nothing {
        return Vec::new();
    }
    // Servers take odd lines for responses. A response opens no call, and none of what is compared decides about one.
    if server.kind == Kind::Response && engine.kind == Kind::Nothing {
        return Vec::new();
    }
    // `not-sip` says that nothing was read: it excuses nothing.
    let flagged = engine.anomalies.iter().any(|name| name != "not-sip");
    if engine.kind != server.kind {
        return vec![Difference {
            field: None,
            what: What::Unread,
            flagged,
            theirs: format!("{:?} {}", server.kind, shown(server.of(Field::Method))),
            ours: engine.payload.clone(),
        }];
    }
    let mut found = Vec::new();
    for field in FIELDS {
        let theirs = server.of(field);
        let Some(first) = theirs.iter().find(|value| !value.is_empty()) else { continue };
        let ours = engine.of(field);
        // A list's later entries are as good: the number can be in any.
        if ours.iter().any(|ours| theirs.iter().any(|value| same(field, value, ours))) {
            continue;
        }
        if field == Field::Method
            && engine.method_class.as_deref().is_some_and(|class| class.as_bytes() == first.as_slice())
        {
            continue;
        }
        let what = if ours.is_empty() { What::Missing } else { What::Other };
        let ours = if ours.is_empty() { "-".to_owned() } else { shown(ours) };
        found.push(Difference { field: Some(field), what, flagged, theirs: shown(theirs), ours });
    }
    found
}

fn same(field: Field, theirs: &[u8], ours: &[u8]) -> bool {
    if theirs == ours {
        return true;
    }
    if field.is_user() {
        let (theirs, ours) = (unescaped(theirs), unescaped(ours));
        // After `http:` and the like, some servers take the slashes into the user part.
        let without = |user: Vec<u8>| user.strip_prefix(b"//").map_or(user.clone(), <[u8]>::to_vec);
        // Some servers leave the colon of an empty password.
        let without_colon = |user: Vec<u8>| user.strip_suffix(b":").map_or(user.clone(), <[u8]>::to_vec);
        let (theirs, ours) = (without_colon(without(theirs)), without_colon(without(ours)));
        // Blanks around it and visual separators do not change which number it is.
        return lossy(theirs.trim_ascii()) == lossy(ours.trim_ascii())
            || digits(&theirs).is_some_and(|number| digits(&ours) == Some(number));
    }
    // White space, and folding with it, is one blank. Some servers end a text at a NUL or at a byte that is no part of a
    // token: a pattern that finds something in their text finds it in the engine's longer one.
    let (theirs, ours) = (words(theirs), words(ours));
    theirs == ours || field != Field::Method && ours.contains(&theirs)
}

/// Percent escapes decoded, where they are good.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |index: usize| after.get(index).and_then(|&byte| char::from(byte).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

/// The engine's reading is text, in which what is not UTF-8 was replaced.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The number in a user part: its digits and plus, if visual separators, blanks and parameters are all else that there is.
fn digits(user: &[u8]) -> Option<Vec<u8>> {
    let end = user.iter().position(|byte| b";:".contains(byte)).unwrap_or(user.len());
    let number: Vec<u8> = user[..end].iter().copied().filter(|byte| !b"-.() \t\r\n".contains(byte)).collect();
    let good = number.iter().enumerate().all(|(index, byte)| byte.is_ascii_digit() || *byte == b'+' && index == 0);
    (good && number.len() > 1).then_some(number)
}

fn words(text: &[u8]) -> String {
    let text = lossy(text);
    // Some servers take control characters and white space at either end into the value; that hides nothing of it.
    let text = text.trim_matches(|character: char| character.is_control() || character == ' ');
    text.split([' ', '\t', '\r', '\n', '\x0b', '\x0c']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Values for people, on one line and not too long.
fn shown(values: &[Vec<u8>]) -> String {
    let texts: Vec<String> = values.iter().map(|value| value.escape_ascii().to_string()).collect();
    let text = texts.join(" | ");
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(kind: Kind, values: &[(Field, &str)]) -> Reading {
        let mut reading = Reading { kind, ..Reading::default() };
        for (field, value) in values {
            reading.values[*field as usize].push(value.as_bytes().to_vec());
        }
        reading
    }

    #[test]
    fn what_a_server_does_not_read_is_no_difference() {
        let engine = reading(Kind::Request, &[(Field::FromUser, "1")]);
        assert_eq!(differences(&reading(Kind::Request, &[]), &engine), []);
        assert_eq!(differences(&Reading::default(), &Reading::default()), []);
    }

    #[test]
    fn a_value_that_the_engine_lacks_is_missing() {
        let found = differences(&reading(Kind::Request, &[(Field::FromUser, "1")]), &reading(Kind::Request, &[]));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].field, found[0].what, found[0].flagged), (Some(Field::FromUser), What::Missing, false));
    }

    #[test]
    fn the_value_of_a_list_that_counts_is_as_good_as_its_first() {
        let engine = reading(Kind::Request, &[(Field::AssertedUser, "bob"), (Field::AssertedUser, "+12")]);
        assert_eq!(differences(&reading(Kind::Request, &[(Field::AssertedUser, "+12")]), &engine), []);
        let found = differences(&reading(Kind::Request, &[(Field::AssertedUser, "+13")]), &engine);
        assert_eq!((found[0].what, found[0].ours.as_str()), (What::Other, "bob | +12"));
    }

    #[test]
    fn a_request_that_is_not_sip_to_the_engine_is_unread_whatever_the_anomaly() {
        let mut engine = Reading { anomalies: vec!["not-sip".to_owned()], ..Reading::default() };
        let server = reading(Kind::Request, &[(Field::Method, "INVITE")]);
        assert_eq!(differences(&server, &engine)[0].what, What::Unread);
        assert!(!differences(&server, &engine)[0].flagged);
        engine.anomalies.push("control-character".to_owned());
        assert!(differences(&server, &engine)[0].flagged);
    }

    #[test]
    fn escapes_separators_and_folding_are_no_difference() {
        assert!(same(Field::FromUser, b"+12", b"%2b1%32"));
        assert!(same(Field::FromUser, b"+1-2(0)", b"+120"));
        assert!(!same(Field::FromUser, b"+120", b"+121"));
        assert!(same(Field::FromUser, b"*98\r\n ", b"*98"));
        assert!(same(Field::FromUser, b"*98:", b"*98") && !same(Field::FromUser, b"*98:1", b"*98"));
        assert!(!same(Field::FromUser, b"120", b"+120"));
        assert!(same(Field::UserAgent, b"a\r\n b", b"a  b"));
        assert!(same(Field::UserAgent, b"\0a", b"a\xff"));
        assert!(same(Field::UserAgent, b"a b\0\r\n ", b"a b"));
        assert!(!same(Field::UserAgent, b"a b", b"a"));
        assert!(!same(Field::Method, b"BYE", b"@BYE"));
    }
}
