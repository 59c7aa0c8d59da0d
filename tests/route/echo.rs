//! An app in this process that says what reached it, gives the header `x-long` back, and speaks whatever protocol
//! a client upgrades to.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{CONNECTION, UPGRADE};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves until the test ends, on a port that it gives.
pub(crate) async fn serve(address: Ipv4Addr) -> u16 {
    let listener = TcpListener::bind(SocketAddr::from((address, 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(answer).layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
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
