//! The dashboard in a real browser, while things happen.

use agent::model::run::{Kind, Outcome};
use agent::record::Target;

use crate::browser::Browser;
use crate::docker::docker;
use crate::stack::{COMPOSE, WEB, dockerfile};
use crate::stripe;
use crate::world::{World, free_port};

const TOKEN: &str = "0b5d6f1c2a9e4837a1c0ffee";
const PASSWORD: &str = "correct horse battery staple";

/// Where the dashboard is reached.
struct Ways {
    /// On a port of its own.
    port: String,
    /// Through the stack's nginx.
    nginx: String,
}

/// A dashboard on a port, and published by nginx.
fn open_dashboard(world: &mut World, published: &str) -> Ways {
    let port = free_port();
    let token = world.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).expect("token");
    world.settings += &format!(
        "[dashboard]\nlisten = \"127.0.0.1:{port}\"\npublish = \"{published}\"\ntoken_file = \"{}\"\n",
        token.display()
    );
    let (host, path) = published.split_once('/').expect("a path");
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let nginx = format!("http://{host}:{}/{path}", world.port);
    Ways { port: format!("http://127.0.0.1:{port}/"), nginx }
}

/// The first version is live, and there is a dashboard.
fn world(published: &str) -> (World, Ways) {
    let mut world = World::empty();
    let ways = open_dashboard(&mut world, published);
    let secret = format!("build: ./web\n    environment: {{PASSWORD: {PASSWORD}}}");
    crate::stack::write(&world.repo, &COMPOSE.replace("build: ./web", &secret));
    let first = world.repo.push("Sell things");
    world.start();
    world.live(&first);
    (world, ways)
}

fn sign_in(browser: &mut Browser, url: &str) {
    browser.open(url);
    browser.fill("Token", TOKEN);
    browser.press("button", "Sign in");
    browser.see("Live");
}

/// Web takes its time to start, so that there is something to watch.
fn push_slow(world: &World) -> String {
    world.repo.write("web/version.txt", "web 2\n");
    let slow =
        dockerfile("web").replace("CMD [", "CMD [\"sh\", \"-c\", \"sleep 5; exec \\\"$@\\\"\", \"sh\", ");
    world.repo.write("web/Dockerfile", slow);
    let compose = std::fs::read_to_string(world.repo.tree().join("compose.yaml")).expect("compose file");
    world.repo.write("compose.yaml", compose.replacen("health_timeout: 3s", "health_timeout: 30s", 1));
    world.repo.push("Say what is in the basket")
}

#[test]
fn a_person_signs_in_watches_a_roll_and_goes_back() {
    let (world, Ways { port, nginx: url }) = world("agent.localhost/");
    let mut browser = Browser::start();
    browser.open(&url);
    assert!(browser.url().contains("sign-in"), "{}", browser.url());
    browser.see("This connection is not encrypted");
    browser.looks_right("sign-in");
    browser.fill("Token", "not the token at all");
    browser.press("button", "Sign in");
    browser.see("That is not the token.");
    assert!(browser.complaints().concat().contains("403"));
    sign_in(&mut browser, &url);
    browser.see("Sell things");
    browser.see_in("Services", "/web/");
    let plain = browser.without_scripts(&url);
    assert!(plain.contains("Sell things") && plain.contains("/web/"), "{plain}");

    // The page stays the same document from here on.
    browser.run("window.stayed = true");
    let second = push_slow(&world);
    world.deliver(&second);
    browser.see_in("In progress", "bringing up");
    browser.see("Live, a change is on its way");
    browser.looks_right_in_pictures("rolling", &world.name);
    browser.see_in("In progress", "Nothing.");
    world.live(&second);
    browser.see("Release 2");
    assert_eq!(browser.run("window.stayed"), true, "the page was loaded anew");
    browser.see("Undo: back to release 1");
    browser.looks_right_in_pictures("well", &world.name);
    assert!(!browser.text().contains(PASSWORD));

    browser.press("link", "Run 2");
    browser.see("release 2");
    browser.see_in("Log", "switching requests to the new instances");
    let build = browser.run("document.querySelector('details pre').textContent");
    assert!(build.as_str().unwrap_or_default().contains("COPY"), "{build}");
    assert!(!browser.text().contains(PASSWORD));
    browser.looks_right("run");

    browser.open(&url);
    browser.press("link", "Go back to release 1");
    browser.see("Go back to release 1?");
    browser.see("web: image changed");
    browser.looks_right("confirm");
    assert_eq!(world.target(), Target::Branch, "asking is not doing");
    browser.press("button", "Go back");
    browser.see("going back to release 1");
    browser.see("Live and held");
    assert_eq!(world.says(WEB), "web 1");
    browser.see_in("In progress", "Nothing.");
    let run = world.runs().remove(0);
    assert_eq!((run.kind, &run.outcome), (Kind::Rollback, &Some(Outcome::Succeeded)));
    browser.see_in("Kept out", "it was rolled back");
    browser.looks_right_in_pictures("held", &world.name);

    browser.press("link", "Resume");
    browser.press("button", "Resume");
    browser.see("following the branch again");
    world.eventually("the second version", || (world.says(WEB) == "web 2").then_some(()));
    assert_eq!(browser.complaints(), [""; 0]);

    browser.press("button", "Sign out");
    browser.see("Sign in");
    for way in [&url, &port] {
        browser.open(way);
        assert!(browser.url().starts_with(&format!("{way}sign-in")), "{}", browser.url());
    }
    assert!(!browser.text().contains("not encrypted"), "the way to the port is a tunnel");
}

#[test]
fn a_failed_push_is_told_with_its_log_and_tried_again_by_hand() {
    let (world, Ways { port: url, .. }) = world("/agent/");
    let mut browser = Browser::start();
    sign_in(&mut browser, &url);
    let says =
        "echo starting with 2 workers; echo 'connecting to db:5432'; echo 'fatal: no database shop'; exit 4";
    world.repo.write("web/Dockerfile", format!("FROM agenttest-base:1\nCMD [\"sh\", \"-c\", \"{says}\"]\n"));
    let bad = world.repo.push("Keep baskets in a database");
    world.deliver(&bad);
    browser.see(&format!("{} did not go live", &bad[..10]));
    browser.see("no database");
    browser.see_in("Kept out", &bad[..10]);
    browser.see_in("In progress", "Nothing.");
    browser.see("Live, the newest push is not");
    browser.looks_right_in_pictures("failed", &world.name);
    let runs = world.runs().len();
    browser.press("link", "Try again");
    browser.press("button", "Try again");
    browser.see("trying");
    world.eventually("another attempt", || (world.runs().len() > runs).then_some(()));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn neither_a_script_in_the_page_nor_another_site_can_do_anything() {
    let (mut world, Ways { nginx: url, .. }) = world("/agent/");
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    let mut browser = Browser::start();
    sign_in(&mut browser, &url);

    browser.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.broken = 1\">');
         const script = document.createElement('script');
         script.textContent = 'window.broken = 1';
         document.body.append(script);",
    );
    let told = browser.run("fetch('http://localhost:1/').then(() => 'sent', () => 'refused')");
    assert_eq!(told, "refused");
    assert_eq!(browser.run("window.broken === undefined"), true, "an inline script ran");
    let complaints = browser.complaints().join("\n");
    for directive in ["script-src", "connect-src"] {
        assert!(complaints.contains(directive), "nothing held by {directive}: {complaints}");
    }

    // On another port of the same machine: the nearest another site can be. The browser brings the cookie along.
    let form = format!("<form method=post action=\"{url}releases/1/rollback\"><button>Win</button></form>");
    let other = browser.another_site(&form);
    browser.open(&other);
    browser.run("document.forms[0].submit()");
    world.eventually("an answer", || browser.url().starts_with(&url).then_some(()));
    assert!(browser.run("document.body.innerText").as_str().unwrap().contains("nothing was done"));
    let framed = browser.another_site(&format!("<iframe src=\"{url}\"></iframe>"));
    browser.open(&framed);
    assert!(browser.complaints().join("\n").contains("frame-ancestors"));
    assert_eq!(world.target(), Target::Branch);
    assert_eq!(world.says(WEB), "web 2");
    browser.open(&url);
    browser.see("Release 2");
    browser.press("link", "Go back to release 1");
    browser.tick("Stay there until somebody resumes");
    browser.press("button", "Go back");
    browser.see("Live and held");
    browser.see("stays out until somebody resumes");
    assert_eq!(world.says(WEB), "web 1", "the person could");

    // nginx answers for an agent that is away; the page waits for it, and then knows that its session is over.
    world.kill();
    browser.see("Not connected");
    browser.looks_right("away");
    world.start();
    browser.see("Sign in to");
}

#[test]
fn dead_letters_are_seen_and_sent_again() {
    let mut world = stripe::company();
    let Ways { nginx: url, .. } = open_dashboard(&mut world, "agent.localhost/");
    world.start();
    world.live(&world.repo.git(&["rev-parse", "HEAD"]));
    let till = world.container("till");
    docker(&["exec", &till, "touch", "/data/closed"]);
    for (id, kind) in [("evt_1", "checkout.session.completed"), ("evt_2", "payment_intent.succeeded")] {
        assert_eq!(world.pay(id, kind), 200);
    }
    let mut browser = Browser::start();
    sign_in(&mut browser, &url);
    browser.see_in("Stripe", "2 dead");
    browser.see("Live, with dead letters");
    assert_eq!(world.pay("evt_3", "invoice.paid"), 200);
    browser.see_in("Stripe", "nobody wanted it");
    browser.looks_right_in_pictures("dead-letters", &world.name);
    let plain = browser.without_scripts(&url);
    assert!(plain.contains("2 dead") && plain.contains("checkout.session.completed"), "{plain}");

    let form = format!("<form method=post action=\"{url}dead-letters\"></form>");
    let other = browser.another_site(&form);
    browser.open(&other);
    browser.run("document.forms[0].submit()");
    world.eventually("an answer", || browser.url().starts_with(&url).then_some(()));
    assert!(
        browser.run("document.body.innerText").as_str().unwrap().contains("sign in first; nothing was done")
    );
    browser.complaints();

    browser.open(&url);
    browser.press("link", "checkout.session.completed");
    browser.see_in("Deliveries", "till: dead");
    browser.see_in("Attempts", "410");
    browser.looks_right("event");
    docker(&["exec", &till, "rm", "/data/closed"]);
    browser.press("link", "Send again");
    browser.see("Send evt_1 again?");
    browser.press("button", "Send again");
    browser.see("sending again: 1 delivery");
    assert!(world.kept_at_last(1)[0].body.contains("evt_1"));
    browser.see_in("Stripe", "1 dead");
    browser.see_in("Stripe", "till: delivered");

    browser.press("link", "Send all again");
    browser.press("button", "Send again");
    browser.see("sending again: 1 delivery");
    assert!(world.kept_at_last(2)[1].body.contains("evt_2"));
    browser.see_in("Stripe", "Everything is delivered.");
    assert_eq!(browser.complaints(), [""; 0]);
}
