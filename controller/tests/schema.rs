//! `ringfence schema`.

use std::process::Command;

use serde_json::{Value, json};

#[test]
fn the_command_prints_all() {
    for (arguments, title) in [
        (&["schema"][..], "Ringfence policy"),
        (&["schema", "--tests"], "Ringfence test cases"),
        (&["schema", "--daemon"], "Ringfence configuration"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ringfence")).args(arguments).output().expect("the binary runs");
        assert!(output.status.success());
        let printed: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        assert_eq!(printed["title"], json!(title));
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("schema.json", printed).expect("it is a resource");
        compiler.compile("schema.json", &mut boon::Schemas::new()).expect("it is a schema");
    }
}
