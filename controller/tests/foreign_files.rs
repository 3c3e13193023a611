//! `ringfence explain`, `inspect` and `replay` with files that are not for them: what they are is said, and the exit status is 2.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use flate2::{Compression, write::GzEncoder};

const INVITE: &str = "INVITE sip:+13125550199@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
    From: <sip:+12025550101@192.0.2.1>;tag=1\r\nTo: <sip:+13125550199@192.0.2.2>\r\nCall-ID: 1@192.0.2.1\r\nCSeq: 1 INVITE\r\n\
    Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

/// A capture of Ethernet frames with one UDP datagram each, of which `snap` bytes are captured.
fn pcap(link: u32, payloads: &[&[u8]], snap: usize) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    file.extend_from_slice(&link.to_le_bytes());
    for payload in payloads {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend_from_slice(&[0x45, 0]);
        frame.extend_from_slice(&(28 + payload.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0, 203, 0, 113, 9, 192, 0, 2, 2]);
        frame.extend_from_slice(&[0x13, 0xc4, 0x13, 0xc4]);
        frame.extend_from_slice(&(8 + payload.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0, 0]);
        frame.extend_from_slice(payload);
        let length = frame.len();
        frame.truncate(snap);
        file.extend_from_slice(&[0; 8]);
        file.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        file.extend_from_slice(&(length as u32).to_le_bytes());
        file.extend_from_slice(&frame);
    }
    file
}

/// Exit status, standard output and standard error of a command about a file with this content.
fn run(command: &str, content: &[u8]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("file"), content).expect("it can be written");
    run_in(folder.path(), &[command, "file"])
}

fn run_in(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_file_that_no_peer_sends_is_named_with_what_to_do() {
    let traced = format!("U 192.0.2.1:5060 -> 192.0.2.2:5060\n{INVITE}");
    let escaped = INVITE.replace("\r\n", "\\r\\n");
    for (content, says) in [
        (&b"BZh91AY&SY"[..], "file is compressed (bzip2)"),
        (traced.as_bytes(), "a printed trace"),
        (escaped.as_bytes(), "written out"),
        (b"<html><body>log in</body></html>", "a web page"),
        (b"\xff\xfeI\0N\0V\0", "UTF-16"),
    ] {
        for command in ["explain", "inspect", "replay"] {
            let (status, output, error) = run(command, content);
            assert_eq!(status, Some(2), "{command}: {error}");
            assert!(error.contains(says) && error.contains("\nhelp: "), "{command}: {error}");
            assert_eq!(output, "", "{command}");
        }
    }
}

#[test]
fn text_that_is_no_message_is_an_error_and_datagrams_that_are_no_sip_are_not() {
    for command in ["explain", "inspect"] {
        let (status, output, error) = run(command, b"Dear colleagues,\nthis is no message.\n");
        assert_eq!(status, Some(2), "{command}: {error}");
        assert!(error.contains("no SIP message") && error.contains("\nhelp: "), "{command}: {error}");
        assert!(output.contains("not-sip"), "{command}: what is read is shown all the same: {output}");
        for content in
            [INVITE.as_bytes(), b"\0", b"jaK", b"\r\n\r\n", b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n"]
        {
            let (status, _, error) = run(command, content);
            assert_eq!(status, Some(0), "{command}: {}: {error}", content.escape_ascii());
        }
    }
}

#[test]
fn each_command_names_the_one_that_reads_the_other_kind() {
    let (status, _, error) = run("replay", INVITE.as_bytes());
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("a SIP message, not a capture") && error.contains("ringfence explain"), "{error}");
    let (status, _, error) = run("explain", &pcap(1, &[INVITE.as_bytes()], 1500));
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("a capture, not a message") && error.contains("ringfence replay"), "{error}");
}

#[test]
fn packets_that_cannot_be_judged_are_counted_and_exit_2() {
    let cut = pcap(1, &[INVITE.as_bytes(), b"\r\n\r\n", INVITE.as_bytes()], 96);
    let (status, output, error) = run("replay", &cut);
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("2 of 3 packets are cut to 96 bytes or less") && error.contains("-s 0"), "{error}");
    assert!(output.contains("3 packets: 1 passed, 0 dropped, 0 not for a signalling port, 2 cut"), "{output}");
    let (status, output, error) = run("inspect", &cut);
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("2 of 3 packets are cut"), "{error}");
    assert!(output.contains("packet 2") && !output.contains("packet 1") && !output.contains("packet 3"), "{output}");

    for command in ["replay", "inspect"] {
        let (status, _, error) = run(command, &pcap(105, &[INVITE.as_bytes()], 1500));
        assert_eq!(status, Some(2), "{command}: {error}");
        assert!(error.contains("link type 105 (IEEE 802.11)") && error.contains("\nhelp: "), "{command}: {error}");
        let (status, _, error) = run(command, &pcap(1, &[INVITE.as_bytes()], 1500));
        assert_eq!(status, Some(0), "{command}: {error}");
    }
    let (status, output, error) = run("inspect", &pcap(1, &[], 1500));
    assert_eq!((status, output.as_str()), (Some(0), ""));
    assert!(error.contains("no messages in 0 packets"), "{error}");
}

#[test]
fn a_file_that_cannot_be_inspected_does_not_keep_the_others_from_it() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("a"), b"\x1f\x8b\x08\0").expect("it can be written");
    fs::write(folder.path().join("c"), INVITE).expect("it can be written");
    let (status, output, error) = run_in(folder.path(), &["inspect", "a", "missing", "c"]);
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("gzip") && error.contains("missing"), "{error}");
    assert!(output.contains("INVITE"), "{output}");
}

/// The same command with a capture on its standard input.
fn run_with_input(arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // What it does not want to read breaks the pipe.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("a vector takes it");
    encoder.finish().expect("a vector takes it")
}

/// A frame of zstd (RFC 8878) with these blocks: bytes as they are, then one byte so many times. It looks back on a mebibyte.
fn zstd(content: &[u8], repeated: u32) -> Vec<u8> {
    let mut file = b"\x28\xb5\x2f\xfd\x00\x50".to_vec();
    let block = |kind: u32, size: u32, is_last: bool| (size << 3 | kind << 1 | u32::from(is_last)).to_le_bytes();
    for piece in content.chunks(100_000) {
        file.extend_from_slice(&block(0, piece.len() as u32, false)[..3]);
        file.extend_from_slice(piece);
    }
    file.extend_from_slice(&block(1, repeated, true)[..3]);
    file.push(0);
    file
}

#[test]
fn compressed_captures_are_read_from_files_and_from_standard_input() {
    let capture = pcap(1, &[INVITE.as_bytes(), INVITE.as_bytes()], 1500);
    let split = capture.len() / 2;
    let twice = [gzip(&capture[..split]), gzip(&capture[split..])].concat();
    let skipped = [&b"\x50\x2a\x4d\x18\x04\0\0\0skip"[..], &zstd(&capture, 0)].concat();
    let expected = run("replay", &capture);
    assert_eq!(expected.0, Some(0), "{}", expected.2);
    assert!(expected.1.contains("2 packets: 2 passed"), "{}", expected.1);
    for content in [&capture, &gzip(&capture), &twice, &zstd(&capture, 0), &skipped] {
        assert_eq!(run("replay", content), expected);
        assert_eq!(run_with_input(&["replay", "-"], content), expected);
        let (status, output, error) = run("inspect", content);
        assert_eq!(status, Some(0), "{error}");
        assert!(output.contains("file packet 2"), "{output}");
    }
    let (status, output, error) = run_with_input(&["replay", "-"], INVITE.as_bytes());
    assert_eq!((status, output.as_str()), (Some(2), ""), "{error}");
    assert!(error.contains("standard input is a SIP message, not a capture"), "{error}");
}

#[test]
fn a_damaged_compressed_capture_is_an_error_after_what_can_be_read() {
    let capture = pcap(1, &[INVITE.as_bytes(); 40], 1500);
    let mut damaged = gzip(&capture);
    let sum = damaged.len() - 8;
    damaged[sum] ^= 1;
    let ends_early = |whole: Vec<u8>| whole[..whole.len() - 3].to_vec();
    // What a frame of zstd may still look back on is not known before the frame ends.
    for (content, says, output_has) in [
        (damaged, "the compressed data is damaged", "40 packets: "),
        (ends_early(gzip(&capture)), "the compressed data ends too early", "40 packets: "),
        (ends_early(zstd(&capture, 0)), "the compressed data ends too early", ""),
    ] {
        let (status, output, error) = run("replay", &content);
        assert_eq!(status, Some(2), "{error}");
        assert!(error.contains("failed to unpack file (") && error.contains(says), "{error}");
        assert!(error.contains("\nhelp: "), "{error}");
        assert!(output.contains(output_has), "{output}");
    }
    // A window of 2 GiB.
    let mut large = zstd(&capture, 0);
    large[5] = 21 << 3;
    let (status, output, error) = run("replay", &large);
    assert_eq!((status, output.as_str()), (Some(2), ""), "{error}");
    assert!(error.contains("more than 128 MiB of memory") && error.contains("--long=31"), "{error}");
}

#[test]
fn a_capture_that_unpacks_to_a_gibibyte_does_not_take_the_memory() {
    const PACKETS: usize = 1 << 14;
    const LENGTH: u32 = 1 << 16;
    let mut record = vec![0; 8];
    record.extend_from_slice(&LENGTH.to_le_bytes());
    record.extend_from_slice(&LENGTH.to_le_bytes());
    let header = zstd(&pcap(1, &[], 1500), 0);
    let bomb = [header, zstd(&record, LENGTH).repeat(PACKETS)].concat();
    assert!(bomb.len() < 1 << 20);
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("bomb"), bomb).expect("it can be written");
    let script = format!("ulimit -v 700000; exec {} replay --summary bomb", env!("CARGO_BIN_EXE_ringfence"));
    let output =
        Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().expect("the program runs");
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{error}");
    assert!(text.contains(&format!("{PACKETS} packets: ")), "{text}");
}

#[test]
fn a_replayed_packet_has_its_time_and_its_numbers() {
    let mut capture = pcap(1, &[INVITE.as_bytes()], 1500);
    capture[24..28].copy_from_slice(&1_700_000_000_u32.to_le_bytes());
    capture[28..32].copy_from_slice(&1_500_u32.to_le_bytes());
    let (status, output, error) = run("replay", &capture);
    assert_eq!(status, Some(0), "{error}");
    assert!(output.contains("       1  2023-11-14T22:13:20.001500Z  pass "), "{output}");
    assert!(output.contains("INVITE calling 12025550101 called 13125550199"), "{output}");
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("file"), &capture).expect("it can be written");
    let (_, output, _) = run_in(folder.path(), &["replay", "--json", "file"]);
    assert!(output.starts_with(r#"{"packet":1,"time":"2023-11-14T22:13:20.001500Z","verdict":"pass""#), "{output}");
    let (_, output, _) = run("replay", &pcap(1, &[INVITE.as_bytes()], 1500));
    assert!(output.contains("       1  -  "), "a capture without times: {output}");
}

#[test]
fn the_summary_of_two_policies_counts_the_changes() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let policy = |name: &str, rules: &str| {
        fs::create_dir(folder.path().join(name)).expect("it can be created");
        let text = format!("version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n{rules}");
        fs::write(folder.path().join(name).join("policy.toml"), text).expect("it can be written");
    };
    policy("old", "");
    policy("new", "[[rule]]\nname = \"calls\"\nmatch.method = \"INVITE\"\naction = \"drop\"\n");
    let capture = pcap(1, &[b"\r\n\r\n", INVITE.as_bytes(), INVITE.as_bytes()], 1500);
    fs::write(folder.path().join("file"), gzip(&capture)).expect("it can be written");
    let replay = ["replay", "--policy", "old", "--against", "new", "file"];
    let (status, output, error) = run_in(folder.path(), &replay);
    assert_eq!(status, Some(0), "{error}");
    assert_eq!(output.lines().filter(|line| line.ends_with("-> drop (calls)")).count(), 2, "{output}");
    let change = "2 with a different verdict\n         2  pass (default-pass) -> drop (calls), first in packet 2\n";
    assert!(output.contains(change), "{output}");
    let (_, output, _) = run_in(folder.path(), &[&replay[..], &["--summary"]].concat());
    assert!(output.starts_with("3 packets: 3 passed") && output.contains(change), "{output}");
    let (_, output, _) = run_in(folder.path(), &[&replay[..], &["--summary", "--json"]].concat());
    assert_eq!(output.lines().count(), 1, "{output}");
    let changes = r#""changed":2,"changes":[{"from":{"verdict":"pass","reason":"default-pass","rule":null},"to":{"verdict":"drop","reason":"rule-drop","rule":"calls"},"packets":2,"first":2}]"#;
    assert!(output.contains(changes), "{output}");
}
