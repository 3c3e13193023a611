//! What is printed into a pipe that nobody reads any more: `ringfence ... | head`.

use std::{
    fs, io,
    process::{Command, Stdio},
};

/// A capture of one packet that no signalling port gets: a header of pcap, one of a record, and an empty Ethernet frame.
fn capture() -> Vec<u8> {
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 1500, 1];
    let record = [0, 0, 14, 14];
    let mut file: Vec<u8> = header.iter().chain(&record).flat_map(|word: &u32| word.to_le_bytes()).collect();
    file.extend([0; 14]);
    file
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let message = folder.path().join("m.sip");
    fs::write(&message, "OPTIONS sip:a@example.com SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n").expect("it can be written");
    let captured = folder.path().join("c.pcap");
    fs::write(&captured, capture()).expect("it can be written");
    let policy = folder.path().join("policy");
    let [policy, message, captured] = [policy, message, captured].map(|path| path.display().to_string());
    for arguments in [
        vec!["init", &policy],
        vec!["check", &policy],
        vec!["test", &policy],
        vec!["test", "--json", &policy],
        vec!["explain", "--policy", &policy, "--source", "192.0.2.7", &message],
        vec!["inspect", &message],
        vec!["replay", "--policy", &policy, &captured],
        vec!["schema"],
        vec!["completions", "bash"],
    ] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        let output = command.args(&arguments).stdout(writer).stderr(Stdio::piped()).output().expect("the program runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{arguments:?}: {} {error}", output.status);
    }
}
