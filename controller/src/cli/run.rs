//! `ringfence run`: the daemon.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use super::{EXIT_USAGE, coloured, place};
use crate::{
    api::DEFAULT_SOCKET,
    config::{self, Configuration},
    daemon::{self, Options},
    deploy::Target,
    kernel::{DEFAULT_PIN_DIRECTORY, Interface, ModeChoice, Pins},
    repository::{
        DEFAULT_POLL, DEFAULT_STATE, LONGEST_POLL, Reference, Remote, Source, path_mistake, reference_mistake,
        url_mistake,
    },
    telemetry::DEFAULT_SAMPLES,
};
use clap::builder::RangedU64ValueParser;
use filter_policy::{
    bounds::LIST_BYTES,
    language::{diagnostics::Diagnostics, printable::json_line, quantity},
};

/// Seconds between two tables, unless something else is asked for.
const INTERVAL: f64 = 1.0;

/// Run the filter: load a policy, attach it, follow its changes, show what is dropped
///
/// What to run is said by options, by a configuration file, or by both: an option overrides the file. `ringfence schema --daemon` gives
/// editors the file's keys.
///
/// The filter is in the kernel and does not need this process. When the process ends (Ctrl-C, SIGTERM, even SIGKILL), the
/// last policy stays in force, and the next `ringfence run` takes over. `ringfence detach` removes the filter; with
/// --detach-on-exit, it is removed when this process ends.
///
/// When the policy's files change, when its git branch has a new commit, or on SIGHUP, the new policy comes into force in one
/// step. If it has errors, they are shown and nothing changes.
///
/// A policy in a git repository is fetched by `git`, with the credentials that the user of this process has set up for it. While
/// the repository cannot be reached, the last commit stays in force, also across a restart.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the daemon was asked to end, and ended
  1  the policy has errors
  2  bad usage or input: no policy or no interface, or a configuration with errors
  3  the system refused: no permission, no interface, a kernel too old, the verifier

Examples:
  ringfence run --interface eth0 --policy /etc/ringfence/policy --report
  ringfence run --interface eth0 --policy /etc/ringfence/policy
  ringfence run --config /etc/ringfence/ringfence.toml
  ringfence run --interface eth0 --policy-git ssh://git@git.example.net/policy.git --branch main --policy-path edges/fra1
  ringfence run --interface eth0 --interface eth1 --policy policies --json
  ringfence run --interface eth0 --policy policies --mode generic --detach-on-exit")]
pub struct RunArgs {
    /// The configuration file [default: /etc/ringfence/ringfence.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Network interface to filter on; may be given several times. The file's interfaces then do not count
    #[arg(short, long = "interface", value_name = "IF")]
    pub interfaces: Vec<String>,
    /// The policy repository: a directory with a `policy.toml` in it
    #[arg(short, long, value_name = "DIR")]
    pub policy: Option<PathBuf>,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Where the XDP program runs on all interfaces: in the driver (native), or in the network stack (generic) [default: auto]
    #[arg(long, value_enum)]
    pub mode: Option<ModeChoice>,
    /// Seconds between tables [default: 1]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub interval: Option<f64>,
    /// Drop nothing: every rule only counts and reports what it would have done, as with `mode = "report"` at the head of the policy
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub report: Option<bool>,
    /// Remove the filter when this process ends
    #[arg(long)]
    pub detach_on_exit: bool,
    /// Print failures only: neither other notices nor the table
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
    /// The most bytes of all lists of the policy together [default: 1073741824]
    #[arg(long, value_name = "BYTES", value_parser = list_bytes())]
    pub max_list_bytes: Option<u64>,
    /// Print JSON, one object per line
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub json: Option<bool>,
    /// Offer metrics to Prometheus at this address, such as 127.0.0.1:9469
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub prometheus: Option<SocketAddr>,
    /// Append packet events and notices as JSON lines to this file, which may be rotated at any time
    #[arg(long, value_name = "FILE")]
    pub events_file: Option<PathBuf>,
    /// Directory on a BPF file system that holds the filter's state [default: /sys/fs/bpf/ringfence]
    #[arg(long, value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
    /// Directory for what is needed across restarts, such as the copy of a git repository [default: /var/lib/ringfence]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Unix socket of the daemon [default: /run/ringfence/ringfence.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// A policy in a git repository.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RemoteArgs {
    /// A git repository with the policy, followed instead of a directory: ssh, https or file
    #[arg(long, value_name = "URL", conflicts_with = "policy")]
    pub policy_git: Option<String>,
    /// The branch that is followed [default: main]
    #[arg(long, value_name = "NAME", requires = "policy_git", conflicts_with = "tag")]
    pub branch: Option<String>,
    /// The tag that is followed, instead of a branch
    #[arg(long, value_name = "NAME", requires = "policy_git")]
    pub tag: Option<String>,
    /// The policy's directory in the git repository
    #[arg(long, value_name = "PATH", requires = "policy_git", value_parser = path_in_repository)]
    pub policy_path: Option<PathBuf>,
    /// Time between two looks at the git repository, such as 30s [default: 30s]
    #[arg(long, value_name = "TIME", requires = "policy_git", value_parser = poll)]
    pub poll: Option<Duration>,
    /// Only commits signed by an SSH key in this file come in force
    #[arg(long, value_name = "FILE", requires = "policy_git")]
    pub allowed_signers: Option<PathBuf>,
}

impl RemoteArgs {
    /// The repository, if one is named.
    ///
    /// # Errors
    /// Git would understand its URL or its branch as something else.
    pub(super) fn remote(self) -> Result<Option<Remote>, Unusable> {
        let Some(url) = self.policy_git else { return Ok(None) };
        let reference = match (self.branch, self.tag) {
            (_, Some(tag)) => Reference::Tag(tag),
            (Some(branch), None) => Reference::Branch(branch),
            (None, None) => Reference::default(),
        };
        let mistake = url_mistake(&url, self.allowed_signers.is_some()).or_else(|| reference_mistake(&reference));
        if let Some((mistake, help)) = mistake {
            return Err(Unusable { mistake, help });
        }
        Ok(Some(Remote {
            url,
            reference,
            path: self.policy_path,
            poll: self.poll.unwrap_or(DEFAULT_POLL),
            allowed_signers: self.allowed_signers,
        }))
    }
}

/// Reads a limit of the bytes of all lists.
pub(super) fn list_bytes() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(config::LIST_BYTES_RANGE)
}

fn path_in_repository(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path_mistake(&path) {
        None => Ok(path),
        Some((mistake, help)) => Err(format!("{mistake}: {help}")),
    }
}

fn poll(text: &str) -> Result<Duration, String> {
    match quantity::duration(text).filter(|seconds| *seconds <= LONGEST_POLL) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("give a time from 1s to 1d".to_owned()),
    }
}

/// A git repository that cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("{mistake}")]
pub struct Unusable {
    mistake: String,
    /// What to do instead.
    pub help: &'static str,
}

/// What `ringfence run` has not been told.
#[derive(Debug, thiserror::Error)]
#[error("nothing to run: there is {}{}", self.missing(), self.read_from())]
pub struct Incomplete {
    lacks_policy: bool,
    lacks_interface: bool,
    /// The configuration that was read; none if there is none.
    configuration: Option<PathBuf>,
}

impl Incomplete {
    fn missing(&self) -> &'static str {
        match (self.lacks_policy, self.lacks_interface) {
            (true, false) => "no policy (`--policy DIR`)",
            (false, _) => "no interface (`--interface IF`)",
            (true, true) => "no policy (`--policy DIR`) and no interface (`--interface IF`)",
        }
    }

    fn read_from(&self) -> String {
        match &self.configuration {
            Some(path) => format!(", and {} names none", path.display()),
            None => format!(", and no configuration {}", config::DEFAULT_PATH),
        }
    }

    /// The commands that help.
    #[must_use]
    pub fn help(&self) -> String {
        let run = "`ringfence run --interface eth0 --policy policies --report` runs a policy and drops nothing";
        if self.lacks_policy {
            format!("`ringfence init policies` writes a sample policy, in report mode; then {run}")
        } else {
            format!("`ip -brief link` lists the interfaces; {run}")
        }
    }
}

/// Runs `ringfence run`.
///
/// # Errors
/// The daemon could not start.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let path = place::configuration(args.config.clone());
    let configuration = match path.as_deref().map(Configuration::read) {
        None => Configuration::default(),
        Some(Ok(configuration)) => configuration,
        Some(Err(diagnostics)) => {
            show(&diagnostics, args.json == Some(true));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    daemon::run(options(args, configuration, path.as_deref())?)?;
    Ok(ExitCode::SUCCESS)
}

fn show(diagnostics: &Diagnostics, json: bool) {
    if json {
        diagnostics.iter().for_each(|diagnostic| eprintln!("{}", json_line(&diagnostic.to_json())));
    } else {
        eprint!("{}", diagnostics.render(coloured(&io::stderr()), None));
        eprintln!("ringfence: the configuration cannot be used ({})", diagnostics.totals());
    }
}

/// What the daemon is to do: as the options say, or else the file.
fn options(args: RunArgs, file: Configuration, path: Option<&Path>) -> anyhow::Result<Options> {
    let mut interfaces = if args.interfaces.is_empty() {
        file.interfaces
    } else {
        let mut seen = HashSet::new();
        let names = args.interfaces.into_iter().filter(|name| seen.insert(name.clone()));
        names.map(|name| Interface { name, mode: ModeChoice::default() }).collect()
    };
    if let Some(mode) = args.mode {
        interfaces.iter_mut().for_each(|interface| interface.mode = mode);
    }
    let lacks_interface = interfaces.is_empty();
    let named = args.remote.remote()?.map(Source::Git).or(args.policy.map(Source::Directory));
    let source = match named.or(file.policy) {
        Some(source) if !lacks_interface => absolute(source)?,
        policy => {
            let configuration = path.map(Path::to_owned);
            return Err(Incomplete { lacks_policy: policy.is_none(), lacks_interface, configuration }.into());
        }
    };
    let pins = args.pin_dir.or(file.pins).unwrap_or_else(|| DEFAULT_PIN_DIRECTORY.into());
    let mut outputs = file.outputs;
    outputs.file = args.events_file.or(outputs.file);
    Ok(Options {
        edge: file.edge,
        target: Target { pins: Pins::new(&pins), interfaces, report: args.report.or(file.report).unwrap_or(false) },
        source,
        state: args.state_dir.or(file.state).unwrap_or_else(|| DEFAULT_STATE.into()),
        socket: args.socket.or(file.socket).unwrap_or_else(|| DEFAULT_SOCKET.into()),
        interval: args
            .interval
            .map(Duration::from_secs_f64)
            .or(file.interval)
            .unwrap_or(Duration::from_secs_f64(INTERVAL)),
        list_bytes: args.max_list_bytes.or(file.list_bytes).unwrap_or(LIST_BYTES),
        json: args.json.or(file.json).unwrap_or(false),
        quiet: args.quiet,
        prometheus: args.prometheus.or(file.prometheus),
        outputs,
        responder: file.responder,
        samples: file.samples.unwrap_or(DEFAULT_SAMPLES),
        detach_on_exit: args.detach_on_exit,
    })
}

/// The source, so that git finds its files from any working directory.
pub(super) fn absolute(source: Source) -> io::Result<Source> {
    let Source::Git(mut remote) = source else { return Ok(source) };
    remote.allowed_signers = remote.allowed_signers.map(std::path::absolute).transpose()?;
    let is_local = !remote.url.contains("://") && (remote.url.starts_with(['.', '/']) || !remote.url.contains(':'));
    if is_local {
        remote.url = std::path::absolute(&remote.url)?.display().to_string();
    }
    Ok(Source::Git(remote))
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds between 0.1 and 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        outputs::{Destination, HepOptions, OutputOptions},
    };

    const FILE: &str = r#"
version = 1
edge = "fra1-sbc2"
[[interface]]
name = "eth0"
mode = "native"
[[interface]]
name = "eth1"
[policy]
directory = "policy"
report = true
[api]
socket = "/run/other.sock"
[pins]
directory = "/sys/fs/bpf/other"
[outputs.stdout]
format = "json"
interval = "1m30s"
[outputs.prometheus]
listen = "127.0.0.1:9469"
[outputs.file]
path = "events.jsonl"
[outputs.journal]
[outputs.syslog]
to = "udp:192.0.2.60:514"
[outputs.hep]
to = "tcp:homer.example.net:9060"
password_file = "homer.password"
[limits]
max_list_bytes = 1048576
"#;

    fn merged(arguments: &str, file: &str) -> anyhow::Result<Options> {
        let command = Cli::parse_from(["ringfence", "run"].into_iter().chain(arguments.split_whitespace()));
        let Command::Run(args) = command.command else { panic!("it is `run`") };
        let path = Path::new("/etc/x/ringfence.toml");
        let file = Configuration::parse(path, file.as_bytes()).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        options(args, file, Some(path))
    }

    fn interfaces(options: &Options) -> Vec<(&str, ModeChoice)> {
        options.target.interfaces.iter().map(|interface| (interface.name.as_str(), interface.mode)).collect()
    }

    #[test]
    fn the_file_says_everything() {
        let options = merged("", FILE).expect("it is complete");
        assert_eq!(interfaces(&options), [("eth0", ModeChoice::Native), ("eth1", ModeChoice::Auto)]);
        assert_eq!(options.edge.as_deref(), Some("fra1-sbc2"));
        assert_eq!(options.source, Source::Directory("/etc/x/policy".into()), "below the file's own directory");
        assert_eq!(options.socket, PathBuf::from("/run/other.sock"));
        assert_eq!(options.target.pins, Pins::new("/sys/fs/bpf/other"));
        assert_eq!((options.target.report, options.json), (true, true));
        assert_eq!((options.interval, options.list_bytes), (Duration::from_secs(90), 1 << 20));
        assert_eq!(options.prometheus, "127.0.0.1:9469".parse().ok());
        let expected = OutputOptions {
            file: Some("/etc/x/events.jsonl".into()),
            journal: Some("/run/systemd/journal/socket".into()),
            syslog: Some(Destination::Udp("192.0.2.60:514".to_owned())),
            hep: Some(HepOptions {
                to: Destination::Tcp("homer.example.net:9060".to_owned()),
                password_file: Some("/etc/x/homer.password".into()),
                id: 1,
            }),
        };
        assert_eq!(options.outputs, expected);
    }

    #[test]
    fn options_override_the_file() {
        let arguments = "--interface lo --mode generic --policy p --report=false --json=false --interval 2 --socket s --pin-dir d \
             --prometheus [::1]:9470 --events-file e.jsonl";
        let options = merged(arguments, FILE).expect("it is complete");
        assert_eq!(interfaces(&options), [("lo", ModeChoice::Generic)]);
        assert_eq!(options.source, Source::Directory("p".into()), "below the working directory");
        assert_eq!((options.socket.to_str(), &options.target.pins), (Some("s"), &Pins::new("d")));
        assert_eq!((options.target.report, options.json), (false, false));
        assert_eq!(options.interval, Duration::from_secs(2));
        assert_eq!(options.prometheus, "[::1]:9470".parse().ok());
        assert_eq!(options.outputs.file, Some(PathBuf::from("e.jsonl")), "below the working directory");
        let options = merged("--mode native", FILE).expect("it is complete");
        assert_eq!(interfaces(&options), [("eth0", ModeChoice::Native), ("eth1", ModeChoice::Native)]);
    }

    #[test]
    fn what_neither_says_has_a_default() {
        let options =
            merged("--interface eth0 --interface eth0 --policy p --report --json", "version = 1\n").expect("it is");
        assert_eq!(interfaces(&options), [("eth0", ModeChoice::Auto)]);
        assert_eq!((options.target.report, options.json), (true, true));
        assert_eq!((options.socket.to_str(), &options.target.pins), (Some(DEFAULT_SOCKET), &Pins::default()));
        assert_eq!((options.interval, options.list_bytes), (Duration::from_secs(1), LIST_BYTES));
        assert_eq!(options.prometheus, None);
        let options = merged("--max-list-bytes 2048", FILE).expect("it is complete");
        assert_eq!(options.list_bytes, 2048);
    }

    #[test]
    fn a_git_repository_is_named_by_the_file_or_by_options_that_replace_all_of_it() {
        let file = "version = 1\n[policy]\ngit = \"ssh://git@h/p.git\"\ntag = \"v1\"\npath = \"edges/fra1\"\npoll = \"2m\"\n\
                    allowed_signers = \"signers\"\n[state]\ndirectory = \"state\"\n";
        let options = merged("--interface lo", file).expect("it is complete");
        let remote = Remote {
            url: "ssh://git@h/p.git".to_owned(),
            reference: Reference::Tag("v1".to_owned()),
            path: Some("edges/fra1".into()),
            poll: Duration::from_secs(120),
            allowed_signers: Some("/etc/x/signers".into()),
        };
        assert_eq!((options.source, options.state), (Source::Git(remote), PathBuf::from("/etc/x/state")));
        let arguments = "--interface lo --policy-git https://h/q.git --branch next --poll 10s --state-dir s";
        let options = merged(arguments, file).expect("it is complete");
        let remote = Remote {
            reference: Reference::Branch("next".to_owned()),
            poll: Duration::from_secs(10),
            ..Remote::new("https://h/q.git".to_owned())
        };
        assert_eq!((options.source, options.state), (Source::Git(remote), PathBuf::from("s")));
        let options = merged("--interface lo --policy p", file).expect("it is complete");
        assert_eq!((options.source, options.state), (Source::Directory("p".into()), PathBuf::from("/etc/x/state")));
        let error = merged("--interface lo --policy-git ext::id", file).expect_err("git would run it");
        assert!(crate::cli::help(&error).unwrap_or_default().contains("ssh://"), "{error}");
    }

    #[test]
    fn without_a_policy_or_an_interface_nothing_runs_and_the_error_names_what_helps() {
        for (arguments, missing) in [
            ("", "no policy (`--policy DIR`) and no interface (`--interface IF`)"),
            ("--interface eth0", "no policy (`--policy DIR`)"),
            ("--policy p", "no interface (`--interface IF`)"),
        ] {
            let error = merged(arguments, "version = 1\n").expect_err("it is incomplete");
            assert_eq!(
                error.to_string(),
                format!("nothing to run: there is {missing}, and /etc/x/ringfence.toml names none")
            );
            let help = crate::cli::help(&error).unwrap_or_default();
            assert!(help.contains("--report"), "{help}");
        }
        let none = Incomplete { lacks_policy: true, lacks_interface: true, configuration: None };
        assert!(none.to_string().ends_with("and no configuration /etc/ringfence/ringfence.toml"), "{none}");
        assert!(none.help().starts_with("`ringfence init policies` writes"), "{}", none.help());
    }

    #[test]
    fn the_help_names_the_defaults() {
        let mut command = <RunArgs as clap::Args>::augment_args(clap::Command::new("run"));
        // Lines are wrapped at the width of the terminal.
        let help = command.render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for default in
            [DEFAULT_SOCKET, DEFAULT_PIN_DIRECTORY, DEFAULT_STATE, config::DEFAULT_PATH, &LIST_BYTES.to_string()]
        {
            assert!(help.contains(&format!("[default: {default}")), "{default}: {help}");
        }
    }
}
