//! The loop: wake → source → observe → plan → record → apply → record. It cannot fail: a turn that meets
//! trouble says so, and the next wake is another turn.
//!
//! Who woke it never changes what a turn does. A rollback is the forward path with other data: somebody wrote
//! another target and woke the loop.

mod access_log;
mod apply;
mod back;
mod backoff;
mod cleared;
mod crashed;
mod decide;
mod gap;
mod healing;
mod images;
mod journal;
mod newer;
mod objects;
mod prune;
mod recover;
mod render;
mod run;
mod situation;
mod trouble;
mod turn;
mod waiting;
mod watching;
mod whereabouts;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::clearance::Clearance;
use crate::config::Config;
use crate::engine::Engine;
use crate::model::desired::Desired;
use crate::model::instance::Observed;
use crate::model::run::RunId;
use crate::plan::fingerprint::Key;
use crate::plan::nginx::generation;
use crate::plan::watch::Met;
use crate::record::Record;
use crate::route::{LIVE, Nginx, PREVIOUS, Running};
use crate::source::Mirror;
use crate::trigger::Wakes;

pub use backoff::Alarm;
pub use gap::Gap;
pub use healing::given_up;
pub use journal::said;
pub use render::{Read, Rendered};
pub use situation::{Doing, HeldBack, Situation, Wrong};
pub use trouble::Trouble;
pub use whereabouts::{Live, Whereabouts};

use journal::RunJournal;

/// Gives a service its own secret for Stripe's events, always the same one until it is rotated; or says why not.
pub type Secrets = Arc<dyn Fn(String) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// Everything a turn works with. One loop, one owner of the state folder.
pub struct Reconciler<E> {
    pub engine: E,
    pub record: Record,
    pub mirror: Mirror,
    pub wakes: Wakes,
    pub config: Arc<Config>,
    pub key: Key,
    pub clearance: Clearance,
    pub situation: watch::Sender<Situation>,
    /// `None` when no event can come in: then a service verifies with whatever its environment says.
    pub secrets: Option<Secrets>,
    pub whereabouts: Whereabouts,
    pub gap: Gap,
    /// What the watch over a release has met, told at each look; `None` while nobody watches.
    pub met: watch::Sender<Option<Met>>,
    /// For what went wrong.
    pub alarm: Alarm,
    /// For what is held back.
    pub thaw: Alarm,
}

impl<E: Engine> Reconciler<E> {
    /// Where a run's logs are.
    pub fn logs_of(&self, run: RunId) -> PathBuf {
        self.config.state.join("runs").join(run.to_string())
    }

    fn journal(&self, run: RunId) -> RunJournal {
        RunJournal { record: self.record.clone(), whereabouts: self.whereabouts.clone(), run }
    }

    /// The stack's nginx, if the desired state has one.
    fn nginx<'a>(&'a self, desired: &'a Desired, running: Option<Running>) -> Option<Nginx<'a, E>> {
        let proxy = desired.proxy()?;
        Some(Nginx {
            engine: &self.engine,
            stack: &desired.stack,
            folder: self.proxy_folder(desired)?,
            template: &proxy.template,
            running,
            generation_port: desired.nginx.generation_port,
            away: Default::default(),
        })
    }

    /// The host folder that nginx's template mounts: what a release was made with, not what is configured now.
    fn proxy_folder<'a>(&self, desired: &'a Desired) -> Option<&'a std::path::Path> {
        use crate::model::instance::MountSpec;
        desired.proxy()?.template.mounts.iter().find_map(|mount| match mount {
            MountSpec::Bind { source, target, .. } if target == crate::route::MOUNTED => {
                Some(std::path::Path::new(source.as_str()))
            }
            _ => None,
        })
    }

    /// The nginx instance that runs, apart from those of runs that are passed over.
    fn proxy_instance(
        &self,
        desired: &Desired,
        observed: &Observed,
        pass_over: impl Fn(RunId) -> bool,
    ) -> Option<Running> {
        let name = &desired.proxy()?.template.service;
        let instances = observed.instances.iter().rev();
        let running = instances.filter(|i| i.service == *name && i.running() && !pass_over(i.run));
        running
            .filter_map(|instance| {
                let address = instance.endpoints.values().find_map(|endpoint| endpoint.address)?;
                Some(Running { id: instance.id.clone(), address })
            })
            .next()
    }

    /// The configuration nginx has now.
    fn live_nginx(&self) -> Option<String> {
        std::fs::read_to_string(self.config.nginx_folder().join(LIVE)).ok()
    }

    /// How long requests still go where they went before the last switch: not at all, unless it was a reload.
    fn linger(&self, desired: &Desired) -> Duration {
        let read = |name| std::fs::read_to_string(self.config.nginx_folder().join(name)).unwrap_or_default();
        let (live, previous) = (read(LIVE), read(PREVIOUS));
        if generation(&live) == generation(&previous) { Duration::ZERO } else { desired.nginx.linger() }
    }

    /// Refuses to begin a build that would fill the disk under the apps that are live.
    async fn disk_floor(&self) -> Result<(), Trouble> {
        let floor = self.config.build.min_free_disk.0;
        let facts = self.engine.facts().await?;
        for folder in [PathBuf::from(facts.root), self.config.state.clone()] {
            // An engine on another machine has its folder there; what cannot be looked at is not refused.
            let Ok(stat) = rustix::fs::statvfs(&folder) else { continue };
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            if free < floor {
                let (free, floor) = (free >> 20, floor >> 20);
                let what = format!("{} has {free} MiB free, and a build needs {floor}", folder.display());
                let hint = "free some space (`docker system df` says what takes it), or lower `min_free_disk` under [build]";
                return Err(Trouble::waiting(what, hint));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
