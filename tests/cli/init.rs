//! `agent init`: from an address to a configuration that reaches the repository.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use agent::config::Config;

use super::Answer;
use super::git_repo::Repo;
use super::git_server::SshServer;

fn init(config: &Path, arguments: &[&str]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.arg("init").arg("--config").arg(config).args(arguments);
    Answer::from(command.env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_deploy_key_is_made_and_opens_the_repository_once_it_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let repo = Repo::new(folder.path(), "Shop");
    repo.change("compose.yaml", "services: {}\n");
    let server = SshServer::start(&at("sshd"));
    let (config, state) = (at("etc/agent.toml"), at("state"));
    let url = server.url(&repo.bare);
    let arguments = [
        "--url",
        &url,
        "--forge",
        "forgejo",
        "--repository",
        "acme/shop",
        "--state",
        state.to_str().unwrap(),
    ];
    let answer = init(&config, &arguments);
    assert_eq!(answer.code, Some(1), "the key is not known yet: {answer:#?}");
    assert!(answer.out.contains("refused the deploy key"), "{answer:#?}");
    let public = fs::read_to_string(at("etc/deploy-key.pub")).unwrap();
    assert!(answer.out.contains(public.trim()) && public.contains("agent shop"), "{answer:#?}");
    assert!(answer.out.contains(&server.fingerprint()), "{answer:#?}");
    assert!(answer.out.contains("https://YOUR-HOST/webhooks/forgejo"), "{answer:#?}");

    for name in ["agent.toml", "deploy-key", "forgejo-webhook", "shop.env"] {
        assert_eq!(mode(&at("etc").join(name)), 0o600, "{name}");
    }
    let read = Config::load(&config).unwrap();
    assert_eq!((read.stack.name.as_str(), read.source.branch.as_str()), ("shop", "main"));
    assert_eq!(read.source.ssh_host_keys, [server.fingerprint()]);
    assert_eq!(read.warnings(), []);
    let secret = fs::read_to_string(at("etc/forgejo-webhook")).unwrap();
    assert_eq!(secret.trim().len(), 64);
    assert!(!answer.out.contains(secret.trim()), "a secret is not shown");

    server.authorize(&at("etc/deploy-key"));
    let mut check = Command::new(env!("CARGO_BIN_EXE_agent"));
    let answer = Answer::from(check.args(["check", "--config"]).arg(&config).output().unwrap());
    assert!(answer.out.contains("main is at "), "{answer:#?}");

    let again = init(&config, &arguments);
    assert_eq!(again.code, Some(2));
    assert!(again.err.contains("is there already"), "{again:#?}");
    fs::remove_file(&config).unwrap();
    init(&config, &arguments);
    assert_eq!(fs::read_to_string(at("etc/forgejo-webhook")).unwrap(), secret, "secrets are kept");
    assert_eq!(fs::read_to_string(at("etc/deploy-key.pub")).unwrap(), public, "keys are kept");
}

/// A file there whose name can be known could be somebody's link to another.
#[test]
fn keys_are_read_without_a_file_in_the_folder_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let repo = Repo::new(folder.path(), "Shop");
    let server = SshServer::start(&at("sshd"));
    let (bin, tmp) = (at("bin"), at("tmp"));
    fs::create_dir(&bin).unwrap();
    fs::create_dir(&tmp).unwrap();
    // Tells what lies there while it works.
    let script = "#!/bin/sh\nls -A \"$TMPDIR\" >>\"$TMPDIR/../seen\"\necho run >>\"$TMPDIR/../seen\"\n\
        PATH=${PATH#*:}\nexec ssh-keygen \"$@\"\n";
    fs::write(bin.join("ssh-keygen"), script).unwrap();
    fs::set_permissions(bin.join("ssh-keygen"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.arg("init").arg("--config").arg(at("etc/agent.toml")).args(["--url", &server.url(&repo.bare)]);
    command.args(["--forge", "forgejo", "--repository", "acme/shop", "--state"]).arg(at("state"));
    command.env("PATH", path).env("TMPDIR", &tmp).env("NO_COLOR", "1").stdin(Stdio::null());
    let answer = Answer::from(command.output().unwrap());
    assert!(answer.out.contains(&server.fingerprint()), "{answer:#?}");
    let seen = fs::read_to_string(at("seen")).unwrap();
    assert!(seen.contains("run") && !seen.contains("agent-init"), "{seen}");
}

#[test]
fn webhooks_through_the_stacks_nginx_have_its_address() {
    let folder = tempfile::tempdir().unwrap();
    Repo::new(folder.path(), "shop");
    let url = format!("file://{}", folder.path().join("shop.git").display());
    for (number, (publish, address)) in [
        ("/webhooks/", "http://YOUR-HOST/webhooks/gitea"),
        ("hooks.example.com/in/", "http://hooks.example.com/in/gitea"),
        (":8443/webhooks/", "http://YOUR-HOST:8443/webhooks/gitea"),
    ]
    .into_iter()
    .enumerate()
    {
        let config = folder.path().join(format!("{number}/agent.toml"));
        let state = folder.path().join("state");
        let state = state.to_str().unwrap();
        let given = [
            "--url",
            &url,
            "--forge",
            "gitea",
            "--repository",
            "acme/shop",
            "--publish",
            publish,
            "--state",
            state,
        ];
        let answer = init(&config, &given);
        assert!(answer.out.contains(&format!("{address}\n")), "{answer:#?}");
        assert_eq!(Config::load(&config).unwrap().webhook.publish.unwrap().to_string(), publish);
    }
}

#[test]
fn what_must_be_said_is_named_when_nobody_is_at_the_keyboard() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    let answer = init(&config, &[]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.err.contains("--url was not given"), "{answer:#?}");
    let answer = init(&config, &["--url", "shop.git"]);
    assert!(answer.err.contains("is not the address of a repository"), "{answer:#?}");
    let answer = init(&config, &["--url", "file:///srv/shop.git", "--name", "My shop"]);
    assert!(answer.err.contains("stack.name: `My shop` is not a project name"), "{answer:#?}");
    assert!(!config.exists());
}
