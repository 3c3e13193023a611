//! The cost of one packet on live frames: the kernel runs a program on frames such as a network card's driver has, and does
//! with them what the program says (BPF_F_TEST_XDP_LIVE_FRAMES). Dropped frames go back to their pool, passed ones up the
//! stack of the interface that they seem to come from, to the filters there. No frame is copied or sent, so this is as close
//! as one gets without a network card.
//!
//! A row has figures only if the filter's own counter shows, after each round, that it dropped every frame.

use std::{path::Path, rc::Rc};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, TestRun as _, TestRunOptions,
    programs::{TestRunAttrs, Xdp},
    sys::{Stats, enable_stats},
};
use filter_core::layout::Counter;
use filter_policy::image::Image;
use ringfence::kernel::Instance;
use ringfence_tests::netns::{Wire, WireOptions};

use crate::{
    arguments::Part,
    compared::{self, BARE, Row, measure, minimum},
    document::Section,
    driver::{self, Driver, Entries, Record, XDP_DROP},
    filters::{InPlace, Kind, SAMPLE_RULE, put, remark},
    generate::{self, Packet, Prefix, Random},
    messages::{SCANNER, frame, scanner_message},
    namespace::ip_packets,
    policies::{self, Lists},
    report::{Table, Target},
    sample_policy,
};

/// Frames per batch. A driver takes as many from its queue at once.
const BATCH: u32 = 64;

/// How much to run.
#[derive(Clone, Copy)]
struct Effort {
    rounds: u32,
    /// Frames per round: a multiple of [`BATCH`], because the kernel finishes a batch that it has begun.
    frames: u32,
}

const THIS_AGENT: &str = "XDP program for this one user agent";
const DRIVEN_BARE: &str = "bare XDP_DROP, many sources";
const DRIVEN_1000: &str = "Ringfence, many sources of a list of 1,000";

/// Runs both comparisons.
pub(crate) fn run(quick: bool, say: &dyn Fn(&Table)) -> Result<Section> {
    let _cpu = driver::OneCpu::stay()?;
    let effort = if quick { Effort { rounds: 3, frames: 1 << 16 } } else { Effort { rounds: 9, frames: 1 << 19 } };
    let folder = ringfence_tests::scratch()?;
    let receiver = Rc::new(Receiver::new()?);
    let (scanners, target) = scanner(&receiver, effort, folder.path())?;
    say(&scanners);
    let (sources, other) = blocked(&receiver, effort)?;
    say(&sources);
    Ok(Section {
        part: Part::Live,
        title: "Live frames",
        command: "cargo xtask bench live",
        text: "Measured with BPF_PROG_TEST_RUN on live frames, which seem to arrive on one end of a veth pair in batches of 64: \
               the kernel does with each frame what the program says. Dropped frames return to their pool, as in a network \
               card's driver; frames that the program passes go up the stack, to iptables and nftables. The rows of a table take \
               turns, round by round. Nanoseconds are counted by the kernel, which rounds them; packets per second and ratios \
               follow from the minimum. After each round, the row's own counter must have counted every frame as dropped.",
        tables: vec![scanners, sources],
        targets: vec![target, other],
    })
}

/// A flood from a scanner that is recognised by its user agent.
fn scanner(receiver: &Rc<Receiver>, effort: Effort, scratch: &Path) -> Result<(Table, Target)> {
    let packet = frame(&receiver.wire, SCANNER, &scanner_message())?;
    let own =
        |name| -> Result<Subject> { Ok(Subject::new(receiver, Program::Own(driver::load(name)?, name), &packet)) };
    let ringfence = |image: Image, rule: &str| -> Result<Subject> {
        Ok(Subject::new(receiver, Program::Ringfence(load(image, rule)?), &packet))
    };
    // An interface of its own, so that the filter is not in the way of the other rows.
    let in_stack = |kind| -> Result<Subject> {
        let receiver = Rc::new(Receiver::new()?);
        let packet = frame(&receiver.wire, SCANNER, &scanner_message())?;
        let filter = put(kind, &receiver.wire, scratch, Path::new(""))?;
        let program = Program::Own(driver::load("pass_all")?, "pass_all");
        Ok(Subject { stack: Some((kind, filter)), ..Subject::new(&receiver, program, &packet) })
    };
    let large = policies::all_scopes(&Lists::generated(100_000, 100_000)).build()?;
    let mut rows = vec![
        Row::new(BARE, own("drop_all")),
        Row::new(THIS_AGENT, own("scan_agent"))
            .remarked(Some("copies the message, finds its lines and compares one header, as spelled in this flood")),
    ];
    for kind in [Kind::Iptables, Kind::Nftables] {
        rows.push(Row::new(kind.name(), in_stack(kind)).remarked(remark(kind)));
    }
    rows.push(Row::new(Kind::Sample.name(), ringfence(sample_policy::sample()?, SAMPLE_RULE)));
    rows.push(Row::new(Kind::Large.name(), ringfence(large, policies::SCANNER_RULE)));
    measure(&mut rows, effort.rounds, |subject, round| subject.round(effort.frames, round));
    let title = "A scanner's INVITE of 900 bytes";
    let table =
        compared::table(title, "The scanner's packet of the flood, dropped for its user agent.\n", &rows, THIS_AGENT);
    let name = "live frames, scanner flood dropped by user agent, packets/s against iptables, string match";
    let ours = minimum(&rows, Kind::Sample.name());
    let target = compared::target(name, ours, minimum(&rows, Kind::Iptables.name()), 1.8).noted("sample policy");
    Ok((table, target))
}

/// A flood from blocked addresses.
fn blocked(receiver: &Rc<Receiver>, effort: Effort) -> Result<(Table, Target)> {
    let packet = Packet::invite(4);
    let [few, many] = [1000, 100_000].map(|entries| (entries, generate::ipv4_prefixes(entries)));
    let sources = |(entries, prefixes): &(usize, Vec<Prefix>)| -> Vec<Record> {
        let mut random = Random::new(99);
        let count = (4 * entries).next_power_of_two();
        (0..count).map(|_| driver::record(random.one_of(prefixes).address(&mut random), ANY, ANY)).collect()
    };
    let instance = |(_, prefixes): &(usize, Vec<Prefix>)| {
        load(policies::block_list(generate::address_list(prefixes, 4)).build()?, "blocked")
    };
    let driven = |list: &(usize, Vec<Prefix>), instance| -> Result<Subject> {
        let driver = Box::new(Driver::new(&packet, &sources(list), &Entries::None)?);
        Ok(Subject::new(receiver, Program::Driven(driver, instance), &packet.frame))
    };
    let one_source = || -> Result<Subject> {
        let mut frame = packet.frame.clone();
        frame[packet.source..packet.source + 4].copy_from_slice(&sources(&few)[0].source[..4]);
        Ok(Subject::new(receiver, Program::Ringfence(instance(&few)?), &frame))
    };
    let bare = Subject::new(receiver, Program::Own(driver::load("drop_all")?, "drop_all"), &packet.frame);
    let mut rows = vec![
        Row::new(BARE, Ok(bare)),
        Row::new("Ringfence, one source of a list of 1,000", one_source()),
        Row::new(DRIVEN_BARE, driven(&few, None)),
        Row::new(DRIVEN_1000, instance(&few).and_then(|instance| driven(&few, Some(instance)))),
        Row::new(
            "Ringfence, many sources of a list of 100,000",
            instance(&many).and_then(|instance| driven(&many, Some(instance))),
        ),
    ];
    measure(&mut rows, effort.rounds, |subject, round| subject.round(effort.frames, round));
    let text = "An INVITE of 895 bytes from a blocked source. In the rows with many sources, another program comes first and writes \
                a random address of the list into each frame; its cost is part of the figures.\n";
    let table = compared::table("Block-listed sources", text, &rows, BARE);
    let figures = [DRIVEN_1000, DRIVEN_BARE, BARE].map(|name| minimum(&rows, name));
    // Without the program that comes first, whose cost is the difference between the two bare rows.
    let ours = if let [Some(ours), Some(driven), Some(bare)] = figures { Some(ours - driven + bare) } else { None };
    let name = "live frames, sources in a list of 1,000, packets/s against bare XDP_DROP";
    let note = "many sources, without the cost of writing them";
    Ok((table, compared::target(name, ours, figures[2], 0.6).noted(note)))
}

/// The numbers of a packet whose numbers are not read.
const ANY: [u8; 10] = *b"2125550100";

/// The counter of the rule that must drop every frame. All other rules count in another one.
const DROPPING: u32 = 1;

/// Loads a policy. The counter [`DROPPING`] is that of the rule with this name.
fn load(mut image: Image, rule: &str) -> Result<Instance> {
    let index = image.rule_names.iter().position(|name| name == rule);
    let index = index.with_context(|| format!("there is no rule {rule}"))?;
    image.rules[index].slot = DROPPING as u16;
    Ok(Instance::load(&image)?)
}

/// The interface on which frames seem to arrive.
struct Receiver {
    wire: Wire,
    index: u32,
    /// The queues of a veth accept frames only while a program is attached.
    _program: Ebpf,
}

impl Receiver {
    fn new() -> Result<Self> {
        let wire = Wire::new(&WireOptions::default())?;
        let program = wire.server.within(|| driver::attach("pass_all", Wire::SERVER_INTERFACE))?;
        let text = wire.server.ip(&["-j", "link", "show", "dev", Wire::SERVER_INTERFACE])?;
        let facts: serde_json::Value = serde_json::from_str(&text).context("failed to parse the output of ip")?;
        let index = facts[0]["ifindex"].as_u64().context("the interface has no index")?;
        Ok(Self { wire, index: index as u32, _program: program })
    }

    /// Runs frames through a program. Returns the nanoseconds per frame, and how many frames reached the IP stack.
    fn receive(&self, program: &Xdp, frame: &[u8], frames: u32) -> Result<(f64, u64)> {
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, frame.len() as u32, 0, self.index, 0, 0].map(u32::to_ne_bytes).concat();
        self.wire.server.within(|| {
            let before = ip_packets()?;
            let options = TestRunOptions {
                data_in: Some(frame),
                ctx_in: Some(&context),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            };
            let result = program.test_run(options).context("failed to run live frames")?;
            Ok((result.duration.as_nanos() as f64, ip_packets()? - before))
        })
    }
}

/// What runs on the frames.
enum Program {
    /// A program of `bench-ebpf`, by name.
    Own(Ebpf, &'static str),
    Ringfence(Instance),
    /// The driver, which writes another source into each frame and passes it to `empty`, or to Ringfence.
    Driven(Box<Driver>, Option<Instance>),
}

impl Program {
    /// The program that gets the frames.
    fn xdp(&mut self) -> Result<&Xdp> {
        match self {
            Self::Own(ebpf, name) => Ok(driver::program(ebpf, name)?),
            Self::Ringfence(instance) => Ok(instance.program()?),
            Self::Driven(driver, instance) => {
                let target = match instance {
                    Some(instance) => instance.program()?.fd()?.try_clone()?,
                    None => driver.own("empty")?,
                };
                driver.direct(&target)
            }
        }
    }
}

/// What a row measures.
struct Subject {
    receiver: Rc<Receiver>,
    program: Program,
    /// The filter in the stack, if the program is not the filter.
    stack: Option<(Kind, InPlace)>,
    frame: Vec<u8>,
}

impl Subject {
    fn new(receiver: &Rc<Receiver>, program: Program, frame: &[u8]) -> Self {
        Self { receiver: receiver.clone(), program, stack: None, frame: frame.to_vec() }
    }

    /// Runs a round, and checks that each frame was dropped, and by what the row is about.
    fn round(&mut self, frames: u32, round: u32) -> Result<f64> {
        if round == 0 {
            self.check_bare()?;
        }
        let before = self.dropped()?;
        let (nanoseconds, in_stack) = self.receiver.receive(self.program.xdp()?, &self.frame, frames)?;
        let expected = if matches!(self.stack, Some((Kind::Iptables, _))) { frames.into() } else { 0 };
        ensure!(in_stack == expected, "{in_stack} of {frames} frames reached the IP stack, instead of {expected}");
        if let (Some(before), Some(after)) = (before, self.dropped()?) {
            let dropped = after - before;
            ensure!(dropped == u64::from(frames), "its counter shows {dropped} of {frames} frames");
        }
        Ok(nanoseconds)
    }

    /// The packets that the filter has dropped so far, by its own counter. The bare programs have none: [`Self::check_bare`].
    fn dropped(&self) -> Result<Option<u64>> {
        if let Some((kind, filter)) = &self.stack {
            return filter.dropped(*kind, &self.receiver.wire);
        }
        match &self.program {
            Program::Own(ebpf, "scan_agent") => driver::dropped(ebpf).map(Some),
            Program::Ringfence(instance) | Program::Driven(_, Some(instance)) => {
                let counters = instance.table("RULE_COUNTERS").context("the program counts no rules")?;
                let counts = counters.per_cpu::<Counter>(DROPPING)?;
                Ok(Some(counts.iter().map(|counter| counter.packets).sum()))
            }
            Program::Own(..) | Program::Driven(_, None) => Ok(None),
        }
    }

    /// Checks a program that only drops and has no counter: it must return XDP_DROP, and the kernel must count its runs.
    fn check_bare(&mut self) -> Result<()> {
        if self.stack.is_some() || self.dropped()?.is_some() {
            return Ok(());
        }
        let program = self.program.xdp()?;
        let options = TestRunOptions { data_in: Some(&self.frame), ..TestRunOptions::default() };
        let action = program.test_run(options)?.return_value;
        ensure!(action == XDP_DROP, "it returned XDP action {action}");
        let _counting = enable_stats(Stats::RunTime).context("failed to make the kernel count runs")?;
        let before = program.info()?.run_count();
        self.receiver.receive(program, &self.frame, BATCH)?;
        let runs = program.info()?.run_count() - before;
        ensure!(runs == u64::from(BATCH), "the kernel counted {runs} runs for {BATCH} frames");
        Ok(())
    }
}
