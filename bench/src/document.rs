//! docs/BENCHMARKS.md: each part of it is the output of the last run of that part.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    arguments::Part,
    machine::{Kind, Machine},
    report::{self, Table, Target},
};

/// The head of the document.
const HEAD: &str = "# Benchmarks

Written by `cargo xtask bench --write`: do not edit. Each part names the machine, and the command that repeats the measurement.
Do not compare figures from two machines, or from a busy and an idle machine. Ratios within one table can be compared, and
`cargo xtask bench --compare FILE` and `--against FILE` do so with an older run: FILE is one that `--save FILE` has written, or
the results of this document in `docs/benchmarks/`, `safe-ret.json` and `no-safe-ret.json`.

One mitigation matters a lot: where the kernel replaces every return with a thunk (`spec_rstack_overflow: Safe RET` or
`retbleed: untrained return thunk`, on most AMD processors before Zen 5), each call of a function, of a helper and of a step of
`bpf_loop` costs as much as a mispredicted branch, in every BPF program. The two programs that copy and scan a message differ
in nothing else. So the results of machines with and without it have sections of their own, and a target that was set for one
kind of machine is not judged on the other.

User space (the engine of `replay` and `test`, reading lists, compiling policies) is not covered here:
`cargo bench --package filter-policy` measures it.
";

/// The results of a part.
pub(crate) struct Section {
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
        let kind = machine.kind().name();
        let mut text =
            format!("## {} ({kind})\n\n{}\n\n`{}`, on {}.\n\n", self.title, self.text, self.command, machine.text());
        text.push_str(&report::targets(&self.targets).markdown(&machine.short()));
        text.push('\n');
        let short: Vec<_> = self.targets.iter().filter_map(Target::shortfall).collect();
        if !short.is_empty() {
            text.push_str("Targets that are not reached:\n\n");
            short.iter().for_each(|shortfall| text.extend(["- ", shortfall, "\n"]));
            text.push('\n');
        }
        self.tables.iter().for_each(|table| text.extend([table.markdown(&machine.short()), "\n".to_owned()]));
        text
    }
}

/// The results of the document as a file, for machines of a kind.
pub(crate) fn results_of(kind: Kind) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks").join(format!("{}.json", kind.slug()))
}

/// Replaces the part in the document, or adds it. The results of another kind of machine stay.
pub(crate) fn write(section: &Section, machine: &Machine) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/BENCHMARKS.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let new = replaced(&old, &marker(section.part, machine.kind()), &section.markdown(machine));
    fs::write(&path, new).with_context(|| format!("failed to write {}", path.display()))
}

fn marker(part: Part, kind: Kind) -> String {
    format!("{}, {}", part.name(), kind.name())
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
    use super::*;

    #[test]
    fn a_run_replaces_only_the_section_of_its_kind_of_machine() {
        let [slow, fast] = [Kind::SafeRet, Kind::NoSafeRet].map(|kind| marker(Part::Packet, kind));
        let both = replaced(&replaced("", &slow, "590 ns"), &fast, "220 ns");
        assert_eq!(replaced(&both, &fast, "158 ns"), both.replace("220 ns", "158 ns"));
        assert_eq!(replaced(&both, &slow, "410 ns"), both.replace("590 ns", "410 ns"));
    }

    #[test]
    fn a_part_is_replaced_and_the_others_stay() {
        // The head of the document has neither.
        const FIRST: &str = "120 ns";
        const LATER: &str = "95 ns";
        let first = replaced("", "packet", FIRST);
        let both = replaced(&first, "swap", "two");
        let again = replaced(&both, "packet", LATER);
        assert_eq!(again, both.replace(FIRST, LATER));
        assert!(again.contains("two"));
    }
}
