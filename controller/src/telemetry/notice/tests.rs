//! The JSON and the text of each notice.

use std::path::Path;

use super::*;
use crate::telemetry::Lifted;

fn finding() -> Finding {
    Finding {
        severity: "error".to_owned(),
        code: "unknown-set".to_owned(),
        message: "there is no set `trunk`".to_owned(),
        file: Some("policy.toml".to_owned()),
        line: Some(12),
        column: Some(42),
        end_column: Some(50),
        help: Some("did you mean `trunks`?".to_owned()),
    }
}

const COMMIT: &str = "cccccccccccccccccccccccccccccccccccccccc";

const FINDING: &str = r#"{"severity":"error","code":"unknown-set","message":"there is no set `trunk`","file":"policy.toml","line":12,"column":42,"end_column":50,"help":"did you mean `trunks`?"}"#;

fn started() -> Started {
    Started {
        interface: "eth0".to_owned(),
        mode: Mode::Native,
        note: Some("the link was made again".to_owned()),
        adopted: true,
        policy: Some("/etc/policy".to_owned()),
        policy_hash: "0123456789abcdef".to_owned(),
        commit: None,
        generation: 3,
        rules: Some(2),
        report: false,
        verified_instructions: 122_000,
    }
}

/// Each kind of notice, some several times.
pub(in crate::telemetry) fn examples() -> impl Iterator<Item = Notice> {
    golden().into_iter().map(|(notice, ..)| notice)
}

/// Each kind of notice with its JSON and its text.
fn golden() -> Vec<(Notice, String, &'static str)> {
    vec![
        (
            Notice::Banned(Ban {
                prefix: "192.0.2.0/24".to_owned(),
                rule: None,
                comment: Some("ticket 7".to_owned()),
                since: "2026-01-31T06:00:00.000Z".to_owned(),
                until: "2026-01-31T07:00:00.000Z".to_owned(),
                packets: 0,
                suspended_until: None,
            }),
            r#"{"event":"banned","prefix":"192.0.2.0/24","rule":null,"comment":"ticket 7","since":"2026-01-31T06:00:00.000Z","until":"2026-01-31T07:00:00.000Z","packets":0,"suspended_until":null}"#.to_owned(),
            "192.0.2.0/24 is banned until 2026-01-31T07:00:00Z, by hand: ticket 7",
        ),
        (
            Notice::Detached(Detached {
                interfaces: vec!["eth0".to_owned(), "eth1".to_owned()],
                stopped_daemon: true,
                pins: "/sys/fs/bpf/x".into(),
            }),
            r#"{"event":"detached","interfaces":["eth0","eth1"],"stopped_daemon":true}"#.to_owned(),
            "the filter was removed from eth0, eth1, and the daemon has ended",
        ),
        (
            Notice::Detached(Detached {
                interfaces: Vec::new(),
                stopped_daemon: false,
                pins: "/sys/fs/bpf/x".into(),
            }),
            r#"{"event":"detached","interfaces":[],"stopped_daemon":false}"#.to_owned(),
            "no filter is attached by the pins in /sys/fs/bpf/x",
        ),
        (
            Notice::Error { message: "the daemon is ending".to_owned() },
            r#"{"event":"error","message":"the daemon is ending"}"#.to_owned(),
            "the daemon is ending",
        ),
        (
            Notice::Gone(Gone { interface: "eth1".to_owned() }),
            r#"{"event":"gone","interface":"eth1"}"#.to_owned(),
            "eth1: there is no such interface now; it is filtered as soon as it is back",
        ),
        (
            Notice::Held(Held {
                generation: 2,
                since: "2026-01-31T06:00:00.000Z".to_owned(),
                by: "user 0".to_owned(),
                newest: Some("c".repeat(40)),
            }),
            format!(r#"{{"event":"held","generation":2,"since":"2026-01-31T06:00:00.000Z","by":"user 0","newest":"{COMMIT}"}}"#),
            "held at generation 2 since 2026-01-31T06:00:00.000Z, by user 0; the newest is commit cccccccccccc; the policy is not \
             loaded until `ringfence rollback --release`",
        ),
        (
            Notice::RolledBack(RolledBack {
                to: 2,
                generation: 4,
                policy_hash: "0123456789abcdef".to_owned(),
                commit: None,
                since: "2026-01-31T06:00:00.000Z".to_owned(),
                by: "user 0".to_owned(),
                note: None,
            }),
            r#"{"event":"rolled-back","to":2,"generation":4,"policy_hash":"0123456789abcdef","commit":null,"since":"2026-01-31T06:00:00.000Z","by":"user 0","note":null}"#.to_owned(),
            "the policy of generation 2 (0123456789ab) is in force as generation 4, and held since 2026-01-31T06:00:00.000Z, by \
             user 0; `ringfence rollback --release` loads the newest one",
        ),
        (
            Notice::Missed(Missed { events: 2, total: 5, behind: 7, after: None }),
            r#"{"event":"missed","events":2,"total":5,"behind":7,"after":null}"#.to_owned(),
            "missed 2 events: this reader is too slow, 7 more wait for it, and it has missed 5 in all",
        ),
        (
            Notice::PolicyError(PolicyError {
                message: "1 error".to_owned(),
                diagnostics: vec![finding()],
                commit: Some("c".repeat(40)),
                report: "error: there is no set `trunk`\n\n".to_owned(),
                policy: "/etc/policy".to_owned(),
            }),
            format!(r#"{{"event":"policy-error","message":"1 error","diagnostics":[{FINDING}],"commit":"{COMMIT}"}}"#),
            "error: there is no set `trunk`\nthe policy /etc/policy at commit cccccccccccc cannot be used: 1 error",
        ),
        (
            Notice::PolicyWarning(PolicyWarning {
                message: "1 warning".to_owned(),
                diagnostics: Vec::new(),
                report: "warning: a list has expired\n\n".to_owned(),
            }),
            r#"{"event":"policy-warning","message":"1 warning","diagnostics":[]}"#.to_owned(),
            "warning: a list has expired",
        ),
        (
            Notice::Reattached(Reattached {
                interface: "eth0".to_owned(),
                mode: Mode::Generic,
                note: "the link was made again".to_owned(),
            }),
            r#"{"event":"reattached","interface":"eth0","mode":"generic","note":"the link was made again"}"#.to_owned(),
            "eth0: the link was made again",
        ),
        (
            Notice::Released(Hold { generation: 2, since: "2026-01-31T06:00:00.000Z".to_owned(), by: "user 0".to_owned() }),
            r#"{"event":"released","generation":2,"since":"2026-01-31T06:00:00.000Z","by":"user 0"}"#.to_owned(),
            "generation 2 is not held any more",
        ),
        (
            Notice::Reloaded(Reloaded {
                policy_hash: "0123456789abcdef".to_owned(),
                commit: Some(format!("{}-dirty", "c".repeat(40))),
                generation: 4,
                rules: 1,
                report: true,
                verified_instructions: 122_000,
                milliseconds: 51,
                policy: "/etc/policy".to_owned(),
            }),
            format!(r#"{{"event":"reloaded","policy_hash":"0123456789abcdef","commit":"{COMMIT}-dirty","generation":4,"rules":1,"report":true,"verified_instructions":122000,"milliseconds":51}}"#),
            "policy /etc/policy at commit cccccccccccc-dirty (1 rule, 0123456789ab) in force, generation 4, 122000 instructions verified, 51 ms; \
             report mode: nothing is dropped",
        ),
        (
            Notice::Removed(Removed { interface: "eth1".to_owned() }),
            r#"{"event":"removed","interface":"eth1"}"#.to_owned(),
            "eth1 is no longer among the interfaces: the filter was removed from it",
        ),
        (
            Notice::SourceError(SourceError {
                source: "ssh://h/p (branch main)".to_owned(),
                message: "failed to fetch: no route".to_owned(),
                commit: Some("c".repeat(40)),
            }),
            format!(r#"{{"event":"source-error","source":"ssh://h/p (branch main)","message":"failed to fetch: no route","commit":"{COMMIT}"}}"#),
            "the policy ssh://h/p (branch main): failed to fetch: no route; commit cccccccccccc stays",
        ),
        (
            Notice::SourceRestored(SourceRestored { source: "ssh://h/p (branch main)".to_owned(), commit: Some("c".repeat(40)) }),
            format!(r#"{{"event":"source-restored","source":"ssh://h/p (branch main)","commit":"{COMMIT}"}}"#),
            "the policy ssh://h/p (branch main) can be fetched again, newest commit cccccccccccc",
        ),
        (
            Notice::SourceRewritten(SourceRewritten {
                source: "ssh://h/p (branch main)".to_owned(),
                reference: "branch main".to_owned(),
                from: "d".repeat(40),
                to: "c".repeat(40),
            }),
            format!(r#"{{"event":"source-rewritten","source":"ssh://h/p (branch main)","reference":"branch main","from":"dddddddddddddddddddddddddddddddddddddddd","to":"{COMMIT}"}}"#),
            "the policy ssh://h/p (branch main): branch main was rewritten: commit dddddddddddd is not among the ancestors of \
             cccccccccccc, which is taken",
        ),
        (
            Notice::Unchanged(Unchanged {
                policy_hash: "0123456789abcdef".to_owned(),
                commit: Some("c".repeat(40)),
                generation: 4,
                policy: "/etc/policy".to_owned(),
            }),
            format!(r#"{{"event":"unchanged","policy_hash":"0123456789abcdef","commit":"{COMMIT}","generation":4}}"#),
            "policy /etc/policy (0123456789ab, commit cccccccccccc) is in force already, generation 4",
        ),
        (
            Notice::Started(started()),
            r#"{"event":"started","interface":"eth0","mode":"native","note":"the link was made again","adopted":true,"policy":"/etc/policy","policy_hash":"0123456789abcdef","commit":null,"generation":3,"rules":2,"report":false,"verified_instructions":122000}"#.to_owned(),
            "filtering on eth0 in native mode; the filter was attached already and was taken over; the link was made \
             again\npolicy /etc/policy (2 rules, 0123456789ab), 122000 instructions verified",
        ),
        (
            Notice::Started(Started { note: None, policy: None, rules: None, report: true, ..started() }),
            r#"{"event":"started","interface":"eth0","mode":"native","note":null,"adopted":true,"policy":null,"policy_hash":"0123456789abcdef","commit":null,"generation":3,"rules":null,"report":true,"verified_instructions":122000}"#.to_owned(),
            "filtering on eth0 in native mode; report mode: nothing is dropped; the filter was attached already and keeps its \
             policy (0123456789ab)",
        ),
        (
            Notice::Stopped(Stopped {
                filter: FilterState::Attached,
                report: false,
                interfaces: vec!["eth0".to_owned()],
                pins: Some("/sys/fs/bpf/x".into()),
            }),
            r#"{"event":"stopped","filter":"attached","report":false}"#.to_owned(),
            "stopped; the filter stays on eth0 and keeps dropping, `ringfence detach --pin-dir /sys/fs/bpf/x` removes it",
        ),
        (
            Notice::Stopped(Stopped {
                filter: FilterState::Attached,
                report: true,
                interfaces: vec!["eth0".to_owned()],
                pins: None,
            }),
            r#"{"event":"stopped","filter":"attached","report":true}"#.to_owned(),
            "stopped; the filter stays on eth0 and keeps counting in report mode, `ringfence detach` removes it",
        ),
        (
            Notice::Stopped(Stopped {
                filter: FilterState::NotAttached,
                report: false,
                interfaces: vec!["eth0".to_owned()],
                pins: None,
            }),
            r#"{"event":"stopped","filter":"not attached","report":false}"#.to_owned(),
            "stopped; the filter was removed from eth0",
        ),
        (
            Notice::Table(Table {
                seconds: 1.5,
                report: false,
                rules: Vec::new(),
                reasons: [("default-pass".to_owned(), 7)].into_iter().collect(),
                passed: 7,
                dropped: 0,
                would_drop: 0,
                events_lost: 0,
                events_suppressed: 0,
                bans: 0,
            }),
            r#"{"event":"table","seconds":1.5,"report":false,"rules":[],"reasons":{"default-pass":7},"passed":7,"dropped":0,"would_drop":0,"events_lost":0,"events_suppressed":0,"bans":0}"#.to_owned(),
            "RULE  DOES                        PACKETS      BYTES PER SECOND\n\npassed 7, dropped 0\nreasons: default-pass 7",
        ),
        (
            Notice::Unbanned(Unbanned {
                count: 3,
                bans: vec![Lifted {
                    prefix: "192.0.2.7".to_owned(),
                    reason: "the policy's `never_ban` covers it".to_owned(),
                }],
            }),
            r#"{"event":"unbanned","count":3,"bans":[{"prefix":"192.0.2.7","reason":"the policy's `never_ban` covers it"}]}"#.to_owned(),
            "3 bans were lifted: 192.0.2.7 (the policy's `never_ban` covers it) and 2 more",
        ),
    ]
}

#[test]
fn the_json_of_each_notice_is_as_documented() {
    for (notice, json, _) in golden() {
        assert_eq!(serde_json::to_string(&notice).unwrap(), json);
        // The fields that only the text has do not come back; everything else does.
        let read: Notice = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
    }
}

#[test]
fn the_text_of_each_notice_reads_like_this() {
    for (notice, _, text) in golden() {
        assert_eq!(notice.to_string(), text);
    }
}

#[test]
fn a_finding_is_the_diagnostic_that_check_prints() {
    let files = filter_policy::files::Table(&[("policy.toml", b"version = 1\nversoin = 1\n")]);
    let diagnostics = filter_policy::build(&files, filter_policy::today()).map(|_| ()).unwrap_err();
    for (finding, diagnostic) in Finding::all(&diagnostics).iter().zip(diagnostics.iter()) {
        assert_eq!(serde_json::to_string(finding).unwrap(), diagnostic.to_json().to_string());
    }
    assert!(Finding::all(&diagnostics).iter().any(|finding| finding.file.as_deref().map(Path::new).is_some()));
}
