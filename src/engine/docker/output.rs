//! What instances and commands say: logs, at the end or as they come, and commands run inside.

use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};

use super::Docker;
use crate::engine::{Begin, EngineError, Finished, Written};
use crate::model::instance::InstanceId;

/// As much of an output as is kept.
const KEPT_BYTES: usize = 64 * 1024;

impl Docker {
    pub(super) async fn last_logs(&self, container: &str, lines: usize) -> Result<String, EngineError> {
        let options =
            LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let mut logs = self.client.logs(container, Some(options));
        let mut end = Tail::default();
        let fault = |error| self.fault(format!("read the logs of {}", short(container)), error);
        while let Some(output) = logs.try_next().await.map_err(fault)? {
            end.push(output.as_ref());
        }
        Ok(end.text())
    }

    pub(super) async fn last_lines(
        &self,
        id: &InstanceId,
        lines: usize,
    ) -> Result<Vec<Written>, EngineError> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true);
        let logs = self.client.logs(&id.0, Some(options.tail(&lines.to_string()).build()));
        let told = logs.map_ok(|output| written(output.into_bytes())).try_collect().await;
        told.map_err(|error| self.fault(format!("read the logs of {}", id.short()), error))
    }

    pub(super) fn follow_logs(
        &self,
        id: &InstanceId,
        from: Begin,
    ) -> BoxStream<'static, Result<Written, EngineError>> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(true).timestamps(true);
        let (options, seen) = match from {
            Begin::Last(lines) => (options.tail(&lines.to_string()), String::new()),
            Begin::Start => (options, String::new()),
            // The engine's own "since" knows whole seconds here: what was seen of its last one is left out below.
            Begin::After(at) => (options.since(seconds(&at)), at),
        };
        let logs = self.client.logs(&id.0, Some(options.build()));
        let (docker, act) = (self.clone(), format!("follow the logs of {}", id.short()));
        let told = logs.map(move |output| {
            output.map(|output| written(output.into_bytes())).map_err(|e| docker.fault(act.clone(), e))
        });
        told.try_filter(move |written| {
            let known = !written.at.is_empty() && written.at <= seen;
            std::future::ready(!known)
        })
        .boxed()
    }

    pub(super) async fn exec_in(&self, id: &InstanceId, command: &[&str]) -> Result<Finished, EngineError> {
        let fault = |error| self.fault(format!("run `{}` in {}", command.join(" "), id.short()), error);
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = self.client.create_exec(&id.0, options).await.map_err(fault)?;
        let mut end = Tail::default();
        if let StartExecResults::Attached { mut output, .. } =
            self.client.start_exec(&exec.id, None::<StartExecOptions>).await.map_err(fault)?
        {
            while let Some(output) = output.try_next().await.map_err(fault)? {
                end.push(output.as_ref());
            }
        }
        let code = self.client.inspect_exec(&exec.id).await.map_err(fault)?.exit_code;
        let code = code.ok_or_else(|| EngineError::Refused {
            act: format!("run `{}` in {}", command.join(" "), id.short()),
            message: "the command's exit code is unknown: the instance ended under it".to_owned(),
        })?;
        Ok(Finished { code, output: end.text() })
    }
}

/// Takes the time off that the engine puts before each piece: `2026-11-22T16:00:00.000000000Z `, always as long.
fn written(piece: Bytes) -> Written {
    const LENGTH: usize = 30;
    let stamp = piece.get(..LENGTH).filter(|stamp| stamp.ends_with(b"Z") && piece.get(LENGTH) == Some(&b' '));
    match stamp.and_then(|stamp| std::str::from_utf8(stamp).ok()) {
        Some(at) => Written { at: at.to_owned(), text: piece.slice(LENGTH + 1..) },
        None => Written { at: String::new(), text: piece },
    }
}

fn seconds(at: &str) -> i32 {
    let moment = chrono::DateTime::parse_from_rfc3339(at).map_or(0, |moment| moment.timestamp());
    i32::try_from(moment).unwrap_or(0)
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The end of an output, bounded.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        // Cut at twice the size, so that each byte is moved once.
        if self.0.len() > 2 * KEPT_BYTES {
            self.cut();
        }
    }

    pub(super) fn text(mut self) -> String {
        self.cut();
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// To whole lines, where there are any.
    fn cut(&mut self) {
        let Some(surplus) = self.0.len().checked_sub(KEPT_BYTES).filter(|surplus| *surplus > 0) else {
            return;
        };
        let line_end = self.0[surplus..].iter().position(|byte| *byte == b'\n');
        self.0.drain(..surplus + line_end.map_or(0, |end| end + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_in_whole_lines() {
        let mut tail = Tail::default();
        for line in 0..40_000 {
            tail.push(format!("line {line}\n").as_bytes());
        }
        let text = tail.text();
        assert!(text.len() <= KEPT_BYTES && text.len() > KEPT_BYTES - 20);
        assert!(text.starts_with("line ") && text.ends_with("line 39999\n"));
    }

    #[test]
    fn what_is_short_is_kept_whole() {
        let mut tail = Tail::default();
        tail.push(b"a\xff");
        assert_eq!(tail.text(), "a\u{fffd}");
    }
}
