//! Numbers with names: the number a value has in memory, its name in policies and output, and the list of all values, each written
//! once.

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

            /// The number of values.
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

            /// The number in memory.
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

pub(crate) use named_enum;
