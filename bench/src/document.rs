//! docs/BENCHMARKS.md: each part of it is what the last run of that part has printed.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    arguments::Part,
    machine::Machine,
    report::{self, Table, Target},
};

/// What stands at the head of the document.
const HEAD: &str = "# Benchmarks

Written by `cargo xtask bench --write`: do not edit. Each part says the command that measures it again, and the machine.
Figures of two machines, or of one that was busy and one that was not, cannot be compared; ratios within one table can.

A mitigation counts for much: where the kernel gives every return a thunk (`spec_rstack_overflow: Safe RET` or `retbleed:
untrained return thunk`, on most of AMD's processors before Zen 5), each call of a function, of a helper and of a step of
`bpf_loop` costs as much as a mispredicted branch, in every BPF program. The two programs that copy and scan a message differ
in nothing else.

What user space takes (the engine behind `replay` and `test`, the reading of lists, the compiler of policies) is not in here:
`cargo bench --package filter-policy` measures it.
";

/// A part that was measured.
pub struct Section {
    pub part: Part,
    pub title: &'static str,
    pub command: &'static str,
    /// How it was measured.
    pub text: &'static str,
    pub tables: Vec<Table>,
    pub targets: Vec<Target>,
}

impl Section {
    fn markdown(&self, machine: &Machine) -> String {
        let mut text = format!("## {}\n\n{}\n\n`{}`, on {}.\n\n", self.title, self.text, self.command, machine.text());
        text.push_str(&report::targets(&self.targets).markdown());
        text.push('\n');
        let short: Vec<_> = self.targets.iter().filter_map(Target::shortfall).collect();
        if !short.is_empty() {
            text.push_str("What falls short here:\n\n");
            short.iter().for_each(|shortfall| text.extend(["- ", shortfall, "\n"]));
            text.push('\n');
        }
        self.tables.iter().for_each(|table| text.extend([table.markdown(), "\n".to_owned()]));
        text
    }
}

/// Replaces the part in the document, or adds it.
pub fn write(section: &Section, machine: &Machine) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/BENCHMARKS.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let new = replaced(&old, name(section.part), &section.markdown(machine));
    fs::write(&path, new).with_context(|| format!("failed to write {}", path.display()))
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Flood => "flood",
        Part::Packet => "packet",
        Part::Swap => "swap",
    }
}

fn replaced(old: &str, part: &str, content: &str) -> String {
    let parts = old.find("<!-- ").map_or("", |at| &old[at..]);
    let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- end of {part} -->\n"));
    let new = format!("{begin}\n{}\n{end}", content.trim_end());
    match (parts.find(&begin), parts.find(&end)) {
        (Some(from), Some(to)) if from < to => {
            format!("{HEAD}\n{}{new}{}", &parts[..from], &parts[to + end.len()..])
        }
        _ if parts.is_empty() => format!("{HEAD}\n{new}"),
        _ => format!("{HEAD}\n{parts}\n{new}"),
    }
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn a_part_is_replaced_and_the_others_stay() {
        let first = replaced("", "packet", "one");
        let both = replaced(&first, "swap", "two");
        let again = replaced(&both, "packet", "three");
        assert_eq!(again, both.replace("one", "three"));
        assert!(again.contains("two"));
    }
}
