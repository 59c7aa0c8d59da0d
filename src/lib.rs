//! A GitOps deploy agent for Docker Compose stacks.

pub mod app;
pub mod build;
pub mod cli;
pub mod config;
pub mod engine;
pub mod http;
pub mod model;
pub mod orders;
pub mod plan;
pub mod reconcile;
pub mod record;
pub mod report;
pub mod roll;
pub mod route;
pub mod source;
pub mod store;
pub mod trigger;
