//! The bodies of the fuzz targets: the engine compared with the naive oracle, and every parser.
//!
//! They are here, not in the fuzz targets, so that an ordinary test can run the corpora. A target panics if the two differ.
//! The engine has no unsafe code, so anything a sanitizer would find is a panic too.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use filter_core::layout::{Event, NumberFormat, anomaly};
use filter_policy::{
    build,
    engine::{Engine, MessageReader, MessageTables},
    files::Table,
    image::Image,
    model::Policy,
    today,
};
use zerocopy::{FromZeros as _, IntoBytes as _};

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
    /// The engine reads everything, so that readings can be compared.
    inspect: bool,
}

/// The random policy with this number, made once. Under the upper half of the policies of [`oracle`], the engine reads only
/// what the policy needs, in one part or two.
fn compiled(number: u8) -> Rc<Compiled> {
    thread_local! {
        static COMPILED: RefCell<HashMap<u8, Rc<Compiled>>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        let make = || {
            let mut policy = seeded_policy::policy(&mut Random(number.into()));
            // Without rules the engine only reads: no decision can hide a difference in the readings.
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

/// The number of the policy without rules.
const READS_ONLY: u8 = 0;

/// Number of policies that whole decisions are compared under.
const POLICIES: u8 = 64;

/// Runs frames through the engine and the oracle under one policy.
///
/// # Panics
/// They differ.
fn agree(policy: u8, frames: &[Vec<u8>]) {
    let compiled = compiled(policy);
    let mut engine = Engine::new(&compiled.image);
    let mut memory = Memory::at(seeded_policy::time());
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

/// A payload in a frame for a signalling port, as a UDP datagram or a TCP segment.
fn frame(tcp: bool, payload: &[u8]) -> Vec<u8> {
    Packet {
        tags: Vec::new(),
        source: [10, 0, 0, 1].into(),
        destination: [192, 0, 2, 1].into(),
        options: 0,
        extensions: Vec::new(),
        fragment: None,
        tcp: tcp.then_some(0x18),
        sequence: 1,
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

/// Frames, from the Ethernet header on, separated by the bytes `ff fe fd`. They share fragment and flow state.
pub fn packet(data: &[u8]) {
    let mut frames = vec![Vec::new()];
    let mut rest = data;
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(next) = rest.strip_prefix(&[0xff, 0xfe, 0xfd]) {
            frames.push(Vec::new());
            rest = next;
        } else {
            frames.last_mut().expect("there is one").push(byte);
            rest = after;
        }
    }
    frames.truncate(8);
    agree(READS_ONLY, &frames);
    frames.iter().for_each(|frame| report(frame));
}

/// Reads a frame for an event, as the daemon does. What the program has read of it must stay as it is.
///
/// # Panics
/// It does not.
fn report(frame: &[u8]) {
    thread_local! {
        static READER: RefCell<MessageReader> = RefCell::new({
            let policy = compiled(READS_ONLY).policy.clone();
            MessageReader::new(MessageTables::new(policy, None).expect("the policy compiles"))
        });
    }
    // One of which the program has read nothing, and one of which it has read numbers and anomalies.
    let mut unread = Event::new_zeroed();
    unread.length = frame.len() as u32;
    (unread.slot, unread.time, unread.source_port, unread.interface) = (7, 8, 9, 10);
    let mut judged = unread;
    judged.anomalies = anomaly::SPLIT_MESSAGE;
    (judged.calling, judged.calling_format) = (0x1312_5550_100f_0000, NumberFormat::TooShort);
    (judged.called, judged.called_format) = (0x1312_5550_101f_0000, NumberFormat::TooLong);
    (judged.from, judged.asserted, judged.forwarded) =
        (0x1312_5550_102f_0000, 0x1312_5550_103f_0000, 0x1312_5550_104f_0000);
    for before in [unread, judged] {
        let mut after = before;
        READER.with_borrow_mut(|reader| reader.read(&mut after, frame));
        let known = |before, after| if before != 0 { before } else { after };
        let format = |number, before, after| if number != 0 { before } else { after };
        // All else is as before.
        let expected = Event {
            calling: known(before.calling, after.calling),
            called: known(before.called, after.called),
            from: known(before.from, after.from),
            asserted: known(before.asserted, after.asserted),
            forwarded: known(before.forwarded, after.forwarded),
            calling_format: format(before.calling, before.calling_format, after.calling_format),
            called_format: format(before.called, before.called_format, after.called_format),
            anomalies: before.anomalies | after.anomalies,
            within_dialog: after.within_dialog,
            method: after.method,
            attestation: after.attestation,
            user_agent_length: after.user_agent_length,
            call_id_length: after.call_id_length,
            user_agent: after.user_agent,
            call_id: after.call_id,
            ..before
        };
        assert_eq!(after.as_bytes(), expected.as_bytes(), "what the program has read (right) is not kept");
    }
}

/// A message, as a UDP datagram and as a TCP segment.
pub fn message(data: &[u8]) {
    agree(READS_ONLY, &[frame(false, data), frame(true, data)]);
}

/// A URI, as the value of every header field that has one and as the Request-URI.
pub fn uri(data: &[u8]) {
    let mut message = [b"INVITE ", data, b" SIP/2.0\r\n"].concat();
    const NAMES: [&str; 9] = [
        "From",
        "To",
        "Contact",
        "P-Asserted-Identity",
        "P-Preferred-Identity",
        "Remote-Party-ID",
        "Diversion",
        "History-Info",
        "History-Info",
    ];
    for name in NAMES {
        message.extend([name.as_bytes(), b": ", data, b"\r\n"].concat());
    }
    message.extend(b"\r\n");
    agree(READS_ONLY, &[frame(false, &message)]);
}

/// A number in the user part of a URI, under the numbering of the policy that the first byte selects.
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

/// Whole decisions: the first byte selects the policy, the rest is a frame, sent twice.
pub fn oracle(data: &[u8]) {
    let Some((&policy, frame)) = data.split_first() else { return };
    agree(policy % POLICIES, &[frame.to_vec(), frame.to_vec()]);
}

/// Policy files: `policy.toml`, then up to three lists, separated by zero bytes. Any input gives either a policy or
/// diagnostics, and the same result each time.
pub fn policy(data: &[u8]) {
    let mut parts = data.splitn(4, |&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let files = [("policy.toml", part()), ("lists/a.txt", part()), ("lists/b.csv", part()), ("lists/c.txt", part())];
    if let Ok(built) = build(&Table(&files), today()) {
        let again = build(&Table(&files), today()).ok().map(|built| built.image.hash);
        assert_eq!(Some(built.image.hash), again, "one policy gave two images");
    }
}

/// The body of a fuzz target.
pub type Target = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Target); 6] = [
    ("message", message),
    ("number", number),
    ("oracle", oracle),
    ("packet", packet),
    ("policy", policy),
    ("uri", uri),
];

/// Initial inputs, by target.
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
