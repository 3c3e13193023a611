//! The machine of a measurement.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// What a call costs: the greatest difference between machines that the same program meets. Figures of one kind say little about
/// the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each return goes through a thunk that costs as much as a mispredicted branch: Safe RET, or the untrained return thunk of
    /// older processors.
    SafeRet,
    /// Returns are cheap.
    NoSafeRet,
}

impl Kind {
    /// The kind of a machine with these mitigations.
    fn of(mitigations: &[String]) -> Self {
        let slow = |text: &String| ["Safe RET", "untrained return thunk"].iter().any(|name| text.contains(name));
        if mitigations.iter().any(slow) { Self::SafeRet } else { Self::NoSafeRet }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SafeRet => "Safe RET",
            Self::NoSafeRet => "no Safe RET",
        }
    }

    /// The name as a part of a file's name.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::SafeRet => "safe-ret",
            Self::NoSafeRet => "no-safe-ret",
        }
    }
}

/// Facts about this machine.
pub(crate) struct Machine {
    processor: String,
    cpus: usize,
    kernel: String,
    /// What the kernel does about the processor's vulnerabilities, as it describes it.
    mitigations: Vec<String>,
    /// The load average over one minute.
    load: String,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let cpuinfo = line("/proc/cpuinfo");
        let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            processor: processor.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: line("/proc/sys/kernel/osrelease"),
            mitigations: mitigations(Path::new("/sys/devices/system/cpu/vulnerabilities")),
            load: line("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::of(&self.mitigations)
    }

    /// In the head of each table: the processor, and the mitigations that make a return or an indirect call slow.
    pub(crate) fn short(&self) -> String {
        let calls = ["retbleed", "spec_rstack_overflow", "spectre_v2"];
        let slow = self.mitigations.iter().filter(|text| calls.iter().any(|name| text.starts_with(name)));
        let slow: Vec<_> = slow.map(String::as_str).collect();
        let mitigations = if slow.is_empty() { "none".to_owned() } else { slow.join("; ") };
        format!("{}, {} (mitigations of calls: {mitigations})", self.processor, self.kind().name())
    }

    pub(crate) fn text(&self) -> String {
        let Self { processor, cpus, kernel, mitigations, load } = self;
        let mitigations = if mitigations.is_empty() { "none".to_owned() } else { mitigations.join("; ") };
        format!("{processor}, {cpus} CPUs, Linux {kernel}, load average {load}; mitigations: {mitigations}")
    }

    pub(crate) fn json(&self) -> Value {
        let Self { processor, cpus, kernel, mitigations, load } = self;
        json!({ "kind": self.kind().name(), "processor": processor, "cpus": cpus, "kernel": kernel, "mitigations": mitigations, "load": load })
    }
}

/// The vulnerabilities that this machine has, and what the kernel does about them.
fn mitigations(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<_> = files
        .filter_map(|file| {
            let text = fs::read_to_string(file.path()).ok()?;
            let text = text.trim();
            let name = file.file_name().to_string_lossy().into_owned();
            (!text.is_empty() && text != "Not affected").then(|| format!("{name}: {text}"))
        })
        .collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_that_of_the_returns() {
        let kind = |text: &str| Kind::of(&[text.to_owned()]);
        assert_eq!(kind("spec_rstack_overflow: Mitigation: Safe RET"), Kind::SafeRet);
        // The thunk is in place, though the microcode is not.
        assert_eq!(kind("spec_rstack_overflow: Vulnerable: Safe RET, no microcode"), Kind::SafeRet);
        assert_eq!(kind("retbleed: Mitigation: untrained return thunk; SMT disabled"), Kind::SafeRet);
        assert_eq!(kind("retbleed: Mitigation: Enhanced IBRS"), Kind::NoSafeRet);
        assert_eq!(Kind::of(&[]), Kind::NoSafeRet);
    }

    #[test]
    fn vulnerabilities_that_the_machine_has_are_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("spectre_v2", "Mitigation: Retpolines\n"), ("meltdown", "Not affected\n"), ("mds", "Vulnerable\n")]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(mitigations(folder.path()), ["mds: Vulnerable", "spectre_v2: Mitigation: Retpolines"]);
        assert!(mitigations(&folder.path().join("missing")).is_empty());
    }
}
