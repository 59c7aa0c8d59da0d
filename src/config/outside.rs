//! What must be so before a revision runs, how GitHub's API is reached, where numbers are told. What each key means is
//! told in the shipped `agent.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::SecretFile;
use super::text::or_empty;
use crate::model::freeze::Freeze;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gates {
    pub skip: Vec<String>,
    #[serde(with = "or_empty")]
    pub signed_by: Option<PathBuf>,
    /// See [`Gates::freeze`].
    pub freeze: Vec<String>,
    pub required_checks: Vec<String>,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            skip: vec!["[skip deploy]".to_owned()],
            signed_by: None,
            freeze: Vec::new(),
            required_checks: Vec::new(),
        }
    }
}

impl Gates {
    /// The windows; each text is one in a configuration that was checked.
    pub fn freeze(&self) -> Vec<Freeze> {
        self.freeze.iter().filter_map(|text| Freeze::parse(text).ok()).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Github {
    /// Without a slash at the end.
    pub api_url: String,
    #[serde(with = "or_empty")]
    pub token_file: Option<SecretFile>,
}

impl Default for Github {
    fn default() -> Self {
        Self { api_url: "https://api.github.com".to_owned(), token_file: None }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// None: nobody listens.
    #[serde(with = "or_empty")]
    pub listen: Option<SocketAddr>,
}
