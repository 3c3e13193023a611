//! What Ringfence costs, compared with its alternatives. `cargo xtask bench` builds and runs this.

#![warn(clippy::wildcard_enum_match_arm, unreachable_pub)]

mod arguments;
mod compare;
mod compared;
mod document;
mod driver;
mod filters;
mod flood;
mod generate;
mod instructions;
mod live;
mod machine;
mod messages;
mod micro;
mod namespace;
mod policies;
mod profile;
mod report;
mod results;
#[cfg(test)]
mod returns;
mod sample_policy;
mod swap;
mod veth;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde_json::json;

use crate::{
    arguments::{Arguments, Part},
    machine::Machine,
    micro::Effort,
    report::{Table, Target},
    results::Results,
};

#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", about = "Measure what the filter costs")]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    match run(&Cli::parse().arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let say = |table: &Table| {
        if arguments.json { eprint!("{}", table.plain()) } else { print!("{}", table.plain()) }
    };
    // Read this first: later, this process itself is the load, and is restricted to one CPU.
    let machine = Machine::read();
    let heading = format!("On {} ({})", machine.text(), machine.kind().name());
    if arguments.json {
        eprintln!("{heading}")
    } else {
        println!("{heading}")
    }
    let effort =
        if arguments.quick { Effort { rounds: 3, repeat: 1 << 18 } } else { Effort { rounds: 9, repeat: 1 << 19 } };
    // Read it before measuring, which takes minutes.
    let older = arguments.against.as_ref().or(arguments.compare.as_ref());
    let older = older.map(|path| Results::read(path)).transpose()?;
    let parts = if arguments.parts.is_empty() { Part::MEASURED } else { &arguments.parts };
    let mut sections = Vec::new();
    for part in parts {
        let mut section = match part {
            Part::Profile => {
                profile::run(arguments.quick, arguments.only.as_deref().unwrap_or_default(), &say)?;
                continue;
            }
            Part::Flood => flood::run(arguments.quick, &say)?,
            Part::Live => live::run(arguments.quick, &say)?,
            Part::Packet => micro::run(effort, arguments.only.as_deref().unwrap_or_default(), &say)?,
            Part::Veth => veth::run(arguments.quick, &say)?,
            Part::Swap => swap::run(arguments.quick, &say)?,
        };
        section.targets = section.targets.into_iter().map(|target| target.judged_on(machine.kind())).collect();
        say(&report::targets(&section.targets));
        sections.push(section);
    }
    let results = Results::new(&sections, &machine);
    if arguments.write {
        sections.iter().try_for_each(|section| document::write(section, &machine))?;
        results.write(&document::results_of(machine.kind()))?;
    }
    if let Some(path) = &arguments.save {
        results.write(path)?;
    }
    if let Some(older) = &older {
        compare::tables(older, &results).iter().for_each(say);
    }
    if arguments.json {
        let tables: Vec<_> = sections.iter().flat_map(|section| &section.tables).map(Table::json).collect();
        let targets: Vec<_> = sections.iter().flat_map(|section| &section.targets).map(Target::json).collect();
        println!("{}", json!({ "machine": machine.json(), "tables": tables, "targets": targets }));
    }
    match older {
        Some(older) if arguments.against.is_some() => compare::check(&older, &results),
        _ => Ok(()),
    }
}
