//! A compiled policy: everything the engine looks at, as it will lie in the maps.

use filter_core::layout::{Config, Dfa, Node, NumberClass, Root, Rule, RuleSet, TRIES};

/// A compiled policy. Immutable; its hash names it.
#[derive(Clone)]
pub struct Image {
    /// The program's read-only data.
    pub config: Config,
    /// Root tables, by [`filter_core::layout::Trie`].
    pub roots: [Box<Root>; TRIES],
    /// Nodes of all tries.
    pub nodes: Vec<Node>,
    /// Leaves of all tries: classes.
    pub leaves: Vec<u32>,
    /// Address class -> what is true of it apart from rules: bit 0, the asserted identity of this source is believed; bit 1,
    /// never banned.
    pub address_classes: Vec<u32>,
    /// Number class -> what is true of it apart from rules.
    pub number_classes: Vec<NumberClass>,
    /// All rows, see [`Config::rows`].
    pub rows: Vec<RuleSet>,
    /// The rules, in file order; counter slots are filled in when the image is loaded.
    pub rules: Vec<Rule>,
    /// Pattern tables, see [`Config::text_dfas`].
    pub dfas: Vec<Box<Dfa>>,
    /// Rule names, in file order.
    pub rule_names: Vec<String>,
    /// Countries, index 0 is none.
    pub countries: Vec<String>,
    /// Regions, index 0 is none.
    pub regions: Vec<String>,
    /// SHA-256 over all of the above, hexadecimal.
    pub hash: String,
}
