//! Many pushes at once, and those that are none.

use std::time::{Duration, Instant};

use agent::model::run::{Entry, Outcome};

use crate::git_repo::git;
use crate::stack::WEB;
use crate::world::World;

#[test]
fn of_thirty_pushes_in_a_row_the_last_is_live_after_two_runs() {
    let world = World::live_at_once();
    let commits: Vec<String> = (1..=30)
        .map(|n| {
            world.repo.write("web/version.txt", format!("web 1.{n}\n"));
            world.repo.git(&["commit", "-q", "-a", "-m", &format!("number {n}")]);
            world.repo.git(&["rev-parse", "HEAD"])
        })
        .collect();
    world.repo.git(&["push", "-q", "origin", "HEAD:refs/heads/all"]);
    let before = world.runs().len();
    let client = world.client();
    for commit in &commits {
        git(&world.repo.bare, &["update-ref", "refs/heads/main", commit]);
        let asked = Instant::now();
        world.deliver(commit);
        assert!(asked.elapsed() < Duration::from_secs(1), "answered after {:?}", asked.elapsed());
    }
    let last = commits.last().unwrap();
    world.live(last);
    let asked = client.stop();
    assert!(asked.iter().all(|asked| asked.answer.as_ref().is_ok_and(|answer| answer.status == 200)));
    assert_eq!(world.says(WEB), "web 1.30");
    let runs = world.runs();
    let new = &runs[..runs.len() - before];
    assert!(new.len() <= 2, "{new:#?}");
    for older in &new[1..] {
        let superseded = matches!(&older.outcome, Some(Outcome::Superseded { by }) if commits.contains(by));
        assert!(superseded || older.outcome == Some(Outcome::Succeeded), "{older:#?}");
    }
}

#[test]
fn a_newer_push_does_not_wait_for_what_an_old_instance_still_does() {
    let mut world = World::empty();
    world.settings += "[roll]\ndrain = \"10m\"\n";
    crate::stack::write(&world.repo, crate::stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let held = world.connect_to("web");
    let (oldest, client) = (world.container("web"), world.client());
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.eventually("the second version", || (world.applied()? == second).then_some(()));
    let third = world.push_version("web", 3);
    world.deliver(&third);
    world.eventually("the third version", || (world.applied()? == third).then_some(()));
    let run = world.live_run(&second);
    let left = |entry: &Entry| matches!(entry, Entry::Note { text } if text.contains("something newer"));
    assert!(world.log(&run).iter().any(left), "{:#?}", world.log(&run));
    assert!(world.running()["web"].contains(&oldest), "what it does is not cut");
    drop(held);
    world.live(&third);
    assert_ne!(world.container("web"), oldest);
    client.all_good(&["web 1", "web 2", "web 3", "api 1"]);
}

#[test]
fn a_forged_push_wakes_nobody() {
    let world = World::live_at_once();
    let revision = world.repo.change("README.md", "hello\n");
    world.look();
    world.live(&revision);
    let turns = world.status().situation.turns;
    let revision = world.push_version("web", 2);
    assert_eq!(world.deliver_signed(&revision, "a guess").status, 401);
    let status = world.status();
    assert_eq!((status.situation.turns, status.pending), (turns, false));
    assert_eq!(world.deliver_signed(&revision, "the webhook's secret").status, 202);
    world.live(&revision);
    assert_eq!(world.deliver_signed(&revision, "the webhook's secret").status, 200, "a repeated delivery");
}
