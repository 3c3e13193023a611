//! Policies from a git repository, on a real interface: followed, refused, and kept while nothing newer can be had.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter::{self, Filter, FilterOptions},
    netns::{Wire, WireOptions},
    process::{Spawned, run, wait_until},
    scratch,
};
use serde_json::Value;

/// Long enough for a commit to come in force, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A policy that drops what is from these addresses.
const POLICY: &str = "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
                      international_prefix = \"011\"\n[sets.bad]\naddresses = \"bad.txt\"\n[[rule]]\nname = \"bad\"\n\
                      match.source = \"@bad\"\naction = \"drop\"\n";

/// A wire, a working copy in which a policy is written, and the repository it is pushed to. Declare a [`Filter`] after it, so
/// that the filter is dropped first.
struct Scene {
    wire: Wire,
    binary: PathBuf,
    scratch: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let scene =
            Self { wire: Wire::new(&WireOptions::default())?, scratch: scratch()?, binary: filter::build(false)? };
        git(scene.path(), &["init", "--quiet", "--bare", "remote.git"])?;
        git(scene.path(), &["init", "--quiet", "--initial-branch=main", "work"])?;
        scene.push(&[("edge/policy.toml", POLICY), ("edge/bad.txt", "192.0.2.1\n"), ("README.md", "x\n")])?;
        Ok(scene)
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Commits these files and pushes them. Returns the commit.
    fn push(&self, files: &[(&str, &str)]) -> Result<String> {
        let work = self.path().join("work");
        for (name, content) in files {
            let path = work.join(name);
            fs::create_dir_all(path.parent().context("it has a folder")?)?;
            fs::write(path, content)?;
        }
        git(&work, &["add", "--all"])?;
        git(&work, &["commit", "--quiet", "--message=x"])?;
        git(&work, &["push", "--quiet", "--force", "../remote.git", "HEAD:refs/heads/main"])?;
        git(&work, &["rev-parse", "HEAD"])
    }

    fn url(&self) -> String {
        format!("file://{}", self.path().join("remote.git").display())
    }

    fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Filter> {
        Filter::start(&self.wire, self.path(), &self.options(arguments, environment))
    }

    fn options<'a>(&'a self, arguments: &'a [&'a str], environment: &'a [(&'a str, &'a str)]) -> FilterOptions<'a> {
        let (binary, policy) = (&self.binary, Path::new(""));
        FilterOptions { binary, interface: Wire::SERVER_INTERFACE, policy, arguments, environment }
    }
}

fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command.current_dir(directory).args(["-c", "user.name=x", "-c", "user.email=x@example.net"]).args(arguments);
    Ok(run(command)?.trim().to_owned())
}

fn await_commit(filter: &Filter, commit: &str) -> Result<Value> {
    wait_until(&format!("commit {commit} in force"), LIMIT, || {
        let status = filter.status()?;
        // The daemon notes it a moment after the kernel.
        let is_well = status["source"]["error"].is_null() && status["policy_error"].is_null();
        Ok((status["commit"] == commit && is_well).then_some(status))
    })
}

fn await_error(filter: &Filter, words: &str) -> Result<Value> {
    wait_until(&format!("error with {words:?}"), LIMIT, || {
        let status = filter.status()?;
        let found = ["/source/error", "/policy_error"]
            .iter()
            .any(|field| status.pointer(field).and_then(Value::as_str).is_some_and(|text| text.contains(words)));
        Ok(found.then_some(status))
    })
}

/// The exit status of `ringfence status`, and its text.
fn status_text(filter: &Filter) -> Result<(Option<i32>, String)> {
    let output = filter.command("status", &[]).output()?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?))
}

#[test]
fn a_branch_is_followed_and_whatever_happens_to_it_the_last_good_policy_stays() -> Result<()> {
    let scene = Scene::new()?;
    let url = scene.url();
    let arguments = ["--policy-git", &url, "--branch", "main", "--policy-path", "edge", "--poll", "1s", "--json"];
    let mut filter = scene.start(&arguments, &[])?;
    let first = git(&scene.path().join("work"), &["rev-parse", "HEAD"])?;
    let status = await_commit(&filter, &first)?;
    assert_eq!((&status["source"]["commit"], &status["source"]["path"]), (&first.as_str().into(), &"edge".into()));
    assert!(status["source"]["age"].is_u64() && status["source"]["fetched"].is_string(), "{status}");
    let (code, text) = status_text(&filter)?;
    assert!(code == Some(0) && text.contains(&format!("commit {}", &first[..12])), "{text}");

    // A newer list comes in force, in one generation.
    let second = scene.push(&[("edge/bad.txt", "192.0.2.1\n192.0.2.2\n")])?;
    let status = await_commit(&filter, &second)?;
    assert_eq!(status["generation"], 2, "{status}");

    // A commit that changes no file of the policy loads nothing.
    let third = scene.push(&[("README.md", "y\n")])?;
    let status = await_commit(&filter, &third)?;
    assert_eq!((&status["generation"], status_text(&filter)?.0), (&2.into(), Some(0)), "{status}");

    // A commit that does not check.
    let hash = filter.policy_hash()?;
    let broken = scene.push(&[("edge/policy.toml", "version = 1\n[[rule]]\n")])?;
    let status = await_error(&filter, "error")?;
    assert_eq!((&status["commit"], &status["source"]["commit"]), (&third.as_str().into(), &broken.as_str().into()));
    assert_eq!(status["policy_hash"], hash.as_str(), "{status}");
    let (code, text) = status_text(&filter)?;
    assert!(code == Some(1) && text.contains("the newest commit is not in force"), "{text}");

    // History is rewritten: accepted, and said so.
    git(&scene.path().join("work"), &["reset", "--quiet", "--hard", &first])?;
    let rewritten = scene.push(&[("edge/bad.txt", "192.0.2.3\n")])?;
    let status = await_commit(&filter, &rewritten)?;
    assert_eq!((&status["policy_error"], status_text(&filter)?.0), (&Value::Null, Some(0)), "{status}");
    let output = filter.process().stdout();
    assert!(output.contains(r#""event":"source-rewritten""#), "{output}");

    // A link out of the repository.
    std::os::unix::fs::symlink("/etc/passwd", scene.path().join("work/edge/passwd"))?;
    scene.push(&[("edge/policy.toml", &POLICY.replace("bad.txt", "passwd"))])?;
    let status = await_error(&filter, "error")?;
    assert_eq!(status["commit"], rewritten.as_str(), "{status}");
    let output = filter.process().stdout();
    assert!(output.contains("a symbolic link leads out of the repository") && !output.contains("root:"), "{output}");
    let good = scene.push(&[("edge/policy.toml", POLICY)])?;
    await_commit(&filter, &good)?;

    // The remote is gone; a daemon that starts meanwhile uses what was fetched last.
    fs::rename(scene.path().join("remote.git"), scene.path().join("away.git"))?;
    let status = await_error(&filter, "failed to fetch")?;
    assert_eq!((&status["commit"], status_text(&filter)?.0), (&good.as_str().into(), Some(1)), "{status}");
    filter.kill()?;
    let pins = filter.pins().to_owned();
    fs::remove_dir_all(&pins)?;
    filter.restart(&scene.wire, scene.path(), &scene.options(&arguments, &[]))?;
    let status = await_error(&filter, "failed to fetch")?;
    assert_eq!((&status["commit"], &status["filter"]), (&good.as_str().into(), &"attached".into()), "{status}");
    fs::rename(scene.path().join("away.git"), scene.path().join("remote.git"))?;
    await_commit(&filter, &good)?;

    // The branch is gone.
    git(&scene.path().join("remote.git"), &["update-ref", "-d", "refs/heads/main"])?;
    let status = await_error(&filter, "there is no branch main in the repository")?;
    assert_eq!(status["commit"], good.as_str(), "{status}");
    Ok(())
}

#[test]
fn a_branch_is_followed_over_ssh_and_only_signed_commits_count() -> Result<()> {
    let scene = Scene::new()?;
    let host = Host::start(&scene)?;
    let signer = key(&scene, "signer")?;
    let signers = scene.path().join("allowed_signers");
    fs::write(&signers, format!("signer@example.net {}", fs::read_to_string(signer.with_extension("pub"))?))?;
    let work = scene.path().join("work");
    git(&work, &["config", "gpg.format", "ssh"])?;
    git(&work, &["config", "user.signingKey", &signer.display().to_string()])?;
    git(&work, &["config", "commit.gpgSign", "true"])?;
    let signed = scene.push(&[("edge/bad.txt", "192.0.2.9\n")])?;

    let configuration = scene.path().join("ringfence.toml");
    let text = format!(
        "version = 1\n[policy]\ngit = \"{}\"\npath = \"edge\"\npoll = \"1s\"\nallowed_signers = \"allowed_signers\"\n",
        host.url(&scene.path().join("remote.git"))
    );
    fs::write(&configuration, text)?;
    let configuration = configuration.display().to_string();
    let ssh = host.command();
    let mut filter = scene.start(&["--config", &configuration], &[("GIT_SSH_COMMAND", &ssh)])?;
    await_commit(&filter, &signed)?;

    git(&work, &["config", "commit.gpgSign", "false"])?;
    let unsigned = scene.push(&[("edge/bad.txt", "192.0.2.10\n")])?;
    let status = await_error(&filter, &format!("commit {} is not signed by a key in", &unsigned[..12]))?;
    assert_eq!((&status["commit"], &status["source"]["commit"]), (&signed.as_str().into(), &unsigned.as_str().into()));
    assert_eq!(status_text(&filter)?.0, Some(1));
    let (out, err) = (filter.process().stdout(), filter.process().stderr());
    assert!(err.contains("is not signed by a key"), "{out}{err}");

    git(&work, &["config", "commit.gpgSign", "true"])?;
    let again = scene.push(&[("edge/bad.txt", "192.0.2.11\n")])?;
    await_commit(&filter, &again)?;
    Ok(())
}

#[test]
fn touching_a_file_or_saving_one_that_the_policy_does_not_use_loads_nothing_and_prints_nothing() -> Result<()> {
    let scene = Scene::new()?;
    let directory = scene.path().join("work/edge");
    let policy = directory.display().to_string();
    // The last `--policy` counts.
    let options = FilterOptions { policy: &directory, ..scene.options(&["--interval", "3600"], &[]) };
    let mut filter = Filter::start(&scene.wire, scene.path(), &options)?;
    let head = git(&directory, &["rev-parse", "HEAD"])?;
    assert_eq!(filter.status()?["commit"], head.as_str());
    let before = filter.process().stdout() + &filter.process().stderr();
    assert!(before.contains(&policy), "{before}");

    let touch = |name: &str| fs::write(directory.join(name), fs::read(directory.join(name)).unwrap_or_default());
    touch("policy.toml")?;
    touch("bad.txt")?;
    touch("README.md")?;
    fs::write(directory.join("unused.txt"), "192.0.2.66\n")?;
    // A commit changes nothing either, but is noted: so far has the daemon looked.
    git(&directory, &["add", "--all"])?;
    git(&directory, &["commit", "--quiet", "--message=x"])?;
    fs::write(directory.join("unused.txt"), "192.0.2.67\n")?;
    let head = git(&directory, &["rev-parse", "HEAD"])?;
    let status = await_commit(&filter, &head)?;
    assert_eq!(status["generation"], 1, "{status}");
    assert_eq!(filter.process().stdout() + &filter.process().stderr(), before);

    // What the policy uses is loaded, and marked: it is in no commit.
    fs::write(directory.join("bad.txt"), "192.0.2.5\n")?;
    let status = await_commit(&filter, &format!("{head}-dirty"))?;
    assert_eq!(status["generation"], 2, "{status}");
    let (_, text) = status_text(&filter)?;
    assert!(text.contains(&format!("commit {}-dirty", &head[..12])), "{text}");
    Ok(())
}

#[test]
fn reloads_that_change_nothing_are_said_once_and_failures_go_to_standard_error() -> Result<()> {
    let scene = Scene::new()?;
    let directory = scene.path().join("work/edge");
    let options = FilterOptions { policy: &directory, ..scene.options(&["--interval", "3600"], &[]) };
    let mut filter = Filter::start(&scene.wire, scene.path(), &options)?;
    for _ in 0..3 {
        let output = filter.command("reload", &[]).output()?;
        let text = String::from_utf8(output.stdout)?;
        assert!(output.status.success() && text.starts_with("the policy ("), "{text}");
    }
    // The answers come before the log.
    let said = |filter: &mut Filter| filter.process().stdout().matches("is in force already").count();
    wait_until("log of it", LIMIT, || Ok((said(&mut filter) > 0).then_some(())))?;

    fs::write(directory.join("bad.txt"), "192.0.2.5\nno address\n")?;
    let error = wait_until("error", LIMIT, || {
        let error = filter.process().stderr();
        Ok(error.contains("cannot be used: 1 error").then_some(error))
    })?;
    assert!(error.contains("bad.txt:2"), "{error}");
    let out = filter.process().stdout();
    assert!(!out.contains("cannot be used"), "{out}");
    assert_eq!(said(&mut filter), 1, "{out}");
    Ok(())
}

/// What `ringfence reload --json` says, and its exit status.
fn reload(filter: &Filter) -> Result<(Option<i32>, Value)> {
    let output = filter.command("reload", &["--json"]).output()?;
    let notice = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no notice: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((output.status.code(), notice))
}

#[test]
fn reload_looks_now_and_says_what_came_of_it() -> Result<()> {
    let scene = Scene::new()?;
    let url = scene.url();
    let mut filter = scene.start(&["--policy-git", &url, "--policy-path", "edge", "--poll", "1h"], &[])?;
    let (code, notice) = reload(&filter)?;
    assert_eq!((code, &notice["event"], &notice["generation"]), (Some(0), &"unchanged".into(), &1.into()), "{notice}");

    let commit = scene.push(&[("edge/bad.txt", "192.0.2.2\n")])?;
    let (code, notice) = reload(&filter)?;
    assert_eq!((code, &notice["event"], &notice["commit"]), (Some(0), &"reloaded".into(), &commit.as_str().into()));
    assert_eq!(filter.status()?["commit"], commit.as_str(), "it is in force when the command ends");

    let broken = scene.push(&[("edge/policy.toml", "version = 1\n[[rule]]\nnmae = \"x\"\n")])?;
    let (code, notice) = reload(&filter)?;
    assert_eq!((code, &notice["event"], &notice["commit"]), (Some(1), &"policy-error".into(), &broken.as_str().into()));
    let output = filter.command("reload", &[]).output()?;
    let text = String::from_utf8(output.stderr)?;
    assert!(text.contains("unknown key `nmae`") && text.contains("--> policy.toml:3:1"), "{text}");
    assert!(text.contains("did you mean `name`?") && text.contains("the one before stays in force"), "{text}");

    fs::remove_dir_all(scene.path().join("remote.git"))?;
    let (code, notice) = reload(&filter)?;
    assert_eq!((code, &notice["event"]), (Some(3), &"source-error".into()), "{notice}");
    assert_eq!(filter.status()?["commit"], commit.as_str());

    filter.kill()?;
    let output = filter.command("reload", &[]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && text.contains("no daemon of the filter in"), "{text}");
    Ok(())
}

/// Makes a key pair.
fn key(scene: &Scene, name: &str) -> Result<PathBuf> {
    let path = scene.path().join(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path);
    run(command)?;
    Ok(path)
}

/// An SSH server on the loopback interface of the filter's namespace.
struct Host {
    known_hosts: PathBuf,
    key: PathBuf,
    _server: Spawned,
}

impl Host {
    /// The namespace is the test's own, so the port is free.
    const PORT: u16 = 2222;

    fn start(scene: &Scene) -> Result<Self> {
        let (host_key, user_key) = (key(scene, "host")?, key(scene, "user")?);
        let keys = scene.path().join("authorized_keys");
        fs::copy(user_key.with_extension("pub"), &keys)?;
        let known_hosts = scene.path().join("known_hosts");
        let public = fs::read_to_string(host_key.with_extension("pub"))?;
        fs::write(&known_hosts, format!("[127.0.0.1]:{} {public}", Self::PORT))?;
        let configuration = scene.path().join("sshd_config");
        let text = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
             PasswordAuthentication no\nPermitRootLogin prohibit-password\n",
            Self::PORT,
            host_key.display(),
            keys.display()
        );
        fs::write(&configuration, text)?;
        // The server wants a directory in /run: it gets a /run of its own.
        let script = format!(
            "mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec \"$(command -v sshd)\" -D -e -f {}",
            configuration.display()
        );
        let mut command = scene.wire.server.command("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        let mut server = Spawned::start("sshd", command, scene.path())?;
        server.wait_until("SSH server", Duration::from_secs(20), |server| {
            Ok(server.stderr().contains("Server listening on").then_some(()))
        })?;
        Ok(Self { known_hosts, key: user_key, _server: server })
    }

    fn url(&self, repository: &Path) -> String {
        format!("ssh://root@127.0.0.1:{}{}", Self::PORT, repository.display())
    }

    fn command(&self) -> String {
        format!(
            "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -i {} -o UserKnownHostsFile={}",
            self.key.display(),
            self.known_hosts.display()
        )
    }
}

#[test]
fn a_repository_that_cannot_be_followed_is_refused_before_anything_is_attached() -> Result<()> {
    let scene = Scene::new()?;
    let pins = filter::unique_pins();
    let start = |url: &str| -> Result<(Option<i32>, String)> {
        let mut command = scene.wire.server.command(&scene.binary.to_string_lossy());
        command.args(["run", "--interface", Wire::SERVER_INTERFACE, "--policy-git", url]);
        command.arg("--pin-dir").arg(&pins).arg("--socket").arg(scene.path().join("socket"));
        command.arg("--state-dir").arg(scene.path().join("state")).current_dir(scene.path());
        let output = command.output()?;
        ensure!(!pins.exists(), "{} was not removed", pins.display());
        Ok((output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()))
    };
    let (code, text) = start("ext::sh -c id")?;
    assert!(code == Some(2) && text.contains("help: use `ssh://"), "{text}");
    let (code, text) = start("file:///nonexistent/policy.git")?;
    assert!(code == Some(1) && text.contains("failed to fetch") && text.contains("/nonexistent/policy.git"), "{text}");
    Ok(())
}
