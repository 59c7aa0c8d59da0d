//! A route: which requests nginx sends to which service.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::place::Place;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub service: String,
    /// `default`, or the middle part of `agent.route.NAME.port`.
    pub name: String,
    pub place: Place,
    /// nginx's listening port.
    pub listen: u16,
    /// Requests for this host only; `None`: for any.
    pub host: Option<String>,
    pub path: String,
    /// Take the path off and say so in `X-Forwarded-Prefix`.
    pub strip: bool,
    /// The app's port in its container.
    pub port: u16,
    pub websocket: bool,
    /// In nginx's syntax, such as `10m`.
    pub body_size: Option<String>,
    pub timeout: Option<Duration>,
}
