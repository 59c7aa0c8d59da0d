//! From text to values, past the first mistake: each entry that cannot be used is noted and taken out, until the
//! rest can be read. What values mean together is looked at by `check`.

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;
use toml::de::{DeTable, DeValue};
use toml::{Deserializer, Spanned};

use super::check::{self, Refusal};
use super::problem::Finding;
use super::{Config, mask};

type Span = Range<usize>;

/// The configuration as far as it could be read, and all that is wrong with it.
pub(super) fn read(text: &str) -> (Config, Vec<Finding>) {
    let (mut root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // The tree behind a syntax error is a guess; what it seems to say would only mislead.
        return (Config::default(), errors.into_iter().map(not_toml).collect());
    }
    let known = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut findings = Vec::new();
    take_unknown(root.get_mut(), &known, &known, "", &mut findings);
    let written = root.get_ref().clone();
    let Some(config) = take_unusable(&mut root, &known, &mut findings) else {
        return (Config::default(), findings);
    };
    for Refusal { key, message, hint } in check::refusals(&config) {
        // A value already refused was replaced by its default, which nobody wrote.
        if !findings.iter().any(|finding| finding.key == key) {
            let span = span_of(&written, &key);
            findings.push(Finding { key: key.into_owned(), message, hint: Some(hint), span });
        }
    }
    (config, findings)
}

fn not_toml(error: toml::de::Error) -> Finding {
    let hint = "this is not TOML: text values stand in double quotes, tables begin with [name]";
    Finding {
        key: String::new(),
        message: error.message().to_owned(),
        hint: Some(hint.to_owned()),
        span: error.span(),
    }
}

/// Takes out every entry that the configuration does not have. `known` is the default configuration at this
/// place, `all` from its root.
fn take_unknown(table: &mut DeTable<'_>, known: &Value, all: &Value, path: &str, out: &mut Vec<Finding>) {
    let mut unknown = Vec::new();
    for (key, value) in table.iter_mut() {
        let name = key.get_ref().as_ref();
        let path = join(path, name);
        // Where one entry is called so, others of any name may stand beside it.
        match (known.get(name).or_else(|| known.get("default")), value.get_mut()) {
            (Some(inner @ Value::Object(_)), DeValue::Table(table)) => {
                take_unknown(table, inner, all, &path, out)
            }
            (Some(_), _) => {}
            (None, _) => {
                let (message, hint) = ("there is no such key".to_owned(), Some(suggestion(name, known, all)));
                out.push(Finding { key: path, message, hint, span: Some(key.span()) });
                unknown.push(key.clone());
            }
        }
    }
    for key in unknown {
        table.remove(&key);
    }
}

/// What was probably meant by a key that does not exist.
fn suggestion(name: &str, known: &Value, all: &Value) -> String {
    let here: Vec<&str> = known.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let near = here.iter().map(|key| (strsim::jaro_winkler(name, key), *key));
    if let Some((_, key)) = near.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)) {
        return format!("did you mean `{key}`?");
    }
    let mut elsewhere = Vec::new();
    find(all, name, "", &mut elsewhere);
    match elsewhere.first() {
        Some(table) if table.is_empty() => format!("`{name}` belongs above the first [table]"),
        Some(table) => format!("`{name}` belongs under [{table}]"),
        None => format!("the keys here are {}", here.join(", ")),
    }
}

/// The tables that have a key of this name.
fn find(known: &Value, name: &str, path: &str, out: &mut Vec<String>) {
    for (key, value) in known.as_object().into_iter().flatten() {
        if key == name {
            out.push(path.to_owned());
        }
        find(value, name, &join(path, key), out);
    }
}

/// Reads again and again, each time without the entry that stopped the reading before.
fn take_unusable(root: &mut Spanned<DeTable<'_>>, known: &Value, out: &mut Vec<Finding>) -> Option<Config> {
    loop {
        let error = match Config::deserialize(Deserializer::from(root.clone())) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let key = error.span().and_then(|span| take_at(root.get_mut(), &span, ""));
        let default = key.as_ref().and_then(|key| known.pointer(&format!("/{}", key.replace('.', "/"))));
        let (message, hint) = wording(error.message(), default);
        let span = error.span();
        match key {
            Some(key) => out.push(Finding { key, message, hint, span }),
            // Without a place to cut there is no going on; the one problem is said and the reading ends.
            None => {
                out.push(Finding { key: String::new(), message, hint, span });
                return None;
            }
        }
    }
}

/// Removes the innermost entry whose value holds the span; says which it was.
fn take_at(table: &mut DeTable<'_>, span: &Span, path: &str) -> Option<String> {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let path = join(path, key.get_ref());
        let outer = value.span();
        if let DeValue::Table(inner) = value.get_mut()
            && let Some(deeper) = take_at(inner, span, &path)
        {
            return Some(deeper);
        }
        if outer.start <= span.start && span.end <= outer.end {
            found = Some((key.clone(), path));
        }
    }
    let (key, path) = found?;
    table.remove(&key);
    Some(path)
}

/// The library's message in words for people: its own speak of Rust's types. Our refusals bring their hint in a
/// second line; otherwise the default is the best example there is.
fn wording(message: &str, default: Option<&Value>) -> (String, Option<String>) {
    if let Some((message, hint)) = message.split_once('\n') {
        return (message.to_owned(), Some(hint.to_owned()));
    }
    let Some(default) = default else { return (message.to_owned(), None) };
    let kind = match default {
        Value::Object(_) => {
            return ("this is a table, not a value".into(), Some("begin it with its name in [ ]".into()));
        }
        Value::Array(_) => "a list of texts",
        Value::Bool(_) => "true or false, without quotes",
        Value::Number(_) => "a whole number in its range, without quotes",
        _ => "text in double quotes",
    };
    let of_type = message.starts_with("invalid type") || message.starts_with("invalid value: integer");
    let message = if of_type { format!("this must be {kind}") } else { message.to_owned() };
    (message, Some(format!("the default is {default}")))
}

/// Where a value stands, or the header of its table where it is absent.
fn span_of(table: &DeTable<'_>, key: &str) -> Option<Span> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let value = table.get(first)?;
    match (rest, value.get_ref()) {
        (Some(rest), DeValue::Table(inner)) => Some(span_of(inner, rest).unwrap_or(value.span())),
        _ => Some(value.span()),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { mask::mask(key) } else { format!("{path}.{}", mask::mask(key)) }
}
