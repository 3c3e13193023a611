//! Where the demo shows its progress.

use std::{
    io::{IsTerminal as _, Write as _},
    process::Stdio,
};

use anyhow::{Context as _, Result};

/// Standard output, or standard error if standard output is reserved for the JSON summary.
pub(super) struct Screen {
    json: bool,
    colours: bool,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        let terminal = if json { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        Self { json, colours: terminal && std::env::var_os("NO_COLOR").is_none() }
    }

    pub(super) fn say(&self, text: &str) {
        // A closed pipe is no reason to fail: the exit status is still the result.
        let _ = if self.json {
            writeln!(std::io::stderr(), "{text}")
        } else {
            writeln!(std::io::stdout(), "{text}").and_then(|()| std::io::stdout().flush())
        };
    }

    /// For the standard output of a child process.
    pub(super) fn output(&self) -> Result<Stdio> {
        use std::os::fd::AsFd;
        let screen = if self.json {
            std::io::stderr().as_fd().try_clone_to_owned()
        } else {
            std::io::stdout().as_fd().try_clone_to_owned()
        };
        Ok(screen.context("failed to duplicate the output stream")?.into())
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    pub(super) fn styled(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
