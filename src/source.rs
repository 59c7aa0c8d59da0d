//! The Git side: what the remote's branch points at, and the content of any revision, without a working tree.
//!
//! A [`Mirror`] is a bare repository in a folder of ours. Contexts for builds and files for mounts come straight
//! from its objects, so nothing ever runs from a checkout that changes under it. The mirror is a cache: whatever
//! happens to it, [`Mirror::fetch`] makes a new one.
//!
//! Everything here blocks; callers on an async runtime move it to a blocking thread. Nothing is pushed, ever,
//! and nothing here knows of services or containers.

mod commit;
mod context;
mod error;
mod haves;
mod hostkey;
pub mod ignore;
mod keep;
mod mirror;
mod objects;
mod packs;
mod remote;
pub mod timeouts;
mod transport;

pub use commit::Commit;
pub use context::{Context, Dockerfile};
pub use error::SourceError;
pub use keep::{Kept, forget};
pub use mirror::{Fetched, Mirror};
pub use objects::{Entry, Kind, Subject};
pub use remote::{Auth, Remote};
