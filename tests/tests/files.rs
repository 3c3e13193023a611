//! Whatever the files of a policy hold, the policy in force stays, the daemon's memory stays small, and it can be stopped at once.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter::{self, Filter, FilterOptions, Site},
    netns::Wire,
    process::{run, wait_until},
};
use rustix::process::Signal;
use serde_json::Value;

/// Long enough for anything here, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

const POLICY: &str = "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
                      international_prefix = \"011\"\n[sets.bad]\naddresses = \"bad.txt\"\nmax_errors = 5\n[[rule]]\nname = \"bad\"\n\
                      match.source = \"@bad\"\naction = \"drop\"\n";

/// A `git` that does not return from reading a commit's files until the file `go` is there, or the scene is not any more: so
/// whatever reads a policy can be at work for as long as a test wants.
const SLOW_GIT: &str = r#"#!/bin/sh
case " $* " in
    *" cat-file "*)
        if [ -e "$SCENE/slow" ]; then
            echo waiting >> "$SCENE/waiting"
            while [ -d "$SCENE" ] && [ ! -e "$SCENE/go" ]; do sleep 0.05; done
        fi ;;
esac
PATH=${PATH#*:} exec git "$@"
"#;

/// A wire and a policy. Declare a [`Filter`] after it, so that the filter is dropped first.
struct Scene {
    wire: Wire,
    binary: PathBuf,
    policy: PathBuf,
    scratch: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let Site { wire, policy, scratch } = Site::new(&[("policy.toml", POLICY), ("bad.txt", "192.0.2.1\n")])?;
        Ok(Self { wire, binary: filter::build(false)?, policy, scratch })
    }

    /// With a policy in a git repository, and a `git` that waits when a test wants it to.
    fn with_slow_git() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let scene = Self::new()?;
        git(&scene.policy, &["init", "--quiet"])?;
        git(&scene.policy, &["add", "--all"])?;
        git(&scene.policy, &["commit", "--quiet", "--message=x"])?;
        let program = scene.path("bin/git");
        fs::create_dir(scene.path("bin"))?;
        fs::write(&program, SLOW_GIT)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(scene)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn list(&self) -> PathBuf {
        self.policy.join("bad.txt")
    }

    fn options<'a>(&'a self, arguments: &'a [&'a str], environment: &'a [(&'a str, &'a str)]) -> FilterOptions<'a> {
        let (binary, policy) = (&self.binary, &self.policy);
        FilterOptions { binary, interface: Wire::SERVER_INTERFACE, policy, arguments, environment }
    }

    fn start(&self, arguments: &[&str]) -> Result<Filter> {
        Filter::start(&self.wire, self.scratch.path(), &self.options(arguments, &[]))
    }

    /// What [`SLOW_GIT`] needs in the daemon's environment.
    fn environment(&self) -> [(&'static str, String); 2] {
        let path = std::env::var("PATH").unwrap_or_default();
        [
            ("PATH", format!("{}:{path}", self.path("bin").display())),
            ("SCENE", self.scratch.path().display().to_string()),
        ]
    }

    /// Makes git slow, changes the list, and waits until that is being read.
    fn read_slowly(&self) -> Result<()> {
        File::create(self.path("slow"))?;
        fs::write(self.list(), "192.0.2.2\n")?;
        self.await_slow_git()
    }

    fn await_slow_git(&self) -> Result<()> {
        wait_until("the policy being read", LIMIT, || Ok(self.path("waiting").exists().then_some(())))
    }
}

fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command.current_dir(directory).args(["-c", "user.name=x", "-c", "user.email=x@example.net"]).args(arguments);
    Ok(run(command)?.trim().to_owned())
}

/// Removes whatever is at a path.
fn clear(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => fs::remove_dir_all(path)?,
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    Ok(())
}

/// What `ringfence reload` says, and its exit status.
fn reload(filter: &Filter) -> Result<(Option<i32>, Value)> {
    let output = filter.command("reload", &["--json"]).output()?;
    let answer = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no answer: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((output.status.code(), answer))
}

/// The messages of a policy that was refused.
fn messages(notice: &Value) -> Vec<&str> {
    let found = notice["diagnostics"].as_array().map(Vec::as_slice).unwrap_or_default();
    found.iter().filter_map(|finding| finding["message"].as_str()).collect()
}

fn succeeded(output: &Output) -> Result<()> {
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn whatever_a_list_is_the_policy_in_force_stays_and_the_error_says_what_it_is() -> Result<()> {
    let scene = Scene::new()?;
    let filter = scene.start(&["--json"])?;
    let hash = filter.policy_hash()?;
    let list = scene.list();
    let sparse = |bytes: u64| -> Result<()> { Ok(File::create(scene.list())?.set_len(bytes)?) };
    let wide: Vec<u8> = "\u{feff}192.0.2.1\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let long = format!("192.0.2.1\n192.0.2.2 # {}\n", "x".repeat(1 << 20));
    let outside = scene.path("outside.txt");
    fs::write(&outside, "192.0.2.9\n")?;
    let before = filter.peak_memory()?;
    let mut make_pipe = Command::new("mkfifo");
    make_pipe.arg(&list);
    type Make<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;
    let cases: Vec<(&str, Make<'_>)> = vec![
        ("the list `bad.txt` has more than 1073741824 bytes", Box::new(|| sparse(2 << 30))),
        ("it is a named pipe, not a regular file", Box::new(|| run(make_pipe).map(drop))),
        ("it is a directory, not a regular file", Box::new(|| Ok(fs::create_dir(&list)?))),
        ("a symbolic link leads out of the policy's directory", Box::new(|| Ok(symlink(&outside, &list)?))),
        ("a symbolic link leads out of the policy's directory", Box::new(|| Ok(symlink("/dev/zero", &list)?))),
        ("no such file", Box::new(|| Ok(symlink("nowhere", &list)?))),
        ("this list is UTF-16", Box::new(|| Ok(fs::write(&list, &wide)?))),
        ("this list is a binary file", Box::new(|| Ok(fs::write(&list, b"\x7f\0\x01\x02")?))),
        ("this list is compressed (gzip)", Box::new(|| Ok(fs::write(&list, b"\x1f\x8b\x08\0\0\0\0\0")?))),
        ("this list is a web page", Box::new(|| Ok(fs::write(&list, "<!DOCTYPE html><p>log in</p>\n")?))),
    ];
    for (words, make) in cases {
        clear(&list)?;
        make()?;
        let (code, notice) = reload(&filter)?;
        assert_eq!((code, &notice["event"]), (Some(1), &"policy-error".into()), "{words}: {notice}");
        assert!(messages(&notice).iter().any(|message| message.contains(words)), "{words}: {notice}");
        assert_eq!(filter.policy_hash()?, hash, "{words}");
    }
    let after = filter.peak_memory()?;
    assert!(after < before + (256 << 10), "the daemon had {before} KiB, and {after} KiB afterwards");

    // A line that is too long is an error of that line, which the set tolerates.
    clear(&list)?;
    fs::write(&list, long)?;
    let (code, notice) = reload(&filter)?;
    assert_eq!((code, &notice["event"]), (Some(0), &"unchanged".into()), "{notice}");
    // Half a gigabyte without an end of line is within the limit, and no list.
    sparse(512 << 20)?;
    let (code, notice) = reload(&filter)?;
    assert_eq!((code, messages(&notice)), (Some(1), vec!["this list is a binary file"]), "{notice}");
    let after = filter.peak_memory()?;
    assert!(after < before + (1 << 20), "the daemon had {before} KiB, and {after} KiB afterwards");
    Ok(())
}

#[test]
fn the_limit_of_bytes_and_entries_is_that_of_the_configuration_and_of_all_lists_together() -> Result<()> {
    let scene = Scene::new()?;
    let second = "[sets.more]\nnumbers = \"more.txt\"\n[[rule]]\nname = \"more\"\nmatch.calling = \"@more\"\naction = \"drop\"\n";
    fs::write(scene.policy.join("policy.toml"), format!("{POLICY}{second}"))?;
    fs::write(scene.policy.join("more.txt"), "12025550100$\n")?;
    let filter = scene.start(&["--json", "--max-list-bytes", "4096"])?;
    let hash = filter.policy_hash()?;
    for (list, content, words) in [
        ("bad.txt", "#".repeat(4095) + "\n\n", "the list `bad.txt` has more than 4096 bytes"),
        ("more.txt", "#\n".repeat(2046), "together with the lists before it (4086 are left)"),
        // Few bytes, and more numbers than 4096 / 16.
        ("more.txt", "+1605562 0100 - 0499$\n".to_owned(), "too many entries together"),
    ] {
        let before = fs::read(scene.policy.join(list))?;
        fs::write(scene.policy.join(list), content)?;
        let (code, notice) = reload(&filter)?;
        assert_eq!((code, &notice["event"]), (Some(1), &"policy-error".into()), "{words}: {notice}");
        assert!(messages(&notice).iter().any(|message| message.contains(words)), "{words}: {notice}");
        assert_eq!(filter.policy_hash()?, hash, "{words}");
        fs::write(scene.policy.join(list), before)?;
    }
    Ok(())
}

#[test]
fn a_list_that_grows_while_it_is_read_is_not_put_in_force_by_half() -> Result<()> {
    let scene = Scene::new()?;
    let filter = scene.start(&["--json"])?;
    let hash = filter.policy_hash()?;
    // Long enough for a reader to be at it when it grows.
    fs::write(scene.list(), "192.0.2.1\n".to_owned() + &"# comment\n".repeat(4 << 20))?;
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| -> Result<()> {
            let mut list = File::options().append(true).open(scene.list())?;
            while !is_done.load(Ordering::Relaxed) {
                list.write_all(b"192.0.2.7\n")?;
            }
            Ok(())
        });
        let refused = wait_until("a refusal", LIMIT, || {
            let (_, notice) = reload(&filter)?;
            let is_refused = messages(&notice).iter().any(|message| message.contains("it changed while it was read"));
            // A reader may come between two writes, and find a whole list.
            let is_whole = ["reloaded", "unchanged"].iter().any(|event| notice["event"] == *event);
            ensure!(is_refused || is_whole, "{notice}");
            Ok(is_refused.then_some(()))
        });
        is_done.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        refused
    })?;
    let (code, notice) = reload(&filter)?;
    assert_eq!(code, Some(0), "{notice}");
    assert_ne!(filter.policy_hash()?, hash, "at rest, it is read");
    Ok(())
}

/// A small file system, unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Result<Self> {
        fs::create_dir(&at)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&at);
        run(mount)?;
        Ok(Self(at))
    }

    /// Leaves no room on it.
    fn fill(&self) -> Result<()> {
        let mut file = File::create(self.0.join("ballast"))?;
        while file.write_all(&[b'x'; 4096]).is_ok() {}
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("failed to unmount {}: {unmounted:?}", self.0.display());
        }
    }
}

#[test]
fn on_a_full_disk_a_directory_still_comes_in_force_and_a_commit_that_cannot_be_fetched_does_not() -> Result<()> {
    let scene = Scene::new()?;
    let disk = SmallDisk::mount(scene.path("disk"))?;
    let state = disk.0.display().to_string();
    let mut filter = scene.start(&["--json", "--state-dir", &state])?;
    let hash = filter.policy_hash()?;
    disk.fill()?;
    fs::write(scene.list(), "192.0.2.2\n")?;
    let (code, notice) = reload(&filter)?;
    assert_eq!((code, &notice["event"]), (Some(0), &"reloaded".into()), "{notice}");
    assert_ne!(filter.policy_hash()?, hash);
    let errors = filter.process().stderr();
    assert!(errors.contains("failed to keep bad.txt for a rollback"), "{errors}");
    succeeded(&filter.detach()?)?;
    drop(filter);

    fs::remove_file(disk.0.join("ballast"))?;
    let work = scene.path("work");
    fs::create_dir(&work)?;
    git(&work, &["init", "--quiet", "--initial-branch=main"])?;
    let commit = |list: &str| -> Result<String> {
        fs::write(work.join("policy.toml"), POLICY)?;
        fs::write(work.join("bad.txt"), list)?;
        git(&work, &["add", "--all"])?;
        git(&work, &["commit", "--quiet", "--message=x"])?;
        git(&work, &["rev-parse", "HEAD"])
    };
    let first = commit("192.0.2.1\n")?;
    let url = format!("file://{}", work.display());
    let arguments = ["--json", "--policy-git", &url, "--poll", "1h", "--state-dir", &state];
    let options = FilterOptions { policy: Path::new(""), ..scene.options(&arguments, &[]) };
    let filter = Filter::start(&scene.wire, scene.scratch.path(), &options)?;
    assert_eq!(filter.status()?["commit"], first.as_str());
    disk.fill()?;
    let second = commit(
        &(0..50_000)
            .map(|number| format!("10.{}.{}.{}\n", number >> 14, number >> 7 & 127, number & 127))
            .collect::<String>(),
    )?;
    let (code, notice) = reload(&filter)?;
    assert_eq!((code, &notice["event"]), (Some(3), &"source-error".into()), "{notice}");
    let status = filter.status()?;
    assert_eq!(status["commit"], first.as_str(), "{status}");
    assert!(status["source"]["error"].is_string(), "{status}");
    fs::remove_file(disk.0.join("ballast"))?;
    let (code, notice) = reload(&filter)?;
    assert_eq!((code, &notice["commit"]), (Some(0), &second.into()), "{notice}");
    Ok(())
}

#[test]
fn errors_about_a_policy_stay_short_whatever_is_in_it() -> Result<()> {
    let scene = Scene::new()?;
    let filter = scene.start(&["--json"])?;
    let hash = filter.policy_hash()?;
    fs::write(scene.list(), format!("{}\n", "y".repeat(4000)).repeat(20_000))?;
    let keys: String = (0..20_000).map(|number| format!("{}{number} = 1\n", "k".repeat(300))).collect();
    fs::write(scene.policy.join("policy.toml"), format!("{keys}{POLICY}"))?;
    let output = filter.command("reload", &["--json"]).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.len() < 8 << 20, "{} bytes", output.stdout.len());
    assert_eq!(filter.policy_hash()?, hash);
    Ok(())
}

#[test]
fn the_end_waits_for_no_policy_that_is_being_read() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let scene = Scene::with_slow_git()?;
        let environment = scene.environment();
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut filter = Filter::start(&scene.wire, scene.scratch.path(), &scene.options(&["--json"], &environment))?;
        scene.read_slowly()?;
        filter.process().signal(signal)?;
        let status = filter.process().wait(LIMIT)?;
        assert!(status.success(), "{status}: {}", filter.process().last_words());
        let status = filter.status()?;
        assert_eq!((&status["filter"], &status["generation"]), (&"attached".into(), &1.into()), "{status}");
    }
    Ok(())
}

#[test]
fn detach_and_rollback_wait_for_no_policy_that_is_being_read() -> Result<()> {
    let scene = Scene::with_slow_git()?;
    let environment = scene.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut filter = Filter::start(&scene.wire, scene.scratch.path(), &scene.options(&["--json"], &environment))?;
    fs::write(scene.list(), "192.0.2.3\n")?;
    let (_, notice) = reload(&filter)?;
    assert_eq!(notice["generation"], 2, "{notice}");
    scene.read_slowly()?;
    let output = filter.command("rollback", &["--json"]).output()?;
    let notice: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&notice["event"], &notice["to"]), (&"rolled-back".into(), &1.into()), "{notice}");
    // The daemon answers, too.
    let status = filter.status()?;
    assert_eq!((&status["generation"], &status["held"]["generation"]), (&3.into(), &1.into()), "{status}");

    fs::remove_file(scene.path("waiting"))?;
    let mut release = filter.command("rollback", &["--release"]).spawn()?;
    scene.await_slow_git()?;
    succeeded(&filter.detach()?)?;
    assert!(!filter.pins().exists(), "something is left");
    let status = filter.process().wait(LIMIT)?;
    assert!(status.success(), "{status}");
    // Its answer was that nothing came of it.
    assert!(!release.wait()?.success());
    Ok(())
}

#[test]
fn a_daemon_that_is_still_starting_can_be_stopped_and_leaves_what_was_there() -> Result<()> {
    let scene = Scene::with_slow_git()?;
    let environment = scene.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    File::create(scene.path("slow"))?;
    let options = scene.options(&["--json"], &environment);
    let begin = |filter: &Filter| -> Result<()> {
        scene.await_slow_git()?;
        wait_until("the daemon's answer", LIMIT, || {
            Ok(filter.status().is_ok_and(|status| status["daemon"] == "starting").then_some(()))
        })?;
        Ok(fs::remove_file(scene.path("waiting"))?)
    };
    // At the first start there is nothing to leave.
    let mut filter = Filter::begin(&scene.wire, scene.scratch.path(), &options)?;
    begin(&filter)?;
    filter.process().signal(Signal::TERM)?;
    let status = filter.process().wait(LIMIT)?;
    assert!(status.success() && !filter.pins().exists(), "{status}: {}", filter.process().last_words());
    drop(filter);
    let mut filter = Filter::begin(&scene.wire, scene.scratch.path(), &options)?;
    begin(&filter)?;
    succeeded(&filter.detach()?)?;
    assert!(!filter.pins().exists());
    filter.process().wait(LIMIT)?;
    drop(filter);

    // A filter that is there stays, or is detached.
    fs::remove_file(scene.path("slow"))?;
    let mut filter = Filter::start(&scene.wire, scene.scratch.path(), &options)?;
    filter.kill()?;
    File::create(scene.path("slow"))?;
    filter.resume(&scene.wire, scene.scratch.path(), &options)?;
    begin(&filter)?;
    filter.process().signal(Signal::TERM)?;
    filter.process().wait(LIMIT)?;
    assert_eq!(filter.status()?["filter"], "attached");
    filter.resume(&scene.wire, scene.scratch.path(), &options)?;
    begin(&filter)?;
    succeeded(&filter.detach()?)?;
    assert!(!filter.pins().exists());
    Ok(())
}
