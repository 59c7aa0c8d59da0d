//! A look at what the engine runs of the stack, for whoever only reads.

use crate::config::Config;
use crate::engine::Engine;
use crate::model::instance::Observed;

/// Why the engine cannot be looked at.
pub use crate::engine::EngineError as ViewError;

/// What the engine runs of the stack at this moment.
pub async fn observe(config: &Config) -> Result<Observed, ViewError> {
    super::connect(config).await?.observe(&config.stack.name).await
}
