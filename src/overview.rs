//! What is known of the stack, from those who know it, in one value; and the words in which people are told of it.
//!
//! `agent status` and the dashboard show the same thing: both ask here. It decides nothing, writes nothing, and asks
//! no engine itself: whoever asks brings what the engine showed.

mod gather;
mod services;
pub mod time;
mod words;

pub use gather::{Daemon, Events, Live, Report, Status, Turn, Wrong, gather, switched_at};
pub use services::{Level, ServiceState, address};
pub use words::{brief, ended, outcome, plain_log, short, way_back};
