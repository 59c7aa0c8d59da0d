//! The text format itself: names, help, types, labels with their escapes. It knows no number of ours.

use std::fmt::Write;

/// An exposition being written: one metric after the other, each with its samples.
#[derive(Default)]
pub struct Text {
    text: String,
    name: &'static str,
}

impl Text {
    pub fn gauge(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.begin(name, help, "gauge")
    }

    /// `name` ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.begin(name, help, "counter")
    }

    /// A sum and a count under one name; the samples by [`Text::observed`].
    pub fn summary(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.begin(name, help, "summary")
    }

    fn begin(&mut self, name: &'static str, help: &str, kind: &str) -> &mut Self {
        self.name = name;
        // Writing into a String cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self
    }

    /// A sample of the metric begun last.
    pub fn set(&mut self, labels: &[(&str, &str)], value: f64) {
        self.sample("", labels, value);
    }

    pub fn observed(&mut self, labels: &[(&str, &str)], sum: f64, count: u64) {
        self.sample("_sum", labels, sum);
        self.sample("_count", labels, count as f64);
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let shown: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let shown = if shown.is_empty() { String::new() } else { format!("{{{}}}", shown.join(",")) };
        let _ = writeln!(self.text, "{}{suffix}{shown} {value}", self.name);
    }

    pub fn end(self) -> String {
        self.text
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
