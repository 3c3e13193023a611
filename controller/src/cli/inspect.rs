//! `ringfence inspect`: what the engine reads in messages.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufWriter, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use filter_core::{
    layout::Transport,
    limits::MAX_PORTS,
    scratch::{Kind, Scratch},
};
use serde_json::Value;
use zerocopy::FromZeros as _;

use super::{EXIT_USAGE, exit_status, help, is_closed_pipe, policy_or_sample, unless_closed};
use crate::kernel::Instance;
use filter_policy::{
    capture,
    engine::{self, Endpoints, Engine, Reading, datagram, inspection},
    image::Image,
    language::printable,
};

/// Which host runs the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineChoice {
    /// In this process
    User,
    /// In the kernel, through BPF_PROG_TEST_RUN (needs root)
    Kernel,
}

/// Show what the engine reads in SIP messages, one message per file, or in a pcap or pcapng capture
///
/// Numbers are normalised by the policy's [numbering]. A source's asserted identity is believed if the policy believes it.
/// In a capture, packets to every port that carries SIP are read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the messages were printed
  1  the policy has errors
  2  a file cannot be read, is neither a capture nor a message, or holds packets that cannot be read
  3  the system refused (with --engine kernel)

Examples:
  ringfence inspect invite.sip
  ringfence inspect --policy policies --json yesterday.pcap")]
pub struct InspectArgs {
    /// Files: captures, or raw messages, each exactly the payload of one UDP datagram
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Which host runs the engine
    #[arg(long, value_enum, default_value = "user")]
    pub engine: EngineChoice,
    /// The policy repository whose numbering is used; the sample policy's if not given
    #[arg(long, value_name = "DIR")]
    pub policy: Option<PathBuf>,
    /// The source address that raw messages come from
    #[arg(long, value_name = "ADDR", default_value = "192.0.2.1")]
    pub source: IpAddr,
    /// Print JSON, one object per message
    #[arg(long)]
    pub json: bool,
}

/// The engine in either host.
enum Host<'a> {
    User(Box<Engine<'a>>),
    Kernel(Box<Instance>, Box<Scratch>),
}

impl Host<'_> {
    /// Runs a packet; returns what was read if it was for a signalling port.
    fn read(&mut self, packet: &[u8]) -> anyhow::Result<Option<Reading<'_>>> {
        let reading = match self {
            Self::User(engine) => {
                engine.decide(packet);
                engine.scratch()
            }
            Self::Kernel(instance, scratch) => {
                **scratch = *instance.read(packet)?;
                &**scratch
            }
        };
        Ok((reading.message.kind != Kind::Unread).then(|| Reading::new(reading)))
    }
}

/// Runs `ringfence inspect`.
///
/// # Errors
/// A file cannot be read, the policy has errors, or the kernel refuses.
pub fn run(args: InspectArgs) -> anyhow::Result<ExitCode> {
    let built = match policy_or_sample(args.policy.as_deref(), args.json)? {
        Ok(built) => built,
        Err(code) => return Ok(code),
    };
    let mut output = BufWriter::new(io::stdout().lock());
    let mut status = ExitCode::SUCCESS;
    let messages = inspection(built.image.clone(), &[(5060, Transport::Udp)]);
    let mut host = None;
    for file in &args.files {
        let result = match capture::is_capture(file) {
            Err(error) => Err(error.into()),
            Ok(true) => signalling_ports(file).and_then(|ports| {
                let image = inspection(built.image.clone(), &ports);
                let mut host = open(args.engine, &image)?;
                inspect_capture(file, &mut host, args.json, &mut output)
            }),
            Ok(false) => {
                // Loading the program takes longer than reading a message, so all messages share one.
                let host = match &mut host {
                    Some(host) => host,
                    None => host.insert(open(args.engine, &messages)?),
                };
                inspect_message(file, &args, host, &mut output)
            }
        };
        match result {
            Ok(()) => {}
            Err(error) if is_closed_pipe(&error) => return Ok(ExitCode::SUCCESS),
            Err(error) if exit_status(&error) != EXIT_USAGE => return Err(error),
            Err(error) => {
                unless_closed(output.flush())?;
                eprintln!("ringfence: {}", printable::lines(&format!("{error:#}")));
                if let Some(help) = help(&error) {
                    eprintln!("help: {help}");
                }
                status = ExitCode::from(EXIT_USAGE);
            }
        }
    }
    unless_closed(output.flush())?;
    Ok(status)
}

fn open(choice: EngineChoice, image: &Image) -> anyhow::Result<Host<'_>> {
    Ok(match choice {
        EngineChoice::User => Host::User(Box::new(Engine::new(image))),
        EngineChoice::Kernel => {
            let scratch = Scratch::new_box_zeroed().map_err(|_| anyhow::anyhow!("no memory"))?;
            Host::Kernel(Box::new(Instance::load(image)?), scratch)
        }
    })
}

fn inspect_message(file: &Path, args: &InspectArgs, host: &mut Host<'_>, output: &mut dyn Write) -> anyhow::Result<()> {
    let message = fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
    let name = file.display().to_string();
    capture::check_message(&name, &message)?;
    if message.len() > engine::MAX_DATAGRAM {
        anyhow::bail!("{} is larger than a UDP datagram, {} bytes", file.display(), engine::MAX_DATAGRAM);
    }
    let packet = datagram(&Endpoints::from_source(args.source, 5060), &message);
    let reading = host.read(&packet)?.context("the packet was not read")?;
    let is_foreign = reading.kind() == Kind::NotSip.name();
    print(output, args.json, file, None, &reading)?;
    if is_foreign {
        capture::check_text(&name, &message)?;
    }
    Ok(())
}

fn inspect_capture(file: &Path, host: &mut Host<'_>, json: bool, output: &mut dyn Write) -> anyhow::Result<()> {
    let mut failed = None;
    let mut messages = 0_u64;
    let unjudged = capture::for_each_packet(file, |captured| {
        let Some(frame) = captured.frame.filter(|_| !captured.is_cut) else { return true };
        let result = host.read(&frame).and_then(|reading| match reading {
            // A segment without payload has nothing to show.
            Some(reading) if reading.kind() != Kind::Empty.name() => {
                messages += 1;
                print(output, json, file, Some(captured.number), &reading)
            }
            _ => Ok(()),
        });
        match result {
            Ok(()) => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    unjudged.check(file)?;
    if messages == 0 {
        unless_closed(output.flush())?;
        eprintln!("ringfence: {}: no messages in {} packets", printable::path(file), unjudged.packets);
    }
    Ok(())
}

/// The ports that a capture's SIP messages go to, and 5060.
fn signalling_ports(file: &Path) -> anyhow::Result<Vec<(u16, Transport)>> {
    use etherparse::TransportSlice;
    let mut ports = BTreeSet::from([(5060, Transport::Udp), (5060, Transport::Tcp)]);
    capture::for_each_packet(file, |captured| {
        let Some(frame) = captured.frame else { return true };
        let Ok(packet) = etherparse::SlicedPacket::from_ethernet(&frame) else { return true };
        let (port, transport, payload) = match packet.transport {
            Some(TransportSlice::Udp(udp)) => (udp.destination_port(), Transport::Udp, udp.payload()),
            Some(TransportSlice::Tcp(tcp)) => (tcp.destination_port(), Transport::Tcp, tcp.payload()),
            _ => return true,
        };
        if port != 0 && payload.windows(7).take(4096).any(|window| window == b"SIP/2.0") {
            ports.insert((port, transport));
        }
        true
    })?;
    if ports.len() > MAX_PORTS {
        eprintln!(
            "ringfence: {}: SIP on more than {MAX_PORTS} ports: only the lowest ones are read",
            printable::path(file)
        );
    }
    Ok(ports.into_iter().take(MAX_PORTS).collect())
}

fn print(
    output: &mut dyn Write,
    json: bool,
    file: &Path,
    packet: Option<u64>,
    reading: &Reading<'_>,
) -> anyhow::Result<()> {
    let fields = reading.to_json();
    if json {
        let mut object = serde_json::Map::new();
        object.insert("file".to_owned(), Value::from(file.display().to_string()));
        if let Some(number) = packet {
            object.insert("packet".to_owned(), Value::from(number));
        }
        object.extend(fields);
        writeln!(output, "{}", printable::json_line(&object))?;
        return Ok(());
    }
    match packet {
        Some(number) => writeln!(output, "{} packet {number}", printable::path(file))?,
        None => writeln!(output, "{}", printable::path(file))?,
    }
    for (name, value) in fields {
        let text = match value {
            Value::Null => continue,
            Value::Array(values) if values.is_empty() => continue,
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            Value::String(text) => printable::escaped(&text),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
        };
        writeln!(output, "  {name:<17} {text}")?;
    }
    Ok(())
}
