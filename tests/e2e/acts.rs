//! What the agent does to a stack, over and over, while something happens to it: a good roll, a bad one, a rollback,
//! each of services that start first, that stop first and that change one after another; a migration, a new nginx, a
//! repair, a release that turns bad. For each is known what every app may answer meanwhile, and must in the end.

use agent::reconcile::Doing;

use crate::client::Asked;
use crate::daemon::Daemon;
use crate::docker::docker;
use crate::rolling;
use crate::stack::{API, COMPOSE, WEB, dockerfile, write_apps};
use crate::world::World;

const DOOR: &str = "/door/version.txt";

/// Whether tables go through everything, not only through a share.
pub(crate) fn all() -> bool {
    std::env::var_os("AGENTTEST_ALL").is_some()
}

/// What an app behind nginx may answer during an act.
pub(crate) struct App {
    pub(crate) path: &'static str,
    /// The last one is what it answers in the end.
    pub(crate) says: Vec<String>,
    /// It stops first, or something happens to it: for a while it may not answer.
    pub(crate) gap: bool,
    pub(crate) containers: usize,
}

impl App {
    pub(crate) fn name(&self) -> &'static str {
        self.path.split('/').nth(1).expect("the app's name")
    }

    fn with_gap(self) -> Self {
        Self { gap: true, ..self }
    }

    /// As often as it has containers.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::repeat_n(self.name(), self.containers)
    }
}

/// An app in one of these versions, in the end in the last of them.
fn app(path: &'static str, versions: &[u32]) -> App {
    let mut app = App { path, says: Vec::new(), gap: false, containers: 1 };
    app.says = versions.iter().map(|version| format!("{} {version}", app.name())).collect();
    app
}

type Act = Box<dyn FnMut(&World) -> Vec<App>>;

/// A world whose first version is live, and something to do in it.
pub(crate) struct Case {
    pub(crate) world: World,
    /// Gives the agent something to do; one that does not run does it when it starts.
    pub(crate) act: Act,
    /// It is not at its end before the watch is.
    pub(crate) watched: bool,
    /// Whoever asks for what is down waits for it.
    pub(crate) waits: bool,
}

impl Case {
    /// The act is given the next version, from 2 on.
    fn of(world: World, mut act: impl FnMut(&World, u32) -> Vec<App> + 'static) -> Self {
        let mut version = 1;
        let act = move |world: &World| {
            version += 1;
            act(world, version)
        };
        Self { world, act: Box::new(act), watched: false, waits: false }
    }

    /// Nothing is left to do.
    pub(crate) fn rests(&self) -> bool {
        self.world.try_status().is_some_and(|status| {
            let situation = status.situation;
            let watched = self.watched && situation.watching.is_some();
            situation.doing == Doing::Idle && !status.pending && !watched && situation.turns > 0
        })
    }
}

fn live(mut world: World, compose: &str, apps: &[&str]) -> World {
    write_apps(&world.repo, compose, apps);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    world
}

fn both(world: World) -> World {
    live(world, COMPOSE, &["web", "api"])
}

/// In the working tree; each time it is another image.
fn break_web(world: &World, version: u32) {
    let ends = format!("{}# {version}\nCMD [\"false\"]\n", dockerfile("web"));
    world.repo.write("web/Dockerfile", ends);
}

pub(crate) fn good(world: World) -> Case {
    Case::of(both(world), |world, version| {
        world.push_version("web", version);
        vec![app(WEB, &[version - 1, version]), app(API, &[1])]
    })
}

pub(crate) fn bad(world: World) -> Case {
    Case::of(both(world), |world, version| {
        break_web(world, version);
        world.repo.push("web is broken");
        vec![app(WEB, &[1]), app(API, &[1])]
    })
}

pub(crate) fn rollback(world: World) -> Case {
    let world = both(world);
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    Case::of(world, |world, version| {
        let to = 1 + version % 2;
        world.agent(&["rollback", &to.to_string(), "--no-wait"]);
        vec![app(WEB, &[3 - to, to]), app(API, &[1])]
    })
}

/// A good roll, a bad one, and a rollback.
pub(crate) fn in_turn(world: World) -> Case {
    let patient = COMPOSE.replace("timeout: 3s", "timeout: 15s");
    Case::of(live(world, &patient, &["web", "api"]), |world, version| {
        let web = match version {
            2 => {
                // Slow to begin, so that there is time for what strikes it.
                let slow = dockerfile("web").replace(
                    "[\"httpd\"",
                    "[\"sh\", \"-c\", \"sleep 3; exec \\\"$@\\\"\", \"sh\", \"httpd\"",
                );
                world.repo.write("web/Dockerfile", slow);
                world.push_version("web", 2);
                app(WEB, &[1, 2])
            }
            3 => {
                break_web(world, 3);
                world.repo.push("web is broken");
                app(WEB, &[2])
            }
            _ => {
                world.agent(&["rollback", "1", "--no-wait"]);
                app(WEB, &[2, 1])
            }
        };
        vec![web, app(API, &[1])]
    })
}

/// `web` has a fixed name and a volume, `door` a port of the host: neither can stand beside its successor.
fn stopping_first(world: World) -> World {
    let fixed =
        format!("build: ./web\n    container_name: {}-web\n    volumes: [\"data:/data\"]", world.name);
    let door = format!(
        "  door:\n    <<: *app\n    build: ./door\n    ports: [\"127.0.0.1:{}:8000\"]\n    labels:\n      \
         agent.route.port: \"8000\"\n      agent.route.path: /door/\n      agent.probe: {DOOR}\n\
         volumes: {{data: {{}}}}\n",
        world.spare_port()
    );
    live(world, &(COMPOSE.replace("build: ./web", &fixed) + &door), &["web", "api", "door"])
}

pub(crate) fn stop_first_good(world: World) -> Case {
    let case = Case::of(stopping_first(world), |world, version| {
        world.repo.write("web/version.txt", format!("web {version}\n"));
        world.push_version("door", version);
        let both = [WEB, DOOR].map(|path| app(path, &[version - 1, version]).with_gap());
        both.into_iter().chain([app(API, &[1])]).collect()
    });
    Case { waits: true, ..case }
}

/// `door` has given way to its successor when that of `web` fails.
pub(crate) fn stop_first_bad(world: World) -> Case {
    let case = Case::of(stopping_first(world), |world, version| {
        break_web(world, version);
        world.push_version("door", version);
        vec![app(WEB, &[1]).with_gap(), app(DOOR, &[1]).with_gap(), app(API, &[1])]
    });
    Case { waits: true, ..case }
}

/// Two of `web` that stop first; every other version is good.
pub(crate) fn several(world: World) -> Case {
    let several = "build: ./web\n    deploy: {replicas: 2, update_config: {order: stop-first}}";
    let world = live(world, &COMPOSE.replace("build: ./web", several), &["web", "api"]);
    let mut good = 1;
    let case = Case::of(world, move |world, version| {
        let before = good;
        if version.is_multiple_of(2) {
            good = version;
            world.repo.write("web/Dockerfile", dockerfile("web"));
            world.push_version("web", version);
        } else {
            break_web(world, version);
            world.repo.push("web is broken");
        }
        let web = app(WEB, &[before, good]).with_gap();
        vec![App { containers: 2, ..web }, app(API, &[1])]
    });
    Case { waits: true, ..case }
}

fn in_steps(mut world: World) -> World {
    world.roll = "mode = \"rolling\"\n".to_owned();
    both(world)
}

pub(crate) fn rolling_good(world: World) -> Case {
    Case::of(in_steps(world), |world, version| {
        rolling::push_both(world, version);
        [WEB, API].map(|path| app(path, &[version - 1, version])).into()
    })
}

/// The step of `api` is live when that of `web` fails.
pub(crate) fn rolling_bad(world: World) -> Case {
    Case::of(in_steps(world), |world, version| {
        break_web(world, version);
        world.push_version("api", version);
        vec![app(WEB, &[1]), app(API, &[version, 1])]
    })
}

/// `web` waits for a migration, which refuses data that are newer than it is. It may run twice, one after the other:
/// the agent was killed before it could know of the first.
pub(crate) fn migrating(world: World) -> Case {
    const MIGRATE: &str = "last=$(tail -n 1 /data/done 2>/dev/null || echo 0); mine=$(cat /www/prepare/version.txt); \
        mine=${mine#prepare }; [ \"$last\" -le \"$mine\" ] || exit 1; echo \"$mine\" >>/data/done";
    let after = "build: ./web\n    depends_on: {prepare: {condition: service_completed_successfully}}";
    let prepare = "  prepare:\n    build: ./prepare\n    restart: \"no\"\n    volumes: [\"data:/data\"]\n\
        volumes: {data: {}}\n";
    world.repo.write(
        "prepare/Dockerfile",
        "FROM agenttest-base:1\nCOPY . /www/prepare/\nCMD [\"sh\", \"/www/prepare/migrate\"]\n",
    );
    world.repo.write("prepare/migrate", MIGRATE);
    let compose = COMPOSE.replace("build: ./web", after) + prepare;
    Case::of(live(world, &compose, &["web", "api", "prepare"]), |world, version| {
        let volume = format!("{}_data:/data:ro", world.name);
        let done =
            docker(&["run", "--rm", "-v", &volume, "agenttest-base:1", "tail", "-n", "1", "/data/done"]);
        assert_eq!(done, (version - 1).to_string(), "the last act's migration");
        world.repo.write("prepare/version.txt", format!("prepare {version}\n"));
        world.push_version("web", version);
        vec![app(WEB, &[version - 1, version]), app(API, &[1])]
    })
}

pub(crate) fn of_nginx(world: World) -> Case {
    Case::of(both(world), |world, version| {
        let with = format!("image: nginx:1.30\n    environment: {{A: \"{version}\"}}");
        world.repo.change("compose.yaml", &COMPOSE.replace("image: nginx:1.30", &with));
        vec![app(WEB, &[1]).with_gap(), app(API, &[1]).with_gap()]
    })
}

/// Somebody has removed a container. Where mending is begun five times in a row it would be left as it is, so now and
/// then there is a new release in between.
pub(crate) fn healing(world: World) -> Case {
    let mut live = 1;
    Case::of(both(world), move |world, version| {
        if version.is_multiple_of(2) {
            live = version;
            let revision = world.push_version("web", version);
            let daemon = Daemon::start(&world.write_config(), &world.log_file());
            world.live(&revision);
            daemon.kill();
        }
        docker(&["rm", "-f", &world.container("api")]);
        vec![app(WEB, &[live]), app(API, &[1]).with_gap()]
    })
}

/// It ends by itself when it has been live for a while, again and again.
pub(crate) fn turning_bad(mut world: World) -> Case {
    world.roll = "watch = \"20s\"\n".to_owned();
    let case = Case::of(both(world), |world, version| {
        let ends = dockerfile("web").replace("[\"httpd\"", "[\"timeout\", \"3\", \"httpd\"");
        world.repo.write("web/Dockerfile", ends);
        world.push_version("web", version);
        vec![app(WEB, &[1, version, 1]).with_gap(), app(API, &[1])]
    });
    Case { watched: true, ..case }
}

/// Everybody answers what is due in the end.
pub(crate) fn ends(world: &World, apps: &[App], after: &str) -> String {
    let end = |app: &App| {
        let says = world.says(app.path);
        assert_eq!(Some(&says), app.says.last(), "after {after}");
        says
    };
    apps.iter().map(end).collect::<Vec<_>>().join(", ")
}

/// What was asked and not answered well.
pub(crate) struct Sorted {
    /// There must have been an answer, or there was one by somebody else.
    pub(crate) failed: Vec<Asked>,
    /// The others, in a gap.
    pub(crate) missed: Vec<Asked>,
}

pub(crate) fn sorted(all: Vec<Asked>, apps: &[App]) -> Sorted {
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
    Sorted { failed, missed }
}
