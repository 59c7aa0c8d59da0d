//! Events and deliveries as pages show them. Pure.

use serde::Serialize;

use crate::dashboard::steps::{Moment, Tone};
use crate::inbox::{Attempt, Backlog, Delivery, Event, State, Story};
use crate::overview::time::{Clock, took};

/// What the first page tells.
#[derive(Debug, Serialize)]
pub(in crate::dashboard) struct Overview {
    destinations: Vec<Left>,
    dead: Vec<Listed>,
    newest: Vec<Listed>,
}

/// What is left to do for a destination.
#[derive(Debug, Serialize)]
struct Left {
    name: String,
    pending: u32,
    oldest: Option<Moment>,
    dead: u32,
}

#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    kind: String,
    received: Moment,
    simulated: bool,
    deliveries: Vec<Became>,
}

#[derive(Debug, Serialize)]
struct Became {
    destination: String,
    word: &'static str,
    tone: Tone,
    attempts: u32,
    /// Of a pending one: when it is tried next.
    next: Option<String>,
}

/// The page of one event.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    #[serde(flatten)]
    event: Listed,
    endpoint: String,
    object: Option<String>,
    repeats: u32,
    attempts: Vec<Tried>,
}

#[derive(Debug, Serialize)]
struct Tried {
    at: Moment,
    destination: String,
    took: String,
    came: String,
    tone: Tone,
}

impl Overview {
    /// Deliveries that nobody tries any more.
    pub(in crate::dashboard) fn dead(&self) -> u32 {
        self.destinations.iter().map(|left| left.dead).sum()
    }
}

pub(super) fn overview(backlog: &[Backlog], dead: &[Event], newest: &[Event], clock: &Clock) -> Overview {
    let left = |left: &Backlog| Left {
        name: left.destination.clone(),
        pending: left.pending,
        oldest: left.oldest.map(|oldest| Moment::new(clock, oldest)),
        dead: left.dead,
    };
    Overview {
        destinations: backlog.iter().map(left).collect(),
        dead: dead.iter().map(|event| listed(event, clock)).collect(),
        // Those that are dead stand above.
        newest: newest
            .iter()
            .filter(|event| dead.iter().all(|dead| dead.id != event.id))
            .map(|event| listed(event, clock))
            .collect(),
    }
}

pub(super) fn story(story: &Story, clock: &Clock) -> Page {
    Page {
        event: listed(&story.event, clock),
        endpoint: story.event.endpoint.clone(),
        object: story.event.object.clone(),
        repeats: story.event.repeats,
        attempts: story.attempts.iter().map(|attempt| tried(attempt, clock)).collect(),
    }
}

fn listed(event: &Event, clock: &Clock) -> Listed {
    Listed {
        id: event.id.clone(),
        kind: event.kind.clone(),
        received: Moment::new(clock, event.received),
        simulated: event.simulated,
        deliveries: event.deliveries.iter().map(|delivery| became(delivery, clock)).collect(),
    }
}

fn became(delivery: &Delivery, clock: &Clock) -> Became {
    let (tone, next) = match delivery.state {
        State::Pending => (Tone::Busy, Some(clock.ago(delivery.due.max(clock.now)))),
        State::Delivered => (Tone::Good, None),
        State::Dead => (Tone::Bad, None),
        State::Discarded => (Tone::Plain, None),
    };
    let (destination, word) = (delivery.destination.clone(), delivery.state.word());
    Became { destination, word, tone, attempts: delivery.attempts, next }
}

fn tried(attempt: &Attempt, clock: &Clock) -> Tried {
    let (came, tone) = match (attempt.status, &attempt.trouble) {
        (Some(status @ 200..=299), _) => (status.to_string(), Tone::Good),
        (Some(status), _) => (status.to_string(), Tone::Bad),
        (None, Some(trouble)) => (trouble.clone(), Tone::Bad),
        (None, None) => ("no answer".to_owned(), Tone::Bad),
    };
    Tried {
        at: Moment::new(clock, attempt.at),
        destination: attempt.destination.clone(),
        took: took(attempt.took),
        came,
        tone,
    }
}
