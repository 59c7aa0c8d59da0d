//! Apps that events are delivered to: good ones and bad ones, on sockets of their own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::library::HANG;

/// What an app was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert_eq!(values.next(), None, "{name} stands twice");
        value
    }

    pub(crate) fn id(&self) -> &str {
        self.header("x-relay-event-id").unwrap()
    }
}

/// How an app answers.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    Status(u16),
    With(u16, &'static str, String),
    Hang,
    /// Good, after this long.
    Slow(Duration),
}

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    manner: Arc<Mutex<Manner>>,
}

impl App {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, manner)
    }

    pub(crate) fn on(listener: TcpListener, manner: Manner) -> Self {
        let port = listener.local_addr().unwrap().port();
        let app = Self { port, asked: Arc::default(), manner: Arc::new(Mutex::new(manner)) };
        let router = Router::new().fallback(answer).with_state(app.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        app
    }

    pub(crate) async fn good() -> Self {
        Self::start(Manner::Status(200)).await
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.asked().iter().map(|asked| asked.id().to_owned()).collect()
    }

    /// Waits until it was asked this often.
    pub(crate) async fn until_asked(&self, times: usize) -> Vec<Asked> {
        let waiting = async {
            while self.count() < times {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let met = timeout(HANG, waiting).await;
        assert!(met.is_ok(), "asked {} times, not {times}", self.count());
        self.asked()
    }
}

async fn answer(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    app.asked.lock().unwrap().push(Asked { path: uri.to_string(), headers, body });
    let manner = app.manner.lock().unwrap().clone();
    let status = |code| StatusCode::from_u16(code).unwrap();
    match manner {
        Manner::Status(code) => (status(code), "said\n").into_response(),
        Manner::With(code, name, value) => (status(code), [(name, value)], "said\n").into_response(),
        Manner::Hang => std::future::pending().await,
        Manner::Slow(long) => {
            sleep(long).await;
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

/// A port at which every connection is reset once something was sent.
pub(crate) async fn resetting() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = [0; 10];
            let _ = stream.read(&mut some).await;
            // What is unread makes the kernel answer with a reset.
            drop(stream);
        }
    });
    port
}
