//! The daemon's outputs, received by the programs that operators use: HEP3 by Kamailio and sngrep, rotation by logrotate.

use std::{collections::BTreeMap, fs, net::UdpSocket, path::Path, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ringfence::{
    outputs::{self, Destination, HepOptions, Host, OutputOptions, Outputs},
    telemetry::{Bus, CapturedPacket, Message as BusMessage, PacketEvent},
};
use ringfence_tests::{
    message::Message,
    netns::{Namespace, ensure_root},
    process::{Spawned, wait_until},
    scratch,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Bytes before the payload: the headers of Ethernet, IPv4 and UDP.
const HEADERS: usize = 42;

/// A packet event as the daemon's JSON has it; what is not about this test is left out where it may be.
fn event(call_id: &str) -> Result<PacketEvent> {
    let json = format!(
        r#"{{"event":"packet","time":"2026-11-28T17:00:00.000Z","verdict":"drop","mode":"enforce","reason":"rule-drop",
        "rule":"scanners","action":"drop","source":"10.20.0.66","source_port":5066,"destination":"192.0.2.1",
        "destination_port":5060,"transport":"udp","method":"OPTIONS","calling":null,"called":null,"attestation":"none",
        "anomalies":[],"user_agent":"friendly-scanner","call_id":"{call_id}","bytes":400}}"#
    );
    match BusMessage::parse(&json)? {
        BusMessage::Packet(event) => Ok(Arc::unwrap_or_clone(event)),
        BusMessage::Captured(_) | BusMessage::Notice(_) => anyhow::bail!("it is a packet event"),
    }
}

fn packet(call_id: &str) -> Result<CapturedPacket> {
    let message = Message::request("OPTIONS").set("Call-ID", call_id).set("User-Agent", "friendly-scanner").bytes();
    let frame = [&[0; HEADERS], message.as_slice()].concat();
    Ok(CapturedPacket {
        event: event(call_id)?,
        would: Vec::new(),
        nanoseconds: 1_700_000_000_123_456_000,
        length: u32::try_from(frame.len())?,
        payload: HEADERS..frame.len(),
        frame,
        interface: 1,
        has_link_header: true,
    })
}

/// A bus with these outputs, in a namespace.
fn start(bus: &Bus, options: OutputOptions) -> Result<Outputs> {
    let host = Host { edge: Some("fra1".to_owned()), group: None, json: false };
    Ok(Outputs::start(bus, outputs::named(options, host)?)?)
}

fn hep(to: &str) -> Result<OutputOptions> {
    let to = Destination::parse(to).context("it is a destination")?;
    Ok(OutputOptions { hep: Some(HepOptions { to, password_file: None, id: 7 }), ..OutputOptions::default() })
}

/// Waits until something listens at a UDP port of this process's network.
fn await_listener(port: u16) -> Result<()> {
    wait_until("listener", LIMIT, || Ok(UdpSocket::bind(("127.0.0.1", port)).is_err().then_some(())))
}

/// The columns of Kamailio's table of captured messages, with the types that db_text knows for what the module writes.
const TABLE: &str = "id(int,auto) date(time,null) micro_ts(int,null) method(string,null) reply_reason(string,null) \
    ruri(string,null) ruri_user(string,null) ruri_domain(string,null) from_user(string,null) from_domain(string,null) \
    from_tag(string,null) to_user(string,null) to_domain(string,null) to_tag(string,null) pid_user(string,null) \
    contact_user(string,null) auth_user(string,null) callid(string,null) callid_aleg(string,null) via_1(string,null) \
    via_1_branch(string,null) cseq(string,null) diversion(string,null) reason(string,null) content_type(string,null) \
    auth(string,null) user_agent(string,null) source_ip(string,null) source_port(int,null) destination_ip(string,null) \
    destination_port(int,null) contact_ip(string,null) contact_port(int,null) originator_ip(string,null) \
    originator_port(int,null) expires(int,null) correlation_id(string,null) custom_field1(string,null) \
    custom_field2(string,null) custom_field3(string,null) proto(int,null) family(int,null) rtp_stat(string,null) \
    type(int,null) node(string,null) msg(string,null)";

/// The rows of a db_text table: each value by its column's name.
fn rows(table: &str) -> Vec<BTreeMap<&str, String>> {
    let mut lines = table.lines();
    let columns: Vec<&str> =
        lines.next().unwrap_or_default().split(' ').filter_map(|column| column.split('(').next()).collect();
    lines.map(|line| columns.iter().copied().zip(values(line)).collect()).collect()
}

/// The values between colons. A backslash escapes.
fn values(line: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' => values.push(String::new()),
            '\\' => match characters.next() {
                Some('r') => values.last_mut().unwrap().push('\r'),
                Some('n') => values.last_mut().unwrap().push('\n'),
                other => values.last_mut().unwrap().extend(other),
            },
            other => values.last_mut().unwrap().push(other),
        }
    }
    values
}

#[test]
fn kamailios_sipcapture_stores_each_message_with_its_addresses_and_its_correlation_id() -> Result<()> {
    const PORT: u16 = 9060;
    ensure_root()?;
    let scratch = scratch()?;
    let namespace = Namespace::new("hep")?;
    let database = scratch.path().join("captures");
    fs::create_dir(&database)?;
    fs::write(database.join("version"), "table_name(string) table_version(int)\nsip_capture:4\nversion:1\n")?;
    let table = database.join("sip_capture");
    fs::write(&table, format!("{TABLE}\n"))?;
    let configuration = scratch.path().join("sipcapture.cfg");
    let text = include_str!("../scenarios/sipcapture.cfg").replace("CAPTURES", &database.to_string_lossy());
    fs::write(&configuration, text)?;
    let mut command = namespace.command("kamailio");
    command.arg("-f").arg(&configuration).args(["-DD", "-E", "-m", "32", "-M", "4"]);
    command.args(["-l", &format!("udp:127.0.0.1:{PORT}")]).arg("-w").arg(scratch.path());
    command.arg("-P").arg(scratch.path().join("kamailio.pid")).arg("-Y").arg(scratch.path());
    let mut kamailio = Spawned::start("sipcapture", command, scratch.path())?;

    let ids = ["one@10.20.0.66", "two@10.20.0.66", "three@10.20.0.66"];
    let packets = ids.iter().map(|id| packet(id)).collect::<Result<Vec<_>>>()?;
    namespace.within(|| {
        await_listener(PORT)?;
        let bus = Bus::new(String::new(), None);
        let _outputs = start(&bus, hep(&format!("udp:127.0.0.1:{PORT}"))?)?;
        packets.iter().for_each(|packet| bus.publish(packet.clone()));
        wait_until("captured messages", LIMIT, || {
            Ok((kamailio.stderr().matches(": captured ").count() == ids.len()).then_some(()))
        })?;
        ensure!(bus.facts().outputs.iter().all(|output| output.lost == 0), "{:?}", bus.facts().outputs);
        Ok(())
    })?;
    kamailio.stop()?;
    let stored = fs::read_to_string(&table)?;
    assert_eq!(rows(&stored).len(), ids.len(), "{stored}");
    // Its processes take the datagrams in any order.
    let stored = rows(&stored);
    for (id, packet) in ids.iter().zip(&packets) {
        let row = stored.iter().find(|row| row["callid"] == *id).with_context(|| format!("{id} is not stored"))?;
        for (column, expected) in [
            ("callid", *id),
            ("correlation_id", id),
            ("method", "OPTIONS"),
            ("source_ip", "10.20.0.66"),
            ("source_port", "5066"),
            ("destination_ip", "192.0.2.1"),
            ("destination_port", "5060"),
            ("date", "1700000000"),
            ("proto", "1"),
            ("family", "2"),
            ("node", "homer01:7"),
        ] {
            assert_eq!(row[column], expected, "{column} of {row:?}; Kamailio says {}", kamailio.stderr());
        }
        assert_eq!(row["msg"].as_bytes(), packet.payload(), "its bytes");
    }
    Ok(())
}

#[test]
fn sngrep_receives_each_message_and_tshark_reads_what_it_has_saved() -> Result<()> {
    const PORT: u16 = 9061;
    ensure_root()?;
    let scratch = scratch()?;
    let namespace = Namespace::new("hep")?;
    let saved = scratch.path().join("saved.pcap");
    let mut command = namespace.command("sngrep");
    command.args(["-N", "-q", "-F", "-L", &format!("udp:127.0.0.1:{PORT}"), "-O"]).arg(&saved);
    let mut sngrep = Spawned::start("sngrep", command, scratch.path())?;
    let ids = ["one@10.20.0.66", "two@10.20.0.66", "three@10.20.0.66"];
    let packets = ids.iter().map(|id| packet(id)).collect::<Result<Vec<_>>>()?;
    let expected: String = ids.iter().map(|id| format!("10.20.0.66\t192.0.2.1\t5066\t5060\tOPTIONS\t{id}\n")).collect();
    namespace.within(|| {
        await_listener(PORT)?;
        let bus = Bus::new(String::new(), None);
        let _outputs = start(&bus, hep(&format!("udp:127.0.0.1:{PORT}"))?)?;
        packets.iter().for_each(|packet| bus.publish(packet.clone()));
        wait_until("saved messages", LIMIT, || Ok((read(&saved)? == expected).then_some(())))
    })?;
    sngrep.stop()?;
    Ok(())
}

/// What tshark says of each packet.
fn read(capture: &Path) -> Result<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-r"]).arg(capture);
    for field in ["ip.src", "ip.dst", "udp.srcport", "udp.dstport", "sip.Method", "sip.Call-ID"] {
        command.args(["-e", field]);
    }
    // A file that is being written may end in the middle of a packet: then it is read again.
    Ok(String::from_utf8(command.output().context("failed to start tshark")?.stdout)?)
}

#[test]
fn logrotate_takes_a_file_away_in_each_of_its_ways_and_no_line_is_lost_or_torn() -> Result<()> {
    ensure_root()?;
    let scratch = scratch()?;
    for (name, how) in [("nocreate", "nocreate"), ("create", "create 0640 root root"), ("copytruncate", "copytruncate")]
    {
        let folder = scratch.path().join(name);
        fs::create_dir(&folder)?;
        let (file, rules) = (folder.join("events.jsonl"), folder.join("rules"));
        fs::write(&rules, format!("{} {{\n  rotate 9\n  missingok\n  {how}\n}}\n", file.display()))?;
        let bus = Bus::new(String::new(), None);
        let options = OutputOptions { file: Some(file.clone()), ..OutputOptions::default() };
        let _outputs = start(&bus, options)?;
        let mut sent = Vec::new();
        for round in 0..4 {
            let ids: Vec<String> = (0..50).map(|number| format!("{round}-{number}@x")).collect();
            for id in &ids {
                bus.publish(event(id)?);
            }
            sent.extend(ids);
            let last = sent.last().context("there is a last one")?.clone();
            wait_until("written lines", LIMIT, || {
                let text = fs::read_to_string(&file).unwrap_or_default();
                Ok(text.contains(&last).then_some(()))
            })?;
            let state = folder.join("state");
            let output = Command::new("logrotate").args(["--force", "--state"]).arg(&state).arg(&rules).output()?;
            ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let mut written = Vec::new();
        for number in (1..=4).rev() {
            let text = fs::read_to_string(folder.join(format!("events.jsonl.{number}")))?;
            for line in text.lines() {
                let event: serde_json::Value =
                    serde_json::from_str(line).with_context(|| format!("{name}: {line:?}"))?;
                written.push(event["call_id"].as_str().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(written, sent, "{name}");
        assert_eq!(bus.facts().outputs[0].lost, 0, "{name}");
    }
    Ok(())
}
