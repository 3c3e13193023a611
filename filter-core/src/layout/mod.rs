//! The layout of everything in a map: written by the policy compiler and read by the engine, or the other way round.
//!
//! All types are `repr(C)`, have no padding, and assume a little-endian host (the BPF target is `bpfel`).

mod action;
mod config;
mod event;
mod patterns;
mod rule;
mod state;
mod trie;
mod values;

pub use action::Action;
pub use config::{Config, DIMENSIONS, Dimension, NamedHeader, Numbering, Port, need};
pub use event::{Event, Observation, Observed, STRATA, STRATUM_PLACES, Stratum, entered};
pub use patterns::{
    DFA_GRAMS, DFA_LEAVING, DFA_LITERALS, DFA_MATCHES, DFA_PLACES, Dfa, GRAM_BYTES, GRAM_CHAIN, LITERAL_BYTES,
    LITERAL_NEEDS_AUTOMATON, LITERAL_WORDS, Literal, Place, gram_hash, literal_flag,
};
pub use rule::{Count, NO_RULE, Per, Rule, RuleSet, address_flag, rule_flag};
pub use state::{
    Ban, BanKey, BanLengths, Counter, FlowKey, FragmentKey, InterfaceCounts, PacketCount, RateBucket, Remembered,
};
pub use trie::{IS_NODE, IS_PATH, MAX_PATH, Node, NumberClass, ROOT_PIECE_BITS, ROOT_PIECES, RootPiece, Roots, Trie};
pub use values::{
    Attestation, CallerAllowed, Dialog, Method, NumberFormat, Payload, Transport, Verstat, anomaly, capture, passport,
    privacy,
};

pub use crate::text::{TEXTS, Text};

/// The version of these layouts and of what the pinned maps mean. A daemon adopts only pins of its own version.
pub const SCHEMA_VERSION: u32 = 16;

/// How a type lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct TypeLayout {
    /// The type's name.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Its fields, in order.
    pub fields: &'static [FieldLayout],
}

/// Where a field lies in its type.
#[derive(Clone, Copy, Debug)]
pub struct FieldLayout {
    /// The field's name.
    pub name: &'static str,
    /// Its offset in bytes.
    pub offset: usize,
    /// Its size in bytes.
    pub size: usize,
}

/// The layouts of all types of this module, for the test that compares them with those of earlier versions.
pub const LAYOUTS: [&[TypeLayout]; 6] =
    [config::LAYOUTS, event::LAYOUTS, patterns::LAYOUTS, rule::LAYOUTS, state::LAYOUTS, trie::LAYOUTS];

/// Defines `repr(C)` structs, and a constant of the given name that describes them field by field.
#[macro_export]
macro_rules! layouts {
    (
        $(#[$list_meta:meta])*
        $list_visibility:vis const $list:ident;
        $(
            $(#[$meta:meta])*
            $visibility:vis struct $name:ident {
                $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $type:ty,)*
            }
        )*
    ) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            $visibility struct $name { $($(#[$field_meta])* $field_visibility $field: $type,)* }
        )*

        /// The layouts of the types of this file.
        $(#[$list_meta])*
        $list_visibility const $list: &[$crate::layout::TypeLayout] = &[$(
            $crate::layout::TypeLayout {
                name: stringify!($name),
                size: ::core::mem::size_of::<$name>(),
                fields: &[$(
                    $crate::layout::FieldLayout {
                        name: stringify!($field),
                        offset: ::core::mem::offset_of!($name, $field),
                        size: ::core::mem::size_of::<$type>(),
                    },
                )*],
            },
        )*];
    };
}

/// Defines structs that lie in maps or in the engine's working memory: as [`layouts`], and convertible to and from bytes for
/// hosts that fill and read the maps.
macro_rules! layout {
    (
        $list_visibility:vis const $list:ident;
        $($(#[$meta:meta])* $visibility:vis struct $name:ident { $($body:tt)* })*
    ) => {
        $crate::layouts! {
            $list_visibility const $list;
            $(
                $(#[$meta])*
                #[derive(Clone, Copy)]
                #[cfg_attr(
                    feature = "bytes",
                    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
                )]
                $visibility struct $name { $($body)* }
            )*
        }
    };
}

pub(crate) use layout;
