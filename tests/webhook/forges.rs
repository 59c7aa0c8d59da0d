//! The forges beside GitHub: payloads in the shape each documents, signed by code that is not ours, through the same
//! server and into the same wakes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use agent::http::Secret;
use agent::model::forge::Forge;
use agent::trigger::{PushHook, Reason};
use chrono::Utc;
use serde_json::{Value, json};

use crate::github::{OLD_SECRET, SECRET, form};
use crate::site::{Answer, Site};

const ZEROS: &str = "0000000000000000000000000000000000000000";
const COMMIT: &str = "95790bf891e76fee5e1747ab589903a6a1f80f22";
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
const OLD_KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";
const TOKEN: &str = "a plain token";

/// What the agent accepts from each of them.
pub(crate) fn hooks() -> Vec<PushHook> {
    let hook = |forge, secrets: &[&str], repository: &str| {
        let secrets = secrets.iter().map(|text| Secret::new(*text).unwrap()).collect();
        PushHook::new(forge, secrets, vec![repository.to_owned()], "master").unwrap()
    };
    vec![
        hook(Forge::GitLab, &[KEY, OLD_KEY, TOKEN], "acme/web/shop"),
        hook(Forge::Gitea, &[SECRET, OLD_SECRET], "acme/shop"),
        hook(Forge::Forgejo, &[SECRET, OLD_SECRET], "acme/shop"),
        hook(Forge::Bitbucket, &[SECRET, OLD_SECRET], "acme/shop"),
    ]
}

/// The same push in the words of each forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    GitLabSigned,
    GitLabToken,
    Gitea,
    Forgejo,
    Cloud,
    DataCenter,
}

const ALL: [Sender; 6] = [
    Sender::GitLabSigned,
    Sender::GitLabToken,
    Sender::Gitea,
    Sender::Forgejo,
    Sender::Cloud,
    Sender::DataCenter,
];

type Headers = Vec<(&'static str, String)>;

impl Sender {
    fn path(self) -> &'static str {
        match self {
            Self::GitLabSigned | Self::GitLabToken => "/webhooks/gitlab",
            Self::Gitea => "/webhooks/gitea",
            Self::Forgejo => "/webhooks/forgejo",
            Self::Cloud | Self::DataCenter => "/webhooks/bitbucket",
        }
    }

    fn repository(self) -> &'static str {
        if self.path() == "/webhooks/gitlab" { "acme/web/shop" } else { "acme/shop" }
    }

    /// The name of the header that proves the sender.
    fn proof(self) -> &'static str {
        match self {
            Self::GitLabSigned => "webhook-signature",
            Self::GitLabToken => "X-Gitlab-Token",
            Self::Gitea => "X-Gitea-Signature",
            Self::Forgejo => "X-Forgejo-Signature",
            Self::Cloud | Self::DataCenter => "X-Hub-Signature",
        }
    }

    fn secrets(self) -> [&'static str; 2] {
        match self {
            Self::GitLabSigned => [KEY, OLD_KEY],
            Self::GitLabToken => [TOKEN, TOKEN],
            _ => [SECRET, OLD_SECRET],
        }
    }

    fn id_header(self) -> &'static str {
        match self {
            Self::GitLabSigned => "webhook-id",
            Self::GitLabToken => "Idempotency-Key",
            Self::Gitea => "X-Gitea-Delivery",
            Self::Forgejo => "X-Forgejo-Delivery",
            Self::Cloud => "X-Request-UUID",
            Self::DataCenter => "X-Request-Id",
        }
    }

    fn event(self) -> (&'static str, &'static str) {
        match self {
            Self::GitLabSigned | Self::GitLabToken => ("X-Gitlab-Event", "Push Hook"),
            Self::Gitea => ("X-Gitea-Event", "push"),
            Self::Forgejo => ("X-Forgejo-Event", "push"),
            Self::Cloud => ("X-Event-Key", "repo:push"),
            Self::DataCenter => ("X-Event-Key", "repo:refs_changed"),
        }
    }

    /// A push to this reference of this repository, as the forge writes it down.
    fn push(self, repository: &str, reference: &str, deleted: bool) -> String {
        let after = if deleted { ZEROS } else { COMMIT };
        let (folder, name) = reference.strip_prefix("refs/").unwrap().split_once('/').unwrap();
        let tag = folder == "tags";
        match self {
            Self::GitLabSigned | Self::GitLabToken => json!({
                "object_kind": if tag { "tag_push" } else { "push" }, "event_name": "push",
                "before": ZEROS, "after": after, "ref": reference, "ref_protected": true,
                "checkout_sha": if deleted { Value::Null } else { json!(COMMIT) },
                "user_id": 4, "user_username": "jsmith", "project_id": 15,
                "project": { "id": 15, "name": "Shop", "path_with_namespace": repository,
                    "git_http_url": "http://example.com/x.git", "default_branch": "master" },
                "repository": { "name": "Shop", "url": "git@example.com:x.git" },
                "commits": [], "total_commits_count": 0,
            }),
            Self::Gitea | Self::Forgejo => json!({
                "ref": reference, "before": ZEROS, "after": after, "compare_url": "", "commits": [],
                "total_commits": 0, "head_commit": null,
                "repository": { "id": 1, "full_name": repository, "name": "shop", "private": true },
                "pusher": { "login": "gitea" }, "sender": { "login": "gitea" },
            }),
            Self::Cloud => {
                let side = json!({ "type": if tag { "tag" } else { "branch" }, "name": name,
                    "target": { "hash": COMMIT, "type": "commit" } });
                let (new, old) = if deleted { (Value::Null, side) } else { (side, Value::Null) };
                json!({
                    "push": { "changes": [{ "new": new, "old": old, "closed": deleted, "forced": false,
                        "truncated": false, "commits": [] }] },
                    "repository": { "type": "repository", "full_name": repository, "uuid": "{1}" },
                    "actor": { "type": "user" },
                })
            }
            Self::DataCenter => {
                let (project, slug) = repository.split_once('/').unwrap_or(("x", repository));
                json!({
                    "eventKey": "repo:refs_changed", "date": "2026-11-22T10:00:00+0000", "actor": { "name": "admin" },
                    "repository": { "slug": slug, "id": 84, "scmId": "git",
                        "project": { "key": project.to_uppercase(), "id": 84, "type": "NORMAL" } },
                    "changes": [{ "ref": { "id": reference, "displayId": name,
                            "type": if tag { "TAG" } else { "BRANCH" } },
                        "refId": reference, "fromHash": ZEROS, "toHash": after,
                        "type": if deleted { "DELETE" } else { "ADD" } }],
                })
            }
        }
        .to_string()
    }

    /// The headers of a delivery, the proof last.
    fn headers(self, secret: &str, id: &str, body: &str) -> Headers {
        let (event, value) = self.event();
        let mut headers = vec![("Content-Type", "application/json".to_owned()), (event, value.to_owned())];
        headers.push((self.id_header(), id.to_owned()));
        let at = Utc::now().timestamp();
        if self == Self::GitLabSigned {
            headers.push(("webhook-timestamp", at.to_string()));
        }
        headers.push((self.proof(), self.prove(secret, id, at, body)));
        headers
    }

    fn prove(self, secret: &str, id: &str, at: i64, body: &str) -> String {
        let how = match self {
            Self::GitLabToken => return secret.to_owned(),
            Self::GitLabSigned => "standard",
            Self::Gitea | Self::Forgejo => "hex",
            Self::Cloud | Self::DataCenter => "prefixed",
        };
        sign(&json!([{ "how": how, "secret": secret, "body": body, "id": id, "at": at }])).remove(0)
    }

    fn wanted(self) -> String {
        self.push(self.repository(), "refs/heads/master", false)
    }
}

/// Signs as the forges do.
fn sign(wanted: &Value) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/webhook/forges.mjs");
    let mut node =
        Command::new("node").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(wanted.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "forges.mjs failed; run tests/webhook/setup first");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn send(site: &Site, path: &str, headers: &Headers, body: &str) -> Answer {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    site.raw(format!("{request}\r\n{body}").as_bytes()).await
}

async fn deliver(site: &Site, sender: Sender, id: &str, body: &str) -> Answer {
    send(site, sender.path(), &sender.headers(sender.secrets()[0], id, body), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_from_every_forge_wakes_the_loop_once() {
    let site = Site::open().await;
    for (n, sender) in ALL.into_iter().enumerate() {
        let (id, body) = (format!("push-{n}"), sender.wanted());
        let answer = deliver(&site, sender, &id, &body).await;
        assert_eq!((answer.status, &*answer.text), (202, "accepted: looking at `master`\n"), "{sender:?}");
        assert_eq!(site.wakes.next(|_| ()).await, Reason::Webhook { delivery: id.clone() });
        let again = deliver(&site, sender, &id, &body).await;
        assert_eq!((again.status, &*again.text), (200, &*format!("already seen: `{id}`\n")), "{sender:?}");
        assert!(site.wakes.pending().is_none());
        let old = sender.headers(sender.secrets()[1], &format!("old-{n}"), &body);
        assert_eq!(send(&site, sender.path(), &old, &body).await.status, 202, "{sender:?}");
        site.wakes.next(|_| ()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_nothing_that_is_watched_is_ignored_with_a_reason() {
    let site = Site::open().await;
    for sender in ALL {
        let name = sender.repository();
        for (n, (repository, reference, deleted, reason)) in [
            (name, "refs/heads/dev", false, "ignored: branch `dev` is not deployed\n"),
            (name, "refs/heads/x/master", false, "ignored: branch `x/master` is not deployed\n"),
            (name, "refs/tags/master", false, "ignored: tag `master` is not a branch\n"),
            (name, "refs/heads/master", true, "ignored: branch `master` was deleted\n"),
            (name, "refs/tags/v1", true, "ignored: tag `v1` is not a branch\n"),
            ("mallory/shop", "refs/heads/master", false, "is not watched\n"),
        ]
        .into_iter()
        .enumerate()
        {
            let body = sender.push(repository, reference, deleted);
            let answer = deliver(&site, sender, &n.to_string(), &body).await;
            assert_eq!(answer.status, 200, "{sender:?}: {}", answer.text);
            assert!(answer.text.ends_with(reason), "{sender:?}: {}", answer.text);
        }
        let mut headers = sender.headers(sender.secrets()[0], "other", "{\"object_kind\":\"issue\"}");
        headers[1].1 = "repo:forked".to_owned();
        let answer = send(&site, sender.path(), &headers, "{\"object_kind\":\"issue\"}").await;
        assert_eq!(
            (answer.status, &*answer.text),
            (200, "ignored: event `repo:forked` moves no branch\n"),
            "{sender:?}"
        );
    }
    assert!(site.wakes.pending().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_absent_wrong_repeated_or_malformed_is_refused() {
    let site = Site::open().await;
    for sender in ALL {
        let body = sender.wanted();
        let right = sender.headers(sender.secrets()[0], "x", &body);
        let with = |value: &str| {
            let mut headers = right.clone();
            headers.last_mut().unwrap().1 = value.to_owned();
            headers
        };
        let proof = &right.last().unwrap().1;
        let mut cases = vec![
            right[..right.len() - 1].to_vec(),
            with(""),
            with("sha256="),
            with("v1,"),
            with(&"0".repeat(64)),
            with(&format!("sha256={}", "0".repeat(64))),
            with(&format!("{proof}x")),
            with("ünïcödé"),
            [right.clone(), vec![right.last().unwrap().clone()]].concat(),
            sender.headers("whsec_bm9ib2R5", "x", &body),
        ];
        if sender != Sender::GitLabToken {
            cases.push(sender.headers(sender.secrets()[0], "x", &format!("{body} ")));
        }
        for headers in cases {
            let answer = send(&site, sender.path(), &headers, &body).await;
            assert_eq!(answer.status, 401, "{sender:?} {headers:?}: {}", answer.text);
            assert_eq!(answer.text.lines().count(), 1);
        }
    }
    assert!(site.wakes.pending().is_none(), "nobody who cannot sign wakes the loop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_but_makes_no_sense_is_a_400() {
    let site = Site::open().await;
    for sender in ALL {
        for body in
            ["", "[]", "null", "{\"ref\":", "{\"push\":{}}", "{\"object_kind\":\"push\",\"changes\":3}"]
        {
            let answer = deliver(&site, sender, "x", body).await;
            assert_eq!(answer.status, 400, "{sender:?} {body}: {}", answer.text);
            assert_eq!(answer.text.lines().count(), 1);
        }
        let body = sender.wanted();
        let nameless: Headers = sender.headers(sender.secrets()[0], "x", &body);
        let nameless: Headers =
            nameless.into_iter().filter(|(name, _)| *name != sender.id_header()).collect();
        // Without its id the signed one is not signed at all.
        let expected = if sender == Sender::GitLabSigned { 401 } else { 400 };
        assert_eq!(send(&site, sender.path(), &nameless, &body).await.status, expected, "{sender:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_follow_from_the_address_and_never_from_headers() {
    let site = Site::open().await;
    for sender in ALL {
        let body = sender.wanted();
        let headers = sender.headers(sender.secrets()[0], "x", &body);
        for other in [
            "/webhooks/github",
            "/webhooks/gitlab",
            "/webhooks/gitea",
            "/webhooks/forgejo",
            "/webhooks/bitbucket",
        ]
        .into_iter()
        .filter(|path| *path != sender.path())
        {
            assert_eq!(send(&site, other, &headers, &body).await.status, 401, "{sender:?} at {other}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gitea_signs_the_json_in_a_form() {
    let site = Site::open().await;
    let json = Sender::Gitea.wanted();
    let mut headers = Sender::Gitea.headers(SECRET, "form", &json);
    headers[0].1 = "application/x-www-form-urlencoded".to_owned();
    assert_eq!(send(&site, "/webhooks/gitea", &headers, &form(&json)).await.status, 202);
    let body = form(&json);
    let mut over_form = Sender::Gitea.headers(SECRET, "form-2", &body);
    over_form[0].1 = "application/x-www-form-urlencoded".to_owned();
    assert_eq!(send(&site, "/webhooks/gitea", &over_form, &body).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn gitlab_s_old_signatures_and_its_key_as_a_token_are_refused() {
    let site = Site::open().await;
    let (sender, body) = (Sender::GitLabSigned, Sender::GitLabSigned.wanted());
    for (offset, expected) in [(-290, 202), (-400, 401), (400, 401)] {
        let (id, at) = (format!("late{offset}"), Utc::now().timestamp() + offset);
        let mut headers = sender.headers(KEY, &id, &body);
        headers[3].1 = at.to_string();
        headers[4].1 = sender.prove(KEY, &id, at, &body);
        assert_eq!(send(&site, sender.path(), &headers, &body).await.status, expected, "{offset}");
    }
    let as_token = Sender::GitLabToken.headers(KEY, "x", &body);
    assert_eq!(send(&site, sender.path(), &as_token, &body).await.status, 401);
    let mut both = sender.headers("whsec_bm9ib2R5", "x", &body);
    both.push(("X-Gitlab-Token", TOKEN.to_owned()));
    assert_eq!(send(&site, sender.path(), &both, &body).await.status, 401, "a signature decides");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_references_in_one_webhook_the_watched_one_counts() {
    let site = Site::open().await;
    for sender in [Sender::Cloud, Sender::DataCenter] {
        let list = if sender == Sender::Cloud { "/push/changes" } else { "/changes" };
        let parse = |reference, deleted| -> Value {
            serde_json::from_str(&sender.push("acme/shop", reference, deleted)).unwrap()
        };
        let mut body = parse("refs/tags/v1", false);
        let others = [parse("refs/heads/dev", true), parse("refs/heads/master", false)];
        for other in others {
            let change = other.pointer(list).unwrap()[0].clone();
            body.pointer_mut(list).unwrap().as_array_mut().unwrap().push(change);
        }
        let answer = deliver(&site, sender, &format!("several-{sender:?}"), &body.to_string()).await;
        assert_eq!(answer.status, 202, "{sender:?}: {}", answer.text);
        *body.pointer_mut(list).unwrap() = json!([]);
        let answer = deliver(&site, sender, "none", &body.to_string()).await;
        assert_eq!((answer.status, &*answer.text), (200, "ignored: nothing moved\n"));
    }
    let mut ping = Sender::DataCenter.headers(SECRET, "ping", "{\"test\":true}");
    ping[1].1 = "diagnostics:ping".to_owned();
    assert_eq!(send(&site, "/webhooks/bitbucket", &ping, "{\"test\":true}").await.text, "pong\n");
}
