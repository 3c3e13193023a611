//! The machine of a measurement.

use std::fs;

use serde_json::{Value, json};

/// Facts about this machine.
pub(crate) struct Machine {
    processor: String,
    cpus: usize,
    kernel: String,
    /// Mitigations that make a return or an indirect call slow, as the kernel describes them.
    mitigations: Vec<String>,
    /// The load average over one minute.
    load: String,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let cpuinfo = line("/proc/cpuinfo");
        let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let mitigations = ["retbleed", "spec_rstack_overflow", "spectre_v2"].into_iter().filter_map(|name| {
            let text = line(&format!("/sys/devices/system/cpu/vulnerabilities/{name}"));
            (!text.is_empty() && text != "Not affected").then(|| format!("{name}: {text}"))
        });
        Self {
            processor: processor.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: line("/proc/sys/kernel/osrelease"),
            mitigations: mitigations.collect(),
            load: line("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let Self { processor, cpus, kernel, mitigations, load } = self;
        let mitigations = if mitigations.is_empty() { "none".to_owned() } else { mitigations.join("; ") };
        format!("{processor}, {cpus} CPUs, Linux {kernel}, load average {load}; mitigations: {mitigations}")
    }

    pub(crate) fn json(&self) -> Value {
        let Self { processor, cpus, kernel, mitigations, load } = self;
        json!({ "processor": processor, "cpus": cpus, "kernel": kernel, "mitigations": mitigations, "load": load })
    }
}
