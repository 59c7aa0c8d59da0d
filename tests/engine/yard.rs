//! A stack of its own for each fact, swept before (a crashed run may have left things) and after, and the
//! `docker` program as a second witness.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use agent::engine::Engine;
use agent::model::instance::{
    Condition, Identity, ImageRef, Instance, InstanceId, NetworkSpec, NetworkUse, Phase, Template,
};
use agent::model::run::RunId;

pub(crate) const BASE: &str = "agenttest-base:1";
/// Runs until it is told to end, then ends at once.
pub(crate) const IDLE: &str = "trap 'exit 0' TERM; sleep 3600 & wait";
/// Far longer than anything here takes: it only bounds a test that has already failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Yard {
    pub(crate) stack: String,
}

impl Yard {
    pub(crate) fn swept(fact: &str) -> Self {
        let yard = Self { stack: format!("agenttest-{}", fact.replace('_', "-")) };
        yard.sweep();
        let there = Command::new("docker").args(["image", "inspect", BASE]).output().unwrap();
        assert!(there.status.success(), "image {BASE} is missing: run `script/bootstrap --test`");
        yard
    }

    /// A name for something that does not belong to the stack, and is swept all the same.
    pub(crate) fn foreign(&self, name: &str) -> String {
        format!("{}-x-{name}", self.stack)
    }

    /// Different each time, so that nothing is in a build cache.
    pub(crate) fn session(&self) -> String {
        format!("{}-{}", std::process::id(), chrono::Utc::now().timestamp_micros())
    }

    pub(crate) fn network(&self) -> NetworkSpec {
        NetworkSpec {
            key: "default".to_owned(),
            name: format!("{}_default", self.stack),
            ..Default::default()
        }
    }

    /// On no network, running a shell script.
    pub(crate) fn template(&self, service: &str, script: &str) -> Template {
        Template {
            service: service.to_owned(),
            image: ImageRef { name: BASE.to_owned(), id: String::new() },
            command: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
            network_mode: Some("none".to_owned()),
            stop_grace_seconds: 5,
            ..Default::default()
        }
    }

    /// On the stack's default network, under the service's name.
    pub(crate) fn networked(&self, service: &str, script: &str) -> Template {
        let uses = NetworkUse {
            network: self.network().name,
            aliases: vec![service.to_owned()],
            ..Default::default()
        };
        Template { network_mode: None, networks: vec![uses], ..self.template(service, script) }
    }

    pub(crate) fn identity(&self, number: u32) -> Identity {
        Identity {
            stack: self.stack.clone(),
            number,
            fingerprint: format!("fingerprint-{number}"),
            run: RunId(7),
            revision: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            addresses: BTreeMap::new(),
            admitted: false,
            volumes: BTreeMap::new(),
        }
    }

    pub(crate) fn addressed(&self, number: u32, address: Ipv4Addr) -> Identity {
        Identity { addresses: BTreeMap::from([(self.network().name, address)]), ..self.identity(number) }
    }

    pub(crate) async fn started(
        &self,
        engine: &impl Engine,
        template: &Template,
        identity: &Identity,
    ) -> InstanceId {
        let id = engine.create(template, identity).await.unwrap();
        engine.start(&id).await.unwrap();
        id
    }

    /// Runs a script to its end in a new instance and gives its output.
    pub(crate) async fn output(&self, engine: &impl Engine, template: &Template) -> String {
        let id = self.started(engine, template, &self.identity(1)).await;
        let ended = self.until(engine, &id, |c| matches!(c.phase, Phase::Exited(_))).await;
        let output = engine.logs(&id, 1000).await.unwrap();
        assert_eq!(ended.phase, Phase::Exited(0), "{output}");
        engine.remove(&id).await.unwrap();
        output
    }

    pub(crate) async fn until(
        &self,
        engine: &impl Engine,
        id: &InstanceId,
        reached: impl Fn(&Condition) -> bool,
    ) -> Condition {
        let waiting = async {
            loop {
                let condition = engine.condition(id).await.unwrap();
                if reached(&condition) {
                    return condition;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it never came to that")
    }

    pub(crate) async fn seen(&self, engine: &impl Engine, id: &InstanceId) -> Instance {
        let observed = engine.observe(&self.stack).await.unwrap();
        observed.instances.into_iter().find(|instance| instance.id == *id).expect("it is observed")
    }

    /// What the `docker` program says; it must succeed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let (success, output) = self.try_docker(arguments);
        assert!(success, "docker {arguments:?}: {output}");
        output
    }

    pub(crate) fn try_docker(&self, arguments: &[&str]) -> (bool, String) {
        let done = Command::new("docker").args(arguments).output().unwrap();
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(text).unwrap().trim().to_owned())
    }

    pub(crate) fn inspect(&self, id: &InstanceId, format: &str) -> String {
        self.docker(&["inspect", "--format", format, &id.0])
    }

    /// By name, so that also what lost its label is found. Names are the stack's, with a separator after it.
    fn sweep(&self) {
        let named = |list: &[&str]| {
            let (_, listed) = self.try_docker(list);
            let ours = |name: &&str| {
                // An image's name may begin with a registry.
                let rest = name.rsplit('/').next().and_then(|name| name.strip_prefix(&self.stack));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', ':', '/']))
            };
            listed.lines().filter(ours).map(str::to_owned).collect::<Vec<_>>()
        };
        let aside = format!("label=agent.aside={}", self.stack);
        let labelled = format!("label=agent.stack={}", self.stack);
        for filter in [&aside, &labelled] {
            let (_, ids) = self.try_docker(&["ps", "-aq", "--filter", filter]);
            ids.lines().for_each(|id| drop(self.try_docker(&["rm", "-fv", id])));
        }
        for name in named(&["ps", "-a", "--format", "{{.Names}}"]) {
            self.try_docker(&["rm", "-fv", &name]);
        }
        for name in named(&["network", "ls", "--format", "{{.Name}}"]) {
            self.try_docker(&["network", "rm", &name]);
        }
        for name in named(&["volume", "ls", "--format", "{{.Name}}"]) {
            self.try_docker(&["volume", "rm", &name]);
        }
        for name in named(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]) {
            self.try_docker(&["image", "rm", &name]);
        }
        // What lost its names.
        for filter in [labelled, format!("label=agenttest={}", self.stack)] {
            let (_, ids) = self.try_docker(&["image", "ls", "-q", "--filter", &filter]);
            ids.lines().for_each(|id| drop(self.try_docker(&["image", "rm", id])));
        }
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        self.sweep();
    }
}
