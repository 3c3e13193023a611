//! `ringfence reload`: a look for a newer policy, now.

use std::process::ExitCode;

use super::{EXIT_NO, EXIT_SYSTEM, Place, ask, print};
use crate::telemetry::{Notice, PolicyError};
use filter_policy::language::printable::json_line;

/// Let the daemon look for a newer policy now, and wait until it is in force
///
/// A policy in a git repository is fetched first. Prints what happened: the policy that is in force, or why the newest one
/// is not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the newest policy is in force, whether or not that is another one than before
  1  the newest policy has errors, or an earlier one is held by `ringfence rollback`: the one in force stays
  3  no daemon answers, or the policy cannot be fetched

Examples:
  ringfence reload
  ringfence reload --json")]
pub struct ReloadArgs {
    /// Print one JSON object: the notice `reloaded`, `unchanged`, `held`, `policy-error` or `source-error`
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs `ringfence reload`.
///
/// # Errors
/// No daemon answers.
pub fn run(args: ReloadArgs) -> anyhow::Result<ExitCode> {
    let found = args.place.find()?;
    let asked = ask(&found, async |client| client.reload().await)?;
    shown(&asked.required(&found)?, args.json)
}

/// Prints what came of a change of the policy, and returns its exit status.
pub(super) fn shown(notice: &Notice, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        print(&(json_line(notice) + "\n"))?;
    } else if notice.failure().is_some() {
        eprintln!("{}", text(notice));
    } else {
        print(&(text(notice) + "\n"))?;
    }
    Ok(if matches!(notice, Notice::SourceError(_)) {
        ExitCode::from(EXIT_SYSTEM)
    } else if notice.failure().is_some() || matches!(notice, Notice::Held(_)) {
        ExitCode::from(EXIT_NO)
    } else {
        ExitCode::SUCCESS
    })
}

/// The notice in words; an error in a policy with its places.
fn text(notice: &Notice) -> String {
    let Notice::PolicyError(PolicyError { message, diagnostics, .. }) = notice else { return notice.to_string() };
    let findings: String = diagnostics.iter().map(|finding| format!("{finding}\n\n")).collect();
    format!("{findings}the policy cannot be used: {message}; the one before stays in force")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Finding;

    #[test]
    fn an_error_is_shown_with_its_place_and_how_to_fix_it() {
        let finding = Finding {
            severity: "error".to_owned(),
            code: "unknown-set".to_owned(),
            message: "there is no set `tr\u{1b}unk`".to_owned(),
            file: Some("policy.toml".to_owned()),
            line: Some(12),
            column: Some(42),
            end_column: Some(50),
            help: Some("did you mean `trunks`?".to_owned()),
        };
        let error = PolicyError {
            message: "1 error".to_owned(),
            diagnostics: vec![finding],
            commit: None,
            report: String::new(),
            policy: String::new(),
        };
        let expected = "error[unknown-set]: there is no set `tr\\u{1b}unk`\n  --> policy.toml:12:42\n  help: did you mean \
                        `trunks`?\n\nthe policy cannot be used: 1 error; the one before stays in force";
        assert_eq!(text(&Notice::PolicyError(error)), expected);
    }
}
