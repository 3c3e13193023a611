//! The output of fail2ban-client about banned addresses:
//!
//! - `banned`: `[{'sshd': ['192.0.2.1']}, {'asterisk': []}]`, which is Python, not JSON;
//! - `get JAIL banned`: `['192.0.2.1']`;
//! - `get JAIL banip`: the addresses; with `--with-time`, one per line, each followed by its time;
//! - `status JAIL`: a tree whose last line is `` `- Banned IP list: 192.0.2.1 192.0.2.2``.

use super::{
    ImportError, Imported,
    addresses::Addresses,
    bans::Lasts,
    input::{self, is_json},
};
use crate::lists;

const HELP: &str = "pass what `fail2ban-client banned`, `get JAIL banip` or `status JAIL` prints, unchanged; a plain list is read \
                    by `ringfence import cidr`";

/// Reads any of these forms, and nothing else: in a log or a listing, an address may be one that is to be spared. It is not an
/// error if nothing is banned.
pub(super) fn import(content: &[u8]) -> Result<Imported, ImportError> {
    let mut addresses = Addresses::default();
    read(content, &mut addresses)?;
    let may_be_empty = addresses.problems.count == 0;
    Ok(addresses.finish("fail2ban", may_be_empty))
}

/// Reads any of these forms.
pub(super) fn read(content: &[u8], addresses: &mut Addresses) -> Result<(), ImportError> {
    if is_json(content) {
        banned(&Reader { content, at: 0, line: 1 }.whole()?, addresses)
    } else if content.trim_ascii_start().starts_with(b"Status for the jail") {
        status(content, addresses)
    } else {
        plain(content, addresses)
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Reads the addresses of `get JAIL banip`.
fn plain(content: &[u8], addresses: &mut Addresses) -> Result<(), ImportError> {
    let mut is_timed = None;
    for (number, line) in lists::lines(content) {
        let words: Vec<&[u8]> = words(line).collect();
        let [first, rest @ ..] = &words[..] else { continue };
        // With `--with-time`, each line is `192.0.2.1 \t2026-11-20 12:00:00 + 600 = 2026-11-20 12:10:00`.
        let timed = *is_timed.get_or_insert_with(|| rest.first().is_some_and(|word| is_date(word)));
        let unknown = |word: &[u8]| {
            let shown: String = String::from_utf8_lossy(word).chars().take(40).collect();
            ImportError::new(format!("line {number}: `{shown}` is not what fail2ban-client prints there"))
                .with_help(HELP)
        };
        if timed {
            match rest {
                [begin, _, b"+", time, b"=", end, _] if is_date(begin) && is_date(end) => {
                    addresses.add_for(number, first, None, lasts(time));
                }
                _ => return Err(unknown(rest.first().unwrap_or(first))),
            }
            continue;
        }
        for word in words {
            if lists::address(word).is_err() {
                return Err(unknown(word));
            }
            addresses.add(number, word, None);
        }
    }
    Ok(())
}

/// True if a word is such as 2026-11-20.
fn is_date(word: &[u8]) -> bool {
    word.len() == 10 && word[4] == b'-' && word[7] == b'-'
}

/// True for the lines of `get JAIL banip --with-time`.
pub(super) fn is_with_time(line: &[u8]) -> bool {
    words(line).nth(1).is_some_and(is_date)
}

/// A time of fail2ban: its seconds, or a negative number if it does not end.
fn lasts(time: &[u8]) -> Lasts {
    match std::str::from_utf8(time).ok().and_then(|time| time.parse::<i64>().ok()) {
        Some(seconds) => u64::try_from(seconds).map_or(Lasts::Forever, Lasts::Seconds),
        None => Lasts::Unsaid,
    }
}

/// Reads the tree of `status JAIL`, or several of them.
fn status(content: &[u8], addresses: &mut Addresses) -> Result<(), ImportError> {
    let cut = |what: String| {
        ImportError::new(what)
            .with_help("`fail2ban-client status JAIL` prints it last: check that the input is complete")
    };
    let no_list = || cut("the status of the jail has no line `Banned IP list`".to_owned());
    let mut jail = None;
    let mut announced = 0;
    // True once the current jail's addresses have been read.
    let mut is_complete = true;
    for (number, line) in lists::lines(content) {
        if let Some(name) = line.strip_prefix(b"Status for the jail:") {
            if !is_complete {
                return Err(no_list());
            }
            jail = input::comment(name);
            (announced, is_complete) = (0, false);
            continue;
        }
        let leaf = line.trim_ascii_start();
        if leaf.is_empty() {
            continue;
        }
        // A branch of the tree: `|  |- Label:` or `   `- Label:`.
        let start = line.iter().position(|byte| !matches!(byte, b' ' | b'|' | b'`' | b'-')).unwrap_or(line.len());
        if !matches!(line[0], b' ' | b'|' | b'`') {
            let shown: String = String::from_utf8_lossy(line).chars().take(40).collect();
            return Err(
                ImportError::new(format!("line {number}: `{shown}` is not part of a jail's status")).with_help(HELP)
            );
        }
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        match line.get(start..colon).unwrap_or_default() {
            b"Currently banned" => {
                announced = std::str::from_utf8(value).ok().and_then(|value| value.parse::<usize>().ok()).unwrap_or(0);
            }
            b"Banned IP list" | b"IP list" => {
                let listed = words(value).map(|word| addresses.add(number, word, jail.clone())).count();
                if listed < announced {
                    return Err(cut(format!("line {number}: {announced} addresses are banned, but {listed} listed")));
                }
                is_complete = true;
            }
            _ => {}
        }
    }
    if is_complete { Ok(()) } else { Err(no_list()) }
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

/// Adds the addresses of `banned`, jails with their addresses, or of `get JAIL banned`, addresses alone.
fn banned(literal: &Literal, addresses: &mut Addresses) -> Result<(), ImportError> {
    let items = match literal {
        Literal::List(items) => items,
        Literal::Map(jails) => return jails.iter().try_for_each(|jail| jail_addresses(jail, addresses)),
        Literal::Text(..) | Literal::Word(..) => return Err(not_banned()),
    };
    if items.iter().all(|item| matches!(item, Literal::Text(..) | Literal::Word(..))) {
        items.iter().for_each(|item| address(item, None, addresses));
        return Ok(());
    }
    items.iter().try_for_each(|item| match item {
        Literal::Map(jails) => jails.iter().try_for_each(|jail| jail_addresses(jail, addresses)),
        Literal::List(_) | Literal::Text(..) | Literal::Word(..) => Err(not_banned()),
    })
}

fn jail_addresses((jail, listed): &(Literal, Literal), addresses: &mut Addresses) -> Result<(), ImportError> {
    let (Literal::Text(_, name), Literal::List(items)) = (jail, listed) else { return Err(not_banned()) };
    let name = input::comment(name);
    if items.iter().any(|item| matches!(item, Literal::List(_) | Literal::Map(_))) {
        return Err(not_banned());
    }
    items.iter().for_each(|item| address(item, name.as_deref(), addresses));
    Ok(())
}

fn address(item: &Literal, jail: Option<&str>, addresses: &mut Addresses) {
    match item {
        Literal::Text(line, text) => addresses.add(*line, text, jail.map(ToOwned::to_owned)),
        Literal::Word(line, text) => addresses.problems.add(*line, text, "not a string"),
        Literal::List(_) | Literal::Map(_) => {}
    }
}

fn not_banned() -> ImportError {
    ImportError::new("the input is not a list of jails with their banned addresses").with_help(HELP)
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
