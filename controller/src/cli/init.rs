//! `ringfence init`: the sample policy as files, to start from.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::print;
use filter_policy::{POLICY_FILE, language::printable, sample_policy};

/// The first line of the sample's keys, and the same with the mode after it.
const VERSION_LINE: &str = "\nversion = 1\n";
const WITH_MODE: &str = "\nversion = 1\n\
    mode = \"report\"                         # nothing is dropped, every rule counts: remove this line to enforce the policy\n";

/// What a directory may hold and still count as empty: git's own folder.
const IGNORED: &str = ".git";

/// Write the sample policy into a directory, in report mode, to start from
///
/// The directory is created, or must be empty; a `.git` in it does not count. The policy drops nothing until the line
/// `mode = "report"` is removed from its `policy.toml`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the policy has been written
  2  the directory is not empty, or cannot be written: nothing has been changed

Examples:
  ringfence init policies
  ringfence init /etc/ringfence/policy")]
pub struct InitArgs {
    /// Where to write it
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Runs `ringfence init`.
///
/// # Errors
/// There is something in the directory, or it cannot be written.
pub fn run(args: InitArgs) -> anyhow::Result<ExitCode> {
    let directory = &args.directory;
    let shown = printable::path(directory);
    let created = create(directory).with_context(|| format!("failed to write the sample policy to {shown}"))?;
    let mut written = Vec::new();
    if let Err(error) = write(directory, &mut written) {
        // Nothing else was in there.
        written.iter().rev().for_each(|path| drop(fs::remove_file(path).or_else(|_| fs::remove_dir(path))));
        created.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
        return Err(error).with_context(|| format!("failed to write the sample policy to {shown}"));
    }
    print(&format!(
        "the sample policy is in {shown}, in report mode: it drops nothing until `mode = \"report\"` is removed from {shown}/{POLICY_FILE}\n\
         First put your own addresses into {shown}/lists/trunks.txt. Then:\n{}",
        next_steps(&shown)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// What to do next with the policy in this directory, with the remarks in one column.
fn next_steps(directory: &str) -> String {
    let steps = [
        (format!("ringfence check {directory}"), "errors and warnings"),
        (format!("ringfence test {directory}"), "its own test cases"),
        (
            format!("ringfence run --interface eth0 --policy {directory}"),
            "counts what it would drop; `ip -brief link` lists interfaces",
        ),
        ("ringfence status".to_owned(), "what it has counted"),
    ];
    let width = steps.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    steps.iter().map(|(command, remark)| format!("  {command:width$}   # {remark}\n")).collect()
}

/// Makes sure that the directory is there and empty. Returns the directories that had to be created, the outermost first.
fn create(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                let name = entry?.file_name();
                if name != IGNORED {
                    bail!("it is not empty: there is {} in it", printable::path(Path::new(&name)));
                }
            }
            Ok(Vec::new())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let missing = directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
            let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
            missing.reverse();
            fs::create_dir_all(directory)?;
            Ok(missing)
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes every file, and notes what it has created.
fn write(directory: &Path, written: &mut Vec<PathBuf>) -> io::Result<()> {
    for (name, content) in sample_policy::FILES {
        let path = directory.join(name);
        if let Some(folder) = path.parent()
            && !folder.exists()
        {
            fs::create_dir(folder)?;
            written.push(folder.to_owned());
        }
        let mut file = File::create_new(&path)?;
        written.push(path);
        if *name == POLICY_FILE {
            file.write_all(&in_report_mode(content))?;
        } else {
            file.write_all(content)?;
        }
    }
    Ok(())
}

/// The sample's policy file, with the mode at its head.
fn in_report_mode(policy: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(policy).replacen(VERSION_LINE, WITH_MODE, 1).into_bytes()
}
