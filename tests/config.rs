//! The shipped `agent.toml` is the documentation and the defaults: this holds it to both, and shows what people
//! read when a value is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use agent::config::{Config, ConfigError, SecretFile};
use agent::model::forge::Forge;
use serde_json::Value;

const SHIPPED: &str = include_str!("../agent.toml");
/// No default could be right for these.
const REQUIRED: [&str; 2] = ["stack.name", "source.url"];

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("agent.toml"), text)
}

fn refused(text: &str) -> ConfigError {
    parse(text).expect_err("this must be refused")
}

/// Every key, dotted, with its default as serde writes it.
fn keys() -> BTreeMap<String, Value> {
    fn walk(path: &str, value: Value, out: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                    walk(&path, inner, out);
                }
            }
            leaf => {
                out.insert(path.to_owned(), leaf);
            }
        }
    }
    let mut out = BTreeMap::new();
    walk("", serde_json::to_value(Config::default()).unwrap(), &mut out);
    out
}

/// The lines of the shipped file that set a key: the key, dotted, and the line's index.
fn settings() -> BTreeMap<String, usize> {
    let mut table = String::new();
    let mut out = BTreeMap::new();
    for (index, line) in SHIPPED.lines().enumerate() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert_eq!(out.insert(format!("{table}{key}"), index), None, "{key} is set twice");
        }
    }
    out
}

/// The shipped file with one key set to something else.
fn shipped_with(key: &str, value: &str) -> String {
    let at = settings()[key];
    let name = key.rsplit('.').next().unwrap();
    let changed = SHIPPED
        .lines()
        .enumerate()
        .map(|(index, line)| if index == at { format!("{name} = {value}\n") } else { format!("{line}\n") });
    changed.collect()
}

#[test]
fn the_shipped_file_says_the_defaults() {
    let mut shipped = parse(SHIPPED).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let defaults = Config::default();
    shipped.stack.name = defaults.stack.name.clone();
    shipped.source.url = defaults.source.url.clone();
    assert_eq!(shipped, defaults);
}

#[test]
fn every_key_is_in_the_shipped_file_and_documented() {
    let settings = settings();
    assert_eq!(settings.keys().collect::<Vec<_>>(), keys().keys().collect::<Vec<_>>());
    let lines: Vec<&str> = SHIPPED.lines().collect();
    for (key, index) in settings {
        let above = lines[index - 1];
        assert!(
            above.starts_with("# ") && above.ends_with(['.', ':']),
            "{key} has no comment right above it"
        );
    }
}

#[test]
fn only_the_required_keys_must_be_written() {
    let config = parse("stack.name = \"shop\"\nsource.url = \"file:///srv/shop.git\"\n").unwrap();
    assert_eq!(config.stack.name, "shop");
    let missing: Vec<String> = refused("").problems().iter().map(|problem| problem.key.clone()).collect();
    assert_eq!(missing, REQUIRED);
}

/// One value for each key that must be refused.
const REJECTED: &[(&str, &str)] = &[
    ("state", "\"~/agent\""),
    ("stack.name", "\"My Shop\""),
    ("stack.compose", "[\"../other/compose.yaml\"]"),
    ("stack.profiles", "[\"two words\"]"),
    ("stack.env_file", "\"credential:a/b\""),
    ("source.url", "\"https://me:hunter2@github.com/you/shop.git\""),
    ("source.branch", "\"refs/heads/main\""),
    ("source.token_file", "\"ghp_0123456789abcdefABCDEF\""),
    ("source.username", "\"me:you\""),
    ("source.ssh_key_file", "\"/etc/agent/deploy_key\""),
    ("source.ssh_host_keys", "[\"aa:bb:cc\"]"),
    ("source.ssh_known_hosts", "\"~/.ssh/known_hosts\""),
    ("source.ff_only", "\"yes\""),
    ("source.connect_timeout", "10"),
    ("source.read_timeout", "\"0s\""),
    ("source.ca_file", "[]"),
    ("poll.schedule", "\"0 3 31 2 *\""),
    ("poll.jitter", "\"1d\""),
    ("webhook.listen", "\"9090\""),
    ("webhook.publish", "\"/\""),
    ("webhook.github.secret_files", "\"/etc/agent/webhook\""),
    ("webhook.github.repository", "\"https://github.com/you/shop\""),
    ("webhook.gitlab.secret_files", "[\"glpat-0123456789abcdef\"]"),
    ("webhook.gitlab.repository", "\"shop\""),
    ("webhook.gitea.secret_files", "true"),
    ("webhook.gitea.repository", "\"group/sub/shop\""),
    ("webhook.forgejo.secret_files", "[1]"),
    ("webhook.forgejo.repository", "\"you/\""),
    ("webhook.bitbucket.secret_files", "[\"\"]"),
    ("webhook.bitbucket.repository", "\"{workspace}/shop\""),
    ("stripe.keep", "\"1h\""),
    ("stripe.max_size", "\"1m\""),
    ("stripe.tolerance", "\"1d\""),
    ("stripe.endpoints.default.secret_files", "[\"whsec_0123456789abcdef\"]"),
    ("stripe.endpoints.default.mode", "\"sandbox\""),
    ("dashboard.listen", "\"localhost:9091\""),
    ("dashboard.publish", "\":8080/\""),
    ("dashboard.token_file", "\"credential:\""),
    ("gates.skip", "[\"\"]"),
    ("gates.signed_by", "\"~/.ssh/allowed_signers\""),
    ("gates.freeze", "[\"FRI 16:00 - MON 8:00\"]"),
    ("gates.required_checks", "[\"test\", \" \"]"),
    ("github.api_url", "\"https://token@api.github.com\""),
    ("github.token_file", "\"ghp_0123456789abcdefABCDEF\""),
    ("notify.link", "\"agent.example.com\""),
    ("notify.github.statuses", "true"),
    ("notify.github.deployments", "true"),
    ("notify.github.environment", "\"\""),
    ("notify.slack.url_file", "\"https://hooks.slack.com/services/T0/B0/hunter2\""),
    ("notify.slack.all", "\"all\""),
    ("notify.discord.url_file", "7"),
    ("notify.discord.all", "[]"),
    ("notify.webhook.url", "\"mailto:me@example.com\""),
    ("notify.webhook.secret_file", "\"/etc/agent/hook\""),
    ("metrics.listen", "\"localhost\""),
    ("engine.kind", "\"podman\""),
    ("engine.socket", "\"tcp://127.0.0.1:2375\""),
    ("build.parallel", "0"),
    ("build.timeout", "\"15 minutes\""),
    ("build.min_free_disk", "\"10%\""),
    ("roll.health_timeout", "\"1s1m\""),
    ("roll.one_shot_timeout", "\"0s\""),
    ("roll.probe_interval", "\"1ms\""),
    ("roll.probe_timeout", "true"),
    ("roll.settle", "\"2m\""),
    ("roll.drain", "\"1d\""),
    ("roll.watch", "\"2d\""),
    ("roll.mode", "\"canary\""),
    ("drift.self_heal", "\"always\""),
    ("nginx.folder", "{ path = \"nginx\" }"),
    ("nginx.template", "5"),
    ("nginx.generation_port", "80990"),
    ("nginx.shutdown_timeout", "\"-1s\""),
    ("nginx.trusted_proxies", "[\"10.0.0.0/8\", \"10.0.0.0/33\"]"),
    ("history.keep", "0"),
    ("history.runs", "3"),
    ("history.logs", "\"1w\""),
    ("log.format", "\"xml\""),
    ("log.level", "\"loud\""),
    ("policy.allow_privileged", "1"),
    ("policy.allow_docker_socket", "\"true\""),
    ("policy.allow_host_network", "[]"),
    ("policy.allow_host_paths", "[\"/srv\", \"/\"]"),
    ("policy.allow_capabilities", "[\"CAP_NET_ADMIN\"]"),
    ("policy.allow_devices", "[\"/dev/../etc/shadow\"]"),
    ("prune.allow_empty", "\"no\""),
];

#[test]
fn every_key_has_a_value_that_is_refused_by_name_and_line() {
    let rejected: BTreeMap<&str, &str> = REJECTED.iter().copied().collect();
    assert_eq!(rejected.keys().copied().collect::<Vec<_>>(), keys().keys().collect::<Vec<_>>());
    let mut shown = String::new();
    for (key, value) in REJECTED {
        let error = refused(&shipped_with(key, value));
        let [problem] = error.problems() else { panic!("{key}: {}", error.render(false)) };
        assert_eq!(problem.key, *key, "{}", error.render(false));
        assert_eq!(problem.place.line, settings()[*key] + 1, "{}", error.render(false));
        assert!(problem.hint.is_some(), "{key} is refused without a hint");
        assert!(!error.render(true).contains("hunter2") && !problem.to_string().contains("hunter2"), "{key}");
        writeln!(shown, "{}\n", error.render(false)).unwrap();
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let error = refused(
        r#"
stat = "/srv/agent"
drain = "5s"

[stack]
name = "shop"

[sorce]
url = "https://github.com/you/shop.git"

[source]
branch = "a..b"
token = "hunter2"
ssh_host_keys = ["SHA256:short", 7]

[roll]
settle = "soon"
health_timeout = 60
probes = { every = "1s" }

[webhook]
github = "secret"

[nginx]
keep = 3
"#,
    );
    insta::assert_snapshot!(format!("{error}\n\n{}", error.render(false)));
    let lines: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!("everything_wrong_in_lines", lines.join("\n"));
}

#[test]
fn whatever_stands_at_a_key_the_problem_names_it() {
    let tables = ["stack", "source", "webhook", "webhook.github", "policy"].map(str::to_owned);
    let base = "stack.name = \"shop\"\nsource.url = \"file:///srv/shop.git\"\n";
    for key in keys().into_keys().filter(|key| !REQUIRED.contains(&key.as_str())).chain(tables) {
        for odd in [
            "[]",
            "{}",
            "[{}]",
            "[[]]",
            "-1",
            "1e400",
            "nan",
            "1979-05-27",
            "\"\\u0000\"",
            "\"é\"",
            "\"\"",
            "{ x = 1 }",
        ] {
            let text = if matches!(&*key, "stack" | "source") {
                format!("{key} = {odd}\n")
            } else {
                format!("{base}{key} = {odd}\n")
            };
            let Err(error) = parse(&text) else { continue };
            let parent = key.split('.').next().unwrap();
            for problem in error.problems() {
                assert!(
                    problem.key.starts_with(parent) || REQUIRED.contains(&&*problem.key),
                    "{text}{problem}"
                );
                assert!(!problem.key.is_empty(), "{text}{problem}");
            }
            assert!(!error.render(false).is_empty());
        }
    }
    let error = refused(&format!("{base}[[roll]]\nsettle = \"1s\"\n"));
    assert_eq!(error.problems()[0].key, "roll", "{}", error.render(false));
}

#[test]
fn what_is_not_toml_is_shown_where_it_breaks() {
    insta::assert_snapshot!(
        refused("[stack\nname = \"shop\n[source]\nurl = main\nurl = \"x\"\n").render(false)
    );
}

#[test]
fn an_ssh_remote_needs_a_key_and_a_pinned_host() {
    let base = "stack.name = \"shop\"\n[source]\nurl = \"git@github.com:you/shop.git\"\n";
    let keys = |text: &str| -> Vec<String> {
        refused(text).problems().iter().map(|problem| problem.key.clone()).collect()
    };
    assert_eq!(keys(base), ["source.ssh_key_file", "source.ssh_host_keys"]);
    assert_eq!(
        keys(&format!("{base}token_file = \"t\"\nca_file = \"c\"\nssh_key_file = \"k\"\n")),
        ["source.ssh_host_keys", "source.token_file", "source.ca_file"]
    );
    let host = "ssh_host_keys = [\"SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU\"]";
    let config = parse(&format!("{base}ssh_key_file = \"credential:deploy\"\n{host}\n")).unwrap();
    assert_eq!(config.source.ssh_key_file, Some(SecretFile::Credential("deploy".into())));
    assert_eq!(config.repository(Forge::GitHub).as_deref(), Some("you/shop"));
}

#[test]
fn schedules_are_five_fields_that_come_some_day() {
    let with = |line: &str| shipped_with("poll.schedule", &format!("{line:?}"));
    for fine in [
        "",
        "off",
        "* * * * *",
        "*/5 * * * *",
        "0 3 29 2 *",
        "0 3 * * MON-FRI",
        "0 3 * * Sun",
        " 0 3 1 * * ",
        "0 3 * * 1",
        "0 3 * * MON-5",
        "@daily",
    ] {
        assert!(parse(&with(fine)).is_ok(), "{fine}");
    }
    for bad in ["* * * *", "0 * * * * *", "60 * * * *", "0 3 * * 8", "0 3 30 2 *", "@reboot", "x x x x x"] {
        assert_eq!(refused(&with(bad)).problems()[0].key, "poll.schedule", "{bad}");
    }
}

#[test]
fn relative_paths_begin_at_the_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    let text = r#"
state = "state"
stack = { name = "shop", env_file = "shop.env" }
source = { url = "https://github.com/you/shop.git", token_file = "/abs/token", ca_file = "ca.pem" }
webhook.github.secret_files = ["hook", "credential:hook"]
nginx.template = "nginx.j2"
"#;
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path).unwrap();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(config.state, at("state"));
    assert_eq!(config.nginx_folder(), at("state/nginx"));
    assert_eq!(config.nginx.template, Some(at("nginx.j2")));
    assert_eq!(config.source.ca_file, Some(at("ca.pem")));
    let secrets: Vec<(String, String)> =
        config.secrets().map(|(key, secret)| (key.into_owned(), secret.to_string())).collect();
    assert_eq!(
        secrets,
        [
            ("stack.env_file".to_owned(), at("shop.env").display().to_string()),
            ("source.token_file".to_owned(), "/abs/token".to_owned()),
            ("webhook.github.secret_files".to_owned(), at("hook").display().to_string()),
            ("webhook.github.secret_files".to_owned(), "credential:hook".to_owned()),
        ]
    );
}

#[test]
fn stripe_has_as_many_endpoints_as_are_named() {
    let text = |more: &str| format!("stack.name = \"shop\"\nsource.url = \"file:///srv/shop.git\"\n{more}");
    let two = "[stripe.endpoints.default]\nsecret_files = [\"/a\"]\n[stripe.endpoints.connect]\nsecret_files = [\"/b\"]\nmode = \"live\"\n";
    let config = parse(&text(two)).unwrap();
    let open: Vec<&str> = config.stripe.open().map(|(name, _)| name.as_str()).collect();
    assert_eq!(open, ["connect", "default"]);
    let keys: Vec<_> = config.secrets().map(|(key, _)| key.into_owned()).collect();
    assert_eq!(keys, ["stripe.endpoints.connect.secret_files", "stripe.endpoints.default.secret_files"]);
    assert_eq!(parse(&text("")).unwrap().stripe.open().count(), 0);
    let wrong = "[stripe.endpoints.Connect]\n[stripe.endpoints.other]\nsecrets = []\nmode = \"both\"\n";
    let problems = refused(&text(wrong));
    let lines: Vec<String> = problems.problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems.problems().len(), 3, "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("`Connect` is not an endpoint's name")), "{lines:#?}");
}

#[test]
fn the_dashboard_has_a_token_and_a_place_of_its_own() {
    let base = "stack.name = \"shop\"\nsource.url = \"file:///srv/shop.git\"\n";
    let with = |webhooks: &str, dashboard: &str, token: &str| {
        let token = if token.is_empty() { String::new() } else { format!("token_file = {token:?}\n") };
        format!("{base}[webhook]\npublish = {webhooks:?}\n[dashboard]\npublish = {dashboard:?}\n{token}")
    };
    let keys = |text: &str| -> Vec<String> {
        refused(text).problems().iter().map(|problem| problem.key.clone()).collect()
    };
    assert_eq!(keys(&with("", "/agent/", "")), ["dashboard.token_file"]);
    assert_eq!(keys(&with("/agent", "agent.example.com/agent/", "t")), ["dashboard.publish"]);
    assert_eq!(keys(&with("", "agent.example.com:8099/", "t")), ["dashboard.publish"]);
    assert_eq!(
        keys(&with("*.example.com/in/", "*.example.com/", "t")),
        ["webhook.publish", "dashboard.publish"]
    );
    let warned = |text: &str| {
        let warnings = parse(text).unwrap().warnings();
        warnings.iter().any(|warning| warning.key == "dashboard.publish")
    };
    assert!(!warned(&with("/webhooks/", "agent.example.com/", "t")));
    assert!(warned(&with("/webhooks/", "/agent/", "t")), "apps are on the same host");
}

#[test]
fn two_cannot_listen_at_one_address() {
    let base = "stack.name = \"shop\"\nsource.url = \"https://github.com/you/shop.git\"\n";
    let with = |webhooks: &str, secrets: &str, metrics: &str, dashboard: &str| {
        format!(
            "{base}[webhook]\nlisten = {webhooks:?}\n[webhook.github]\nsecret_files = [{secrets}]\n\
             [metrics]\nlisten = {metrics:?}\n[dashboard]\nlisten = {dashboard:?}\ntoken_file = \"t\"\n"
        )
    };
    let error = refused(&with("127.0.0.1:9090", "\"s\"", "0.0.0.0:9090", "127.0.0.1:9091"));
    let [problem] = error.problems() else { panic!("{}", error.render(false)) };
    assert_eq!((problem.key.as_str(), problem.place.line), ("metrics.listen", 8));
    assert_eq!(problem.message, "the address of webhook.listen already, 127.0.0.1:9090");
    assert!(problem.hint.is_some());
    // Nobody listens for webhooks there without a secret.
    assert!(parse(&with("127.0.0.1:9090", "", "127.0.0.1:9090", "127.0.0.1:9091")).is_ok());
    assert!(parse(&with("127.0.0.1:9090", "\"s\"", "127.0.0.2:9090", "127.0.0.1:9091")).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("agent.toml");
    let error = Config::load(&absent).unwrap_err();
    assert!(error.to_string().contains(absent.to_str().unwrap()), "{error}");
    assert!(error.hint().unwrap().contains(absent.to_str().unwrap()));
    std::fs::write(&absent, [0xff]).unwrap();
    assert!(matches!(Config::load(&absent), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn an_open_secret_and_an_open_road_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "hunter2").unwrap();
    let path = folder.path().join("agent.toml");
    let text = "stack.name = \"shop\"\npoll.schedule = \"off\"\n\
                [source]\nurl = \"http://192.0.2.1/you/shop.git\"\ntoken_file = \"token\"\n";
    std::fs::write(&path, text).unwrap();
    let warned = |mode| -> Vec<String> {
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(mode)).unwrap();
        Config::load(&path).unwrap().warnings().iter().map(|warning| warning.key.to_string()).collect()
    };
    assert_eq!(warned(0o644), ["source.token_file", "source.url", "poll.schedule"]);
    assert_eq!(warned(0o600), ["source.url", "poll.schedule"]);
    for (host, is_open) in
        [("127.0.0.1:3000", false), ("[::1]", false), ("localhost", false), ("127.0.0.1.example.org", true)]
    {
        std::fs::write(&path, text.replace("192.0.2.1", host)).unwrap();
        assert_eq!(warned(0o600).iter().any(|key| key == "source.url"), is_open, "{host}");
    }
    std::fs::remove_file(&token).unwrap();
    let missing = Config::load(&path).unwrap().warnings();
    assert!(missing[0].message.contains("cannot be read"), "{missing:?}");
}
