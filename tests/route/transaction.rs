//! The switch itself: what is live before, during and after, also when it fails.

use std::time::Duration;

use agent::engine::Engine;
use agent::model::class::Class;
use agent::plan::nginx::{Options, OwnTemplate, Route, Upstreams, render};
use agent::route::{LIVE, RouteError, Switched};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Load, get, status};
use crate::site::{Site, route, text, upstreams};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_under_load_loses_nothing() {
    let site = Site::new("load").await;
    let routes = [route("web", "/web/")];
    let mut old = site.app("web", "version 0").await;
    site.serve(&routes, &upstreams(&[("web", old.address)])).await;
    let load = Load::on(site.address(), "/web/");
    for version in 1..=5 {
        let new = site.app("web", &format!("version {version}")).await;
        load.goes_on_for(50).await;
        let text = text(&routes, &upstreams(&[("web", new.address)]));
        site.nginx().check(&text).await.unwrap();
        let switched = site.nginx().switch(&text).await.unwrap();
        assert_eq!(switched, Switched { reloaded: false, edited: None });
        // From here on no request begins at the old one; those that had begun have ended.
        load.goes_on_for(20).await;
        site.engine.remove(&old.id).await.unwrap();
        load.goes_on_for(50).await;
        let answer = get(site.address(), 80, "x", "/web/").await.unwrap();
        assert_eq!(answer.body(), &format!("version {version}\n"));
        old = new;
    }
    assert!(load.answered() > 500);
    assert_eq!(load.lost().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_connections_follow_at_once() {
    let site = Site::new("kept").await;
    let routes = [route("web", "/web/")];
    let mut old = site.app("web", "version 0 (end)").await;
    site.serve(&routes, &upstreams(&[("web", old.address)])).await;
    let load = Load::kept_on(site.address(), "/web/");
    for version in 1..=3 {
        let new = site.app("web", &format!("version {version} (end)")).await;
        load.goes_on_for(50).await;
        let text = text(&routes, &upstreams(&[("web", new.address)]));
        assert!(!site.nginx().switch(&text).await.unwrap().reloaded);
        site.engine.remove(&old.id).await.unwrap();
        load.goes_on_for(50).await;
        old = new;
    }
    assert_eq!(load.lost().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_reload_kept_connections_are_good_until_they_are_said_to_end() {
    let site = Site::new("reload").await;
    let options = Options { version: Some(site.nginx().version().await.unwrap()), ..Options::default() };
    let app = site.app("web", "version 0 (end)").await;
    let upstreams = upstreams(&[("web", app.address)]);
    let routes = |version| [Route { body_size: Some(format!("{version}m")), ..route("web", "/web/") }];
    let text = |version| render(&routes(version), &upstreams, &options).unwrap();
    site.serve_text(&text(1)).await;
    let load = Load::kept_on(site.address(), "/web/");
    for version in 2..=4 {
        load.goes_on_for(50).await;
        site.nginx().check(&text(version)).await.unwrap();
        assert!(site.nginx().switch(&text(version)).await.unwrap().reloaded);
    }
    load.goes_on_for(50).await;
    let lost = load.lost().await;
    // An older nginx hangs up without a word: each of the 8 clients may lose the request it is sending then.
    let bound = if options.linger().is_zero() { 3 * 8 } else { 0 };
    assert!(lost.len() <= bound, "{lost:?}");
    assert!(lost.iter().all(|lost| !lost.starts_with("HTTP")), "{lost:?}");
}

/// Slow uploads are longer than any wait for old instances.
#[tokio::test]
async fn an_upload_goes_to_the_instance_that_is_live_at_its_end() {
    let site = Site::new("upload").await;
    let routes = [route("web", "/cgi-bin/")];
    let old = site.app("web", "version 0").await;
    site.serve(&routes, &upstreams(&[("web", old.address)])).await;
    let mut stream = TcpStream::connect((site.address(), 80)).await.unwrap();
    let head = "POST /cgi-bin/version HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"abc").await.unwrap();
    // nginx has looked at the first half.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let new = site.app("web", "version 1").await;
    site.nginx().switch(&text(&routes, &upstreams(&[("web", new.address)]))).await.unwrap();
    site.engine.remove(&old.id).await.unwrap();
    stream.write_all(b"def").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("version 1 got 6\n"), "{answer}");
}

/// What an older file names must lead somewhere until its last worker has gone.
#[tokio::test]
async fn a_service_that_gets_a_second_instance_loses_nothing() {
    let site = Site::new("replicas").await;
    let routes = [route("web", "/web/")];
    let (a, b) = (site.app("web", "version 0").await, site.app("web", "version 0").await);
    let one = text(&routes, &upstreams(&[("web", a.address)]));
    let both = Upstreams::from([("web".to_owned(), vec![a.address, b.address])]);
    let both = text(&routes, &both);
    site.serve_text(&one).await;
    let load = Load::on(site.address(), "/web/");
    for text in [&both, &one, &both, &one] {
        assert!(site.nginx().switch(text).await.unwrap().reloaded);
        load.goes_on_for(20).await;
    }
    assert_eq!(load.lost().await, [""; 0]);
}

#[tokio::test]
async fn what_nginx_refuses_never_goes_live() {
    let site = Site::new("refused").await;
    let app = site.app("a", "I am a").await;
    let good = [route("a", "/a/")];
    let upstreams = upstreams(&[("a", app.address)]);
    // As from an older agent's release: no label says such a thing.
    let bad = [Route { body_size: Some("lots".into()), ..route("a", "/a/") }];
    let refused = |error: RouteError| {
        assert_eq!(error.class(), Class::Stalled);
        let message = error.to_string();
        assert!(message.starts_with("nginx refuses the configuration: "), "{message}");
        assert!(message.contains("client_max_body_size"), "{message}");
        assert!(message.ends_with(" (from a, compose.yaml:3:7)"), "{message}");
    };
    // Before nginx ever ran, beside it.
    site.nginx().check(&text(&good, &upstreams)).await.unwrap();
    refused(site.nginx().check(&text(&bad, &upstreams)).await.unwrap_err());
    assert!(!site.folder.path().join(LIVE).exists());
    // And in the running one.
    site.serve(&good, &upstreams).await;
    let live = site.live();
    refused(site.nginx().check(&text(&bad, &upstreams)).await.unwrap_err());
    assert_eq!(site.live(), live);
    assert_eq!(status(site.address(), 80, "x", "/a/").await, Ok(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_nginx_does_not_take_is_put_back() {
    let site = Site::new("untaken").await;
    let app = site.app("a", "I am a").await;
    let upstreams = upstreams(&[("a", app.address)]);
    site.serve(&[route("a", "/a/")], &upstreams).await;
    let live = site.live();
    let load = Load::on(site.address(), "/a/");
    // Not checked, so that the reload itself is what fails.
    let bad = text(&[Route { body_size: Some("lots".into()), ..route("a", "/a/") }], &upstreams);
    let error = site.nginx().switch(&bad).await.unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("nginx did not answer with the new configuration within 10 s: "),
        "{message}"
    );
    assert!(message.contains("client_max_body_size"), "{message}");
    assert_eq!(site.live(), live);
    load.goes_on_for(20).await;
    assert_eq!(load.lost().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_leads_nowhere_is_told_and_taken_back() {
    let site = Site::new("nowhere").await;
    let app = site.app("a", "I am a").await;
    let upstreams = upstreams(&[("a", app.address)]);
    site.serve(&[route("a", "/a/")], &upstreams).await;
    let live = site.live();
    let load = Load::on(site.address(), "/a/");
    let deaf = Route { port: 8001, ..route("a", "/b/") };
    let routes = [route("a", "/a/"), deaf.clone()];
    site.nginx().switch(&text(&routes, &upstreams)).await.unwrap();
    let error = site.nginx().reach(&routes).await.unwrap_err();
    assert_eq!(error.class(), Class::Stalled);
    assert_eq!(error.to_string(), "the route /b/ of service a (compose.yaml:3:7) leads nowhere");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "nginx answers 502 for it");
    site.nginx().switch(&live).await.unwrap();
    assert_eq!(status(site.address(), 80, "x", "/b/").await, Ok(404));
    load.goes_on_for(20).await;
    assert_eq!(load.lost().await, [""; 0]);
}

/// What nginx would serve is not to blame for an nginx that is away; for a port that it does not serve, it is.
#[tokio::test]
async fn only_an_nginx_that_is_away_itself_is_waited_for() {
    let site = Site::new("silent").await;
    let template = "events {}\npid /tmp/nginx.pid;\nhttp {\n{% include \"generation.conf\" %}\n}\n";
    let template = Some(OwnTemplate { file: "site.conf.j2".into(), text: template.into() });
    let routes = [route("a", "/a/")];
    let options = Options { template, ..Options::default() };
    site.serve_text(&render(&routes, &Upstreams::new(), &options).unwrap()).await;
    let why = async || {
        let error = site.nginx().reach(&routes).await.unwrap_err();
        (error.class(), std::error::Error::source(&error).unwrap().to_string())
    };
    let at = format!("{}:80", site.address());
    assert_eq!(why().await, (Class::Stalled, format!("nginx runs and does not answer at {at}")));
    site.engine.stop(&site.nginx_id()).await.unwrap();
    assert_eq!(why().await, (Class::Waiting, format!("nginx does not answer at {at}")));
}

/// A long poll, or a stream whose first event is late.
#[tokio::test]
async fn a_route_that_answers_late_leads_somewhere() {
    let site = Site::new("late").await;
    let listener = TcpListener::bind((site.host(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstreams = upstreams(&[("a", site.host())]);
    site.serve(&[Route { port, ..route("a", "/a/") }], &upstreams).await;
    let routes = [Route { port, ..route("a", "/a/") }, Route { port, ..route("a", "/b/") }];
    assert!(site.nginx().switch(&text(&routes, &upstreams)).await.unwrap().reloaded);
    site.nginx().reach(&routes[1..]).await.unwrap();
}

/// Workers of either text find an instance, whatever links are left.
#[tokio::test]
async fn several_instances_lose_nothing_on_the_way_back() {
    let site = Site::new("several").await;
    let (a, b) = (site.app("web", "version 0").await, site.app("web", "version 0").await);
    let (c, d) = (site.app("web", "version 1").await, site.app("web", "version 1").await);
    let web = route("web", "/web/");
    let old = Upstreams::from([("web".to_owned(), vec![a.address, b.address])]);
    let new = Upstreams::from([("web".to_owned(), vec![c.address, d.address])]);
    site.serve_text(&text(std::slice::from_ref(&web), &old)).await;
    let live = site.live();
    let load = Load::on(site.address(), "/web/");
    let routes = [web, Route { port: 8001, ..route("web", "/deaf/") }];
    for _ in 0..3 {
        site.nginx().switch(&text(&routes, &new)).await.unwrap();
        site.nginx().reach(&routes).await.unwrap_err();
        load.goes_on_for(20).await;
        // As whoever brings the old ones back does.
        site.nginx().switch(&live).await.unwrap();
        site.nginx().lead().await.unwrap();
        load.goes_on_for(20).await;
    }
    assert_eq!(load.lost().await, [""; 0]);
}

#[tokio::test]
async fn edits_by_hand_are_kept_aside() {
    let site = Site::new("edited").await;
    let app = site.app("a", "I am a").await;
    let upstreams = upstreams(&[("a", app.address)]);
    let routes = [route("a", "/a/")];
    site.serve(&routes, &upstreams).await;
    let edited = site.live().replace("server_tokens off", "server_tokens on");
    std::fs::write(site.folder.path().join(LIVE), &edited).unwrap();
    let switched = site.nginx().switch(&text(&routes, &upstreams)).await.unwrap();
    let kept = site.folder.path().join("nginx.conf.edited-1");
    assert_eq!(switched.edited.as_ref(), Some(&kept));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), edited);
    assert_eq!(site.live(), text(&routes, &upstreams));
    let again = site.nginx().switch(&text(&routes, &upstreams)).await.unwrap();
    assert_eq!(again, Switched { reloaded: false, edited: None });
}

#[tokio::test]
async fn a_label_that_only_moved_does_not_reload() {
    let site = Site::new("moved").await;
    let app = site.app("a", "I am a").await;
    let upstreams = upstreams(&[("a", app.address)]);
    let mut routes = [route("a", "/a/")];
    site.serve(&routes, &upstreams).await;
    routes[0].place.line += 1;
    let moved = text(&routes, &upstreams);
    assert_ne!(site.live(), moved);
    let switched = site.nginx().switch(&moved).await.unwrap();
    assert!(!switched.reloaded);
    assert_eq!(site.live(), moved);
}

#[tokio::test]
async fn an_agent_killed_between_swap_and_reload_goes_on() {
    let site = Site::new("killed").await;
    let app = site.app("a", "I am a").await;
    let upstreams = upstreams(&[("a", app.address)]);
    site.serve(&[route("a", "/a/")], &upstreams).await;
    let before = site.live();
    let routes = [route("a", "/a/"), route("a", "/")];
    let after = text(&routes, &upstreams);
    let root = async || status(site.address(), 80, "x", "/").await;
    // What it leaves: the new file, unread, and half of another.
    std::fs::write(site.folder.path().join(LIVE), &after).unwrap();
    std::fs::write(site.folder.path().join("candidate.conf"), "http {").unwrap();
    assert_eq!(root().await, Ok(404));
    // Forwards,
    assert!(site.nginx().switch(&after).await.unwrap().reloaded);
    assert_eq!(root().await, Ok(200));
    // or back.
    std::fs::write(site.folder.path().join(LIVE), &after).unwrap();
    assert!(site.nginx().switch(&before).await.unwrap().reloaded);
    assert_eq!(root().await, Ok(404));
}
