//! The fault table: in the midst of a good roll, a bad one and a rollback, and of services that stop first, the
//! engine restarts, a disk is full, the record can no longer be written, or the clock is set back. What is wrong is
//! told; when it is mended, the agent brings what it had begun to its end without a word. Who asks meanwhile is
//! answered, or waits, wherever the engine runs; and never by another app.
//!
//! By default each fault strikes the first three once; `AGENTTEST_ALL=1` (`script/kill-table`) goes through all acts
//! and moments.

use std::any::Any;
use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use agent::model::run::{Entry, Outcome};

use crate::acts::{self, App, Case, Sorted, ends, sorted};
use crate::client::{Asked, Client};
use crate::http;
use crate::own_engine::{OwnEngine, small_disk, with_own_engine};
use crate::told::Moment;
use crate::world::World;

/// An engine that answers has its containers running soon.
const COMES_BACK: Duration = Duration::from_secs(15);

type Named = (&'static str, Moment);

const BUILDING: Named = ("building", |entry| matches!(entry, Entry::Building { .. }));
const BRINGING_UP: Named = ("bringing up", |entry| matches!(entry, Entry::BringingUp { .. }));
const PASSED: Named = ("passed", |entry| matches!(entry, Entry::Passed { .. }));
const SWITCHING: Named = ("switching", |entry| matches!(entry, Entry::Switching));
const SWITCHED: Named = ("switched", |entry| matches!(entry, Entry::Switched));
const REVERTING: Named = ("reverting", |entry| matches!(entry, Entry::Reverting { .. }));

struct Act {
    name: &'static str,
    made: fn(World) -> Case,
    moments: &'static [Named],
}

/// By default, one after the other in one world.
const SHARE: Act =
    Act { name: "good, bad, back", made: acts::in_turn, moments: &[BRINGING_UP, REVERTING, SWITCHING] };

const ACTS: [Act; 5] = [
    Act {
        name: "good roll",
        made: acts::good,
        moments: &[BRINGING_UP, SWITCHED, PASSED, BUILDING, SWITCHING],
    },
    Act { name: "bad roll", made: acts::bad, moments: &[REVERTING, BRINGING_UP, BUILDING] },
    Act { name: "rollback", made: acts::rollback, moments: &[SWITCHING, PASSED, BRINGING_UP, SWITCHED] },
    Act { name: "stop-first, good", made: acts::stop_first_good, moments: &[BRINGING_UP, PASSED, SWITCHED] },
    Act { name: "stop-first, bad", made: acts::stop_first_bad, moments: &[BRINGING_UP, REVERTING] },
];

#[derive(Clone, Copy)]
enum Fault<'a> {
    EngineRestarts(&'a OwnEngine),
    EngineFull(&'a OwnEngine),
    StateFull,
    RecordReadOnly,
    /// By an hour; each time by one more.
    ClockBack(&'a Cell<i64>),
}

#[test]
fn an_engine_that_restarts_in_the_midst_of_anything_stops_nothing_for_good() {
    with_own_engine(|engine| table(Fault::EngineRestarts(engine)));
}

#[test]
fn a_full_disk_of_the_engine_in_the_midst_of_anything_costs_no_request_and_is_told() {
    with_own_engine(|engine| {
        // The data is on a disk of its own from the next start on.
        engine.end("-TERM");
        let _disk = small_disk(&engine.data(), 600);
        engine.begin();
        engine.load();
        table(Fault::EngineFull(engine));
        engine.end("-TERM");
    });
}

#[test]
fn a_full_state_folder_in_the_midst_of_anything_costs_no_request_and_is_told() {
    with_own_engine(|_| table(Fault::StateFull));
}

#[test]
fn a_record_that_can_no_longer_be_written_in_the_midst_of_anything_costs_no_request_and_is_told() {
    table(Fault::RecordReadOnly);
}

#[test]
fn a_clock_set_back_an_hour_in_the_midst_of_anything_costs_no_request() {
    table(Fault::ClockBack(&Cell::new(0)));
}

fn table(fault: Fault) {
    let (mut lost, mut all) = (0, 0);
    let acts: &[Act] = if acts::all() { &ACTS } else { &[SHARE] };
    for Act { name, made, moments } in acts {
        let mut world = World::empty();
        // Nothing keeps it from filling its disks.
        world.settings += "[build]\nmin_free_disk = \"0\"\n";
        let disk = matches!(fault, Fault::StateFull).then(|| small_disk(&world.state(), 24));
        if let Fault::ClockBack(hours) = fault {
            hours.set(0);
            world.set_clock(0);
        }
        let mut case = made(world);
        for moment in *moments {
            let row = struck_at(&mut case, fault, moment.1, all == 0);
            row.failed.iter().for_each(|asked| eprintln!("    {asked:?}"));
            lost += row.failed.len();
            all += row.asked;
            let Row { told, end, seconds, asked, failed, missed } = row;
            eprintln!(
                "{:28}  {name:16}  {:11}  {end:22}  {}/{asked}, {missed} more  {seconds:.1} s  {told}",
                fault.name(),
                moment.0,
                failed.len(),
            );
        }
        drop(disk);
    }
    eprintln!("{}: {lost} of {all} requests failed", fault.name());
    assert_eq!(lost, 0, "requests were lost");
}

struct Row {
    /// What the status said was wrong.
    told: String,
    end: String,
    /// From the mending until it rests.
    seconds: f64,
    asked: usize,
    failed: Vec<Asked>,
    /// In a gap, or while there was no engine.
    missed: usize,
}

fn struck_at(case: &mut Case, fault: Fault, moment: Moment, first: bool) -> Row {
    let before = case.world.runs().first().map(|run| run.id);
    let head = |world: &World| world.repo.git(&["rev-parse", "HEAD"]);
    let old = head(&case.world);
    let apps = (case.act)(&case.world);
    let world = &case.world;
    let client = Client::start(world.port, &apps.iter().map(|app| app.path).collect::<Vec<_>>());
    let begun = Instant::now();
    // Of what is no push, the agent knows.
    if head(world) != old {
        world.deliver(&head(world));
    }
    // The newest, if it is one of this act.
    let run = || world.runs().into_iter().next().filter(|run| Some(run.id) > before);
    world.eventually("the moment", || {
        let run = run()?;
        (run.outcome.is_some() || world.log(&run).iter().any(moment)).then_some(())
    });
    let struck = fault.strike(world);
    let back = begun.elapsed() + COMES_BACK;
    let told = world.eventually("its being told, or the act's end", || {
        let message = world.status().situation.wrong.map(|wrong| wrong.failure.message);
        let told = message.filter(|message| fault.tells(message));
        let ended = run().and_then(|run| run.outcome).map(|outcome| match outcome {
            Outcome::Failed { reason } => reason.message,
            _ => String::new(),
        });
        told.or(ended).or_else(|| fault.is_over_at_once().then(String::new))
    });
    if first && matches!(fault, Fault::StateFull | Fault::RecordReadOnly) {
        assert!(fault.tells(&told), "{told}");
        world.transcript(&fault.name().replace(['\'', ' '], "-"));
    }
    drop(struck);

    let start = Instant::now();
    world.within(Duration::from_secs(90), "rest", || {
        let wrong = world.status().situation.wrong;
        let still = wrong.is_some_and(|wrong| fault.tells(&wrong.failure.message));
        let open = world.runs().iter().any(|run| run.outcome.is_none());
        let seen_through = match run()?.outcome? {
            Outcome::Failed { reason } => !fault.tells(&reason.message),
            Outcome::Interrupted => false,
            _ => true,
        };
        let answers = |app: &App| http::get(world.port, app.path).is_ok_and(|answer| answer.status == 200);
        let up = !fault.costs_requests() || apps.iter().all(answers);
        (case.rests() && seen_through && !still && !open && up).then_some(())
    });
    let seconds = start.elapsed().as_secs_f64();
    let end = ends(world, &apps, "the fault");
    world.whole_with(&apps.iter().flat_map(App::names).collect::<Vec<_>>());
    let all = client.stop();
    let asked = all.len();
    let Sorted { mut failed, missed } = sorted(all, &apps);
    let mut missed = missed.len();
    if fault.costs_requests() {
        // Not who was answered by somebody else, and not for long.
        let excused =
            |asked: &Asked| asked.at < back && !asked.answer.as_ref().is_ok_and(|a| a.status == 200);
        let (excused, others): (Vec<Asked>, Vec<Asked>) = failed.into_iter().partition(excused);
        missed += excused.len();
        failed = others;
    }
    Row { told, end, seconds, asked, failed, missed }
}

impl Fault<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::EngineRestarts(_) => "the engine restarts",
            Self::EngineFull(_) => "the engine's disk is full",
            Self::StateFull => "the state's disk is full",
            Self::RecordReadOnly => "the record is read-only",
            Self::ClockBack(_) => "the clock goes back",
        }
    }

    /// Until what it returns is dropped.
    fn strike(self, world: &World) -> Option<Box<dyn Any>> {
        match self {
            Self::EngineRestarts(engine) => {
                engine.restart(if world.runs().len().is_multiple_of(2) { "-KILL" } else { "-TERM" });
                None
            }
            Self::EngineFull(engine) => Some(Box::new(Filler::fill(&engine.data()))),
            Self::StateFull => Some(Box::new(Filler::fill(&world.state()))),
            Self::RecordReadOnly => Some(Box::new(ReadOnly::make(world))),
            Self::ClockBack(hours) => {
                hours.set(hours.get() - 1);
                world.set_clock(hours.get());
                None
            }
        }
    }

    fn is_over_at_once(self) -> bool {
        matches!(self, Self::EngineRestarts(_) | Self::ClockBack(_))
    }

    /// While there is no engine, nobody answers.
    fn costs_requests(self) -> bool {
        matches!(self, Self::EngineRestarts(_))
    }

    /// Whether a message is about it.
    fn tells(self, message: &str) -> bool {
        let words: &[&str] = match self {
            Self::EngineRestarts(_) => &["engine"],
            Self::EngineFull(_) => &["the engine's disk is full"],
            Self::StateFull => &["the disk that holds the store is full"],
            Self::RecordReadOnly => &["the disk that holds the store cannot be read or written"],
            Self::ClockBack(_) => &[],
        };
        words.iter().any(|word| message.contains(word))
    }
}

/// Takes all the room there is, until it is dropped.
pub(crate) struct Filler(PathBuf);

impl Filler {
    pub(crate) fn fill(folder: &Path) -> Self {
        let path = folder.join("filler");
        let mut file = fs::File::create(&path).expect("filler");
        // In ever smaller pieces, to the last byte.
        for size in [1 << 20, 1 << 12, 1] {
            let piece = vec![1; size];
            while file.write_all(&piece).is_ok() {}
        }
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("the filler goes");
    }
}

/// The agent's writes to its record are refused, as on a file system that the kernel has made read-only.
struct ReadOnly(Child);

impl ReadOnly {
    fn make(world: &World) -> Self {
        let id = world.daemon.as_ref().expect("a daemon").id();
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "TERM",
            "strace",
            "-f",
            "-qqq",
            "-o",
            "/dev/null",
            "-p",
            &id.to_string(),
        ]);
        for file in ["agent.db", "agent.db-wal"] {
            command.arg("-P").arg(world.state().join(file));
        }
        command.args(["-e", "trace=pwrite64", "-e", "signal=none", "-e", "inject=pwrite64:error=EROFS"]);
        let child = command.spawn().expect("strace (package strace)");
        world.eventually("its being watched", || {
            let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            (!status.contains("TracerPid:\t0\n")).then_some(())
        });
        Self(child)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(sent.expect("kill").success());
        self.0.wait().expect("ended");
    }
}
