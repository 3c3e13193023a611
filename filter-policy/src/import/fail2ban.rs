//! What fail2ban-client prints about banned addresses:
//!
//! - `banned`: `[{'sshd': ['192.0.2.1']}, {'asterisk': []}]`, which is Python and not JSON;
//! - `get JAIL banned`: `['192.0.2.1']`;
//! - `get JAIL banip`: the addresses, and with `--with-time` the time of each behind it, one a line;
//! - `status JAIL`: a tree whose last line is `` `- Banned IP list: 192.0.2.1 192.0.2.2``.

use super::{
    ImportError, Imported,
    addresses::Addresses,
    input::{self, is_json},
};
use crate::lists;

/// Reads any of the forms. That nobody is banned is no error.
pub fn import(content: &[u8]) -> Result<Imported, ImportError> {
    let mut addresses = Addresses::default();
    let mut nobody = true;
    if is_json(content) {
        let literal = Reader { content, at: 0, line: 1 }.whole()?;
        collect(&literal, None, &mut addresses);
    } else if content.starts_with(b"Status for the jail") {
        nobody = status(content, &mut addresses)?;
    } else {
        for (number, line) in lists::lines(content) {
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).peekable();
            while let Some(word) = words.next() {
                addresses.add(number, word, None);
                // With `--with-time`, a date stands behind the address, and the line is about that one.
                let date = |word: &&[u8]| word.len() == 10 && word[4] == b'-' && word[7] == b'-';
                if words.peek().is_some_and(date) {
                    break;
                }
            }
        }
    }
    let may_be_empty = nobody && addresses.problems.count == 0;
    Ok(addresses.finish("fail2ban", may_be_empty))
}

/// Reads the tree of `status JAIL`; true if it has the line that it is read for.
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
        .help("`fail2ban-client status JAIL` prints it last: see whether the input is complete"))
}

/// A Python literal, as far as lists of addresses need it.
enum Literal {
    List(Vec<Literal>),
    Map(Vec<(Literal, Literal)>),
    /// A string, with its line.
    Text(u32, Vec<u8>),
    /// A number, None, True, False.
    Word(u32, Vec<u8>),
}

/// Adds the strings of a literal; those below a key with the key as comment.
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

    /// True behind the end of a list or map, which is then behind us.
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
            Some(byte) => self.error(&format!("`{}` is not expected here", byte.escape_ascii())),
        }
    }

    fn error(&self, what: &str) -> ImportError {
        ImportError::new(format!("line {}: {what}", self.line))
            .help("give the output of `fail2ban-client banned` as it is")
    }
}
