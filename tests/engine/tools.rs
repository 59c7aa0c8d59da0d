//! That the tools people already use see a compose project.

use std::process::Command;

use agent::engine::Engine;
use agent::model::instance::Template;

use crate::yard::{IDLE, Yard};

pub(crate) async fn compose_lists_the_stack(engine: &impl Engine, yard: &Yard) {
    engine.ensure_network(&yard.stack, &yard.network()).await.unwrap();
    let web = Template { depends_on: vec!["db".to_owned()], ..yard.networked("web", IDLE) };
    yard.started(engine, &yard.networked("db", IDLE), &yard.identity(4)).await;
    yard.started(engine, &web, &yard.identity(2)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = "services:\n  web:\n    image: agenttest-base:1\n  db:\n    image: agenttest-base:1\n";
    std::fs::write(folder.path().join("docker-compose.yml"), file).unwrap();
    let compose = |arguments: &[&str]| {
        let mut command = Command::new("docker-compose");
        let done = command.args(["-p", &yard.stack]).args(arguments).current_dir(&folder).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let listed = compose(&["ps"]);
    for name in [format!("{}-web-2", yard.stack), format!("{}-db-4", yard.stack)] {
        assert!(listed.lines().any(|line| line.starts_with(&name) && line.contains("Up")), "{listed}");
    }
    assert_eq!(compose(&["exec", "-T", "--index", "2", "web", "echo", "inside"]), "inside\n");
}
