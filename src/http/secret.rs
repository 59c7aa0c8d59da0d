//! A text that must not be seen.

use std::fmt;

use serde::Deserialize;

/// A shared secret. Never empty: an empty key would make a signature that anyone can compute. Debug output
/// hides it, and nothing serialises it.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the secret is empty: anyone could sign with it; write a long random text, for example from `openssl rand -hex 32`"
)]
pub struct EmptySecret;

impl Secret {
    /// Takes the text as it is; white space at the ends counts (a file's last line break is for the reader
    /// of the file to take off).
    pub fn new(text: impl Into<String>) -> Result<Self, EmptySecret> {
        let text = text.into();
        if text.trim().is_empty() { Err(EmptySecret) } else { Ok(Self(text)) }
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Secret {
    type Error = EmptySecret;

    fn try_from(text: String) -> Result<Self, EmptySecret> {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Reads a secret at each use, so that it can be changed without a restart; says why it cannot be had.
pub type ReadSecret = Box<dyn Fn() -> Result<Secret, String> + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_empty_and_never_shown() {
        assert_eq!(Secret::new("").err(), Some(EmptySecret));
        assert_eq!(Secret::new(" \n").err(), Some(EmptySecret));
        let secret = Secret::new("hunter2").unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
