//! `cargo xtask numbering`: regenerates the built-in numbering tables from libphonenumber's metadata.
//!
//! The metadata comes as the PyPI package `phonenumbers`, of a pinned version, into a virtual environment of this working
//! copy. A newer version is taken by pinning it and running this again; the difference of the tables is what to review.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use crate::{
    setup, versions,
    workspace::{self, run, run_silently},
};

/// Beside the tables that it writes.
const GENERATOR: &str = "filter-policy/src/numbering/generate.py";

/// Writes the tables.
pub fn run_generator() -> Result<()> {
    let environment = workspace::tools().join(format!("phonenumbers-{}", versions::PHONENUMBERS));
    let python = environment.join("bin/python");
    // The last thing that is installed, so that an interrupted installation is begun anew.
    let installed = environment.join("installed");
    if !installed.exists() {
        println!("installing phonenumbers {} into {}", versions::PHONENUMBERS, environment.display());
        run_silently(Command::new(setup::python()).args(["-m", "venv", "--clear"]).arg(&environment))
            .context("failed to make a virtual environment (Debian: apt-get install python3-venv)")?;
        run_silently(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .arg(format!("phonenumbers=={}", versions::PHONENUMBERS)),
        )?;
        fs::write(&installed, "").with_context(|| format!("failed to write {}", installed.display()))?;
    }
    let generator = workspace::root().join(GENERATOR);
    run(Command::new(&python).arg(&generator))?;
    println!("see what has changed: git diff {}", GENERATOR.rsplit_once('/').map_or(GENERATOR, |(folder, _)| folder));
    Ok(())
}
