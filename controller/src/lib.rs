//! The `ringfence` binary as a library: the kernel's maps and programs, telemetry, the daemon and the command line.
//!
//! The modules are rooms, one above the other. Each uses the ones below it and never the ones beside or above it;
//! `tests/rooms.rs` holds the order:
//!
//! | room | what is in it |
//! |---|---|
//! | [`cli`] | the command line, one file per subcommand |
//! | [`doctor`] | what host, kernel and network cards can do, judged |
//! | [`config`] | the daemon's configuration file |
//! | [`daemon`] | the event loop: signals, timers, tasks; no logic of its own |
//! | [`api`] | HTTP over a Unix socket: request and answer types, server, client |
//! | [`deploy`] | putting a policy in force, keeping or removing the filter; no tokio |
//! | [`repository`] | where a policy comes from, and how its changes are noticed |
//! | [`outputs`] | where telemetry goes: terminal, JSON lines |
//! | [`responder`] | answers to what rules reject or divert |
//! | [`telemetry`] | typed events and notices, the bus, the status, the table |
//! | [`kernel`] | the XDP program, its maps, its pins |

#![warn(
    // `pub` means: part of this crate's interface.
    unreachable_pub,
    // A wildcard hides the next variant of an enum from the compiler.
    clippy::wildcard_enum_match_arm,
    // An `async fn` that never waits misleads its callers.
    clippy::unused_async,
    // The shorter of two ways to write the same thing.
    clippy::cloned_instead_of_copied,
    clippy::explicit_iter_loop,
    clippy::implicit_clone,
    clippy::manual_let_else,
    clippy::map_unwrap_or,
    clippy::redundant_closure_for_method_calls,
    clippy::uninlined_format_args,
    clippy::unnested_or_patterns,
    // An item or a missing semicolon in the middle of a function makes its flow harder to see.
    clippy::items_after_statements,
    clippy::semicolon_if_nothing_returned
)]

pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod deploy;
pub mod doctor;
pub mod kernel;
pub mod outputs;
pub mod repository;
pub mod responder;
pub mod telemetry;
