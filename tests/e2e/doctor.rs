//! `agent check` beside a machine in order, and beside one fault after the other.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::stack::{self, COMPOSE};
use crate::world::World;

struct Checked {
    good: bool,
    findings: Vec<Value>,
}

impl Checked {
    /// What is wrong or doubtful about one thing, with its mend.
    fn says(&self, what: &str, found: &str, mend: &str) {
        let about =
            self.findings.iter().filter(|finding| finding["what"] == what && finding["level"] != "good");
        let holds = |value: &Value, text: &str| value.as_str().is_some_and(|said| said.contains(text));
        let said =
            about.clone().any(|finding| holds(&finding["found"], found) && holds(&finding["mend"], mend));
        assert!(said, "{what}: {found} … {mend} is not among {:#?}", self.findings);
    }
}

/// Runs the program as a person does.
fn check(config: &Path) -> Checked {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    let output = command.args(["check", "--json", "--config"]).arg(config).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let answer: Value = serde_json::from_slice(&output.stdout).expect(&said);
    let good = answer["good"].as_bool().unwrap();
    assert_eq!(output.status.success(), good, "{said}");
    Checked { good, findings: answer["findings"].as_array().unwrap().clone() }
}

/// A pushed stack that was never live, and its configuration.
fn ready() -> (World, String) {
    let world = World::empty();
    stack::write(&world.repo, COMPOSE);
    world.repo.push("the first version");
    let text = fs::read_to_string(world.write_config()).unwrap();
    (world, text)
}

fn with(world: &World, text: &str) -> Checked {
    let path = world.path().join("doubtful.toml");
    fs::write(&path, text).unwrap();
    check(&path)
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in the configuration");
    text.replacen(from, to, 1)
}

#[test]
fn faults_of_the_machine_are_found_with_their_mend() {
    let (world, text) = ready();
    let at = world.path().display().to_string();
    let fine = with(&world, &text);
    assert!(fine.good, "{:#?}", fine.findings);
    fine.says("daemon", "none runs", "systemctl enable --now agent");
    assert!(!world.state().exists(), "a check leaves nothing behind");

    let engine = with(&world, &format!("{text}\n[engine]\nsocket = \"{at}/nobody.sock\"\n"));
    assert!(!engine.good);
    engine.says("engine", "does not answer", "systemctl start docker");
    engine.says("stack", "needs the engine", "agent check");

    with(&world, &format!("{text}\n[build]\nmin_free_disk = \"900t\"\n")).says(
        "disk",
        "MiB free below",
        "docker system df",
    );

    fs::write(world.path().join("file"), "").unwrap();
    let state = with(&world, &replaced(&text, &format!("{at}/state"), &format!("{at}/file/state")));
    state.says("state folder", "is not a folder", "change `state`");

    let secret = world.path().join("secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = with(&world, &text);
    exposed.says("webhook.github.secret_files", "mode 0644", &format!("chmod 600 {}", secret.display()));
    fs::rename(&secret, world.path().join("elsewhere")).unwrap();
    with(&world, &text).says("webhook.github.secret_files", "cannot be read", "exists");
    fs::rename(world.path().join("elsewhere"), &secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();

    let hooks = text.lines().find(|line| line.starts_with("listen = ")).unwrap();
    let port: u16 = hooks.trim_end_matches('"').rsplit(':').next().unwrap().parse().unwrap();
    let somebody = TcpListener::bind(("127.0.0.1", port)).unwrap();
    with(&world, &text).says("webhook", "cannot be listened on", &format!("sport = :{port}"));
    drop(somebody);

    let somebody = TcpListener::bind(("0.0.0.0", world.port)).unwrap();
    let ports = with(&world, &text);
    ports.says("ports", &format!("nginx wants port {}", world.port), "docker ps");
    drop(somebody);

    let deaf = replaced(&text, "secret_files = ", "#");
    with(&world, &deaf).says("poll.schedule", "will ever wake the agent", "turn one of them on");
}

#[test]
fn faults_of_the_remote_and_the_stack_are_found_with_their_mend() {
    let (mut world, text) = ready();
    let branch = replaced(&text, "[source]\n", "[source]\nbranch = \"trunk\"\n");
    with(&world, &branch).says("remote", "has no branch `trunk` (it has main)", "follow another one");

    let env = world.path().join("env");
    let variables = fs::read_to_string(&env).unwrap();
    fs::write(&env, "PORT").unwrap();
    with(&world, &text).says("stack", "the variable `PORT` is not set", "agent plan");
    fs::write(&env, variables).unwrap();

    world.repo.change(
        "compose.yaml",
        &COMPOSE.replace("  api:\n    <<: *app\n", "  api:\n    <<: *app\n    imagee: x\n"),
    );
    with(&world, &text).says("stack", "compose.yaml:", "image");
    world.repo.change("compose.yaml", &COMPOSE.replace("  web:\n", "  web:\n    privileged: true\n"));
    with(&world, &text).says("stack", "privileged", "allow_privileged");
    world.repo.change("compose.yaml", &COMPOSE.replace("    labels:\n      agent.nginx: \"true\"\n", ""));
    with(&world, &text).says("stack", "nginx", "label agent.nginx");
    world.repo.change("compose.yaml", "services:\n  web:\n    build: ./web\n");
    let token = world.path().join("secret");
    let dashboard = format!("[dashboard]\npublish = \"/agent/\"\ntoken_file = \"{}\"\n", token.display());
    let published = with(&world, &format!("{text}\n{dashboard}"));
    published.says("stack", "label agent.nginx: the agent's dashboard is not published", "agent plan");
    published.says("dashboard.publish", "on the same host", "agent.example.com/");
    world.repo.change("compose.yaml", COMPOSE);
    world.repo.change("web/Dockerfile", "FROM agenttest-nowhere:1\n");
    with(&world, &text).says("stack", "agenttest-nowhere:1", "");

    world.stop_git();
    let gone = with(&world, &text);
    assert!(!gone.good);
    gone.says("remote", "cannot reach", "");
}

#[test]
fn a_live_stack_is_in_order_and_a_newer_record_is_not() {
    let mut world = World::live_at_once();
    let config = world.path().join("agent.toml");
    let fine = check(&config);
    assert!(fine.good, "{:#?}", fine.findings);
    assert!(fine.findings.iter().any(|finding| finding["what"] == "daemon" && finding["level"] == "good"));
    let text = fs::read_to_string(&config).unwrap();
    let hooks = text.lines().find(|line| line.starts_with("listen = ")).unwrap();
    let elsewhere = format!("listen = \"127.0.0.1:{}\"", world.spare_port());
    with(&world, &text.replace(hooks, &elsewhere)).says("webhook", "is not to be had", "agent reload");
    let published = with(&world, &text.replace(hooks, &format!("{hooks}\npublish = \"/webhooks/\"")));
    published.says("webhook", "nginx does not pass on /webhooks/", "agent logs");
    world.kill();
    let database = rusqlite::Connection::open(world.state().join("agent.db")).unwrap();
    let ahead = "UPDATE entries SET at = at + 3600000";
    let runs = "UPDATE runs SET started_at = started_at + 3600000";
    database.execute_batch(&format!("{runs}; {ahead}")).unwrap();
    check(&config).says("clock", "the clock was set back", "timedatectl set-ntp true");
    database.pragma_update(None, "user_version", 9_000).unwrap();
    let newer = check(&config);
    assert!(!newer.good);
    newer.says("record", "newer", "");
}

#[test]
fn webhooks_that_nginx_does_not_bring_to_the_agent_are_found() {
    let mut world = World::empty();
    world.publish_webhooks();
    stack::write(&world.repo, COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let config = world.path().join("agent.toml");
    let fine = check(&config);
    let passed = |finding: &Value| finding["what"] == "webhook" && finding["level"] == "good";
    assert!(fine.good && fine.findings.iter().any(passed), "{:#?}", fine.findings);
    // nginx is there, and the agent is not to be had behind it.
    fs::remove_file(world.state().join("nginx/hooks.sock")).unwrap();
    let deaf = check(&config);
    assert!(!deaf.good);
    deaf.says("webhook", "nginx does not pass on /webhooks/", "agent logs");
    deaf.says("webhook", "answered 502", "agent logs");
}
