//! A look at what the engine runs of the stack, for whoever only reads.

use crate::config::Config;
use crate::engine::{Engine, EngineError};
use crate::model::instance::Observed;

/// What the engine runs of the stack at this moment.
pub async fn observe(config: &Config) -> Result<Observed, EngineError> {
    super::connect(config).await?.observe(&config.stack.name).await
}
