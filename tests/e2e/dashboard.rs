//! The dashboard in a real browser, while things happen.

use agent::model::run::{Kind, Outcome};
use agent::record::Target;

use crate::browser::Browser;
use crate::stack::{COMPOSE, WEB, dockerfile};
use crate::world::{World, free_port};

const TOKEN: &str = "0b5d6f1c2a9e4837a1c0ffee";
const PASSWORD: &str = "correct horse battery staple";

/// The first version is live, and there is a dashboard.
fn world() -> (World, String) {
    let mut world = World::empty();
    let port = free_port();
    let token = world.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).expect("token");
    world.settings +=
        &format!("[dashboard]\nlisten = \"127.0.0.1:{port}\"\ntoken_file = \"{}\"\n", token.display());
    let secret = format!("build: ./web\n    environment: {{PASSWORD: {PASSWORD}}}");
    crate::stack::write(&world.repo, &COMPOSE.replace("build: ./web", &secret));
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    (world, format!("http://127.0.0.1:{port}/"))
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
    world.push_compose("health_timeout: 3s", "health_timeout: 30s")
}

#[test]
fn a_person_signs_in_watches_a_roll_and_goes_back() {
    let (world, url) = world();
    let mut browser = Browser::start();
    browser.open(&url);
    assert!(browser.url().contains("sign-in"), "{}", browser.url());
    browser.looks_right("sign-in");
    browser.fill("Token", "not the token at all");
    browser.press("button", "Sign in");
    browser.see("That is not the token.");
    assert!(browser.complaints().concat().contains("403"));
    sign_in(&mut browser, &url);
    browser.see("the first version");
    browser.see_in("Services", "/web/");
    browser.looks_right("well");
    let plain = browser.without_scripts(&url);
    assert!(plain.contains("the first version") && plain.contains("/web/"), "{plain}");

    // The page stays the same document from here on.
    browser.run("window.stayed = true");
    let second = push_slow(&world);
    world.deliver(&second);
    browser.see_in("In progress", "bringing up");
    browser.see("Live, a change is on its way");
    browser.looks_right("rolling");
    browser.see_in("In progress", "Nothing.");
    world.live(&second);
    browser.see("Release 2");
    assert_eq!(browser.run("window.stayed"), true, "the page was loaded anew");
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
    browser.looks_right("held");

    browser.press("link", "Resume");
    browser.press("button", "Resume");
    browser.see("following the branch again");
    world.eventually("the second version", || (world.says(WEB) == "web 2").then_some(()));
    assert_eq!(browser.complaints(), [""; 0]);

    browser.press("button", "Sign out");
    browser.see("Sign in");
    browser.open(&url);
    assert!(browser.url().contains("sign-in"), "{}", browser.url());
}

#[test]
fn a_failed_push_is_told_with_its_log_and_tried_again_by_hand() {
    let (world, url) = world();
    let mut browser = Browser::start();
    sign_in(&mut browser, &url);
    let text = "FROM agenttest-base:1\nCMD [\"sh\", \"-c\", \"echo no database; exit 4\"]\n";
    let bad = world.repo.change("web/Dockerfile", text);
    world.deliver(&bad);
    browser.see(&format!("{} did not go live", &bad[..10]));
    browser.see("no database");
    browser.see_in("Kept out", &bad[..10]);
    browser.looks_right("failed");
    let runs = world.runs().len();
    browser.press("link", "Try again");
    browser.press("button", "Try again");
    browser.see("trying");
    world.eventually("another attempt", || (world.runs().len() > runs).then_some(()));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn neither_a_script_in_the_page_nor_another_site_can_do_anything() {
    let (world, url) = world();
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
    browser.see("Until somebody resumes");
    assert_eq!(world.says(WEB), "web 1", "the person could");
}
