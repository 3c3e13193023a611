//! A compiled policy: everything that the engine looks at, laid out as in the BPF maps.

use std::fmt::Write;

use filter_core::layout::{Config, Dfa, Dimension, Node, NumberClass, Roots, Rule, RuleSet, SCHEMA_VERSION};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

use crate::timetable::Timetable;

/// A compiled policy. It is immutable and identified by its hash.
#[derive(Clone)]
pub struct Image {
    /// The program's read-only data.
    pub config: Config,
    /// The root tables of all tries.
    pub roots: Box<Roots>,
    /// Nodes of all tries.
    pub nodes: Vec<Node>,
    /// Leaves of all tries: classes.
    pub leaves: Vec<u32>,
    /// Address class -> its facts apart from rules, see [`filter_core::layout::address_flag`].
    pub address_classes: Vec<u32>,
    /// Number class -> its facts apart from rules.
    pub number_classes: Vec<NumberClass>,
    /// All rows, see [`Config::rows`].
    pub rows: Vec<RuleSet>,
    /// The rules, in file order. Each has its index as its counter slot, until the image is loaded into the kernel.
    pub rules: Vec<Rule>,
    /// Pattern tables, see [`Config::text_dfas`].
    pub dfas: Vec<Box<Dfa>>,
    /// Rule names, in file order.
    pub rule_names: Vec<String>,
    /// Countries that rules name; index 0 is none.
    pub countries: Vec<String>,
    /// Regions that rules name; index 0 is none.
    pub regions: Vec<String>,
    /// When rules are on. In [`Self::rows`] all of them are, until [`Self::set_clock`].
    pub timetable: Timetable,
    /// SHA-256 of all of the above, hexadecimal.
    pub hash: String,
}

impl Image {
    /// SHA-256 of everything but the hash itself, hexadecimal. The host's counter slots are assigned when the image is loaded, so the
    /// hash identifies the policy and does not depend on the history of the host.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        // Each section is preceded by its length, so no two images have the same sequence of bytes.
        let mut section = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        section(&SCHEMA_VERSION.to_le_bytes());
        section(self.config.as_bytes());
        section(self.roots.as_bytes());
        section(self.nodes.as_bytes());
        section(self.leaves.as_bytes());
        section(self.address_classes.as_bytes());
        section(self.number_classes.as_bytes());
        section(self.rows.as_bytes());
        section(self.rules.as_bytes());
        self.dfas.iter().for_each(|dfa| section(dfa.as_bytes()));
        for names in [&self.rule_names, &self.countries, &self.regions] {
            section(&(names.len() as u64).to_le_bytes());
            names.iter().for_each(|name| section(name.as_bytes()));
        }
        section(self.timetable.text().as_bytes());
        hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Puts the policy into report mode as a whole, or enforces it, whatever its file says. The hash is then that of a policy whose file
    /// says so.
    pub fn set_report(&mut self, report: bool) {
        let report = u32::from(report);
        if self.config.report != report {
            self.config.report = report;
            self.hash = self.digest();
        }
    }

    /// True in report mode as a whole.
    #[must_use]
    pub fn is_report(&self) -> bool {
        self.config.report != 0
    }

    /// The index of the row of rules that are on, if that depends on the time.
    #[must_use]
    pub fn time_row(&self) -> Option<u32> {
        Some(self.config.rows[Dimension::Time.index()]).filter(|row| *row != 0)
    }

    /// Leaves on only the rules that are on at this time.
    pub fn set_clock(&mut self, at: Timestamp) {
        if let Some(row) = self.time_row() {
            self.rows[row as usize] = self.timetable.on(at);
        }
    }

    /// Kernel memory that the policy's own maps take, in bytes by content.
    #[must_use]
    pub fn kernel_memory(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("roots", size_of::<Roots>()),
            ("nodes", size_of_val(&*self.nodes)),
            ("leaves", size_of_val(&*self.leaves)),
            ("address classes", size_of_val(&*self.address_classes)),
            ("number classes", size_of_val(&*self.number_classes)),
            ("rows", size_of_val(&*self.rows)),
            ("rules", size_of_val(&*self.rules)),
            ("pattern tables", self.dfas.len() * size_of::<Dfa>()),
        ]
    }
}
