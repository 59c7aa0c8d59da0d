//! Setting a place in a JSON tree by its path. Pure.

use serde_json::{Map, Value};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("`{0}` is no place in an event: write names with dots between, such as `data.object.amount`")]
    Path(String),
    #[error("`{path}`: the list before `{name}` has {length} entries; write a number up to that")]
    Index { path: String, name: String, length: usize },
    #[error("`{path}`: nothing can be set in `{name}`, which is neither an object nor a list")]
    Leaf { path: String, name: String },
}

/// Puts `value` at `path`, making the objects that lead there. Entries of a list are numbered from 0; the number
/// after the last adds one.
pub(super) fn set(tree: &mut Value, path: &str, value: Value) -> Result<(), FieldError> {
    if path.split('.').any(str::is_empty) {
        return Err(FieldError::Path(path.to_owned()));
    }
    let mut at = tree;
    for name in path.split('.') {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        at = match at {
            Value::Object(fields) => fields.entry(name).or_insert(Value::Null),
            Value::Array(entries) => {
                let length = entries.len();
                let index = name.parse().ok().filter(|index| *index <= length);
                let index: usize = index.ok_or_else(|| FieldError::Index {
                    path: path.to_owned(),
                    name: name.to_owned(),
                    length,
                })?;
                if index == length {
                    entries.push(Value::Null);
                }
                &mut entries[index]
            }
            _ => return Err(FieldError::Leaf { path: path.to_owned(), name: name.to_owned() }),
        };
    }
    *at = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_found_and_made() {
        let mut tree = json!({ "a": { "b": 1, "none": null }, "list": [{ "c": 1 }] });
        for (path, value) in [
            ("a.b", json!("x")),
            ("a.none.deep.er", json!(1)),
            ("new.place", json!([])),
            ("list.0.c", json!(2)),
            ("list.1", json!("added")),
        ] {
            set(&mut tree, path, value).unwrap();
        }
        let expected = json!({
            "a": { "b": "x", "none": { "deep": { "er": 1 } } },
            "new": { "place": [] },
            "list": [{ "c": 2 }, "added"],
        });
        assert_eq!(tree, expected);
    }

    #[test]
    fn a_place_that_cannot_be_is_named() {
        let mut tree = json!({ "a": 1, "list": [] });
        for (path, expected) in [
            ("", "`` is no place"),
            ("a..b", "`a..b` is no place"),
            ("a.b", "`a.b`: nothing can be set in `b`"),
            ("list.1", "`list.1`: the list before `1` has 0 entries"),
            ("list.x", "`list.x`: the list before `x` has 0 entries"),
        ] {
            let error = set(&mut tree, path, json!(0)).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
