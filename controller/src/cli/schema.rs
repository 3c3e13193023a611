//! `ringfence schema`: JSON schemas for editors.

use std::process::ExitCode;

use anyhow::Context as _;

use super::print;
use crate::{api::OPENAPI, config};
use filter_policy::language::schema;

/// Print the JSON schema of `policy.toml` or of other files, for editors
///
/// Write it to a file, and begin the policy with a line `#:schema FILE`: Even Better TOML (VS Code) and Taplo then complete
/// keys and mark mistakes while you type. `ringfence check` finds more than a schema can.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence schema > .policy.schema.json
  ringfence schema --tests > .tests.schema.json
  ringfence schema --api > openapi.json
  ringfence schema --daemon > /etc/ringfence/.ringfence.schema.json")]
pub struct SchemaArgs {
    /// Print the schema of the test cases in `tests/*.toml` instead
    #[arg(long)]
    pub tests: bool,
    /// Print the schema of the daemon's configuration, `ringfence.toml`, instead
    #[arg(long, conflicts_with = "tests")]
    pub daemon: bool,
    /// Print the OpenAPI document of the daemon's API instead
    #[arg(long, conflicts_with_all = ["daemon", "tests"])]
    pub api: bool,
}

/// Runs `ringfence schema`.
///
/// # Errors
/// The result cannot be written.
pub fn run(args: SchemaArgs) -> anyhow::Result<ExitCode> {
    if args.api {
        print(OPENAPI).context("failed to write the document")?;
        return Ok(ExitCode::SUCCESS);
    }
    let schema = match args {
        SchemaArgs { daemon: true, .. } => config::schema::schema(),
        SchemaArgs { tests: true, .. } => schema::tests(),
        SchemaArgs { .. } => schema::policy(),
    };
    print(&format!("{schema:#}\n")).context("failed to write the schema")?;
    Ok(ExitCode::SUCCESS)
}
