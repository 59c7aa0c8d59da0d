//! The agent's own dashboard through nginx: what reaches its socket, and that nothing of it is held back.

use std::convert::Infallible;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::http::{Limits, Peer, serve};
use agent::plan::nginx::{Options, render};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::{self, send};
use crate::site::{Site, route, upstreams};

/// Says what it was asked, by whom and how; and has a stream that says a word, and another when told to.
fn listen(folder: &Path, go_on: Arc<Notify>) -> DropGuard {
    let path = folder.join("dashboard.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let say = async |request: Request| {
        let peer = *request.extensions().get::<Peer>().unwrap();
        let client = peer.client(request.headers(), &[]);
        let proto = request.headers()["x-forwarded-proto"].to_str().unwrap().to_owned();
        format!("{} {} {client:?} [{proto}]", request.method(), request.uri())
    };
    let words = move || {
        let go_on = go_on.clone();
        let later = stream::once(async move { go_on.notified().await }).map(|()| "second\n");
        let words = stream::once(async { "first\n" }).chain(later).map(Ok::<_, Infallible>);
        std::future::ready(Body::from_stream(words))
    };
    let router = Router::new().route("/changes", get(words)).fallback(any(say));
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, router, Limits::default(), stop.clone()));
    stop.drop_guard()
}

async fn serve_published(site: &Site, published: &str) {
    let app = site.app("web", "I am web").await;
    let dashboard = Some(published.to_owned().try_into().unwrap());
    let options = Options { dashboard, ..Options::default() };
    let upstreams = upstreams(&[("web", app.address)]);
    site.serve_text(&render(&[route("web", "/")], &upstreams, &options).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_asked_for_without_its_prefix_and_with_who_asks_and_how() {
    let site = Site::new("dashboard-path").await;
    let _listening = listen(site.folder.path(), Arc::default());
    serve_published(&site, "/agent/").await;
    let ask = async |method: &str, path: &str, proto: &[(&str, &str)], body: &'static str| {
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", "x");
        for (name, value) in proto.iter().chain(&[("x-forwarded-for", "9.9.9.9"), ("connection", "close")]) {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        send(site.address(), 80, request).await.unwrap()
    };
    let us = site.host();
    let page = ask("GET", "/agent/sign-in?next=runs/2", &[], "").await;
    assert_eq!(page.body(), &format!("GET /sign-in?next=runs/2 Ip({us}) [http,]"));
    let sent = ask("POST", "/agent/sign-in", &[("x-forwarded-proto", "https")], "token=x").await;
    assert_eq!(sent.body(), &format!("POST /sign-in Ip({us}) [http, https]"));
    assert_eq!(ask("GET", "/agent/", &[], "").await.body(), &format!("GET / Ip({us}) [http,]"));
    let bare = ask("GET", "/agent", &[], "").await;
    assert_eq!((bare.status().as_u16(), &bare.headers()["location"]), (307, &"/agent/".parse().unwrap()));
    assert_eq!(ask("GET", "/agents", &[], "").await.status(), 404, "that is the app's to answer");
    let large: &'static str = "x".repeat(17 << 10).leak();
    assert_eq!(ask("POST", "/agent/sign-in", &[], large).await.status(), 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_live_is_there_at_once() {
    let site = Site::new("dashboard-live").await;
    let go_on = Arc::new(Notify::new());
    let listening = listen(site.folder.path(), go_on.clone());
    serve_published(&site, "agent.example.com/").await;
    let mut stream = TcpStream::connect((site.address(), 80)).await.unwrap();
    stream.write_all(b"GET /changes HTTP/1.1\r\nHost: agent.example.com\r\n\r\n").await.unwrap();
    let mut said = String::new();
    for word in ["first", "second"] {
        while !said.contains(word) {
            let mut bytes = [0; 4096];
            let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut bytes)).await;
            let read = read.unwrap_or_else(|_| panic!("{word} was held back: {said}")).unwrap();
            said += std::str::from_utf8(&bytes[..read]).unwrap();
        }
        go_on.notify_one();
    }
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    // Other hosts have none of it, and without an agent nothing else fails.
    let other = client::get(site.address(), 80, "shop.example.com", "/").await.unwrap();
    assert!(other.body().contains("I am web"), "{}", other.body());
    drop(listening);
    let own = async || client::status(site.address(), 80, "agent.example.com", "/").await;
    while own().await != Ok(502) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client::status(site.address(), 80, "x", "/").await, Ok(200));
}
