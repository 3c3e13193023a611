//! The command line: one file per subcommand.

pub mod ban;
pub mod bans;
pub mod capture;
pub mod check;
pub mod completions;
pub mod detach;
pub mod diff;
pub mod doctor;
pub mod events;
pub mod explain;
mod filter;
pub mod history;
pub mod import;
pub mod init;
pub mod inspect;
pub mod man;
pub mod place;
pub mod reload;
pub mod replay;
pub mod rollback;
pub mod run;
pub mod schema;
pub mod status;
pub mod suggest;
pub mod support;
pub mod test;
pub mod top;
pub mod unban;
pub mod upstreams;

use std::{
    io::{self, IsTerminal, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use filter_core::layout::Transport;

use self::place::Found;
pub use self::place::{Place, PlaceAndState};
use crate::{
    api::{Client, ClientError},
    daemon, deploy,
    kernel::{self, BanError},
};
use filter_policy::{
    Built,
    capture::CaptureError,
    files::{Directory, Table},
    import::ImportError,
    language::{diagnostics::Diagnostics, printable::json_line},
    sample_policy,
};

/// The answer is "no": a policy with errors, a failed policy test.
pub const EXIT_NO: u8 = 1;

/// What is said in the place of samples if there are none, by the configuration.
const SAMPLING_OFF: &str = "sampling is off: `per_second = 0` under `[samples]` in the configuration";
/// Bad usage or bad input.
pub const EXIT_USAGE: u8 = 2;
/// The system refused: no permission, no interface, a kernel too old, the verifier.
pub const EXIT_SYSTEM: u8 = 3;

/// Packet-level SIP filter: drops unwanted SIP on the network card, by a policy in git.
#[derive(Debug, Parser)]
#[command(
    name = "ringfence",
    version,
    after_long_help = "\
Exit status:
  0  success
  1  the answer is \"no\": a policy with errors, a failed policy test
  2  bad usage or bad input
  3  the system refused: no permission, no interface, a kernel too old, the verifier

Examples:
  ringfence init policies
  ringfence check policies
  ringfence replay --policy policies yesterday.pcap
  ringfence run --interface eth0 --policy policies
  ringfence status"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "each subcommand has its help with its arguments")]
pub enum Command {
    Ban(ban::BanArgs),
    Bans(bans::BansArgs),
    Capture(capture::CaptureArgs),
    Check(check::CheckArgs),
    Completions(completions::CompletionsArgs),
    Detach(detach::DetachArgs),
    Diff(diff::DiffArgs),
    Doctor(doctor::DoctorArgs),
    Events(events::EventsArgs),
    Explain(explain::ExplainArgs),
    History(history::HistoryArgs),
    Import(import::ImportArgs),
    Init(init::InitArgs),
    Inspect(inspect::InspectArgs),
    Man(man::ManArgs),
    Reload(reload::ReloadArgs),
    Replay(replay::ReplayArgs),
    Rollback(rollback::RollbackArgs),
    Run(run::RunArgs),
    Schema(schema::SchemaArgs),
    Status(status::StatusArgs),
    Suggest(suggest::SuggestArgs),
    Support(support::SupportArgs),
    Test(test::TestArgs),
    Top(top::TopArgs),
    Unban(unban::UnbanArgs),
    Upstreams(upstreams::UpstreamsArgs),
}

/// Runs the command line.
///
/// # Errors
///
/// What went wrong, for the last line on standard error; [`exit_status`] gives its exit status.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Ban(args) => ban::run(args),
        Command::Bans(args) => bans::run(args),
        Command::Capture(args) => capture::run(args),
        Command::Check(args) => check::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Detach(args) => detach::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Events(args) => events::run(args),
        Command::Explain(args) => explain::run(args),
        Command::History(args) => history::run(args),
        Command::Import(args) => import::run(args),
        Command::Init(args) => init::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Man(args) => man::run(args),
        Command::Reload(args) => reload::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Rollback(args) => rollback::run(args),
        Command::Run(args) => run::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Status(args) => status::run(args),
        Command::Suggest(args) => suggest::run(args),
        Command::Support(args) => support::run(args),
        Command::Test(args) => test::run(args),
        Command::Top(args) => top::run(args),
        Command::Unban(args) => unban::run(args),
        Command::Upstreams(args) => upstreams::run(args),
    }
}

/// The one table from errors to exit statuses.
#[must_use]
pub fn exit_status(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if matches!(cause.downcast_ref(), Some(ClientError::Declined(_))) {
            return EXIT_NO;
        }
        if matches!(cause.downcast_ref(), Some(ClientError::Query(_))) {
            return EXIT_USAGE;
        }
        if matches!(cause.downcast_ref(), Some(kernel::Error::LastInterface(_) | kernel::Error::NotThere { .. })) {
            return EXIT_NO;
        }
        if cause.is::<kernel::Error>() || cause.is::<ClientError>() {
            return EXIT_SYSTEM;
        }
        if let Some(error) = cause.downcast_ref::<BanError>() {
            return if matches!(error, BanError::Kernel(_)) { EXIT_SYSTEM } else { EXIT_NO };
        }
        if let Some(error) = cause.downcast_ref::<deploy::ListError>() {
            return if matches!(error, deploy::ListError::Kernel(_)) { EXIT_SYSTEM } else { EXIT_NO };
        }
        if let Some(error) = cause.downcast_ref::<daemon::Error>() {
            return match error {
                daemon::Error::Deploy(deploy::Error::Policy { .. }) => EXIT_NO,
                daemon::Error::Password(_) => EXIT_USAGE,
                daemon::Error::Deploy(deploy::Error::Kernel(_))
                | daemon::Error::Kernel(_)
                | daemon::Error::Runtime(_)
                | daemon::Error::Socket(_)
                | daemon::Error::Listen(_)
                | daemon::Error::State { .. } => EXIT_SYSTEM,
            };
        }
    }
    EXIT_USAGE
}

/// What the operator can do about an error, if that is known.
#[must_use]
pub fn help(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<kernel::Error>() {
            return error.help();
        }
        if let Some(error) = cause.downcast_ref::<ClientError>() {
            return error.help();
        }
        if let Some(error) = cause.downcast_ref::<run::Incomplete>() {
            return Some(error.help());
        }
        if let Some(error) = cause.downcast_ref::<run::Unusable>() {
            return Some(error.help.to_owned());
        }
        if let Some(BanError::Kernel(error)) = cause.downcast_ref::<BanError>() {
            return error.help();
        }
        if let Some(deploy::ListError::Kernel(error)) = cause.downcast_ref::<deploy::ListError>() {
            return error.help();
        }
        if let Some(error) = cause.downcast_ref::<ImportError>() {
            return error.help().map(ToOwned::to_owned);
        }
        if let Some(error) = cause.downcast_ref::<CaptureError>() {
            return error.help().map(ToOwned::to_owned);
        }
        match cause.downcast_ref::<daemon::Error>()? {
            daemon::Error::Deploy(deploy::Error::Kernel(error)) | daemon::Error::Kernel(error) => error.help(),
            daemon::Error::Listen(error) => Some(error.help()),
            daemon::Error::Deploy(deploy::Error::Policy { .. }) | daemon::Error::Runtime(_) => None,
            daemon::Error::State { .. } => {
                Some("run as root, or choose another directory: `--state-dir DIR`".to_owned())
            }
            daemon::Error::Password(error) => Some(error.help()),
            daemon::Error::Socket(error) => Some(error.help()),
        }
    })
}

/// The signalling port that a message is assumed to be sent to: the requested one, or the policy's first.
///
/// # Errors
/// The policy has none for this transport, or the requested port is not one of them, so nothing would be read.
fn signalling_port(
    policy: &filter_policy::model::Policy,
    transport: Transport,
    asked: Option<u16>,
) -> Result<u16, String> {
    let of_transport = policy.ports.iter().filter(|(_, of)| *of == transport);
    let ports: Vec<u16> = of_transport.map(|(port, _)| *port).collect();
    let name = transport.name().to_uppercase();
    let Some(&first) = ports.first() else {
        return Err(format!("the policy has no {name} port in [network], and messages are tested over {name}"));
    };
    match asked {
        Some(port) if !ports.contains(&port) => {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            Err(format!("port {port} is not a {name} signalling port of the policy ({})", ports.join(", ")))
        }
        asked => Ok(asked.unwrap_or(first)),
    }
}

/// Builds the policy in a directory, or the sample policy. If it has errors, shows them and returns the exit code.
///
/// # Errors
/// There is no such directory.
pub(crate) fn policy_or_sample(directory: Option<&Path>, json: bool) -> anyhow::Result<Result<Built, ExitCode>> {
    let today = filter_policy::today();
    let result = match directory {
        Some(directory) => {
            let files = Directory::new(directory)
                .with_context(|| format!("failed to open the policy directory {}", directory.display()))?;
            filter_policy::build(&files, today)
        }
        None => filter_policy::build(&Table(sample_policy::FILES), today),
    };
    Ok(result.map_err(|diagnostics| {
        shown_diagnostics(&diagnostics, directory, json);
        ExitCode::from(EXIT_NO)
    }))
}

/// Shows the errors of a policy.
fn shown_diagnostics(diagnostics: &Diagnostics, directory: Option<&Path>, json: bool) {
    if json {
        diagnostics.iter().for_each(|diagnostic| eprintln!("{}", json_line(&diagnostic.to_json())));
    } else {
        eprint!("{}", diagnostics.render(coloured(&io::stderr()), directory));
    }
}

/// As [`policy_or_sample`], for commands that judge packets: a policy in report mode as a whole is judged as if it were enforced. The last
/// value says whether it is in report mode.
///
/// # Errors
/// There is no such directory.
pub(crate) fn enforced_policy(directory: Option<&Path>, json: bool) -> anyhow::Result<Result<(Built, bool), ExitCode>> {
    Ok(policy_or_sample(directory, json)?.map(|mut built| {
        let report = built.image.is_report();
        built.image.set_report(false);
        (built, report)
    }))
}

/// What came of a request to the daemon.
#[derive(Debug)]
enum Asked<T> {
    /// Its answer.
    Answer(T),
    /// No daemon of these pins runs.
    NoDaemon,
    /// It does not answer.
    NoAnswer,
}

impl<T> Asked<T> {
    /// The answer: what only a daemon can do.
    fn required(self, found: &Found) -> Result<T, ClientError> {
        let socket = found.socket.display().to_string();
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::NoAnswer => Err(ClientError::NoAnswer { socket }),
            Self::NoDaemon => Err(ClientError::NoFilter { socket, pins: found.pins.root().to_owned() }),
        }
    }

    /// The answer, or else what is read or done without a daemon. That it does not answer goes to standard error.
    fn or_without<E>(self, found: &Found, without: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::NoDaemon => without(),
            Self::NoAnswer => {
                eprintln!("the daemon at {} does not answer: doing without it", found.socket.display());
                without()
            }
        }
    }
}

/// Asks the daemon of these pins, if there is one. A daemon with other pins would answer about another filter.
fn ask<T>(found: &Found, ask: impl AsyncFnOnce(Client) -> Result<T, ClientError>) -> anyhow::Result<Asked<T>> {
    let asked = async {
        match status::ask(&found.socket).await? {
            Some(status) if status.pin_dir == found.pins.root() => {}
            _ => return Ok(Asked::NoDaemon),
        }
        ask(Client::connect(&found.socket).await?).await.map(Asked::Answer)
    };
    block_on(async {
        match asked.await {
            Err(ClientError::NoAnswer { .. }) => Ok(Asked::NoAnswer),
            Err(ClientError::NoDaemon { .. }) => Ok(Asked::NoDaemon),
            result => result,
        }
    })
}

/// Runs a client's request.
fn block_on<T, E>(future: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)?)
}

/// Whether colours are for this stream: it is a terminal, and NO_COLOR (no-color.org) does not ask for none.
#[must_use]
pub fn coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a result. A closed pipe is not an error.
fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    unless_closed(output.write_all(text.as_bytes()).and_then(|()| output.flush()))
}

/// True if an error is that the reader of the result has closed the pipe.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// What became of writing a result. Whoever has closed the pipe (`| head`) has seen enough: that is not an error.
fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_system_error_exits_with_3_and_a_bad_policy_with_1() {
        let kernel = || kernel::Error::UnknownInterface("x".to_owned());
        assert_eq!(exit_status(&kernel().into()), EXIT_SYSTEM);
        let deploy = |error: deploy::Error| daemon::Error::Deploy(error).into();
        assert_eq!(exit_status(&deploy(kernel().into())), EXIT_SYSTEM);
        let refused = deploy::Error::Policy { policy: "p".to_owned(), totals: "1 error".to_owned() };
        assert_eq!(exit_status(&deploy(refused)), EXIT_NO);
        assert_eq!(exit_status(&anyhow::anyhow!("no such file")), EXIT_USAGE);
        let prefix = kernel::Prefix::to_ban("192.0.2.7").unwrap();
        let refused = BanError::Exempt { prefix, exemption: kernel::Exemption::NeverBan };
        assert_eq!(exit_status(&refused.into()), EXIT_NO);
        assert_eq!(exit_status(&BanError::Kernel(kernel()).into()), EXIT_SYSTEM);
        assert_eq!(exit_status(&deploy::ListError::Refused("no".to_owned()).into()), EXIT_NO);
        assert_eq!(exit_status(&deploy::ListError::from(kernel()).into()), EXIT_SYSTEM);
        assert_eq!(exit_status(&ClientError::Declined("no".to_owned()).into()), EXIT_NO);
    }
}
