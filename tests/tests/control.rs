//! The control of every other end-to-end test: without a filter, the unwanted does arrive.

use std::time::Duration;

use anyhow::Result;
use ringfence_tests::capture::{Capture, by_source};
use ringfence_tests::netns::{Wire, WireOptions};
use ringfence_tests::sip::{Call, Caller, Calling, Scanner, Scenario, Server};
use ringfence_tests::{scratch, sipvicious};

#[test]
fn without_a_filter_calls_complete_and_scans_arrive() -> Result<()> {
    let scratch = scratch()?;
    let scratch = scratch.path();
    let wire = Wire::new(&WireOptions::default())?;
    let [caller, robocaller, scanner] = ["10.20.0.10", "10.20.0.77", "10.20.0.66"].map(|text| text.parse().unwrap());
    for sender in [caller, robocaller, scanner] {
        wire.add_sender(sender)?;
    }
    let server = Server::start(&wire, scratch, Duration::from_secs(60))?;
    let capture = Capture::start("server-capture", &wire.server, Wire::SERVER_INTERFACE, scratch)?;

    let calls = [Call::new("+14155552671", "+12125553456")];
    let calling = Calling {
        name: "ordinary",
        scenario: Scenario::Ordinary,
        source: caller,
        calls: &calls,
        rate: 10,
        count: 20,
        tcp: false,
    };
    let mut ordinary = Caller::start(&wire, scratch, &calling)?;
    let mut unwanted = Caller::start(
        &wire,
        scratch,
        &Calling { name: "unwanted", scenario: Scenario::Unwanted, source: robocaller, ..calling },
    )?;
    Scanner::start(&wire, scratch, &sipvicious()?, scanner)?.finish(Duration::from_secs(20))?;
    let ordinary = ordinary.finish(Duration::from_secs(60))?;
    let unwanted = unwanted.finish(Duration::from_secs(60))?;

    assert_eq!((ordinary.started, ordinary.completed, ordinary.failed), (20, 20, 0));
    assert_eq!((unwanted.started, unwanted.completed), (20, 20));
    let logged = server.requests_by_source()?;
    let captured = by_source(&capture.finish()?);
    // INVITE, ACK and BYE each.
    assert_eq!(logged.get(&caller), Some(&60), "{logged:?}");
    assert_eq!(captured.get(&robocaller), Some(&60), "{captured:?}");
    assert_eq!(logged.get(&scanner), Some(&1), "{logged:?}");
    assert_eq!(captured.get(&scanner), Some(&1), "{captured:?}");
    Ok(())
}
