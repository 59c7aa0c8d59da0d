//! What counts as a change of a service, and of that one only.

use crate::stack::COMPOSE;
use crate::world::World;

/// Pushes a change that only `web` sees, and shows that it is there.
fn only_web_rolls(compose: &str, files: &[(&str, &str)], change: (&str, &str), shown: (&str, &str, &str)) {
    let mut world = World::empty();
    crate::stack::write(&world.repo, compose);
    files.iter().for_each(|(name, text)| world.repo.write(name, text));
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let (path, old, new) = shown;
    assert_eq!(world.says(path), old);
    let before = world.running();
    let client = world.client();
    let second = world.repo.change(change.0, change.1);
    world.deliver(&second);
    let run = world.live(&second);
    client.all_good(&["web 1", "api 1"]);
    assert_eq!(world.built(&run), [""; 0]);
    assert_eq!(world.says(path), new);
    let after = world.running();
    assert_eq!((&before["api"], &before["nginx"]), (&after["api"], &after["nginx"]));
    assert_ne!(before["web"], after["web"]);
}

fn web_with(lines: &str) -> String {
    COMPOSE.replace("build: ./web", &format!("build: ./web\n    {lines}"))
}

#[test]
fn a_mounted_file_of_the_repository() {
    only_web_rolls(
        &web_with("volumes: [\"./greeting.txt:/www/web/greeting.txt:ro\"]"),
        &[("greeting.txt", "hello\n")],
        ("greeting.txt", "good day\n"),
        ("/web/greeting.txt", "hello", "good day"),
    );
}

#[test]
fn a_config_and_its_file() {
    let compose = web_with("configs: [{source: greeting, target: /www/web/greeting.txt}]");
    only_web_rolls(
        &(compose + "configs: {greeting: {file: ./greeting.txt}}\n"),
        &[("greeting.txt", "hello\n")],
        ("greeting.txt", "good day\n"),
        ("/web/greeting.txt", "hello", "good day"),
    );
}

#[test]
fn a_secret_and_its_file() {
    let compose = web_with("secrets: [{source: greeting, target: /www/web/greeting.txt}]");
    only_web_rolls(
        &(compose + "secrets: {greeting: {file: ./greeting.txt}}\n"),
        &[("greeting.txt", "hello\n")],
        ("greeting.txt", "good day\n"),
        ("/web/greeting.txt", "hello", "good day"),
    );
}

#[test]
fn a_file_with_its_environment() {
    let script = "command: [\"sh\", \"-c\", \"echo $$GREETING > /www/web/greeting.txt; exec httpd -f -p 8000 -h /www\"]";
    only_web_rolls(
        &web_with(&format!("{script}\n    env_file: web.env")),
        &[("web.env", "GREETING=hello\n")],
        ("web.env", "GREETING=good day\n"),
        ("/web/greeting.txt", "hello", "good day"),
    );
}
