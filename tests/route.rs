//! Routes, from labels to what a real nginx answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "route/labels.rs"]
mod labels;
#[path = "route/nginx.rs"]
mod nginx;
#[path = "route/rendered.rs"]
mod rendered;
