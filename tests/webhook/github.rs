//! GitHub's side: its example payloads and its signing library.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

pub(crate) const SECRET: &str = "current secret, with ünïcödé";
pub(crate) const OLD_SECRET: &str = "older secret";

pub(crate) struct Example {
    pub(crate) event: String,
    pub(crate) body: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/webhook")
}

/// Every example payload of github.com, and of the oldest and newest server editions in the collection.
pub(crate) fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    for server in ["api.github.com", "ghes-31", "ghes-35"] {
        let path = folder().join("node_modules/@octokit/webhooks-examples").join(server).join("index.json");
        let text = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; run tests/webhook/setup first", path.display()));
        let events: Vec<Value> = serde_json::from_slice(&text).unwrap();
        for event in &events {
            for example in event["examples"].as_array().unwrap() {
                let body = example.to_string();
                examples.push(Example { event: event["name"].as_str().unwrap().to_owned(), body });
            }
        }
    }
    examples
}

/// An example push, to this reference.
pub(crate) fn push(reference: &str) -> String {
    static PUSH: OnceLock<Value> = OnceLock::new();
    let is_wanted = |example: &Example| example.event == "push" && example.body.contains("refs/heads/master");
    let mut push = PUSH
        .get_or_init(|| {
            let found = examples().into_iter().find(is_wanted).expect("an example of a push to a branch");
            serde_json::from_str(&found.body).unwrap()
        })
        .clone();
    push["ref"] = json!(reference);
    push.to_string()
}

/// The body of a webhook whose content type is set to form.
pub(crate) fn form(json: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("payload", json).finish()
}

pub(crate) fn signed_with(secret: &str, body: &str) -> String {
    sign(secret, &[body]).remove(0)
}

/// The header values GitHub's library makes for these bodies.
pub(crate) fn sign(secret: &str, bodies: &[&str]) -> Vec<String> {
    let pairs: Vec<[&str; 2]> = bodies.iter().map(|body| [secret, body]).collect();
    let mut node = Command::new("node")
        .arg(folder().join("sign.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is needed to sign as GitHub does");
    node.stdin.take().unwrap().write_all(&serde_json::to_vec(&pairs).unwrap()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "sign.mjs failed; run tests/webhook/setup first");
    let signatures: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(signatures.len(), bodies.len());
    signatures
}
