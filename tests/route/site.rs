//! A network with an nginx and apps on it, swept before (a crashed run may have left things) and after.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use agent::engine::Engine;
use agent::engine::docker::Docker;
use agent::model::instance::{
    Identity, ImageRef, InstanceId, MountSpec, NetworkFacts, NetworkSpec, NetworkUse, Template,
};
use agent::model::place::Place;
use agent::model::run::RunId;
use agent::plan::address::next_address;
use agent::plan::nginx::{Options, Route, Upstreams, render};
use agent::route::{LIVE, MOUNTED, Nginx, Running};

use crate::client::status;

pub(crate) struct Site {
    pub(crate) engine: Docker,
    stack: String,
    pub(crate) folder: tempfile::TempDir,
    template: Template,
    facts: NetworkFacts,
    last: Cell<Option<Ipv4Addr>>,
    number: Cell<u32>,
    running: RefCell<Option<Running>>,
}

pub(crate) struct App {
    pub(crate) id: InstanceId,
    pub(crate) address: Ipv4Addr,
}

impl Site {
    /// Without a running nginx, and with an empty folder for it.
    pub(crate) async fn new(fact: &str) -> Self {
        let stack = format!("agenttest-route-{}", fact.replace('_', "-"));
        sweep(&stack);
        let engine = Docker::connect(None).await.expect("a Docker Engine answers");
        let network = format!("{stack}_default");
        let spec = NetworkSpec { key: "default".into(), name: network.clone(), ..NetworkSpec::default() };
        engine.ensure_network(&stack, &spec).await.unwrap();
        let facts = engine.observe(&stack).await.unwrap().networks[&network].clone();
        let folder = tempfile::tempdir().unwrap();
        let template = Template {
            command: Some(
                ["nginx", "-c", &format!("{MOUNTED}/{LIVE}"), "-g", "daemon off;"].map(str::to_owned).into(),
            ),
            mounts: vec![MountSpec::Bind {
                source: folder.path().display().to_string(),
                target: MOUNTED.to_owned(),
                read_only: true,
                propagation: None,
                selinux: None,
                create: false,
            }],
            ..template("nginx", &nginx_image(), &network)
        };
        let (last, number, running) = (Cell::new(None), Cell::new(0), RefCell::new(None));
        Self { engine, stack, folder, template, facts, last, number, running }
    }

    /// Starts nginx with these routes, from an empty folder.
    pub(crate) async fn serve(&self, routes: &[Route], upstreams: &Upstreams) {
        self.serve_text(&text(routes, upstreams)).await;
    }

    pub(crate) async fn serve_text(&self, text: &str) {
        self.nginx().switch(text).await.unwrap();
        let App { id, address } = self.start(&self.template).await;
        *self.running.borrow_mut() = Some(Running { id, address });
        self.until_up().await;
    }

    pub(crate) async fn until_up(&self) {
        for _ in 0..500 {
            if status(self.address(), 8099, "x", "/generation").await == Ok(200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nginx does not answer: {}", self.nginx_log().await);
    }

    pub(crate) fn nginx(&self) -> Nginx<'_, Docker> {
        Nginx {
            engine: &self.engine,
            stack: &self.stack,
            folder: self.folder.path(),
            template: &self.template,
            running: self.running.borrow().clone(),
            generation_port: 8099,
            away: Default::default(),
        }
    }

    pub(crate) fn nginx_id(&self) -> InstanceId {
        self.running.borrow().as_ref().unwrap().id.clone()
    }

    /// Where nginx is reached.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.running.borrow().as_ref().unwrap().address
    }

    /// Where containers reach this process.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.facts.gateway.unwrap()
    }

    pub(crate) async fn nginx_log(&self) -> String {
        self.engine.logs(&self.nginx_id(), 100).await.unwrap()
    }

    /// The last line of nginx's log with this in it. The engine reads it a moment after the answer was sent.
    pub(crate) async fn logged(&self, what: &str) -> String {
        for _ in 0..100 {
            if let Some(line) = self.nginx_log().await.lines().rfind(|line| line.contains(what)) {
                return line.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nginx never logged {what}");
    }

    pub(crate) fn live(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(LIVE)).unwrap()
    }

    /// A container that answers `text` on port 8000, at `/` and at `/NAME/`, and `text got N` to a body of N bytes
    /// at `/cgi-bin/version`.
    pub(crate) async fn app(&self, name: &str, text: &str) -> App {
        let script = format!(
            "mkdir -p /www/{name} /www/cgi-bin; echo '{text}' | tee /www/index.html > /www/{name}/index.html; \
             printf '#!/bin/sh\necho; echo \"{text} got $(wc -c)\"' > /www/cgi-bin/version; \
             chmod +x /www/cgi-bin/version; exec httpd -f -p 8000 -h /www"
        );
        let command = Some(["sh", "-c", &script].map(str::to_owned).into());
        let network = &self.template.networks[0].network;
        let app = self.start(&Template { command, ..template(name, "agenttest-base:1", network) }).await;
        while status(app.address, 8000, "x", "/").await != Ok(200) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        app
    }

    async fn start(&self, template: &Template) -> App {
        let address = next_address(&self.facts, self.last.get(), &BTreeSet::new()).unwrap();
        self.last.set(Some(address));
        self.number.set(self.number.get() + 1);
        let identity = Identity {
            stack: self.stack.clone(),
            number: self.number.get(),
            fingerprint: "f".into(),
            run: RunId(1),
            revision: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            addresses: BTreeMap::from([(template.networks[0].network.clone(), address)]),
            admitted: true,
            volumes: BTreeMap::new(),
        };
        let id = self.engine.create(template, &identity).await.unwrap();
        self.engine.start(&id).await.unwrap();
        App { id, address }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        sweep(&self.stack);
    }
}

fn template(service: &str, image: &str, network: &str) -> Template {
    Template {
        service: service.to_owned(),
        image: ImageRef { name: image.to_owned(), id: String::new() },
        networks: vec![NetworkUse { network: network.to_owned(), ..NetworkUse::default() }],
        stop_grace_seconds: 1,
        ..Template::default()
    }
}

fn sweep(stack: &str) {
    let docker = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).output().expect("the docker program");
        String::from_utf8(output.stdout).unwrap()
    };
    for label in ["stack", "aside"] {
        let filter = format!("label=agent.{label}={stack}");
        for id in docker(&["ps", "-aq", "--filter", &filter]).lines() {
            docker(&["rm", "-fv", id]);
        }
        for id in docker(&["network", "ls", "-q", "--filter", &filter]).lines() {
            docker(&["network", "rm", id]);
        }
    }
}

/// The stack's, or another one to try.
fn nginx_image() -> String {
    std::env::var("AGENT_TEST_NGINX").unwrap_or_else(|_| "nginx:1.30".to_owned())
}

pub(crate) fn text(routes: &[Route], upstreams: &Upstreams) -> String {
    render(routes, upstreams, &Options::default()).unwrap()
}

pub(crate) fn route(service: &str, path: &str) -> Route {
    Route {
        service: service.into(),
        name: String::new(),
        place: Place::new("compose.yaml", 3, 7),
        listen: 80,
        host: None,
        path: path.into(),
        strip: false,
        port: 8000,
        websocket: false,
        body_size: None,
        timeout: None,
    }
}

pub(crate) fn upstreams(services: &[(&str, Ipv4Addr)]) -> Upstreams {
    services.iter().map(|(service, address)| ((*service).to_owned(), vec![*address])).collect()
}
