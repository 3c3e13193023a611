//! `ringfence top` in a real terminal.

use std::{
    fs,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use ringfence_tests::{
    filter::{self, Filter, FilterOptions, Site},
    message::Message,
    netns::Wire,
    packet::Packet,
    process::{run, wait_until},
    raw,
};
use rustix::process::{Pid, Signal, kill_process};

const POLICY: &str = r#"version = 1
default = "pass"

[network]
udp = [5060]

[numbering]
country_code = "1"

[[rule]]
name = "scanners"
match.user_agent = ["friendly-scanner"]
action = "drop"

[[rule]]
name = "dear"
match.called = ["1900"]
action = "drop"
mode = "report"
"#;

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// A filter with a policy, and traffic in its samples.
struct Scene {
    filter: Filter,
    wire: Wire,
    scratch: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let site = Site::new(&[("policy.toml", POLICY)])?;
        let filter = site.start(&[])?;
        let Site { wire, scratch, .. } = site;
        let scans = (0..30).map(|_| invite("192.0.2.66", "+12125550142", "friendly-scanner"));
        let dear = (0..10).map(|_| invite("192.0.2.77", "+19005550142", "phone"));
        let ordinary = (0..20).map(|_| invite("198.51.100.9", "+12125550142", "phone"));
        let frames: Vec<Vec<u8>> = scans.chain(dear).chain(ordinary).collect();
        raw::send(&wire.network, Wire::NETWORK_INTERFACE, &frames)?;
        Ok(Self { filter, wire, scratch })
    }

    /// A terminal with a shell, in which `top` is a command.
    fn terminal(&self) -> Result<Terminal> {
        let terminal = Terminal::new()?;
        let command = self.filter.command("top", &["--last", "10m"]);
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let script = self.scratch.path().join("top");
        fs::write(&script, format!("exec {}\n", words.join(" ")))?;
        let script = script.to_str().context("a path in UTF-8")?;
        terminal.types(&format!("PS1='shell> '; top() {{ sh {script}; }}; clear\n"))?;
        terminal.wait("an empty screen", |screen| screen.trim() == "shell>")?;
        Ok(terminal)
    }
}

fn invite(source: &str, called: &str, agent: &str) -> Vec<u8> {
    let message = Message::invite().calling("+13125550100").called(called).set("User-Agent", agent);
    Packet::udp(message.bytes()).from(source).frame()
}

/// A terminal of 80 columns and 24 lines, in a server of its own, which ends with it.
struct Terminal {
    /// Where the server's socket is. It goes with the terminal, whatever becomes of the test.
    directory: tempfile::TempDir,
}

impl Terminal {
    fn new() -> Result<Self> {
        let terminal = Self { directory: tempfile::tempdir()? };
        let mut command =
            terminal.command(&["-u", "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "sh"]);
        command.env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR").env_remove("TMUX");
        run(command)?;
        Ok(terminal)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.env("TMUX_TMPDIR", self.directory.path()).args(["-L", "test"]).args(arguments);
        command
    }

    /// The names of keys, as tmux has them.
    fn press(&self, keys: &[&str]) -> Result<()> {
        run(self.command(&[&["send-keys"], keys].concat())).map(|_| ())
    }

    fn types(&self, text: &str) -> Result<()> {
        let (text, enter): (&str, &[&str]) = match text.strip_suffix('\n') {
            Some(text) => (text, &["Enter"]),
            None => (text, &[]),
        };
        run(self.command(&["send-keys", "-l", text]))?;
        if enter.is_empty() { Ok(()) } else { self.press(enter) }
    }

    fn screen(&self) -> Result<String> {
        run(self.command(&["capture-pane", "-p"]))
    }

    /// What tmux knows of the terminal.
    fn knows(&self, format: &str) -> Result<String> {
        Ok(run(self.command(&["display-message", "-p", format]))?.trim().to_owned())
    }

    /// Waits until the screen shows what is expected of it, and returns it.
    fn wait(&self, what: &str, is_there: impl Fn(&str) -> bool) -> Result<String> {
        let mut last = String::new();
        let found = wait_until(what, LIMIT, || {
            last = self.screen()?;
            Ok(is_there(&last).then_some(()))
        });
        match found {
            Ok(()) => Ok(last),
            Err(error) => bail!("{error:#}; the screen is\n{last}"),
        }
    }

    /// The process that the shell has started.
    fn child(&self) -> Result<Pid> {
        let shell = self.knows("#{pane_pid}")?;
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
        let child = children.trim().parse().with_context(|| format!("not one child: {children:?}"))?;
        Pid::from_raw(child).context("a process has a number")
    }

    /// Starts `top`, and waits for its rows.
    fn start(&self) -> Result<String> {
        self.types("top\n")?;
        self.wait("thirty scans", |screen| screen.contains("> scanners") && screen.contains("60 packets in "))
    }

    /// Waits until the shell has the terminal again, as it was before: its lines, its cursor, and its echo.
    fn is_restored(&self) -> Result<()> {
        self.wait("the shell's screen", |screen| screen.starts_with("shell> top\nshell>"))?;
        ensure!(self.knows("#{alternate_on} #{cursor_flag}")? == "0 1", "the terminal is not as it was");
        self.types("echo w$((20 + 3))\n")?;
        self.wait("an echo", |screen| screen.contains("shell> echo w$((20 + 3))\nw23\n"))?;
        self.types("clear\n")?;
        self.wait("an empty screen", |screen| screen.trim() == "shell>").map(|_| ())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let killed: std::io::Result<Output> = self.command(&["kill-server"]).stdin(Stdio::null()).output();
        if let Err(error) = killed {
            eprintln!("failed to end tmux: {error}");
        }
    }
}

/// True if a socket is in one of the directory's directories.
fn holds_a_socket(directory: &Path) -> Result<bool> {
    for entry in fs::read_dir(directory)? {
        for file in fs::read_dir(entry?.path())? {
            if file?.file_type()?.is_socket() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[test]
fn top_is_a_screen_in_a_terminal_and_leaves_it_as_it_was() -> Result<()> {
    let scene = Scene::new()?;
    let terminal = scene.terminal()?;
    let screen = terminal.start()?;
    assert!(screen.contains("[1 rules] 2 sources"), "{screen}");
    assert!(screen.contains("rules, last 10m, by packets\n"), "{screen}");
    let row = screen.lines().find(|line| line.starts_with("> scanners")).context("no row")?;
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[..6], [">", "scanners", "30", "0", "0", "30"], "{row}");
    assert!(words[6..].concat().contains('█'), "the scans came all in one part of the time: {row}");

    // From the rule in report mode to its sources, and on to the number that they call.
    terminal.press(&["Down"])?;
    terminal.wait("another row", |screen| screen.contains("\n> -  ") || screen.contains("\n> dear"))?;
    terminal.press(&["Down"])?;
    terminal.wait("the rule in report mode", |screen| screen.contains("\n> dear"))?;
    terminal.press(&["Enter"])?;
    terminal.wait("its sources", |screen| {
        screen.contains("sources, last 10m, by packets, rule dear\n") && screen.contains("\n> 192.0.2.77  ")
    })?;
    terminal.press(&["Enter"])?;
    terminal
        .wait("its number", |screen| screen.contains(", source 192.0.2.77\n") && screen.contains("\n> 19005550142 "))?;
    terminal.press(&["BSpace"])?;
    terminal.press(&["BSpace"])?;
    terminal.wait("the rules", |screen| screen.contains("[1 rules]") && screen.contains("\n> dear"))?;

    terminal.types("2")?;
    terminal.wait("the sources", |screen| screen.contains("[2 sources]") && screen.contains("\n> 192.0.2.66 "))?;
    terminal.types("/198")?;
    terminal.wait("one source", |screen| screen.contains("\n> 198.51.100.9 ") && !screen.contains("192.0.2.66"))?;
    terminal.press(&["Enter"])?;
    terminal.wait("the filter", |screen| screen.contains(", with \"198\"\n"))?;
    terminal.types("p")?;
    terminal.wait("the pause", |screen| screen.contains(" PAUSED since "))?;
    terminal.types("p7")?;
    let interface = format!("interfaces   {} filtered (", Wire::SERVER_INTERFACE);
    let health = terminal.wait("the health", |screen| screen.contains(&interface))?;
    assert!(health.contains("   policy       generation 1, in no repository, in force for "), "{health}");
    assert!(!health.contains("PAUSED"), "{health}");

    // Other sizes.
    run(terminal.command(&["resize-window", "-x", "50", "-y", "10"]))?;
    terminal.wait("a word about its size", |screen| screen.starts_with("50x10 is too small\nneeds 60x15\n"))?;
    run(terminal.command(&["resize-window", "-x", "120", "-y", "40"]))?;
    terminal.wait("the health", |screen| screen.contains(&interface))?;
    run(terminal.command(&["resize-window", "-x", "80", "-y", "24"]))?;
    terminal.types("q")?;
    terminal.is_restored()?;

    // Control-C is a key here, and SIGTERM is not.
    terminal.start()?;
    terminal.press(&["C-c"])?;
    terminal.is_restored()?;
    terminal.start()?;
    kill_process(terminal.child()?, Signal::TERM)?;
    terminal.is_restored()?;

    // The terminal goes, with all that belongs to it.
    terminal.start()?;
    let process = terminal.child()?;
    let directory = terminal.directory.path().to_owned();
    assert!(holds_a_socket(&directory)?, "tmux keeps its socket in {}", directory.display());
    drop(terminal);
    assert!(!directory.exists(), "{}", directory.display());
    let stat = format!("/proc/{}/stat", process.as_raw_nonzero());
    wait_until("end of a process without a terminal", LIMIT, || {
        // Its parent has ended, too: who reaps it is up to the system.
        let is_running = fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        Ok((!is_running).then_some(()))
    })
}

#[test]
fn a_daemon_that_ends_is_said_on_the_screen_and_one_that_comes_again_is_asked() -> Result<()> {
    let mut scene = Scene::new()?;
    let terminal = scene.terminal()?;
    terminal.start()?;
    scene.filter.kill()?;
    // (An answer that it had begun is another error, until it is asked again.)
    let screen = terminal.wait("a word about the daemon", |screen| screen.contains("\n!! no daemon answers at "))?;
    assert!(screen.contains("NO ANSWER since "), "{screen}");
    assert!(screen.contains("\n> scanners "), "what was known stays: {screen}");
    let policy = scene.scratch.path().join("policy");
    let binary = filter::build(!cfg!(debug_assertions))?;
    let options = FilterOptions::new(&binary, Wire::SERVER_INTERFACE, &policy);
    scene.filter.restart(&scene.wire, scene.scratch.path(), &options)?;
    // It has no samples of the time before it.
    terminal
        .wait("the daemon that came", |screen| !screen.contains("NO ANSWER") && screen.contains("\nno packets\n"))?;
    terminal.press(&["Escape"])?;
    terminal.is_restored()
}

#[test]
fn without_a_terminal_or_with_once_top_is_a_table() -> Result<()> {
    let scene = Scene::new()?;
    let sorted = ["--sort", "dropped", "--rows", "1"];
    let table = wait_until("sixty samples", LIMIT, || {
        let table = run(scene.filter.command("top", &sorted))?;
        Ok(table.starts_with("60 packets in ").then_some(table))
    })?;
    assert!(table.contains("\n192.0.2.66 ") && table.ends_with("and 2 more\n"), "{table}");
    let called = run(scene.filter.command("top", &["--by", "called", "--source", "192.0.2.77"]))?;
    assert!(called.starts_with("10 packets in ") && called.contains("\n19005550142 "), "{called}");
    let source = run(scene.filter.command("top", &["--called", "+19005550142"]))?;
    assert!(source.starts_with("10 packets in ") && source.contains("\n192.0.2.77 "), "{source}");

    let terminal = scene.terminal()?;
    let script = scene.scratch.path().join("top");
    let once = fs::read_to_string(&script)?.trim_end().to_owned() + " --once\n";
    fs::write(&script, once)?;
    terminal.types("top\n")?;
    terminal.wait("the table", |screen| screen.contains("\n192.0.2.66 ") && screen.contains("\nshell>"))?;
    Ok(())
}
