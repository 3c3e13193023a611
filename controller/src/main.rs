//! The `ringfence` binary.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser;
use filter_policy::language::printable;
use ringfence::{
    cli,
    outputs::{Log, is_journal},
};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, writer::BoxMakeWriter},
};

/// Puts the priority of each line before it, as the journal reads it (sd-daemon(3)).
struct WithPriority(BoxMakeWriter);

impl<'a> MakeWriter<'a> for WithPriority {
    type Writer = Box<dyn io::Write + 'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Box::new(self.0.make_writer())
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        let priority = match *metadata.level() {
            Level::ERROR => ERROR,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        Box::new(Line { priority, to: self.0.make_writer_for(metadata) })
    }
}

/// syslog(3)'s number.
const ERROR: u8 = 3;

/// A writer of one line.
struct Line<W> {
    priority: u8,
    to: W,
}

impl<W: io::Write> io::Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A log takes what it gets at once as one line.
        let prefixed = [format!("<{}>", self.priority).as_bytes(), line].concat();
        self.to.write_all(&prefixed).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // The daemon must not wait for the reader of its log; a command ends when its output has been written.
    let log = matches!(cli.command, cli::Command::Run(_)).then(Log::stderr).and_then(Result::ok);
    let writer = match log.clone() {
        Some(log) => BoxMakeWriter::new(move || log.clone()),
        None => BoxMakeWriter::new(io::stderr),
    };
    let filter = EnvFilter::try_from_env("RINGFENCE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let to_journal = is_journal(io::stderr());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    if to_journal {
        // The journal has the time.
        subscriber.with_ansi(false).without_time().with_level(false).with_writer(WithPriority(writer)).init();
    } else {
        subscriber.with_ansi(cli::coloured(&io::stderr())).with_writer(writer).init();
    }
    let code = cli::run(cli).unwrap_or_else(|error| {
        let mut text = format!("ringfence: {}\n", printable::lines(&format!("{error:#}")));
        if let Some(help) = cli::help(&error) {
            text += &format!("help: {help}\n");
        }
        if to_journal {
            text = text.lines().map(|line| format!("<{ERROR}>{line}\n")).collect();
        }
        let _ = match log.clone() {
            Some(mut log) => log.write_all(text.as_bytes()),
            None => io::stderr().write_all(text.as_bytes()),
        };
        ExitCode::from(cli::exit_status(&error))
    });
    if let Some(log) = log {
        log.finish();
    }
    code
}
