//! Numbers and readiness of a daemon that runs something.

use crate::http;
use crate::stack;
use crate::world::World;

#[test]
fn numbers_follow_what_happens() {
    let mut world = World::empty();
    let port = world.spare_port();
    world.settings += &format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    stack::write(&world.repo, stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let bad = world.repo.change("web/Dockerfile", "FROM agenttest-base:1\nCMD [\"false\"]\n");
    world.deliver(&bad);
    world.failed(&bad);
    assert_eq!(world.deliver_signed(&bad, "a stranger's").status, 401);

    let ask = |path: &str| http::get(port, path).expect("an answer");
    let text = world.eventually("both runs counted", || {
        let text = ask("/metrics").body;
        text.contains("agent_runs_total{kind=\"deploy\",outcome=\"failed\"} 1").then_some(text)
    });
    for sample in [
        "agent_runs_total{kind=\"deploy\",outcome=\"succeeded\"} 1\n".to_owned(),
        "agent_trouble{class=\"stalled\"} 1\n".to_owned(),
        "agent_instances{service=\"web\",level=\"good\"} 1\n".to_owned(),
        "agent_webhook_answers_total{path=\"/webhooks/github\",code=\"202\"} 1\n".to_owned(),
        "agent_webhook_answers_total{path=\"/webhooks/github\",code=\"401\"} 1\n".to_owned(),
        format!("agent_live{{release=\"1\",revision=\"{first}\"}} 1\n"),
    ] {
        assert!(text.contains(&sample), "{sample} is not in\n{text}");
    }
    assert_eq!(ask("/healthz").status, 200);
    let ready = ask("/readyz");
    assert!(ready.status == 503 && ready.body.starts_with("wrong: web: "), "{}", ready.body);
    let mended = world.repo.change("web/Dockerfile", &stack::dockerfile("web"));
    world.deliver(&mended);
    world.live(&mended);
    world.eventually("readiness", || (ask("/readyz").body == "release 1 is live\n").then_some(()));
}
