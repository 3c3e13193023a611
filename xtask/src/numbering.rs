//! `cargo xtask numbering`: regenerates the built-in numbering tables from libphonenumber's metadata.
//!
//! The metadata is in the PyPI package `phonenumbers`. A pinned version of it is installed into a virtual environment of
//! this working copy. To update the tables, pin a newer version, run this again, and review the diff.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use crate::{
    setup, versions,
    workspace::{self, run, run_silently},
};

/// It lies next to most of the tables that it writes.
const GENERATOR: &str = "filter-policy/src/numbering/generate.py";

/// Where it writes.
const WRITTEN: [&str; 2] = ["filter-policy/src/numbering", "filter-core/src/trunk_zero.rs"];

/// Writes the tables.
pub(crate) fn run_generator() -> Result<()> {
    let environment = workspace::tools().join(format!("phonenumbers-{}", versions::PHONENUMBERS));
    let python = environment.join("bin/python");
    // Written last, so that an interrupted installation starts again.
    let installed = environment.join("installed");
    if !installed.exists() {
        println!("installing phonenumbers {} into {}", versions::PHONENUMBERS, environment.display());
        run_silently(Command::new(setup::python()).args(["-m", "venv", "--clear"]).arg(&environment))
            .context("failed to create a virtual environment (Debian: apt-get install python3-venv)")?;
        run_silently(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .arg(format!("phonenumbers=={}", versions::PHONENUMBERS)),
        )?;
        fs::write(&installed, "").with_context(|| format!("failed to write {}", installed.display()))?;
    }
    let generator = workspace::root().join(GENERATOR);
    run(Command::new(&python).arg(&generator))?;
    println!("to review the changes: git diff {}", WRITTEN.join(" "));
    Ok(())
}
