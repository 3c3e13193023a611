//! Finding the next byte of a kind in the message, eight bytes at a time.

use core::marker::PhantomData;

use crate::{
    host::{Function, FunctionKind, Host, Step},
    limits::INSPECTED_LENGTH,
    scratch::Scratch,
    swar::{LETTERS, ONES, at_least, below, equal, exactly, first},
};

/// The bytes that a search looks for.
pub trait Needle {
    /// The needle's own value of [`NeedleKind`], for hosts that have a function for each.
    const KIND: NeedleKind;
    /// Marks them in a word. Exact up to the first one.
    fn marks(word: u64) -> u64;
}

macro_rules! needles {
    ($($(#[$meta:meta])+ $name:ident($word:ident) = $marks:expr;)*) => {
        /// All [`Needle`]s.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum NeedleKind {
            $($(#[$meta])+ $name,)*
        }

        $($(#[$meta])+ pub struct $name; impl Needle for $name {
            const KIND: NeedleKind = NeedleKind::$name;

            #[inline(always)]
            fn marks($word: u64) -> u64 { $marks }
        })*
    };
}

needles! {
    /// A line feed.
    LineFeed(word) = equal(word, b'\n');
    /// A line feed or a carriage return.
    LineEnd(word) = equal(word, b'\n') | equal(word, b'\r');
    /// Anything but a carriage return.
    NotCarriageReturn(word) = !exactly(word, b'\r') & 0x8080_8080_8080_8080;
    /// A byte that is neither carriage return nor line feed.
    NotLineEnd(word) = !(exactly(word, b'\r') | exactly(word, b'\n')) & 0x8080_8080_8080_8080;
    /// A blank or a control character.
    Blank(word) = below(word, 0x21);
    /// Neither a blank nor a control character.
    NotBlank(word) = at_least(word, 0x21);
    /// A space.
    Space(word) = equal(word, b' ');
    /// A letter, or a bracket, a brace or another byte after the letters.
    Letter(word) = at_least(word | LETTERS, b'a');
    /// Neither a space nor a tab.
    NotSpace(word) = !(exactly(word, b' ') | exactly(word, b'\t')) & 0x8080_8080_8080_8080;
    /// `:`.
    Colon(word) = equal(word, b':');
    /// `@`.
    At(word) = equal(word, b'@');
    /// `?`.
    QuestionMark(word) = equal(word, b'?');
    /// `/`.
    Slash(word) = equal(word, b'/');
    /// `%`.
    Percent(word) = equal(word, b'%');
    /// `<`.
    OpeningAngle(word) = equal(word, b'<');
    /// `>`.
    ClosingAngle(word) = equal(word, b'>');
    /// What ends a header's name: a colon, or what is no part of a token (RFC 3261 section 25.1). Parentheses aside: no server reads a
    /// known name before them.
    NameEnd(word) = below(word, 0x21)
        | equal(word | ONES, b'#')
        | equal(word | (2 * ONES), b'&')
        | equal(word, b',')
        | equal(word, b'/')
        | at_least(word, b':') & !at_least(word, b'A')
        | brackets(word)
        | equal(word, b'^')
        | at_least(word, 0x7f);
    /// What makes some server end a user part, and no software writes there.
    OddInUser(word) = odd_in_any_user(word) | equal(word, b'"') | equal(word, 0x7f);
    /// As [`OddInUser`], in a URI of another scheme than `sip`, `sips` and `tel`.
    OddInOtherUser(word) = odd_in_any_user(word) | equal(word, b'?') | equal(word | ONES, b'#') | at_least(word, 0x7f);
    /// Anything but a space, a tab and a line end.
    NotPlainBlank(word) = !(exactly(word, b' ') | exactly(word, b'\t') | exactly(word, b'\r') | exactly(word, b'\n'))
        & 0x8080_8080_8080_8080;
    /// What matters before a URI in angle brackets.
    QuoteBackslashAngle(word) = equal(word, b'"') | equal(word, b'<') | equal(word, b'\\');
    /// What ends a quoted string, or escapes in it.
    QuoteBackslash(word) = equal(word, b'"') | equal(word, b'\\');
    /// What ends a URI without angle brackets, or shows that it was a display name.
    AngleSemicolon(word) = equal(word, b'<') | equal(word, b';') | equal(word, b'"');
    /// What makes some servers take a display name for a URI.
    DisplayDelimiter(word) = equal(word, b':') | equal(word, b'@');
    /// What ends a scheme that is not known, or shows that there is none.
    SchemeDelimiter(word) = equal(word, b':')
        | equal(word, b'@')
        | equal(word, b';')
        | equal(word, b'<')
        | equal(word, b'>')
        | equal(word, b'"');
    /// Anything that structures a URI's user part.
    UserDelimiter(word) = equal(word, b'@') | equal(word, b':') | equal(word, b';') | equal(word, b'>') | below(word, 0x21);
    /// What can end a user part after its first semicolon.
    UserParameterDelimiter(word) = equal(word, b'@') | equal(word, b':') | equal(word, b'>') | below(word, 0x21);
    /// What ends the number in a user part.
    UserSeparator(word) = equal(word, b':') | equal(word, b';');
    /// What can end a password.
    PasswordDelimiter(word) = equal(word, b'@') | equal(word, b'>') | below(word, 0x21);
    /// What ends the number of a tel URI, for some server.
    TelDelimiter(word) = equal(word, b';')
        | equal(word, b'>')
        | equal(word, b'?')
        | equal(word, b',')
        | equal(word, b'@')
        | equal(word, b':')
        | equal(word, b'#')
        | equal(word, b'/')
        | equal(word, b'\r')
        | equal(word, b'\n');
    /// What ends the text of a URN.
    UrnDelimiter(word) = equal(word, b'@') | equal(word, b';') | equal(word, b'>') | equal(word, b'?') | below(word, 0x21);
    /// What ends a URI in angle brackets, or does not belong in its host part.
    HostEnd(word) = equal(word, b'>') | equal(word, b'@') | below(word, 0x21);
    /// What ends a URI in angle brackets.
    AngleClose(word) = equal(word, b'>') | below(word, 0x21);
    /// What ends a URI without angle brackets.
    BareEnd(word) = equal(word, b';') | equal(word, b'>') | equal(word, b',') | below(word, 0x21);
    /// What ends a parameter of a URI.
    ParameterEnd(word) = equal(word, b';')
        | equal(word, b':')
        | equal(word, b'>')
        | equal(word, b'?')
        | equal(word, b'@')
        | equal(word, b',')
        | below(word, 0x21);
    /// What begins a parameter, or hides its beginning.
    SemicolonQuote(word) = equal(word, b';') | equal(word, b'"');
    /// What separates the values of Privacy.
    SemicolonComma(word) = equal(word, b';') | equal(word, b',') | below(word, 0x21);
    /// `,`.
    Comma(word) = equal(word, b',');
    /// What no keep-alive has in it.
    NotKeepAlive(word) = !(exactly(word, b' ')
        | exactly(word, b'\t')
        | exactly(word, b'\r')
        | exactly(word, b'\n')
        | exactly(word, 0))
        & 0x8080_8080_8080_8080;
    /// `.`.
    Dot(word) = equal(word, b'.');
    /// What separates the values of a header, or hides a separator.
    CommaQuoteAngle(word) = equal(word, b',') | equal(word, b'"') | equal(word, b'<') | equal(word, b'\\');
}

/// Marks what some server ends a user part at, whatever the URI's scheme. Exact up to and including the first one.
#[inline(always)]
const fn odd_in_any_user(word: u64) -> u64 {
    equal(word, b'<') | equal(word, b'^') | equal(word, b'`') | brackets(word)
}

/// Marks square brackets, braces, backslashes and bars. Exact.
#[inline(always)]
const fn brackets(word: u64) -> u64 {
    let folded = word | LETTERS;
    at_least(folded, b'{') & !at_least(folded, b'~')
}

/// Bytes of a word.
const WORD: u32 = 8;

/// Bytes that one step of a walk over the message examines.
pub const STRIDE: u32 = 4 * WORD;

/// The first of the four words at `at` that has marks: its offset, and its marks. No marks if none has any.
#[inline(always)]
pub fn mark(s: &Scratch, at: u32, marks: impl Fn(u64) -> u64) -> (u32, u64) {
    let [a, b, c, d] = s.words(at);
    let (a, b, c, d) = (marks(a), marks(b), marks(c), marks(d));
    if a != 0 {
        (0, a)
    } else if b != 0 {
        (WORD, b)
    } else if c != 0 {
        (2 * WORD, c)
    } else {
        (3 * WORD, d)
    }
}

/// The position of the first such byte in `from..end`, or `end` if there is none. The cursor `at` is set to it too.
#[inline(always)]
pub fn find<'m, N: Needle, H: Host<'m>>(host: H, scratch: &mut Scratch, from: u32, end: u32) -> u32 {
    host.call::<Find<N>>(scratch, from, end)
}

/// As [`find`], for bytes that are mostly within the first two words. Those are found without a call.
#[inline(always)]
pub fn find_near<'m, N: Needle, H: Host<'m>>(host: H, scratch: &mut Scratch, from: u32, end: u32) -> u32 {
    let mut word = from;
    let [near, next] = scratch.words(from);
    let mut marks = N::marks(near);
    if marks == 0 {
        word = from + WORD;
        marks = N::marks(next);
    }
    let at = word + first(marks);
    if marks == 0 || at > end {
        return find::<N, H>(host, scratch, from, end);
    }
    scratch.cursors.at = at;
    host.fence();
    scratch.cursors.at
}

/// The function of the host that [`find`] calls, with the bounds of the search.
pub struct Find<N>(PhantomData<N>);

impl<N: Needle> Function for Find<N> {
    const KIND: FunctionKind = FunctionKind::Find(N::KIND);

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, scratch: &mut Scratch, from: u32, end: u32) -> u32 {
        let at = first_from::<N, H>(host, scratch, from, end);
        scratch.cursors.at = if from >= end || at > end { end } else { at };
        scratch.cursors.at
    }
}

/// Strides after the first word that are searched without `bpf_loop`: enough for most searches.
const STRIDES_AHEAD: u32 = 4;

/// The position of the first such byte from `from` on, which may be after `end`.
#[inline(always)]
fn first_from<'m, N: Needle, H: Host<'m>>(host: H, scratch: &mut Scratch, from: u32, end: u32) -> u32 {
    // Most searches end close by: the first word needs no loop.
    let marks = N::marks(scratch.word(from));
    if marks != 0 {
        return from + first(marks);
    }
    let mut at = from + WORD;
    for _ in 0..host.bound(STRIDES_AHEAD) {
        if at >= end {
            return end;
        }
        let (offset, marks) = mark(scratch, at, N::marks);
        if marks != 0 {
            return at + offset + first(marks);
        }
        at += STRIDE;
    }
    scratch.cursors.at = at;
    host.repeat(&mut Strides::<'_, N> { scratch, end, needle: PhantomData });
    scratch.cursors.at
}

struct Strides<'s, N> {
    scratch: &'s mut Scratch,
    end: u32,
    needle: PhantomData<N>,
}

impl<N: Needle> Step for Strides<'_, N> {
    const TIMES: u32 = INSPECTED_LENGTH as u32 / STRIDE;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let at = self.scratch.cursors.at;
        if at >= self.end {
            return true;
        }
        let (offset, marks) = mark(self.scratch, at, N::marks);
        if marks == 0 {
            self.scratch.cursors.at = at + STRIDE;
            return false;
        }
        self.scratch.cursors.at = at + offset + first(marks);
        true
    }
}

/// The position of the first byte in `from..end` that is no white space (folding included).
#[inline(always)]
pub fn skip_blank<'m, H: Host<'m>>(host: H, scratch: &mut Scratch, from: u32, end: u32) -> u32 {
    // Mostly there is none, or one space: these need no call.
    let at = if scratch.byte(from) == b' ' { from + 1 } else { from };
    if at < end && scratch.byte(at) > b' ' {
        scratch.cursors.at = at;
        host.fence();
        return scratch.cursors.at;
    }
    find::<NotBlank, H>(host, scratch, from, end)
}
