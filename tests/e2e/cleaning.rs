//! What is kept and what goes: images, files, the container that failed; and the disk that must stay free.

use std::fs;
use std::process::{Command, Stdio};

use agent::model::class::Class;
use agent::model::run::Outcome;
use agent::orders::Order;

use crate::docker::{docker, try_docker};
use crate::stack::{COMPOSE, WEB};
use crate::world::World;

/// Somebody else's: made outside the agent, gone with the test.
struct Foreign(Vec<&'static str>, String);

impl Drop for Foreign {
    fn drop(&mut self) {
        let arguments: Vec<&str> = self.0.iter().copied().chain([self.1.as_str()]).collect();
        try_docker(&arguments);
    }
}

/// An image without a name and almost without content.
fn nameless(label: Option<&str>) -> Foreign {
    let tar = tempfile::tempdir().unwrap();
    fs::write(tar.path().join("file"), format!("{label:?} {}", std::process::id())).unwrap();
    let packed =
        Command::new("tar").args(["-C", tar.path().to_str().unwrap(), "-c", "file"]).output().unwrap();
    fs::write(tar.path().join("image.tar"), packed.stdout).unwrap();
    let change = label.map_or("LABEL nobody=1".to_owned(), |label| format!("LABEL agent.stack={label}"));
    let file = tar.path().join("image.tar");
    let id = docker(&["import", "--change", &change, file.to_str().unwrap()]);
    Foreign(vec!["rmi", "-f"], id)
}

fn there(image: &Foreign) -> bool {
    try_docker(&["image", "inspect", &image.1]).0
}

fn tags(world: &World, app: &str) -> usize {
    docker(&["image", "ls", "-q", &format!("{}-{app}", world.name)]).lines().count()
}

fn entries(world: &World, folder: &str) -> usize {
    fs::read_dir(world.state().join(folder)).map_or(0, |entries| entries.count())
}

#[test]
fn what_no_release_needs_is_removed_and_what_is_foreign_stays() {
    let mut world = World::empty();
    world.settings += "[history]\nkeep = 2\n";
    // What may be gone back to is kept as well.
    world.roll = "watch = \"0s\"\n".to_owned();
    let mounts = "build: ./web\n    volumes: [\"./site:/www/web/site:ro\", \"./rules:/rules:ro\"]\n    \
                  configs: [greeting]";
    let probe = "agent.probe: /web/version.txt";
    let compose = COMPOSE.replacen("build: ./web", mounts, 1).replacen(
        probe,
        &format!("{probe}\n      agent.on_change: /rules=none"),
        1,
    ) + "configs: {greeting: {content: \"hello 1\"}}\n";
    world.repo.write("site/page.txt", "page 1\n");
    world.repo.write("rules/one", "rule 1\n");
    crate::stack::write(&world.repo, &compose);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);

    docker(&["tag", "agenttest-base:1", &format!("{}-web:foreign", world.name)]);
    let name = format!("{}-web-99", world.name);
    docker(&["run", "-d", "--name", &name, "agenttest-base:1", "sleep", "600"]);
    let container = Foreign(vec!["rm", "-f"], name);
    let (foreign, ours) = (nameless(None), nameless(Some(&world.name)));
    for version in 2..=4 {
        world.repo.write("site/page.txt", format!("page {version}\n"));
        world.repo.write("rules/one", format!("rule {version}\n"));
        world.push_compose(&format!("hello {}", version - 1), &format!("hello {version}"));
        let revision = world.push_version("web", version);
        world.deliver(&revision);
        world.live(&revision);
    }
    // Two releases, each with a site, rules, a greeting, an image and a folder for the rules; and the foreign tag.
    let expected = [4, 2, 2, 3, 1];
    let count = |world: &World| {
        let kept = ["files", "objects", "in-place"].map(|folder| entries(world, folder));
        [kept[0], kept[1], kept[2], tags(world, "web"), tags(world, "api")]
    };
    world.eventually("a clean state", || (count(&world) == expected && !there(&ours)).then_some(()));
    assert!(there(&foreign));
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &container.1]), "true");

    world.ordered(&Order::Rollback { release: None, hold: false });
    assert_eq!((world.says(WEB), world.says("/web/site/page.txt")), ("web 3".into(), "page 3".into()));
    let web = world.container("web");
    assert_eq!(docker(&["exec", &web, "cat", "/rules/one", "/greeting"]), "rule 3\nhello 3");
}

#[test]
fn one_failed_container_is_kept_with_its_logs_until_something_succeeds() {
    let world = World::live_at_once();
    let before = world.running();
    let failing = |words: &str| {
        let text = format!("FROM agenttest-base:1\nCMD [\"sh\", \"-c\", \"echo {words}; exit 4\"]\n");
        let revision = world.repo.change("web/Dockerfile", &text);
        world.deliver(&revision);
        world.failed(&revision)
    };
    let filter = format!("label=agent.stack={}", world.name);
    let kept =
        || docker(&["ps", "-a", "--filter", &filter, "--filter", "status=exited", "--format", "{{.Names}}"]);
    failing("no database");
    let failure = failing("no money");
    assert!(failure.hint.unwrap().ends_with("agent logs --failed"));
    let name = kept();
    assert!(name.contains("-web-") && name.ends_with("-failed-in-run-3"), "one, the last: {name}");
    assert_eq!(docker(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", &name]), "no");
    let said = world.agent(&["logs", "--failed"]);
    assert!(said.contains("no money") && said.contains(&name), "{said}");
    assert!(!world.agent(&["logs", "web"]).contains("no money"));

    // It is no drift and nothing to heal, and healing what is does not touch it.
    docker(&["rm", "-f", &world.container("api")]);
    world.eventually("api again", || (world.running().len() == before.len()).then_some(()));
    world.eventually("the end of healing", || {
        (world.runs()[0].outcome == Some(Outcome::Succeeded)).then_some(())
    });
    world.look();
    assert_eq!(world.status().situation.drift, [""; 0]);
    assert_eq!((kept(), &world.running()["web"]), (name, &before["web"]));

    world.repo.write("web/Dockerfile", crate::stack::dockerfile("web"));
    let good = world.push_version("web", 2);
    world.deliver(&good);
    world.live(&good);
    world.eventually("nothing kept", || kept().is_empty().then_some(()));
    assert!(!world.try_agent(&["logs", "--failed"]).0);
}

#[test]
fn no_build_begins_on_a_disk_that_is_almost_full() {
    let mut world = World::live_at_once();
    let before = world.running();
    world.kill();
    world.settings += "[build]\nmin_free_disk = \"900t\"\n";
    world.start();
    let client = world.client();
    let revision = world.push_version("web", 2);
    world.deliver(&revision);
    let failure = world.wrong("MiB free, and a build needs 943718400");
    assert!(failure.hint.unwrap().contains("`min_free_disk` under [build]"));
    assert_eq!(world.status().situation.wrong.unwrap().class, Class::Waiting);
    assert_eq!(world.running(), before);
    client.all_good(&["web 1", "api 1"]);

    world.kill();
    world.settings = world.settings.replace("900t", "0");
    world.start();
    world.eventually("the second version", || (world.says(WEB) == "web 2").then_some(()));
}

#[test]
fn logs_are_followed_from_one_container_to_the_next_without_a_hole_or_a_double() {
    let mut world = World::empty();
    let script = "v=$(cat /www/web/version.txt); trap 'echo bye $v; exit 0' TERM; echo hello $v; \
                  httpd -p 8000 -h /www; while :; do sleep 0.1 & wait; done";
    crate::stack::write(&world.repo, COMPOSE);
    let plain = crate::stack::dockerfile("web");
    let talking =
        plain.split("CMD").next().unwrap().to_owned() + &format!("CMD [\"sh\", \"-c\", {script:?}]\n");
    world.repo.write("web/Dockerfile", talking);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let told = world.path().join("told");
    let mut following = Command::new(env!("CARGO_BIN_EXE_agent"))
        .args(["logs", "web", "--follow", "--config"])
        .arg(world.path().join("agent.toml"))
        .stdin(Stdio::null())
        .stdout(fs::File::create(&told).unwrap())
        .spawn()
        .unwrap();
    let lines = |count: usize| {
        world.eventually("lines", || {
            let text = fs::read_to_string(&told).unwrap();
            (text.lines().count() >= count).then_some(text)
        })
    };
    lines(1);
    for version in 2..=3 {
        let revision = world.push_version("web", version);
        world.deliver(&revision);
        world.live(&revision);
        lines(usize::try_from(version).unwrap() * 2 - 1);
    }
    // The same container again.
    docker(&["restart", &world.container("web")]);
    let text = lines(7);
    following.kill().unwrap();
    following.wait().unwrap();
    let expected = "hello web 1\nbye web 1\nhello web 2\nbye web 2\nhello web 3\nbye web 3\nhello web 3\n";
    assert_eq!(text, expected);
}
