//! The daemon's API against docs/openapi.json, in both directions: what the document has is answered so, and nothing else is.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter::{self, Filter, Site},
    message::Message,
    netns::Wire,
    packet::Packet,
    process::wait_until,
    raw, workspace,
};
use serde_json::{Value, json};

const POLICY: &str = r#"version = 1
default = "pass"

[network]
udp = [5060]

[sets.trunks]
addresses = "trunks.txt"
label = "carrier-one"

[[rule]]
name = "trunks"
match = { source = "@trunks", method = "BYE" }
action = "continue"

[[rule]]
name = "scanners"
basis = "scanner"
match.user_agent = ["friendly-scanner"]
action = "drop"

[[upstream]]
name = "carrier-one"
kind = "carrier"
trunks = "@trunks"
contacts = { role = "noc", email = "noc@carrier.example" }
caps = { calls_per_day = 5, until = 2036-12-31 }
"#;

const LIMIT: Duration = Duration::from_secs(20);

/// A second interface.
const SPARE: &str = "spare0";

/// Places for clients, as the document says.
const CLIENTS: usize = 64;

struct Scene {
    filter: Filter,
    wire: Wire,
    policy: PathBuf,
    document: Value,
    _scratch: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let site = Site::new(&[("policy.toml", POLICY), ("trunks.txt", "198.51.100.0/24\n")])?;
        site.wire.server.ip(&["link", "add", SPARE, "type", "veth", "peer", "name", "spare1"])?;
        let filter = site.start(&["--interface", SPARE])?;
        let Site { wire, policy, scratch } = site;
        let document = serde_json::from_str(&fs::read_to_string(workspace().join("docs/openapi.json"))?)?;
        Ok(Self { filter, wire, policy, document, _scratch: scratch })
    }

    /// Scans and ordinary requests, each with its own source.
    fn traffic(&self) -> Result<()> {
        let frame = |source: &str, agent: &str| {
            let message = Message::invite().calling("+13125550100").called("+12125550142").set("User-Agent", agent);
            Packet::udp(message.bytes()).from(source).frame()
        };
        let mut frames = vec![frame("192.0.2.66", "friendly-scanner"); 5];
        frames.extend(vec![frame("198.51.100.9", "phone"); 3]);
        frames.extend(vec![frame("203.0.113.5", "dialer"); 40]);
        raw::send(&self.wire.network, Wire::NETWORK_INTERFACE, &frames)?;
        wait_until("forty-eight samples", LIMIT, || Ok((self.get("/top")?.json()?["samples"] == 48).then_some(())))
    }

    fn connect(&self) -> Result<UnixStream> {
        let stream = UnixStream::connect(self.filter.socket())?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(stream)
    }

    fn ask(&self, method: &str, uri: &str, headers: &str, body: &str) -> Result<Answer> {
        let mut stream = self.connect()?;
        // (Answers to HTTP/1.0 are not in chunks.)
        let request = format!(
            "{method} {uri} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             {headers}\r\n{body}",
            body.len()
        );
        // (In one piece: the daemon may answer, and close the connection, before it has read the rest.)
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Answer::parse(&answer).with_context(|| format!("{method} {uri}"))
    }

    fn get(&self, uri: &str) -> Result<Answer> {
        self.ask("GET", uri, "", "")
    }

    fn post(&self, uri: &str, body: &Value) -> Result<Answer> {
        self.ask("POST", uri, "", &body.to_string())
    }

    /// Fails unless the document has this answer to that operation.
    fn check(&self, method: &str, path: &str, answer: &Answer) -> Result<()> {
        let about = format!("{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        let content = &self.document["paths"][path][method.to_lowercase()]["responses"][answer.status.to_string()];
        let content = content["content"].as_object().with_context(|| format!("the document has no {about}"))?;
        let (kind, _) = answer.kind.split_once(';').unwrap_or((answer.kind.as_str(), ""));
        ensure!(content.contains_key(kind), "{kind} is not in the document: {about}");
        let place = format!(
            "openapi.json#/paths/{}/{}/responses/{}/content/{}/schema",
            escaped(path),
            method.to_lowercase(),
            answer.status,
            escaped(kind)
        );
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("openapi.json", self.document.clone()).map_err(|error| anyhow::anyhow!("{error}"))?;
        let mut schemas = boon::Schemas::new();
        let index = compiler.compile(&place, &mut schemas).map_err(|error| anyhow::anyhow!("{place}: {error:#}"))?;
        for value in answer.values(kind)? {
            schemas.validate(&value, index).map_err(|error| anyhow::anyhow!("{about}: {error:#}"))?;
        }
        Ok(())
    }
}

/// A token of a JSON pointer, in a URI.
fn escaped(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

struct Answer {
    status: u16,
    kind: String,
    body: Vec<u8>,
}

impl Answer {
    fn parse(answer: &[u8]) -> Result<Self> {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("no HTTP")?;
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default().to_owned();
        Ok(Self { status, kind, body: answer[end + 4..].to_vec() })
    }

    fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| String::from_utf8_lossy(&self.body).into_owned())
    }

    /// What the schema is about.
    fn values(&self, kind: &str) -> Result<Vec<Value>> {
        Ok(match kind {
            "application/json" => vec![self.json()?],
            "application/x-ndjson" => self
                .body
                .split_inclusive(|byte| *byte == b'\n')
                .map(serde_json::from_slice)
                .collect::<Result<_, _>>()?,
            _ => vec![Value::String(String::from_utf8_lossy(&self.body).into_owned())],
        })
    }
}

/// The query of an operation with the examples of its parameters.
fn query(operation: &Value) -> String {
    let mut query = String::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        let examples = match &parameter["example"] {
            Value::Array(examples) => examples.clone(),
            example => vec![example.clone()],
        };
        for example in examples {
            let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            query += if query.is_empty() { "?" } else { "&" };
            query += &format!("{name}={}", text.replace('+', "%2B").replace('/', "%2F"));
        }
    }
    query
}

/// The operations of the document: path, method, and what it says.
fn operations(document: &Value) -> Result<Vec<(String, &'static str, Value)>> {
    let paths = document["paths"].as_object().context("paths")?;
    let mut found = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().context("methods")? {
            let method = if method == "get" { "GET" } else { "POST" };
            found.push((path.clone(), method, operation.clone()));
        }
    }
    Ok(found)
}

#[test]
fn what_the_document_has_is_answered_as_it_says_and_nothing_else_is() -> Result<()> {
    let scene = Scene::new()?;
    scene.traffic()?;
    let operations = operations(&scene.document)?;
    // The one that ends the daemon, and the one that takes the filter away, come last.
    let last = ["/detach", "/stop"];
    for (path, method, operation) in operations.iter().filter(|(path, ..)| !last.contains(&path.as_str())) {
        let body = operation["requestBody"]["content"]["application/json"]["example"].clone();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = scene.ask(method, &format!("{path}{}", query(operation)), "", &body)?;
        ensure!(answer.status == 200, "{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        scene.check(method, path, &answer)?;
        // Without parameters, too, unless it would go on for ever.
        if *method == "GET" && path != "/capture" {
            scene.check(method, path, &scene.get(path)?)?;
        }
        let is_there = |other: &str| operations.iter().any(|(at, method, _)| at == path && *method == other);
        for other in ["GET", "POST", "PUT", "DELETE"].into_iter().filter(|other| !is_there(other)) {
            assert_eq!(scene.ask(other, path, "", "{}")?.status, 405, "{other} {path}");
        }
        if operation["parameters"].is_array() {
            let answer = scene.ask(method, &format!("{path}?paramter=1"), "", &body)?;
            assert_eq!(answer.status, 400, "{path}: an unknown parameter is not passed over");
            scene.check(method, path, &answer)?;
        }
        if operation["requestBody"].is_object() {
            let answer = scene.ask(method, path, "", "{\"prefix\": ")?;
            assert_eq!(answer.status, 400, "{path}: half of a JSON object");
            scene.check(method, path, &answer)?;
        }
    }
    let unknown = scene.get("/stats")?;
    assert_eq!((unknown.status, unknown.json()?["event"].clone()), (404, json!("error")));
    assert_eq!(scene.get("/openapi.json")?.json()?, scene.document);

    // What is there is seen, so that the schemas were not compared with nothing.
    let top = scene.get("/top?by=source")?.json()?;
    assert_eq!(top["rows"][0]["key"], "203.0.113.5", "{top}");
    let counters = scene.get("/counters")?.json()?;
    assert_eq!((&counters["dropped"], &counters["rules"][1]["packets"]), (&json!(5), &json!(5)), "{counters}");
    let events = scene.get("/events?last=100")?;
    assert_eq!(events.values("application/x-ndjson")?.len(), 5);
    let upstreams = scene.get("/upstreams")?.json()?;
    let upstream = &upstreams["upstreams"][0];
    assert_eq!((&upstream["name"], &upstream["passed"]), (&json!("carrier-one"), &json!(3.0)), "{upstreams}");
    assert_eq!(upstream["caps"][0]["rule"], "upstream:carrier-one:calls-per-day", "{upstreams}");
    let command = scene.filter.command("upstreams", &["--json"]).output()?;
    let line: Value = serde_json::from_slice(&command.stdout).context("one object for the one upstream")?;
    assert_eq!((&line["name"], &line["contacts"]), (&upstream["name"], &upstream["contacts"]));

    for (path, body) in last.into_iter().zip([json!({ "interface": SPARE }), Value::Null]) {
        let answer = scene.post(path, &body)?;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        scene.check("POST", path, &answer)?;
    }
    Ok(())
}

#[test]
fn what_fails_is_answered_as_the_document_says() -> Result<()> {
    let scene = Scene::new()?;
    for (path, body, status) in [
        ("/ban", json!({ "prefix": "203.0.113.0/24" }), 400),
        ("/ban", json!({ "prefix": "anywhere", "seconds": 60 }), 422),
        ("/ban", json!({ "prefix": "203.0.113.0/24", "seconds": 60, "comment": "x".repeat(201) }), 422),
        ("/unban", json!({ "prefix": "anywhere" }), 422),
        ("/detach", json!({ "interface": "sip9" }), 422),
        ("/rollback", json!({ "generation": 9_999 }), 422),
    ] {
        let answer = scene.post(path, &body)?;
        assert_eq!(answer.status, status, "{path} {body}: {}", String::from_utf8_lossy(&answer.body));
        scene.check("POST", path, &answer)?;
    }
    for query in ["source=anywhere", "prefix=192.0.2.1/24", "by=anything", "sort=key"] {
        let answer = scene.get(&format!("/top?{query}"))?;
        assert_eq!(answer.status, 400, "{query}: {}", String::from_utf8_lossy(&answer.body));
        scene.check("GET", "/top", &answer)?;
    }
    fs::write(scene.policy.join("policy.toml"), POLICY.replace("drop", "dorp"))?;
    let answer = scene.post("/reload", &Value::Null)?;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()?["diagnostics"][0]["line"], 20);
    scene.check("POST", "/reload", &answer)?;

    fs::write(scene.policy.join("policy.toml"), POLICY.replace("friendly", "unfriendly"))?;
    assert_eq!(scene.post("/reload", &Value::Null)?.status, 200);
    let answer = scene.post("/rollback", &json!({}))?;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    scene.check("POST", "/rollback", &answer)?;
    let answer = scene.post("/reload", &Value::Null)?;
    assert_eq!(answer.status, 409);
    scene.check("POST", "/reload", &answer)?;
    scene.check("GET", "/history", &scene.get("/history")?)?;
    scene.check("GET", "/status", &scene.get("/status")?)?;
    Ok(())
}

#[test]
fn events_come_as_server_sent_events_to_who_accepts_them() -> Result<()> {
    let scene = Scene::new()?;
    let mut stream = scene.connect()?;
    stream.write_all(b"GET /events?rule=scanners HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")?;
    scene.traffic()?;
    let mut lines = BufReader::new(stream).lines();
    let mut events = Vec::new();
    while events.len() < 5 {
        let line = lines.next().context("the stream has ended")??;
        ensure!(!line.starts_with("HTTP/1.1 ") || line == "HTTP/1.1 200 OK", "{line}");
        if let Some(data) = line.strip_prefix("data: ") {
            events.push(serde_json::from_str::<Value>(data)?);
        }
    }
    assert!(events.iter().all(|event| event["event"] == "packet" && event["rule"] == "scanners"), "{events:?}");
    Ok(())
}

#[test]
fn clients_beyond_the_places_are_refused_and_counted_and_those_that_leave_make_room() -> Result<()> {
    let scene = Scene::new()?;
    // Each has asked, so that it keeps its place.
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = scene.connect()?;
        stream.write_all(b"GET /events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut first = [0; 12];
        stream.read_exact(&mut first)?;
        assert_eq!(&first, b"HTTP/1.1 200");
        clients.push(stream);
    }
    let mut stream = scene.connect()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = Answer::parse(&answer)?;
    assert_eq!(answer.status, 503);
    scene.check("GET", "/status", &answer)?;
    let command = scene.filter.command("history", &[]).output()?;
    let text = String::from_utf8_lossy(&command.stderr).into_owned();
    assert!(text.contains("the daemon serves 64 clients already"), "{text}");
    clients.pop();
    wait_until("a free place", LIMIT, || {
        Ok(scene.get("/status").is_ok_and(|answer| answer.status == 200).then_some(()))
    })?;
    Ok(())
}

#[test]
fn the_document_is_what_the_command_line_prints() -> Result<()> {
    let binary = filter::build(!cfg!(debug_assertions))?;
    let output = std::process::Command::new(binary).args(["schema", "--api"]).output()?;
    ensure!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout)?,
        fs::read_to_string(workspace().join(Path::new("docs/openapi.json")))?
    );
    Ok(())
}
