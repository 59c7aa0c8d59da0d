//! A caller who asks twenty times a second, whether or not the answers come, and forgets nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::http::{self, Answer};

const EVERY: Duration = Duration::from_millis(50);

pub(crate) struct Client {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Vec<Asked>>,
}

#[derive(Debug)]
#[allow(dead_code, reason = "read by people when something went wrong")]
pub(crate) struct Asked {
    pub(crate) path: &'static str,
    /// After the first one.
    pub(crate) at: Duration,
    pub(crate) took: Duration,
    pub(crate) answer: Result<Answer, String>,
}

impl Asked {
    /// 200, with one of these bodies.
    pub(crate) fn is_good(&self, bodies: &[&str]) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.status == 200 && bodies.contains(&answer.body.trim()))
    }
}

impl Client {
    /// Asks for the paths in turn.
    pub(crate) fn start(port: u16, paths: &[&'static str]) -> Self {
        let paths = paths.to_vec();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let asking = std::thread::spawn(move || {
            let start = Instant::now();
            let mut open = Vec::new();
            for (n, path) in (0..).zip(paths.iter().copied().cycle()) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                open.push(std::thread::spawn(move || ask(port, path, start)));
                std::thread::sleep((start + EVERY * (n + 1)).saturating_duration_since(Instant::now()));
            }
            open.into_iter().map(|asked| asked.join().expect("asked")).collect()
        });
        Self { stop, asking }
    }

    pub(crate) fn stop(self) -> Vec<Asked> {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.asking.join().expect("the client ends");
        assert!(!asked.is_empty(), "nothing was asked");
        asked
    }

    /// Stops; every answer must have been 200 with one of these bodies.
    pub(crate) fn all_good(self, bodies: &[&str]) -> Vec<Asked> {
        let asked = self.stop();
        let bad: Vec<&Asked> = asked.iter().filter(|asked| !asked.is_good(bodies)).collect();
        assert!(bad.is_empty(), "{} of {} went wrong: {bad:#?}", bad.len(), asked.len());
        asked
    }
}

fn ask(port: u16, path: &'static str, start: Instant) -> Asked {
    let at = start.elapsed();
    let answer = http::get(port, path).map_err(|error| error.to_string());
    Asked { path, at, took: start.elapsed() - at, answer }
}
