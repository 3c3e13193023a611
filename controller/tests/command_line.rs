//! The command lines in help texts and documents are ones that the program accepts.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use ringfence::cli::Cli;

/// Fails where a line does not run `ringfence`, or runs it with arguments that it does not accept.
fn check_line(line: &str, place: &str) {
    let commands: Vec<&str> = line.split(" | ").filter(|part| part.trim_start().starts_with("ringfence ")).collect();
    assert!(!commands.is_empty(), "{place}: {line:?} does not run ringfence");
    for command in commands {
        if let Err(error) = Cli::command().try_get_matches_from(words(command)) {
            use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
            assert!(matches!(error.kind(), DisplayHelp | DisplayVersion), "{place}: {line}\n{error}");
        }
    }
}

/// The words of a command, as a shell would split it: double quotes group, redirections and comments end it.
fn words(command: &str) -> Vec<String> {
    let command = ["  #", " > ", " < "].iter().fold(command, |rest, end| rest.split(end).next().unwrap_or(rest));
    let quoted = command.split('"').enumerate();
    quoted
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// The lines of a document's shell blocks that mention `ringfence`.
fn lines_of_blocks(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut language = None;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(name) => language = if language.is_some() { None } else { Some(name) },
            None if language.is_some_and(|name| name.is_empty() || name == "sh") => lines.push(line),
            None => {}
        }
    }
    lines.retain(|line| line.split(" | ").any(|part| part.starts_with("ringfence ")));
    lines
}

#[test]
fn every_command_has_examples_and_each_of_them_parses() {
    fn check(command: &clap::Command) {
        let name = command.get_name();
        let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{name} has no examples"));
        assert!(!examples.trim().is_empty(), "{name} has no examples");
        examples.lines().for_each(|line| check_line(line, name));
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn every_ringfence_command_in_the_documents_parses() {
    for name in ["README.md", "docs/bans.md", "docs/configuration.md", "docs/doctor.md", "docs/policy.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lines = lines_of_blocks(&text);
        assert!(!lines.is_empty(), "{name}");
        lines.iter().for_each(|line| check_line(line, name));
    }
}
