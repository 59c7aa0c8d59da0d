//! The agent's own webhooks through nginx: what reaches the socket, and what does not.

use std::fs::Permissions;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent::engine::Engine;
use agent::http::{Limits, Peer, Rate, serve};
use agent::plan::nginx::{Options, render};
use axum::Router;
use axum::extract::Request;
use bytes::Bytes;
use http_body_util::Full;
use tokio::net::UnixListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::{send, status};
use crate::site::{Site, route, upstreams};

/// Says where a request went, whom it came from and how long it was. Three at once for each client.
fn listen(folder: &Path) -> DropGuard {
    let path = folder.join("hooks.sock");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let say = async |request: Request| {
        let peer = *request.extensions().get::<Peer>().unwrap();
        let client = peer.client(request.headers(), &[]);
        let path = request.uri().path().to_owned();
        let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
        format!("{path} {client:?} {}", body.len())
    };
    let rate = Rate { per_second: 0.01, burst: 3, ..Rate::default() };
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, rate.limit(Router::new().fallback(say)), Limits::default(), stop.clone()));
    stop.drop_guard()
}

async fn serve_published(site: &Site, published: &str, trusted: Vec<String>) {
    let app = site.app("web", "I am web").await;
    let published = Some(published.to_owned().try_into().unwrap());
    let options = Options { published, trusted, ..Options::default() };
    let upstreams = upstreams(&[("web", app.address)]);
    site.serve_text(&render(&[route("web", "/")], &upstreams, &options).unwrap()).await;
}

async fn post(site: &Site, path: &str, forwarded: &str, body: Vec<u8>) -> (u16, String) {
    let request = hyper::Request::post(path)
        .header("host", "x")
        .header("connection", "close")
        .header("x-forwarded-for", forwarded)
        .header("x-real-ip", forwarded)
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let answer = send(site.address(), 80, request).await.unwrap();
    (answer.status().as_u16(), answer.into_body())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_reaches_the_socket_with_its_senders_address() {
    let site = Site::new("hooks-peer").await;
    let _listening = listen(site.folder.path());
    serve_published(&site, "/in/", Vec::new()).await;
    let us = IpAddr::from(site.host());
    // Whatever the sender says of itself, and it cannot get more than its share by it.
    for forged in ["9.9.9.1", "9.9.9.2, 9.9.9.3", ""] {
        let answer = post(&site, "/in/stripe/live", forged, vec![b'x'; 1000]).await;
        assert_eq!(answer, (200, format!("/webhooks/stripe/live Ip({us}) 1000")));
    }
    assert_eq!(post(&site, "/in/stripe", "9.9.9.4", Vec::new()).await.0, 429);
    // Another sender has a share of its own.
    let neighbour = site.app("other", "I am other").await;
    let url = format!("http://{}/in/github", site.address());
    let asked = site.engine.exec(&neighbour.id, &["wget", "-q", "-O", "-", "--post-data", "abc", &url]).await;
    assert_eq!(asked.unwrap().output, format!("/webhooks/github Ip({}) 3", neighbour.address));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_trusted_proxy_each_sender_has_a_share_of_its_own() {
    let site = Site::new("hooks-proxied").await;
    let _listening = listen(site.folder.path());
    let trusted = vec![site.host().to_string()];
    serve_published(&site, "/in/", trusted).await;
    for sender in ["203.0.113.7", "203.0.113.8"] {
        let said = (200, format!("/webhooks/github Ip({sender}) 3"));
        for _ in 0..3 {
            assert_eq!(post(&site, "/in/github", sender, b"abc".to_vec()).await, said);
        }
        // Whatever it says of itself: the proxy in front adds who it is.
        let forged = format!("9.9.9.9, {sender}");
        assert_eq!(post(&site, "/in/github", &forged, b"abc".to_vec()).await.0, 429);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_posts_of_bounded_size_pass() {
    let site = Site::new("hooks-bounds").await;
    let _listening = listen(site.folder.path());
    serve_published(&site, "/webhooks/", Vec::new()).await;
    assert_eq!(status(site.address(), 80, "x", "/webhooks/github").await, Ok(405));
    let largest = vec![b'x'; 25 << 20];
    let (status, said) = post(&site, "/webhooks/github", "", largest.clone()).await;
    assert_eq!((status, said.ends_with(&format!(" {}", 25 << 20))), (200, true), "{said}");
    let larger = [largest, vec![b'x']].concat();
    assert_eq!(post(&site, "/webhooks/github", "", larger).await.0, 413);
    assert_eq!(
        post(&site, "/webhooks-of-others", "", Vec::new()).await.0,
        501,
        "that is the app's to answer"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_agent_only_its_own_path_fails() {
    let site = Site::new("hooks-down").await;
    // nginx starts although there was never a socket.
    serve_published(&site, "/webhooks/", Vec::new()).await;
    let hook = async || post(&site, "/webhooks/github", "", b"abc".to_vec()).await.0;
    assert_eq!(hook().await, 502);
    assert_eq!(status(site.address(), 80, "x", "/").await, Ok(200));
    let first = listen(site.folder.path());
    assert_eq!(hook().await, 200);
    drop(first);
    while hook().await != 502 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // The file is still there, with nobody behind it.
    site.nginx().check(&site.live()).await.unwrap();
    assert_eq!(status(site.address(), 80, "x", "/").await, Ok(200));
    let _second = listen(site.folder.path());
    assert_eq!(hook().await, 200);
}
