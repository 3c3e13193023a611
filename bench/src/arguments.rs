//! The arguments of `cargo xtask bench`. xtask parses them and shows the help; the bench itself gets the same arguments.

use std::path::PathBuf;

/// What to measure, and where to write the results.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to measure [default: everything but `profile`].
    #[arg(value_enum, value_name = "PART")]
    pub parts: Vec<Part>,
    /// Fewer rounds: quick and inaccurate.
    #[arg(long)]
    pub quick: bool,
    /// Of the parts `packet` and `profile`, measure only the tables whose title contains this.
    #[arg(long, value_name = "TEXT", conflicts_with = "write")]
    pub only: Option<String>,
    /// Print everything as one JSON object on the last line of standard output; tables go to standard error.
    #[arg(long)]
    pub json: bool,
    /// Write the costs of all rows into this file, to compare later runs with.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Show each row beside that of an older run, which `--save` or `--write` has written.
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// As `--compare`, and fail if a row of Ringfence's costs over 5 % more, relative to the baseline of each run: for example
    /// `--against docs/benchmarks/safe-ret.json`.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    pub against: Option<PathBuf>,
    /// Write the results into docs/BENCHMARKS.md and docs/benchmarks/.
    #[arg(long)]
    pub write: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// The cost of one packet, with BPF_PROG_TEST_RUN
    Packet,
    /// The cost of one packet as a network card's driver sees it: live frames, compared with other filters
    Live,
    /// The lines of the source that a packet's time goes into, by sampling
    Profile,
    /// A flood of one packet at full rate over a veth pair, compared with other filters
    Veth,
    /// The time and memory that a new policy takes, and what happens to packets meanwhile
    Swap,
    /// A flood over a veth pair, compared with other filters
    Flood,
}

impl Part {
    /// The parts with results for the document.
    pub(crate) const MEASURED: &[Self] = &[Self::Packet, Self::Live, Self::Veth, Self::Swap, Self::Flood];

    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
