//! The measured policies, as an operator would write them.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result, anyhow};
use filter_policy::{compile::compile, files::Table, image::Image, model::Policy};

use crate::generate;

/// A policy repository in memory.
pub(crate) struct Repository {
    files: Vec<(String, String)>,
}

impl Repository {
    pub(crate) fn new(policy: String) -> Self {
        Self { files: vec![("policy.toml".to_owned(), policy)] }
    }

    pub(crate) fn empty() -> Self {
        Self { files: Vec::new() }
    }

    pub(crate) fn files(&self) -> &[(String, String)] {
        &self.files
    }

    #[must_use]
    pub(crate) fn with(mut self, path: &str, content: String) -> Self {
        self.files.push((path.to_owned(), content));
        self
    }

    /// Reads and resolves the policy.
    pub(crate) fn resolve(&self) -> Result<Policy> {
        let resolved = filter_policy::load_from(&Table(&self.contents()), filter_policy::today());
        resolved
            .map(|(policy, _)| policy)
            .map_err(|diagnostics| anyhow!("the policy has errors:\n{}", diagnostics.render(false, None)))
    }

    /// Resolves and compiles the policy.
    pub(crate) fn build(&self) -> Result<Image> {
        compile(&self.resolve()?).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            anyhow!("the policy does not compile:\n{}", errors.join("\n"))
        })
    }

    fn contents(&self) -> Vec<(&str, &[u8])> {
        self.files.iter().map(|(name, content)| (name.as_str(), content.as_bytes())).collect()
    }

    /// Writes the files to a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        for (name, content) in &self.files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().context("the path has no parent")?)?;
            // By rename, as git and editors do, so that no file is read half written.
            let new = path.with_file_name(".new");
            std::fs::write(&new, content)?;
            std::fs::rename(&new, &path)?;
        }
        Ok(())
    }
}

const NETWORK: &str = "version = 1\ndefault = \"pass\"\n\n[network]\nudp = [5060]\ntcp = [5060]\n";

/// A policy with one block list of addresses.
pub(crate) fn block_list(list: String) -> Repository {
    let policy = format!(
        "{NETWORK}\n[sets.blocked]\naddresses = \"lists/blocked.txt\"\n\n\
         [[rule]]\nname = \"blocked\"\nmatch.source = \"@blocked\"\naction = \"drop\"\n"
    );
    Repository::new(policy).with("lists/blocked.txt", list)
}

/// The lists of the policies below.
pub(crate) struct Lists {
    /// Blocked sources.
    pub sources: String,
    /// Do-Not-Originate numbers.
    pub numbers: String,
    /// Blocked called prefixes.
    pub prefixes: String,
    /// User agents.
    pub patterns: String,
}

impl Lists {
    /// Lists of this many sources and numbers, up to 10,000 prefixes and 50 patterns.
    pub(crate) fn generated(sources: usize, numbers: usize) -> Self {
        Self {
            sources: generate::address_list(&generate::ipv4_prefixes(sources), 4),
            numbers: generate::number_list(&generate::numbers(numbers, 1)),
            prefixes: generate::prefix_list((numbers / 10).min(10_000)),
            patterns: generate::pattern_list(50),
        }
    }
}

/// The trunks, whose asserted identity is believed: the network for benchmarks (RFC 2544).
const TRUNKS: &str = "198.18.0.0/16\n2001:db8:18::/48\n";

fn with_lists(rules: String, lists: &Lists) -> Repository {
    let policy = format!(
        "version = 1\ndefault = \"pass\"\nnever_ban = [\"@trunks\"]\n\n\
         [network]\nudp = [5060]\ntcp = [5060]\ntls = [5061]\n\n\
         [numbering]\ncountry_code = \"1\"\ninternational_prefix = \"011\"\nranges = \"lists/ranges.csv\"\n\
         neighbor_digits = 7\nasserted_identity_from = \"@trunks\"\n\n\
         [sets.trunks]\naddresses = \"lists/trunks.txt\"\nlabel = \"carrier\"\n\n\
         [sets.blocked]\naddresses = \"lists/blocked.txt\"\n\n\
         [sets.dno]\nnumbers = \"lists/dno.csv\"\nformat = \"national\"\n\n\
         [sets.prefixes]\nnumbers = \"lists/prefixes.csv\"\nformat = \"national\"\n\n\
         [sets.scored]\nnumbers = \"lists/scored.csv\"\n\n\
         [sets.scanners]\nuser_agents = \"lists/scanners.txt\"\n\n\
         [[upstream]]\nname = \"carrier\"\nkind = \"carrier\"\ntrunks = \"@trunks\"\nrmd = \"RMD0001410\"\n\
         callers = \"1\"\n\n{rules}"
    );
    Repository::new(policy)
        .with("lists/trunks.txt", TRUNKS.to_owned())
        .with("lists/blocked.txt", lists.sources.clone())
        .with("lists/dno.csv", lists.numbers.clone())
        .with("lists/prefixes.csv", lists.prefixes.clone())
        .with("lists/scanners.txt", lists.patterns.clone())
        .with(
            "lists/scored.csv",
            "number,score\n12125559000$,0\n12125559060$,60\n12125559080$,80\n12125559100$,100\n".to_owned(),
        )
        .with(
            "lists/ranges.csv",
            "prefix,country,region,ocn,assigned\n1605562,US,US-SD,9999,yes\n1605563,US,US-SD,8888,no\n".to_owned(),
        )
}

/// The rule of [`all_scopes`] that drops scanners.
pub(crate) const SCANNER_RULE: &str = "user-agent";

/// A rule for each scope, with a name for it.
const SCOPES: [(&str, &str); 53] = [
    ("source", "match.source = \"@blocked\""),
    ("destination", "match.destination = [\"203.0.113.128/25\", \"2001:db8:99::/48\"]"),
    ("transport", "match = { transport = \"tls\", source = \"203.0.113.5\" }"),
    ("port", "match = { port = 5061, source = \"203.0.113.6\" }"),
    ("method", "match = { method = [\"SUBSCRIBE\", \"PUBLISH\"], source = \"203.0.113.7\" }"),
    (SCANNER_RULE, "match.user_agent = \"@scanners\""),
    ("calling", "match = { method = \"INVITE\", calling = \"@dno\" }"),
    ("called", "match = { method = \"INVITE\", called = \"@prefixes\" }"),
    ("forwarded", "match.forwarded = \"@prefixes\""),
    ("from-number", "match = { from_number = \"@dno\", not.source = \"@trunks\" }"),
    ("asserted-number", "match.asserted_number = \"@dno\""),
    ("preferred-number", "match.preferred_number = \"@dno\""),
    ("to-number", "match = { method = \"INVITE\", to_number = \"@prefixes\" }"),
    ("any-identity", "match = { any_identity = \"@dno\", not.source = \"@trunks\" }"),
    ("calling-country", "match.calling_country = [\"CU\", \"LV\", \"SO\"]"),
    ("called-country", "match.called_country = [\"CU\", \"LV\", \"SO\"]"),
    ("forwarded-country", "match.forwarded_country = [\"CU\", \"LV\", \"SO\"]"),
    ("calling-region", "match.calling_region = [\"US-AK\", \"CA-YT\"]"),
    ("called-region", "match.called_region = [\"US-AK\", \"CA-YT\"]"),
    ("forwarded-region", "match.forwarded_region = [\"US-SD\", \"US-IA\", \"US-MN\"]"),
    ("calling-spid", "match.calling_spid = \"9999\""),
    ("called-spid", "match.called_spid = [\"9999\", \"8888\"]"),
    ("forwarded-spid", "match.forwarded_spid = \"9999\""),
    ("calling-format", "match.calling_format = [\"too-long\", \"invalid-area-code\", \"unassigned-area-code\"]"),
    ("called-format", "match.called_format = [\"too-short\", \"too-long\"]"),
    ("calling-privacy", "match = { calling_privacy = \"critical\", not.source = \"@trunks\" }"),
    ("reputation", "match.calling_reputation = \">= 80\""),
    ("attestation", "match.attestation = [\"C\", \"unknown\"]"),
    ("passport", "match = { passport = \"other\", not.source = \"@trunks\" }"),
    ("verstat", "match.verstat = \"TN-Validation-Failed\""),
    ("neighbor", "match = { neighbor = true, not.source = \"@trunks\" }"),
    ("dialog", "match = { dialog = \"initial\", method = \"BYE\" }"),
    ("payload", "match = { payload = \"stun\", source = \"203.0.113.8\" }"),
    ("body", "match.body = [\"free money\", \"crypto\"]"),
    ("anomaly", "match.anomaly = [\"control-character\", \"duplicate-header\", \"several-messages\"]"),
    ("upstream", "match = { upstream = \"carrier\", attestation = \"C\" }"),
    ("upstream-kind", "match = { upstream_kind = \"carrier\", attestation = \"C\" }"),
    ("upstream-rmd", "match = { upstream_rmd = \"none\", attestation = \"C\" }"),
    ("caller-allowed", "match = { method = \"INVITE\", caller_allowed = false }"),
    ("call-id", "match = { \"header.call-id\" = \"^sip-scan\" }"),
    ("contact", "match = { \"header.contact\" = \"nm@nm\" }"),
    ("contact-host", "match = { \"header.contact-host\" = \"^1\\\\.1\\\\.1\\\\.1\" }"),
    ("from-display", "match = { \"header.from-display\" = \"sipvicious\" }"),
    ("from-host", "match = { \"header.from-host\" = \"^1\\\\.1\\\\.1\\\\.1\" }"),
    ("from-user", "match = { \"header.from-user\" = [\"'\", \"%27\", \"union.*select\"] }"),
    ("request-host", "match = { \"header.request-host\" = \"maddr=\" }"),
    ("request-user", "match = { \"header.request-user\" = [\"'\", \"%27\", \"union.*select\"] }"),
    ("sdp-session", "match = { \"header.sdp-session\" = \"^sipsak\" }"),
    ("server", "match = { \"header.server\" = \"^evil\" }"),
    ("subject", "match = { \"header.subject\" = \"lottery\" }"),
    ("to-user", "match = { \"header.to-user\" = \"sipvicious\" }"),
    ("via", "match = { \"header.via\" = \"branch=z9hG4bK-0{8}\" }"),
    ("emergency", "match.called = [\"911$\", \"933$\", \"112$\"]"),
];

fn rule(text: &mut String, name: &str, condition: &str, action: &str) {
    let _ = writeln!(text, "[[rule]]\nname = \"{name}\"\n{condition}\naction = {action}\n");
}

/// 64 rules: one for each scope, the others combine several scopes.
pub(crate) fn all_scopes(lists: &Lists) -> Repository {
    let mut rules = String::new();
    rule(&mut rules, "trunks", "match.source = \"@trunks\"", "\"continue\"");
    for (name, condition) in SCOPES {
        // A pinhole skips its own stage only. These rules are in another stage, so they apply to trunks as well.
        rule(&mut rules, name, &format!("stage = \"shield\"\n{condition}"), "\"drop\"");
    }
    for index in 0..64 - 1 - SCOPES.len() {
        let condition = format!(
            "stage = \"fraud\"\nmatch = {{ method = \"INVITE\", called = [\"1900555{index:02}\", \"8816{index:02}\"], \
             calling_country = [\"US\", \"CA\"], not.user_agent = \"trusted-{index:02}\" }}"
        );
        rule(&mut rules, &format!("fraud-{index}"), &condition, "\"drop\"");
    }
    with_lists(rules, lists)
}

/// The least that an operator may want: user agents, a method, and lists of calling and called numbers.
pub(crate) fn small(lists: &Lists) -> Repository {
    let mut rules = String::new();
    for (name, condition) in [
        (SCANNER_RULE, "match.user_agent = \"@scanners\""),
        ("method", "match.method = [\"SUBSCRIBE\", \"PUBLISH\"]"),
        ("calling", "match = { method = \"INVITE\", calling = \"@dno\" }"),
        ("called", "match = { method = \"INVITE\", called = \"@prefixes\" }"),
    ] {
        rule(&mut rules, name, condition, "\"drop\"");
    }
    let policy = format!(
        "{NETWORK}\n[numbering]\ncountry_code = \"1\"\ninternational_prefix = \"011\"\n\n\
         [sets.dno]\nnumbers = \"lists/dno.csv\"\nformat = \"national\"\n\n\
         [sets.prefixes]\nnumbers = \"lists/prefixes.csv\"\nformat = \"national\"\n\n\
         [sets.scanners]\nuser_agents = \"lists/scanners.txt\"\n\n{rules}"
    );
    Repository::new(policy)
        .with("lists/dno.csv", lists.numbers.clone())
        .with("lists/prefixes.csv", lists.prefixes.clone())
        .with("lists/scanners.txt", lists.patterns.clone())
}

/// `count` rules, a multiple of eight, always over the same lists and scopes: the first eight use the lists, the others are
/// exceptions and blocks such as accumulate over the years.
pub(crate) fn some_rules(count: usize, lists: &Lists) -> Repository {
    let mut rules = String::new();
    for group in 0..count / 8 {
        // The first group uses the lists, each other one its own values.
        let own = |list: &str, value: String| if group == 0 { format!("\"{list}\"") } else { format!("\"{value}\"") };
        let conditions = [
            format!("match.source = {}", own("@blocked", format!("203.0.113.{group}"))),
            format!("match.user_agent = {}", own("@scanners", format!("bot-{group:03}/"))),
            format!("match = {{ method = \"INVITE\", calling = {} }}", own("@dno", format!("1605562{group:04}$"))),
            format!("match = {{ method = \"INVITE\", called = {} }}", own("@prefixes", format!("1900556{group:02}"))),
            format!("match = {{ calling_country = \"CU\", called = \"1605563{group:04}$\" }}"),
            format!(
                "match = {{ calling_format = [\"too-long\", \"invalid-area-code\"], not.calling = \"1605564{group:04}$\" }}"
            ),
            format!("match = {{ attestation = \"C\", called = \"1605565{group:04}$\" }}"),
            format!("match = {{ method = \"REGISTER\", source = \"203.0.112.{group}\" }}"),
        ];
        for (index, condition) in conditions.iter().enumerate() {
            rule(&mut rules, &format!("rule-{group}-{index}"), condition, "\"drop\"");
        }
    }
    with_lists(rules, lists)
}

/// The same with a limit that nothing exceeds: a million packets to each called number, and as many in a second.
pub(crate) fn with_limit(mut repository: Repository) -> Repository {
    let limit = "match.method = \"INVITE\"\nover = { rate = \"1000000/s\", burst = 1000000, per = \"called\" }";
    rule(&mut repository.files[0].1, "limit", limit, "\"drop\"");
    repository
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_have_as_many_rules_as_the_document_says() {
        assert_eq!(all_scopes(&Lists::generated(100, 100)).build().unwrap().rules.len(), 64);
        assert_eq!(some_rules(8, &Lists::generated(100, 100)).build().unwrap().rules.len(), 8);
        assert_eq!(some_rules(512, &Lists::generated(100, 100)).build().unwrap().rules.len(), 512);
    }

    #[test]
    fn one_policy_uses_every_scope() {
        let policy = all_scopes(&Lists::generated(100, 100)).files.remove(0).1;
        for (scope, ..) in filter_policy::language::scope::SCOPES {
            let key = [format!(".{scope} ="), format!(" {scope} ="), format!("\"{scope}\" =")];
            assert!(key.iter().any(|key| policy.contains(key)), "{scope} is in no rule");
        }
    }
}
