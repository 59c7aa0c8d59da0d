//! What this process itself has to say. The daemon logs to standard output, where the service manager collects it;
//! the other commands only warn, on standard error. `RUST_LOG` overrides both.
//!
//! Where standard output is the journal, each line says its priority first (sd-daemon(3)), so that `journalctl -p err`
//! finds it, and leaves the time to the journal.

use std::io::{self, Write};
use std::os::fd::AsFd;

use anstream::{AutoStream, ColorChoice};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
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
                LogFormat::Text if is_journal(&io::stdout()) => {
                    let lines = fmt::layer().with_ansi(false).with_target(false).without_time();
                    lines.with_writer(Prioritised).with_filter(filter).boxed()
                }
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

/// Whether the service manager has connected this to the journal (systemd.exec(5), `$JOURNAL_STREAM`).
fn is_journal(out: &impl AsFd) -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(out).is_ok_and(|stat| told == format!("{}:{}", stat.st_dev, stat.st_ino))
}

struct Prioritised;

impl<'a> MakeWriter<'a> for Prioritised {
    type Writer = io::StdoutLock<'static>;

    fn make_writer(&'a self) -> Self::Writer {
        io::stdout().lock()
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        let mut out = self.make_writer();
        let priority = match *meta.level() {
            Level::ERROR => "<3>",
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            _ => "<7>",
        };
        // What cannot be written here cannot be told of anywhere.
        let _ = out.write_all(priority.as_bytes());
        out
    }
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
