//! The `ringfence` binary as a library: the kernel's maps and programs, telemetry, the daemon and the command line.
//!
//! The modules are rooms, one above the other. Each uses the ones below it and never the ones beside or above it;
//! `tests/rooms.rs` holds the order:
//!
//! | room | what is in it |
//! |---|---|
//! | [`cli`] | the command line, one file per subcommand |
//! | [`daemon`] | the event loop: signals, timers, tasks; no logic of its own |
//! | [`api`] | HTTP over a Unix socket: request and answer types, server, client |
//! | [`deploy`] | putting a policy in force, keeping or removing the filter; no tokio |
//! | [`repository`] | where a policy comes from, and how its changes are noticed |
//! | [`outputs`] | where telemetry goes: terminal, JSON lines |
//! | [`telemetry`] | typed events and notices, the bus, the status, the table |
//! | [`kernel`] | the XDP program, its maps, its pins |

#![warn(
    unreachable_pub,
    clippy::cloned_instead_of_copied,
    clippy::explicit_iter_loop,
    clippy::implicit_clone,
    clippy::items_after_statements,
    clippy::manual_let_else,
    clippy::map_unwrap_or,
    clippy::redundant_closure_for_method_calls,
    clippy::semicolon_if_nothing_returned,
    clippy::uninlined_format_args,
    clippy::unnested_or_patterns,
    clippy::unused_async,
    clippy::wildcard_enum_match_arm
)]

pub mod api;
pub mod cli;
pub mod daemon;
pub mod deploy;
pub mod kernel;
pub mod outputs;
pub mod repository;
pub mod telemetry;
