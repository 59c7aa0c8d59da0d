//! What this process itself has to say. The daemon logs to standard output, where the service manager collects it;
//! the other commands only warn, on standard error. `RUST_LOG` overrides both.

use std::io;

use anstream::{AutoStream, ColorChoice};
use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::args::Command;
use crate::config::{Log, LogFormat, LogLevel};

pub(super) fn start(command: &Command, log: &Log) {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
    let asked = asked.map(|text| EnvFilter::builder().parse_lossy(text));
    let layer = match command {
        Command::Run => {
            let filter = asked.unwrap_or_else(|| EnvFilter::default().add_directive(level(log.level).into()));
            let ansi = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
            match log.format {
                LogFormat::Text => {
                    fmt::layer().with_ansi(ansi).with_target(false).with_filter(filter).boxed()
                }
                LogFormat::Json => fmt::layer().json().flatten_event(true).with_filter(filter).boxed(),
            }
        }
        _ => {
            let ansi = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
            let stderr =
                fmt::layer().with_ansi(ansi).without_time().with_target(false).with_writer(io::stderr);
            match asked {
                Some(filter) => stderr.with_filter(filter).boxed(),
                // The loop's errors are the command's own answer, told by it.
                None => stderr.with_filter(filter_fn(|meta| *meta.level() == Level::WARN)).boxed(),
            }
        }
    };
    tracing_subscriber::registry().with(layer).init();
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
