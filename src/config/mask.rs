//! Blots out what looks like a secret in text that is about to be shown: people do paste a token where the path
//! of its file belongs, and the message about it must not print it again.
//!
//! A second line of defence, by guess. The first is that no key of the configuration holds a secret.

/// Words in a key's name that speak of a secret; with `file` in the name the value is only a path.
const WORDS: [&str; 5] = ["token", "secret", "password", "passwd", "private_key"];
/// How the secrets begin that this agent's users have at hand.
const BEGINNINGS: [&str; 14] = [
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "whsec_",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "AGE-SECRET-KEY-",
    "hooks.slack.com/services/",
    "discord.com/api/webhooks/",
];

/// Whether a value is itself a secret, by its beginning.
pub(super) fn is_secret(value: &str) -> bool {
    BEGINNINGS.iter().any(|beginning| value.starts_with(beginning)) || value.starts_with("-----BEGIN")
}

/// The same text, byte for byte as long, with `*` where secrets may be.
pub(super) fn mask(text: &str) -> String {
    text.split_inclusive('\n').map(mask_line).collect()
}

fn mask_line(line: &str) -> String {
    let mut masked = line.to_owned();
    for beginning in BEGINNINGS {
        let starts: Vec<usize> = line.match_indices(beginning).map(|(at, _)| at).collect();
        for start in starts {
            let word = |c: char| c.is_ascii_alphanumeric() || "_-/".contains(c);
            // Some begin with a host's name, whose dots are no part of what follows.
            let rest = start + beginning.len();
            let end = line[rest..].find(|c| !word(c)).map_or(line.len(), |length| rest + length);
            blot(&mut masked, start, end);
        }
    }
    for (at, _) in line.match_indices("://") {
        let start = at + "://".len();
        let end =
            line[start..].find(['/', '"', '\'', '`', ' ', '\n']).map_or(line.len(), |length| start + length);
        // `git@` is how every deploy key signs in, and no secret.
        if let Some(length) =
            line[start..end].rfind('@').filter(|length| line[start..start + length] != *"git")
        {
            blot(&mut masked, start, start + length);
        }
    }
    if let Some(equals) = line.find('=') {
        let key = line[..equals].to_ascii_lowercase();
        if WORDS.iter().any(|word| key.contains(word)) && !key.contains("file") {
            blot(&mut masked, equals + 1, line.trim_end().len());
        }
    }
    masked
}

/// Spaces and quotes stay, so that the line still reads as what it is.
fn blot(text: &mut String, start: usize, end: usize) {
    if start >= end {
        return;
    }
    let stars: String = text[start..end]
        .chars()
        .map(|c| if " \"'".contains(c) { c.to_string() } else { "*".repeat(c.len_utf8()) })
        .collect();
    text.replace_range(start..end, &stars);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_blotted_out_and_the_rest_stays() {
        insta::assert_snapshot!(mask(
            "[source]\n\
             url = \"https://me:hunter2@example.org/a.git\" # mine\n\
             url = \"ssh://git@example.org/a.git\"\n\
             token = \"hunter2\"\n\
             token_file = \"/etc/agent/token\"\n\
             token_file = \"ghp_abcDEF123\"\n\
             password = 'zwölf'\n\
             branch = \"main\"\n"
        ), @r#"
        [source]
        url = "https://**********@example.org/a.git" # mine
        url = "ssh://git@example.org/a.git"
        token = "*******"
        token_file = "/etc/agent/token"
        token_file = "*************"
        password = '******'
        branch = "main"
        "#);
    }

    proptest! {
        /// Places in the text are byte offsets; they must still fit after masking.
        #[test]
        fn masking_keeps_every_offset(text in "([a-z=\" ß]|token|://|@|ghp_|\n){0,40}") {
            let masked = mask(&text);
            prop_assert_eq!(masked.len(), text.len());
            for (at, _) in masked.char_indices().chain(text.char_indices()) {
                prop_assert_eq!(text.as_bytes().get(at) == Some(&b'\n'), masked.as_bytes().get(at) == Some(&b'\n'));
            }
        }
    }
}
