//! One small company: a repository on a server, a machine with an engine, an agent, and a site.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use agent::config::Config;
use agent::record::Record;
use hmac::{Hmac, KeyInit, Mac};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::daemon::{self, Daemon};
use crate::docker;
use crate::git_repo::Repo;
use crate::git_server::HttpServer;
use crate::http::{self, Answer};
use crate::stack;

const SECRET: &str = "the webhook's secret";
/// Only a fact that does not show itself takes so long.
const PATIENCE: Duration = Duration::from_secs(40);

const ROLL: &str = "[roll]\nhealth_timeout = \"10s\"\nsettle = \"300ms\"\ndrain = \"3s\"";

pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) repo: Repo,
    pub(crate) git: Option<HttpServer>,
    /// Where the site answers.
    pub(crate) port: u16,
    pub(crate) daemon: Option<Daemon>,
    /// Appended to the configuration.
    pub(crate) settings: String,
    /// More keys of `[roll]`.
    pub(crate) roll: String,
    /// Where the agent fetches from.
    pub(crate) url: String,
    /// Where its webhooks are told: on a port of the agent's own, or through nginx.
    hooks: u16,
    runtime: Runtime,
    folder: TempDir,
}

impl World {
    /// Nothing pushed, no daemon.
    pub(crate) fn empty() -> Self {
        docker::sweep_leftovers();
        let folder = tempfile::tempdir().expect("folder");
        let repo = Repo::new(folder.path(), "shop");
        let git = HttpServer::start(folder.path());
        let url = git.url("shop");
        repo.git(&["remote", "set-url", "origin", &url]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self {
            name: docker::new_name(),
            repo,
            git: Some(git),
            port: free_port(),
            hooks: free_port(),
            url,
            daemon: None,
            roll: String::new(),
            settings: "[poll]\nschedule = \"off\"\n".to_owned(),
            runtime,
            folder,
        }
    }

    /// Both apps are live in their first version.
    pub(crate) fn live_at_once() -> Self {
        Self::live_with(stack::COMPOSE)
    }

    pub(crate) fn live_with(compose: &str) -> Self {
        let mut world = Self::empty();
        stack::write(&world.repo, compose);
        let revision = world.repo.push("the first version");
        world.start();
        world.live(&revision);
        world
    }

    /// A port that nobody has.
    pub(crate) fn spare_port(&self) -> u16 {
        free_port()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state().join(agent::app::control::SOCKET)
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.path().join("daemon.log")
    }

    /// Writes the configuration and starts a daemon with it; returns when it answers.
    pub(crate) fn start(&mut self) {
        let (config, clock) = (self.write_config(), self.clock());
        self.daemon = Some(match clock.exists() {
            true => Daemon::with_clock(&config, &self.log_file(), &clock),
            false => Daemon::start(&config, &self.log_file()),
        });
        self.eventually("an agent that answers", || self.try_status());
    }

    fn clock(&self) -> PathBuf {
        self.path().join("clock")
    }

    /// Before the start, its clock comes into our hands; later, it is moved: by so many hours from the machine's.
    pub(crate) fn set_clock(&self, hours: i64) {
        let new = self.path().join("clock.new");
        fs::write(&new, format!("{hours:+}h\n")).expect("the clock");
        fs::rename(&new, self.clock()).expect("the clock");
    }

    pub(crate) fn write_config(&self) -> PathBuf {
        let at = self.path().display();
        for (name, text) in [("secret", SECRET.to_owned()), ("env", format!("PORT={}\n", self.port))] {
            let file = self.path().join(name);
            if !file.exists() {
                fs::write(&file, text).expect(name);
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect(name);
            }
        }
        let text = format!(
            "state = \"{at}/state\"\n\
             [stack]\nname = \"{}\"\ncompose = [\"compose.yaml\"]\nenv_file = \"{at}/env\"\n\
             [webhook]\n{}\n\
             [webhook.github]\nsecret_files = [\"{at}/secret\"]\nrepository = \"acme/shop\"\n\
             {}\n{}\n{}",
            self.name,
            match self.hooks == self.port {
                true => "listen = \"\"\npublish = \"/webhooks/\"".to_owned(),
                false => format!("listen = \"127.0.0.1:{}\"", self.hooks),
            },
            if self.settings.contains("[roll]") { String::new() } else { format!("{ROLL}\n{}", self.roll) },
            if self.settings.contains("[source]") { String::new() } else { self.source("") },
            self.settings,
        );
        let path = self.path().join("agent.toml");
        fs::write(&path, text).expect("configuration");
        path
    }

    /// The section on the source, with more keys.
    pub(crate) fn source(&self, more: &str) -> String {
        let url = &self.url;
        format!("[source]\nurl = \"{url}\"\nconnect_timeout = \"1s\"\nread_timeout = \"1s\"\n{more}\n")
    }

    /// From the next start on, webhooks come in through nginx alone.
    pub(crate) fn publish_webhooks(&mut self) {
        self.hooks = self.port;
    }

    /// From now on pushes reach the repository beside the server.
    pub(crate) fn push_beside_the_server(&self) {
        self.repo.git(&["remote", "set-url", "origin", self.repo.bare.to_str().expect("UTF-8")]);
    }

    /// The server is gone; its port is free.
    pub(crate) fn stop_git(&mut self) -> u16 {
        self.push_beside_the_server();
        let server = self.git.take().expect("a server");
        server.address.port()
    }

    pub(crate) fn start_git(&mut self, port: u16) {
        self.git = Some(HttpServer::start_on(self.folder.path(), port));
    }

    /// The daemon ends as the kernel ends it.
    pub(crate) fn kill(&mut self) {
        self.daemon.take().expect("a daemon").kill();
    }

    /// Asks the record, as `agent history` does with the daemon down.
    pub(crate) fn record<T>(&self, ask: impl AsyncFnOnce(Record) -> T) -> T {
        let config = Config::load(&self.path().join("agent.toml")).expect("configuration");
        self.runtime.block_on(async { ask(agent::app::lookup(&config).expect("a record")).await })
    }

    /// Waits until it shows itself.
    pub(crate) fn eventually<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        self.within(PATIENCE, what, look)
    }

    pub(crate) fn within<T>(&self, patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            assert!(start.elapsed() < patience, "waited {patience:?} for {what}");
            // Each look costs the agent work that the tests beside this one need.
            std::thread::sleep(Duration::from_millis(80));
        }
    }

    /// Changes an app's version, and nothing else.
    pub(crate) fn push_version(&self, app: &str, version: u32) -> String {
        self.repo.change(&format!("{app}/version.txt"), &format!("{app} {version}\n"))
    }

    /// Rewrites the compose file by replacing something in it.
    pub(crate) fn push_compose(&self, from: &str, to: &str) -> String {
        let text = fs::read_to_string(self.repo.tree().join("compose.yaml")).expect("compose file");
        assert!(text.contains(from), "{from:?} is not in the compose file");
        self.repo.change("compose.yaml", &text.replacen(from, to, 1))
    }

    /// GitHub tells of a push.
    pub(crate) fn deliver(&self, revision: &str) -> Answer {
        let answer = self.deliver_signed(revision, SECRET);
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer
    }

    pub(crate) fn deliver_signed(&self, revision: &str, secret: &str) -> Answer {
        let body = serde_json::json!({
            "ref": "refs/heads/main", "after": revision, "deleted": false, "forced": false,
            "repository": { "full_name": "acme/shop" },
        })
        .to_string();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
        mac.update(body.as_bytes());
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let headers = [
            ("Content-Type", "application/json"),
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", &format!("{revision}-{secret}").replace(['\'', ' '], "-")),
            ("X-Hub-Signature-256", signature.as_str()),
        ];
        http::tcp(self.hooks, "POST", "/webhooks/github", &headers, &body).expect("an answer")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.port, path).expect("the site answers")
    }

    /// What an app says of itself.
    pub(crate) fn says(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body.trim().to_owned()
    }

    /// Asks both apps all the time.
    pub(crate) fn client(&self) -> Client {
        Client::start(self.port, stack::BOTH)
    }

    /// A connection that is open and says nothing, from the host to a service's container.
    pub(crate) fn connect_to(&self, service: &str) -> TcpStream {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = docker::docker(&["inspect", "-f", format, &self.container(service)]);
        TcpStream::connect((address.as_str(), 8000)).expect("a connection to the app")
    }

    pub(crate) fn running(&self) -> BTreeMap<String, Vec<String>> {
        docker::running(&self.name)
    }

    /// One container for each service, and nothing beside them but one that failed and is kept for its logs, and what
    /// has prepared something.
    pub(crate) fn whole(&self) {
        self.whole_with(&["web", "api"]);
    }

    /// The same for any apps behind nginx; one with several containers is named as often.
    pub(crate) fn whole_with(&self, apps: &[&str]) {
        let services = apps.len() + 1;
        let filter = format!("label=agent.stack={}", self.name);
        let aside = format!("label=agent.aside={}", self.name);
        self.eventually("one container each", || {
            let all = docker::docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}} {{.State}}"]);
            let failed = |line: &&str| line.contains("-failed-in-run-") && line.ends_with(" exited");
            let one_shot = |line: &&str| line.contains("-prepare-") && line.ends_with(" exited");
            let (kept, serving): (Vec<&str>, Vec<&str>) =
                all.lines().filter(|line| !one_shot(line)).partition(failed);
            let running = serving.iter().filter(|line| line.ends_with(" running")).count();
            let beside =
                docker::docker(&["ps", "-a", "--filter", &aside, "--format", "{{.Names}} {{.State}}"]);
            let kept = kept.len() + beside.lines().filter(failed).count();
            let beside = beside.lines().filter(|line| !failed(line)).count();
            (running == services && serving.len() == services && beside == 0 && kept <= 1).then_some(())
        });
        let running = self.running();
        for service in apps.iter().chain(&["nginx"]) {
            let wanted = apps.iter().filter(|app| *app == service).count().max(1);
            assert_eq!(running.get(*service).map(Vec::len), Some(wanted), "{service}: {running:?}");
        }
    }

    /// The one running container of a service.
    pub(crate) fn container(&self, service: &str) -> String {
        let running = self.running();
        let ids = running.get(service).unwrap_or_else(|| panic!("{service} does not run: {running:?}"));
        assert_eq!(ids.len(), 1, "{service} runs {} times", ids.len());
        ids[0].clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.daemon.take());
        if std::thread::panicking() {
            eprintln!("--- the daemon's last words\n{}", daemon::tail(&self.log_file(), 60));
            eprintln!("{}", docker::try_docker(&["ps", "-a", "--filter", &format!("name={}", self.name)]).1);
        }
        docker::sweep(&self.name);
    }
}

/// Below the ports that the kernel gives away by itself, out of a block of sixteen. Its last one is held, at an address
/// that nobody else uses, for as long as this process lives: tests that run beside this one take another block.
pub(crate) fn free_port() -> u16 {
    static BLOCK: Mutex<Option<(TcpListener, u16)>> = Mutex::new(None);
    let mut block = BLOCK.lock().unwrap();
    loop {
        let (held, next) = block.get_or_insert_with(|| {
            let last = |n: u32| 20_015 + ((std::process::id() + n) * 16 % 12_000) as u16;
            let held = (0..).find_map(|n| TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), last(n))).ok());
            let held = held.expect("a free block of ports");
            let first = held.local_addr().expect("its port").port() - 15;
            (held, first)
        });
        let port = *next;
        *next += 1;
        if port == held.local_addr().expect("its port").port() {
            *block = None;
        } else if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
