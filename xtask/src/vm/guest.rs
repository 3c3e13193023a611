//! A guest: a kernel in QEMU, with the test programs in an initramfs.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use ringfence_tests::{filter, process::Spawned};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    kernels::{Kernel, find_file, folder},
    run_silently, workspace,
};
use crate::setup::qemu;

/// A test program, and which of its tests to run.
pub(crate) struct Run {
    /// Its file in `tests/tests`.
    pub name: &'static str,
    /// Runs only the tests with one of these in their names. If empty, all of them.
    pub filters: &'static [&'static str],
    /// Number of random packets, for programs that generate them.
    pub cases: u32,
    /// It starts `ringfence`.
    pub needs_binary: bool,
    /// It attaches programs to interfaces: then its tests run one at a time. Kernels patch a jump for each XDP program, and
    /// emulated guests have crashed on the breakpoint used for patching while the other processor handled traffic.
    pub attaches: bool,
}

impl Run {
    /// All tests of a program.
    pub(crate) const fn of(name: &'static str) -> Self {
        Self { name, filters: &[], cases: 0, needs_binary: false, attaches: false }
    }
}

/// The results on a kernel.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Report {
    /// As `uname -r` prints it: `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// The version of its package: `6.1.158-1`.
    pub version: String,
    pub seconds: u64,
    /// By test program, in the order in which they ran.
    pub tests: Vec<(String, Tests)>,
    /// What loading costs, by policy.
    pub costs: BTreeMap<String, Cost>,
}

/// The results of a test program.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tests {
    pub passed: u64,
    pub seconds: u64,
}

/// The cost of loading a policy's program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Instructions that the verifier processed.
    pub instructions: u64,
    /// States that it created, and the most that it held at once.
    pub states: u64,
    pub peak_states: u64,
    /// Time to create and fill the maps and to verify, in the guest: about ten times as long as on real hardware.
    pub load_ms: u64,
}

impl Report {
    /// The number of tests that passed.
    pub(crate) fn passed(&self) -> u64 {
        self.tests.iter().map(|(_, tests)| tests.passed).sum()
    }
}

/// The guests' file system, packed, without the kernel's modules.
pub(crate) struct Bundle {
    place: TempDir,
    limit: Duration,
}

/// Programs of this host that the tests start.
const TOOLS: [&str; 3] = ["ip", "nsenter", "setpriv"];

/// The path of `ringfence` in a guest.
const BINARY: &str = "/bin/ringfence";

/// The folder of a run is named after this prefix and the run's process id.
const PLACE: &str = "guest-";

impl Bundle {
    /// Builds the test programs and packs them. A guest that takes longer than `limit` is considered hung.
    pub(crate) fn new(runs: &[Run], limit: Duration) -> Result<Self> {
        let programs = test_programs(runs)?;
        remove_leftovers();
        fs::create_dir_all(folder())?;
        let place = TempDir::with_prefix_in(format!("{PLACE}{}-", std::process::id()), folder())?;
        let root = Root::new(place.path().join("root"))?;
        let mut commands = String::new();
        for run in runs {
            let path =
                programs.get(run.name).with_context(|| format!("cargo did not print the path of {}", run.name))?;
            root.add_program(path, &format!("/tests/{}", run.name))?;
            // A shorter limit than the guest's, so that the guest can still report a timeout.
            let seconds = limit.as_secs() * 3 / 4;
            let cases = if run.cases == 0 { String::new() } else { format!("RINGFENCE_CASES={} ", run.cases) };
            let threads = if run.attaches { 1 } else { 2 };
            writeln!(
                commands,
                "run {0} env {cases}RINGFENCE_BINARY={BINARY} timeout {seconds} /tests/{0} --test-threads {threads} {1}",
                run.name,
                run.filters.join(" ")
            )?;
        }
        if runs.iter().any(|run| run.needs_binary) {
            root.add_program(&filter::build(false)?, BINARY)?;
        }
        for tool in TOOLS {
            let path = workspace::find_program(tool)
                .with_context(|| format!("no {tool} on this host: `cargo xtask setup kernels` installs it"))?;
            root.add_program(&path, &format!("/bin/{tool}"))?;
        }
        let busybox = workspace::find_program("busybox")
            .context("no busybox on this host: `cargo xtask setup kernels` installs it")?;
        root.add_file(&busybox, "/bin/busybox")?;
        for path in ["policies", "docs"] {
            root.add_tree(&workspace::root().join(path))?;
        }
        // Test programs open files relative to their package's folder.
        fs::create_dir_all(root.inside(workspace::root().join("tests").to_str().context("a path is not UTF-8")?))?;
        fs::write(root.inside("/commands"), commands)?;
        let init = root.inside("/init");
        fs::write(&init, include_str!("init"))?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
        let bundle = Self { place, limit };
        root.pack(&bundle.archive())?;
        Ok(bundle)
    }

    /// Boots a kernel, and waits for the results of the test programs.
    pub(crate) fn boot(&self, kernel: &Kernel) -> Result<Report> {
        let start = Instant::now();
        let place = TempDir::new_in(self.place.path())?;
        let initramfs = place.path().join("initramfs");
        self.write_initramfs(kernel, &initramfs)?;
        eprintln!("vm: booting {}", kernel.release);
        let [console, printed, state] = ["console", "printed", "state"].map(|name| place.path().join(name));
        let mut command = Command::new("setpriv");
        // If this process ends, so does the guest.
        command.args(["--pdeathsig", "KILL"]);
        qemu::add_to(&mut command);
        command
            // Always emulated: even where /dev/kvm exists, it may not work.
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1536", "-smp", "2", "-machine", "q35"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args([&console, &printed, &state].into_iter().flat_map(|path| serial(path)))
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(&initramfs)
            // On a busy host, emulated timer interrupts can arrive too late for the kernel's timer check.
            .args(["-append", "console=ttyS0 quiet panic=-1 oops=panic no_timer_check"]);
        let mut qemu = Spawned::start("qemu", command, place.path())?;
        let ended = follow(&mut qemu, &state, self.limit)?;

        let (printed, state) = (read(&printed), read(&state));
        if !state.lines().any(|line| line == "end") {
            bail!(
                "the guest {}; its console ends with\n{}\n{}\nits tests with\n{}",
                if ended { "died" } else { "took too long" },
                tail(&read(&console), 25),
                qemu.last_words(),
                tail(&printed, 40)
            );
        }
        Report::read(kernel, &state, &printed, start.elapsed())
    }

    fn archive(&self) -> PathBuf {
        self.place.path().join("archive")
    }

    /// Concatenates the archive and one with the kernel's modules: the kernel unpacks both.
    fn write_initramfs(&self, kernel: &Kernel, to: &Path) -> Result<()> {
        let root = Root(to.with_extension("modules"));
        fs::create_dir(&root.0)?;
        root.add_module(kernel, "veth")?;
        let modules = to.with_extension("part");
        root.pack(&modules)?;
        fs::copy(self.archive(), to)?;
        io::copy(&mut File::open(modules)?, &mut File::options().append(true).open(to)?)?;
        Ok(())
    }
}

/// Builds the test programs, and returns their paths.
fn test_programs(runs: &[Run]) -> Result<BTreeMap<String, PathBuf>> {
    // Not with `--package`: cargo would choose other features of the dependencies, and build all of them again.
    let mut cargo = workspace::cargo(["test", "--no-run", "--message-format=json-render-diagnostics"]);
    let output = cargo
        .args(runs.iter().flat_map(|run| ["--test", run.name]))
        .stderr(Stdio::inherit())
        .output()
        .context("failed to start cargo")?;
    ensure!(output.status.success(), "the test programs failed to build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some((message["target"]["name"].as_str()?.to_owned(), message["executable"].as_str()?.into()))
    };
    Ok(messages.lines().filter_map(program).collect())
}

/// Removes the folders of runs that were killed.
fn remove_leftovers() {
    for entry in fs::read_dir(folder()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PLACE)?.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            // Another run may remove it at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Waits until QEMU ends, and prints the guest's progress. False if it took too long.
fn follow(qemu: &mut Spawned, state: &Path, limit: Duration) -> Result<bool> {
    let start = Instant::now();
    let mut reported = 0;
    loop {
        let ended = qemu.poll()?.is_some();
        let text = read(state);
        // The last line may be incomplete.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines: Vec<_> = whole.lines().collect();
        for line in &lines[reported..] {
            if let [name, status, seconds] = line.split(' ').collect::<Vec<_>>()[..] {
                let result = if status == "0" { "ok".to_owned() } else { format!("FAILED ({status})") };
                eprintln!("vm:   {name}: {result} in {seconds} s");
            }
        }
        reported = lines.len();
        if ended || start.elapsed() > limit {
            return Ok(ended);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn serial(path: &Path) -> [String; 2] {
    ["-serial".to_owned(), format!("file:{}", path.display())]
}

fn read(path: &Path) -> String {
    fs::read(path).map(|text| String::from_utf8_lossy(&text).replace('\r', "")).unwrap_or_default()
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

impl Report {
    /// Reads the output of a guest.
    fn read(kernel: &Kernel, state: &str, printed: &str, time: Duration) -> Result<Self> {
        let mut report = Self { release: kernel.release.clone(), seconds: time.as_secs(), ..Self::default() };
        let mut failures = Vec::new();
        for line in state.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["kernel", .., "Debian", version, _date] => version.clone_into(&mut report.version),
                [name, status, seconds] => {
                    let (printed, passed) = (section(printed, name), passed(section(printed, name)));
                    if status != "0" {
                        failures.push(format!("{name} failed ({status})\n{}", tail(printed, 100)));
                    } else if passed == 0 {
                        failures.push(format!("{name} has run no test\n{}", tail(printed, 20)));
                    }
                    let seconds = seconds.parse().with_context(|| format!("{line:?} has no seconds"))?;
                    report.tests.push((name.to_owned(), Tests { passed, seconds }));
                }
                _ => {}
            }
        }
        ensure!(failures.is_empty(), "{}", failures.join("\n"));
        report.costs = printed.lines().filter_map(cost).collect();
        ensure!(
            !report.version.is_empty() && !report.costs.is_empty(),
            "the output of the guest is incomplete\n{state}{printed}"
        );
        Ok(report)
    }
}

/// The output of one of the programs.
fn section<'a>(printed: &'a str, name: &str) -> &'a str {
    let start = format!("== {name}\n");
    let Some(at) = printed.find(&start) else { return "" };
    let rest = &printed[at + start.len()..];
    rest.find("\n== ").map_or(rest, |end| &rest[..end])
}

/// The number of tests that passed, from the last line of a test program's output.
fn passed(printed: &str) -> u64 {
    let numbers = printed
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u64>().ok());
    numbers.sum()
}

/// Reads `verifier: POLICY: N instructions, N states, N at once, loaded in N ms`. The test harness may have written to the
/// same line before.
fn cost(line: &str) -> Option<(String, Cost)> {
    let (_, text) = line.split_once("verifier: ")?;
    let (policy, text) = text.split_once(": ")?;
    let numbers: Option<Vec<u64>> =
        text.split(", ").map(|part| part.split(' ').find_map(|word| word.parse().ok())).collect();
    let [instructions, states, peak_states, load_ms] = numbers?[..] else { return None };
    Some((policy.to_owned(), Cost { instructions, states, peak_states, load_ms }))
}

/// The folder in which a file system is assembled.
struct Root(PathBuf);

impl Root {
    fn new(path: PathBuf) -> Result<Self> {
        for folder in ["bin", "dev", "modules", "proc", "run", "sys", "tests", "tmp"] {
            fs::create_dir_all(path.join(folder))?;
        }
        Ok(Self(path))
    }

    /// The path on this host of a path in the guest.
    fn inside(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    fn add_file(&self, from: &Path, to: &str) -> Result<()> {
        let to = self.inside(to);
        fs::create_dir_all(to.parent().context("the path has no parent")?)?;
        fs::copy(from, &to).with_context(|| format!("failed to copy {}", from.display()))?;
        Ok(())
    }

    /// Adds a file or a folder at the same path as on this host: the test programs contain the path of the repository.
    fn add_tree(&self, path: &Path) -> Result<()> {
        if !path.is_dir() {
            return self.add_file(path, path.to_str().context("a path is not UTF-8")?);
        }
        fs::read_dir(path)?.try_for_each(|entry| self.add_tree(&entry?.path()))
    }

    /// Adds a program without its symbols, and the libraries that it is linked to.
    fn add_program(&self, from: &Path, to: &str) -> Result<()> {
        self.add_file(from, to)?;
        // Debug information is most of a test program. Without `strip`, the guest needs the memory for it.
        let _ = run_silently(Command::new("strip").arg("--strip-all").arg(self.inside(to)));
        let libraries = run_silently(Command::new("ldd").arg(from))?;
        libraries.split_whitespace().filter(|word| word.starts_with('/')).try_for_each(|library| {
            if self.inside(library).exists() { Ok(()) } else { self.add_file(Path::new(library), library) }
        })
    }

    /// Adds a module. It must not depend on another one.
    fn add_module(&self, kernel: &Kernel, name: &str) -> Result<()> {
        let [plain, packed] = [format!("{name}.ko"), format!("{name}.ko.xz")];
        let path = find_file(&kernel.modules, &|file| file == plain || file == packed)
            .with_context(|| format!("{} has no module {name}", kernel.release))?;
        let to =
            format!("/modules/{}", path.file_name().and_then(|name| name.to_str()).context("the module has no name")?);
        self.add_file(&path, &to)?;
        if to.ends_with(".xz") {
            run_silently(Command::new("xz").arg("--decompress").arg(self.inside(&to)))?;
        }
        Ok(())
    }

    /// Packs the folder as an initramfs.
    fn pack(&self, archive: &Path) -> Result<()> {
        let mut names = String::new();
        list(&self.0, &self.0, &mut names)?;
        let mut cpio = Command::new("cpio")
            .args(["--create", "--format=newc", "--quiet", "--owner=0:0"])
            .current_dir(&self.0)
            .stdin(Stdio::piped())
            .stdout(File::create(archive)?)
            .spawn()
            .context("failed to start cpio")?;
        // Dropped at the end of the statement, which closes the pipe.
        cpio.stdin.take().ok_or_else(|| anyhow!("cpio has no standard input"))?.write_all(names.as_bytes())?;
        ensure!(cpio.wait()?.success(), "cpio failed");
        Ok(())
    }
}

/// Appends the paths below a folder, one per line, parents first.
fn list(folder: &Path, root: &Path, names: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        writeln!(names, "{}", path.strip_prefix(root)?.to_str().context("a path is not UTF-8")?)?;
        if entry.file_type()?.is_dir() {
            list(&path, root, names)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "kernel #1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)\nverifier 0 8\njumbo 0 5\nend\n";

    const PRINTED: &str = "== verifier\n\nrunning 1 test\n\
         test x ... verifier: sample policy: 45123 instructions, 2100 states, 310 at once, loaded in 71 ms\n\
         verifier: everything: 50000 instructions, 2200 states, 320 at once, loaded in 90 ms\nok\n\n\
         test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 8.01s\n\n\
         == jumbo\n\nrunning 2 tests\n\
         test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 4.01s\n";

    fn report(state: &str, printed: &str) -> Result<Report> {
        let nowhere = PathBuf::new();
        let kernel = Kernel { release: "6.1.0-56-cloud-amd64".into(), image: nowhere.clone(), modules: nowhere };
        Report::read(&kernel, state, printed, Duration::from_secs(14))
    }

    #[test]
    fn the_output_of_a_guest_is_read() {
        let report = report(STATE, PRINTED).unwrap();
        assert_eq!(report.version, "6.1.158-1");
        assert_eq!(report.passed(), 3);
        assert_eq!(report.tests[1], ("jumbo".to_owned(), Tests { passed: 2, seconds: 5 }));
        let cost = Cost { instructions: 45_123, states: 2_100, peak_states: 310, load_ms: 71 };
        assert_eq!(report.costs["sample policy"], cost);
        assert_eq!(report.costs.len(), 2);
    }

    #[test]
    fn a_program_that_failed_or_ran_no_test_is_reported_with_its_output() {
        let error = report(&STATE.replace("jumbo 0", "jumbo 101"), PRINTED).unwrap_err().to_string();
        assert!(error.contains("jumbo failed (101)") && error.contains("4.01s") && !error.contains("8.01s"), "{error}");
        let error = report(STATE, &PRINTED.replace("2 passed", "0 passed")).unwrap_err().to_string();
        assert!(error.contains("jumbo has run no test"), "{error}");
    }
}
