//! What `cargo xtask bench` can be told: xtask shows the help and builds the bench, which then gets the same words.

/// What to measure, and what to do with it.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// What to measure [default: all].
    #[arg(value_enum, value_name = "PART")]
    pub parts: Vec<Part>,
    /// Fewer rounds: for a look, not for a document.
    #[arg(long)]
    pub quick: bool,
    /// Measure only the tables of one packet whose title has this in it.
    #[arg(long, value_name = "TEXT", conflicts_with = "write")]
    pub only: Option<String>,
    /// Print everything as one JSON object on the last line of standard output; tables go to standard error.
    #[arg(long)]
    pub json: bool,
    /// Write what was measured into docs/BENCHMARKS.md.
    #[arg(long)]
    pub write: bool,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// What one packet costs, by BPF_PROG_TEST_RUN
    Packet,
    /// How long a new policy takes, what memory, and what becomes of packets meanwhile
    Swap,
    /// A flood over a veth pair, against what one would use instead
    Flood,
}
