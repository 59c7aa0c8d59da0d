//! What a client's requests say together. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::client::Asked;

/// Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub asked: usize,
    /// Not answered, or with another status than expected.
    pub failed: usize,
    /// How often each reason occurred.
    pub reasons: BTreeMap<String, usize>,
    /// The longest time without a good answer.
    pub gap: f64,
    pub p50: f64,
    pub p99: f64,
    pub slowest: f64,
    /// Answered, but only after a second or more.
    pub slow: usize,
    /// How often the client met another version: each one that was new to it, and each answer by an older one than
    /// had been told before the request began. With one clean change it is 1.
    pub flips: usize,
    /// When each version was first told, after the client's start.
    pub versions: Vec<(String, f64)>,
    /// Requests on a connection that had been used before.
    pub reused: usize,
}

/// Of requests in the order they began. `status` is that of a good answer, whose body is the version.
pub fn report(all: &[Asked], status: u16) -> Report {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut good = Vec::new();
    for asked in all {
        match &asked.answer {
            Ok((met, version)) if *met == status => good.push((asked, version)),
            Ok((met, _)) => *reasons.entry(format!("status {met}")).or_default() += 1,
            Err(reason) => *reasons.entry(reason.clone()).or_default() += 1,
        }
    }
    let mut took: Vec<Duration> = all.iter().map(|asked| asked.took).collect();
    took.sort_unstable();
    let mut versions: BTreeMap<&str, Duration> = BTreeMap::new();
    for (asked, version) in &good {
        let told = asked.at + asked.took;
        versions.entry(version).and_modify(|first| *first = told.min(*first)).or_insert(told);
    }
    let mut versions: Vec<(&str, Duration)> = versions.into_iter().collect();
    versions.sort_by_key(|(_, first)| *first);
    let old = |at: Duration, version: &str| {
        versions.iter().rev().take_while(|(told, _)| *told != version).any(|(_, first)| *first <= at)
    };
    let stale = good.iter().filter(|(asked, version)| old(asked.at, version)).count();
    Report {
        asked: all.len(),
        failed: all.len() - good.len(),
        reasons,
        gap: millis(gap(all, good.iter().map(|(asked, _)| asked.at + asked.took))),
        p50: millis(share(&took, 0.5)),
        p99: millis(share(&took, 0.99)),
        slowest: millis(took.last().copied().unwrap_or_default()),
        slow: good.iter().filter(|(asked, _)| asked.took >= Duration::from_secs(1)).count(),
        flips: versions.len().saturating_sub(1) + stale,
        versions: versions.iter().map(|(version, first)| ((*version).to_owned(), millis(*first))).collect(),
        reused: all.iter().filter(|asked| asked.reused).count(),
    }
}

/// The longest time between two good answers, from the first request's beginning to the last one's end.
fn gap(all: &[Asked], answered: impl Iterator<Item = Duration>) -> Duration {
    let begin = all.first().map(|asked| asked.at);
    let end = all.iter().map(|asked| asked.at + asked.took).max();
    let mut times: Vec<Duration> = answered.chain(begin).chain(end).collect();
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// The smallest time that this share of all does not exceed.
fn share(sorted: &[Duration], share: f64) -> Duration {
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}
