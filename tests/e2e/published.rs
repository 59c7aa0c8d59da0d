//! The agent's webhooks come in through the stack's own nginx, and its dashboard is there: no port of the agent's is
//! open.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpStream};
use std::process::Command;

use crate::docker::docker;
use crate::http;
use crate::stack::{self, WEB};
use crate::world::World;

#[test]
fn a_push_is_told_through_the_stacks_own_nginx() {
    let mut world = World::empty();
    world.publish_webhooks();
    stack::write(&world.repo, stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let client = world.client();
    let second = world.push_version("web", 2);
    let answer = world.deliver(&second);
    assert!(answer.body.starts_with("accepted: "), "{}", answer.body);
    world.live(&second);
    assert_eq!(world.says(WEB), "web 2");
    assert_eq!(world.deliver_signed(&second, "not the secret").status, 401);
    client.all_good(&["web 1", "web 2", "api 1"]);

    let nginx = world.container("nginx");
    world.kill();
    let gone = http::tcp(world.port, "POST", "/webhooks/github", &[], "").expect("an answer");
    assert_eq!(gone.status, 502);
    assert_eq!(world.says(WEB), "web 2");
    let third = world.push_version("web", 3);
    world.start();
    world.deliver(&third);
    world.live(&third);
    assert_eq!(world.says(WEB), "web 3");
    assert_eq!(world.container("nginx"), nginx);
}

#[test]
fn what_is_newly_published_is_there_after_a_restart_and_after_a_rollback() {
    let mut world = World::live_at_once();
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    let hook =
        |world: &World| http::tcp(world.port, "POST", "/webhooks/github", &[], "").map(|a| a.status).ok();
    let dashboard = |world: &World| http::get(world.port, "/agent/").map(|answer| answer.status).ok();
    assert_eq!((hook(&world), dashboard(&world)), (Some(404), Some(404)));
    world.kill();
    world.publish_webhooks();
    let token = world.path().join("token");
    std::fs::write(&token, "0b5d6f1c2a9e4837a1c0ffee").expect("token");
    world.settings += &format!("[dashboard]\npublish = \"/agent/\"\ntoken_file = \"{}\"\n", token.display());
    world.start();
    // Unsigned, and so refused: by the agent.
    world.eventually("webhooks through nginx", || hook(&world).filter(|status| *status == 401));
    // The way to sign in.
    assert_eq!(dashboard(&world), Some(303));
    // The release before knows nothing of them.
    world.order(&agent::orders::Order::Rollback { release: None, hold: false });
    world.eventually("the version before", || Some(world.says(WEB)).filter(|said| said == "web 1"));
    assert_eq!((hook(&world), dashboard(&world)), (Some(401), Some(303)));
}

#[test]
fn a_release_whose_own_template_has_no_place_for_the_dashboard_comes_back_and_is_mended_without_it() {
    let mut world = World::empty();
    let own = world.path().join("site.conf.j2");
    let whole = include_str!("../../src/plan/nginx/nginx.conf.j2");
    let text = whole.replace("{% include \"webhooks.conf\" %}\n{% include \"dashboard.conf\" %}\n", "");
    assert!(!text.contains("dashboard.conf"));
    std::fs::write(&own, &text).expect("template");
    world.settings += &format!("[nginx]\ntemplate = \"{}\"\n", own.display());
    stack::write(&world.repo, stack::COMPOSE);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let second = world.push_version("web", 2);
    world.deliver(&second);
    world.live(&second);
    world.kill();
    let token = world.path().join("token");
    std::fs::write(&token, "0b5d6f1c2a9e4837a1c0ffee").expect("token");
    world.settings += &format!("[dashboard]\npublish = \"/agent/\"\ntoken_file = \"{}\"\n", token.display());
    // Whoever mends it has the place in the template now; the releases have the one of then.
    std::fs::write(&own, whole).expect("template");
    world.start();
    let replaced = |web: String| {
        world.eventually("another container", || {
            let there = world.running().get("web").is_some_and(|ids| !ids.contains(&web));
            let answer = crate::http::get(world.port, WEB).ok().filter(|_| there)?;
            (answer.status == 200).then(|| answer.body.trim().to_owned())
        })
    };
    // Under watch the release before comes back; that one is mended then.
    let web = world.container("web");
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &web]);
    assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
    assert_eq!(replaced(web), "web 1");
    let web = world.container("web");
    docker(&["rm", "-f", &web]);
    assert_eq!(replaced(web), "web 1");
}

#[test]
fn a_site_answers_over_ipv6_where_its_network_has_it() {
    let mut world = World::empty();
    let subnet = format!("fd00:a9e:{:x}:{:x}::/64", std::process::id() & 0xffff, world.port);
    let both = "[\"127.0.0.1:${PORT}:80\", \"[::1]:${PORT}:80\"]";
    let compose = stack::COMPOSE.replace("[\"127.0.0.1:${PORT}:80\"]", both)
        + &format!(
            "networks:\n  default:\n    enable_ipv6: true\n    ipam: {{config: [{{subnet: \"{subnet}\"}}]}}\n"
        );
    stack::write(&world.repo, &compose);
    let first = world.repo.push("the first version");
    world.start();
    world.live(&first);
    let mut socket = TcpStream::connect((Ipv6Addr::LOCALHOST, world.port)).expect("nginx");
    socket.write_all(format!("GET {WEB} HTTP/1.0\r\n\r\n").as_bytes()).expect("asked");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("web 1\n"), "{answer}");
    assert_eq!(world.says(WEB), "web 1");
}
