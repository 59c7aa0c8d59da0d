//! Pure decisions: from texts and facts to a plan. No IO, no clock.

pub mod address;
pub mod answers;
pub mod compose;
pub mod desire;
pub mod diff;
pub mod dockerfile;
pub mod explain;
pub mod fingerprint;
pub mod gate;
pub mod labels;
pub mod nginx;
pub mod order;
pub mod policy;
pub mod standing;
pub mod steps;
pub mod stripe;
pub mod upstreams;
pub mod verdict;
pub mod watch;
