//! The metrics, scraped by a real Prometheus; and the package's dashboard and alerts.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use ringfence::telemetry::Metric;
use ringfence_tests::{
    netns::{Namespace, Wire, WireOptions},
    process::{Spawned, wait_until},
    sip::ORDINARY_AGENT,
    workspace,
};
use serde_json::Value;

use crate::{
    reporting::send,
    scene::{CALLER, ROBOCALLER, Scene},
};

/// Where the daemon listens, in a namespace of its own.
pub(crate) const EXPORTER: u16 = 9469;
const PROMETHEUS: u16 = 9090;

const DASHBOARD: &str = "packaging/grafana/ringfence.json";
const RULES: &str = "packaging/prometheus/ringfence.rules.yml";
const RULE_TESTS: &str = "packaging/prometheus/ringfence.rules.test.yml";

/// Panels that are empty in the test: there is no git repository, and nothing for pinholes.
const EMPTY: [&str; 2] = ["Time since the repository answered", "Pinholes"];

/// The body of the answer to a GET request.
fn get(namespace: &Namespace, port: u16, path: &str) -> Result<String> {
    namespace.within(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        // (HTTP/1.0 answers are not in chunks.)
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP: {answer}"))?;
        // Prometheus answers 400 with JSON that says what is wrong.
        ensure!(head.contains(" 200 ") || body.starts_with('{'), "{path}: {answer}");
        Ok(body.to_owned())
    })
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => write!(encoded, "{}", byte as char),
            _ => write!(encoded, "%{byte:02X}"),
        };
        encoded
    })
}

/// A Prometheus in the server's namespace, which scrapes the daemon each second.
pub(crate) struct Prometheus<'a> {
    scene: &'a Scene,
    process: Spawned,
}

impl<'a> Prometheus<'a> {
    pub(crate) fn start(scene: &'a Scene) -> Result<Self> {
        let file = scene.path().join("prometheus.yml");
        let rules = workspace().join(RULES);
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{rules:?}]\nscrape_configs:\n\
             - {{job_name: ringfence, static_configs: [{{targets: ['127.0.0.1:{EXPORTER}']}}]}}\n"
        );
        fs::write(&file, configuration)?;
        let mut command = scene.wire.server.command("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", scene.path().join("tsdb").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{PROMETHEUS}"));
        let process = Spawned::start("prometheus", command, scene.path())?;
        let mut prometheus = Self { scene, process };
        prometheus.process.wait_until("scrapes", Duration::from_secs(60), |_| {
            Ok(get(&scene.wire.server, PROMETHEUS, "/-/ready").is_ok().then_some(()))
        })?;
        Ok(prometheus)
    }

    fn ask(&self, path: &str) -> Result<Value> {
        let answer: Value = serde_json::from_str(&get(&self.scene.wire.server, PROMETHEUS, path)?)?;
        ensure!(answer["status"] == "success", "{path}: {answer}");
        Ok(answer["data"].clone())
    }

    /// The series that a query returns.
    fn query(&self, query: &str) -> Result<Vec<Value>> {
        let data = self.ask(&format!("/api/v1/query?query={}", encoded(query)))?;
        let series = data["result"].as_array().with_context(|| format!("{query}: {data}"))?;
        Ok(series.clone())
    }

    /// The value of a query that returns one series.
    pub(crate) fn value(&self, query: &str) -> Result<f64> {
        match self.query(query)?.as_slice() {
            [series] => Ok(series["value"][1].as_str().context("a value")?.parse()?),
            other => bail!("{query}: {other:?}"),
        }
    }

    pub(crate) fn wait_for(&self, query: &str, value: f64) -> Result<()> {
        wait_until(query, Duration::from_secs(60), || {
            Ok(self.value(query).is_ok_and(|found| found == value).then_some(()))
        })
        .with_context(|| format!("{:?}; {}", self.query(query), self.process.last_words()))
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(workspace().join(path)).with_context(|| path.to_owned())
}

/// The queries of the dashboard's panels, with the title of each one's panel.
fn dashboard_queries() -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)?)?;
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().context("panels")? {
        let title = panel["title"].as_str().context("a title")?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push((title.to_owned(), target["expr"].as_str().context("an expression")?.to_owned()));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().context("annotations")? {
        queries.push((String::new(), annotation["expr"].as_str().context("an expression")?.to_owned()));
    }
    Ok(queries)
}

/// Runs promtool on a file, or on its standard input.
fn promtool(arguments: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("promtool: `cargo xtask setup traffic` installs it")?;
    child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    ensure!(output.status.success(), "promtool {arguments:?}: {text}\n{input}");
    Ok(())
}

#[test]
fn prometheus_gets_what_the_kernel_has_counted_and_every_query_of_the_dashboard_works() -> Result<()> {
    let scene = Scene::new(&WireOptions::default())?;
    // The kernel measures programs while this is open, also for a test that runs beside.
    let _measuring = aya::sys::enable_stats(aya::sys::Stats::RunTime)?;
    let address = format!("127.0.0.1:{EXPORTER}");
    let filter = scene.filter(Wire::SERVER_INTERFACE, &["--prometheus", &address])?;
    let banned = filter.command("ban", &["203.0.113.0/24", "--for", "1h"]).output()?;
    ensure!(banned.status.success(), "{}", String::from_utf8_lossy(&banned.stderr));
    send(&scene, &filter, ROBOCALLER, "friendly-scanner", 3)?;
    send(&scene, &filter, CALLER, ORDINARY_AGENT, 5)?;

    promtool(&["check", "metrics"], &get(&scene.wire.server, EXPORTER, "/metrics")?)?;
    let prometheus = Prometheus::start(&scene)?;
    prometheus.wait_for(r#"up{job="ringfence"}"#, 1.0)?;
    let status = filter.status()?;
    let scanners = status["rules"].as_array().context("rules")?.iter().find(|row| row["rule"] == "scanners");
    let bytes = scanners.and_then(|row| row["bytes"].as_f64()).context("bytes")?;
    ensure!(bytes > 3.0 * 100.0, "{status}");
    for (query, expected) in [
        (r#"ringfence_rule_packets_total{rule="scanners",action="drop",mode="enforce"}"#, 3.0),
        (r#"ringfence_rule_packets_total{rule="scanners",action="drop",mode="report"}"#, 0.0),
        (r#"ringfence_rule_bytes_total{rule="scanners",mode="enforce"}"#, bytes),
        (r#"sum(ringfence_packets_total{verdict="drop"})"#, 3.0),
        (r#"ringfence_packets_total{reason="rule-drop"}"#, 3.0),
        (r#"ringfence_bytes_total{reason="rule-drop"}"#, bytes),
        (r#"ringfence_packets_total{reason="default-pass",verdict="pass"}"#, 5.0),
        (r#"sum(ringfence_packets_total{reason=~"would-.+"})"#, 0.0),
        (r#"ringfence_interface_packets_total{fate="dropped"}"#, 3.0),
        (r#"ringfence_interface_bytes_total{fate="dropped"}"#, bytes),
        (r#"sum(ringfence_interface_packets_total) - sum(ringfence_packets_total)"#, 0.0),
        (r#"sum(ringfence_interface_bytes_total) - sum(ringfence_bytes_total)"#, 0.0),
        (r#"sum(ringfence_table_evictions_total)"#, 0.0),
        (r#"ringfence_table_entries{table="bans"}"#, 1.0),
        (r#"ringfence_table_entries_limit{table="bans"}"#, 65_536.0),
        (r#"ringfence_interface_up"#, 1.0),
        (r#"ringfence_interface_info{mode="native"}"#, 1.0),
        (r#"ringfence_policy_generation"#, 1.0),
        (r#"ringfence_policy_rules"#, 3.0),
        (r#"ringfence_policy_current"#, 1.0),
        (r#"sum(ringfence_reload_errors_total)"#, 0.0),
        (r#"sum(ringfence_events_lost_total)"#, 0.0),
        (r#"sum(ringfence_output_lost_total)"#, 0.0),
    ] {
        assert_eq!(prometheus.value(query)?, expected, "{query}");
    }
    let hash = filter.policy_hash()?;
    assert_eq!(prometheus.value(&format!("ringfence_policy_info{{hash=\"{hash}\",report=\"false\"}}"))?, 1.0);
    let age = prometheus.value("time() - ringfence_policy_loaded_timestamp_seconds")?;
    assert!((-2.0..600.0).contains(&age), "{age}");
    // Eight packets, and perhaps others that are no SIP.
    assert!(prometheus.value("ringfence_program_runs_total")? >= 8.0);
    let cost = prometheus.value("ringfence_program_run_seconds_total / ringfence_program_runs_total")?;
    assert!(cost > 0.0 && cost < 0.01, "{cost}");

    // Between two scrapes, so that rates have something to show.
    send(&scene, &filter, ROBOCALLER, "friendly-scanner", 4)?;
    prometheus.wait_for(r#"ringfence_rule_packets_total{rule="scanners",mode="enforce"}"#, 7.0)?;
    prometheus.wait_for(r#"changes(ringfence_rule_packets_total{rule="scanners",mode="enforce"}[10m])"#, 1.0)?;
    for (title, query) in dashboard_queries()? {
        let query = query.replace("$__rate_interval", "10m").replace("$__range", "10m").replace("$instance", ".*");
        ensure!(!query.contains('$'), "a variable that Grafana has and this test does not: {query}");
        let series = prometheus.query(&query)?;
        // The annotation is there when a policy changes.
        let is_empty =
            title.is_empty() || EMPTY.contains(&title.as_str()) || title == "Would have been dropped by rule";
        assert!(is_empty || !series.is_empty(), "{title} is empty: {query}");
    }
    let dropped =
        r#"topk(10, sum by (rule) (rate(ringfence_rule_packets_total{mode="enforce",action="drop"}[10m]))) > 0"#;
    let dropped = prometheus.query(dropped)?;
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(dropped[0]["metric"]["rule"], "scanners", "{dropped:?}");

    let groups = prometheus.ask("/api/v1/rules")?;
    let rules = groups["groups"][0]["rules"].as_array().context("rules")?;
    assert_eq!(rules.len(), alerts()?.len(), "{groups}");
    for rule in rules {
        assert_eq!((&rule["health"], &rule["state"]), (&"ok".into(), &"inactive".into()), "{rule}");
    }
    let text = String::from_utf8(filter.command("status", &[]).output()?.stdout)?;
    assert!(text.contains(&format!("output prometheus: http://{address}/metrics\n")), "{text}");
    Ok(())
}

/// The names of the alerts, in order.
fn alerts() -> Result<Vec<String>> {
    Ok(read(RULES)?.lines().filter_map(|line| Some(line.trim().strip_prefix("- alert: ")?.to_owned())).collect())
}

#[test]
fn the_alerts_are_valid_and_each_fires_when_it_should_and_only_then() -> Result<()> {
    let path = |file: &str| workspace().join(file).display().to_string();
    promtool(&["check", "rules", &path(RULES)], "")?;
    promtool(&["test", "rules", &path(RULE_TESTS)], "")?;
    let (rules, tests) = (read(RULES)?, read(RULE_TESTS)?);
    for alert in alerts()? {
        let (_, rule) = rules.split_once(&format!("- alert: {alert}\n")).context("it was found there")?;
        let rule = rule.split("- alert: ").next().unwrap_or_default();
        for key in ["summary: ", "description: ", "severity: "] {
            ensure!(rule.contains(key), "{alert} has no {key}");
        }
        let anchor = format!("runbook: \"/usr/share/doc/ringfence/night.md#{}\"", alert.to_lowercase());
        ensure!(rule.contains(&anchor), "{alert}: {anchor}");
        let (_, cases) =
            tests.split_once(&format!("- name: {alert}\n")).with_context(|| format!("no test of {alert}"))?;
        let cases: Vec<&str> =
            cases.split("- name: ").next().unwrap_or_default().split("- alertname: ").skip(1).collect();
        ensure!(cases.iter().all(|case| case.starts_with(&alert)), "{alert}");
        ensure!(cases.iter().any(|case| case.contains("exp_alerts")), "{alert} never fires in its test");
        ensure!(cases.iter().any(|case| !case.contains("exp_alerts")), "{alert} always fires in its test");
    }
    Ok(())
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_exist() -> Result<()> {
    let known: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    let mut asked = BTreeSet::new();
    for text in [read(DASHBOARD)?, read(RULES)?] {
        let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        asked.extend(words.filter(|word| word.starts_with("ringfence_")).map(str::to_owned));
    }
    let unknown: Vec<&String> = asked.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    // What is left out: what the dashboard's other panels say more briefly.
    let left_out: Vec<&str> = known.into_iter().filter(|name| !asked.contains(*name)).collect();
    assert_eq!(
        left_out,
        [
            "ringfence_answers_suppressed_total",
            "ringfence_answers_total",
            "ringfence_api_clients_total",
            "ringfence_interface_bytes_total",
            "ringfence_output_left_out_total",
            "ringfence_policy_held",
            "ringfence_policy_report_mode",
            "ringfence_policy_rules",
            "ringfence_rule_bytes_total",
            "ringfence_rule_spared_packets_total",
            "ringfence_samples_total",
            "ringfence_scrapes_total",
        ]
    );
    Ok(())
}
