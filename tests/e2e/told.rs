//! What the agent tells: its situation over its socket, its runs from the record, its answers to orders.

use agent::app::control::Status;
use agent::model::run::{Entry, Failure, Outcome};
use agent::orders::Order;
use agent::record::{Run, Target};

use crate::http::{self, Answer};
use crate::world::World;

/// A moment in a run, by the entry that is written then.
pub(crate) type Moment = fn(&Entry) -> bool;

impl World {
    /// `None` while nobody listens.
    pub(crate) fn try_status(&self) -> Option<Status> {
        let answer = http::unix(&self.socket(), "GET", "/status", "").ok()?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Some(serde_json::from_str(&answer.body).expect("a status"))
    }

    pub(crate) fn status(&self) -> Status {
        self.try_status().expect("the agent answers")
    }

    /// Waits until the situation shows what is wrong.
    pub(crate) fn wrong(&self, message: &str) -> Failure {
        self.eventually(&format!("a message with `{message}`"), || {
            let wrong = self.status().situation.wrong?;
            wrong.failure.message.contains(message).then_some(wrong.failure)
        })
    }

    /// Waits until nothing is wrong.
    pub(crate) fn all_well(&self) {
        self.eventually("nothing wrong", || self.status().situation.wrong.is_none().then_some(()));
    }

    /// What the program prints for a person; it must succeed.
    pub(crate) fn agent(&self, arguments: &[&str]) -> String {
        let (success, said) = self.try_agent(arguments);
        assert!(success, "{said}");
        said
    }

    /// Whether it succeeded, and all that it printed.
    pub(crate) fn try_agent(&self, arguments: &[&str]) -> (bool, String) {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_agent"));
        program.args(arguments).arg("--config").arg(self.path().join("agent.toml")).env("NO_COLOR", "1");
        let done = program.output().expect("the agent");
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        (done.status.success(), said)
    }

    pub(crate) fn order(&self, order: &Order) -> Answer {
        let body = serde_json::to_string(order).expect("an order");
        http::unix(&self.socket(), "POST", "/orders", &body).expect("the agent answers")
    }

    /// Gives an order that must be accepted, and waits until a turn that began after it has ended.
    pub(crate) fn ordered(&self, order: &Order) {
        let answer = self.order(order);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let accepted: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let before = accepted["turns"].as_u64().expect("turns");
        self.eventually("the turn after the order", || {
            let status = self.status();
            let idle = status.situation.doing == agent::reconcile::Doing::Idle;
            (idle && !status.pending && status.situation.turns > before).then_some(())
        });
    }

    pub(crate) fn look(&self) {
        self.ordered(&Order::Deploy { allow_prune: false, despite_freeze: false });
    }

    /// Newest first.
    pub(crate) fn runs(&self) -> Vec<Run> {
        self.record(async |record| record.runs(100).await.expect("runs"))
    }

    pub(crate) fn target(&self) -> Target {
        self.record(async |record| record.target().await.expect("target"))
    }

    pub(crate) fn applied(&self) -> Option<String> {
        let applied = self.record(async |record| record.applied().await.expect("applied"));
        applied.map(|revision| revision.to_string())
    }

    pub(crate) fn log(&self, run: &Run) -> Vec<Entry> {
        let log = self.record(async |record| record.log(run.id, 0).await.expect("log"));
        log.into_iter().map(|logged| logged.entry).collect()
    }

    /// Waits until the log of a run to a revision shows a moment.
    pub(crate) fn comes_to(&self, revision: &str, moment: Moment) {
        self.eventually("the moment", || {
            let run = self.runs().into_iter().find(|run| run.revision == revision)?;
            self.log(&run).iter().any(moment).then_some(())
        });
    }

    /// The tags that a run built.
    pub(crate) fn built(&self, run: &Run) -> Vec<String> {
        let tag = |entry| if let Entry::Built { tag, .. } = entry { Some(tag) } else { None };
        self.log(run).into_iter().filter_map(tag).collect()
    }

    /// The newest run to a revision, once it has ended.
    pub(crate) fn ended(&self, revision: &str) -> Run {
        self.eventually(&format!("the end of the run to {revision}"), || {
            self.runs().into_iter().find(|run| run.revision == revision).filter(|run| run.outcome.is_some())
        })
    }

    /// The run that made a revision live, which others may have followed.
    pub(crate) fn live_run(&self, revision: &str) -> Run {
        let run = self.ended(revision);
        let good = matches!(run.outcome, Some(Outcome::Succeeded | Outcome::Unchanged));
        assert!(good, "{run:#?}");
        run
    }

    /// The run that made a revision live; it still is.
    pub(crate) fn live(&self, revision: &str) -> Run {
        let run = self.live_run(revision);
        assert_eq!(self.applied().as_deref(), Some(revision));
        run
    }

    /// Why the run to a revision failed.
    pub(crate) fn failed(&self, revision: &str) -> Failure {
        let run = self.ended(revision);
        match run.outcome {
            Some(Outcome::Failed { reason }) => reason,
            other => panic!("the run ended with {other:?}"),
        }
    }

    /// The same, when attempts before it may have been cut off.
    pub(crate) fn failed_at_last(&self, revision: &str) -> Failure {
        self.eventually("an attempt that was seen through", || {
            let run = self.runs().into_iter().find(|run| run.revision == revision)?;
            if let Some(Outcome::Failed { reason }) = run.outcome { Some(reason) } else { None }
        })
    }
}
