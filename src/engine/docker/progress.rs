//! BuildKit's status messages as lines for people, and what of them explains a failure. Pure.

use std::collections::{BTreeMap, VecDeque};

use bollard::moby::buildkit::v1::{StatusResponse, Vertex};

/// Lines of a failed step's output that go into its message.
const EXPLAINING_LINES: usize = 20;
const METADATA: &str = "[internal] load metadata for ";

/// The steps of one build, by BuildKit's digest.
#[derive(Default)]
pub(super) struct Progress(BTreeMap<String, Step>);

#[derive(Default)]
struct Step {
    /// In the order they began; 0: not yet.
    number: usize,
    name: String,
    done: bool,
    error: String,
    /// The output's last line, while it has no end.
    partial: String,
    last: VecDeque<String>,
}

/// Why a build failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Set when a base image could not be looked up.
    pub(super) base: Option<String>,
    pub(super) message: String,
}

impl Progress {
    pub(super) fn take(&mut self, status: &StatusResponse, line: &dyn Fn(&str)) {
        for vertex in &status.vertexes {
            self.vertex(vertex, line);
        }
        for log in &status.logs {
            let step = self.0.entry(log.vertex.clone()).or_default();
            step.output(&String::from_utf8_lossy(&log.msg), line);
        }
        for warning in &status.warnings {
            line(&format!("warning: {}", String::from_utf8_lossy(&warning.short)));
        }
    }

    fn vertex(&mut self, vertex: &Vertex, line: &dyn Fn(&str)) {
        let next = self.0.values().map(|step| step.number).max().unwrap_or(0) + 1;
        let step = self.0.entry(vertex.digest.clone()).or_default();
        step.name.clone_from(&vertex.name);
        // BuildKit's own errands are not worth a line unless they fail.
        let quiet = step.name.starts_with("[internal]");
        if step.number == 0 && vertex.started.is_some() && !quiet {
            step.number = next;
            line(&format!("#{next} {}", step.name));
        }
        // A step is cancelled when another fails: not the cause.
        if !vertex.error.is_empty() && !vertex.error.contains("context canceled") {
            step.error.clone_from(&vertex.error);
        }
        let (Some(started), Some(completed)) = (&vertex.started, &vertex.completed) else { return };
        if step.done || !step.error.is_empty() || step.number == 0 {
            return;
        }
        step.done = true;
        if vertex.cached {
            line(&format!("#{} cached", step.number));
        } else {
            let seconds = (completed.seconds - started.seconds) as f64
                + f64::from(completed.nanos - started.nanos) / 1e9;
            line(&format!("#{} done in {seconds:.1} s", step.number));
        }
    }

    /// `None` when no step is to blame: the Dockerfile itself cannot be read.
    pub(super) fn failure(&self) -> Option<Failure> {
        let step = self.0.values().find(|step| !step.error.is_empty())?;
        let mut message = format!("{}: {}", step.name, step.error);
        for text in step.last.iter().chain(Some(&step.partial).filter(|text| !text.is_empty())) {
            message.push_str("\n  ");
            message.push_str(text);
        }
        Some(Failure { base: step.name.strip_prefix(METADATA).map(str::to_owned), message })
    }
}

impl Step {
    /// Logs come in pieces that end anywhere.
    fn output(&mut self, piece: &str, line: &dyn Fn(&str)) {
        self.partial.push_str(piece);
        while let Some((whole, rest)) = self.partial.split_once('\n') {
            // What a progress bar has drawn over itself is not repeated.
            let shown = whole.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
            let rest = rest.to_owned();
            line(&format!("#{} {shown}", self.number));
            self.last.push_back(shown);
            if self.last.len() > EXPLAINING_LINES {
                self.last.pop_front();
            }
            self.partial = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use bollard::moby::buildkit::v1::VertexLog;

    use super::*;

    fn vertex(digest: &str, name: &str) -> Vertex {
        Vertex {
            digest: digest.to_owned(),
            name: name.to_owned(),
            started: Some(Default::default()),
            ..Default::default()
        }
    }

    fn log(digest: &str, text: &str) -> VertexLog {
        VertexLog { vertex: digest.to_owned(), msg: text.as_bytes().to_vec(), ..Default::default() }
    }

    fn lines(progress: &mut Progress, statuses: &[StatusResponse]) -> Vec<String> {
        let lines = RefCell::new(Vec::new());
        for status in statuses {
            progress.take(status, &|line| lines.borrow_mut().push(line.to_owned()));
        }
        lines.into_inner()
    }

    #[test]
    fn steps_are_numbered_and_their_output_is_cut_in_lines() {
        let mut progress = Progress::default();
        let finished = Vertex { completed: Some(Default::default()), ..vertex("b", "[2/2] RUN make") };
        let cached =
            Vertex { cached: true, completed: Some(Default::default()), ..vertex("a", "[1/2] FROM x") };
        let statuses = [
            StatusResponse {
                vertexes: vec![vertex("i", "[internal] load x"), cached, vertex("b", "[2/2] RUN make")],
                ..Default::default()
            },
            StatusResponse {
                logs: vec![log("b", "one\ntw"), log("b", "o\n10%\r20%\r\n")],
                ..Default::default()
            },
            StatusResponse { vertexes: vec![finished.clone(), finished], ..Default::default() },
        ];
        assert_eq!(
            lines(&mut progress, &statuses),
            [
                "#1 [1/2] FROM x",
                "#1 cached",
                "#2 [2/2] RUN make",
                "#2 one",
                "#2 two",
                "#2 20%",
                "#2 done in 0.0 s"
            ]
        );
        assert_eq!(progress.failure(), None);
    }

    #[test]
    fn a_failure_names_the_step_that_failed_and_its_last_lines() {
        let mut progress = Progress::default();
        let output: String = (0..50).map(|n| format!("line {n}\n")).collect();
        let cancelled = Vertex { error: "context canceled".to_owned(), ..vertex("a", "[a 1/1] RUN sleep") };
        let failed = Vertex { error: "exit code: 3".to_owned(), ..vertex("b", "[b 2/2] RUN make") };
        let status = StatusResponse {
            vertexes: vec![cancelled, failed],
            logs: vec![log("b", &output), log("b", "no end")],
            ..Default::default()
        };
        lines(&mut progress, &[status]);
        let failure = progress.failure().unwrap();
        assert!(failure.message.starts_with("[b 2/2] RUN make: exit code: 3\n  line 30\n"), "{failure:?}");
        assert!(failure.message.ends_with("  line 49\n  no end"), "{failure:?}");
        assert_eq!(failure.base, None);
    }

    #[test]
    fn a_base_that_cannot_be_looked_up_is_named() {
        let mut progress = Progress::default();
        let name = format!("{METADATA}docker.io/library/gone:1");
        let failed = Vertex { error: "no such host".to_owned(), ..vertex("a", &name) };
        lines(&mut progress, &[StatusResponse { vertexes: vec![failed], ..Default::default() }]);
        assert_eq!(progress.failure().unwrap().base.as_deref(), Some("docker.io/library/gone:1"));
    }
}
