//! Building an image with the BuildKit that every engine from 20.10 on has in it. The context is streamed;
//! dropping the future closes the connection, and the engine then ends the build.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::BuildInfoAux;
use bollard::query_parameters::{BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion};
use futures_util::stream::StreamExt;

use super::progress::Progress;
use super::{Docker, credentials, fault, image, labels};
use crate::engine::{BuildOrder, EngineError, LineSink, TarStream};

/// The engine answers once it has read what it wants of the context.
const CONTEXT_PATIENCE: Duration = Duration::from_secs(3600);
/// Older BuildKits wrap every error in where it came from within BuildKit.
const WRAPPINGS: [&str; 4] = [
    "failed to solve with frontend dockerfile.v0: ",
    "failed to solve: ",
    "failed to create LLB definition: ",
    "failed to read dockerfile: ",
];

impl Docker {
    pub(super) async fn build_image(
        &self,
        order: &BuildOrder,
        context: TarStream,
        line: LineSink<'_>,
    ) -> Result<String, EngineError> {
        let act = || format!("build {}", order.tag);
        let credentials = credentials::read(self.login.as_deref());
        let credentials =
            credentials.map_err(|error| EngineError::Other { act: act(), source: error.into() })?;
        let broken = Broken::default();
        let body = bollard::body_try_stream(broken.watch(context));
        let (client, _leash) = self.leashed(CONTEXT_PATIENCE)?;
        let client = with_hosts(client, &order.extra_hosts);
        let mut messages = client.build_image(options(order), Some(credentials), Some(body));

        let mut progress = Progress::default();
        while let Some(message) = messages.next().await {
            match message {
                Ok(message) => {
                    if let Some(BuildInfoAux::BuildKit(status)) = message.aux {
                        progress.take(&status, line);
                    }
                }
                Err(error) => {
                    return Err(match broken.take() {
                        Some(source) => EngineError::Other {
                            act: format!("read the build context of {}", order.tag),
                            source: source.into(),
                        },
                        None => self.build_fault(order, &progress, error),
                    });
                }
            }
        }
        let built = self.image_id(&order.tag).await?;
        built.ok_or_else(|| EngineError::NoImage { reference: order.tag.clone() })
    }

    fn build_fault(&self, order: &BuildOrder, progress: &Progress, error: Error) -> EngineError {
        let text = match &error {
            Error::DockerStreamError { error } => error,
            Error::DockerResponseServerError { message, .. } => message,
            _ => return self.fault(format!("build {}", order.tag), error),
        };
        if fault::full(text) {
            return self.fault(format!("build {}", order.tag), error);
        }
        let tag = order.tag.clone();
        match progress.failure() {
            Some(failure) => match failure.base.filter(|_| !image::is_final(text)) {
                Some(reference) => EngineError::Pull { reference, source: error.into() },
                None => EngineError::Build { tag, message: failure.message },
            },
            None => EngineError::Build { tag, message: unwrapped(text).to_owned() },
        }
    }
}

fn options(order: &BuildOrder) -> BuildImageOptions {
    let mut options = BuildImageOptionsBuilder::default()
        .version(BuilderVersion::BuilderBuildKit)
        .session(&session())
        .dockerfile(&order.dockerfile)
        .t(&order.tag)
        .nocache(order.no_cache)
        .labels(&labels::of_thing(&order.stack, &order.labels, None))
        .buildargs(&order.args.clone().into_iter().collect::<HashMap<_, _>>());
    if let Some(target) = &order.target {
        options = options.target(target);
    }
    if let Some(network) = &order.network {
        options = options.networkmode(network);
    }
    if let Some(size) = order.shm_size {
        options = options.shmsize(i32::try_from(size).unwrap_or(i32::MAX));
    }
    options.build()
}

/// BuildKit tells sessions apart by their ids, also those of other agents on the same engine.
fn session() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = chrono::Utc::now().timestamp_nanos_opt().unwrap_or_default();
    format!("agent-{}-{}-{now:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The engine takes `extrahosts` once for each host; the client's options hold only one.
fn with_hosts(client: bollard::Docker, hosts: &[String]) -> bollard::Docker {
    if hosts.is_empty() {
        return client;
    }
    let more: String = hosts.iter().map(|host| format!("&extrahosts={}", encoded(host))).collect();
    client.with_request_modifier(move |mut request| {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        if path == "/build"
            && let Ok(longer) = format!("{path}?{query}{more}").parse()
        {
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.path_and_query = Some(longer);
            // It cannot fail: only the query of a whole URI was exchanged.
            *request.uri_mut() = hyper::Uri::from_parts(parts).unwrap_or_default();
        }
        request
    })
}

fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn unwrapped(mut text: &str) -> &str {
    while let Some(inner) = WRAPPINGS.iter().find_map(|wrapping| text.strip_prefix(wrapping)) {
        text = inner;
    }
    text
}

/// Keeps the error of a context that broke while it was sent; the client would only say that sending failed.
#[derive(Clone, Default)]
struct Broken(Arc<Mutex<Option<std::io::Error>>>);

impl Broken {
    fn watch(&self, context: TarStream) -> TarStream {
        let broken = self.clone();
        let watched = context.map(move |piece| {
            piece.map_err(|error| {
                let kind = error.kind();
                *broken.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                kind.into()
            })
        });
        watched.boxed()
    }

    fn take(&self) -> Option<std::io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
