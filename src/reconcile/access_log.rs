//! What nginx answers, read from its container's output as it is written. Followed only while somebody wants to
//! know. An nginx whose log is not the built-in template's shows no answers, which is no error.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::DateTime;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::engine::{Begin, Engine, EngineError, Written};
use crate::model::desired::Desired;
use crate::plan::answers::Answer;

use super::Reconciler;

/// nginx may be replaced, and the engine restarted.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest line that is kept together; nginx's own limit for a request line is 8 KiB.
const LONGEST: usize = 64 * 1024;

pub(super) struct AccessLog<'a, E> {
    world: &'a Reconciler<E>,
    desired: &'a Desired,
    /// What is older was read already, or is of no interest.
    from: String,
    output: Option<BoxStream<'static, Result<Written, EngineError>>>,
    /// A line that has not ended yet.
    rest: Vec<u8>,
    read: VecDeque<Answer>,
}

impl<'a, E: Engine> AccessLog<'a, E> {
    /// `from` in seconds since the Unix epoch.
    pub(super) fn new(world: &'a Reconciler<E>, desired: &'a Desired, from: i64) -> Self {
        // In the form in which the engine writes its moments.
        let from = DateTime::from_timestamp(from, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.9fZ");
        let from = from.to_string();
        Self { world, desired, from, output: None, rest: Vec::new(), read: VecDeque::new() }
    }

    /// The next answer. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Answer {
        loop {
            if let Some(answer) = self.read.pop_front() {
                return answer;
            }
            match &mut self.output {
                Some(output) => match output.next().await {
                    Some(Ok(written)) => self.take(&written),
                    _ => {
                        self.output = None;
                        tokio::time::sleep(AGAIN).await;
                    }
                },
                None => {
                    self.output = self.open().await;
                    if self.output.is_none() {
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        }
    }

    async fn open(&mut self) -> Option<BoxStream<'static, Result<Written, EngineError>>> {
        self.rest.clear();
        let observed = self.world.engine.observe(&self.desired.stack).await.ok()?;
        let nginx = self.world.proxy_instance(self.desired, &observed, |_| false)?;
        Some(self.world.engine.follow(&nginx.id, Begin::After(self.from.clone())))
    }

    fn take(&mut self, written: &Written) {
        if !written.at.is_empty() {
            self.from.clone_from(&written.at);
        }
        self.rest.extend_from_slice(&written.text);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.read.extend(std::str::from_utf8(&line).ok().and_then(Answer::read));
        }
        if self.rest.len() > LONGEST {
            self.rest.clear();
        }
    }
}
