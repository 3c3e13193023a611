//! Numbers with names: a value's number in memory, its name in policies and output, and the list of all values are written once.

/// Defines an enum whose variants have a number in maps and a name in policies and output. The numbers count from 0.
///
/// For values that code matches on exhaustively: a new variant does not compile until every such match decides about it.
/// Where the value lies in memory it is a plain number, which `from_number` converts.
macro_rules! named_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident: $number:ident {
            $($(#[$doc:meta])* $variant:ident = $value:literal, $text:literal;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($number)]
        pub enum $name { $($(#[$doc])* $variant = $value,)* }

        impl $name {
            /// Every value, in the order of its number.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)*];

            /// How many values there are.
            pub const COUNT: usize = [$($value,)*].len();

            /// The names of all values, in the order of their numbers.
            pub const NAMES: [&str; Self::COUNT] = [$($text,)*];

            /// The name in policies and output.
            #[inline]
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The number that represents the value in memory.
            #[inline(always)]
            #[must_use]
            pub const fn number(self) -> $number {
                self as $number
            }

            /// The value of this number.
            #[inline(always)]
            #[must_use]
            pub const fn from_number(number: $number) -> Option<Self> {
                match number {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The number, as an index.
            #[inline(always)]
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        const _: () = {
            let mut index = 0;
            while index < $name::COUNT {
                assert!($name::ALL[index].index() == index, "the numbers count from 0");
                index += 1;
            }
        };
    };
}

/// Defines a number with named values: a transparent wrapper whose values are associated constants, which patterns can use.
///
/// For what lies in memory that another program may have written: every number is a valid value, named or not, and
/// conversions cost nothing. Values may have names for policies and output; the numbers of those count from 0.
macro_rules! named_number {
    // With names.
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $number:ident {
            $($(#[$doc:meta])* $variant:ident = $value:literal, $text:literal;)*
        }
    ) => {
        named_number! {
            $(#[$meta])*
            pub struct $name: $number { $(#[doc = concat!("`", $text, "`.")] $(#[$doc])* $variant = $value;)* }
        }

        impl $name {
            /// The names of all values, in the order of their numbers.
            pub const NAMES: [&str; Self::COUNT] = [$($text,)*];

            /// The name in policies and output.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    _ => "unknown",
                }
            }

            /// The value of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        const _: () = {
            let mut index = 0;
            while index < $name::COUNT {
                assert!($name::ALL[index].index() == index, "the numbers count from 0");
                index += 1;
            }
        };
    };
    // Without.
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $number:ident {
            $($(#[$doc:meta])* $variant:ident = $value:literal;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(
            feature = "bytes",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        #[repr(transparent)]
        pub struct $name($number);

        #[expect(non_upper_case_globals, reason = "these are values of an open enum")]
        impl $name {
            $($(#[$doc])* pub const $variant: Self = Self($value);)*
        }

        impl $name {
            /// Every named value, in the order of the numbers.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)*];

            /// The number of named values.
            pub const COUNT: usize = [$($value,)*].len();

            /// The value of this number.
            #[inline(always)]
            #[must_use]
            pub const fn from_number(number: $number) -> Self {
                Self(number)
            }

            /// The number that represents the value in memory, which may be none of the known ones.
            #[inline(always)]
            #[must_use]
            pub const fn number(self) -> $number {
                self.0
            }

            /// The number, as an index.
            #[inline(always)]
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The number's bit in a set of such values.
            #[inline(always)]
            #[must_use]
            pub const fn bit(self) -> u32 {
                1 << (self.0 & 31)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match *self {
                    $(Self::$variant => f.write_str(stringify!($variant)),)*
                    Self(number) => write!(f, "{}({number})", stringify!($name)),
                }
            }
        }
    };
}

/// Defines a module of bits, and their names if they have any. The bits count from 0.
macro_rules! named_bits {
    // With names.
    (
        $(#[$meta:meta])*
        pub mod $name:ident: $number:ident {
            $($(#[$doc:meta])* $bit:ident = $value:literal, $text:literal;)*
        }
    ) => {
        $(#[$meta])*
        pub mod $name {
            $($(#[$doc])* pub const $bit: $number = 1 << $value;)*

            /// How many bits have a name.
            pub const COUNT: usize = [$($value,)*].len();

            /// Their names in policies and output, by bit.
            pub const NAMES: [&str; COUNT] = [$($text,)*];

            /// The names of the bits that are set.
            pub fn names(bits: $number) -> impl Iterator<Item = &'static str> {
                NAMES.into_iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 != 0).map(|(_, name)| name)
            }

            const _: () = {
                let mut bit = 0;
                while bit < COUNT {
                    assert!([$($value,)*][bit] == bit, "the bits count from 0");
                    bit += 1;
                }
            };
        }
    };
    // Without.
    (
        $(#[$meta:meta])*
        pub mod $name:ident: $number:ident {
            $($(#[$doc:meta])* $bit:ident = $value:literal;)*
        }
    ) => {
        $(#[$meta])*
        pub mod $name {
            $($(#[$doc])* pub const $bit: $number = 1 << $value;)*

            const _: () = {
                let (bits, mut bit) = ([$($value,)*], 0);
                while bit < bits.len() {
                    assert!(bits[bit] == bit, "the bits count from 0");
                    bit += 1;
                }
            };
        }
    };
}

pub(crate) use {named_bits, named_enum, named_number};
