//! The kill table: the agent is killed at every point where its record grows, in a good roll, a bad roll and a
//! rollback, of services that start first, that stop first, and one after another. The next start ends in the old
//! release or the new one, whole and serving, and says which.
//!
//! No hook in the agent: `strace` kills it in a system call. As a commit's flush begins, the entry is in the log and
//! nothing after it is done. As the commit's first write begins, what the entry tells of is done and the log does
//! not say so. A rehearsal that nobody kills shows where both are.
//!
//! By default each kind goes through a share of the flushes; `AGENTTEST_KILLS=all`
//! (`script/kill-table`) goes through everything.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use agent::model::run::{Outcome, RunId};
use agent::reconcile::{Doing, said};

use crate::client::{Asked, Client};
use crate::daemon::{Daemon, Point};
use crate::docker::docker;
use crate::rolling;
use crate::stack::{API, COMPOSE, WEB, dockerfile, write_apps};
use crate::world::World;

/// Points of a kind, by default.
const SHARE: usize = 1;
const DOOR: &str = "/door/version.txt";

/// What an app behind nginx may answer while the agent is killed.
struct App {
    path: &'static str,
    /// The last one is what it answers in the end.
    says: Vec<String>,
    /// It stops first: for a while it may not answer.
    gap: bool,
    containers: usize,
}

impl App {
    fn name(&self) -> &'static str {
        self.path.split('/').nth(1).expect("the app's name")
    }

    fn stops_first(self) -> Self {
        Self { gap: true, ..self }
    }

    /// As often as it has containers.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::repeat_n(self.name(), self.containers)
    }
}

/// An app in one of these versions, in the end in the last of them.
fn app(path: &'static str, versions: &[u32]) -> App {
    let mut app = App { path, says: Vec::new(), gap: false, containers: 1 };
    app.says = versions.iter().map(|version| format!("{} {version}", app.name())).collect();
    app
}

/// What the agent does when it is killed: gives one that does not run something to do when it starts.
trait Act: FnMut(&World) -> Vec<App> {}

impl<F: FnMut(&World) -> Vec<App>> Act for F {}

/// Pushes the versions after this one.
fn pushes(mut version: u32, mut push: impl FnMut(&World, u32) -> Vec<App>) -> impl Act {
    move |world: &World| {
        version += 1;
        push(world, version)
    }
}

/// In the working tree; each time it is another image.
fn break_web(world: &World, version: u32) {
    let ends = format!("{}# {version}\nCMD [\"false\"]\n", dockerfile("web"));
    world.repo.write("web/Dockerfile", ends);
}

#[test]
fn a_good_roll_killed_anywhere_ends_in_the_new_release() {
    let act = pushes(1, |world, version| {
        world.push_version("web", version);
        vec![app(WEB, &[version - 1, version]), app(API, &[1])]
    });
    table("good roll", World::live_at_once(), act);
}

#[test]
fn a_bad_roll_killed_anywhere_ends_in_the_old_release() {
    let act = pushes(0, |world, version| {
        break_web(world, version);
        world.repo.push("web is broken");
        vec![app(WEB, &[1]), app(API, &[1])]
    });
    table("bad roll", World::live_at_once(), act);
}

#[test]
fn a_rollback_killed_anywhere_ends_in_the_release_that_was_chosen() {
    let world = World::live_at_once();
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    let mut from = 2;
    table("rollback", world, move |world: &World| {
        let to = 3 - from;
        world.agent(&["rollback", &to.to_string(), "--no-wait"]);
        vec![app(WEB, &[std::mem::replace(&mut from, to), to]), app(API, &[1])]
    });
}

/// `web` has a fixed name and a volume, `door` a port of the host: neither can stand beside its successor.
fn stopping_first() -> World {
    let mut world = World::empty();
    let fixed =
        format!("build: ./web\n    container_name: {}-web\n    volumes: [\"data:/data\"]", world.name);
    let door = format!(
        "  door:\n    <<: *app\n    build: ./door\n    ports: [\"127.0.0.1:{}:8000\"]\n    labels:\n      \
         agent.route.port: \"8000\"\n      agent.route.path: /door/\n      agent.probe: {DOOR}\n\
         volumes: {{data: {{}}}}\n",
        world.spare_port()
    );
    write_apps(&world.repo, &(COMPOSE.replace("build: ./web", &fixed) + &door), &["web", "api", "door"]);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    world
}

#[test]
fn a_good_roll_of_what_stops_first_killed_anywhere_ends_in_the_new_release() {
    let act = pushes(1, |world, version| {
        world.repo.write("web/version.txt", format!("web {version}\n"));
        world.push_version("door", version);
        let both = [WEB, DOOR].map(|path| app(path, &[version - 1, version]).stops_first());
        both.into_iter().chain([app(API, &[1])]).collect()
    });
    table("stop-first, good", stopping_first(), act);
}

#[test]
fn a_bad_roll_of_what_stops_first_killed_anywhere_ends_in_the_old_release() {
    // `door` has given way to its successor when that of `web` fails.
    let act = pushes(1, |world, version| {
        break_web(world, version);
        world.push_version("door", version);
        vec![app(WEB, &[1]).stops_first(), app(DOOR, &[1]).stops_first(), app(API, &[1])]
    });
    table("stop-first, bad", stopping_first(), act);
}

#[test]
fn a_roll_of_several_that_stop_first_killed_anywhere_ends_whole() {
    let mut world = World::empty();
    let several = "build: ./web\n    deploy: {replicas: 2, update_config: {order: stop-first}}";
    write_apps(&world.repo, &COMPOSE.replace("build: ./web", several), &["web", "api"]);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    // Every other one is good.
    let mut good = 1;
    let act = pushes(1, move |world, version| {
        let before = good;
        if version.is_multiple_of(2) {
            good = version;
            world.repo.write("web/Dockerfile", dockerfile("web"));
            world.push_version("web", version);
        } else {
            break_web(world, version);
            world.repo.push("web is broken");
        }
        let web = app(WEB, &[before, good]).stops_first();
        vec![App { containers: 2, ..web }, app(API, &[1])]
    });
    table("several", world, act);
}

#[test]
fn a_good_roll_in_steps_killed_anywhere_ends_in_the_new_release() {
    let act = pushes(1, |world, version| {
        rolling::push_both(world, version);
        [WEB, API].map(|path| app(path, &[version - 1, version])).into()
    });
    table("rolling, good", rolling::world(), act);
}

#[test]
fn a_bad_roll_in_steps_killed_anywhere_ends_in_the_old_release() {
    // The step of `api` is live when that of `web` fails.
    let act = pushes(1, |world, version| {
        break_web(world, version);
        world.push_version("api", version);
        vec![app(WEB, &[1]), app(API, &[version, 1])]
    });
    table("rolling, bad", rolling::world(), act);
}

/// Kills the agent in the act at every point, starts it again, and prints what came of each.
fn table(name: &str, mut world: World, mut act: impl Act) {
    world.kill();
    let trace = trace(&world);
    rehearse(&mut world, &mut act);
    let points = points(&fs::read_to_string(&trace).expect("the trace"));
    eprintln!("{:16}  {:13}  {:55}  {:9}  {:23}  {:6}", "", "killed at", "in", "by", "ends in", "failed");
    let mut rows = Vec::new();
    for point in &points {
        let row = killed_at(&mut world, &mut act, point);
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
fn rehearse(world: &mut World, act: &mut impl Act) {
    let apps = act(world);
    let daemon = traced(world, None);
    world.eventually("its end", || rests(world).then_some(()));
    ends(world, &apps, "nothing");
    drop(daemon);
}

fn killed_at(world: &mut World, act: &mut impl Act, point: &Point) -> Row {
    let apps = act(world);
    let paths: Vec<&'static str> = apps.iter().map(|app| app.path).collect();
    let client = Client::start(world.port, &paths);
    let mut daemon = traced(world, Some(point));
    // Another number of writes than in the rehearsal is no wonder: it may come to its end.
    world.eventually("the kill", || (daemon.ended() || rests(world)).then_some(()));
    let killed = daemon.ended();
    drop(daemon);
    let (cut_off, moment) = cut_off(world);

    let start = Instant::now();
    world.start();
    world.eventually("rest", || rests(world).then_some(()));
    let seconds = start.elapsed().as_secs_f64();
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
    let good = |asked: &Asked, app: &App| {
        let says: Vec<&str> = app.says.iter().map(String::as_str).collect();
        asked.path != app.path || asked.is_good(&says)
    };
    let bad = all.into_iter().filter(|asked| !apps.iter().all(|app| good(asked, app)));
    // An answer from the wrong app is worse than none.
    let in_gap = |asked: &Asked| {
        let answered = asked.answer.as_ref().is_ok_and(|answer| answer.status == 200);
        !answered && apps.iter().any(|app| app.gap && app.path == asked.path)
    };
    let (missed, failed): (Vec<Asked>, Vec<Asked>) = bad.partition(in_gap);
    Row { moment, killed, by, end, seconds, asked, failed, missed: missed.len() }
}

/// Everybody answers what is due in the end.
fn ends(world: &World, apps: &[App], after: &str) -> String {
    let end = |app: &App| {
        let says = world.says(app.path);
        assert_eq!(Some(&says), app.says.last(), "after {after}");
        says
    };
    apps.iter().map(end).collect::<Vec<_>>().join(", ")
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
    assert!(flushes >= 4 * SHARE, "hardly anything was traced:\n{trace}");
    if std::env::var("AGENTTEST_KILLS").is_ok_and(|kills| kills == "all") {
        return points;
    }
    points.retain(|point| point.call != "pwrite64");
    // Before the last two thirds hardly anything is touched.
    let late = points.split_off(points.len() / 3);
    // The last is the end itself.
    (1..=SHARE).map(|n| late[n * late.len() / (SHARE + 1)].clone()).collect()
}
