//! What suggested rules would have done to the packets of a capture.

use std::{borrow::Cow, collections::BTreeMap, io, path::Path, process::ExitCode};

use anyhow::Context as _;
use filter_policy::{
    capture,
    facts::PolicyFacts,
    files::{Directory, Files},
};
use serde::Serialize;

use crate::{
    cli::{EXIT_NO, replay::Candidate, shown_diagnostics},
    telemetry::Suggestion,
};

const POLICY: &str = "policy.toml";

/// What a rule would have dropped in a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Dropped {
    /// The packets that pass without the rule.
    pub(super) packets: u64,
    /// Of these, those from sources that are in sets, by the names of the sets.
    pub(super) hurts: BTreeMap<String, u64>,
}

/// What was found in a capture.
pub(super) struct Found {
    /// Its packets.
    pub(super) packets: u64,
    /// By rule.
    pub(super) dropped: Vec<Dropped>,
}

/// A policy with rules at its end.
struct Extended {
    files: Directory,
    rules: String,
}

impl Files for Extended {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        let mut content = self.files.read(path, limit)?;
        if path == Path::new(POLICY) {
            content.to_mut().extend(self.rules.bytes());
        }
        Ok(content)
    }

    fn names(&self) -> Vec<String> {
        self.files.names()
    }
}

/// Replays a capture against the policy in a directory with the suggested rules at its end. They are in report mode, so that each is judged
/// for itself: what the policy drops or lets through before it is none of its doing.
///
/// # Errors
/// The capture or the directory cannot be read. If the policy has errors, they are shown, and the exit code is returned.
pub(super) fn judge(
    suggestions: &[Suggestion],
    capture: &Path,
    directory: &Path,
) -> anyhow::Result<Result<Found, ExitCode>> {
    let rules = suggestions.iter().map(|suggestion| format!("\n{}mode = \"report\"\n", suggestion.rule)).collect();
    let files = Directory::new(directory)
        .with_context(|| format!("failed to open the policy directory {}", directory.display()))?;
    let mut built = match filter_policy::build(&Extended { files, rules }, filter_policy::today()) {
        Ok(built) => built,
        Err(diagnostics) => {
            shown_diagnostics(&diagnostics, Some(directory), false);
            return Ok(Err(ExitCode::from(EXIT_NO)));
        }
    };
    built.image.set_report(false);
    let facts = PolicyFacts::new(&built.policy);
    let mut candidate = Candidate::new(&built, None);
    let index = |rule: usize| {
        let name = built.image.rule_names.get(rule)?;
        suggestions.iter().position(|suggestion| suggestion.name() == Some(name))
    };
    let mut found = Found { packets: 0, dropped: vec![Dropped::default(); suggestions.len()] };
    let mut failed = None;
    let read = capture::for_each_packet(capture, |captured| {
        found.packets += 1;
        let Some(frame) = captured.frame.filter(|_| !captured.is_cut) else { return true };
        let decision = match candidate.decide(captured.time, captured.number, &frame) {
            Ok(decision) => decision,
            Err(error) => {
                failed = Some(error);
                return false;
            }
        };
        if decision.reason.verdict().drops() {
            return true;
        }
        for dropped in decision.would.into_iter().filter_map(index) {
            let dropped = &mut found.dropped[dropped];
            dropped.packets += 1;
            let scopes = candidate.reading().scopes();
            if let Some(source) = scopes["source"].as_str().and_then(|source| source.parse().ok()) {
                for set in facts.sets(source) {
                    *dropped.hurts.entry(set.to_owned()).or_default() += 1;
                }
            }
        }
        true
    });
    if let Some(error) = failed {
        return Err(error);
    }
    read?.check(capture)?;
    Ok(Ok(found))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::telemetry::{Estimate, TopBy};

    fn suggestion(name: &str, condition: &str) -> Suggestion {
        Suggestion {
            by: TopBy::Agent,
            key: name.to_owned(),
            method: "OPTIONS".to_owned(),
            rule: format!("[[rule]]\nname = \"{name}\"\nmatch = {{ {condition} }}\naction = \"drop\"\n"),
            rate: 1.0,
            rate_before: None,
            stops: Estimate::default(),
            hurts: BTreeMap::new(),
            called: Vec::new(),
        }
    }

    /// A pcap file of raw IP packets with these sources and agents.
    fn capture(folder: &Path, packets: &[([u8; 4], &str)]) -> PathBuf {
        let mut file = Vec::new();
        file.extend(0xa1b2_c3d4_u32.to_le_bytes());
        file.extend([2, 0, 4, 0]);
        file.extend([0; 8]);
        file.extend(65_535_u32.to_le_bytes());
        file.extend(101_u32.to_le_bytes());
        for (source, agent) in packets {
            let message = format!(
                "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:1@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\n\
                 CSeq: 1 OPTIONS\r\nUser-Agent: {agent}\r\n\r\n"
            );
            let mut packet = Vec::new();
            let builder = etherparse::PacketBuilder::ipv4(*source, [198, 51, 100, 1], 64).udp(5060, 5060);
            builder.write(&mut packet, message.as_bytes()).expect("it fits");
            file.extend(1_700_000_000_u32.to_le_bytes());
            file.extend(0_u32.to_le_bytes());
            file.extend((packet.len() as u32).to_le_bytes());
            file.extend((packet.len() as u32).to_le_bytes());
            file.extend(packet);
        }
        let path = folder.join("capture.pcap");
        fs::write(&path, file).expect("it is written");
        path
    }

    #[test]
    fn each_rule_is_judged_for_itself_and_after_those_of_the_policy() {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n\
             [sets.trunks]\naddresses = [\"192.0.2.0/28\"]\n\
             [[rule]]\nname = \"known\"\nmatch.user_agent = [\"^old\"]\naction = \"drop\"\n\
             [[rule]]\nname = \"dear\"\nmatch = { method = \"INVITE\", not.source = \"@trunks\" }\naction = \"drop\"\n";
        fs::write(folder.path().join(POLICY), policy).expect("it is written");
        let (trunk, stranger) = ([192, 0, 2, 1], [203, 0, 113, 9]);
        let packets =
            [(trunk, "scanner"), (stranger, "scanner"), (stranger, "scanner"), (stranger, "old"), (stranger, "phone")];
        let file = capture(folder.path(), &packets);
        let suggestions = [
            suggestion("agent", "user_agent = [\"^scanner$\"]"),
            suggestion("source", "source = [\"203.0.113.9\"]"),
            suggestion("nothing", "user_agent = [\"^nobody$\"]"),
        ];
        let found = judge(&suggestions, &file, folder.path()).expect("it can be read").expect("it compiles");
        let hurts = BTreeMap::from([("trunks".to_owned(), 1)]);
        let dropped = |packets| Dropped { packets, ..Dropped::default() };
        assert_eq!(found.packets, 5);
        assert_eq!(found.dropped, [Dropped { hurts, ..dropped(3) }, dropped(3), dropped(0)]);
    }
}
