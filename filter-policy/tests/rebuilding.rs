//! A build that reuses a cache has the same outcome as one without.

use filter_policy::{BuildCache, bounds::Bounds, files::Table, lists::Day};

const TODAY: Day = (2026, 11, 22);

const POLICY: &str = r#"
version = 1
default = "pass"
never_ban = ["@trunks"]

[network]
udp = [5060]

[numbering]
country_code = "1"
international_prefix = "011"
asserted_identity_from = "@trunks"

[sets.trunks]
addresses = "trunks.txt"
label = "carrier"
allow_empty = true

[sets.blocked]
addresses = "blocked.txt"

[sets.dno]
numbers = "dno.csv"
format = "national"

[sets.scored]
numbers = "scored.csv"

[sets.scanners]
user_agents = "scanners.txt"

[[rule]]
name = "trunks"
match.source = "@trunks"
action = "continue"

[[rule]]
name = "blocked"
match.source = "@blocked"
action = "drop"

[[rule]]
name = "dno"
match = { method = "INVITE", calling = "@dno" }
action = "drop"

[[rule]]
name = "scored"
match.calling_reputation = ">= 80"
action = "drop"

[[rule]]
name = "countries"
match.called_country = ["CU", "LV"]
action = "drop"

[[rule]]
name = "scanners"
match.user_agent = "@scanners"
action = "drop"
"#;

const FILES: [(&str, &str); 6] = [
    ("policy.toml", POLICY),
    ("trunks.txt", "192.0.2.1\n198.51.100.0/24\n"),
    ("blocked.txt", "203.0.113.1\n203.0.113.2\n2001:db8::/48\n"),
    ("dno.csv", "number,expires\n2125550001$,2026-12-01\n2125550002$,\n212556,\n"),
    ("scored.csv", "number,score\n12125559080$,80\n12125559010$,10\n"),
    ("scanners.txt", "friendly-scanner\nsipvicious\n"),
];

/// The files with one changed.
fn with(path: &str, from: &str, to: &str) -> Vec<(&'static str, String)> {
    let changed = |(name, text): (&'static str, &str)| {
        assert!(name != path || text.contains(from), "{path} does not hold {from}");
        (name, if name == path { text.replace(from, to) } else { text.to_owned() })
    };
    FILES.into_iter().map(changed).collect()
}

/// The hash over the whole image, and what was said.
fn outcome(files: &[(&'static str, String)], today: Day, cache: &mut BuildCache) -> Result<(String, String), String> {
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let built = filter_policy::build_cached(&Table(&files), today, &Bounds::default(), cache);
    built.map(|built| (built.image.hash, built.diagnostics.to_string())).map_err(|diagnostics| diagnostics.to_string())
}

/// Every file changed in turn, back to the first state between the changes.
fn changes() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let first = with("policy.toml", "", "");
    let changes = [
        ("an address, in as many bytes", with("blocked.txt", "203.0.113.2", "203.0.113.3")),
        ("a network's length", with("trunks.txt", "198.51.100.0/24", "198.51.100.0/25")),
        ("an IPv6 network", with("blocked.txt", "2001:db8::/48", "2001:db9::/48")),
        ("an address list's order", with("blocked.txt", "203.0.113.1\n203.0.113.2", "203.0.113.2\n203.0.113.1")),
        ("an address list without entries", with("trunks.txt", "192.0.2.1\n198.51.100.0/24\n", "# none\n")),
        ("a number, in as many bytes", with("dno.csv", "2125550002", "2125550003")),
        ("an exact number made a prefix", with("dno.csv", "2125550002$", "2125550002")),
        ("a score, in as many bytes", with("scored.csv", "$,10", "$,90")),
        ("two files changed for each other", {
            let mut files = with("policy.toml", "trunks.txt", "SWAP").into_iter().collect::<Vec<_>>();
            files[0].1 = files[0].1.replace("blocked.txt", "trunks.txt").replace("SWAP", "blocked.txt");
            files
        }),
        ("a set's label", with("policy.toml", "label = \"carrier\"", "label = \"customer\"")),
        ("a list's format", with("policy.toml", "format = \"national\"", "format = \"e164\"")),
        ("the country code", with("policy.toml", "country_code = \"1\"", "country_code = \"44\"")),
        ("a threshold", with("policy.toml", ">= 80", ">= 10")),
        ("a country", with("policy.toml", "\"LV\"", "\"SO\"")),
        ("another country first", with("policy.toml", "[\"CU\", \"LV\"]", "[\"LV\", \"CU\"]")),
        ("whose identity is believed", with("policy.toml", "from = \"@trunks\"", "from = \"@blocked\"")),
        ("who is never banned", with("policy.toml", "never_ban = [\"@trunks\"]", "never_ban = [\"192.0.2.7\"]")),
        ("a negated condition", with("policy.toml", "match.source = \"@blocked\"", "match.not.source = \"@blocked\"")),
        (
            "a rule less",
            with(
                "policy.toml",
                "name = \"blocked\"\nmatch.source = \"@blocked\"",
                "name = \"blocked\"\nmatch.source = \"192.0.2.9\"",
            ),
        ),
        (
            "a rule more in front",
            with(
                "policy.toml",
                "[[rule]]\nname = \"trunks\"",
                "[[rule]]\nname = \"first\"\nmatch.source = \"192.0.2.77\"\naction = \"drop\"\n\n[[rule]]\nname = \"trunks\"",
            ),
        ),
        ("a pattern", with("scanners.txt", "sipvicious", "sundayddr!")),
        ("a mistake in a list", with("blocked.txt", "203.0.113.2", "203.0.113.x")),
        ("a mistake in a rule", with("policy.toml", "\"LV\"", "\"XX\"")),
        ("a file's absence", first.iter().filter(|(name, _)| *name != "dno.csv").cloned().collect()),
    ];
    changes.into_iter().flat_map(|change| [("nothing", first.clone()), change]).collect()
}

#[test]
fn the_cache_does_not_change_the_outcome() {
    let mut cache = BuildCache::default();
    for (what, files) in changes() {
        let alone = outcome(&files, TODAY, &mut BuildCache::default());
        assert_eq!(outcome(&files, TODAY, &mut cache), alone, "{what}");
        assert_eq!(outcome(&files, TODAY, &mut cache), alone, "{what}, a second time");
    }
}

#[test]
fn every_change_changes_the_image() {
    let mut cache = BuildCache::default();
    let mut last = None;
    for (what, files) in changes() {
        let Ok((hash, _)) = outcome(&files, TODAY, &mut cache) else { continue };
        // These are the same policy in other words.
        if !matches!(what, "nothing" | "an address list's order" | "a set's label") {
            assert_ne!(Some(&hash), last.as_ref(), "{what}");
        }
        last = Some(hash);
    }
}

#[test]
fn an_entry_expires_though_its_file_stays_the_same() {
    let files = with("policy.toml", "", "");
    let mut cache = BuildCache::default();
    let days = [(2026, 12, 1), (2026, 12, 2)];
    let hashes = days.map(|today| outcome(&files, today, &mut cache).unwrap().0);
    let alone = days.map(|today| outcome(&files, today, &mut BuildCache::default()).unwrap().0);
    assert_eq!(hashes, alone);
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn a_mistake_is_reported_each_time() {
    let files = with("blocked.txt", "203.0.113.2", "203.0.113.x");
    let mut cache = BuildCache::default();
    let first = outcome(&files, TODAY, &mut cache).unwrap_err();
    assert!(first.contains("203.0.113.x"), "{first}");
    assert_eq!(outcome(&files, TODAY, &mut cache).unwrap_err(), first);
}

#[test]
fn a_set_that_loses_most_of_its_entries_is_a_warning_once() {
    let mut cache = BuildCache::default();
    // The policy has another warning, about emergency calls.
    let mut warnings = |files: &[(&'static str, String)]| {
        let reported = outcome(files, TODAY, &mut cache).unwrap().1;
        reported.lines().filter(|line| line.contains("emptied-set")).collect::<Vec<_>>().join("\n")
    };
    let first = with("policy.toml", "", "");
    let shrunk = with("blocked.txt", "203.0.113.2\n2001:db8::/48\n", "");
    assert_eq!(warnings(&first), "");
    let warning = warnings(&shrunk);
    assert!(warning.contains("the set `blocked` has 1 entries; it had 3 before"), "{warning}");
    assert_eq!(warnings(&shrunk), "");
    assert_eq!(warnings(&first), "");
    assert_eq!(warnings(&with("blocked.txt", "2001:db8::/48\n", "")), "", "two of three are left");
    let emptied = warnings(&with("blocked.txt", "203.0.113.1\n203.0.113.2\n2001:db8::/48\n", "# none\n"));
    assert!(emptied.contains("the set `blocked` is empty; it had 2 before"), "{emptied}");
}

#[test]
fn a_policy_with_errors_is_not_what_the_next_one_is_compared_with() {
    let mut cache = BuildCache::default();
    outcome(&with("policy.toml", "", ""), TODAY, &mut cache).unwrap();
    let mut broken = with("blocked.txt", "203.0.113.2\n2001:db8::/48\n", "");
    broken[0].1 = broken[0].1.replace("\"LV\"", "\"XX\"");
    outcome(&broken, TODAY, &mut cache).unwrap_err();
    let warning = outcome(&with("blocked.txt", "203.0.113.2\n2001:db8::/48\n", ""), TODAY, &mut cache).unwrap().1;
    assert!(warning.contains("it had 3 before"), "{warning}");
}
