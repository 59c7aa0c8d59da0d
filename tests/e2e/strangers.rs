//! Whatever happens to containers, engine and agent, in whatever order: a path is answered by its own app or not at
//! all. The engine gives freed addresses to whoever comes next, so containers that come and go are the danger.
//!
//! `AGENTTEST_ALL=1` (`script/kill-table`) makes the walk longer, `AGENTTEST_SEED` another one.

use std::ops::Range;
use std::time::Duration;

use agent::reconcile::Doing;

use crate::acts;
use crate::client::Asked;
use crate::docker::try_docker;
use crate::own_engine::{OwnEngine, with_own_engine};
use crate::stack::{API, BOTH, WEB};
use crate::world::World;

const STEPS: usize = 12;
const ALL: usize = 50;
/// Its first twelve steps hold all there is.
const SEED: u64 = 54;

#[test]
fn no_path_is_ever_answered_by_another_app() {
    with_own_engine(|engine| {
        let seed = std::env::var("AGENTTEST_SEED").map_or(SEED, |seed| seed.parse().expect("a number"));
        let walk = Walk {
            world: World::live_at_once(),
            engine,
            random: Random(seed),
            version: 1,
            strangers: 0,
            came: 0,
        };
        walk.through(if acts::all() { ALL } else { STEPS });
    });
}

struct Walk<'a> {
    world: World,
    engine: &'a OwnEngine,
    random: Random,
    version: u32,
    strangers: u32,
    /// Of these there was a network to come to for so many.
    came: u32,
}

impl Walk<'_> {
    fn through(mut self, steps: usize) {
        let client = self.world.client();
        for step in 1..=steps {
            let what = self.step();
            eprintln!("{step:3} {what}");
            std::thread::sleep(Duration::from_millis(self.random.within(0..1500)));
        }
        self.agent_runs();
        // With the last push.
        self.world.eventually("rest", || {
            let status = self.world.status();
            (status.situation.doing == Doing::Idle && !status.pending).then_some(())
        });
        assert!(self.came > 0, "no stranger came");
        let asked = client.stop();
        let wrong: Vec<&Asked> = asked.iter().filter(|asked| is_wrong(asked)).collect();
        let good = asked.iter().filter(|asked| asked.answer.as_ref().is_ok_and(|a| a.status == 200)).count();
        eprintln!("{} asked, {good} answered by the app, {} by another", asked.len(), wrong.len());
        assert!(good > asked.len() / 10, "the site was hardly ever there");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    fn step(&mut self) -> String {
        let app = ["web", "api"][self.random.below(2)];
        match self.random.below(8) {
            0 | 1 => {
                self.version += 1;
                let revision = self.world.push_version(app, self.version);
                // Nobody may be there to hear it.
                if self.world.daemon.is_some() {
                    self.world.deliver(&revision);
                }
                format!("a push: {app} {}", self.version)
            }
            2 => {
                let ids: Vec<String> = self.world.running().into_values().flatten().collect();
                if let Some(id) = ids.get(self.random.below(ids.len().max(1))) {
                    try_docker(&["rm", "-f", id]);
                }
                "a container is removed".into()
            }
            3 => {
                for id in self.world.running().get(app).into_iter().flatten() {
                    try_docker(&["restart", "-t", "0", id]);
                }
                format!("{app} is restarted")
            }
            4 => {
                let signal = ["-TERM", "-KILL"][self.random.below(2)];
                self.engine.restart(signal);
                format!("the engine is restarted by {signal}")
            }
            5 => self.stranger(),
            6 if self.world.daemon.is_some() => {
                self.world.kill();
                "the agent is killed".into()
            }
            _ => {
                self.agent_runs();
                "the agent runs, and with it the site".into()
            }
        }
    }

    /// Somebody else's container on the stack's network takes an address that is free, and answers on the port and
    /// the paths of the apps.
    fn stranger(&mut self) -> String {
        self.strangers += 1;
        let name = format!("{}-stranger-{}", self.world.name, self.strangers);
        let network = format!("{}_default", self.world.name);
        let serve = "mkdir -p /w/web /w/api; echo stranger | tee /w/web/version.txt > /w/api/version.txt; \
                     exec httpd -f -p 8000 -h /w";
        let (made, said) = try_docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "--network",
            &network,
            "--restart",
            "always",
            "agenttest-base:1",
            "sh",
            "-c",
            serve,
        ]);
        assert!(made || said.contains(&format!("network {network} not found")), "{said}");
        self.came += u32::from(made);
        "a stranger comes".into()
    }

    /// Whatever it finds, every app is behind its own path then.
    fn agent_runs(&mut self) {
        if self.world.daemon.is_none() {
            self.world.start();
        }
        let world = &self.world;
        world.eventually("every app behind its own path", || {
            let says = |path, app: &str| {
                let answer = crate::http::get(world.port, path).ok();
                answer.is_some_and(|answer| answer.status == 200 && answer.body.starts_with(app))
            };
            (says(WEB, "web ") && says(API, "api ")).then_some(())
        });
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        for number in 1..=self.strangers {
            try_docker(&["rm", "-f", &format!("{}-stranger-{number}", self.world.name)]);
        }
    }
}

/// Answered well, by somebody whose path it is not.
fn is_wrong(asked: &Asked) -> bool {
    let app =
        BOTH.iter().position(|path| *path == asked.path).map(|n| ["web ", "api "][n]).expect("one of both");
    asked.answer.as_ref().is_ok_and(|answer| answer.status == 200 && !answer.body.starts_with(app))
}

/// Numbers that look like chance and are the same for the same seed (the generator of Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.within(0..end as u64) as usize
    }

    fn within(&mut self, range: Range<u64>) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        range.start + (self.0 >> 33) % (range.end - range.start).max(1)
    }
}
