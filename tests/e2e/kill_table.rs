//! The kill table: the agent is killed at every point where its record grows, in a good roll, a bad roll and a
//! rollback. The next start ends in the old release or the new one, whole and serving, and says which.
//!
//! No hook in the agent: `strace` kills it in a system call. As a commit's flush begins, the entry is in the log and
//! nothing after it is done. As the commit's first write begins, what the entry tells of is done and the log does
//! not say so. A rehearsal that nobody kills shows where both are.
//!
//! By default each kind goes through a share of the flushes; `AGENTTEST_KILLS=all`
//! (`script/kill-table`) goes through everything.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use agent::model::run::{Outcome, RunId};
use agent::reconcile::{Doing, said};

use crate::client::Asked;
use crate::daemon::{Daemon, Point};
use crate::docker::docker;
use crate::stack::{WEB, dockerfile};
use crate::world::World;

/// Points of a kind, by default.
const SHARE: usize = 3;

/// What the agent does when it is killed.
trait Act {
    /// Gives an agent that does not run something to do when it starts. Says what `web` may answer meanwhile, last
    /// what it answers in the end.
    fn order(&mut self, world: &World) -> Vec<String>;
}

#[test]
fn a_good_roll_killed_anywhere_ends_in_the_new_release() {
    struct Good(u32);
    impl Act for Good {
        fn order(&mut self, world: &World) -> Vec<String> {
            self.0 += 1;
            world.push_version("web", self.0);
            vec![format!("web {}", self.0 - 1), format!("web {}", self.0)]
        }
    }
    table("good roll", World::live_at_once(), Good(1));
}

#[test]
fn a_bad_roll_killed_anywhere_ends_in_the_old_release() {
    struct Bad(u32);
    impl Act for Bad {
        fn order(&mut self, world: &World) -> Vec<String> {
            self.0 += 1;
            let ends = format!("{}# {}\nCMD [\"false\"]\n", dockerfile("web"), self.0);
            world.repo.change("web/Dockerfile", &ends);
            vec!["web 1".into()]
        }
    }
    table("bad roll", World::live_at_once(), Bad(0));
}

#[test]
fn a_rollback_killed_anywhere_ends_in_the_release_that_was_chosen() {
    struct Rollback(i64);
    impl Act for Rollback {
        fn order(&mut self, world: &World) -> Vec<String> {
            let from = self.0;
            self.0 = 3 - from;
            world.agent(&["rollback", &self.0.to_string(), "--no-wait"]);
            vec![format!("web {from}"), format!("web {}", self.0)]
        }
    }
    let world = World::live_at_once();
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    table("rollback", world, Rollback(2));
}

/// Kills the agent in the act at every point, starts it again, and prints what came of each.
fn table(name: &str, mut world: World, mut act: impl Act) {
    world.kill();
    let trace = trace(&world);
    rehearse(&mut world, &mut act);
    let points = points(&fs::read_to_string(&trace).expect("the trace"));
    eprintln!("{:10}  {:24}  {:55}  {:9}  {:9}  {:6}", "", "killed at", "in", "by", "ends in", "failed");
    let mut lost = 0;
    for point in &points {
        let row = killed_at(&mut world, &mut act, point);
        let failed = format!("{}/{}", row.failed.len(), row.asked);
        let at = format!("{} {}", point.call, point.nth);
        let seconds = format!("{:.1} s", row.seconds);
        eprintln!("{name:10}  {at:24}  {:55}  {:9}  {:9}  {failed:6} {seconds}", row.moment, row.by, row.end);
        row.failed.iter().for_each(|asked| eprintln!("    {asked:?}"));
        lost += row.failed.len();
    }
    assert_eq!(lost, 0, "requests were lost");
}

struct Row {
    /// The last line of the log of the run that was cut off.
    moment: String,
    /// What became of that run.
    by: &'static str,
    end: String,
    /// From the next start until it rests.
    seconds: f64,
    asked: usize,
    failed: Vec<Asked>,
}

/// The act with nobody to kill it, for its trace.
fn rehearse(world: &mut World, act: &mut impl Act) {
    let says = act.order(world);
    let daemon = traced(world, None);
    world.eventually("its end", || rests(world).then_some(()));
    assert_eq!(Some(&world.says(WEB)), says.last());
    drop(daemon);
}

fn killed_at(world: &mut World, act: &mut impl Act, point: &Point) -> Row {
    let says = act.order(world);
    let client = world.client();
    let mut daemon = traced(world, Some(point));
    // Another number of writes than in the rehearsal is no wonder: it may come to its end.
    world.eventually("the kill", || (daemon.ended() || rests(world)).then_some(()));
    drop(daemon);
    let (cut_off, moment) = cut_off(world);

    let start = Instant::now();
    world.start();
    world.eventually("rest", || rests(world).then_some(()));
    let seconds = start.elapsed().as_secs_f64();
    world.whole();
    let end = world.says(WEB);
    assert_eq!(Some(&end), says.last(), "after {moment}");
    told(world);
    world.kill();

    let outcome = world.runs().into_iter().find(|run| Some(run.id) == cut_off).and_then(|run| run.outcome);
    let by = match outcome {
        None => "-",
        Some(Outcome::Interrupted) => "undoing",
        Some(Outcome::Succeeded) => "finishing",
        other => panic!("cut off after {moment}, the run ended with {other:?}"),
    };
    let says: Vec<&str> = says.iter().map(String::as_str).chain(["api 1"]).collect();
    let asked = client.stop();
    let (number, failed) = (asked.len(), asked.into_iter().filter(|asked| !asked.is_good(&says)).collect());
    Row { moment, by, end, seconds, asked: number, failed }
}

/// The run that has no end, and how far it has come.
fn cut_off(world: &World) -> (Option<RunId>, String) {
    let open: Vec<_> = world.runs().into_iter().filter(|run| run.outcome.is_none()).collect();
    assert!(open.len() <= 1, "{open:#?}");
    let Some(run) = open.first() else { return (None, "no run".into()) };
    let last = world.log(run).last().map_or_else(|| "begun".to_owned(), said);
    (Some(run.id), last.replace(&format!("{}-", world.name), "").chars().take(55).collect())
}

fn rests(world: &World) -> bool {
    world.try_status().is_some_and(|status| {
        status.situation.doing == Doing::Idle && !status.pending && status.situation.turns > 0
    })
}

/// The status names the release that runs.
fn told(world: &World) {
    let current = world.record(async |record| record.current().await.unwrap().unwrap());
    let image = &current.desired.services["web"].template.image.name;
    let runs = docker(&["inspect", "-f", "{{.Image}}", &world.container("web")]);
    assert_eq!(docker(&["image", "inspect", "-f", "{{.Id}}", image]), runs);
    let status = world.try_agent(&["status"]).1;
    assert!(status.contains(&format!("release {},", current.id)), "{status}");
}

fn trace(world: &World) -> PathBuf {
    world.path().join("trace")
}

fn traced(world: &World, point: Option<&Point>) -> Daemon {
    let log = world.state().join("agent.db-wal");
    Daemon::traced(&world.write_config(), &world.log_file(), &log, &trace(world), point)
}

/// Every flush, and of each commit the first write; or a share of the flushes.
fn points(trace: &str) -> Vec<Point> {
    let (mut points, mut writes, mut flushes, mut fresh) = (Vec::new(), 0, 0, true);
    for line in trace.lines() {
        if line.contains("pwrite64(") {
            writes += 1;
            if std::mem::take(&mut fresh) {
                points.push(Point { call: "pwrite64", nth: writes });
            }
        } else if let Some(call) =
            ["fdatasync", "fsync"].into_iter().find(|call| line.contains(&format!(" {call}(")))
        {
            flushes += 1;
            fresh = true;
            points.push(Point { call, nth: flushes });
        }
    }
    assert!(flushes >= 2 * SHARE, "hardly anything was traced:\n{trace}");
    if std::env::var("AGENTTEST_KILLS").is_ok_and(|kills| kills == "all") {
        return points;
    }
    points.retain(|point| point.call != "pwrite64");
    // Before the last two thirds hardly anything is touched.
    let late = points.split_off(points.len() / 3);
    (1..=SHARE).map(|n| late[n * late.len() / SHARE - 1].clone()).collect()
}
