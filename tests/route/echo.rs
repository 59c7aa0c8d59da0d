//! An app in this process that says what reached it, gives the header `x-long` back, and speaks whatever protocol
//! a client upgrades to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{CONNECTION, UPGRADE};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Serves until the test ends, on a port that it gives.
pub(crate) async fn serve(address: Ipv4Addr) -> u16 {
    let listener = TcpListener::bind(SocketAddr::from((address, 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(answer).layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

/// An app that answers each request on a connection, whatever was said about closing it, and counts connections.
pub(crate) async fn counted(address: Ipv4Addr) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(SocketAddr::from((address, 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::<AtomicUsize>::default();
    let counting = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counting.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while stream.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {
                    // The one byte of its body comes after the head.
                    if asked.ends_with(b"\r\n\r\nx") {
                        asked.clear();
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    }
                }
            });
        }
    });
    (port, count)
}

async fn answer(mut request: Request) -> Response {
    if let Some(protocol) = request.headers().get(UPGRADE).cloned() {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            tokio::io::copy(&mut read, &mut write).await
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        let response = response.header(CONNECTION, "upgrade").header(UPGRADE, protocol);
        return response.body(Body::empty()).unwrap();
    }
    let mut said = format!("{} {}\n", request.method(), request.uri());
    let mut headers: Vec<_> = request.headers().iter().collect();
    headers.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in headers {
        said += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    let long = request.headers().get("x-long").cloned();
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    said += &format!("{} bytes\n", body.len());
    let mut response = Response::new(Body::from(said));
    if let Some(long) = long {
        response.headers_mut().insert("x-long", long);
    }
    response
}
