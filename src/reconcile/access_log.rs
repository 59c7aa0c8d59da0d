//! What nginx answers, read from the end of its container's output, from time to time: following it would have the
//! engine hand over each line by itself, and looking for a moment would have it read the log from its beginning. An
//! nginx whose log is not the built-in template's shows no answers, which is no error.

use chrono::DateTime;

use crate::engine::{Engine, EngineError, Written};
use crate::model::desired::Desired;
use crate::model::instance::Observed;
use crate::plan::answers::Answer;

use super::Reconciler;

/// Lines of a first look; and of the longest, which is enough for shares of answers.
const FEW: usize = 200;
const MOST: usize = 20_000;
/// The same for what is compared with: some 40 MB.
const ALL: usize = 100_000;

pub(super) struct AccessLog<'a, E> {
    world: &'a Reconciler<E>,
    desired: &'a Desired,
    /// What was written until then was read already, or is of no interest.
    from: String,
    /// How many lines are likely to be new.
    likely: usize,
}

impl<'a, E: Engine> AccessLog<'a, E> {
    /// `from` in seconds since the Unix epoch.
    pub(super) fn new(world: &'a Reconciler<E>, desired: &'a Desired, from: i64) -> Self {
        Self { world, desired, from: stamp(from), likely: FEW }
    }

    /// The answers since the last look, from the nginx that is seen now. None when the engine does not tell: they are
    /// told the next time.
    pub(super) async fn look(&mut self, observed: &Observed) -> Vec<Answer> {
        let Ok(written) = self.read(observed, &self.from, self.likely, MOST).await else { return Vec::new() };
        if let Some(last) = written.iter().rev().find(|written| !written.at.is_empty()) {
            self.from.clone_from(&last.at);
        }
        self.likely = FEW.max(written.len() * 2);
        answers(&written)
    }

    /// The answers since an earlier moment, in seconds since the Unix epoch: of so many lines as can be kept. `None`:
    /// the engine does not tell now.
    pub(super) async fn since(&self, observed: &Observed, moment: i64) -> Option<Vec<Answer>> {
        Some(answers(&self.read(observed, &stamp(moment), MOST, ALL).await.ok()?))
    }

    /// What was written after `from`, the last `most` lines at most. `likely`: how many lines these may be.
    async fn read(
        &self,
        observed: &Observed,
        from: &str,
        likely: usize,
        most: usize,
    ) -> Result<Vec<Written>, EngineError> {
        let Some(nginx) = self.world.proxy_instance(self.desired, observed, |_| false) else {
            return Ok(Vec::new());
        };
        let mut lines = likely.min(most);
        loop {
            let mut written = self.world.engine.last_written(&nginx.id, lines).await?;
            // Later lines may have earlier times: the clock can be set back.
            let same = written.iter().rposition(|written| *written.at == *from);
            let older = || written.iter().rposition(|written| !written.at.is_empty() && *written.at <= *from);
            let known = same.or_else(older);
            if known.is_none() && written.len() >= lines && lines < most {
                lines = (lines * 4).min(most);
                continue;
            }
            return Ok(written.split_off(known.map_or(0, |known| known + 1)));
        }
    }
}

/// In the form in which the engine writes its moments.
fn stamp(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string()
}

/// The engine hands a very long line over in pieces.
fn answers(written: &[Written]) -> Vec<Answer> {
    let text: Vec<u8> = written.iter().flat_map(|written| &written.text).copied().collect();
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok().and_then(Answer::read))
        .collect()
}
