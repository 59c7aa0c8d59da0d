//! A commit's message and signature, for whoever decides on it.

use git2::{ErrorCode, Oid};

use crate::model::Revision;

use super::error::SourceError;
use super::mirror::Mirror;
use super::objects;

/// What a commit says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// All of it.
    pub message: String,
    /// The signature as it stands in the commit, and the bytes it was made over.
    pub signature: Option<(String, Vec<u8>)>,
}

impl Mirror {
    pub fn commit(&self, revision: &Revision) -> Result<Commit, SourceError> {
        self.using(|repo| {
            let commit = objects::commit(repo, revision)?;
            let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
            let id: Oid = commit.id();
            let signature = match repo.extract_signature(&id, None) {
                Ok((signature, signed)) => {
                    Some((String::from_utf8_lossy(&signature).into_owned(), signed.to_vec()))
                }
                Err(error) if error.code() == ErrorCode::NotFound => None,
                Err(error) => return Err(objects::damaged(repo, error)),
            };
            Ok(Commit { message, signature })
        })
    }
}
