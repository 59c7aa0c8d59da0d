//! A stack of its own for each fact, swept before (a crashed run may have left things) and after; a log that may fail,
//! and an engine that may be silent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use agent::engine::Engine;
use agent::engine::docker::Docker;
use agent::model::desired::{Desired, Gate, Order, Service};
use agent::model::instance::{Identity, ImageRef, Instance, InstanceId, MountSpec, Phase, Template};
use agent::model::run::{Entry, RunId};
use agent::plan::diff::{NewInstance, OldInstance, Plan, Roll};
use agent::roll::{Hold, Journal, JournalError, Pace, Rolling};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const RUN: RunId = RunId(7);

/// Writes what this lets it.
pub(crate) struct Log<F>(pub(crate) F);

impl<F: Fn(&Entry) -> bool + Sync> Journal for Log<F> {
    async fn write(&self, entry: Entry) -> Result<(), JournalError> {
        (self.0)(&entry).then_some(()).ok_or_else(|| JournalError("the disk is full".into()))
    }
}

/// There is no nginx; it is kept who was let back.
#[derive(Default)]
struct Nowhere(Mutex<Vec<String>>);

impl Hold for Nowhere {
    fn hold<'a>(&'a self, _: &'a str) -> BoxFuture<'a, bool> {
        async { false }.boxed()
    }

    fn holds(&self, _: &str) -> bool {
        false
    }

    fn let_back<'a>(&'a self, service: &'a str) -> BoxFuture<'a, ()> {
        async { self.0.lock().unwrap().push(service.to_owned()) }.boxed()
    }
}

pub(crate) struct Site {
    pub(crate) engine: Docker,
    stack: String,
    folder: tempfile::TempDir,
    newer: CancellationToken,
    hold: Nowhere,
}

/// The service of a template, which has a minute where it is to end.
pub(crate) fn service(template: &Template, one_shot: bool) -> Service {
    let timeout = Duration::from_secs(60);
    Service {
        template: template.clone(),
        fingerprint: "f".into(),
        replicas: 1,
        order: Order::StartFirst,
        order_reason: String::new(),
        gate: Gate { health: false, probe: None, settle: Duration::ZERO, timeout },
        one_shot,
        proxy: false,
        after: Vec::new(),
        follows: Vec::new(),
        in_place: Vec::new(),
        stripe: None,
    }
}

impl Site {
    pub(crate) async fn new(fact: &str) -> Self {
        let stack = format!("agenttest-roll-{fact}");
        sweep(&stack);
        let engine = Docker::connect(None).await.expect("a Docker Engine answers");
        let folder = tempfile::tempdir().unwrap();
        Self { engine, stack, folder, newer: CancellationToken::new(), hold: Nowhere::default() }
    }

    /// Runs a script that sees the site's folder as `/out`.
    pub(crate) fn template(&self, script: &str) -> Template {
        Template {
            service: "once".into(),
            image: ImageRef { name: "agenttest-base:1".into(), id: String::new() },
            command: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
            network_mode: Some("none".into()),
            stop_grace_seconds: 1,
            mounts: vec![MountSpec::Bind {
                source: self.folder.path().display().to_string(),
                target: "/out".into(),
                read_only: false,
                propagation: None,
                selinux: None,
                create: false,
            }],
            ..Template::default()
        }
    }

    /// Runs a script beside an anonymous volume.
    pub(crate) fn keeping(&self, script: &str) -> Template {
        let volume =
            MountSpec::Volume { name: None, target: "/data".into(), read_only: false, nocopy: false };
        Template { mounts: vec![volume], ..self.template(script) }
    }

    pub(crate) async fn start(&self, service: &Service) -> InstanceId {
        self.start_in(service, RUN).await
    }

    pub(crate) async fn start_in(&self, service: &Service, run: RunId) -> InstanceId {
        let identity = Identity {
            stack: self.stack.clone(),
            number: 1,
            fingerprint: service.fingerprint.clone(),
            run,
            revision: "a".repeat(40).parse().unwrap(),
            addresses: BTreeMap::new(),
            admitted: false,
            volumes: BTreeMap::new(),
        };
        let id = self.engine.create(&service.template, &identity).await.unwrap();
        self.engine.start(&id).await.unwrap();
        id
    }

    pub(crate) async fn until(&self, id: &InstanceId, reached: impl Fn(Phase) -> bool) {
        while !reached(self.engine.condition(id).await.unwrap().phase) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn instances(&self) -> Vec<Instance> {
        self.engine.observe(&self.stack).await.unwrap().instances
    }

    pub(crate) fn desired(&self, service: &Service) -> Desired {
        Desired {
            stack: self.stack.clone(),
            revision: "a".repeat(40).parse().unwrap(),
            services: [(service.template.service.clone(), service.clone())].into(),
            networks: Vec::new(),
            volumes: Vec::new(),
            routes: Vec::new(),
            nginx: Default::default(),
        }
    }

    pub(crate) fn rolling<'a, J: Journal>(
        &'a self,
        engine: &'a Docker,
        journal: &'a J,
        desired: &'a Desired,
        plan: &'a Plan,
    ) -> Rolling<'a, Docker, J> {
        Rolling {
            engine,
            journal,
            hold: &self.hold,
            desired,
            before: None,
            plan,
            run: RUN,
            pace: Pace {
                probe_interval: Duration::from_millis(50),
                probe_timeout: Duration::from_secs(1),
                drain: Duration::from_secs(1),
                keep_removed: false,
            },
            newer: &self.newer,
            cut_off: None,
        }
    }

    /// The one service is rolled, and these go for it.
    pub(crate) fn plan(&self, old: Vec<OldInstance>) -> Plan {
        let roll = Roll {
            service: "once".into(),
            reason: String::new(),
            order: Order::StartFirst,
            order_reason: String::new(),
            wave: 0,
            new: vec![NewInstance { number: 1, addresses: BTreeMap::new(), volumes: BTreeMap::new() }],
            old,
            frees_for: Default::default(),
        };
        Plan {
            revision: "a".repeat(40).parse().unwrap(),
            builds: Vec::new(),
            rolls: vec![roll],
            removals: Vec::new(),
            refreshes: Vec::new(),
            unchanged: Vec::new(),
            drift: Vec::new(),
            addresses: BTreeMap::new(),
        }
    }

    pub(crate) fn let_back(&self) -> Vec<String> {
        self.hold.0.lock().unwrap().clone()
    }

    /// A volume that is a folder of the host: without that it cannot be mounted.
    pub(crate) fn bound_volume(&self) -> (String, PathBuf) {
        let (name, folder) = (format!("{}-volume", self.stack), self.folder.path().join("volume"));
        std::fs::create_dir(&folder).unwrap();
        self.drop_volume(&name);
        let device = format!("device={}", folder.display());
        assert!(docker(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, &name]).0);
        (name, folder)
    }

    /// Until the script has made this file.
    pub(crate) async fn until_there(&self, file: &str) {
        while !self.folder.path().join(file).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the script has come to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.folder.path().join("done").exists()
    }

    pub(crate) fn has_volume(&self, name: &str) -> bool {
        docker(&["volume", "inspect", name]).0
    }

    pub(crate) fn drop_volume(&self, name: &str) {
        docker(&["volume", "rm", "-f", name]);
    }

    /// The same engine, by way of somebody who may keep silent.
    pub(crate) async fn flaky(&self) -> (Docker, Silence) {
        let path = self.folder.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let silence = Silence(watch::Sender::new(false));
        let silent = silence.0.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut silent = silent.subscribe();
                tokio::spawn(async move {
                    if *silent.borrow() {
                        return;
                    }
                    let mut engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut stream, &mut engine) => {}
                        _ = silent.wait_for(|silent| *silent) => {}
                    }
                });
            }
        });
        (Docker::connect(path.to_str()).await.unwrap(), silence)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        sweep(&self.stack);
    }
}

pub(crate) struct Silence(watch::Sender<bool>);

impl Silence {
    pub(crate) fn begin(&self, time: Duration) {
        let silent = self.0.clone();
        silent.send_replace(true);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            silent.send_replace(false);
        });
    }
}

fn docker(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("docker").args(arguments).output().expect("the docker program");
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn sweep(stack: &str) {
    for label in ["stack", "aside"] {
        let (_, ids) = docker(&["ps", "-aq", "--filter", &format!("label=agent.{label}={stack}")]);
        for id in ids.lines() {
            docker(&["rm", "-fv", id]);
        }
    }
}
