//! From route labels to the whole nginx configuration, as text.
//!
//! [`routes`] reads and checks the labels of a project; [`render`] writes the file, the same text for the same
//! input. Instances are literal addresses: nginx looks up no name, neither at start nor later, so that an app
//! that is gone cannot keep nginx from starting. A service's only instance is where a link leads ([`links`]), so that
//! another takes over without a reload; that of several leads to an upstream block, which has nginx try the next when one
//! is gone.
//! Nothing here knows where the file lies or who loads it.

mod head;
mod links;
mod render;
mod routes;
mod text;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub use crate::model::nginx::Version;
pub use crate::model::route::{Options, OwnTemplate, Published, Route};
pub use head::{generation, is_edited, origin};
pub use links::{Links, SEVERAL, links, upstream_of, with_others};
pub use render::{leave_unpublished, render, upstream_name};
pub use routes::{nginx_service, routes};
pub use text::text;

/// The addresses of each service's instances that take requests. A service without one answers 503 on its paths.
pub type Upstreams = BTreeMap<String, Vec<Ipv4Addr>>;
