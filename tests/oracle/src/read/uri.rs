//! URIs: their parts, and the digits of a user part.

use filter_policy::model::NumberingPlan;

use super::{
    address::is_control,
    find, is_blank, is_line_end,
    parameters::parameters,
    plan::{lengths, without_technical_prefix},
};

/// The parts of a URI.
#[derive(Clone, Debug, Default)]
pub(super) struct Uri {
    pub(super) is_present: bool,
    pub(super) is_malformed: bool,
    pub(super) is_anonymous: bool,
    pub(super) has_control_character: bool,
    pub(super) is_urn: bool,
    pub(super) display: Vec<u8>,
    pub(super) user: Vec<u8>,
    pub(super) host: Vec<u8>,
    /// Everything from the end of the number to the end of the URI.
    pub(super) parameters: Vec<u8>,
    pub(super) number: Option<Digits>,
    /// What follows the URI in its header field, where the field's parameters are.
    pub(super) after: Vec<u8>,
}

/// The digits of a user part, and whether they follow a plus.
#[derive(Clone, Debug)]
pub(super) struct Digits {
    pub(super) plus: bool,
    pub(super) digits: String,
}

/// Where an address is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Request,
    /// A header field that may have one address only.
    Single,
    List,
    /// As a list, of which the first value is read in the whole field.
    Contact,
}

#[derive(Clone, Copy)]
pub(super) struct Form<'a> {
    /// An angle bracket opens the URI, and one must close it.
    pub(super) is_bracketed: bool,
    pub(super) place: Place,
    /// What follows may be in another packet.
    pub(super) is_cut: bool,
    /// The numbering plan of the sender.
    pub(super) plan: &'a NumberingPlan,
}

impl Form<'_> {
    /// True in a header field without brackets: the URI ends at a semicolon or a comma.
    fn is_bare(self) -> bool {
        !self.is_bracketed && self.place != Place::Request
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Sip,
    Tel,
    Urn,
    /// Another one, which is read like `sip`.
    Other,
    /// None, but a user part: `user@host`.
    None,
}

/// The scheme, if the text begins with one of those that have numbers as user parts.
pub(super) fn known_scheme(text: &[u8]) -> Option<&'static [u8]> {
    let begins = |scheme: &&&[u8]| text.len() >= scheme.len() && text[..scheme.len()].eq_ignore_ascii_case(scheme);
    [&b"sip:"[..], b"sips:", b"tel:"].iter().find(begins).copied()
}

/// Where the user part, if there is one, and the host part are in a URI after its scheme.
struct Parts {
    user: Option<User>,
    host: usize,
}

struct User {
    start: usize,
    /// Where its number begins.
    number: usize,
    end: usize,
    number_end: usize,
    /// The end of the user part and the password.
    info_end: usize,
}

/// Reads the URI at the start of `text`, which runs to the end of the header field, or of the value in a start line.
pub(super) fn uri(text: &[u8], form: Form<'_>) -> Uri {
    let mut read = Uri { is_present: true, ..Uri::default() };
    let mut start = find(text, 0, |byte| !is_blank(byte));
    read.is_malformed |= text.first().is_some_and(|&byte| is_control(byte));
    // What was taken for the URI was a name: `'a<b' <sip:user@host>`. Empty brackets are none either.
    for _ in 0..3 {
        let Some(bracket) = another_bracket(&text[start..], form) else { break };
        read.is_malformed = true;
        start = find(text, start + bracket + 1, |byte| !is_blank(byte));
    }
    let text = &text[start..];
    let Some((scheme, at)) = scheme(&mut read, text).filter(|_| !is_star(text, form)) else {
        // Neither a scheme nor a user part.
        read.is_malformed |= !is_star(text, form);
        let end = host_end(text, 0, form);
        check_end(&mut read, text, 0, end, form);
        return read;
    };
    let rest = &text[at..];
    let has_slashes = rest.starts_with(b"//");
    read.is_malformed |= has_slashes && matches!(scheme, Scheme::Sip | Scheme::Tel | Scheme::Urn);
    let parts = match scheme {
        Scheme::Tel => tel(&mut read, rest, has_slashes, form),
        Scheme::Urn => opaque(rest),
        // Such a URI is not made like one of `sip` (`tels:+1…`).
        Scheme::Other if rest.starts_with(b"+") && !rest.contains(&b'@') => opaque(rest),
        Scheme::Sip | Scheme::Other | Scheme::None => user_info(&mut read, rest, form),
    };
    if parts.user.is_none() {
        read.is_malformed |= is_odd_host(rest, form);
    }
    let end = host_end(rest, parts.host, form);
    let number_end = parts.user.as_ref().map_or(parts.host, |user| user.number_end);
    read.host = rest[parts.host..end].to_vec();
    read.parameters = rest[number_end..end].to_vec();
    check_end(&mut read, rest, parts.host, end, form);
    if scheme != Scheme::Tel {
        const ANONYMOUS: &[u8] = b"anonymous.invalid";
        read.is_anonymous =
            read.host.len() >= ANONYMOUS.len() && read.host[..ANONYMOUS.len()].eq_ignore_ascii_case(ANONYMOUS);
    }
    read.is_urn = scheme == Scheme::Urn;
    if let Some(user) = parts.user {
        let number = &rest[user.number..user.number_end];
        read.user = rest[user.start..user.end].to_vec();
        read.number = digits(number, form.plan).filter(|_| !read.is_urn);
        read.is_anonymous |= is_anonymous(number);
        read.is_malformed |= has_bad_escape(number) || (!read.is_urn && ends_at_escape(number));
        if read.number.is_none() {
            let is_other = matches!(scheme, Scheme::Other | Scheme::Urn);
            read.is_malformed |= number.iter().any(|&byte| ends_some_user(byte, is_other));
            // A name may have a question mark in it (RFC 3261 section 25.1).
            read.is_malformed |= number.contains(&b'?') && !number[0].is_ascii_alphabetic();
        }
        read.is_malformed |= scheme == Scheme::Tel && read.number.is_none();
        read.is_malformed |= scheme == Scheme::Other && rest.get(user.end) == Some(&b':');
        read.is_malformed |= scheme == Scheme::Urn && rest.get(user.end) == Some(&b'@');
        // The first blank says what it is.
        match rest[user.start..user.info_end].iter().find(|&&byte| is_blank(byte)) {
            Some(b' ' | b'\t' | b'\r' | b'\n') => read.is_malformed = true,
            Some(_) => read.has_control_character = true,
            None => {}
        }
        join_context(&mut read, form.plan);
        // On a keypad: anonymous, restricted, blocked, unknown, unavailable.
        const WITHHELD: [&str; 5] = ["266696687", "7378742833", "2562533", "8656696", "86282452253"];
        if read.number.as_ref().is_some_and(|number| number.plus && WITHHELD.contains(&number.digits.as_str())) {
            read.number = None;
            read.is_anonymous = true;
        }
    }
    // Some servers take all of it for the user part.
    read.is_malformed |= scheme == Scheme::Other && read.user.is_empty();
    // To Sofia-SIP, it has no user part.
    read.is_malformed |= scheme == Scheme::Other && rest.starts_with(b"+") && !rest.contains(&b'@');
    read
}

/// True for all contacts.
fn is_star(text: &[u8], form: Form<'_>) -> bool {
    form.place == Place::Contact && text[..trimmed_end(text)] == *b"*"
}

/// What ends a scheme, or a user part without one.
fn scheme_end(text: &[u8]) -> usize {
    find(text, 0, |byte| b":@;><\"".contains(&byte))
}

/// The position of an angle bracket where the scheme should be, or after brackets without a scheme.
fn another_bracket(text: &[u8], form: Form<'_>) -> Option<usize> {
    let stop = scheme_end(text);
    match text.get(stop) {
        Some(b'<') => Some(stop),
        Some(b'>') if form.place != Place::Request => {
            let next = find(text, stop, |byte| byte == b'<');
            (next < text.len()).then_some(next)
        }
        _ => None,
    }
}

/// The scheme, and where what follows it begins. None if there is neither a scheme nor a user part.
fn scheme(read: &mut Uri, text: &[u8]) -> Option<(Scheme, usize)> {
    let (mut scheme, mut at) = if let Some(known) = known_scheme(text) {
        (if known == b"tel:" { Scheme::Tel } else { Scheme::Sip }, known.len())
    } else {
        let stop = scheme_end(text);
        let name = &text[..stop];
        match text.get(stop) {
            Some(b':') => {
                let is_odd = |&byte: &u8| is_blank(byte) || byte == b'%';
                read.is_malformed |= !name.first().is_some_and(u8::is_ascii_alphabetic) || name.iter().any(is_odd);
                (if name.eq_ignore_ascii_case(b"urn") { Scheme::Urn } else { Scheme::Other }, stop + 1)
            }
            Some(b'@') => {
                read.is_malformed = true;
                return Some((Scheme::None, 0));
            }
            _ => return None,
        }
    };
    let visible = find(text, at, |byte| !is_blank(byte));
    read.is_malformed |= visible != at && visible < text.len();
    at = visible;
    if let Some(second) = known_scheme(&text[at..]) {
        read.is_malformed = true;
        at += second.len();
        scheme = if second == b"tel:" { Scheme::Tel } else { Scheme::Sip };
    }
    Some((scheme, at))
}

/// The end of the text without the white space after it.
fn trimmed_end(text: &[u8]) -> usize {
    text.iter().rposition(|&byte| !is_blank(byte)).map_or(0, |last| last + 1)
}

/// RFC 3966 section 3.
fn tel(read: &mut Uri, rest: &[u8], has_slashes: bool, form: Form<'_>) -> Parts {
    let number = if has_slashes { 2 } else { 0 };
    let stop = find(rest, number, |byte| b";>?,@:#/\r\n".contains(&byte));
    read.is_malformed |= matches!(rest.get(stop), Some(b'@' | b':' | b'#' | b'/'));
    read.is_malformed |= rest.get(stop) == Some(&b',') && !form.is_bare();
    // White space at the end is no part of it.
    let blank = find(&rest[..stop], 0, is_blank);
    let end = if rest[blank..stop].iter().all(|&byte| is_blank(byte)) { blank } else { stop };
    let info_end = if form.is_bracketed { stop } else { end };
    Parts { user: Some(User { start: 0, number, end, number_end: end, info_end }), host: stop }
}

/// Everything up to the parameters is the user part.
fn opaque(rest: &[u8]) -> Parts {
    let end = find(rest, 0, |byte| b"@;>?".contains(&byte) || is_blank(byte));
    let host = end + usize::from(rest.get(end) == Some(&b'@'));
    Parts { user: Some(User { start: 0, number: 0, end, number_end: end, info_end: end }), host }
}

/// `userinfo` (RFC 3261 section 25.1), as far as servers go to find one.
fn user_info(read: &mut Uri, rest: &[u8], form: Form<'_>) -> Parts {
    let mut start = 0;
    // Slashes are no part of a number.
    let after_slashes = |start: usize| if rest[start..].starts_with(b"//") { start + 2 } else { start };
    let mut number = after_slashes(0);
    let mut skipped = 0;
    let mut ends_at_bracket = true;
    loop {
        // In a Request-URI, a bracket just before the @ always does.
        let is_last = |at: usize| form.place == Place::Request && rest.get(at + 1) == Some(&b'@') && at > start;
        let is_end = |at: usize| b"@\r\n".contains(&rest[at]) || (rest[at] == b'>' && (ends_at_bracket || is_last(at)));
        let find =
            |from: usize, is: &dyn Fn(usize) -> bool| (from..rest.len()).find(|&at| is(at)).unwrap_or(rest.len());
        let first = find(number, &|at| b":;".contains(&rest[at]) || is_end(at));
        if first == start && skipped < 4 && matches!(rest.get(first), Some(b'@' | b':' | b';')) {
            // An empty user part.
            if next_at(rest, first + 1, form).is_some() {
                read.is_malformed = true;
                skipped += 1;
                start += 1;
                number = after_slashes(start);
                continue;
            }
        }
        let number_end = first;
        let end = find(number_end, &|at| rest[at] == b':' || is_end(at));
        let info_end = find(end, &is_end);
        let host = match rest.get(info_end) {
            Some(b'@') => Some(info_end + 1),
            Some(b'>') if is_last(info_end) => Some(info_end + 2),
            Some(b'>') => {
                if form.place == Place::Request && rest[info_end..].contains(&b'@') {
                    ends_at_bracket = false;
                    if skipped < 4 {
                        read.is_malformed = true;
                        skipped += 1;
                        start = info_end + 1;
                        number = after_slashes(start);
                    }
                    continue;
                }
                None
            }
            Some(&byte) if is_line_end(byte) => next_at(rest, info_end, form).map(|at| at + 1),
            _ => None,
        };
        // In a bare addr-spec, a header parameter may contain an @. After a number, though, they are user parameters.
        let are_header_parameters = form.is_bare()
            && rest.get(number_end) == Some(&b';')
            && digits(&rest[number..number_end], form.plan).is_none();
        let Some(host) = host.filter(|_| !are_header_parameters) else { return Parts { user: None, host: start } };
        read.is_malformed |= rest[info_end] != b'@';
        return Parts { user: Some(User { start, number, end, number_end, info_end }), host };
    }
}

/// True if servers disagree about a rest without a user part: some take it for a number.
fn is_odd_host(rest: &[u8], form: Form<'_>) -> bool {
    let is_number = rest.len() >= 4 && rest[..4].iter().all(u8::is_ascii_digit);
    let end = if form.is_bracketed { find(rest, 0, |byte| byte == b'>') } else { host_end(rest, 0, form) };
    let is_odd = |&byte: &u8| byte == b'%' || is_blank(byte);
    is_number
        || rest.starts_with(b"//")
        || rest.first().is_some_and(|byte| b"+*#".contains(byte))
        || is_dialled(&rest[..end], form.is_cut && end == rest.len())
        || rest[..end].iter().any(is_odd)
}

/// True for digits with separators that are no IPv4 address. If the text is cut, more may follow.
fn is_dialled(text: &[u8], is_cut: bool) -> bool {
    let name = &text[..find(text, 0, |byte| b";:>?@,".contains(&byte) || is_blank(byte))];
    let has_letter = name.iter().any(|&byte| byte | 0x20 >= b'a');
    let labels: Vec<&[u8]> = name.split(|&byte| byte == b'.').collect();
    let is_address = labels.len() == 4 && labels.iter().all(|label| (1..=3).contains(&label.len()));
    let begins = text.first().is_some_and(|&byte| byte.is_ascii_digit() || b".-(".contains(&byte));
    let may_go_on = is_cut && name.len() == text.len();
    begins && !(has_letter || is_address || may_go_on)
}

/// The next `@` that no `>` comes before, which in a Request-URI ends nothing.
fn next_at(rest: &[u8], from: usize, form: Form<'_>) -> Option<usize> {
    let at = find(rest, from, |byte| byte == b'@' || (byte == b'>' && form.place != Place::Request));
    (rest.get(at) == Some(&b'@')).then_some(at)
}

/// Where the host part ends that begins at `from`.
fn host_end(text: &[u8], from: usize, form: Form<'_>) -> usize {
    find(text, from, |byte| byte == b'>' || is_blank(byte) || (form.is_bare() && (byte == b';' || byte == b',')))
}

/// Checks the host part, from `from` to `end`, and what follows it.
fn check_end(read: &mut Uri, text: &[u8], from: usize, end: usize, form: Form<'_>) {
    let visible = |from: usize| text.get(find(text, from, |byte| !is_blank(byte))).copied();
    let is_single = matches!(form.place, Place::Request | Place::Single);
    let mut close = end;
    if form.is_bracketed {
        close = find(text, from, |byte| byte == b'>');
        read.is_malformed |= close == text.len() && !form.is_cut;
        read.is_malformed |= text[from..close].iter().any(|&byte| is_blank(byte));
    } else if text.get(end).is_some_and(|&byte| is_blank(byte)) {
        let next = visible(end);
        read.is_malformed |= next.is_some_and(|byte| !form.is_bare() || !b";,".contains(&byte));
        read.is_malformed |= is_single && next == Some(b',');
    }
    read.is_malformed |= text[from..end].contains(&b'@');
    if text.get(close) == Some(&b'>') {
        // Nothing opened it.
        read.is_malformed |= !form.is_bracketed;
        let next = visible(close + 1);
        read.is_malformed |= next.is_some_and(|byte| !b";,".contains(&byte));
        read.is_malformed |= is_single && next == Some(b',');
    }
    read.is_malformed |= form.is_bare() && is_single && text.get(end) == Some(&b',');
    // An address in a parameter.
    let has_parameters = matches!(form.place, Place::Single | Place::List);
    read.is_malformed |= has_parameters && text[close..].contains(&b'<');
    // Without brackets, some servers end the user part at the last of them. Contact has further values after a comma.
    let reach =
        if form.place == Place::Contact { find(text, end, |byte| b",\"<\\".contains(&byte)) } else { text.len() };
    read.is_malformed |= form.is_bare() && text[from..reach].contains(&b'@');
    read.after = text[close..].to_vec();
}

/// The words that providers send in place of a withheld number.
fn is_anonymous(user: &[u8]) -> bool {
    // Some gateways put a plus before everything.
    let user = user.strip_prefix(b"+").unwrap_or(user);
    const WORDS: [&str; 11] = [
        "anonymous",
        "restricted",
        "unavailable",
        "unknown",
        "private",
        "withheld",
        "blocked",
        "hidden",
        "suppressed",
        "not-available",
        "notavailable",
    ];
    let decoded: Vec<u8> = characters(user).into_iter().map(|character| character.unwrap_or(b'%')).collect();
    let numbers = ["unknown", "private", "blocked"]
        .into_iter()
        .flat_map(|word| ["", " ", "-", "_"].map(|separator| format!("{word}{separator}number")));
    WORDS.map(str::to_owned).into_iter().chain(numbers).any(|word| decoded.eq_ignore_ascii_case(word.as_bytes()))
}

/// True for a byte that belongs in no user part, and where some server ends it. Phones do send `#` and letters of other alphabets.
fn ends_some_user(byte: u8, is_other_scheme: bool) -> bool {
    b"\"<[\\]^`{|}\x7f".contains(&byte) || (is_other_scheme && (b"?#".contains(&byte) || !byte.is_ascii()))
}

/// True if an escape has no two digits, or stands for a control character or for a percent sign.
fn has_bad_escape(user: &[u8]) -> bool {
    (0..user.len())
        .filter(|&at| user[at] == b'%')
        .any(|at| escape(user, at).is_none_or(|byte| byte < b' ' || byte == b'%'))
}

/// True if an escaped semicolon follows what is made of the characters of a number.
fn ends_at_escape(user: &[u8]) -> bool {
    let mut characters = characters(user).into_iter().map(Option::unwrap_or_default);
    let end = characters.find(|byte| !(byte.is_ascii_digit() || b"+-.()*#,".contains(byte) || is_blank(*byte)));
    end == Some(b';')
}

/// The byte that the escape at `at` stands for.
fn escape(text: &[u8], at: usize) -> Option<u8> {
    let digits = text.get(at + 1..at + 3)?;
    let digits = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(digits, 16).ok()
}

/// The characters of a user part, escapes decoded; none for a `%` that escapes nothing.
fn characters(user: &[u8]) -> Vec<Option<u8>> {
    let mut characters = Vec::new();
    let mut at = 0;
    while at < user.len() {
        let is_escape = user[at] == b'%';
        let character = if is_escape { escape(user, at) } else { Some(user[at]) };
        characters.push(character);
        at += if is_escape && character.is_some() { 3 } else { 1 };
    }
    characters
}

/// The number in a user part: digits and visual separators (RFC 3966 section 3), either of them %-escaped, with an optional
/// plus before the first digit, and with `*`, `#` and `,` only in a technical prefix, which is taken off. A `%` that escapes
/// nothing separates too: servers keep it, or leave it out.
fn digits(user: &[u8], plan: &NumberingPlan) -> Option<Digits> {
    let characters: Vec<u8> = characters(user).into_iter().map(Option::unwrap_or_default).collect();
    let mut plus = false;
    let mut digits = String::new();
    let mut prefix = String::new();
    let mut at = 0;
    while at < characters.len() {
        // The national prefix after a country code is not dialled from abroad. An Italian number's 0 is.
        if plus && (1..=3).contains(&digits.len()) && digits != "39" && characters[at..].starts_with(b"(0)") {
            at += 3;
            continue;
        }
        match characters[at] {
            digit @ b'0'..=b'9' => digits.push(char::from(digit)),
            symbol @ (b'*' | b'#' | b',') if digits.len() < 32 => digits.push(char::from(symbol)),
            b'-' | b'.' | b'(' | b')' => {}
            byte if is_blank(byte) => {}
            // An escaped semicolon: some servers decode first.
            b';' => break,
            b'+' if digits.len() <= 15 && !plus => {
                plus = true;
                prefix = std::mem::take(&mut digits);
            }
            _ => return None,
        }
        at += 1;
    }
    // A plus is the beginning, or follows a prefix that means nothing to the country.
    let is_prefix = [&plan.strip, &plan.international_prefixes].into_iter().flatten().any(|known| *known == prefix);
    if !(prefix.is_empty() || is_prefix || plan.outside_prefix == prefix) {
        return None;
    }
    let digits = without_technical_prefix(plan, plus, &digits)?;
    (!digits.is_empty()).then_some(Digits { plus, digits })
}

/// A local number's global context (RFC 3966 section 5.1.5) makes it a global number.
fn join_context(read: &mut Uri, plan: &NumberingPlan) {
    if !read.parameters.starts_with(b";") {
        return;
    }
    // Whole national numbers need no context: servers take no notice of it.
    let whole = (lengths(&plan.country_code).1 - plan.country_code.len()).min(10);
    let is_local = |number: &Digits| !number.plus && (4..whole).contains(&number.digits.len());
    let Some(number) = read.number.as_mut().filter(|number| is_local(number)) else { return };
    let mut values = parameters(&read.parameters, "phone-context");
    let context = values.next().and_then(|value| {
        let value = &value[..find(value, 0, |byte| b"@:?>,;".contains(&byte) || is_blank(byte))];
        let context = digits(value, plan).filter(|context| value.starts_with(b"+") && context.plus)?;
        let is_in = number.digits.starts_with(&context.digits);
        ((1..=14).contains(&context.digits.len()) && !is_in).then_some(context.digits)
    });
    if let Some(context) = context {
        number.digits.insert_str(0, &context);
        number.plus = true;
    }
}
