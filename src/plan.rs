//! Pure decisions: from texts and facts to a plan. No IO, no clock.

pub mod address;
pub mod compose;
pub mod labels;
pub mod nginx;
