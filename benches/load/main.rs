//! The open-loop client as a program: asks until its time is over or it is told to stop. It prints one line of JSON for
//! each version that it is told for the first time, and a last one for all that it saw. `script/bench` runs several
//! beside each other, also in containers.

mod client;
mod report;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use client::{Asked, Kind, Plan};

/// Asks at a fixed rate and forgets nothing.
#[derive(Parser)]
struct Arguments {
    /// NAME:PORT, looked up for each connection.
    at: String,
    /// The path to ask for.
    path: String,
    /// new, kept or post.
    #[arg(long, default_value = "new", value_parser = kind)]
    kind: Kind,
    /// Requests in a second.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// When to stop by itself.
    #[arg(long, default_value_t = 3600.0)]
    seconds: f64,
    /// The status of a good answer.
    #[arg(long, default_value_t = 200)]
    status: u16,
    /// Write every request to this file: begin and duration in milliseconds, connection, answer.
    #[arg(long)]
    log: Option<std::path::PathBuf>,
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "new" => Ok(Kind::New),
        "kept" => Ok(Kind::Kept),
        "post" => Ok(Kind::Post),
        _ => Err("write new, kept or post".to_owned()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let stop = CancellationToken::new();
    let plan = Plan { at: arguments.at, path: arguments.path, kind: arguments.kind, rate: arguments.rate };
    let client = tokio::spawn(client::run(plan, stop.clone(), told(arguments.status)));
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs_f64(arguments.seconds)) => {}
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    stop.cancel();
    let all = client.await?;
    if let Some(file) = arguments.log {
        let line = |asked: &Asked| {
            let (at, took) = (asked.at.as_secs_f64() * 1e3, asked.took.as_secs_f64() * 1e3);
            let connection = if asked.reused { "kept" } else { "new" };
            format!("{at:.1} {took:.1} {connection} {:?}\n", asked.answer)
        };
        std::fs::write(file, all.iter().map(line).collect::<String>())?;
    }
    let report = report::report(&all, arguments.status);
    anstream::println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Prints a version at its first good answer, with the time in milliseconds since 1970: who wants to know when it is
/// live need not ask by himself and be part of the load.
fn told(status: u16) -> impl Fn(&Asked) + Send + Sync {
    let known = Mutex::new(BTreeSet::new());
    move |asked| {
        let Ok((met, version)) = &asked.answer else { return };
        if *met == status && known.lock().unwrap_or_else(PoisonError::into_inner).insert(version.clone()) {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            anstream::println!("{}", serde_json::json!({"version": version, "at": now.as_secs_f64() * 1e3}));
        }
    }
}
