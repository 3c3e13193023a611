//! The checks of the configuration, the policy and the daemon.

use std::path::Path;

use filter_policy::language::{diagnostics::Diagnostics, printable};

use super::Finding;
use crate::{
    api::{Client, ClientError},
    telemetry::Status,
};

/// What came of asking the daemon.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its status.
    Status(Box<Status>),
    /// No daemon has the socket.
    NoDaemon,
    /// It answers wrongly, not at all, or may not be asked.
    Error(ClientError),
}

/// Asks the daemon at a socket.
pub(super) fn ask(socket: &Path) -> Answer {
    let asked = async { Client::connect(socket).await?.status().await };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.map_err(|error| ClientError::Socket { socket: printable::path(socket), error });
    match answer.and_then(|runtime| runtime.block_on(asked)) {
        Ok(status) => Answer::Status(Box::new(status)),
        Err(ClientError::NoDaemon { .. }) => Answer::NoDaemon,
        Err(error) => Answer::Error(error),
    }
}

/// Whether a daemon runs, and is of this version. `filtering` says whether the pins hold a filter.
pub(super) fn daemon(answer: &Answer, socket: &Path, filtering: bool) -> Finding {
    let shown = printable::path(socket);
    match answer {
        Answer::Status(status) if status.version != env!("CARGO_PKG_VERSION") => Finding::warn(
            "daemon",
            format!("version {} runs, and this program is {}", status.version, env!("CARGO_PKG_VERSION")),
            "stop it and start this one: the filter stays in force meanwhile, `ringfence run` takes it over",
        ),
        Answer::Status(status) => match (&status.policy_error, status.pid) {
            _ if let Some(error) = status.source.as_ref().and_then(|source| source.error.as_ref()) => Finding::warn(
                "daemon",
                format!("it runs, but cannot follow the policy's repository ({error}): the last commit stays in force"),
                "`git ls-remote URL`, as the user that it runs as; `ringfence status` says since when",
            ),
            (Some(error), _) if status.source.is_some() => Finding::warn(
                "daemon",
                format!("it runs, but the newest commit has errors ({error}): the one before is in force"),
                "`ringfence reload` lists them; fix them in the repository",
            ),
            (Some(error), _) => Finding::warn(
                "daemon",
                format!("it runs, but its last policy has errors ({error}): the one before is in force"),
                status
                    .policy
                    .as_ref()
                    .map_or_else(|| "`ringfence status`".to_owned(), |policy| format!("`ringfence check {policy}`")),
            ),
            (None, pid) => Finding::ok("daemon", format!("answers at {shown} (process {})", pid.unwrap_or(0))),
        },
        Answer::NoDaemon if filtering => Finding::warn(
            "daemon",
            format!("none answers at {shown}: the filter is in force, but nothing reports what it does"),
            "`ringfence run` takes the filter over; `ringfence detach` removes it",
        ),
        Answer::NoDaemon => Finding::ok("daemon", format!("none answers at {shown}, and there is no filter")),
        Answer::Error(ClientError::NoAnswer { .. }) => Finding::fail(
            "daemon",
            format!("the one at {shown} does not answer"),
            "end it and start it again: the filter stays in force meanwhile; `ss -xlp` shows its process",
        ),
        Answer::Error(error) => {
            Finding::warn("daemon", error.to_string(), "`sudo ringfence status`, or `--config FILE` with its socket")
        }
    }
}

/// The configuration, if there is one.
pub(super) fn configuration(path: Option<&Path>, mistakes: Option<&Diagnostics>) -> Finding {
    match (path.map(printable::path), mistakes) {
        (Some(path), Some(mistakes)) => {
            let first = mistakes.iter().next().map_or_else(String::new, |first| format!(": {}", first.message));
            Finding::fail(
                "configuration",
                format!("{path} cannot be used ({}){first}", mistakes.totals()),
                format!("`ringfence run --config {path}` shows each mistake with its line, and starts nothing"),
            )
        }
        (Some(path), None) => Finding::ok("configuration", path),
        (None, _) => Finding::ok("configuration", "none: `ringfence run` goes by its options"),
    }
}

/// Whether git is there, which fetches the policy.
pub(super) fn git(version: &Result<String, String>) -> Finding {
    match version {
        Ok(version) => Finding::ok("git", version.clone()),
        Err(error) => Finding::fail(
            "git",
            format!("the policy is in a git repository, and git cannot be started: {error}"),
            "`apt install git`",
        ),
    }
}

/// The policy that the configuration names: the bytes of its tables, or its mistakes.
pub(super) fn policy(directory: &Path, built: &Result<u64, String>) -> Finding {
    let shown = printable::path(directory);
    match built {
        Ok(_) => Finding::ok("policy", format!("{shown} can be used")),
        Err(mistakes) => {
            Finding::fail("policy", format!("{shown} cannot be used: {mistakes}"), format!("`ringfence check {shown}`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{config::Configuration, doctor::Level, kernel::Pins, telemetry::SourceStatus};

    const SOCKET: &str = "/run/ringfence/ringfence.sock";

    fn judged(answer: &Answer, filtering: bool) -> Finding {
        daemon(answer, Path::new(SOCKET), filtering)
    }

    fn status() -> Status {
        Status::read(&Pins::new("/nonexistent/pins"), None).expect("there are none")
    }

    #[test]
    fn a_daemon_that_answers_is_fine_unless_it_is_another_version_or_has_no_valid_policy() {
        assert_eq!(judged(&Answer::Status(Box::new(status())), true).level, Level::Ok);
        let other = Status { version: "0.0.1".to_owned(), ..status() };
        assert_eq!(judged(&Answer::Status(Box::new(other)), true).level, Level::Warn);
        let broken = Status { policy_error: Some("1 error".to_owned()), policy: Some("/p".to_owned()), ..status() };
        assert_eq!(judged(&Answer::Status(Box::new(broken)), true).fix.as_deref(), Some("`ringfence check /p`"));
    }

    #[test]
    fn a_repository_that_cannot_be_followed_is_a_warning_and_one_without_git_a_failure() {
        let source = SourceStatus {
            url: "ssh://h/p".to_owned(),
            reference: "branch main".to_owned(),
            path: None,
            commit: None,
            committed: None,
            fetched: None,
            age: None,
            error: Some("no route".to_owned()),
            failing_since: None,
        };
        let failing = judged(&Answer::Status(Box::new(Status { source: Some(source.clone()), ..status() })), true);
        assert!(failing.level == Level::Warn && failing.found.contains("no route"), "{}", failing.found);
        let well = Status {
            source: Some(SourceStatus { error: None, ..source }),
            policy_error: Some("1 error".to_owned()),
            ..status()
        };
        let broken = judged(&Answer::Status(Box::new(well)), true);
        assert!(
            broken.level == Level::Warn && broken.found.contains("the newest commit has errors"),
            "{}",
            broken.found
        );
        assert_eq!(git(&Ok("git version 2.39.5".to_owned())).level, Level::Ok);
        assert_eq!(git(&Err("No such file or directory".to_owned())).fix.as_deref(), Some("`apt install git`"));
    }

    #[test]
    fn no_daemon_is_a_warning_only_where_there_is_a_filter() {
        assert_eq!(judged(&Answer::NoDaemon, false).level, Level::Ok);
        assert_eq!(judged(&Answer::NoDaemon, true).level, Level::Warn);
        let stuck = ClientError::NoAnswer { socket: SOCKET.to_owned() };
        assert_eq!(judged(&Answer::Error(stuck), true).level, Level::Fail);
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let refused = ClientError::Socket { socket: SOCKET.to_owned(), error };
        assert_eq!(judged(&Answer::Error(refused), true).level, Level::Warn);
    }

    #[test]
    fn a_configuration_with_mistakes_is_a_failure_that_names_the_first() {
        let path = Path::new("/etc/x.toml");
        assert_eq!(configuration(None, None).level, Level::Ok);
        assert_eq!(configuration(Some(path), None).level, Level::Ok);
        let mistakes = Configuration::parse(path, b"version = 1\nedeg = \"a\"\n").expect_err("a mistake");
        let found = configuration(Some(path), Some(&mistakes));
        assert_eq!(found.level, Level::Fail);
        assert!(found.found.contains("unknown key `edeg`"), "{}", found.found);
    }
}
