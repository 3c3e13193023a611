//! Prints a failing case.

use std::{fmt::Write as _, sync::Arc};

use filter_policy::model::{AddressList, NumberEntry, Policy, Test};
use ringfence_oracle::{compare::escaped, evaluate::digits, generate::frame::Packet};

use crate::compare::Difference;

/// The case in words and bytes.
pub(crate) fn fixture(policy: &Policy, inspect: bool, packets: &[Packet], difference: &Difference) -> String {
    let mut text = String::new();
    let numbering = &policy.numbering;
    let _ =
        writeln!(text, "{}\n\ndefault drop: {}, everything is read: {inspect}", difference.what, policy.default_drop);
    if policy.report {
        let _ = writeln!(text, "report mode as a whole");
    }
    let _ = writeln!(
        text,
        "{:?}, called from To: {}, neighbours share {}",
        numbering.plan, numbering.called_from_to, numbering.neighbor_digits
    );
    for range in &numbering.ranges {
        let _ = writeln!(text, "range {range:?}");
    }
    let addresses = |lists: &[Arc<AddressList>]| -> Vec<String> {
        let entries = lists.iter().flat_map(|list| &list.entries);
        entries.map(|entry| format!("{}/{}", entry.address, entry.prefix)).collect()
    };
    for (sources, plan) in &numbering.plans {
        let _ = writeln!(text, "from {:?}: {plan:?}", addresses(sources));
    }
    let _ = writeln!(text, "asserted_identity_from = {:?}", addresses(&numbering.asserted_identity_from));
    let _ = writeln!(text, "never_ban = {:?}", addresses(&policy.never_ban));
    for upstream in &policy.upstreams {
        let callers = upstream.callers.iter().flatten().flat_map(|list| &list.entries);
        let callers: Vec<String> = callers.map(|entry| digits(entry) + if entry.exact { "$" } else { "" }).collect();
        let listed = upstream.callers.is_some();
        let _ = writeln!(
            text,
            "{}: trunks {:?}, listed {listed}, callers {callers:?}",
            upstream.name,
            addresses(&upstream.trunks)
        );
    }
    for rule in &policy.rules {
        let _ = writeln!(
            text,
            "\n[[rule]]\nname = {:?}\nstage = {:?}\naction = {:?}{}",
            rule.name,
            rule.stage.name(),
            rule.action.name(),
            if rule.report { "\nmode = \"report\"" } else { "" }
        );
        if rule.is_timed() {
            let _ = writeln!(text, "hours {:?}, until {:?}", rule.hours, rule.until);
        }
        for condition in &rule.conditions {
            let scope = condition.test.scope();
            let not = if condition.negated { "not." } else { "" };
            let values = match &condition.test {
                Test::Source(lists) | Test::Destination(lists) => format!("{:?}", addresses(lists)),
                Test::AnyIdentity(lists) | Test::Number(_, lists) => {
                    let entries = lists.iter().flat_map(|list| &list.entries);
                    let entry = |entry: &NumberEntry| digits(entry) + if entry.exact { "$" } else { "" };
                    format!("{:?}", entries.map(entry).collect::<Vec<_>>())
                }
                Test::Text(_, lists) => {
                    let entries = lists.iter().flat_map(|list| &list.entries);
                    format!("{:?}", entries.map(|entry| &entry.pattern).collect::<Vec<_>>())
                }
                other @ (Test::Transport(_)
                | Test::Port(_)
                | Test::Method(_)
                | Test::Country(..)
                | Test::Region(..)
                | Test::Spid(..)
                | Test::Format(..)
                | Test::Reputation(..)
                | Test::Attestation(_)
                | Test::CallerAllowed(_)
                | Test::CallingPrivacy(_)
                | Test::Dialog(_)
                | Test::Passport(_)
                | Test::Payload(_)
                | Test::Verstat(_)
                | Test::Neighbor(_)
                | Test::Anomaly(_)) => format!("{other:?}"),
            };
            let _ = writeln!(text, "match.{not}{} = {values}", policy.scope_name(scope));
        }
    }
    for packet in packets {
        let hex: String = packet.frame().iter().map(|byte| format!("{byte:02x}")).collect();
        let transport = packet
            .tcp
            .map_or("UDP".to_owned(), |flags| format!("TCP (flags {flags:#04x}, sequence number {})", packet.sequence));
        let (source, destination) = (packet.source, packet.destination);
        let (source_port, port) = (packet.source_port, packet.port);
        let _ = writeln!(text, "\npacket: {transport} from {source} port {source_port} to {destination} port {port}");
        let Packet { tags, options, extensions, fragment, lies, padding, cut, flips, .. } = packet;
        let _ = writeln!(
            text,
            "  VLAN tags {tags:x?}, {options} words of options, extension headers {extensions:?}, fragment {fragment:?}, \
             lengths off by {lies:?}, {padding} bytes of padding, cut to {cut:?}, bytes replaced {flips:?}\n  payload: {}\n  \
             frame: {hex}",
            escaped(&packet.pieces.concat()),
        );
    }
    text
}
