//! What people and apps see of a route.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent::plan::nginx::{Options, Route, Upstreams, render};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{get, send, status};
use crate::echo;
use crate::site::{Site, route, text, upstreams};

/// nginx in front of the echo app, with routes made for its port.
async fn in_front_of_echo(fact: &str, routes: impl Fn(u16) -> Vec<Route>) -> Site {
    let site = Site::new(fact).await;
    let routes = routes(echo::serve(site.host()).await);
    let upstreams = upstreams(&[("echo", site.host())]);
    site.serve(&routes, &upstreams).await;
    site
}

async fn post(site: &Site, path: &str, bytes: usize) -> u16 {
    let body = Full::new(Bytes::from(vec![b'x'; bytes]));
    let request = Request::post(path).header("host", "x").body(body).unwrap();
    send(site.address(), 80, request).await.unwrap().status().as_u16()
}

fn lines(answer: &Response<String>) -> Vec<&str> {
    answer.body().lines().collect()
}

#[tokio::test]
async fn a_prefix_is_kept_or_stripped() {
    let site = in_front_of_echo("prefix", |port| {
        vec![
            Route { port, ..route("echo", "/kept/") },
            Route { port, strip: true, ..route("echo", "/cut/") },
            Route { port, strip: true, ..route("echo", "/bare") },
        ]
    })
    .await;
    let seen = async |path: &str| {
        let request =
            Request::get(path).header("host", "shop.example:8080").header("x-forwarded-prefix", "/evil");
        let answer = send(site.address(), 80, request.body(Full::default()).unwrap()).await.unwrap();
        let lines = lines(&answer);
        let prefix = lines.iter().find_map(|line| line.strip_prefix("x-forwarded-prefix: "));
        (lines[0].to_owned(), prefix.map(str::to_owned))
    };
    assert_eq!(seen("/kept/a%2Fb?q=1").await, ("GET /kept/a%2Fb?q=1".into(), None));
    assert_eq!(seen("/cut/a?q=1").await, ("GET /a?q=1".into(), Some("/cut".into())));
    assert_eq!(seen("/cut/").await, ("GET /".into(), Some("/cut".into())));
    assert_eq!(seen("/bare").await, ("GET /".into(), Some("/bare".into())));
    assert_eq!(seen("/bare/x").await, ("GET /x".into(), Some("/bare".into())));

    let redirect = get(site.address(), 80, "shop.example", "/cut?q=1").await.unwrap();
    assert_eq!(redirect.status(), 307);
    assert_eq!(redirect.headers()["location"], "/cut/?q=1");
    assert_eq!(status(site.address(), 80, "x", "/cutlery/").await, Ok(404));
    let unknown = get(site.address(), 80, "x", "/").await.unwrap();
    assert_eq!((unknown.status().as_u16(), unknown.body().as_str()), (404, "Nothing is routed here.\n"));
    assert_eq!(unknown.headers()["server"], "nginx");
}

#[tokio::test]
async fn an_app_learns_who_asked_for_what() {
    let site = in_front_of_echo("headers", |port| vec![Route { port, ..route("echo", "/") }]).await;
    let request =
        Request::get("/").header("host", "shop.example:8080").header("x-forwarded-for", "192.0.2.7");
    let request = request.header("forwarded", "for=192.0.2.8;host=evil.example");
    let answer = send(site.address(), 80, request.body(Full::default()).unwrap()).await.unwrap();
    let own = site.host();
    assert_eq!(
        lines(&answer),
        [
            "GET /",
            "connection: close",
            "host: shop.example:8080",
            &format!("x-forwarded-for: 192.0.2.7, {own}"),
            "x-forwarded-host: shop.example:8080",
            "x-forwarded-proto: http",
            &format!("x-real-ip: {own}"),
            "0 bytes",
        ]
    );
    let line = site.logged("\"service\":\"echo\"").await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["status"], &line["uri"], &line["upstream_status"]),
        (&"200".into(), &"/".into(), &"200".into())
    );
}

#[tokio::test]
async fn an_app_learns_of_the_visitor_in_front_of_a_proxy_that_is_trusted() {
    let site = Site::new("visitor").await;
    let port = echo::serve(site.host()).await;
    let own = site.host().to_string();
    let options = Options { trusted: vec!["198.51.100.0/24".into(), own.clone()], ..Options::default() };
    let text =
        render(&[Route { port, ..route("echo", "/") }], &upstreams(&[("echo", site.host())]), &options);
    site.serve_text(&text.unwrap()).await;
    let seen = async |said: Option<&str>| {
        let mut request = Request::get("/").header("host", "x");
        if let Some(said) = said {
            request = request.header("x-forwarded-for", said);
        }
        let answer = send(site.address(), 80, request.body(Full::default()).unwrap()).await.unwrap();
        let lines = lines(&answer);
        let told = ["x-real-ip: ", "x-forwarded-for: "]
            .map(|name| lines.iter().find_map(|line| line.strip_prefix(name)));
        told.map(|told| told.unwrap().to_owned())
    };
    assert_eq!(seen(None).await, [own.clone(), own.clone()]);
    for said in ["192.0.2.7", "9.9.9.9, 192.0.2.7", "192.0.2.7, 198.51.100.1"] {
        assert_eq!(seen(Some(said)).await, ["192.0.2.7".into(), format!("{said}, {own}")]);
    }
    assert!(site.logged("\"client\":\"192.0.2.7\"").await.contains("\"service\":\"echo\""));
}

#[tokio::test]
async fn an_app_learns_of_no_other_host_than_its_route_has() {
    let site = in_front_of_echo("host", |port| vec![Route { port, ..route("echo", "/") }]).await;
    let seen = async |asked: &str, host: &str| {
        let request = Request::get(asked).header("host", host).body(Full::default()).unwrap();
        let answer = send(site.address(), 80, request).await.unwrap();
        let told =
            |name: &str| lines(&answer).iter().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        assert_eq!(told("host: "), told("x-forwarded-host: "));
        told("host: ").unwrap()
    };
    for host in ["Shop.example:8080", "shop.example", "[::1]:8080", "192.0.2.1:80"] {
        assert_eq!(seen("/", host).await, host);
    }
    assert_eq!(seen("http://shop.example/", "SHOP.example:8080").await, "SHOP.example:8080");
    for other in ["evil.example", "shop.example.evil", "evil.shop.example"] {
        assert_eq!(seen("http://shop.example/", other).await, "shop.example", "{other}");
    }
}

#[tokio::test]
async fn an_app_learns_of_tls_that_ended_in_front() {
    let site = in_front_of_echo("tls", |port| vec![Route { port, ..route("echo", "/") }]).await;
    let told = [
        ("https", "https"),
        ("HTTPS, http", "https"),
        ("http, https", "http"),
        ("httpsx", "http"),
        ("wss", "https"),
        ("WSS, http", "https"),
        ("ws", "http"),
    ];
    for (told, passed) in told {
        let request = Request::get("/").header("host", "x").header("x-forwarded-proto", told);
        let answer = send(site.address(), 80, request.body(Full::default()).unwrap()).await.unwrap();
        let expected = format!("x-forwarded-proto: {passed}");
        assert!(lines(&answer).contains(&expected.as_str()), "{told}: {}", answer.body());
    }
}

#[tokio::test]
async fn ports_and_hosts_lead_to_their_own_routes() {
    let site = Site::new("hosts").await;
    let named = |host: &str| Some(host.to_owned());
    let (a, b, c) =
        (site.app("a", "I am a").await, site.app("b", "I am b").await, site.app("c", "I am c").await);
    let routes = [
        route("a", "/"),
        Route { listen: 5001, ..route("b", "/") },
        Route { host: named("shop.example"), ..route("b", "/") },
        Route { host: named("*.shop.example"), ..route("c", "/c/") },
    ];
    site.serve(&routes, &upstreams(&[("a", a.address), ("b", b.address), ("c", c.address)])).await;
    let says = async |port, host: &str, path: &str| {
        let answer = get(site.address(), port, host, path).await.unwrap();
        (answer.status().as_u16(), answer.into_body())
    };
    assert_eq!(says(80, "anything", "/").await, (200, "I am a\n".into()));
    assert_eq!(says(5001, "anything", "/").await, (200, "I am b\n".into()));
    assert_eq!(says(80, "shop.example", "/").await, (200, "I am b\n".into()));
    assert_eq!(says(80, "x.shop.example", "/c/").await, (200, "I am c\n".into()));
    assert_eq!(says(80, "x.shop.example", "/").await.0, 404);
}

#[tokio::test]
async fn an_upgrade_passes_where_it_is_asked_for() {
    let site = in_front_of_echo("upgrade", |port| {
        vec![
            Route { port, websocket: true, ..route("echo", "/live") },
            Route { port, ..route("echo", "/plain") },
        ]
    })
    .await;
    let upgrade = async |path: &str, protocol: &str| {
        let mut stream = TcpStream::connect((site.address(), 80)).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap())
    };
    let (mut stream, head) = upgrade("/live", "WebSocket").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(b"anything at all").await.unwrap();
    let mut back = [0; 15];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"anything at all");
    // What nginx does not understand would pass by its rules.
    for (path, protocol) in [("/plain", "websocket"), ("/live", "h2c"), ("/live", "websocket, h2c")] {
        let (_, head) = upgrade(path, protocol).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{path} {protocol}: {head}");
    }
}

#[tokio::test]
async fn a_body_may_be_as_big_as_its_route_says() {
    let site = in_front_of_echo("body", |port| {
        vec![
            Route { port, ..route("echo", "/usual/") },
            Route { port, body_size: Some("1k".into()), ..route("echo", "/small/") },
            Route { port, body_size: Some("0".into()), ..route("echo", "/any/") },
        ]
    })
    .await;
    let post = async |path: &str, bytes: usize| post(&site, path, bytes).await;
    assert_eq!((post("/small/", 1024).await, post("/small/", 1025).await), (200, 413));
    assert_eq!((post("/usual/", 10 << 20).await, post("/usual/", (10 << 20) + 1).await), (200, 413));
    assert_eq!(post("/any/", 30 << 20).await, 200);
}

#[tokio::test]
async fn a_body_of_usual_size_is_not_written_to_a_file() {
    let site = in_front_of_echo("buffered", |port| vec![Route { port, ..route("echo", "/") }]).await;
    assert_eq!((post(&site, "/usual", 128 << 10).await, post(&site, "/large", 1 << 20).await), (200, 200));
    assert!(site.logged("buffered to a temporary file").await.contains("/large"));
    assert!(!site.nginx_log().await.contains("/usual HTTP/1.1\", host"), "{}", site.nginx_log().await);
}

#[tokio::test]
async fn long_headers_pass_both_ways() {
    let site = in_front_of_echo("long", |port| vec![Route { port, ..route("echo", "/") }]).await;
    let long = "x".repeat(10 << 10);
    let request = Request::get("/").header("host", "x").header("x-long", &long);
    let answer = send(site.address(), 80, request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.body());
    assert_eq!(answer.headers()["x-long"], long);
}

/// The app would go on with a connection, and never says that it is about to close one.
#[tokio::test]
async fn no_request_is_sent_on_a_connection_that_an_app_may_be_closing() {
    let site = Site::new("once").await;
    let (port, connections) = echo::counted(site.host()).await;
    let options = Options { version: Some(site.nginx().version().await.unwrap()), ..Options::default() };
    // Two at one place.
    let other = Ipv4Addr::new(192, 0, 2, 9);
    let both = Upstreams::from([("web".to_owned(), vec![site.host(), other])]);
    let text = render(&[Route { port, ..route("web", "/") }], &both, &options).unwrap();
    site.serve_text(&text.replace(&format!("server {other}:"), &format!("server {}:", site.host()))).await;
    for _ in 0..10 {
        assert_eq!(post(&site, "/", 1).await, 200);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 10);
}

#[tokio::test]
async fn an_app_that_is_gone_costs_its_own_path_only() {
    let site = Site::new("gone").await;
    let (a, b) = (site.app("a", "I am a").await, site.app("b", "I am b").await);
    let routes = [route("a", "/a/"), route("b", "/b/"), route("never", "/never/")];
    site.serve(&routes, &upstreams(&[("a", a.address), ("b", b.address)])).await;
    let says = async |path: &str| status(site.address(), 80, "x", path).await.unwrap();
    assert_eq!((says("/a/").await, says("/b/").await, says("/never/").await), (200, 200, 503));

    use agent::engine::Engine;
    site.engine.remove(&b.id).await.unwrap();
    assert_eq!(says("/a/").await, 200);
    assert!((502..=504).contains(&says("/b/").await));

    // nginx itself starts without it.
    site.engine.stop(&site.nginx_id()).await.unwrap();
    site.engine.start(&site.nginx_id()).await.unwrap();
    site.until_up().await;
    assert_eq!(says("/a/").await, 200);
    assert!((502..=504).contains(&says("/b/").await));
    assert!(site.nginx().check(&text(&routes, &upstreams(&[("b", b.address)]))).await.is_ok());
}

/// The kernel drops what finds no place in the queue, and who asked asks again after a second, and after three.
#[tokio::test]
async fn an_app_whose_queue_was_full_for_two_seconds_is_reached() {
    let site = Site::new("queue").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((site.host(), 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let port = listener.local_addr().unwrap().port();
    site.serve(&[Route { port, ..route("web", "/") }], &upstreams(&[("web", site.host())])).await;
    let _first = TcpStream::connect((site.host(), port)).await.unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(2200)).await;
        let _first = listener.accept().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    assert_eq!(status(site.address(), 80, "x", "/").await, Ok(200));
}
