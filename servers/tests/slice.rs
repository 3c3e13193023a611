//! The slice of the comparison that is part of every test run: 20,000 messages, the same each time.

use anyhow::{Result, ensure};
use ringfence_servers::{Options, Readers, missing_packages, run};
use ringfence_tests::say;

#[test]
fn the_engine_reads_what_servers_read() -> Result<()> {
    let missing = missing_packages();
    if !missing.is_empty() {
        say(&format!("\n*** servers LEFT OUT of the comparison: {} ***\n", missing.join(", ")));
    }
    let Ok(mut readers) = Readers::start(None) else {
        say(
            "\n*** LEFT OUT: the_engine_reads_what_servers_read: no server to compare with: cargo xtask setup servers ***\n",
        );
        return Ok(());
    };
    let messages = std::env::var("RINGFENCE_MESSAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let report = run(&mut readers, &Options { seed: 1, start: 0, messages, progress: false })?;
    say(&report.summary());
    for (server, count) in &report.acted_on {
        ensure!(*count > messages / 10, "{server} took only {count} of {messages} messages for messages");
    }
    ensure!(report.is_clean(), "differences that no list in servers/data has:\n{}", report.render(false));
    Ok(())
}
