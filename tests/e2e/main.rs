//! The daemon from end to end: a real repository behind smart HTTP, the real Docker Engine, a real nginx, and
//! callers who ask twenty times a second while things happen.
//!
//! Each fact has a stack, ports and folders of its own. What a crashed run left is swept by the next.
//! Needs the images `agenttest-base:1` and nginx's (`script/bootstrap --test` makes them).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this is tests; the lints know only functions marked as such"
)]

#[path = "../common/git_repo.rs"]
mod git_repo;
#[path = "../common/git_server.rs"]
mod git_server;

mod acts;
mod browser;
mod client;
mod clock;
mod daemon;
mod docker;
mod http;
mod load;
mod own_engine;
mod stack;
mod told;
mod transcripts;
mod world;

mod bad_pushes;
mod bound;
mod burst;
mod changes;
mod cleaning;
mod crash;
mod dashboard;
mod doctor;
mod drift;
mod engine_restart;
mod fault_table;
mod gates;
mod github;
mod halt;
mod in_place;
mod inputs;
mod kill_table;
mod lossless;
mod metrics;
mod newest;
mod notified;
mod open;
mod orders;
mod progress;
mod published;
mod remote;
mod rollback;
mod rolling;
mod shapes;
mod starved;
mod strangers;
mod stripe;
mod watch;
