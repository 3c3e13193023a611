//! The JSON schema (draft 2020-12) of the configuration file, for editors. A test compares it with the reader.

use filter_policy::bounds::LIST_BYTES;
use serde_json::{Value, json};

use super::{FORMATS, GIT_KEYS, LIST_BYTES_RANGE, LONGEST_EDGE, LONGEST_INTERFACE, SAMPLES_RANGE, VERSION, modes};
use crate::{
    kernel::MAX_INTERFACES,
    outputs::{DEFAULT_ID, JOURNAL},
    repository::DEFAULT_BRANCH,
    responder::{LOCATIONS, LONGEST_CONTACT},
    telemetry::DEFAULT_SAMPLES,
};

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let section = |description: &str, properties: Value| {
        json!({
            "description": description,
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        })
    };
    let path = |description: &str| json!({ "description": description, "type": "string", "minLength": 1 });
    let mut interface = section(
        "An interface to filter on.",
        json!({
            "name": {
                "description": "Its name, as `ip -brief link` prints it.",
                "type": "string",
                "pattern": format!("^[^/:\\s]{{1,{LONGEST_INTERFACE}}}$"),
                "not": { "enum": [".", ".."] },
            },
            "mode": {
                "description": "Where the XDP program runs: in the driver (native), in the network stack (generic), or in the driver if that is possible (auto).",
                "enum": modes(),
                "default": "auto",
            },
        }),
    );
    interface["required"] = json!(["name"]);
    let stdout = section(
        "What `ringfence run` writes to standard output.",
        json!({
            "format": { "description": "Text for people, or one JSON object a line.", "enum": FORMATS, "default": "text" },
            "interval": {
                "description": "The time between two tables of counters, 1s to 1h.",
                "type": "string",
                "pattern": "^([0-9]+[smhd])+$",
                "default": "1s",
            },
        }),
    );
    let mut prometheus = section(
        "Metrics for Prometheus, at http://ADDRESS:PORT/metrics.",
        json!({
            "listen": {
                "description": "Where they are offered: an address and a port, such as 127.0.0.1:9469.",
                "type": "string",
                "pattern": "^([0-9.]+|\\[[0-9A-Fa-f:.%]+\\]):[0-9]{1,5}$",
            },
        }),
    );
    prometheus["required"] = json!(["listen"]);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ringfence configuration",
        "description": "What `ringfence run` does on this host. The reference is docs/configuration.md.",
        "type": "object",
        "properties": {
            "version": { "description": "The version of the file's form.", "const": VERSION },
            "edge": {
                "description": "The name of this host in events and in the status.",
                "type": "string",
                "pattern": format!("^[A-Za-z0-9._-]{{1,{LONGEST_EDGE}}}$"),
            },
            "interface": {
                "description": "The interfaces to filter on.",
                "type": "array",
                "maxItems": MAX_INTERFACES,
                "items": interface,
            },
            "policy": policy(),
            "limits": section(
                "What a policy may take.",
                json!({
                    "max_list_bytes": {
                        "description": "The most bytes of all lists of a policy together. For each 16 of them, the lists may have an entry.",
                        "type": "integer",
                        "minimum": LIST_BYTES_RANGE.start(),
                        "maximum": LIST_BYTES_RANGE.end(),
                        "default": LIST_BYTES,
                    },
                }),
            ),
            "state": section(
                "What the daemon keeps across restarts.",
                json!({ "directory": path("A directory that only the daemon's user can read.") }),
            ),
            "api": section("The daemon's API.", json!({ "socket": path("Its Unix socket.") })),
            "pins": section(
                "The filter's state in the kernel.",
                json!({ "directory": path("A directory on a BPF file system.") }),
            ),
            "outputs": section("Where notices, packet events and counters go.", outputs(&stdout, &prometheus)),
            "samples": section(
                "What `ringfence top` and `suggest` look at.",
                json!({
                    "per_second": {
                        "description": "How many packets of each kind (passed, would be dropped, dropped) are sampled in a second at most; 0: none.",
                        "type": "integer",
                        "minimum": SAMPLES_RANGE.start(),
                        "maximum": SAMPLES_RANGE.end(),
                        "default": DEFAULT_SAMPLES,
                    },
                }),
            ),
            "responder": section("How what rules reject or divert is answered.", responder()),
        },
        "required": ["version"],
        "additionalProperties": false,
    })
}

/// The sections of `[outputs]`.
fn outputs(stdout: &Value, prometheus: &Value) -> Value {
    let section = |description: &str, needs: &[&str], properties: Value| {
        json!({
            "description": description,
            "type": "object",
            "properties": properties,
            "required": needs,
            "additionalProperties": false,
        })
    };
    let path = |description: &str| json!({ "description": description, "type": "string", "minLength": 1 });
    let host = "(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9.-]+):[0-9]{1,5}";
    json!({
        "stdout": stdout,
        "prometheus": prometheus,
        "file": section(
            "Packet events and notices as JSON, one object a line, in a file that may be rotated at any time.",
            &["path"],
            json!({ "path": path("The file.") }),
        ),
        "journal": section(
            "Packet events and notices with their fields, in systemd's journal.",
            &[],
            json!({ "socket": {
                "description": "Where journald listens.",
                "type": "string",
                "minLength": 1,
                "default": JOURNAL,
            } }),
        ),
        "syslog": section(
            "Packet events and notices by syslog (RFC 5424), with their fields as structured data.",
            &["to"],
            json!({ "to": {
                "description": "udp:HOST:PORT, or the path of a local socket: unix:/dev/log.",
                "type": "string",
                "pattern": format!("^(udp:{host}|unix:/.*)$"),
            } }),
        ),
        "hep": section(
            "SIP messages that were dropped, or would have been, by HEP3 to Homer.",
            &["to"],
            json!({
                "to": {
                    "description": "The capture server: udp:HOST:PORT or tcp:HOST:PORT.",
                    "type": "string",
                    "pattern": format!("^(udp|tcp):{host}$"),
                },
                "password_file": path("A file with the password that the capture server asks for."),
                "id": {
                    "description": "The number of this host at the capture server.",
                    "type": "integer",
                    "minimum": 0,
                    "maximum": u32::MAX,
                    "default": DEFAULT_ID,
                },
            }),
        ),
    })
}

/// The keys of `[responder]`.
fn responder() -> Value {
    let rate = |description: &str, default: &str| {
        json!({
            "description": description,
            "type": "string",
            "pattern": "^ *[0-9]+ */ *([smhd]|([0-9]+[smhd])+) *$",
            "default": default,
        })
    };
    let flag = |description: &str| json!({ "description": description, "type": "boolean", "default": true });
    let contact = |description: &str, pattern: &str| json!({ "description": description, "type": "string", "pattern": pattern, "maxLength": LONGEST_CONTACT });
    json!({
        "enabled": flag("false: nothing is answered, whatever the policy says."),
        "total": rate("The answers in all.", "500/s"),
        "per_source": rate("The answers to one IPv4 address, or to one /64 of IPv6.", "10/s"),
        "symmetric": flag("false: an answer goes to the port that the topmost Via names, unless it asks for `rport`."),
        "retry_after": {
            "description": "What a 503 says about when to try again, 1s to 1d.",
            "type": "string",
            "pattern": "^([0-9]+[smhd])+$",
            "default": "10s",
        },
        "redress_url": contact(
            "The web page for callers who were blocked by analytics.",
            "^https?://[!#-:=?-\\[\\]-~]+$",
        ),
        "redress_tel": contact("The telephone number for callers who were blocked by analytics.", "^\\+[0-9]{1,15}$"),
        "redress_email": contact(
            "The e-mail address for callers who were blocked by analytics.",
            "^[!#-:=?A-\\[\\]-~]+@[!#-:=?-\\[\\]-~]+$",
        ),
        "location": {
            "description": "Where calls are blocked, as RFC 8606 names it.",
            "enum": LOCATIONS,
            "default": "RLN",
        },
    })
}

/// The section `[policy]`.
fn policy() -> Value {
    let text = |description: &str| json!({ "description": description, "type": "string", "minLength": 1 });
    // What is about a git repository needs `git`.
    let needs_git: serde_json::Map<String, Value> =
        GIT_KEYS.iter().map(|key| ((*key).to_owned(), json!(["git"]))).collect();
    json!({
        "description": "The policy to enforce, from a directory or from a git repository.",
        "type": "object",
        "properties": {
            "directory": text("The policy repository: a directory with a `policy.toml` in it."),
            "git": text("The URL of a git repository that is followed instead: ssh, https or file."),
            "branch": { "description": "The branch that is followed.", "type": "string", "minLength": 1, "default": DEFAULT_BRANCH },
            "tag": text("The tag that is followed, instead of a branch."),
            "path": text("The policy's directory in the git repository."),
            "poll": {
                "description": "The time between two looks at the git repository, 1s to 1d.",
                "type": "string",
                "pattern": "^([0-9]+[smhd])+$",
                "default": "30s",
            },
            "allowed_signers": text("A file of SSH keys (ssh-keygen(1), ALLOWED SIGNERS): only commits signed by one of them come in force."),
            "report": {
                "description": "true: nothing is dropped, and every rule counts what it would have done, whatever the policy says.",
                "type": "boolean",
                "default": false,
            },
        },
        "dependentRequired": needs_git,
        "allOf": [
            { "not": { "required": ["directory", "git"] } },
            { "not": { "required": ["branch", "tag"] } },
        ],
        "additionalProperties": false,
    })
}
