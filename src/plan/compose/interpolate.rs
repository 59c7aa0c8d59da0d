//! Variables in texts: `$V`, `${V}`, `${V:-default}`, `${V-default}`, `${V:?message}`, `${V?message}`,
//! `${V:+instead}`, `${V+instead}`, nested, and `$$` for a dollar. Nothing is ever run.

use std::collections::BTreeMap;

use super::problem::{Log, Problem};
use super::tree::{Node, Value};

/// Deepest nesting of defaults within defaults.
const DEPTH: usize = 32;

/// Why a text cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("`{0}` is not a variable")]
    Syntax(String),
    #[error("the variable `{name}` must be set: {message}")]
    Required { name: String, message: String },
    #[error("variables are nested too deep")]
    Depth,
}

/// Fills in every text of a tree. Keys stay as they are.
pub(super) fn tree(node: &mut Node, variables: &BTreeMap<String, String>, log: &mut Log) {
    match &mut node.value {
        Value::Text(text) if text.contains('$') => {
            let mut unset = Vec::new();
            match substitute(text, &|name| variables.get(name).cloned(), &mut unset) {
                Ok(filled) => *text = filled,
                Err(invalid) => log.problem(problem(node, &invalid)),
            }
            for name in unset {
                let message = format!("the variable `{name}` is not set; an empty text stands in for it");
                log.warning(Problem::new(node.place.clone(), message).hint(format!(
                    "set `{name}` for the agent or in `.env`, or write `${{{name}:-}}` if empty is meant"
                )));
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| tree(item, variables, log)),
        Value::Map(map) => map.values_mut().for_each(|entry| tree(&mut entry.node, variables, log)),
        _ => {}
    }
}

fn problem(node: &Node, invalid: &Invalid) -> Problem {
    let problem = Problem::new(node.place.clone(), invalid.to_string());
    match invalid {
        Invalid::Syntax(_) => problem.hint("write `$$` for a dollar sign that starts no variable"),
        Invalid::Required { name, .. } => problem.hint(format!("set `{name}` for the agent or in `.env`")),
        Invalid::Depth => problem,
    }
}

/// `text` with its variables filled in. Names that `lookup` does not know and that have no default are
/// added to `unset`.
pub(super) fn substitute(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<String>,
) -> Result<String, Invalid> {
    fill(text, lookup, unset, 0)
}

fn fill(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, Invalid> {
    if depth > DEPTH {
        return Err(Invalid::Depth);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = closing(inner).ok_or_else(|| Invalid::Syntax(sample(&rest[at..])))?;
            let value = braced(&inner[..end], lookup, unset, depth)?;
            out.push_str(&value.ok_or_else(|| Invalid::Syntax(sample(&rest[at..at + end + 3])))?);
            rest = &inner[end + 1..];
        } else {
            let name = name(after);
            if name.is_empty() {
                return Err(Invalid::Syntax(sample(&rest[at..])));
            }
            out.push_str(&plain(name, lookup, unset));
            rest = &after[name.len()..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The inside of `${…}`; `None` if it is not a variable.
fn braced(
    inner: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<Option<String>, Invalid> {
    let name = name(inner);
    let operator = &inner[name.len()..];
    if name.is_empty() {
        return Ok(None);
    }
    if operator.is_empty() {
        return Ok(Some(plain(name, lookup, unset)));
    }
    // With a colon an empty value counts as none.
    let (value, operator) = match operator.strip_prefix(':') {
        Some(operator) => (lookup(name).filter(|value| !value.is_empty()), operator),
        None => (lookup(name), operator),
    };
    let mut characters = operator.chars();
    let kind = characters.next();
    let argument = characters.as_str();
    match (kind, value) {
        (Some('-' | '?'), Some(value)) => Ok(Some(value)),
        (Some('+'), None) => Ok(Some(String::new())),
        (Some('-'), None) | (Some('+'), Some(_)) => fill(argument, lookup, unset, depth + 1).map(Some),
        (Some('?'), None) => {
            let message = fill(argument, lookup, unset, depth + 1)?;
            let message = if message.is_empty() { "the file asks for it".to_owned() } else { message };
            Err(Invalid::Required { name: name.to_owned(), message })
        }
        _ => Ok(None),
    }
}

fn plain(name: &str, lookup: &dyn Fn(&str) -> Option<String>, unset: &mut Vec<String>) -> String {
    lookup(name).unwrap_or_else(|| {
        unset.push(name.to_owned());
        String::new()
    })
}

/// The longest variable name `text` starts with; it may be empty.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}

/// Where the `}` is that closes an already open brace.
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 1usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                open += 1;
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Enough of a bad text to find it again.
fn sample(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(30) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, Invalid> {
        let known = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        substitute(text, &known, &mut Vec::new())
    }

    #[test]
    fn every_form_is_filled_in() {
        for (text, expected) in [
            ("$A ${A} $$A $${A}", "one one $A ${A}"),
            ("${X:-d}${X-d}${EMPTY:-d}${EMPTY-d}", "ddd"),
            ("${A:+x}${A+x}${X:+x}${X+x}${EMPTY:+x}${EMPTY+x}", "xxx"),
            ("${X:-${Y:-${A}}}/${A:?no}/${EMPTY?no}", "one/one/"),
            ("${X:-a}b}", "ab}"),
            ("${X:-$A-$$}", "one-$"),
            ("${X:-${A:+{}}", "{"),
            ("a$A.b", "aone.b"),
            ("$X!", "!"),
            ("${X:-a:-b?c}", "a:-b?c"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for text in
            ["$", "$ ", "a $1", "${", "${}", "${1}", "${A", "${A!b}", "${A b}", "${A:}", "${X:-${}}", "$é"]
        {
            assert!(matches!(filled(text), Err(Invalid::Syntax(_))), "{text}");
        }
        assert_eq!(
            filled("${X:?set $A}"),
            Err(Invalid::Required { name: "X".into(), message: "set one".into() })
        );
        assert_eq!(filled(&"${X:-".repeat(100)), Err(Invalid::Syntax("${X:-".repeat(6) + "…")));
        assert_eq!(filled(&("${X:-".repeat(100) + &"}".repeat(100))), Err(Invalid::Depth));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_filled_in_or_refused(text in "[$\\{\\}A:?+\\-a é]{0,40}") {
            let _ = filled(&text);
        }

        #[test]
        fn text_without_a_dollar_stays(text in "[^$]*") {
            proptest::prop_assert_eq!(filled(&text), Ok(text));
        }
    }
}
