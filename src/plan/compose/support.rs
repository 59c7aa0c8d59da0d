//! What of the Compose Specification is supported, as a table for people, from the tables the loader reads.

use std::fmt::Write as _;

use super::schema::{Object, Shape, Support, TOP};

/// Every key of the specification in Markdown, one table a mapping.
pub fn support_table() -> String {
    let mut objects: Vec<&'static Object> = vec![&TOP];
    let mut out = String::new();
    let mut next = 0;
    while let Some(object) = objects.get(next).copied() {
        next += 1;
        table(object, &mut out);
        for key in object.keys {
            if let Support::Yes(shape) = &key.support
                && let Some(inner) = inside(shape)
                && !objects.iter().any(|known| std::ptr::eq(*known, inner))
            {
                objects.push(inner);
            }
        }
    }
    out
}

fn table(object: &Object, out: &mut String) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "\n### {}\n\n| key | | |\n|---|---|---|", object.title);
    for key in object.keys {
        let (verdict, note) = match &key.support {
            Support::Yes(shape) => ("yes", described(shape)),
            Support::No(instead) => ("refused", (*instead).to_owned()),
            Support::Idle(why) => ("no effect, with a warning", (*why).to_owned()),
        };
        let _ = writeln!(out, "| `{}` | {verdict} | {note} |", key.name);
    }
}

fn inside(shape: &Shape) -> Option<&'static Object> {
    match shape {
        Shape::Object(object)
        | Shape::Short(_, object)
        | Shape::Names(object, _)
        | Shape::Many(_, object, _)
        | Shape::OneOrMany(_, object, _)
        | Shape::Ulimit(object) => Some(object),
        Shape::Named(inner) => inside(inner),
        _ => None,
    }
}

fn described(shape: &Shape) -> String {
    match shape {
        Shape::OneOf(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::Text | Shape::Word => "text".to_owned(),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Int => "a whole number".to_owned(),
        Shape::Float => "a number".to_owned(),
        Shape::Bytes => "a size".to_owned(),
        Shape::Duration => "a duration".to_owned(),
        Shape::Mode => "file permissions".to_owned(),
        Shape::Path => "a path in the repository or on the host".to_owned(),
        Shape::Words { alone: false } => "a list of text".to_owned(),
        Shape::Words { alone: true } => "text or a list of text".to_owned(),
        Shape::Command | Shape::Test => "text or a list".to_owned(),
        Shape::Pairs | Shape::Hosts => "a mapping or a list".to_owned(),
        Shape::Named(inner) => match inside(inner) {
            Some(object) => format!("names, each with *{}*", object.title),
            None => "a mapping with free names".to_owned(),
        },
        Shape::Object(object) => format!("*{}*", object.title),
        Shape::Short(_, object) => format!("*{}*, or its short form", object.title),
        Shape::Names(object, _) => format!("a list of names, or names, each with *{}*", object.title),
        Shape::Many(_, object, _) => format!("a list of *{}*, or of its short form", object.title),
        Shape::OneOrMany(_, object, _) => {
            format!("one or a list of *{}*, or of its short form", object.title)
        }
        Shape::Ulimit(object) => format!("a whole number, or *{}*", object.title),
    }
}
