//! How an error is told: one line for logs, several for people. Errors say only their own layer; here alone the
//! chain of their sources is put together. Writes nothing itself and knows no error type of ours.

use std::error::Error;

/// `a: b: c` on one line, whatever line ends the messages hold.
pub fn line(error: &(dyn Error + 'static)) -> String {
    let parts: Vec<String> = layers(error).iter().map(|message| flat(message)).collect();
    parts.join(": ")
}

/// For people:
///
/// ```text
/// error: the revision cannot be fetched
///   because the server refused the token
/// hint: write a new token into /etc/agent/token
/// ```
///
/// Messages of several lines, such as a build's last output, stay so, indented below their first. Ends without a
/// line end.
pub fn people(error: &(dyn Error + 'static), hint: Option<&str>) -> String {
    let layers = layers(error);
    let mut lines = Vec::new();
    for (depth, message) in layers.iter().enumerate() {
        let lead = if depth == 0 { "error: " } else { "  because " };
        lines.push(format!("{lead}{}", indent(message)));
    }
    lines.extend(hint.map(|hint| format!("hint: {}", indent(hint))));
    lines.join("\n")
}

/// The messages from the outside in. Some libraries repeat their source's message in their own; what was
/// already said is not said twice.
fn layers(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(layer) = next {
        let message = layer.to_string().trim().to_owned();
        if !message.is_empty() && !messages.iter().any(|outer| outer.ends_with(&message)) {
            messages.push(message);
        }
        next = layer.source();
    }
    messages
}

fn flat(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" | ")
}

fn indent(message: &str) -> String {
    message.trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Layer {
        message: &'static str,
        source: Option<Box<Layer>>,
    }

    fn chain(messages: &[&'static str]) -> Layer {
        let (message, rest) = messages.split_first().unwrap();
        Layer { message, source: (!rest.is_empty()).then(|| Box::new(chain(rest))) }
    }

    #[test]
    fn a_log_line_has_every_layer_once() {
        assert_eq!(
            line(&chain(&["fetch failed", "no route", "os error 113"])),
            "fetch failed: no route: os error 113"
        );
        assert_eq!(line(&chain(&["fetch failed: no route", "no route"])), "fetch failed: no route");
        assert_eq!(line(&chain(&["a", "", "b"])), "a: b");
    }

    #[test]
    fn a_log_line_stays_one_line() {
        assert_eq!(
            line(&chain(&["the build failed:\n  step 3\r\n\n  exit code 4\n", "x"])),
            "the build failed: | step 3 | exit code 4: x"
        );
    }

    #[test]
    fn people_get_a_line_a_layer_and_the_hint_last() {
        insta::assert_snapshot!(people(&chain(&["the roll failed:\nline 1\nline 2", "it exited", "code 3"]), Some("look\nthere")), @r"
        error: the roll failed:
            line 1
            line 2
          because it exited
          because code 3
        hint: look
            there
        ");
        assert_eq!(people(&chain(&["alone"]), None), "error: alone");
    }
}
