//! The control for the end-to-end tests: without a filter, calls complete and unwanted packets arrive.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use ringfence_tests::{
    capture::{Capture, by_source},
    netns::{Wire, WireOptions},
    scratch,
    sip::{Call, CallCounts, Caller, Calling, Scanner, Scenario, Server},
    sipvicious,
};

const IPV4: [&str; 3] = ["10.20.0.10", "10.20.0.77", "10.20.0.66"];
const IPV6: [&str; 3] = ["2001:db8:20::10", "2001:db8:20::77", "2001:db8:20::66"];

/// INVITE, ACK and BYE of each of twenty calls.
const REQUESTS: u64 = 60;

#[test]
fn over_ipv4() -> Result<()> {
    everything_arrives(&WireOptions::default(), IPV4, &call(), false, REQUESTS)
}

#[test]
fn over_ipv6() -> Result<()> {
    everything_arrives(&WireOptions::default(), IPV6, &call(), false, REQUESTS)
}

#[test]
fn over_a_vlan() -> Result<()> {
    if !Wire::has_vlan_interfaces()? {
        ringfence_tests::say("SKIPPED: this kernel has no 802.1Q interfaces");
        return Ok(());
    }
    everything_arrives(&WireOptions { vlan: Some(100), ..WireOptions::default() }, IPV4, &call(), false, REQUESTS)
}

#[test]
fn over_a_wire_with_a_large_mtu() -> Result<()> {
    // INVITEs that would be fragmented on Ethernet fit into one packet.
    everything_arrives(
        &WireOptions { mtu: 3000, ..WireOptions::default() },
        IPV4,
        &call().in_fragments(),
        false,
        REQUESTS,
    )
}

#[test]
fn in_fragments() -> Result<()> {
    // Each INVITE is two packets.
    everything_arrives(&WireOptions::default(), IPV4, &call().in_fragments(), false, REQUESTS + 20)
}

#[test]
fn over_tcp() -> Result<()> {
    // TCP may send any number of packets, but at least one per request.
    everything_arrives(&WireOptions::default(), IPV4, &call(), true, REQUESTS)
}

fn call() -> Call {
    Call::new("+14155552671", "+12125553456")
}

fn everything_arrives(
    options: &WireOptions,
    senders: [&str; 3],
    call: &Call,
    tcp: bool,
    packets_of_twenty_calls: u64,
) -> Result<()> {
    let scratch = scratch()?;
    let scratch = scratch.path();
    let wire = Wire::new(options)?;
    let [caller, robocaller, scanner] = senders.map(|text| text.parse::<IpAddr>().expect("an address"));
    for sender in [caller, robocaller, scanner] {
        wire.add_sender(sender)?;
    }
    let server = Server::start(&wire, scratch, Duration::from_secs(120))?;
    let capture = Capture::start("server-capture", &wire.server, Wire::SERVER_INTERFACE, scratch)?;

    let calls = [call.clone()];
    let ordinary = Calling {
        name: "ordinary",
        scenario: Scenario::Ordinary,
        source: caller,
        calls: &calls,
        rate: 10,
        count: 20,
        tcp,
    };
    let unwanted = Calling { name: "unwanted", scenario: Scenario::Unwanted, source: robocaller, ..ordinary };
    let mut ordinary = Caller::start(&wire, scratch, &ordinary)?;
    let mut unwanted = Caller::start(&wire, scratch, &unwanted)?;
    if scanner.is_ipv4() {
        Scanner::look_once(&wire, scratch, &sipvicious()?, scanner, 5)?;
    }

    for caller in [&mut ordinary, &mut unwanted] {
        let counts = caller.finish(Duration::from_secs(70))?;
        assert_eq!(counts, CallCounts { started: 20, completed: 20, failed: 0 }, "SIPp says: {}", caller.errors());
    }
    let logged = server.requests_by_source()?;
    let captured = by_source(&capture.finish()?);
    // At least: on a busy machine there are retransmissions.
    for sender in [caller, robocaller] {
        assert!(logged.get(&sender).is_some_and(|count| *count >= REQUESTS), "{logged:?}");
        assert!(captured.get(&sender).is_some_and(|count| *count >= packets_of_twenty_calls), "{captured:?}");
    }
    if scanner.is_ipv4() {
        assert_eq!(logged.get(&scanner), Some(&5), "{logged:?}");
        assert_eq!(captured.get(&scanner), Some(&5), "{captured:?}");
    }
    Ok(())
}
