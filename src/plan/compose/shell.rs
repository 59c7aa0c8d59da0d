//! Splits a command line into words as a POSIX shell would, without expanding anything.

/// The words; `None` when a quote is never closed or the text ends in a backslash.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(characters.next()?),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '\'' => break,
                        inner => word.push(inner),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '"' => break,
                        '\\' => match characters.next()? {
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        inner => word.push(inner),
                    }
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (text, expected) in [
            (r#"echo "a b" 'c d' e\ f"#, vec!["echo", "a b", "c d", "e f"]),
            (r#"sh -c 'echo "$X"'"#, vec!["sh", "-c", r#"echo "$X""#]),
            (r#"a""b '' "x\"y\n""#, vec!["ab", "", r#"x"y\n"#]),
            ("  \n ", vec![]),
        ] {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
        for open in ["'", "\"", "a\\", "\"\\"] {
            assert_eq!(split(open), None, "{open}");
        }
    }
}
