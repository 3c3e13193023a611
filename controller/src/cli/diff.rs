//! `ringfence diff`: what the next policy changes.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{
    EXIT_NO, EXIT_USAGE, Found, PlaceAndState,
    inspect::EngineChoice,
    place, print,
    replay::{self, ReplayArgs},
    run::RemoteArgs,
    shown_diagnostics,
};
use crate::{
    config::Configuration,
    kernel::State,
    repository::{History, Repository, Snapshot, Source},
};
use filter_policy::{
    BuildCache, Built,
    bounds::Bounds,
    difference::{Difference, Version},
    language::printable::json_line,
};

/// Show what another version of the policy changes, in words; with a capture, for which packets
///
/// The next policy is a directory, a git repository, or, if none is given, what the daemon's configuration names. It is compared with
/// the policy in force, whose files the daemon has kept, or with another directory (--from).
///
/// Keys are compared as they are written, entries of sets one by one. Whether both policies are in report mode as a whole does not
/// matter for the packets of a capture: both are judged as if they were enforced.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status, as of diff(1):
  0  nothing changes
  1  something changes
  2  bad usage or input: a policy has errors, nothing is in force, the capture cannot be read
  3  the system refused

Examples:
  ringfence diff
  ringfence diff policies
  ringfence diff --from policies new --capture yesterday.pcap
  ringfence diff --policy-git ssh://git@git.example.net/policy.git --branch next --json")]
pub struct DiffArgs {
    /// The next policy: a directory with a `policy.toml` in it
    #[arg(value_name = "DIR", conflicts_with = "policy_git")]
    pub policy: Option<PathBuf>,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Compare with this directory instead of the policy in force
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// A pcap or pcapng file: also show the packets whose verdict changes
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,
    /// Print JSON: one object, and with a capture one for each packet whose verdict changes and one with the totals
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: PlaceAndState,
}

/// Runs `ringfence diff`.
///
/// # Errors
/// A policy or the capture cannot be read.
pub fn run(mut args: DiffArgs) -> anyhow::Result<ExitCode> {
    let next = next(&mut args)?;
    let found = args.place.find()?;
    let (from, before) = match &args.from {
        Some(directory) => snapshot(&Source::Directory(directory.clone()), &found.state)?,
        None => in_force(&found)?,
    };
    let (to, after) = snapshot(&next, &found.state)?;
    let (Some(from), Some(to)) = (built(&from, &before, args.json), built(&to, &after, args.json)) else {
        return Ok(ExitCode::from(EXIT_USAGE));
    };
    let difference = Difference::between(&Version::new(&from, &before), &Version::new(&to, &after));
    print(&if args.json { json_line(&difference) + "\n" } else { difference.render() })?;
    if let Some(capture) = args.capture {
        let replayed = ReplayArgs {
            capture,
            policy: None,
            against: Some(PathBuf::new()),
            engine: EngineChoice::User,
            summary: false,
            json: args.json,
        };
        let enforced = |mut built: Built| {
            built.image.set_report(false);
            built
        };
        replay::replay(enforced(from), Some(enforced(to)), &replayed)?;
    }
    Ok(if difference.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NO) })
}

/// Where the next policy is.
fn next(args: &mut DiffArgs) -> anyhow::Result<Source> {
    if let Some(remote) = std::mem::take(&mut args.remote).remote()? {
        return Ok(super::run::absolute(Source::Git(remote))?);
    }
    if let Some(directory) = &args.policy {
        return Ok(Source::Directory(directory.clone()));
    }
    let Some(path) = place::configuration(args.place.place.config.clone()) else {
        bail!("no next policy: name a directory, or a git repository with `--policy-git`");
    };
    let configuration = Configuration::read(&path).map_err(|mistakes| {
        anyhow::anyhow!("the configuration {} cannot be used ({})", path.display(), mistakes.totals())
    })?;
    match configuration.policy {
        Some(source) => Ok(super::run::absolute(source)?),
        None => bail!("no next policy: name a directory or a git repository; {} names none", path.display()),
    }
}

/// What a source holds now, with its name.
fn snapshot(source: &Source, state: &Path) -> anyhow::Result<(String, Snapshot)> {
    if let Source::Directory(directory) = source {
        std::fs::read_dir(directory)
            .with_context(|| format!("failed to open the policy directory {}", directory.display()))?;
    }
    // A copy of its own: the daemon's says what the daemon has seen.
    let repository = Repository::open(source.clone(), &state.join("diff"))
        .with_context(|| format!("failed to keep a copy of the policy's repository in {}", state.display()))?;
    repository.refresh().map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok((source.to_string(), repository.snapshot()))
}

/// The policy in force, from the files that the daemon has kept.
fn in_force(found: &Found) -> anyhow::Result<(String, Snapshot)> {
    let (pins, directory) = (&found.pins, &found.state);
    let Some(state) = State::read(pins)? else {
        bail!("no policy is in force in {}: name one to compare with, `--from DIR`", pins.root().display());
    };
    let history = History::new(directory, pins.root());
    let entry = history.entries().into_iter().find(|entry| entry.generation == state.generation);
    let Some(entry) = entry.filter(|entry| entry.files.is_some()) else {
        bail!(
            "the files of generation {}, which is in force, are not in {}: name the daemon's `--state-dir`, or `--from DIR`",
            state.generation,
            directory.display()
        );
    };
    Ok((format!("generation {}", entry.generation), Snapshot::of_generation(&entry, &history)))
}

/// The policy, or none after its errors have been shown.
fn built(name: &str, snapshot: &Snapshot, json: bool) -> Option<Built> {
    match snapshot.read(&Bounds::default(), &mut BuildCache::default(), None).built {
        Ok(built) => Some(built),
        Err(diagnostics) => {
            shown_diagnostics(&diagnostics, None, json);
            eprintln!("ringfence: the policy {name} cannot be used ({})", diagnostics.totals());
            None
        }
    }
}
