//! A GitOps deploy agent for Docker Compose stacks on one machine.
//!
//! # The flow
//!
//! wake → source → plan → build → bring up → verify → route → drain → retire → record
//!
//! A wake (webhook, timer, CLI, boot, an event of the engine) carries nothing: the loop in [`reconcile`] asks the
//! remote where the branch points ([`source`]), renders that revision to a desired state, compares it with what
//! the engine shows ([`plan`], pure), and carries the plan out: images ([`build`]), new instances beside the old
//! ones and through their gates ([`roll`]), one switch of nginx ([`route`]), the old ones away ([`roll`] again).
//! Every step is announced in the run's log ([`record`]) before it is taken. A rollback is the same path with the
//! desired state of an earlier release.
//!
//! # The rooms
//!
//! | room | what it is for |
//! |---|---|
//! | [`model`] | the nouns: revision, desired and observed state, plan-free data |
//! | [`plan`] | every decision: compose files, order, fingerprints, differences, verdicts, nginx's text |
//! | [`source`] | the Git mirror: tips, contexts and files straight from objects |
//! | [`engine`] | the seam to what runs containers, and Docker behind it |
//! | [`build`], [`roll`], [`route`] | the three acts; none knows the others |
//! | [`clearance`] | whether a new revision may run now: message, signature, freeze, checks |
//! | [`reconcile`] | the loop that puts them in order, and recovery after a crash |
//! | [`record`], [`store`] | runs, releases, what is held; SQLite with one writer |
//! | [`trigger`], [`http`] | who knocks, and how HTTP is served |
//! | [`inbox`] | Stripe's events: verified, kept, delivered, sent again |
//! | [`outbox`] | telling GitHub, Slack, Discord and others; no run waits for it |
//! | [`orders`] | what a person may tell the agent |
//! | [`config`], [`report`] | `agent.toml`; how errors read |
//! | [`metrics`] | numbers for whoever watches from outside |
//! | [`overview`] | all that is known, as one value, and the words for it |
//! | [`dashboard`] | the page for people |
//! | [`app`], [`cli`] | composition; the command line |
//!
//! # What is absent
//!
//! Nothing in [`model`] or [`plan`] reads a file, a clock or the network. Nothing outside [`engine`] knows Docker.
//! No trigger says what to deploy. No state is kept that could not be found again from the log and the engine's
//! truth. `tests/layers.rs` holds who may import whom.

pub mod app;
pub mod build;
pub mod clearance;
pub mod cli;
pub mod config;
pub mod dashboard;
pub mod engine;
pub mod http;
pub mod inbox;
pub mod metrics;
pub mod model;
pub mod orders;
pub mod outbox;
pub mod overview;
pub mod plan;
pub mod reconcile;
pub mod record;
pub mod report;
pub mod roll;
pub mod route;
pub mod source;
pub mod store;
pub mod trigger;
