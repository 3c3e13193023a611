//! The bodies of the fuzz targets: the engine and the naive oracle side by side, and everything that parses.
//!
//! They are here, and not in the fuzz targets, so that an ordinary test can run every input that was ever worth keeping. A
//! target panics where the two differ; the engine holds no unsafe code, so that what a sanitizer would find is a panic too.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use filter_policy::{build, engine::Engine, files::Table, image::Image, model::Policy, today};

use crate::{
    compare::{as_engine, of_oracle, readings, same},
    decide::{Memory, decide},
    generate::{
        self, Random,
        frame::{Packet, packet as random_packet},
        seeded_policy,
    },
};

/// A policy with its image.
struct Compiled {
    policy: Policy,
    image: Image,
    /// The engine reads everything there is, so that readings can be compared.
    inspect: bool,
}

/// The policy that a number stands for: a random one, made once. Under the upper half of those of [`oracle`] the engine reads
/// no more than the policy asks for, in one part or two.
fn compiled(number: u8) -> Rc<Compiled> {
    thread_local! {
        static COMPILED: RefCell<HashMap<u8, Rc<Compiled>>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        let make = || {
            let mut policy = seeded_policy::policy(&mut Random(number.into()));
            // What is not under test must not be asked: a policy without rules only reads.
            if number == READS_ONLY {
                policy.rules.clear();
            }
            let inspect = number < POLICIES / 2;
            let image = seeded_policy::image(&policy, inspect);
            Rc::new(Compiled { policy, image, inspect })
        };
        compiled.entry(number).or_insert_with(make).clone()
    })
}

/// The policy that decides nothing.
const READS_ONLY: u8 = 0;

/// Policies that whole decisions are tried under.
const POLICIES: u8 = 64;

/// Runs frames through the engine and the oracle, with this policy.
///
/// # Panics
/// They differ.
fn agree(policy: u8, frames: &[Vec<u8>]) {
    let compiled = compiled(policy);
    let mut engine = Engine::new(&compiled.image);
    let mut memory = Memory::default();
    for frame in frames {
        let (expected, message) = decide(&compiled.policy, compiled.inspect, &mut memory, frame);
        let decided = engine.decide(frame);
        assert_eq!(decided, as_engine(&expected), "the engine (left) and the oracle decide differently");
        if let Some(message) = message.filter(|_| compiled.inspect)
            && let Err(what) = same("engine", &readings(engine.scratch()), "oracle", &of_oracle(&message))
        {
            panic!("{what}");
        }
    }
}

/// A payload in a frame for a signalling port: by the first bit in a UDP datagram, or in a TCP segment.
fn frame(tcp: bool, payload: &[u8]) -> Vec<u8> {
    Packet {
        tags: Vec::new(),
        source: [10, 0, 0, 1].into(),
        destination: [192, 0, 2, 1].into(),
        options: 0,
        extensions: Vec::new(),
        fragment: None,
        tcp: tcp.then_some(0x18),
        source_port: 40_000,
        port: 5060,
        lies: (0, 0),
        pieces: vec![payload[..payload.len().min(60_000)].to_vec()],
        padding: 0,
        cut: None,
        flips: Vec::new(),
    }
    .frame()
}

/// Frames, from the Ethernet header on. Bytes `ff fe fd` separate several, which share what is remembered of flows.
pub fn packet(data: &[u8]) {
    let mut frames = vec![Vec::new()];
    let mut rest = data;
    while let Some((&byte, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(&[0xff, 0xfe, 0xfd]) {
            frames.push(Vec::new());
            rest = behind;
        } else {
            frames.last_mut().expect("there is one").push(byte);
            rest = behind;
        }
    }
    frames.truncate(8);
    agree(READS_ONLY, &frames);
}

/// A message as a UDP datagram, and as a TCP segment.
pub fn message(data: &[u8]) {
    agree(READS_ONLY, &[frame(false, data), frame(true, data)]);
}

/// The value of every header field that holds a URI, and the Request-URI.
pub fn uri(data: &[u8]) {
    let mut message = [b"INVITE ", data, b" SIP/2.0\r\n"].concat();
    for name in ["From", "To", "P-Asserted-Identity", "Remote-Party-ID", "Diversion", "History-Info", "History-Info"] {
        message.extend([name.as_bytes(), b": ", data, b"\r\n"].concat());
    }
    message.extend(b"\r\n");
    agree(READS_ONLY, &[frame(false, &message)]);
}

/// The user part of a URI as a number, under the numbering of the policy that the first byte names.
pub fn number(data: &[u8]) {
    let Some((&policy, user)) = data.split_first() else { return };
    let message = [
        b"OPTIONS sip:",
        user,
        b"@h SIP/2.0\r\nFrom: <tel:",
        user,
        b">\r\nP-Asserted-Identity: <sip:",
        user,
        b"@h>\r\n\r\n",
    ];
    agree(policy % 32, &[frame(false, &message.concat())]);
}

/// Whole decisions: the policy that the first byte names, and a frame, twice.
pub fn oracle(data: &[u8]) {
    let Some((&policy, frame)) = data.split_first() else { return };
    agree(policy % POLICIES, &[frame.to_vec(), frame.to_vec()]);
}

/// Policy files: `policy.toml`, then behind a zero byte each the lists that it may name. Whatever they hold is a policy or
/// diagnostics, and the same each time.
pub fn policy(data: &[u8]) {
    let mut parts = data.splitn(4, |&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let files = [("policy.toml", part()), ("lists/a.txt", part()), ("lists/b.csv", part()), ("lists/c.txt", part())];
    if let Ok(built) = build(&Table(&files), today()) {
        let again = build(&Table(&files), today()).ok().map(|built| built.image.hash);
        assert_eq!(Some(built.image.hash), again, "one policy, two images");
    }
}

/// What a fuzz target does with its input.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 6] = [
    ("message", message),
    ("number", number),
    ("oracle", oracle),
    ("packet", packet),
    ("policy", policy),
    ("uri", uri),
];

/// Inputs to begin with, by target.
pub fn examples() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let messages = (0..60).map(|number| generate::payload(&mut Random(number)).concat()).collect();
    let frames: Vec<Vec<u8>> = (0..100).map(|number| random_packet(&mut Random(number), number).frame()).collect();
    let with_policy = |index: usize, bytes: &[u8]| [&[index as u8], bytes].concat();
    let decisions = frames.iter().enumerate().map(|(index, frame)| with_policy(index, frame)).collect();
    let uris = (0..60).map(|number| generate::name_addr(&mut Random(number), true).into_bytes()).collect();
    let numbers =
        (0..60usize).map(|number| with_policy(number, generate::user(&mut Random(number as u64)).as_bytes())).collect();
    let policies = [
        &include_bytes!("../../../policies/policy.toml")[..],
        b"version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[sets.a]\naddresses = \"lists/a.txt\"\n[sets.b]\n\
          numbers = \"lists/b.csv\"\n[sets.c]\nuser_agents = \"lists/c.txt\"\n[[rule]]\nname = \"x\"\nmatch = { source = \"@a\", \
          not.calling = [\"@b\", \"911$\"], user_agent = \"@c\" }\naction = { ban = \"1h\" }\n\0\
          10.0.0.0/8 # x\n2001:db8::1\n\0number,score\n+1605562,80\n911$,\n\0friendly-scanner\n^sip(vicious|cli)\n",
    ];
    vec![
        ("message", messages),
        ("number", numbers),
        ("oracle", decisions),
        ("packet", frames),
        ("policy", policies.map(<[u8]>::to_vec).to_vec()),
        ("uri", uris),
    ]
}
