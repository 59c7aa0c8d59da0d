//! What a service's containers write, for whoever only reads: the end of it, or as it comes, from one container to the
//! next that takes its place.

use std::time::Duration;

use futures_util::StreamExt;

use crate::config::Config;
use crate::engine::{Begin, Engine, EngineError};
use crate::model::instance::Instance;

/// How often is looked for the container that comes after one that has ended.
const LOOK: Duration = Duration::from_millis(200);

/// The last lines of a service's newest container; `None` when it has none.
pub async fn last(config: &Config, service: &str, lines: usize) -> Result<Option<String>, EngineError> {
    let engine = super::connect(config).await?;
    match newest(of_service(&engine, config, service).await?) {
        Some(instance) => Ok(Some(engine.logs(&instance.id, lines).await?)),
        None => Ok(None),
    }
}

/// The last lines of the container that is kept because it failed, with its name; `None` when none is.
pub async fn failed(config: &Config, lines: usize) -> Result<Option<(String, String)>, EngineError> {
    let engine = super::connect(config).await?;
    let failed = engine.observe(&config.stack.name).await?.failed;
    match failed.into_iter().max_by_key(|instance| instance.run) {
        Some(instance) => Ok(Some((instance.name, engine.logs(&instance.id, lines).await?))),
        None => Ok(None),
    }
}

/// Follows a service's newest container, and when that has ended the next one, from its first line: each line comes
/// once, across restarts and releases. Ends only with an engine that does not answer; `false` when the service has no
/// container to begin with.
pub async fn follow(
    config: &Config,
    service: &str,
    lines: usize,
    mut chunk: impl FnMut(&[u8]),
) -> Result<bool, EngineError> {
    let engine = super::connect(config).await?;
    let Some(mut followed) = newest(of_service(&engine, config, service).await?) else { return Ok(false) };
    let (mut begin, mut last) = (Begin::Last(lines), String::new());
    loop {
        let mut written = engine.follow(&followed.id, begin);
        while let Some(piece) = written.next().await {
            match piece {
                Ok(piece) => {
                    last = last.max(piece.at);
                    chunk(&piece.text);
                }
                Err(error @ EngineError::Unreachable { .. }) => return Err(error),
                // It was removed meanwhile.
                Err(_) => break,
            }
        }
        (followed, begin) = loop {
            tokio::time::sleep(LOOK).await;
            let there = of_service(&engine, config, service).await?;
            if let Some(next) = next(there, &followed, &last) {
                break next;
            }
        };
    }
}

/// Who goes on where `ended` has ended, and from where.
fn next(there: Vec<Instance>, ended: &Instance, last: &str) -> Option<(Instance, Begin)> {
    let after = there.iter().filter(|instance| instance.number > ended.number);
    if let Some(next) = after.min_by_key(|instance| instance.number) {
        return Some((next.clone(), Begin::Start));
    }
    // It was started again; or it was a new one that failed, and the one before it goes on.
    let running = newest(there).filter(Instance::running)?;
    let begin = if last.is_empty() { Begin::Last(0) } else { Begin::After(last.to_owned()) };
    Some((running, begin))
}

async fn of_service(
    engine: &impl Engine,
    config: &Config,
    service: &str,
) -> Result<Vec<Instance>, EngineError> {
    let mut instances = engine.observe(&config.stack.name).await?.instances;
    instances.retain(|instance| instance.service == service);
    Ok(instances)
}

fn newest(instances: Vec<Instance>) -> Option<Instance> {
    instances.into_iter().max_by_key(|instance| instance.number)
}
