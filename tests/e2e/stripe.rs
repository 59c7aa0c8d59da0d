//! Stripe's events from nginx to the service that wants them, whatever becomes of the service meanwhile.

use std::fs;

use hmac::{Hmac, KeyInit, Mac};

use crate::docker::{docker, try_docker};
use crate::http;
use crate::stack;
use crate::world::World;

const SECRET: &str = "whsec_of_the_endpoint";

/// Keeps what reaches it on a volume, and says so; unless it is closed for good.
const INBOX: &str = r#"
  till:
    <<: *app
    build: ./till
    environment:
      STRIPE_WEBHOOK_SECRET: not-the-agents
    volumes: ["till-data:/data"]
    labels:
      agent.stripe.path: /cgi-bin/hook
      agent.stripe.port: "8000"
      agent.stripe.events: "checkout.session.*, payment_intent.succeeded"
      agent.probe: /version.txt
      agent.probe.port: "8000"
volumes:
  till-data:
"#;

const HOOK: &str = r#"#!/bin/sh
[ ! -e /data/closed ] || { printf 'Status: 410 Gone\r\n\r\n'; exit; }
f=$(mktemp /data/.XXXXXX)
{ echo "$HTTP_STRIPE_SIGNATURE"; echo "$HTTP_X_RELAY_ATTEMPT"; head -c "$CONTENT_LENGTH"; } >"$f"
mv "$f" "/data/$(basename "$f" | tr -d .)"
printf 'Content-Type: text/plain\r\n\r\nkept\n'
"#;

const TELL: &str = "echo $STRIPE_WEBHOOK_SECRET";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    signature: String,
    attempt: String,
    pub(crate) body: String,
}

/// A pushed stack that was never live.
pub(crate) fn company() -> World {
    let mut world = World::empty();
    world.publish_webhooks();
    let file = world.path().join("stripe");
    fs::write(&file, SECRET).unwrap();
    world.settings += &format!("[stripe.endpoints.default]\nsecret_files = [\"{}\"]\n", file.display());
    stack::write(&world.repo, &format!("{}{INBOX}", stack::COMPOSE.trim_end()));
    world.repo.write(
        "till/Dockerfile",
        "FROM agenttest-base:1\nCOPY . /www/\nRUN mkdir -p /www/cgi-bin /data && mv /www/hook /www/cgi-bin/hook && chmod 755 /www/cgi-bin/hook\n\
         CMD [\"httpd\", \"-f\", \"-p\", \"8000\", \"-h\", \"/www\"]\n",
    );
    world.repo.write("till/hook", HOOK);
    world.repo.write("till/version.txt", "till 1\n");
    world.repo.push("Take payments");
    world
}

fn world() -> World {
    let mut world = company();
    world.start();
    world.live(&world.repo.git(&["rev-parse", "HEAD"]));
    world
}

fn sign(secret: &str, at: i64, body: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

impl World {
    /// Stripe tells of something, through nginx.
    pub(crate) fn pay(&self, id: &str, kind: &str) -> u16 {
        let now = chrono::Utc::now().timestamp();
        let body = format!(
            r#"{{"id":"{id}","object":"event","created":{now},"type":"{kind}","livemode":false,"data":{{"object":{{"id":"cs_1"}}}}}}"#
        );
        let signature = format!("t={now},v1={}", sign(SECRET, now, &body));
        let headers = [("Content-Type", "application/json"), ("Stripe-Signature", signature.as_str())];
        http::tcp(self.port, "POST", "/webhooks/stripe", &headers, &body).expect("an answer").status
    }

    /// What the till has kept, oldest first.
    fn kept(&self) -> Vec<Kept> {
        let volume = format!("{}_till-data:/data", self.name);
        let script = "cd /data; for f in $(ls -tr); do cat $f; echo; echo ---; done";
        let text = docker(&["run", "--rm", "-v", &volume, "agenttest-base:1", "sh", "-c", script]);
        let parts = text.split("---").map(str::trim).filter(|part| !part.is_empty());
        let read = |part: &str| {
            let mut lines = part.splitn(3, '\n').map(str::to_owned);
            let mut next = || lines.next().unwrap_or_default();
            Kept { signature: next(), attempt: next(), body: next() }
        };
        parts.map(read).collect()
    }

    pub(crate) fn kept_at_last(&self, count: usize) -> Vec<Kept> {
        self.eventually(&format!("{count} events at the till"), || {
            Some(self.kept()).filter(|kept| kept.len() >= count)
        })
    }

    /// What the till verifies with.
    fn till_secret(&self) -> String {
        docker(&["exec", &self.container("till"), "sh", "-c", TELL])
    }
}

/// The signatures that stand in the header fit one of these secrets each, in this order.
#[track_caller]
fn verifies(kept: &Kept, secrets: &[&str]) {
    let mut parts = kept.signature.split(',');
    let at: i64 = parts.next().and_then(|part| part.strip_prefix("t=")).expect("a time").parse().unwrap();
    let expected: Vec<String> =
        secrets.iter().map(|secret| format!("v1={}", sign(secret, at, &kept.body))).collect();
    assert_eq!(parts.collect::<Vec<_>>(), expected, "{kept:?}");
}

#[test]
fn a_payment_reaches_its_service_signed_with_the_services_own_secret() {
    let world = world();
    assert_eq!(world.pay("evt_1", "checkout.session.completed"), 200);
    assert_eq!(world.pay("evt_2", "invoice.paid"), 200, "kept, although nobody wants it");
    let kept = world.kept_at_last(1);
    let own = world.till_secret();
    assert!(own.starts_with("whsec_") && own != SECRET && own.len() == "whsec_".len() + 44, "{own}");
    verifies(&kept[0], &[&own]);
    assert!(kept[0].body.contains("evt_1"));
    assert_eq!(world.kept().len(), 1);
    // Nobody is told the secret.
    let release = world.agent(&["show", "release:1"]) + &world.agent(&["config"]) + &world.agent(&["plan"]);
    let log = fs::read_to_string(world.log_file()).unwrap();
    assert!(!release.contains(&own) && !log.contains(&own));

    // No container has to change for it.
    let till = world.container("till");
    let wants = world.push_compose("payment_intent.succeeded", "payment_intent.succeeded, invoice.paid");
    world.deliver(&wants);
    world.live(&wants);
    assert_eq!(world.pay("evt_3", "invoice.paid"), 200);
    let kept = world.kept_at_last(3);
    let came = |id: &str| kept.iter().any(|kept| kept.body.contains(id));
    assert!(came("evt_3") && came("evt_2"), "what nobody wanted so far is brought too: {kept:?}");
    assert_eq!(world.container("till"), till);
}

#[test]
fn an_event_waits_for_its_service_without_a_failed_attempt() {
    let world = world();
    let till = world.container("till");
    docker(&["stop", "-t", "1", &till]);
    // The agent hears of it from the engine: what comes in the very moment may still be tried, and is tried again.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(world.pay("evt_1", "checkout.session.completed"), 200);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(world.kept(), []);
    docker(&["start", &till]);
    let kept = world.kept_at_last(1);
    assert_eq!(kept[0].attempt, "1");
    verifies(&kept[0], &[&world.till_secret()]);
}

#[test]
fn events_that_come_while_the_service_is_replaced_arrive_at_the_first_attempt() {
    let world = world();
    // It has a writable volume, so its old container is stopped first.
    let second = world.repo.change("till/version.txt", "till 2\n");
    world.deliver(&second);
    let mut sent = 0;
    while world.applied().as_deref() != Some(second.as_str()) {
        assert_eq!(world.pay(&format!("evt_{sent}"), "payment_intent.succeeded"), 200);
        sent += 1;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(sent > 10, "{sent}");
    let kept = world.kept_at_last(sent);
    let late: Vec<&Kept> = kept.iter().filter(|kept| kept.attempt != "1").collect();
    assert!(late.is_empty(), "{late:#?}");
    assert_eq!(kept.len(), sent);
}

#[test]
fn a_rotated_secret_rolls_its_service_and_the_old_one_signs_along() {
    let world = world();
    let (first, others) = (world.till_secret(), world.container("web"));
    let answer = http::unix(&world.socket(), "POST", "/stripe/rotate", r#"{"destination":"till"}"#).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let second = world.eventually("a till with another secret", || {
        let till = world.running().remove("till").filter(|ids| ids.len() == 1)?.remove(0);
        let (told, secret) = try_docker(&["exec", &till, "sh", "-c", TELL]);
        (told && secret != first).then_some(secret)
    });
    assert_eq!(world.pay("evt_1", "checkout.session.completed"), 200);
    verifies(&world.kept_at_last(1)[0], &[&second, &first]);
    assert_eq!(world.container("web"), others);
    // The next commit changes nothing about it.
    let till = world.container("till");
    let next = world.push_version("web", 2);
    world.deliver(&next);
    world.live(&next);
    assert_eq!(world.container("till"), till);
}
