//! `ringfence completions`: completion scripts for shells, generated from the command line's definition.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, print};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence completions bash > /etc/bash_completion.d/ringfence
  ringfence completions zsh > /usr/local/share/zsh/site-functions/_ringfence
  ringfence completions fish > /etc/fish/completions/ringfence.fish")]
pub struct CompletionsArgs {
    /// The shell that will read the script
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: CompletionsArgs) -> anyhow::Result<ExitCode> {
    print(&script(args.shell)).context("failed to write the completions")?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ringfence", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_script_names_every_subcommand() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for subcommand in Cli::command().get_subcommands() {
                assert!(script.contains(subcommand.get_name()), "{shell}: {}", subcommand.get_name());
            }
        }
    }

    #[test]
    fn the_shells_that_are_installed_can_parse_their_scripts() {
        for (shell, program, option) in
            [(Shell::Bash, "bash", "-n"), (Shell::Zsh, "zsh", "-n"), (Shell::Fish, "fish", "--no-execute")]
        {
            let started = Command::new(program).arg(option).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let Ok(mut child) = started else {
                eprintln!("{program} is not installed: its script was not parsed");
                continue;
            };
            let mut input = child.stdin.take().expect("standard input is a pipe");
            input.write_all(script(shell).as_bytes()).expect("the shell reads its input");
            drop(input);
            let output = child.wait_with_output().expect("the shell ends");
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
