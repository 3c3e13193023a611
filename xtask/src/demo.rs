//! `cargo xtask demo`: real traffic through the filter, in network namespaces of its own.

use anyhow::{Result, bail};

/// What the demo can be told.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long traffic is sent.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub seconds: u32,
    /// Print the summary as one JSON object on the last line.
    #[arg(long)]
    pub json: bool,
}

/// Runs the demo.
pub fn run(arguments: &Arguments) -> Result<()> {
    bail!("the demo ({} s, json: {}) is not there yet", arguments.seconds, arguments.json)
}
