//! Revisions that may not run (yet): they are held back and said to be, and what runs goes on.

use std::process::Command;

use agent::orders::Order;
use agent::reconcile::HeldBack;

use crate::github::GitHub;
use crate::stack::{COMPOSE, WEB};
use crate::world::World;

impl World {
    /// Waits until this revision is held back for a reason that says this.
    fn held_back(&self, revision: &str, why: &str) -> HeldBack {
        self.eventually(&format!("{revision} held back: {why}"), || {
            let held = self.status().situation.held_back?;
            (held.revision == revision && held.why.contains(why)).then_some(held)
        })
    }

    fn untouched(&self, revision: &str, says: &str) {
        assert_eq!(self.says(WEB), says);
        assert!(self.runs().iter().all(|run| run.revision != revision), "a run began");
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let mut program = Command::new(env!("CARGO_BIN_EXE_agent"));
        program.args(arguments).arg("--config").arg(self.path().join("agent.toml")).env("NO_COLOR", "1");
        let done = program.output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

#[test]
fn only_commits_signed_with_a_listed_key_run() {
    let mut world = World::empty();
    let key = |name: &str| {
        let path = world.path().join(name);
        let mut keygen = Command::new("ssh-keygen");
        assert!(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status().unwrap().success());
        path
    };
    let (mine, theirs) = (key("mine"), key("theirs"));
    let allowed = world.path().join("allowed_signers");
    let line = std::fs::read_to_string(mine.with_extension("pub")).unwrap();
    std::fs::write(&allowed, format!("ada@example.com {line}")).unwrap();
    world.settings += &format!("[gates]\nsigned_by = \"{}\"\n", allowed.display());
    world.repo.git(&["config", "gpg.format", "ssh"]);
    world.repo.git(&["config", "commit.gpgsign", "true"]);
    let sign_with = |world: &World, key: &std::path::Path| {
        world.repo.git(&["config", "user.signingkey", key.to_str().unwrap()]);
    };
    sign_with(&world, &mine);
    crate::stack::write(&world.repo, COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);

    sign_with(&world, &theirs);
    let stranger = world.push_version("web", 2);
    world.deliver(&stranger);
    let held = world.held_back(&stranger, "nobody signed it who is allowed to");
    assert_eq!(held.again_at, None);
    world.repo.git(&["config", "commit.gpgsign", "false"]);
    let unsigned = world.push_version("web", 3);
    world.deliver(&unsigned);
    world.held_back(&unsigned, "it is not signed");
    world.untouched(&stranger, "web 1");
    world.untouched(&unsigned, "web 1");
    let status = world.agent(&["status"]);
    assert!(status.contains("is held back:\n  it is not signed\n"), "{status}");
    assert!(status.contains("until something new is pushed"), "{status}");

    world.repo.git(&["config", "commit.gpgsign", "true"]);
    sign_with(&world, &mine);
    let signed = world.push_version("web", 4);
    world.deliver(&signed);
    world.live(&signed);
    assert_eq!(world.says(WEB), "web 4");
    assert_eq!(world.status().situation.held_back, None);
}

#[test]
fn a_freeze_holds_new_revisions_and_not_a_rollback() {
    let mut world = World::live_at_once();
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    drop(world.daemon.take());
    world.settings += "[gates]\nfreeze = [\"00:00 - 12:00\", \"12:00 - 24:00\"]\n";
    world.start();
    let third = world.push_version("web", 3);
    world.deliver(&third);
    assert!(world.held_back(&third, "frozen until").again_at.is_some());
    let said = world.refused(&["deploy"]);
    assert!(said.contains("is held back: frozen until"), "{said}");
    assert!(said.contains("agent deploy --despite-freeze"), "{said}");
    world.untouched(&third, "web 2");

    world.agent(&["rollback"]);
    assert_eq!(world.says(WEB), "web 1");
    // A new commit lifts the pin only when it may run.
    world.look();
    assert_eq!(world.says(WEB), "web 1");
    world.ordered(&Order::Deploy { allow_prune: false, despite_freeze: true });
    world.live(&third);
    assert_eq!(world.says(WEB), "web 3");
}

#[test]
fn a_message_keeps_its_revision_back_until_the_next_commit() {
    let world = World::live_at_once();
    world.repo.write("web/version.txt", "web 2\n");
    let skipped = world.repo.push("Try something\n\nNot yet. [skip deploy]");
    world.deliver(&skipped);
    world.held_back(&skipped, "its message says [skip deploy]");
    world.untouched(&skipped, "web 1");
    let next = world.repo.push("Now");
    world.deliver(&next);
    world.live(&next);
    assert_eq!(world.says(WEB), "web 2");
}

#[test]
fn a_revision_waits_for_its_required_checks() {
    let mut world = World::empty();
    let github = GitHub::start();
    std::fs::write(world.path().join("token"), "a-token\n").unwrap();
    world.settings += &format!(
        "[gates]\nrequired_checks = [\"test\", \"style / lint\"]\n\
         [github]\napi_url = \"{}\"\ntoken_file = \"token\"\n",
        github.url
    );
    crate::stack::write(&world.repo, COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    assert!(world.held_back(&first, "the check `test` has not begun").again_at.is_some());
    for (run, why) in [
        (("test", "in_progress", None), "the check `test` has not ended"),
        (("test", "completed", Some("failure")), "the check `test` did not pass"),
        (("test", "completed", Some("success")), "the check `style / lint` has not begun"),
    ] {
        github.run(run.0, run.1, run.2);
        world.look();
        world.held_back(&first, why);
    }
    github.status("style / lint", "pending");
    world.look();
    world.held_back(&first, "the check `style / lint` has not ended");
    assert!(world.runs().is_empty(), "a run began");
    github.status("style / lint", "success");
    world.look();
    world.live(&first);
    let asked = github.asked();
    let expected = format!("GET /repos/acme/shop/commits/{first}/check-runs?check_name=test&per_page=100");
    assert!(asked[0].starts_with(&expected) && asked[0].ends_with(" bearer a-token"), "{asked:?}");
}

#[test]
fn a_new_probe_that_what_runs_has_no_answer_to_is_refused() {
    let world = World::live_at_once();
    let web = world.container("web");
    let bad = world.push_compose("agent.probe: /web/version.txt", "agent.probe: /web/ready");
    world.deliver(&bad);
    let failure = world.failed(&bad);
    assert_eq!(failure.service.as_deref(), Some("web"));
    assert!(failure.message.contains("404"), "{failure:?}");
    // Its build context is what it serves.
    let good = world.push_compose("agent.probe: /web/ready", "agent.probe: /web/Dockerfile");
    world.deliver(&good);
    world.live(&good);
    assert_eq!(world.container("web"), web);
}
