//! Who has signed in: sessions in memory, so that a restart of the agent ends them all.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::http::{Secret, mac};

/// A night and a morning.
const LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// At once; one more ends the oldest.
const MOST: usize = 64;
const BYTES: usize = 32;

/// Kept by the digest of its id, so that what is in memory signs nobody in.
type Key = [u8; 32];

#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<Key, Session>>,
}

struct Session {
    csrf: String,
    until: Instant,
    /// Of the token that opened it: another token in its file ends it.
    token: Key,
    /// What the last order said, until it was shown.
    said: Option<String>,
}

impl Sessions {
    /// Opens one and gives its id.
    pub(super) fn open(&self, token: &str, now: Instant) -> io::Result<String> {
        let (id, csrf) = (random()?, random()?);
        let session = Session { csrf, until: now + LASTS, token: digest(token), said: None };
        self.with(|open| {
            open.retain(|_, session| session.until > now);
            if open.len() >= MOST
                && let Some(oldest) = open.iter().min_by_key(|(_, s)| s.until).map(|(key, _)| *key)
            {
                open.remove(&oldest);
            }
            open.insert(digest(&id), session);
        });
        Ok(id)
    }

    /// The CSRF token of an open session.
    pub(super) fn csrf(&self, id: &str, token: &str, now: Instant) -> Option<String> {
        self.with(|open| {
            let session = open.get(&digest(id))?;
            (session.until > now && session.token == digest(token)).then(|| session.csrf.clone())
        })
    }

    pub(super) fn is_open(&self, id: &str, now: Instant) -> bool {
        self.with(|open| open.get(&digest(id)).is_some_and(|session| session.until > now))
    }

    pub(super) fn close(&self, id: &str) {
        self.with(|open| open.remove(&digest(id)));
    }

    /// Keeps a line for the session's next page.
    pub(super) fn say(&self, id: &str, said: String) {
        self.with(|open| open.get_mut(&digest(id)).map(|session| session.said = Some(said)));
    }

    pub(super) fn take_said(&self, id: &str) -> Option<String> {
        self.with(|open| open.get_mut(&digest(id))?.said.take())
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<Key, Session>) -> T) -> T {
        work(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether two texts are the same, in a time that tells nothing of how they differ.
pub(super) fn same(given: &str, expected: &str) -> bool {
    let (Ok(given), Ok(expected)) = (Secret::new(given), Secret::new(expected)) else { return false };
    mac::signer(&[expected], &[b"dashboard"], &mac::sign(&given, &[b"dashboard"])).is_some()
}

fn digest(text: &str) -> Key {
    Sha256::digest(text.as_bytes()).into()
}

fn random() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a token of some length";

    #[test]
    fn a_session_ends_with_its_time_its_token_or_a_word() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let id = sessions.open(TOKEN, now).unwrap();
        assert!(sessions.csrf(&id, TOKEN, now + LASTS / 2).is_some());
        assert_eq!(sessions.csrf(&id, TOKEN, now + LASTS), None);
        assert_eq!(sessions.csrf(&id, "another token", now), None);
        assert_eq!(sessions.csrf("made up", TOKEN, now), None);
        sessions.close(&id);
        assert_eq!(sessions.csrf(&id, TOKEN, now), None);
    }

    #[test]
    fn ids_and_csrf_tokens_are_each_their_own() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let ids: Vec<String> = (0..3).map(|_| sessions.open(TOKEN, now).unwrap()).collect();
        let mut all: Vec<String> = ids.iter().map(|id| sessions.csrf(id, TOKEN, now).unwrap()).collect();
        all.extend(ids);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|text| text.len() == 2 * BYTES));
    }

    #[test]
    fn the_oldest_session_makes_room() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let first = sessions.open(TOKEN, now).unwrap();
        let later: Vec<String> =
            (1..=MOST).map(|n| sessions.open(TOKEN, now + Duration::from_secs(n as u64)).unwrap()).collect();
        assert_eq!(sessions.csrf(&first, TOKEN, now), None);
        assert!(later.iter().all(|id| sessions.csrf(id, TOKEN, now).is_some()));
    }

    #[test]
    fn what_an_order_said_is_shown_once() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let id = sessions.open(TOKEN, now).unwrap();
        sessions.say(&id, "going back".into());
        assert_eq!(sessions.take_said(&id).as_deref(), Some("going back"));
        assert_eq!(sessions.take_said(&id), None);
    }

    #[test]
    fn only_the_same_text_is_the_same() {
        assert!(same(TOKEN, TOKEN));
        for other in ["", "a token of some lengt", "a token of some length ", "A token of some length"] {
            assert!(!same(other, TOKEN) && !same(TOKEN, other), "{other}");
        }
        assert!(!same("", ""));
    }
}
