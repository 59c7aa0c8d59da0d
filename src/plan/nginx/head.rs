//! The first line of the file: two fingerprints of what follows it.
//!
//! `sha256` is of the whole rest and shows edits by hand. `generation` is of what nginx reads, without comments:
//! a label that only moved to another line gives another file, but no reason to reload.

use sha2::{Digest, Sha256};

/// Stands in the text where the generation goes, until it is known.
pub(super) const UNKNOWN_GENERATION: &str = "generation-is-not-known-yet";

const HEAD: &str = "# agent: sha256=";
const GENERATION: &str = " generation=";

/// Fills in the generation and puts the first line above the text.
pub(super) fn seal(text: &str) -> String {
    let generation = &digest(&effective(text))[..16];
    let body = text.replace(UNKNOWN_GENERATION, generation);
    format!("{HEAD}{}{GENERATION}{generation}\n{body}", digest(&body))
}

/// What nginx with this configuration answers when asked for its generation; `None` for a text that is not ours.
pub fn generation(text: &str) -> Option<&str> {
    Some(head(text)?.1)
}

/// Whether someone else changed the text since it was rendered, or wrote it altogether.
pub fn is_edited(text: &str) -> bool {
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    head(text).is_none_or(|(stated, _)| stated != digest(body))
}

fn head(text: &str) -> Option<(&str, &str)> {
    text.lines().next()?.strip_prefix(HEAD)?.split_once(GENERATION)
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn effective(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

/// Marks the block of a route; what follows is `SERVICE, FILE:LINE:COLUMN`.
const MARK: &str = "# from ";

/// The service and the place of the label that a line (from 1) of a configuration comes from.
pub fn origin(text: &str, line: usize) -> Option<&str> {
    let lines: Vec<&str> = text.lines().take(line).map(str::trim).collect();
    let above = lines.iter().rev().skip(1).take_while(|line| **line != "}");
    lines.last().into_iter().chain(above).find_map(|line| line.strip_prefix(MARK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_shows() {
        let text = seal("a;\nb;\n");
        assert!(!is_edited(&text));
        assert!(is_edited(&text.replace("b;", "c;")));
        assert!(is_edited(&text.replace("b;", "b; # mine")));
        assert!(is_edited("events {}\n"));
        assert!(is_edited(""));
    }

    #[test]
    fn comments_do_not_change_the_generation() {
        let text = format!("# from web, compose.yaml:3:1\nreturn 200 {UNKNOWN_GENERATION};\n");
        let moved = seal(&text.replace(":3:1", ":4:1"));
        let other = seal(&text.replace("200", "404"));
        let text = seal(&text);
        assert_ne!(text, moved);
        assert_eq!(generation(&text), generation(&moved));
        assert_ne!(generation(&text), generation(&other));
        assert!(text.contains(&format!("return 200 {};", generation(&text).unwrap())));
        assert_eq!(generation("events {}"), None);
    }

    #[test]
    fn a_line_leads_back_to_its_label() {
        let text = "http {\n  # from web, compose.yaml:3:1\n  location / {\n    x;\n  }\n  y;\n}\n";
        assert_eq!(origin(text, 4), Some("web, compose.yaml:3:1"));
        assert_eq!(origin(text, 3), Some("web, compose.yaml:3:1"));
        assert_eq!(origin(text, 5), Some("web, compose.yaml:3:1"));
        assert_eq!(origin(text, 6), None);
        assert_eq!(origin(text, 1), None);
        assert_eq!(origin("", 9), None);
    }
}
