//! Routes, from labels to what a real nginx answers: Debian's on this machine for texts, one in a container on a
//! real Docker Engine for everything that is alive. Needs what `script/bootstrap --test` sets up.
//! `AGENT_TEST_NGINX=IMAGE` tries another nginx than the stack's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod client;
mod dashboard;
mod echo;
mod hooks;
mod labels;
mod nginx;
mod rendered;
mod site;
mod transaction;
