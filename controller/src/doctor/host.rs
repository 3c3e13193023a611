//! The checks of the host. Each takes what was read, as text where it is one, and judges it.

use super::Finding;
use crate::kernel;

/// Bits of the capability set, `include/uapi/linux/capability.h`, with what needs them.
const CAP_NET_RAW: u32 = 13;
const CAP_SYS_ADMIN: u32 = 21;
const CAPABILITIES: &[(&str, u32, bool)] =
    &[("CAP_BPF", 39, true), ("CAP_NET_ADMIN", 12, false), ("CAP_PERFMON", 38, true)];

/// The mitigations that turn every return into a call of a thunk: the file, and what it says then.
const THUNKS: &[(&str, &str, &str)] = &[
    ("spec_rstack_overflow", "Safe RET", "spec_rstack_overflow=off"),
    ("retbleed", "untrained return thunk", "retbleed=off"),
];

/// The kernel's version, from /proc/sys/kernel/osrelease.
pub(super) fn kernel_version(release: &str) -> Finding {
    let release = release.trim();
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(|part| part.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= kernel::OLDEST => Finding::ok("kernel", release),
        (Some(_), Some(_)) => {
            let error = kernel::Error::KernelTooOld { found: release.to_owned(), needed: kernel::OLDEST_NAME };
            let fix = error.help().unwrap_or_default();
            Finding::fail("kernel", error.to_string(), fix)
        }
        _ => Finding::warn("kernel", format!("the version `{release}` cannot be read"), "`uname -r` shows it"),
    }
}

/// Whether the kernel describes its own types in /sys/kernel/btf/vmlinux.
pub(super) fn btf(exists: bool) -> Finding {
    if exists {
        return Finding::ok("btf", "/sys/kernel/btf/vmlinux exists");
    }
    let found =
        "/sys/kernel/btf/vmlinux is missing: the filter works, but tools such as bpftool and bpftrace show less of it";
    Finding::warn("btf", found, "use a distribution's kernel, on Debian: `apt install linux-image-amd64`")
}

/// The JIT compiler, from net.core.bpf_jit_enable; none if it could not be read.
pub(super) fn jit(setting: Option<&str>) -> Finding {
    match setting.map(str::trim) {
        Some("0") => Finding::fail(
            "jit",
            "off: the kernel cannot load the program, whose callbacks need the JIT compiler",
            "`sysctl -w net.core.bpf_jit_enable=1`",
        ),
        Some("2") => Finding::warn(
            "jit",
            "on, and writes every program to the kernel's log",
            "`sysctl -w net.core.bpf_jit_enable=1`",
        ),
        Some(_) => Finding::ok("jit", "on"),
        None => Finding::warn(
            "jit",
            "net.core.bpf_jit_enable cannot be read here",
            "`nsenter --target 1 --net sysctl net.core.bpf_jit_enable` as root shows it",
        ),
    }
}

/// The capabilities of this process, from /proc/self/status.
pub(super) fn capabilities(status: &str) -> Finding {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()) else {
        let fix = "`grep CapEff /proc/self/status` shows them; is /proc mounted?";
        return Finding::warn("capabilities", "those of this process cannot be read", fix);
    };
    let has = |bit: u32| effective & (1 << bit) != 0;
    let missing = CAPABILITIES.iter().filter(|(_, bit, by_admin)| !(has(*bit) || *by_admin && has(CAP_SYS_ADMIN)));
    let missing: Vec<&str> = missing.map(|(name, ..)| *name).collect();
    if missing.is_empty() {
        let names: Vec<&str> = CAPABILITIES.iter().map(|(name, ..)| *name).collect();
        return Finding::ok("capabilities", names.join(", "));
    }
    let error = kernel::Error::NotPermitted(missing);
    let fix = error.help().unwrap_or_default();
    Finding::fail("capabilities", error.to_string(), fix)
}

/// Whether this process may send the answers that the policy asks for, from /proc/self/status.
pub(super) fn answers(status: &str, wanted: bool) -> Finding {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or(0);
    if effective & (1 << CAP_NET_RAW) != 0 {
        return Finding::ok("answers", "CAP_NET_RAW");
    }
    if !wanted {
        return Finding::ok("answers", "CAP_NET_RAW missing; no rule that is known here answers");
    }
    let found = "CAP_NET_RAW missing: calls that rules reject or divert are dropped without an answer";
    let fix =
        "run it as root, or in a systemd unit with `AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_NET_RAW CAP_PERFMON`";
    Finding::warn("answers", found, fix)
}

/// Whether users without privileges may use BPF, from kernel.unprivileged_bpf_disabled. Either is fine.
pub(super) fn unprivileged(setting: Option<&str>) -> Finding {
    Finding::ok(
        "unprivileged",
        match setting.map(str::trim) {
            Some("0") => "users without privileges may use BPF; the filter does not need that",
            Some(_) => "users without privileges may not use BPF; the filter does not need that",
            None => {
                "the kernel does not say whether users without privileges may use BPF; the filter does not need that"
            }
        },
    )
}

/// Whether the kernel measures every BPF program, from kernel.bpf_stats_enabled.
pub(super) fn statistics(setting: Option<&str>) -> Finding {
    match setting.map(str::trim) {
        Some("1") => Finding::warn(
            "statistics",
            "the kernel measures each run of each BPF program, which costs two readings of the clock a packet",
            "`sysctl -w kernel.bpf_stats_enabled=0`",
        ),
        _ => Finding::ok("statistics", "off"),
    }
}

/// The mitigations that cost a BPF program much, from the files of /sys/devices/system/cpu/vulnerabilities.
pub(super) fn mitigations(vulnerabilities: &[(String, String)]) -> Finding {
    let found = THUNKS.iter().filter_map(|(file, says, option)| {
        let (_, text) = vulnerabilities.iter().find(|(name, _)| name == file)?;
        text.contains(says).then_some((format!("{file}: {}", text.trim()), *option))
    });
    let (named, options): (Vec<String>, Vec<&str>) = found.unzip();
    if named.is_empty() {
        return Finding::ok("mitigations", "none that makes returns expensive");
    }
    let found = format!(
        "each return of a function is as slow as a mispredicted branch, in every BPF program ({}); docs/BENCHMARKS.md has the cost",
        named.join("; ")
    );
    let fix = format!(
        "if this host runs no code that it must be protected from, and only then, boot with `{}`; \
         `cat /proc/cmdline` shows the options of this boot. Otherwise nothing: the filter works",
        options.join(" ")
    );
    Finding::warn("mitigations", found, fix)
}

/// The memory that can be had, from /proc/meminfo, compared with the bytes of a policy's tables. A change of the policy takes them up
/// to three times: for the old policy, the new one, and the one before.
pub(super) fn memory(meminfo: &str, policy: Option<u64>) -> Finding {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let Some(available) = kib.map(|kib| kib * 1024) else {
        let fix = "`grep MemAvailable /proc/meminfo` shows it; is /proc mounted?";
        return Finding::warn("memory", "what is available cannot be read", fix);
    };
    let Some(needed) = policy else {
        return Finding::ok("memory", format!("{} available", mebibytes(available)));
    };
    let found = format!(
        "{} available; the policy's tables take {}, up to three times that while it is replaced",
        mebibytes(available),
        mebibytes(needed)
    );
    let fix = "use fewer or shorter lists (`ringfence check DIR` shows what each part takes), or end what takes the memory: \
               `ps --sort=-rss -eo rss,pid,comm | head`";
    match available {
        _ if available < needed => Finding::fail("memory", found, fix),
        _ if available < 3 * needed => Finding::warn("memory", found, fix),
        _ => Finding::ok("memory", found),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}

/// Whether the clock follows a reference; none if the kernel did not say.
pub(super) fn clock(synchronised: Option<bool>) -> Finding {
    match synchronised {
        Some(true) => Finding::ok("clock", "synchronised"),
        Some(false) => Finding::warn(
            "clock",
            "not synchronised: times in events, hours of rules and last days are only as right as this clock",
            "`timedatectl set-ntp true`, or `apt install chrony`",
        ),
        None => Finding::warn("clock", "the kernel does not say whether it is synchronised", "`timedatectl` shows it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn fix(finding: &Finding) -> &str {
        finding.fix.as_deref().unwrap_or_default()
    }

    #[test]
    fn a_kernel_before_6_1_is_too_old() {
        for (release, level) in [
            ("6.1.0-13-amd64\n", Level::Ok),
            ("6.18.44-fc-v782", Level::Ok),
            ("10.0", Level::Ok),
            ("6.0.19", Level::Fail),
            ("5.15.0-91-generic", Level::Fail),
            ("?", Level::Warn),
        ] {
            assert_eq!(kernel_version(release).level, level, "{release}");
        }
        assert!(fix(&kernel_version("5.10.0")).contains("linux-image-amd64"));
    }

    #[test]
    fn without_the_jit_compiler_nothing_can_be_loaded() {
        assert_eq!(jit(Some("1\n")).level, Level::Ok);
        assert_eq!(jit(Some("2\n")).level, Level::Warn);
        assert_eq!(jit(None).level, Level::Warn);
        let off = jit(Some("0\n"));
        assert_eq!(off.level, Level::Fail);
        assert_eq!(fix(&off), "`sysctl -w net.core.bpf_jit_enable=1`");
    }

    #[test]
    fn each_missing_capability_is_named_and_cap_sys_admin_stands_for_those_of_bpf() {
        let status = |effective: u64| format!("Name:\tringfence\nCapPrm:\t0\nCapEff:\t{effective:016x}\n");
        let (net, bpf, perfmon, admin) = (1 << 12, 1 << 39, 1 << 38, 1 << 21);
        assert_eq!(capabilities(&status(net | bpf | perfmon)).level, Level::Ok);
        assert_eq!(capabilities(&status(net | admin)).level, Level::Ok);
        let none = capabilities(&status(0));
        assert_eq!(none.level, Level::Fail);
        assert_eq!(none.found, "not permitted: CAP_BPF and CAP_NET_ADMIN and CAP_PERFMON missing");
        assert!(fix(&none).contains("AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_NET_RAW CAP_PERFMON"));
        assert!(capabilities(&status(admin)).found.contains("CAP_NET_ADMIN missing"));
        assert_eq!(capabilities("").level, Level::Warn);
    }

    #[test]
    fn who_may_not_answer_is_warned_only_where_a_rule_answers() {
        let status = |effective: u64| format!("CapEff:\t{effective:016x}\n");
        assert_eq!(answers(&status(1 << 13), true).level, Level::Ok);
        assert_eq!(answers(&status(1 << 12), false).level, Level::Ok);
        let missing = answers(&status(1 << 12), true);
        assert_eq!(missing.level, Level::Warn);
        assert!(fix(&missing).contains("CAP_NET_RAW"));
    }

    #[test]
    fn return_thunks_are_named_with_the_option_that_turns_them_off() {
        let files = |lines: &[(&str, &str)]| -> Vec<(String, String)> {
            lines.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        let fine = files(&[
            ("spec_rstack_overflow", "Not affected\n"),
            ("retbleed", "Mitigation: Enhanced IBRS\n"),
            ("spectre_v2", "Mitigation: Retpolines\n"),
        ]);
        assert_eq!(mitigations(&fine).level, Level::Ok);
        let slow = mitigations(&files(&[("spec_rstack_overflow", "Vulnerable: Safe RET, no microcode\n")]));
        assert_eq!(slow.level, Level::Warn);
        assert!(slow.found.contains("(spec_rstack_overflow: Vulnerable: Safe RET, no microcode)"), "{}", slow.found);
        assert!(fix(&slow).contains("`spec_rstack_overflow=off`"));
        let both = mitigations(&files(&[
            ("retbleed", "Mitigation: untrained return thunk; SMT disabled"),
            ("spec_rstack_overflow", "Mitigation: Safe RET"),
        ]));
        assert!(fix(&both).contains("`spec_rstack_overflow=off retbleed=off`"), "{}", fix(&both));
    }

    #[test]
    fn memory_is_compared_with_what_a_policy_takes_while_it_is_replaced() {
        let meminfo = "MemTotal:       8000000 kB\nMemFree:  1 kB\nMemAvailable:      30720 kB\n";
        let mib = |count: u64| Some(count * 1024 * 1024);
        assert_eq!(memory(meminfo, None), Finding::ok("memory", "30.0 MiB available"));
        assert_eq!(memory(meminfo, mib(10)).level, Level::Ok);
        assert_eq!(memory(meminfo, mib(11)).level, Level::Warn);
        assert_eq!(memory(meminfo, mib(31)).level, Level::Fail);
        assert_eq!(memory("", mib(1)).level, Level::Warn);
    }

    #[test]
    fn settings_that_cost_are_warnings_and_others_are_not() {
        assert_eq!(statistics(Some("1\n")).level, Level::Warn);
        assert_eq!(statistics(Some("0\n")).level, Level::Ok);
        assert_eq!(statistics(None).level, Level::Ok);
        assert_eq!((clock(Some(true)).level, clock(Some(false)).level), (Level::Ok, Level::Warn));
        assert_eq!((btf(true).level, btf(false).level), (Level::Ok, Level::Warn));
        for setting in [None, Some("0"), Some("1"), Some("2")] {
            assert_eq!(unprivileged(setting).level, Level::Ok);
        }
    }
}
