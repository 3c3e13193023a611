//! `cargo xtask servers`: compares what SIP servers read with what the engine reads.
//!
//! A program of its own does the work (`servers/`). It needs the engine, and xtask stays quick to build without it.

use anyhow::Result;

use crate::{setup, workspace};

/// The arguments of `cargo xtask servers`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// Options of the comparison, such as `--messages 2000000`; `--help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

/// Installs the libraries, builds the program and runs it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    eprintln!("setup: {}", setup::ensure(&[setup::Group::Servers])?);
    let mut cargo = workspace::cargo(["run", "--quiet", "--package", "ringfence-servers", "--"]);
    workspace::run(cargo.args(&arguments.options))
}
