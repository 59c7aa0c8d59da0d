//! `.env` and `env_file`: `NAME=value` lines with quotes, comments, `export`, and variables in unquoted and
//! double-quoted values. The text is data: no command is run.

use std::collections::BTreeMap;

use super::interpolate;

/// What is wrong in a file of variables; lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) line: usize,
    pub(super) message: String,
}

/// Reads a file. Variables in values come from `lookup`, then from earlier lines. A name alone takes its
/// value from `lookup` and is left out when there is none.
pub(super) fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Invalid> {
    let mut cursor = Cursor { rest: text.trim_start_matches('\u{feff}'), line: 1 };
    let mut out = BTreeMap::new();
    while cursor.next_statement() {
        let line = cursor.line;
        let fail = |message: String| Invalid { line, message };
        let (name, has_value) = cursor.name().map_err(fail)?;
        if !has_value {
            out.extend(lookup(&name).map(|value| (name, value)));
            continue;
        }
        let (value, expands) = cursor.value().map_err(fail)?;
        let value = if expands {
            let known = |name: &str| lookup(name).or_else(|| out.get(name).cloned());
            interpolate::substitute(&value, &known, &mut Vec::new()).map_err(|bad| fail(said(&bad)))?
        } else {
            value
        };
        out.insert(name, value);
    }
    Ok(out)
}

/// Values are often secrets: no message repeats any of them.
fn said(bad: &interpolate::Invalid) -> String {
    match bad {
        interpolate::Invalid::Syntax(_) => {
            "a `$` starts no variable; write `$$`, or use single quotes".to_owned()
        }
        other => other.to_string(),
    }
}

/// `format: raw`: what follows the first `=` is the value, to the end of the line.
pub(super) fn parse_raw(text: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let mut out = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(Invalid { line: index + 1, message: "this is not NAME=value".to_owned() });
        };
        out.insert(name.trim().to_owned(), value.to_owned());
    }
    Ok(out)
}

struct Cursor<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Skips blank lines and comments; false at the end of the file.
    fn next_statement(&mut self) -> bool {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(end);
        }
    }

    /// The name, and whether `=` or `:` follows it.
    fn name(&mut self) -> Result<(String, bool), String> {
        if let Some(tail) = self.rest.strip_prefix("export") {
            let blank = tail.len() - tail.trim_start_matches([' ', '\t']).len();
            if blank > 0 {
                self.take("export".len() + blank);
            }
        }
        let end = self.rest.find(['=', ':', '\n']).unwrap_or(self.rest.len());
        let name = self.take(end).trim().to_owned();
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
        if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
            return Err(format!("{bad:?} cannot be part of a variable's name"));
        }
        let has_value = self.rest.starts_with(['=', ':']);
        if name.is_empty() {
            return Err("a value without a name".to_owned());
        }
        self.take(usize::from(has_value));
        Ok((name, has_value))
    }

    /// The value, and whether variables in it count.
    fn value(&mut self) -> Result<(String, bool), String> {
        let blank = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.take(blank);
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                let line = self.take(end);
                // A `#` starts a comment only after a blank.
                let comment = line.find(" #").or_else(|| line.find("\t#")).unwrap_or(line.len());
                let value = if line.starts_with('#') { "" } else { &line[..comment] };
                Ok((value.trim_end().to_owned(), true))
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<(String, bool), String> {
        let body = &self.rest[1..];
        let mut escaped = false;
        let end = body.char_indices().find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else {
            return Err(format!("the quote {quote} is never closed"));
        };
        let value = body[..end].to_owned();
        self.take(end + 2);
        let line_end = self.rest.find('\n').unwrap_or(self.rest.len());
        let tail = self.rest[..line_end].trim();
        if !tail.is_empty() && !tail.starts_with('#') {
            return Err("something follows the closing quote".to_owned());
        }
        self.take(line_end);
        if quote == '\'' {
            return Ok((value, false));
        }
        Ok((unescape(&value), true))
    }
}

/// Escapes of double quotes. An escaped dollar becomes `$$`, which the variables leave as a dollar.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(plain @ ('"' | '\\')) => out.push(plain),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, Invalid> {
        parse(text, &|name| (name == "OUTER").then(|| "outer".to_owned()))
    }

    #[test]
    fn values_are_read_as_written() {
        let text = "\u{feff}# comment\n\nA=1\nexport B = two words # comment\nC='$A # no' # yes\nD=\"a\\nb $A\\$A\"\n\
                    E=$A${OUTER}${X:-d}\nF: yaml\nOUTER\nUNKNOWN\nG=\nH=a#b\nI=#c\nJ=\"two\nlines\"\nK=\"q\\\"q\"\nL=it's\r\n";
        let read = read(text).unwrap();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "$A # no"),
            ("D", "a\nb 1$A"),
            ("E", "1outerd"),
            ("F", "yaml"),
            ("G", ""),
            ("H", "a#b"),
            ("I", ""),
            ("J", "two\nlines"),
            ("K", "q\"q"),
            ("L", "it's"),
            ("OUTER", "outer"),
        ];
        assert_eq!(read, expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line) in [
            ("A=1\n\nB C=2", 3),
            ("A='x\ny", 1),
            ("A=\"x\ny\"\n=1", 3),
            ("A=\"x\" y", 1),
            ("A=$", 1),
            ("A=1\nB=${X:?need}", 2),
        ] {
            assert_eq!(read(text).unwrap_err().line, line, "{text:?}");
        }
    }

    #[test]
    fn raw_values_are_untouched() {
        let read = parse_raw("# c\nA=\"$X\" # y\nB=1=2\n").unwrap();
        assert_eq!(read["A"], "\"$X\" # y");
        assert_eq!(read["B"], "1=2");
        assert_eq!(parse_raw("A\n").unwrap_err().line, 1);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[A='\"#$\\{\\} \\\\:\n\ré]{0,40}") {
            let _ = read(&text);
            let _ = parse_raw(&text);
        }
    }
}
