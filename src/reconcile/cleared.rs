//! Whether the tip may run now, and what is told and done while it may not: what runs is kept well, and the question
//! is asked again when time may have changed the answer.

use std::time::Duration;

use chrono::Utc;

use crate::clearance::{Candidate, Objection};
use crate::engine::Engine;
use crate::model::Revision;
use crate::report;
use crate::trigger::Reason;

use super::Reconciler;
use super::journal::now;
use super::render::blocking;
use super::situation::HeldBack;
use super::trouble::Trouble;

impl<E: Engine> Reconciler<E> {
    /// Whether the tip may run now. The timer does not hurry what is known to wait: a push or a person does.
    pub(super) async fn may_run(&self, tip: &Revision, reason: &Reason) -> Result<bool, Trouble> {
        if !self.clearance.asks() {
            return Ok(true);
        }
        if *reason == Reason::Poll && self.still_held_back(tip) {
            return Ok(false);
        }
        self.cleared(tip).await
    }

    /// Whether a revision that the mirror holds may run now; why not is in the situation afterwards.
    pub(super) async fn cleared(&self, revision: &Revision) -> Result<bool, Trouble> {
        let objection = self.objection(revision).await?;
        let Some(objection) = objection else {
            self.forget_held_back();
            return Ok(true);
        };
        let subject = self.subject(revision).await?;
        self.hold_back(revision, subject, objection);
        Ok(false)
    }

    /// Whether a newer tip may run: one that may not is no reason to break off what is under way.
    pub(super) async fn may_overtake(&self, tip: &Revision) -> Result<bool, Trouble> {
        if !self.clearance.asks() {
            return Ok(true);
        }
        let mirror = self.mirror.clone();
        blocking(move || Ok(mirror.fetch(None)?)).await?;
        Ok(self.objection(tip).await?.is_none())
    }

    pub(super) fn forget_held_back(&self) {
        self.situation.send_if_modified(|situation| situation.held_back.take().is_some());
    }

    fn still_held_back(&self, tip: &Revision) -> bool {
        let situation = self.situation.borrow();
        let held = situation.held_back.as_ref().filter(|held| held.revision == tip.as_str());
        held.and_then(|held| held.again_at).is_some_and(|at| at > now())
    }

    async fn objection(&self, revision: &Revision) -> Result<Option<Objection>, Trouble> {
        if !self.clearance.asks() {
            return Ok(None);
        }
        let (mirror, wanted) = (self.mirror.clone(), revision.clone());
        let commit = blocking(move || Ok(mirror.commit(&wanted)?)).await?;
        let (message, signature) = (commit.message, commit.signature);
        let candidate = Candidate { revision: revision.clone(), message, signature };
        let through_freeze = self.record.through_freeze(now()).await?;
        let judged = self.clearance.judge(&candidate, Utc::now(), through_freeze).await;
        judged.map_err(|error| Trouble::waiting(report::line(&error), error.hint()))
    }

    fn hold_back(&self, revision: &Revision, subject: String, objection: Objection) {
        let Objection { why, hint, again } = objection;
        let before = self.situation.borrow().held_back.clone();
        let same = before.filter(|before| before.revision == revision.as_str() && before.why == why);
        let since = same.as_ref().map_or_else(now, |same| same.since);
        let again_at = again.map(|wait| now() + wait.as_millis() as i64);
        if same.is_none() {
            tracing::warn!("{} is held back: {why}", revision.short());
        }
        if let Some(wait) = again.filter(|wait| self.thaw.set_unless_sooner(*wait)) {
            self.wake_after(wait);
        }
        let revision = revision.to_string();
        let held = HeldBack { revision, subject, why, hint, since, again_at };
        self.situation.send_modify(|situation| situation.held_back = Some(held));
    }

    fn wake_after(&self, wait: Duration) {
        let wakes = self.wakes.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            // In memory the wake holds even when it cannot be written.
            let _ = wakes.wake(Reason::Retry).await;
        });
    }
}
