//! HTTP plumbing: a server that no client can hold up, bodies read raw and bounded, rates per peer, signatures
//! compared in constant time, and a client that waits for nobody longer than it was told to.
//!
//! It knows no route and no provider; every refusal it makes is a 4xx with one line of text.

pub mod body;
pub mod client;
pub mod mac;
pub mod peer;
pub mod rate;
pub mod secret;
pub mod serve;
pub mod standard;

use std::fmt::Display;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

pub use body::RawBody;
pub use client::{Answer, Client, ClientError};
pub use peer::Peer;
pub use rate::Rate;
pub use secret::{EmptySecret, ReadSecret, Secret};
pub use serve::{Limits, serve};

/// An answer of one line: what senders keep beside a delivery and show to people.
pub fn line(status: StatusCode, text: impl Display) -> Response {
    (status, format!("{text}\n")).into_response()
}

#[cfg(test)]
mod tests;
