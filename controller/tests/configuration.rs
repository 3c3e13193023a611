//! The daemon's configuration: its reader, its schema, its document and its sample say the same.

use std::{collections::BTreeSet, fs, net::TcpListener, path::Path, process::Command};

use ringfence::{
    config::{self, Configuration, schema},
    responder::Options,
    telemetry::DEFAULT_SAMPLES,
};
use serde_json::Value;

const PATH: &str = "/etc/ringfence/ringfence.toml";
const SAMPLE: &str = include_str!("../../packaging/ringfence.toml");
const REFERENCE: &str = include_str!("../../docs/configuration.md");

/// What a file with mistakes is answered, as `ringfence run` prints it.
fn mistakes(text: &str) -> String {
    match Configuration::parse(Path::new(PATH), text.as_bytes()) {
        Ok(configuration) => panic!("{text}\nis accepted: {configuration:?}"),
        Err(diagnostics) => diagnostics.render(false, None),
    }
}

fn parses(text: &str) -> bool {
    Configuration::parse(Path::new(PATH), text.as_bytes()).is_ok()
}

/// A schema compiled once, to validate many documents.
struct Validator {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        const NAME: &str = "schema.json";
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        compiler.add_resource(NAME, schema::schema()).expect("it is named once");
        let index = compiler.compile(NAME, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index }
    }

    fn complaint(&self, text: &str) -> Option<String> {
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let document = serde_json::to_value(table).expect("there are no dates in it");
        self.schemas.validate(&document, self.index).err().map(|error| error.to_string())
    }
}

#[test]
fn the_keys_of_each_section_are_the_readers() {
    fn keys(schema: &Value) -> BTreeSet<&str> {
        schema["properties"].as_object().expect("it has properties").keys().map(String::as_str).collect()
    }
    let set = |keys: &[&'static str]| keys.iter().copied().collect::<BTreeSet<&str>>();
    let schema = schema::schema();
    let top = &schema["properties"];
    for (section, known) in [
        (&schema, config::TOP_KEYS),
        (&top["interface"]["items"], config::INTERFACE_KEYS),
        (&top["policy"], config::POLICY_KEYS),
        (&top["state"], config::STATE_KEYS),
        (&top["api"], config::API_KEYS),
        (&top["pins"], config::PINS_KEYS),
        (&top["outputs"], config::OUTPUTS_KEYS),
        (&top["outputs"]["properties"]["stdout"], config::STDOUT_KEYS),
        (&top["outputs"]["properties"]["prometheus"], config::PROMETHEUS_KEYS),
        (&top["outputs"]["properties"]["file"], config::FILE_KEYS),
        (&top["outputs"]["properties"]["journal"], config::JOURNAL_KEYS),
        (&top["outputs"]["properties"]["syslog"], config::SYSLOG_KEYS),
        (&top["outputs"]["properties"]["hep"], config::HEP_KEYS),
        (&top["samples"], config::SAMPLES_KEYS),
        (&top["responder"], config::RESPONDER_KEYS),
    ] {
        assert_eq!(keys(section), set(known));
        assert_eq!(section["additionalProperties"], false, "{known:?}");
    }
}

#[test]
fn the_schema_accepts_and_rejects_what_the_reader_does() {
    let validator = Validator::new();
    for (text, good) in [
        ("", true),
        ("edge = \"fra1-sbc2\"", true),
        ("edge = \"\"", false),
        ("edge = \"a b\"", false),
        ("edge = 1", false),
        ("[[interface]]\nname = \"eth0\"", true),
        (
            "[[interface]]\nname = \"eth0\"\nmode = \"native\"\n[[interface]]\nname = \"eth0.7\"\nmode = \"generic\"",
            true,
        ),
        ("[[interface]]\nname = \"eth0\"\nmode = \"auto\"", true),
        ("[[interface]]\nname = \"eth0\"\nmode = \"Native\"", false),
        ("[[interface]]\nmode = \"native\"", false),
        ("[[interface]]\nname = \"\"", false),
        ("[[interface]]\nname = \"..\"", false),
        ("[[interface]]\nname = \"eth0/1\"", false),
        ("[[interface]]\nname = \"eth0:1\"", false),
        ("[[interface]]\nname = \"an-interface-of-17\"", false),
        ("[[interface]]\nname = \"eth0\"\nmtu = 1", false),
        ("interface = \"eth0\"", false),
        ("interface = [\"eth0\"]", false),
        ("interfaces = [\"eth0\"]", false),
        ("[policy]\ndirectory = \"/etc/ringfence/policy\"\nreport = true", true),
        ("[policy]\ndirectory = \"\"", false),
        ("[policy]\nreport = \"yes\"", false),
        ("[policy]\ngit = \"ssh://git@git.example.net/policy.git\"", true),
        (
            "[policy]\ngit = \"/srv/p.git\"\nbranch = \"main\"\npath = \"edges/fra1\"\npoll = \"1m30s\"\nreport = true",
            true,
        ),
        ("[policy]\ngit = \"git@h:p\"\ntag = \"v1\"\nallowed_signers = \"/etc/ringfence/signers\"", true),
        ("[policy]\ngit = \"\"", false),
        ("[policy]\ngit = 1", false),
        ("[policy]\ngit = \"git@h:p\"\ndirectory = \"/etc/ringfence/policy\"", false),
        ("[policy]\ngit = \"git@h:p\"\nbranch = \"a\"\ntag = \"b\"", false),
        ("[policy]\ngit = \"git@h:p\"\nbranch = \"\"", false),
        ("[policy]\ngit = \"git@h:p\"\npath = \"\"", false),
        ("[policy]\ngit = \"git@h:p\"\npoll = \"soon\"", false),
        ("[policy]\nbranch = \"main\"", false),
        ("[policy]\ndirectory = \"/etc/ringfence/policy\"\nallowed_signers = \"x\"", false),
        ("[state]\ndirectory = \"/var/lib/x\"", true),
        ("[state]\npath = \"/var/lib/x\"", false),
        ("policy = \"/etc/ringfence/policy\"", false),
        ("[api]\nsocket = \"/run/x.sock\"", true),
        ("[api]\nlisten = \"127.0.0.1:80\"", false),
        ("[samples]\nper_second = 0", true),
        ("[samples]\nper_second = 10000", true),
        ("[samples]\nper_second = 10001", false),
        ("[samples]\nper_second = -1", false),
        ("[samples]\nper_second = \"200\"", false),
        ("[samples]\nevery = 1", false),
        ("[responder]", true),
        ("[responder]\nenabled = false\nsymmetric = false\ntotal = \"100/s\"\nper_source = \"2/10s\"", true),
        ("[responder]\nenabled = \"no\"", false),
        ("[responder]\nsymmetric = 1", false),
        ("[responder]\ntotal = \"100\"", false),
        ("[responder]\ntotal = 100", false),
        ("[responder]\nper_source = \"2/x\"", false),
        ("[responder]\nretry_after = \"1m30s\"", true),
        ("[responder]\nretry_after = \"30\"", false),
        ("[responder]\nredress_url = \"https://example.net/blocked?a=b\"", true),
        ("[responder]\nredress_url = \"example.net\"", false),
        ("[responder]\nredress_url = \"https://a;b\"", false),
        ("[responder]\nredress_url = \"https://\"", false),
        ("[responder]\nredress_tel = \"+12125550100\"\nlocation = \"LN\"", true),
        ("[responder]\nredress_tel = \"2125550100\"", false),
        ("[responder]\nredress_email = \"blocked@example.net\"", true),
        ("[responder]\nredress_email = \"a\\\"b@example.net\"", false),
        ("[responder]\nredress_email = \"@example.net\"", false),
        ("[responder]\nlocation = \"rln\"", false),
        ("[responder]\nrate = \"1/s\"", false),
        ("[pins]\ndirectory = \"/sys/fs/bpf/x\"", true),
        ("[pins]\npath = \"/sys/fs/bpf/x\"", false),
        ("[outputs.stdout]\nformat = \"json\"\ninterval = \"10s\"", true),
        ("[outputs.stdout]\ninterval = \"1m30s\"", true),
        ("[outputs.stdout]\ninterval = 10", false),
        ("[outputs.stdout]\ninterval = \"10\"", false),
        ("[outputs.stdout]\nformat = \"xml\"", false),
        ("[outputs.prometheus]\nlisten = \"127.0.0.1:9469\"", true),
        ("[outputs.prometheus]\nlisten = \"[2001:db8::1]:9469\"", true),
        ("[outputs.prometheus]", false),
        ("[outputs.prometheus]\nlisten = 9469", false),
        ("[outputs.prometheus]\nlisten = \"127.0.0.1\"", false),
        ("[outputs.prometheus]\nlisten = \":9469\"", false),
        ("[outputs.prometheus]\nlisten = \"localhost:9469\"", false),
        ("[outputs.prometheus]\nlisten = \"2001:db8::1:9469\"", false),
        ("[outputs.prometheus]\nport = 9469", false),
        ("[outputs]\nstdout = true", false),
        ("[outputs.file]\npath = \"/var/log/ringfence/events.jsonl\"", true),
        ("[outputs.file]", false),
        ("[outputs.file]\npath = \"\"", false),
        ("[outputs.journal]", true),
        ("[outputs.journal]\nsocket = \"/run/systemd/journal/socket\"", true),
        ("[outputs.journal]\nsocket = 1", false),
        ("[outputs.syslog]\nto = \"udp:192.0.2.60:514\"", true),
        ("[outputs.syslog]\nto = \"udp:[2001:db8::60]:514\"", true),
        ("[outputs.syslog]\nto = \"unix:/dev/log\"", true),
        ("[outputs.syslog]\nto = \"tcp:192.0.2.60:514\"", false),
        ("[outputs.syslog]\nto = \"192.0.2.60:514\"", false),
        ("[outputs.syslog]", false),
        ("[outputs.hep]\nto = \"udp:homer.example.net:9060\"\npassword_file = \"hep.password\"\nid = 7", true),
        ("[outputs.hep]\nto = \"tcp:192.0.2.60:9060\"", true),
        ("[outputs.hep]\nto = \"unix:/run/homer\"", false),
        ("[outputs.hep]\nto = \"udp:192.0.2.60\"", false),
        ("[outputs.hep]\nto = \"udp:192.0.2.60:9060\"\nid = -1", false),
        ("[outputs.hep]\nto = \"udp:192.0.2.60:9060\"\nid = 4294967296", false),
        ("[outputs.hep]\nto = \"udp:192.0.2.60:9060\"\npassword = \"secret\"", false),
        ("[outputs.hep]\nid = 7", false),
    ] {
        let text = format!("version = 1\n{text}\n");
        assert_eq!(parses(&text), good, "{text}: the reader");
        assert_eq!(validator.complaint(&text).is_none(), good, "{text}: {:?}", validator.complaint(&text));
    }
    for text in ["", "version = 2\n", "version = \"1\"\n"] {
        assert!(!parses(text) && validator.complaint(text).is_some(), "{text}");
    }
    // What a schema cannot say.
    for text in [
        "[outputs.stdout]\ninterval = \"0s\"",
        "[outputs.stdout]\ninterval = \"2h\"",
        "[outputs.syslog]\nto = \"udp:192.0.2.60:0\"",
        "[outputs.hep]\nto = \"udp:192.0.2:9060\"",
        "[[interface]]\nname = \"a\"\n[[interface]]\nname = \"a\"",
        "[policy]\ngit = \"ext::sh -c id\"",
        "[policy]\ngit = \"http://h/p.git\"",
        "[policy]\ngit = \"git@h:p\"\nbranch = \"a..b\"",
        "[policy]\ngit = \"git@h:p\"\npath = \"../x\"",
        "[policy]\ngit = \"git@h:p\"\npoll = \"2d\"",
        "[outputs.prometheus]\nlisten = \"127.0.0.1:65536\"",
    ] {
        assert!(!parses(&format!("version = 1\n{text}\n")), "{text}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once_each_with_its_place_and_how_to_fix_it() {
    let text = "vresion = 1\n[[interface]]\nname = \"eth0\"\nmode = \"nativ\"\n[[interface]]\nmode = \"native\"\n\
                [policy]\ndirectroy = \"/etc/policy\"\nreport = \"true\"\n[outputs.stdout]\ninterval = \"2h\"\n";
    let report = mistakes(text);
    for expected in [
        "error[missing-key]: the configuration has no `version`",
        "start the file with `version = 1`",
        "error[unknown-key]: unknown key `vresion` in the configuration",
        "did you mean `version`?",
        "error[bad-value]: `mode` cannot be `nativ`",
        "/etc/ringfence/ringfence.toml:4:8",
        "did you mean `native`?",
        "error[missing-key]: this interface has no `name`",
        "/etc/ringfence/ringfence.toml:5:1",
        "error[unknown-key]: unknown key `directroy` in `[policy]`",
        "did you mean `directory`?",
        "error[wrong-type]: `report` must be `true` or `false`, not a string",
        "error[bad-duration]: `interval` cannot be `2h`",
    ] {
        assert!(report.contains(expected), "{expected:?} is not in\n{report}");
    }
    assert_eq!(report.matches("error[").count(), 7, "{report}");
}

#[test]
fn what_is_no_toml_or_no_text_is_reported_once() {
    let report = mistakes("version = 1\nedge = fra1\n[policy]\ndirectory = \"x\"\n");
    assert!(report.contains("error[syntax]: not valid TOML") && report.contains(":2:"), "{report}");
    assert_eq!(report.matches("error[").count(), 1, "{report}");
    let latin = Configuration::parse(Path::new(PATH), b"version = 1\nedge = \"\xe9\"\n").expect_err("it is not UTF-8");
    assert!(latin.to_string().contains("the configuration is not valid UTF-8 from here on"), "{latin}");
}

#[test]
fn more_interfaces_than_fit_are_an_error_and_not_left_out() {
    let listed = |count: usize| {
        let sections = (0..count).map(|index| format!("[[interface]]\nname = \"eth{index}\"\n"));
        format!("version = 1\n{}", sections.collect::<String>())
    };
    let validator = Validator::new();
    assert!(parses(&listed(16)) && validator.complaint(&listed(16)).is_none());
    assert!(mistakes(&listed(17)).contains("more than 16 interfaces"));
    assert!(validator.complaint(&listed(17)).is_some());
}

#[test]
fn the_sample_is_valid_as_it_is_and_with_everything_in_it_that_is_commented_out() {
    let validator = Validator::new();
    let is_key = |line: &str| {
        line.starts_with("#[")
            || line.starts_with('#') && line[1..].split(" = ").count() == 2 && !line.starts_with("# ")
    };
    let shown: String =
        SAMPLE.lines().map(|line| format!("{}\n", if is_key(line) { &line[1..] } else { line })).collect();
    for text in [SAMPLE, &shown] {
        assert!(parses(text), "{}", mistakes(text));
        assert_eq!(validator.complaint(text), None);
    }
    let all =
        Configuration::parse(Path::new(PATH), shown.as_bytes()).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let Configuration {
        edge,
        interfaces,
        policy,
        report,
        state,
        socket,
        pins,
        json,
        interval,
        list_bytes,
        prometheus,
        outputs,
        samples,
        responder,
    } = &all;
    assert!(edge.is_some() && !interfaces.is_empty() && policy.is_some() && socket.is_some() && pins.is_some());
    assert!(json.is_some() && interval.is_some() && state.is_some() && list_bytes.is_some() && prometheus.is_some());
    assert!(outputs.file.is_some() && outputs.journal.is_some() && outputs.syslog.is_some() && outputs.hep.is_some());
    assert_eq!(*samples, Some(DEFAULT_SAMPLES));
    let redress = &responder.redress;
    assert!(redress.url.is_some() && redress.tel.is_some() && redress.email.is_some());
    let defaults = Options { redress: responder.redress.clone(), ..Options::default() };
    assert_eq!(*responder, defaults, "what is commented out shows the defaults");
    assert_eq!(*report, Some(true), "whoever installs the sample drops nothing at first");
}

#[test]
fn every_key_is_in_the_reference_and_its_example_is_valid() {
    let keys = [
        config::TOP_KEYS,
        config::INTERFACE_KEYS,
        config::POLICY_KEYS,
        config::LIMITS_KEYS,
        config::STATE_KEYS,
        config::API_KEYS,
        config::PINS_KEYS,
        config::OUTPUTS_KEYS,
        config::STDOUT_KEYS,
        config::PROMETHEUS_KEYS,
        config::FILE_KEYS,
        config::JOURNAL_KEYS,
        config::SYSLOG_KEYS,
        config::HEP_KEYS,
        config::SAMPLES_KEYS,
        config::RESPONDER_KEYS,
    ];
    let missing: Vec<&&str> = keys.iter().copied().flatten().filter(|key| !REFERENCE.contains(**key)).collect();
    assert!(missing.is_empty(), "docs/configuration.md does not mention {missing:?}");
    let example = REFERENCE.split("```").find_map(|block| block.strip_prefix("toml\n")).expect("it has an example");
    assert!(parses(example), "{}", mistakes(example));
}

/// Runs `ringfence run` where it must refuse before it changes anything.
fn refused(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_ringfence")).arg("run").args(arguments).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty());
    text
}

#[test]
fn run_exits_with_2_and_says_what_is_missing_or_wrong() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("ringfence.toml");
    let path = file.to_str().expect("it is text");
    fs::write(&file, "version = 1\n").expect("it is ours");
    let text = refused(&["--config", path]);
    assert!(text.contains("nothing to run: there is no policy (`--policy DIR`) and no interface"), "{text}");
    assert!(text.contains("help: `ringfence init policies` writes") && text.contains("--report"), "{text}");
    fs::write(&file, "version = 1\n[polcy]\n").expect("it is ours");
    let text = refused(&["--config", path, "--interface", "lo", "--policy", "/nonexistent"]);
    assert!(text.contains("did you mean `policy`?") && text.contains(&format!("{path}:2:2")), "{text}");
    let text = refused(&["--json", "--config", path]);
    let first: Value = serde_json::from_str(text.lines().next().unwrap_or_default()).expect("it is JSON");
    assert_eq!((&first["code"], &first["line"]), (&"unknown-key".into(), &2.into()), "{text}");
    let text = refused(&["--config", "/nonexistent/ringfence.toml"]);
    assert!(text.contains("cannot read the configuration /nonexistent/ringfence.toml"), "{text}");
}

#[test]
fn run_exits_with_3_where_the_address_of_the_metrics_is_taken_and_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it has one").to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(["run", "--interface", "lo", "--policy", "/nonexistent", "--detach-on-exit", "--prometheus", &address])
        .arg("--socket")
        .arg(folder.path().join("x.sock"))
        .output()
        .expect("the program runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains(&format!("failed to listen on {address} for Prometheus: Address already in use")), "{text}");
    assert!(text.contains("help: something else listens there: `ss ") && text.contains("--prometheus"), "{text}");
}

#[test]
fn run_exits_with_2_where_the_password_of_the_capture_server_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("ringfence.toml");
    let text = "version = 1\n[outputs.hep]\nto = \"udp:192.0.2.60:9060\"\npassword_file = \"hep.password\"\n";
    fs::write(&file, text).expect("it is ours");
    let (socket, path) = (folder.path().join("x.sock"), file.to_str().expect("it is text"));
    let text = refused(&[
        "--config",
        path,
        "--interface",
        "lo",
        "--policy",
        "/nonexistent",
        "--detach-on-exit",
        "--socket",
        socket.to_str().expect("it is text"),
    ]);
    assert!(text.contains("failed to read the password for HEP from ") && text.contains("/hep.password: "), "{text}");
    assert!(text.contains("help: write the password into it"), "{text}");
}

#[test]
fn what_the_ansible_example_writes_is_a_configuration() {
    let template = include_str!("../../docs/ansible/roles/ringfence/templates/ringfence.toml.j2");
    let values = [
        ("ringfence_edge", "fra1-sbc1"),
        ("interface.name", "eth0"),
        ("interface.mode | default('auto')", "native"),
        ("ringfence_report | lower", "true"),
    ];
    let mut text: String =
        template.lines().filter(|line| !line.starts_with("{%")).map(|line| format!("{line}\n")).collect();
    for (name, value) in values {
        text = text.replace(&format!("{{{{ {name} }}}}"), value);
    }
    assert!(!text.contains("{{"), "a variable without a value: {text}");
    let read = Configuration::parse(Path::new(PATH), text.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!((read.interfaces.len(), read.report), (1, Some(true)));
    assert_eq!(read.pins.as_deref(), Some(Path::new("/run/ringfence/bpf/filter")), "where the service has its pins");
}
