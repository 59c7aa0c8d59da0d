//! Which events are meant, as a condition in SQL.

use rusqlite::types::Value;

use super::list::State;

/// Which events are listed, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// An event type, or its beginning with `*` behind it.
    pub kind: Option<String>,
    pub endpoint: Option<String>,
    pub destination: Option<String>,
    pub state: Option<State>,
    pub after: Option<i64>,
    pub before: Option<i64>,
    pub limit: usize,
}

impl Filter {
    /// The conditions on `inbox_events e`, and their values.
    pub(super) fn conditions(&self) -> (String, Vec<Value>) {
        let mut text = String::from("1");
        let mut values = Vec::new();
        let mut add = |condition: &str, value: Value| {
            values.push(value);
            text += &format!(" AND {}", condition.replace('?', &format!("?{}", values.len())));
        };
        match self.kind.as_deref().map(|kind| (kind, kind.strip_suffix('*'))) {
            // Every type that begins so sorts between the two.
            Some((_, Some(beginning))) => {
                add("e.kind >= ?", beginning.to_owned().into());
                add("e.kind < ?", format!("{beginning}\u{10ffff}").into());
            }
            Some((kind, None)) => add("e.kind = ?", kind.to_owned().into()),
            None => {}
        }
        if let Some(endpoint) = &self.endpoint {
            add("e.endpoint = ?", endpoint.clone().into());
        }
        if let Some(after) = self.after {
            add("e.received >= ?", after.into());
        }
        if let Some(before) = self.before {
            add("e.received < ?", before.into());
        }
        let of =
            |condition: &str| format!("e.number IN (SELECT event FROM inbox_deliveries WHERE {condition})");
        match (&self.destination, self.state) {
            (Some(destination), None) => add(&of("destination = ?"), destination.clone().into()),
            // The words are ours: nothing of a person's stands in the text.
            (None, Some(state)) => text += &format!(" AND {}", of(&format!("state = '{}'", state.word()))),
            (Some(destination), Some(state)) => {
                add(
                    &of(&format!("state = '{}' AND destination = ?", state.word())),
                    destination.clone().into(),
                );
            }
            (None, None) => {}
        }
        (text, values)
    }
}
