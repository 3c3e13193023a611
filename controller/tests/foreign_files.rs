//! `ringfence explain`, `inspect` and `replay` with files that are not for them: what they are is said, and the exit status is 2.

use std::{fs, path::Path, process::Command};

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
        (&b"\x1f\x8b\x08\0abc"[..], "file is compressed (gzip)"),
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
