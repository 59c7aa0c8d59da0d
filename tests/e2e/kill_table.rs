//! The kill table: the agent is killed at every point where its record grows, in each of the things that it does to a
//! stack. The next start ends in the old release or the new one, whole and serving, and says which.
//!
//! No hook in the agent: `strace` kills it in a system call. As a commit's flush begins, the entry is in the log and
//! nothing after it is done. As the commit's first write begins, what the entry tells of is done and the log does
//! not say so. A rehearsal that nobody kills shows where both are.
//!
//! By default each kind goes through one flush, in the midst of what it does, without a rehearsal; `AGENTTEST_ALL=1`
//! (`script/kill-table`) goes through everything.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent::model::run::{Kind, Outcome, RunId};
use agent::reconcile::said;

use crate::acts::{self, App, Case, Sorted, ends, sorted};
use crate::client::{Asked, Client};
use crate::daemon::{Daemon, Point};
use crate::docker::docker;
use crate::world::World;

const LAG: Duration = Duration::from_secs(2);

#[test]
fn a_good_roll_killed_anywhere_ends_in_the_new_release() {
    table("good roll", acts::good(World::empty()), 13);
}

#[test]
fn a_bad_roll_killed_anywhere_ends_in_the_old_release() {
    table("bad roll", acts::bad(World::empty()), 14);
}

#[test]
fn a_rollback_killed_anywhere_ends_in_the_release_that_was_chosen() {
    table("rollback", acts::rollback(World::empty()), 12);
}

#[test]
fn a_good_roll_of_what_stops_first_killed_anywhere_ends_in_the_new_release() {
    table("stop-first, good", acts::stop_first_good(World::empty()), 19);
}

#[test]
fn a_bad_roll_of_what_stops_first_killed_anywhere_ends_in_the_old_release() {
    table("stop-first, bad", acts::stop_first_bad(World::empty()), 23);
}

#[test]
fn a_roll_of_several_that_stop_first_killed_anywhere_ends_whole() {
    table("several", acts::several(World::empty()), 17);
}

#[test]
fn a_good_roll_in_steps_killed_anywhere_ends_in_the_new_release() {
    table("rolling, good", acts::rolling_good(World::empty()), 22);
}

#[test]
fn a_bad_roll_in_steps_killed_anywhere_ends_in_the_old_release() {
    table("rolling, bad", acts::rolling_bad(World::empty()), 24);
}

#[test]
fn a_roll_with_a_one_shot_killed_anywhere_ends_in_the_new_release_and_with_its_data() {
    table("one-shot", acts::migrating(World::empty()), 18);
}

#[test]
fn a_roll_of_nginx_itself_killed_anywhere_ends_in_the_new_release() {
    table("nginx's own", acts::of_nginx(World::empty()), 11);
}

#[test]
fn healing_killed_anywhere_ends_with_everything_mended() {
    table("healing", acts::healing(World::empty()), 9);
}

#[test]
fn a_release_that_turns_bad_killed_anywhere_ends_in_the_one_before() {
    table("turning bad", acts::turning_bad(World::empty()), 28);
}

/// Kills the agent in the act at every point, starts it again, and prints what came of each. By default it is killed in
/// this flush alone.
fn table(name: &str, mut case: Case, flush: usize) {
    case.world.kill();
    let points = match acts::all() {
        true => {
            rehearse(&mut case);
            points(&fs::read_to_string(trace(&case.world)).expect("the trace"))
        }
        false => vec![Point { call: "fsync", nth: flush }],
    };
    eprintln!("{:16}  {:13}  {:55}  {:9}  {:23}  {:6}", "", "killed at", "in", "by", "ends in", "failed");
    let mut rows = Vec::new();
    for point in &points {
        let row = killed_at(&mut case, point);
        let at = format!("{} {}", point.call, point.nth);
        eprintln!("{name:16}  {at:13}  {row}");
        row.failed.iter().for_each(|asked| eprintln!("    {asked:?}"));
        rows.push(row);
    }
    let sum = |number: fn(&Row) -> usize| rows.iter().map(number).sum::<usize>();
    let mut seconds: Vec<f64> = rows.iter().map(|row| row.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let (failed, missed, asked) = (sum(|row| row.failed.len()), sum(|row| row.missed), sum(|row| row.asked));
    eprintln!(
        "{name}: {} points; at rest after {:.1} s (median), {:.1} s (worst); {failed} of {asked} requests failed, \
         {missed} more in the gap of what stops first",
        rows.len(),
        seconds[seconds.len() / 2],
        seconds[seconds.len() - 1],
    );
    assert_eq!(failed, 0, "requests were lost");
    // An act may come to its end with fewer writes than in the rehearsal.
    let missed = rows.iter().filter(|row| !row.killed).count();
    assert!(10 * missed <= rows.len(), "{missed} of {} were not killed", rows.len());
}

struct Row {
    /// The last line of the log of the run that was cut off.
    moment: String,
    killed: bool,
    /// What became of that run.
    by: &'static str,
    end: String,
    /// From the next start until it rests.
    seconds: f64,
    asked: usize,
    /// Those to which there must have been an answer.
    failed: Vec<Asked>,
    /// The others, in a gap.
    missed: usize,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { moment, by, end, seconds, asked, failed, missed, .. } = self;
        let gap = if *missed > 0 { format!(", {missed} in a gap") } else { String::new() };
        write!(f, "{moment:55}  {by:9}  {end:23}  {}/{asked}{gap}  {seconds:.1} s", failed.len())
    }
}

/// The act with nobody to kill it, for its trace.
fn rehearse(case: &mut Case) {
    let apps = (case.act)(&case.world);
    let client = Client::start(case.world.port, &apps.iter().map(|app| app.path).collect::<Vec<_>>());
    let daemon = traced(&case.world, None);
    case.world.eventually("its end", || case.rests().then_some(()));
    ends(&case.world, &apps, "nothing");
    // Who has waited may be on its way through the agent.
    let all = client.stop();
    drop(daemon);
    if case.watched {
        let newest = case.world.runs().remove(0);
        assert_eq!((newest.kind, newest.outcome), (Kind::Revert, Some(Outcome::Succeeded)));
    }
    if case.waits {
        let Sorted { failed, missed } = sorted(all, &apps);
        assert!(failed.is_empty() && missed.is_empty(), "with nobody killed: {failed:#?} {missed:#?}");
    }
}

fn killed_at(case: &mut Case, point: &Point) -> Row {
    let apps = (case.act)(&case.world);
    let paths: Vec<&'static str> = apps.iter().map(|app| app.path).collect();
    let (client, begun) = (Client::start(case.world.port, &paths), Instant::now());
    let mut daemon = traced(&case.world, Some(point));
    // Another number of writes than in the rehearsal is no wonder: it may come to its end.
    let mut lived_at = begun.elapsed();
    case.world.eventually("the kill", || {
        let now = begun.elapsed();
        let over = daemon.ended() || case.rests();
        lived_at = if daemon.ended() { lived_at } else { now };
        over.then_some(())
    });
    let killed = daemon.ended();
    drop(daemon);
    let (cut_off, moment) = cut_off(&case.world);

    let start = Instant::now();
    case.world.start();
    case.world.eventually("rest", || case.rests().then_some(()));
    let seconds = start.elapsed().as_secs_f64();
    let rested_at = begun.elapsed();
    let world = &mut case.world;
    world.whole_with(&apps.iter().flat_map(App::names).collect::<Vec<_>>());
    let end = ends(world, &apps, &moment);
    told(world, &apps);
    // Before the kill: who has waited may be on its way through the agent.
    let all = client.stop();
    world.kill();

    let outcome = world.runs().into_iter().find(|run| Some(run.id) == cut_off).and_then(|run| run.outcome);
    let by = match outcome {
        None => "-",
        Some(Outcome::Interrupted) => "undoing",
        Some(Outcome::Succeeded) => "finishing",
        other => panic!("cut off after {moment}, the run ended with {other:?}"),
    };
    let asked = all.len();
    let Sorted { mut failed, missed } = sorted(all, &apps);
    // Where requests wait, only who waited at the agent that was killed, or came before the next had begun to work.
    // `strace` ends a while after what it has killed.
    let lost = |asked: &Asked| case.waits && (asked.at + asked.took + LAG < lived_at || asked.at > rested_at);
    let (lost, missed): (Vec<Asked>, Vec<Asked>) = missed.into_iter().partition(lost);
    failed.extend(lost);
    Row { moment, killed, by, end, seconds, asked, failed, missed: missed.len() }
}

/// The run that has no end, and how far it has come.
fn cut_off(world: &World) -> (Option<RunId>, String) {
    let open: Vec<_> = world.runs().into_iter().filter(|run| run.outcome.is_none()).collect();
    assert!(open.len() <= 1, "{open:#?}");
    let Some(run) = open.first() else { return (None, "no run".into()) };
    let last = world.log(run).last().map_or_else(|| "begun".to_owned(), said);
    (Some(run.id), last.replace(&format!("{}-", world.name), "").chars().take(55).collect())
}

/// The status names the release that runs.
fn told(world: &World, apps: &[App]) {
    let current = world.record(async |record| record.current().await.unwrap().unwrap());
    for app in apps.iter().map(App::name) {
        let image = &current.desired.services[app].template.image.name;
        for container in &world.running()[app] {
            let runs = docker(&["inspect", "-f", "{{.Image}}", container]);
            assert_eq!(docker(&["image", "inspect", "-f", "{{.Id}}", image]), runs, "{app}");
            let hosts = docker(&["inspect", "-f", "{{.HostsPath}}", container]);
            let hosts = std::fs::read_to_string(hosts.trim()).expect("its hosts file");
            assert!(!hosts.contains("agent"), "{app} is still led: {hosts}");
        }
    }
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

/// Every flush, and of each commit the first write.
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
    assert!(flushes >= 4, "hardly anything was traced:\n{trace}");
    points
}
