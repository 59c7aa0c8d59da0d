//! nginx as a transaction: try the new configuration aside, swap the file in one step, reload, see that new
//! workers answer, or put the old file back; then see that the routes lead somewhere.
//!
//! What only goes to another instance needs no reload: the routes follow links in the same folder, and these are
//! changed all at once.
//!
//! The folder is on the host, mounted at [`MOUNTED`] in nginx's container, whose command names the file there:
//! `nginx -c /etc/nginx/agent/nginx.conf`. Killed at any instant, the agent leaves a complete `nginx.conf`; the
//! next [`Nginx::switch`] to any text goes on from there. What stands in the text is not decided here.

mod ask;
mod fault;
mod files;
mod lead;
mod room;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::engine::{Engine, Finished};
use crate::model::instance::{InstanceId, Template};
use crate::plan::nginx::{Links, Route, Version, generation, is_edited, links, upstream_of, with_others};

pub use fault::{RouteError, Unanswered};
use files::Folder;
pub use room::{Room, all_entered, waiting};

/// Where the folder is in nginx's container.
pub const MOUNTED: &str = "/etc/nginx/agent";
/// What nginx reads.
pub const LIVE: &str = "nginx.conf";
/// What it read before the last switch, or what it would have read after one that failed.
pub const PREVIOUS: &str = "previous.conf";
const CANDIDATE: &str = "candidate.conf";

/// For new workers to answer after a reload. They usually do within 50 ms.
const RELOAD: Duration = Duration::from_secs(10);
/// nginx lets old workers accept connections for 100 ms after it has started new ones: only when all answers have
/// been new for longer than that does no request reach an old worker any more.
const QUIET: Duration = Duration::from_millis(250);
const POLL: Duration = Duration::from_millis(5);
/// For a route to lead somewhere, and between two tries.
const PROBE: Duration = Duration::from_secs(3);
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// Longer than nginx tries to connect to instances: by then it has said that none is there.
const ANSWER: Duration = Duration::from_secs(15);

/// One stack's nginx. Two must not switch the same folder at once.
#[derive(Clone, Debug)]
pub struct Nginx<'a, E> {
    pub engine: &'a E,
    pub stack: &'a str,
    /// On the host.
    pub folder: &'a Path,
    /// Of the nginx service, with the folder among its mounts: for trying a configuration while none runs.
    pub template: &'a Template,
    /// The instance that runs, if one does.
    pub running: Option<Running>,
    /// As in the options that the texts are rendered with.
    pub generation_port: u16,
    /// Instances that are being replaced: what would go to one, or to several with one of them, waits in their [`Room`].
    pub away: BTreeSet<SocketAddrV4>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub id: InstanceId,
    /// Where the agent reaches it from the host.
    pub address: Ipv4Addr,
}

/// What a switch did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// Whether nginx was reloaded; not when it does not run or has this configuration already.
    pub reloaded: bool,
    /// Where the live file was kept because someone else had changed it.
    pub edited: Option<PathBuf>,
}

impl<E: Engine> Nginx<'_, E> {
    /// The version of the nginx that runs, or would run.
    ///
    /// # Errors
    /// It could not be asked, or what answers is no nginx.
    pub async fn version(&self) -> Result<Version, RouteError> {
        let finished = self.run(&["nginx", "-v"], "say its version").await?;
        Version::read(&finished.output)
            .ok_or_else(|| RouteError::NoNginx { said: finished.output.trim().to_owned() })
    }

    async fn run(&self, command: &[&str], act: &'static str) -> Result<Finished, RouteError> {
        let finished = match &self.running {
            Some(running) => self.engine.exec(&running.id, command).await,
            None => self.engine.run_aside(self.template, self.stack, command).await,
        };
        finished.map_err(|source| RouteError::Engine { act, source })
    }

    /// Has nginx itself read the text, without touching what is live. It is not asked about what it runs already.
    ///
    /// # Errors
    /// [`RouteError::Refused`] with nginx's words and the label they are about; or it could not be tried.
    pub async fn check(&self, text: &str) -> Result<(), RouteError> {
        let folder = Folder(self.folder);
        if let (Some(running), Some(wanted)) = (&self.running, generation(text))
            && folder.read(LIVE).await?.is_some_and(|live| runs(&live, wanted))
            && self.answering(running).await.as_deref() == Some(wanted)
        {
            return Ok(());
        }
        folder.write(CANDIDATE, text.as_bytes()).await?;
        let file = format!("{MOUNTED}/{CANDIDATE}");
        let command = ["nginx", "-t", "-q", "-c", file.as_str()];
        let finished = match &self.running {
            Some(running) => self.engine.exec(&running.id, &command).await,
            None => self.engine.run_aside(self.template, self.stack, &command).await,
        };
        let finished =
            finished.map_err(|source| RouteError::Engine { act: "try a configuration", source })?;
        if finished.code == 0 { Ok(()) } else { Err(fault::refused(&finished.output, text)) }
    }

    /// Makes a checked text the live one. When this returns, every request goes to the instances that it names, or, after
    /// a reload, every one on a new connection: kept ones follow within the options' linger. If nginx does not run, only
    /// the files are swapped.
    ///
    /// # Errors
    /// nginx did not take it. The file from before is live again then, unless the error is
    /// [`RouteError::NotRestored`].
    pub async fn switch(&self, text: &str) -> Result<Switched, RouteError> {
        let folder = Folder(self.folder);
        let old = folder.read(LIVE).await?;
        let edited = match &old {
            Some(old) if is_edited(&String::from_utf8_lossy(old)) => {
                Some(folder.keep_edited(LIVE, old).await?)
            }
            _ => None,
        };
        // What is live already needs no room on a disk that may be full: the way back must not fail by that.
        let same = old.as_deref() == Some(text.as_bytes());
        if let Some(old) = old.as_ref().filter(|_| !same) {
            folder.write(PREVIOUS, old).await?;
        }
        // Before the file: what it names must be there when nginx reads it, after whatever crash.
        self.lead_by(text).await?;
        if !same {
            folder.write(LIVE, text.as_bytes()).await?;
        }
        let Some(running) = &self.running else { return Ok(Switched { reloaded: false, edited }) };
        match self.adopt(running, text).await {
            Ok(reloaded) => Ok(Switched { reloaded, edited }),
            Err(failure) => Err(self.put_back(running, old.as_deref(), failure).await),
        }
    }

    /// Opens a room for what goes to each of these upstreams by the text, or by the live file, if that knows rooms;
    /// [`Nginx::lead`] and [`Nginx::switch`] lead there what is away.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub async fn rooms(
        &self,
        upstreams: &BTreeSet<String>,
        text: Option<&str>,
    ) -> Result<Vec<Room>, RouteError> {
        let text = match text {
            Some(text) => text.as_bytes().to_owned(),
            None => Folder(self.folder).read(LIVE).await?.unwrap_or_default(),
        };
        let text = String::from_utf8_lossy(&text);
        if !room::is_known(&text) {
            return Ok(Vec::new());
        }
        let links = links(&text);
        let links = links.iter().filter(|(name, _)| upstreams.contains(upstream_of(name)));
        let rooms = links.filter(|(_, to)| !to.is_empty());
        let rooms: std::io::Result<Vec<Room>> =
            rooms.map(|(_, of)| Room::open(self.folder, of.clone())).collect();
        let path = self.folder.to_owned();
        rooms.map_err(|source| RouteError::File { act: "let requests wait in", path, source })
    }

    /// Has every request go where the live file says, or wait for what is away, whatever an agent that was killed
    /// has left.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub async fn lead(&self) -> Result<(), RouteError> {
        let folder = Folder(self.folder);
        let Some(live) = folder.read(LIVE).await? else { return Ok(()) };
        self.lead_by(&String::from_utf8_lossy(&live)).await
    }

    /// By the links of this text. What stands in the files also has names that workers may still go by.
    async fn lead_by(&self, text: &str) -> Result<(), RouteError> {
        let folder = Folder(self.folder);
        let (mut others, mut back) = (Links::new(), Links::new());
        for file in [PREVIOUS, LIVE] {
            let Some(read) = folder.read(file).await? else { continue };
            back = links(&String::from_utf8_lossy(&read));
            others.extend(back.clone());
        }
        let links = links(text);
        // A worker may be older than both files.
        let known = |name: &String| links.keys().any(|link| upstream_of(link) == upstream_of(name));
        for name in folder.names().into_iter().filter(known) {
            others.entry(name).or_default();
        }
        folder.lead(&with_others(&links, &others), &back, &self.away).await
    }

    /// Waits until each of these routes has led to an answer, which may take long. Nothing is done if nginx does not run.
    ///
    /// # Errors
    /// One leads nowhere. What is live stays so: only whoever has switched knows where requests should go instead.
    pub async fn reach(&self, routes: &[Route]) -> Result<(), RouteError> {
        let Some(running) = &self.running else { return Ok(()) };
        let probes = routes.iter().map(|route| self.probe(running, route));
        futures_util::future::try_join_all(probes).await.map(drop)
    }

    async fn adopt(&self, running: &Running, text: &str) -> Result<bool, RouteError> {
        let wanted = generation(text);
        // Only comments differ, or an agent that was killed had come this far.
        let reloaded = wanted.is_none() || self.answering(running).await.as_deref() != wanted;
        if reloaded {
            self.reload(running, wanted).await?;
        }
        Ok(reloaded)
    }

    /// Asks nginx for a route's path until something other than nginx itself answers.
    async fn probe(&self, running: &Running, route: &Route) -> Result<(), RouteError> {
        let nginx = running.address;
        let host = match route.host.as_deref() {
            Some(host) => host.replace('*', "agent-probe"),
            None => nginx.to_string(),
        };
        let at = SocketAddrV4::new(nginx, route.listen);
        let (begin, mut runs) = (Instant::now(), false);
        loop {
            let last = match ask::get(at, &host, &route.path, ANSWER).await {
                // 502, 503 and 504 are nginx's own words for a service that does not answer. An app that says so
                // itself is no better to send people to.
                Ok(answer) if !matches!(answer.status, 502..=504) => return Ok(()),
                Ok(answer) => Unanswered::Status(answer.status),
                // Something has the request: a long poll, or a stream whose first event is late.
                Err(Unanswered::Slow { .. }) => return Ok(()),
                Err(Unanswered::Silence { at, source }) if runs => Unanswered::Deaf { at, source },
                Err(silence) => silence,
            };
            if begin.elapsed() >= PROBE {
                let (service, place) = (route.service.clone(), route.place.clone());
                return Err(RouteError::LeadsNowhere {
                    service,
                    place,
                    path: route.path.clone(),
                    source: last,
                });
            }
            sleep(PROBE_PAUSE).await;
            // Before the route is: nginx may begin to answer between the two.
            runs = self.answering(running).await.is_some();
        }
    }

    /// Tells nginx to read the live file and waits until only that answers.
    async fn reload(&self, running: &Running, wanted: Option<&str>) -> Result<(), RouteError> {
        let signalled = self.engine.signal(&running.id, "HUP").await;
        signalled.map_err(|source| RouteError::Engine { act: "reload", source })?;
        let Some(wanted) = wanted else { return Ok(()) };
        let begin = Instant::now();
        let mut since: Option<Instant> = None;
        while begin.elapsed() < RELOAD {
            if self.answering(running).await.as_deref() != Some(wanted) {
                since = None;
            } else if since.get_or_insert_with(Instant::now).elapsed() >= QUIET {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(RouteError::NotLoaded { seconds: RELOAD.as_secs(), said: self.complaint(running).await })
    }

    /// Why a running nginx does not take the live file. It says so when it reads it again; in its log the line may
    /// be buried under requests. Only what depends on the moment, such as a port that is taken, is said there alone.
    async fn complaint(&self, running: &Running) -> String {
        let file = format!("{MOUNTED}/{LIVE}");
        let finished = self.engine.exec(&running.id, &["nginx", "-t", "-q", "-c", &file]).await;
        let said = finished.map(|finished| fault::last_words(&finished.output)).unwrap_or_default();
        if !said.is_empty() {
            return said;
        }
        self.engine.logs(&running.id, 1000).await.map(|log| fault::last_words(&log)).unwrap_or_default()
    }

    /// The generation that a worker of nginx answers with, if one answers.
    async fn answering(&self, running: &Running) -> Option<String> {
        let at = SocketAddrV4::new(running.address, self.generation_port);
        let answer = ask::get(at, "agent", "/generation", Duration::from_secs(1)).await.ok()?;
        (answer.status == 200).then(|| answer.body.trim().to_owned())
    }

    async fn put_back(&self, running: &Running, old: Option<&[u8]>, failure: RouteError) -> RouteError {
        // Without an older file the new one stays: an nginx without any could not start again.
        let Some(old) = old else { return failure };
        let text = String::from_utf8_lossy(old);
        let restored = async {
            let folder = Folder(self.folder);
            let failed = folder.read(LIVE).await?.filter(|failed| failed != old);
            self.lead_by(&text).await?;
            folder.write(LIVE, old).await?;
            // Workers may still go by its links. What has no room for it is no reason to fail.
            if let Some(failed) = failed {
                let _ = folder.write(PREVIOUS, &failed).await;
            }
            match generation(&text) {
                wanted @ Some(_) if self.answering(running).await.as_deref() == wanted => Ok(()),
                wanted => self.reload(running, wanted).await,
            }
        };
        match restored.await {
            Ok(()) => failure,
            Err(source) => RouteError::NotRestored { failure: Box::new(failure), source: Box::new(source) },
        }
    }
}

/// Whether a file, not edited, is what nginx answers of this generation with.
fn runs(live: &[u8], wanted: &str) -> bool {
    let live = String::from_utf8_lossy(live);
    generation(&live) == Some(wanted) && !is_edited(&live)
}
