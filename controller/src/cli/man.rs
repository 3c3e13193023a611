//! `ringfence man`: manual pages, generated from the command line's definition.

use std::{fs, io, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{Cli, print};

/// Write the manual pages: one for `ringfence`, and one for each subcommand
///
/// Without a directory, the page of `ringfence` itself is printed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence man | man -l -
  ringfence man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The directory to write the pages to; it is created if it does not exist
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// Writes the pages.
///
/// # Errors
/// The directory, a page or standard output cannot be written.
pub fn run(args: ManArgs) -> anyhow::Result<ExitCode> {
    let pages = pages().context("failed to generate the pages")?;
    let Some(directory) = args.directory else {
        print(&pages[0].text).context("failed to write the page")?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(&directory).with_context(|| format!("failed to create {}", directory.display()))?;
    for page in &pages {
        let path = directory.join(&page.file);
        fs::write(&path, &page.text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A manual page in roff, ready to be written.
struct Page {
    /// Its file name: `ringfence-check.1`.
    file: String,
    text: String,
}

/// The pages of all commands. The first is that of `ringfence` itself.
fn pages() -> io::Result<Vec<Page>> {
    // `ringfence help` prints what the pages say.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&mut pages, command)?;
    Ok(pages)
}

fn add(pages: &mut Vec<Page>, command: clap::Command) -> io::Result<()> {
    let subcommands: Vec<clap::Command> = command.get_subcommands().cloned().collect();
    pages.push(page(command)?);
    subcommands.into_iter().try_for_each(|subcommand| add(pages, subcommand))
}

fn page(command: clap::Command) -> io::Result<Page> {
    let notes = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let has_subcommands = command.has_subcommands();
    let man = Man::new(command).source(concat!("ringfence ", env!("CARGO_PKG_VERSION"))).manual("Ringfence");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_subcommands {
        man.render_subcommands_section(&mut text)?;
    }
    sections(&notes, &name).to_writer(&mut text)?;
    Ok(Page { file: man.get_filename(), text: String::from_utf8_lossy(&text).into_owned() })
}

/// The sections of a long help text. A line such as `Examples:` begins one; its lines keep their breaks. A subcommand's page
/// refers to the page of `ringfence`, which lists the exit statuses that all commands share.
fn sections(notes: &str, name: &str) -> Roff {
    let mut roff = Roff::new();
    let mut in_section = false;
    for line in notes.lines().filter(|line| !line.is_empty()) {
        match line.strip_suffix(':').filter(|heading| !heading.starts_with(' ')) {
            Some(heading) => {
                if in_section {
                    roff.control("fi", []);
                }
                roff.control("SH", [heading.to_uppercase().as_str()]);
                roff.control("nf", []);
                in_section = true;
            }
            None => {
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
        }
    }
    if in_section {
        roff.control("fi", []);
    }
    if name != "ringfence" {
        if !notes.contains("Exit status:") {
            roff.control("SH", ["EXIT STATUS"]);
            roff.text([roman("The statuses that all commands share: see ringfence(1).")]);
        }
        roff.control("SH", ["SEE ALSO"]);
        roff.text([roman("ringfence(1)")]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_examples_and_exit_statuses() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|page| page.file.as_str()).collect();
        assert_eq!(names[0], "ringfence.1");
        for subcommand in Cli::command().get_subcommands() {
            let file = format!("ringfence-{}.1", subcommand.get_name());
            assert!(names.contains(&file.as_str()), "{file} is not in {names:?}");
        }
        assert!(names.contains(&"ringfence-import-nanpa.1"), "{names:?}");
        for Page { file, text } in &pages {
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS"] {
                let quoted = format!(".SH \"{section}\"");
                assert!(text.contains(&format!(".SH {section}\n")) || text.contains(&quoted), "{file}: {section}");
            }
        }
    }

    #[test]
    fn the_pages_are_written_to_a_directory_that_is_created() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("share/man1");
        run(ManArgs { directory: Some(directory.clone()) }).unwrap();
        let check = fs::read_to_string(directory.join("ringfence-check.1")).unwrap();
        assert!(check.contains("ringfence check policies"), "{check}");
    }
}
