//! The output of fail2ban-client about banned addresses:
//!
//! - `banned`: `[{'sshd': ['192.0.2.1']}, {'asterisk': []}]`, which is Python, not JSON;
//! - `get JAIL banned`: `['192.0.2.1']`;
//! - `get JAIL banip`: the addresses; with `--with-time`, one per line, each followed by its time;
//! - `status JAIL`: a tree whose last line is `` `- Banned IP list: 192.0.2.1 192.0.2.2``.

use super::{
    ImportError, Imported,
    addresses::Addresses,
    input::{self, is_json},
};
use crate::lists;

/// Reads any of these forms. It is not an error if nothing is banned.
pub(super) fn import(content: &[u8]) -> Result<Imported, ImportError> {
    let mut addresses = Addresses::default();
    let mut is_complete = true;
    if is_json(content) {
        let literal = Reader { content, at: 0, line: 1 }.whole()?;
        collect(&literal, None, &mut addresses);
    } else if content.starts_with(b"Status for the jail") {
        is_complete = status(content, &mut addresses)?;
    } else {
        for (number, line) in lists::lines(content) {
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).peekable();
            while let Some(word) = words.next() {
                addresses.add(number, word, None);
                // With `--with-time`, a date follows the only address of the line.
                let date = |word: &&[u8]| word.len() == 10 && word[4] == b'-' && word[7] == b'-';
                if words.peek().is_some_and(date) {
                    break;
                }
            }
        }
    }
    let may_be_empty = is_complete && addresses.problems.count == 0;
    Ok(addresses.finish("fail2ban", may_be_empty))
}

/// Reads the tree of `status JAIL`; true once the line with the addresses was found.
fn status(content: &[u8], addresses: &mut Addresses) -> Result<bool, ImportError> {
    const MARK: &[u8] = b"IP list:";
    let mut jail = None;
    for (number, line) in lists::lines(content) {
        if let Some(name) = line.strip_prefix(b"Status for the jail:") {
            jail = input::comment(name);
        }
        if let Some(at) = line.windows(MARK.len()).position(|part| part == MARK) {
            let words = line[at + MARK.len()..].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            words.for_each(|word| addresses.add(number, word, jail.clone()));
            return Ok(true);
        }
    }
    Err(ImportError::new("the status of the jail has no line `Banned IP list`")
        .with_help("`fail2ban-client status JAIL` prints it last: check that the input is complete"))
}

/// A Python literal, as far as address lists need it.
enum Literal {
    List(Vec<Literal>),
    Map(Vec<(Literal, Literal)>),
    /// A string, and its line.
    Text(u32, Vec<u8>),
    /// A number, None, True, False.
    Word(u32, Vec<u8>),
}

/// Adds the strings of a literal. Those under a key get the key as their comment.
fn collect(literal: &Literal, jail: Option<&str>, addresses: &mut Addresses) {
    match literal {
        Literal::List(items) => items.iter().for_each(|item| collect(item, jail, addresses)),
        Literal::Map(items) => {
            for (key, value) in items {
                let name = if let Literal::Text(_, name) = key { input::comment(name) } else { None };
                collect(value, name.as_deref(), addresses);
            }
        }
        Literal::Text(line, text) => addresses.add(*line, text, jail.map(ToOwned::to_owned)),
        Literal::Word(line, text) => addresses.problems.add(*line, text, "not a string"),
    }
}

struct Reader<'a> {
    content: &'a [u8],
    at: usize,
    /// The line of `at`, from 1.
    line: u32,
}

impl Reader<'_> {
    fn whole(mut self) -> Result<Literal, ImportError> {
        let literal = self.literal(0)?;
        self.skip_blanks();
        if self.at < self.content.len() { Err(self.unexpected()) } else { Ok(literal) }
    }

    fn literal(&mut self, depth: usize) -> Result<Literal, ImportError> {
        const DEEPEST: usize = 16;
        if depth > DEEPEST {
            return Err(self.error("nested too deeply"));
        }
        self.skip_blanks();
        let line = self.line;
        match self.peek() {
            Some(b'[') => self.items(b']', depth).map(Literal::List),
            Some(b'(') => self.items(b')', depth).map(Literal::List),
            Some(b'{') => self.map(depth),
            Some(quote @ (b'\'' | b'"')) => self.text(quote).map(|text| Literal::Text(line, text)),
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.') => {
                let start = self.at;
                while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
                {
                    self.at += 1;
                }
                Ok(Literal::Word(line, self.content[start..self.at].to_vec()))
            }
            _ => Err(self.unexpected()),
        }
    }

    fn items(&mut self, end: u8, depth: usize) -> Result<Vec<Literal>, ImportError> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.ends(end)? {
            items.push(self.literal(depth + 1)?);
            self.separator(end)?;
        }
        Ok(items)
    }

    fn map(&mut self, depth: usize) -> Result<Literal, ImportError> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.ends(b'}')? {
            let key = self.literal(depth + 1)?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.unexpected());
            }
            self.at += 1;
            items.push((key, self.literal(depth + 1)?));
            self.separator(b'}')?;
        }
        Ok(Literal::Map(items))
    }

    fn text(&mut self, quote: u8) -> Result<Vec<u8>, ImportError> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.unexpected()),
                Some(byte) if byte == quote => break,
                Some(b'\\') => {
                    self.at += 1;
                    text.extend(self.peek());
                }
                Some(byte) => text.push(byte),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(text)
    }

    /// True if a list or map ends here; its closing bracket is then consumed.
    fn ends(&mut self, end: u8) -> Result<bool, ImportError> {
        self.skip_blanks();
        match self.peek() {
            None => Err(self.unexpected()),
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }

    fn separator(&mut self, end: u8) -> Result<(), ImportError> {
        self.skip_blanks();
        match self.peek() {
            Some(b',') => self.at += 1,
            Some(byte) if byte == end => {}
            _ => return Err(self.unexpected()),
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.content.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek().filter(u8::is_ascii_whitespace) {
            self.line += u32::from(byte == b'\n');
            self.at += 1;
        }
    }

    fn unexpected(&self) -> ImportError {
        match self.peek() {
            None => self.error("the input ends in the middle of the list"),
            Some(byte) => self.error(&format!("unexpected `{}`", byte.escape_ascii())),
        }
    }

    fn error(&self, what: &str) -> ImportError {
        ImportError::new(format!("line {}: {what}", self.line))
            .with_help("pass the output of `fail2ban-client banned` unchanged")
    }
}
