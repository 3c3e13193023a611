//! The JSON schema (draft 2020-12) of the configuration file, for editors. A test compares it with the reader.

use serde_json::{Value, json};

use super::{FORMATS, LONGEST_EDGE, LONGEST_INTERFACE, VERSION, modes};
use crate::kernel::MAX_INTERFACES;

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
            "policy": section(
                "The policy to enforce.",
                json!({
                    "directory": path("The policy repository: a directory with a `policy.toml` in it."),
                    "report": {
                        "description": "true: nothing is dropped, and every rule counts what it would have done, whatever the policy says.",
                        "type": "boolean",
                        "default": false,
                    },
                }),
            ),
            "api": section("The daemon's API.", json!({ "socket": path("Its Unix socket.") })),
            "pins": section(
                "The filter's state in the kernel.",
                json!({ "directory": path("A directory on a BPF file system.") }),
            ),
            "outputs": section("Where notices and counters go.", json!({ "stdout": stdout })),
        },
        "required": ["version"],
        "additionalProperties": false,
    })
}
