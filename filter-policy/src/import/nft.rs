//! Named sets of nftables, as `nft list set`, `nft list table` or `nft list ruleset` prints them, also as JSON (`nft -j`).
//!
//! Chains, maps and other objects are passed over. In JSON, an element is a string, `{"prefix": {"addr": ..., "len": ...}}`,
//! `{"range": [...]}`, or one of these as `val` of `{"elem": ...}`.

use serde_json::Value as Json;

use super::{
    ImportError, Imported,
    input::{self, is_json},
    sets::{self, Element, Set, SetOptions, Value},
};

const HELP: &str = "pass what `nft list set FAMILY TABLE SET` prints, unchanged";

/// Reads either form.
pub(super) fn import(content: &[u8], options: &SetOptions) -> Result<Imported, ImportError> {
    let sets = if is_json(content) { json(content)? } else { Reader { tokens: tokens(content)?, at: 0 }.sets()? };
    sets::import("nft", &sets, options)
}

/// A part of a listing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a [u8]),
    /// A text in quotation marks, without them.
    Quoted(&'a [u8]),
    /// One of `{`, `}`, `,`, `=`, or a line break or `;` as `\n`.
    Mark(u8),
}

fn tokens(content: &[u8]) -> Result<Vec<(u32, Token<'_>)>, ImportError> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = content;
    while let Some(&byte) = rest.first() {
        let (length, token) = match byte {
            b'\n' | b';' => (1, Some(Token::Mark(b'\n'))),
            byte if byte.is_ascii_whitespace() => (1, None),
            b'#' => (rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()), None),
            b'{' | b'}' | b',' | b'=' => (1, Some(Token::Mark(byte))),
            b'"' => {
                let Some(text) = input::quoted(rest) else {
                    return Err(
                        ImportError::new(format!("line {line}: the quotation mark is not closed")).with_help(HELP)
                    );
                };
                (text.len() + 2, Some(Token::Quoted(text)))
            }
            _ => {
                let ends =
                    |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'{' | b'}' | b',' | b'=' | b';' | b'"');
                let length = rest.iter().position(ends).unwrap_or(rest.len());
                (length, Some(Token::Word(&rest[..length])))
            }
        };
        tokens.extend(token.map(|token| (line, token)));
        line += rest[..length].iter().filter(|&&byte| byte == b'\n').count() as u32;
        rest = &rest[length..];
    }
    Ok(tokens)
}

struct Reader<'a> {
    tokens: Vec<(u32, Token<'a>)>,
    at: usize,
}

const OPEN: Token<'_> = Token::Mark(b'{');
const CLOSE: Token<'_> = Token::Mark(b'}');
const END: Token<'_> = Token::Mark(b'\n');

impl<'a> Reader<'a> {
    fn sets(mut self) -> Result<Vec<Set>, ImportError> {
        let mut sets = Vec::new();
        loop {
            while self.peek() == Some(END) {
                self.at += 1;
            }
            if self.peek().is_none() {
                return Ok(sets);
            }
            self.word(b"table")?;
            let mut names = self.header()?;
            let table = names.pop().unwrap_or_default();
            loop {
                match self.next()? {
                    END => {}
                    CLOSE => break,
                    Token::Word(b"set") => {
                        let line = self.line();
                        let name = self.header()?.pop().unwrap_or_default();
                        sets.push(self.set(line, name, table.clone())?);
                    }
                    Token::Word(_) | Token::Quoted(_) | Token::Mark(_) => self.skip()?,
                }
            }
        }
    }

    /// The words before a block, and its opening brace.
    fn header(&mut self) -> Result<Vec<String>, ImportError> {
        let mut words = Vec::new();
        loop {
            match self.next()? {
                OPEN => return Ok(words),
                Token::Word(word) | Token::Quoted(word) => words.push(String::from_utf8_lossy(word).into_owned()),
                Token::Mark(_) => return Err(self.unexpected()),
            }
        }
    }

    /// The body of a set, after its opening brace.
    fn set(&mut self, line: u32, name: String, table: String) -> Result<Set, ImportError> {
        let mut set = Set { name, table: Some(table), line, foreign: Some("none".to_owned()), elements: Vec::new() };
        loop {
            match self.next()? {
                END => {}
                CLOSE => return Ok(set),
                Token::Word(b"type" | b"typeof") => {
                    let mut words = Vec::new();
                    while let Some(Token::Word(word)) = self.peek() {
                        words.push(String::from_utf8_lossy(word).into_owned());
                        self.at += 1;
                    }
                    let kind = words.join(" ");
                    let is_usable = ["ipv4_addr", "ipv6_addr", "ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr"]
                        .contains(&kind.as_str());
                    set.foreign = (!is_usable).then_some(kind);
                }
                Token::Word(b"elements") => {
                    if self.next()? != Token::Mark(b'=') || self.next()? != OPEN {
                        return Err(self.unexpected());
                    }
                    set.elements = self.elements()?;
                }
                Token::Word(_) | Token::Quoted(_) | Token::Mark(_) => self.skip()?,
            }
        }
    }

    /// The elements of a set, after the opening brace.
    fn elements(&mut self) -> Result<Vec<Element>, ImportError> {
        let mut elements = Vec::new();
        loop {
            match self.next()? {
                END | Token::Mark(b',') => {}
                CLOSE => return Ok(elements),
                Token::Word(text) => elements.push(self.element(text)?),
                Token::Quoted(_) | Token::Mark(_) => return Err(self.unexpected()),
            }
        }
    }

    /// What follows an element's value, up to the comma or closing brace after it.
    fn element(&mut self, text: &[u8]) -> Result<Element, ImportError> {
        let line = self.line();
        let mut value = value(text);
        let mut comment = None;
        let mut is_first = true;
        loop {
            match self.peek() {
                Some(CLOSE | Token::Mark(b',')) => return Ok(Element { line, value, comment }),
                Some(Token::Word(b"comment")) => {
                    self.at += 1;
                    let (Token::Quoted(text) | Token::Word(text)) = self.next()? else { return Err(self.unexpected()) };
                    comment = input::comment(text);
                    continue;
                }
                // What the element has besides its value: these words and their numbers.
                Some(Token::Word(
                    b"timeout" | b"expires" | b"counter" | b"limit" | b"quota" | b"last" | b"ct" | b"rate",
                )) => {}
                // `192.0.2.1 . 5060`, or `192.0.2.1 : accept`.
                Some(Token::Word(_)) if is_first => {
                    value = Value::Unreadable(text.to_vec(), "the element is more than an address");
                }
                Some(END | Token::Word(_)) => {}
                Some(Token::Quoted(_) | Token::Mark(_)) => return Err(self.unexpected()),
                None => return Err(self.cut()),
            }
            is_first = false;
            self.at += 1;
        }
    }

    /// Passes over the rest of a statement, with all blocks in it.
    fn skip(&mut self) -> Result<(), ImportError> {
        let mut depth = 0_u32;
        loop {
            match self.peek() {
                Some(CLOSE) if depth == 0 => return Ok(()),
                Some(END) if depth == 0 => return Ok(()),
                Some(OPEN) => depth += 1,
                Some(CLOSE) => depth -= 1,
                Some(_) => {}
                None => return Err(self.cut()),
            }
            self.at += 1;
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), ImportError> {
        if self.next()? == Token::Word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|(_, token)| *token)
    }

    fn next(&mut self) -> Result<Token<'a>, ImportError> {
        let token = self.peek().ok_or_else(|| self.cut())?;
        self.at += 1;
        Ok(token)
    }

    /// The line of the token that was read last.
    fn line(&self) -> u32 {
        self.tokens.get(self.at.saturating_sub(1)).map_or(1, |(line, _)| *line)
    }

    /// The token that was read last cannot be there.
    fn unexpected(&self) -> ImportError {
        let text = match self.tokens.get(self.at.saturating_sub(1)) {
            Some((_, Token::Word(text) | Token::Quoted(text))) => String::from_utf8_lossy(text).into_owned(),
            Some((_, Token::Mark(mark))) => mark.escape_ascii().to_string(),
            None => String::new(),
        };
        ImportError::new(format!("line {}: `{text}` is not what `nft list` prints there", self.line())).with_help(HELP)
    }

    fn cut(&self) -> ImportError {
        ImportError::new("the input ends in the middle of a table").with_help("check that the input is complete")
    }
}

/// An address, a CIDR or a range.
fn value(text: &[u8]) -> Value {
    match text.iter().position(|&byte| byte == b'-') {
        Some(at) => Value::Range(text[..at].to_vec(), text[at + 1..].to_vec()),
        None => Value::Address(text.to_vec()),
    }
}

fn json(content: &[u8]) -> Result<Vec<Set>, ImportError> {
    let object: Json = serde_json::from_slice(content).map_err(|error| {
        let what =
            if error.is_eof() { "ends in the middle of its JSON".to_owned() } else { format!("is not JSON: {error}") };
        ImportError::new(format!("the input {what}"))
            .with_help("pass what `nft -j list set FAMILY TABLE SET` prints, unchanged")
    })?;
    let Some(objects) = object["nftables"].as_array() else {
        return Err(ImportError::new("the input has no member `nftables`").with_help(HELP));
    };
    let mut sets = Vec::new();
    for set in objects.iter().filter_map(|object| object.get("set")) {
        let kind = &set["type"];
        let payload = &kind["typeof"]["payload"];
        let is_usable = matches!(kind.as_str(), Some("ipv4_addr" | "ipv6_addr"))
            || matches!(payload["protocol"].as_str(), Some("ip" | "ip6"))
                && matches!(payload["field"].as_str(), Some("saddr" | "daddr"));
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        sets.push(Set {
            name: text(&set["name"]),
            table: Some(text(&set["table"])),
            line: 1,
            foreign: (!is_usable).then(|| kind.as_str().map_or_else(|| kind.to_string(), ToOwned::to_owned)),
            elements: set["elem"].as_array().into_iter().flatten().map(json_element).collect(),
        });
    }
    Ok(sets)
}

fn json_element(element: &Json) -> Element {
    let (value, comment) = match element.get("elem") {
        Some(element) => {
            (&element["val"], element["comment"].as_str().and_then(|text| input::comment(text.as_bytes())))
        }
        None => (element, None),
    };
    let prefix = &value["prefix"];
    let value = if let Some(address) = value.as_str() {
        Value::Address(address.into())
    } else if let (Some(address), Some(length)) = (prefix["addr"].as_str(), prefix["len"].as_u64()) {
        Value::Address(format!("{address}/{length}").into())
    } else if let (Some(first), Some(last)) = (value["range"][0].as_str(), value["range"][1].as_str()) {
        Value::Range(first.into(), last.into())
    } else {
        Value::Unreadable(value.to_string().into(), "the element is not an address, a prefix or a range")
    };
    // The whole listing is one line.
    Element { line: 1, value, comment }
}
