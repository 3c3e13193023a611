//! The JSON schemas accept what the parser accepts, and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use filter_core::layout::{
    Action, Attestation, Count, Dialog, Method, NumberFormat, Payload, Transport, Verstat, anomaly, passport, privacy,
};
use filter_policy::{
    language::{schema, scope::SCOPES, source, stage::Stage, upstream::UpstreamKind},
    testing,
};
use serde_json::Value;

/// A TOML value as editors pass it to a schema: dates are strings.
fn json_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(integer) => integer.into(),
        toml::Value::Float(float) => float.into(),
        toml::Value::Boolean(boolean) => boolean.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(array) => array.into_iter().map(json_of).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, json_of(value))).collect())
        }
    }
}

fn document(text: &str) -> Value {
    json_of(toml::Value::Table(text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))))
}

/// A schema compiled once, to validate many documents.
struct Validator {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Validator {
    fn new(schema: &Value) -> Self {
        const NAME: &str = "schema.json";
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        compiler.add_resource(NAME, schema.clone()).expect("it is named once");
        // This also validates the schema against that of its draft.
        let index = compiler.compile(NAME, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index }
    }

    /// What is wrong with a file, if anything.
    fn complaint(&self, text: &str) -> Option<String> {
        self.schemas.validate(&document(text), self.index).err().map(|error| error.to_string())
    }
}

fn keys(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().expect("it has properties").keys().map(String::as_str).collect()
}

fn set<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_keys_of_each_section_are_the_parsers() {
    let schema = schema::policy();
    assert_eq!(keys(&schema), set(source::TOP_KEYS));
    assert_eq!(keys(&schema["properties"]["network"]), set(source::NETWORK_KEYS));
    assert_eq!(keys(&schema["properties"]["numbering"]), set(source::NUMBERING_KEYS));
    assert_eq!(keys(&schema["$defs"]["set"]), set(source::SET_KEYS));
    assert_eq!(keys(&schema["$defs"]["rule"]), set(source::RULE_KEYS));
    assert_eq!(keys(&schema["$defs"]["upstream"]), set(source::UPSTREAM_KEYS));
    assert_eq!(keys(&schema["$defs"]["contact"]), set(source::CONTACT_KEYS));
    assert_eq!(keys(&schema["$defs"]["cap"]), set(source::CAP_KEYS));
    assert_eq!(keys(&schema["$defs"]["over"]), set(source::OVER_KEYS));
    assert_eq!(keys(&schema["$defs"]["hours"]), set(source::HOURS_KEYS));
}

#[test]
fn the_scopes_are_the_parsers() {
    let schema = schema::policy();
    let (plain, headers): (Vec<&str>, Vec<&str>) =
        SCOPES.iter().map(|(name, ..)| *name).partition(|name| !name.starts_with("header."));
    let headers: Vec<&str> = headers.iter().map(|name| &name["header.".len()..]).collect();
    for (conditions, others) in [("match", &["header", "not"][..]), ("not", &["header"])] {
        let conditions = &schema["$defs"][conditions];
        assert_eq!(keys(conditions), set(&[&plain[..], others].concat()));
        assert_eq!(keys(&conditions["properties"]["header"]), set(&headers));
    }
}

#[test]
fn every_word_that_the_parser_knows_is_offered() {
    fn enumerated<'a>(schema: &'a Value, found: &mut BTreeSet<&'a str>) {
        schema.as_array().into_iter().flatten().for_each(|item| enumerated(item, found));
        for (key, value) in schema.as_object().into_iter().flatten() {
            match value.as_array().filter(|_| key == "enum") {
                Some(words) => found.extend(words.iter().filter_map(Value::as_str)),
                None => enumerated(value, found),
            }
        }
    }
    let schema = schema::policy();
    let mut words = BTreeSet::new();
    enumerated(&schema, &mut words);
    let actions = &schema["$defs"]["action"];
    let with_argument =
        actions["anyOf"].as_array().expect("several").iter().flat_map(|action| action["required"].as_array());
    words.extend(with_argument.flatten().filter_map(Value::as_str));
    let known = [
        &[
            "pass",
            "drop",
            "drop-connection",
            "national",
            "e164",
            "enforce",
            "report",
            "request",
            "to",
            "none",
            "rule",
            "source",
            "destination",
            "calling",
            "called",
            "source+called",
            "user-agent",
            "upstream",
            "filed",
        ][..],
        &UpstreamKind::NAMES,
        &Count::NAMES,
        &Stage::ALL.map(Stage::name),
        &Action::NAMES,
        &NumberFormat::NAMES,
        &Attestation::NAMES,
        &Transport::NAMES,
        &Verstat::NAMES,
        &anomaly::NAMES,
        &privacy::NAMES,
        &passport::NAMES,
        &Dialog::NAMES,
        &Payload::NAMES[Payload::Sip.index()..],
        &Method::NAMES[Method::Response.index()..],
    ];
    assert_eq!(words, set(&known.concat()));
}

/// A policy with one rule that has this condition or key.
fn rule(line: &str) -> String {
    format!(
        "version = 1\n[sets.a]\naddresses = [\"192.0.2.1\"]\nlabel = \"x\"\n[sets.n]\nnumbers = \"n.csv\"\n\
         [sets.p]\npatterns = [\"a\"]\n[[rule]]\nname = \"r\"\naction = \"drop\"\n{line}\n"
    )
}

/// True if the parser accepts a policy.
fn parses(text: &str) -> bool {
    testing::load(&[("policy.toml", text), ("n.csv", "number,score\n12125559080$,80\n")]).is_ok()
}

#[test]
fn each_value_is_accepted_or_rejected_as_by_the_parser() {
    let validator = Validator::new(&schema::policy());
    for (line, good) in [
        ("match.method = \"INVITE\"", true),
        ("match.method = [\"invite\", \"response\", \"other\"]", true),
        ("match.method = \"INVTE\"", false),
        ("match.method = []", false),
        ("match.transport = [\"udp\", \"TLS\"]", true),
        ("match.transport = \"sctp\"", false),
        ("match.port = 5060", true),
        ("match.port = [5060, 5061]", true),
        ("match.port = 0", false),
        ("match.port = \"5060\"", false),
        ("match.source = \"@a\"", true),
        ("match.source = 4", false),
        ("match.not.source = \"@a\"", true),
        ("match.not = { source = \"@a\", header = { subject = \"x\" } }", true),
        ("match.not.not.source = \"@a\"", false),
        ("match.header.subject = \"x\"", true),
        ("match.header.date = \"x\"", true),
        ("match.header.X-Tenant = \"x\"", true),
        ("match.header.\"a b\" = \"x\"", false),
        ("match.header.k = \"x\"", false),
        ("match.not.header.x-tenant = \"x\"", true),
        ("match = { \"not.header.x-tenant\" = \"x\" }", true),
        ("match.\"header.subject\" = \"x\"", true),
        ("match.\"header.date\" = \"x\"", true),
        ("match.\"header.\" = \"x\"", false),
        ("match = { \"not.source\" = \"@a\", \"not.header.subject\" = \"x\", not.\"header.to-user\" = \"y\" }", true),
        ("match.\"not.sources\" = \"@a\"", false),
        ("match.caling = \"1\"", false),
        ("match.calling = [\"1605\", \"911$\", \"@n\"]", true),
        ("match.calling = 1605", false),
        ("match.calling_country = \"us\"", true),
        ("match.calling_country = \"USA\"", false),
        ("match.called_region = [\"US-SD\", \"us-ia\"]", true),
        ("match.called_region = \"SD\"", false),
        ("match.calling_spid = \"6529\"", true),
        ("match.calling_spid = \"65\"", false),
        ("match.calling_format = \"Too-Short\"", true),
        ("match.calling_format = \"short\"", false),
        ("match.calling_reputation = \">= 80\"", true),
        ("match.calling_reputation = [\" < 100\"]", true),
        ("match.calling_reputation = \"80\"", true),
        ("match.calling_reputation = \">= 101\"", false),
        ("match.calling_reputation = [\">= 80\", \"< 90\"]", false),
        ("hours = { timezone = \"UTC\" }", true),
        ("hours = { days = [\"Mon-fri\", \"SUNDAY\"], from = \"08:00\", to = \"24:00\", timezone = \"UTC\" }", true),
        ("hours = [{ days = \"sat-mon\", timezone = \"UTC\" }, { to = \"12:30\", timezone = \"UTC\" }]", true),
        ("hours = { from = \"24:01\", timezone = \"UTC\" }", false),
        ("hours = { days = \"mon,tue\", timezone = \"UTC\" }", false),
        ("hours = { days = \"mon\" }", false),
        ("hours = []", false),
        ("match.attestation = [\"A\", \"none\"]", true),
        ("match.attestation = \"D\"", false),
        ("match.any_identity = [\"1605\", \"@n\"]", true),
        ("match.any_identity = 1605", false),
        ("match.to_number = \"1605\"", true),
        ("match.preferred_number = \"1605$\"", true),
        ("match.calling_privacy = [\"none\", \"Id\"]", true),
        ("match.calling_privacy = \"full\"", false),
        ("match.passport = \"shaken\"", true),
        ("match.passport = \"msec\"", false),
        ("match.dialog = [\"initial\", \"within\"]", true),
        ("match.dialog = \"early\"", false),
        ("match.payload = \"keep-alive\"", true),
        ("match.payload = \"none\"", false),
        ("match.neighbor = true", true),
        ("match.neighbor = [false]", true),
        ("match.neighbor = \"true\"", false),
        ("match.anomaly = \"not-sip\"", true),
        ("match.anomaly = \"odd\"", false),
        ("match.upstream = \"x\"", true),
        ("match.upstream_kind = [\"carrier\", \"Gateway\"]", true),
        ("match.upstream_kind = \"peer\"", false),
        ("match.upstream_rmd = [\"filed\", \"RMD0001410\"]", true),
        ("match.upstream_rmd = \"None\"", true),
        ("match.upstream_rmd = \"rmd0001410\"", true),
        ("match.upstream_rmd = \"RMD1410\"", false),
        ("match.caller_allowed = false", true),
        ("match.caller_allowed = \"no\"", false),
        ("over = { rate = \"5/s\", per = \"upstream\" }", true),
        ("over = { rate = \"5/s\", per = \"upstream/2\" }", false),
        ("match.body = \"@p\"", true),
        ("mode = \"report\"", true),
        ("mode = \"dry-run\"", false),
        ("stage = \"fraud\"", true),
        ("stage = \"Fraud\"", false),
        ("review = 2027-01-31", true),
        ("review = \"2027-01-31\"", true),
        ("review = \"soon\"", false),
        ("until = 2027-01-31", true),
        ("until = \"2027-01-31\"", true),
        ("until = 2027-01-31T06:00:00Z", true),
        ("until = \"2027-01-31T06:00:00+01:00\"", true),
        ("until = 2027-01-31T06:00:00", false),
        ("until = true", false),
        ("over = { rate = \"5/s\", burst = 20, per = \"called\" }", true),
        ("over = { rate = \"20 / 10s\", per = \"source/24\" }", true),
        ("over = { rate = \"1000/1h30m\" }", true),
        ("over = { rate = \"5\" }", false),
        ("over = { burst = 5 }", false),
        ("over = { rate = \"5/s\", per = \"port\" }", false),
        ("over = { rate = \"5/s\", burst = -1 }", false),
        ("over = { rate = \"5/s\", burst = 0 }", false),
        ("over = { rate = \"5/s\", per = \"source+called\", count = \"calls\" }", true),
        ("over = { rate = \"5/s\", count = \"requests\" }", false),
        ("over = { rate = \"5/s\", every = 1 }", false),
        ("basis = \"dno\"", true),
        ("basis = 1", false),
        ("unknown = 1", false),
    ] {
        let text = rule(line);
        assert_eq!(parses(&text), good, "{line}: the parser");
        assert_eq!(validator.complaint(&text).is_none(), good, "{line}: {:?}", validator.complaint(&text));
    }
    for (action, good) in [
        ("\"drop\"", true),
        ("\"bypass-fraud-control\"", true),
        ("{ ban = \"1h30m\" }", true),
        ("{ ban = 10 }", false),
        ("{ ban = \"10 minutes\" }", false),
        ("{ reject = 603 }", true),
        ("{ reject = 200 }", false),
        ("{ reject = 401 }", false),
        ("{ divert = \"sip:captcha@example.com\" }", true),
        ("{ divert = \"tel:911\" }", false),
        ("{ divert = \"sip:a<b\" }", false),
        ("{ drop = true }", false),
        ("{ ban = \"1h\", reject = 603 }", false),
        ("\"ban\"", false),
        ("\"allow\"", false),
    ] {
        let text = format!("version = 1\n[[rule]]\nname = \"r\"\naction = {action}\n");
        assert_eq!(parses(&text), good, "{action}: the parser");
        assert_eq!(validator.complaint(&text).is_none(), good, "{action}");
    }
}

#[test]
fn the_sample_policy_and_its_cases_are_valid() {
    let (policy, tests) = (Validator::new(&schema::policy()), Validator::new(&schema::tests()));
    let mut cases = 0;
    for path in files("../policies", ".toml") {
        let text = fs::read_to_string(&path).expect("it can be read");
        let is_case = path.parent().is_some_and(|folder| folder.ends_with("tests"));
        cases += u32::from(is_case);
        let complaint = if is_case { &tests } else { &policy }.complaint(&text);
        assert_eq!(complaint, None, "{}", path.display());
    }
    assert!(cases > 0, "there are no test cases");
}

/// The mistakes that a schema finds: those in keys, types, words and sizes. The others are in list files, in other rules, or
/// in the meaning.
const FOUND: [&str; 23] = [
    "bad-action",
    "bad-country-code",
    "bad-date",
    "bad-duration",
    "bad-hours",
    "bad-rate",
    "bad-value",
    "empty",
    "missing-key",
    "several-mistakes",
    "too-many-plans",
    "too-many-ports",
    "too-many-rules",
    "unknown-anomaly",
    "unknown-format",
    "unknown-header",
    "unknown-key",
    "unknown-method",
    "unknown-region",
    "unknown-scope",
    "unknown-stage",
    "unsupported-version",
    "wrong-type",
];

/// Of these codes, the policies whose mistake is in a list file, or in the meaning.
const NOT_IN_THE_FORM: [&str; 6] = [
    "bad-action--cap",
    "bad-date--list",
    "bad-hours--empty",
    "bad-rate--refill",
    "bad-value--cap-burst",
    "unknown-header--misspelt",
];

#[test]
fn mistakes_in_the_form_of_a_policy_are_found_and_no_others() {
    let validator = Validator::new(&schema::policy());
    let mut wrong = BTreeMap::new();
    for path in files("tests/broken-policies", "policy.toml") {
        let folder = path.parent().and_then(Path::file_name).expect("it has a folder").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.parse::<toml::Table>().is_err() {
            // Not valid TOML, or not valid UTF-8.
            continue;
        }
        let code = folder.split("--").next().unwrap_or_default();
        let expected = FOUND.contains(&code) && !NOT_IN_THE_FORM.contains(&folder.as_str());
        let complaint = validator.complaint(&text);
        if complaint.is_some() != expected {
            wrong.insert(folder, complaint);
        }
    }
    assert_eq!(wrong, BTreeMap::new());
}

#[test]
fn test_cases_with_mistakes_in_their_form_are_rejected() {
    let validator = Validator::new(&schema::tests());
    let good = "[[case]]\nname = \"x\"\nsource = \"192.0.2.1\"\nport = 5060\nheaders = [\"A: b\"]\nbanned = true\nbefore = [{ count = 2, every = \"1s\", ago = \"1h\", method = \"BYE\" }]\nexpect = { verdict = \"pass\", reason = \"banned\", rule = \"\", would = [] }\n";
    assert_eq!(validator.complaint(good), None);
    for bad in [
        "[[case]]\nname = \"x\"\n",
        "[[case]]\nexpect = { verdict = \"pass\" }\n",
        "[[case]]\nname = \"x\"\nexpect = { verdict = \"allow\" }\n",
        "[[case]]\nname = \"x\"\ncaling = \"1\"\nexpect = { verdict = \"pass\" }\n",
        "[[case]]\nname = \"x\"\nbefore = [{ count = 0 }]\nexpect = { verdict = \"pass\" }\n",
        "[[case]]\nname = \"x\"\nexpect = { verdict = \"drop\", reason = \"band\" }\n",
        "[[case]]\nname = \"x\"\nattestation = \"D\"\nexpect = { verdict = \"pass\" }\n",
        "[[cases]]\nname = \"x\"\nexpect = { verdict = \"pass\" }\n",
    ] {
        assert!(validator.complaint(bad).is_some(), "{bad}");
    }
}

/// The reader of test cases lists its fields when it meets an unknown one.
#[test]
fn the_keys_of_test_cases_are_the_readers() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(folder.path().join("tests")).expect("it is ours");
    let expected = |text: &str| -> BTreeSet<String> {
        fs::write(folder.path().join("tests/a.toml"), text).expect("it is ours");
        let errors = filter_policy::cases::read(folder.path()).expect_err("it has an unknown key");
        let first = errors.iter().next().expect("it has an error");
        let listed = first.help.clone().unwrap_or_else(|| panic!("{errors}"));
        listed.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
    };
    let owned = |schema: &Value| keys(schema).into_iter().map(ToOwned::to_owned).collect::<BTreeSet<String>>();
    let schema = schema::tests();
    let case = &schema["$defs"]["case"];
    assert_eq!(owned(case), expected("[[case]]\nunheard-of = 1\n"));
    assert_eq!(
        owned(&case["properties"]["expect"]),
        expected("[[case]]\nname = \"x\"\nexpect = { verdict = \"pass\", unheard-of = 1 }\n")
    );
    assert_eq!(
        owned(&schema["$defs"]["earlier"]),
        expected("[[case]]\nname = \"x\"\nbefore = [{ unheard-of = 1 }]\nexpect = { verdict = \"pass\" }\n")
    );
    assert_eq!(owned(&schema), BTreeSet::from(["case".to_owned()]));
}
