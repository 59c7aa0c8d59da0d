//! One conversation with the remote: credentials, host keys, and naming what went wrong.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use git2::{CertificateCheckStatus, Cred, CredentialType, ErrorClass, ErrorCode, RemoteCallbacks};

use super::error::SourceError;
use super::hostkey;
use super::remote::{Auth, Remote};

/// What the callbacks found out. libgit2 passes on only a text, so the real cause is kept here.
#[derive(Default)]
pub(super) struct Verdict(RefCell<Option<SourceError>>);

impl Verdict {
    fn refuse(&self, cause: SourceError) -> git2::Error {
        let text = cause.to_string();
        self.0.replace(Some(cause));
        git2::Error::new(ErrorCode::User, ErrorClass::Callback, text)
    }

    /// The cause of a failed conversation.
    pub(super) fn explain(&self, remote: &Remote, error: git2::Error) -> SourceError {
        self.0.take().unwrap_or_else(|| translate(remote, error))
    }
}

/// Callbacks that answer each question once. A server that asks again has refused the first answer; without
/// the count libgit2 would offer the same wrong password for ever.
pub(super) fn callbacks<'a>(remote: &'a Remote, verdict: &Rc<Verdict>) -> RemoteCallbacks<'a> {
    let mut callbacks = RemoteCallbacks::new();
    let (about_key, asked) = (Rc::clone(verdict), Cell::new(false));
    let verdict = Rc::clone(verdict);
    callbacks.credentials(move |_, user, allowed| {
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username("git");
        }
        let answer = match asked.replace(true) {
            true => Err(refused(remote)),
            false => credentials(remote, user),
        };
        answer.map_err(|cause| verdict.refuse(cause))
    });
    callbacks.certificate_check(move |certificate, host| match (certificate.as_hostkey(), remote.auth()) {
        (Some(key), Auth::SshKey { host_keys, .. }) => hostkey::check(key, host, host_keys)
            .map(|()| CertificateCheckStatus::CertificateOk)
            .map_err(|cause| about_key.refuse(cause)),
        _ => Ok(CertificateCheckStatus::CertificatePassthrough),
    });
    callbacks
}

fn credentials(remote: &Remote, user: Option<&str>) -> Result<Cred, SourceError> {
    let made = match remote.auth() {
        Auth::None => return Err(refused(remote)),
        Auth::Token { user, file } => Cred::userpass_plaintext(user, &secret(file)?),
        Auth::SshKey { file, .. } => {
            std::fs::File::open(file)
                .map_err(|source| SourceError::SecretFile { path: file.clone(), source })?;
            Cred::ssh_key(user.unwrap_or("git"), None, file, None)
        }
    };
    made.map_err(|source| SourceError::Broken { url: remote.url().to_owned(), source })
}

fn secret(path: &Path) -> Result<String, SourceError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SourceError::SecretFile { path: path.to_owned(), source })?;
    match text.trim() {
        "" => Err(SourceError::SecretEmpty { path: path.to_owned() }),
        secret => Ok(secret.to_owned()),
    }
}

fn refused(remote: &Remote) -> SourceError {
    let url = remote.url().to_owned();
    match remote.auth() {
        Auth::None => SourceError::CredentialsNeeded { url },
        Auth::Token { file, .. } => SourceError::TokenRefused { url, path: file.clone() },
        Auth::SshKey { file, .. } => SourceError::KeyRefused { url, path: file.clone() },
    }
}

/// libgit2 tells many causes apart only by its message; the texts are those of the version built in.
fn translate(remote: &Remote, error: git2::Error) -> SourceError {
    let url = remote.url().to_owned();
    let message = error.message().to_ascii_lowercase();
    let says = |part: &str| message.contains(part);
    match (error.class(), error.code()) {
        (_, ErrorCode::Timeout) => SourceError::Silent { url, source: error },
        // OpenSSL reports a read that ran into the limit as "try again".
        _ if says("timed out") || says("timeout") || says("temporarily unavailable") => {
            SourceError::Silent { url, source: error }
        }
        (_, ErrorCode::Certificate) | (ErrorClass::Ssl, _) => SourceError::Certificate { url, source: error },
        (ErrorClass::Http, _) if says("status code: 401") => refused(remote),
        (ErrorClass::Http, _) if says("status code: 403") => SourceError::Forbidden { url },
        (ErrorClass::Http, _) if says("status code: 404") => SourceError::NoSuchRepository { url },
        _ if says("failed to connect") || says("failed to resolve address") => {
            SourceError::Unreachable { url, source: error }
        }
        (ErrorClass::Ssh, _) => ssh(remote, error, &message),
        // A local path is taken for one only while it exists.
        _ if says("failed to resolve path")
            || says("unsupported url protocol")
            || says("could not find repository") =>
        {
            SourceError::NoSuchRepository { url }
        }
        (_, ErrorCode::NotFound) => SourceError::NoSuchRepository { url },
        _ => SourceError::Broken { url, source: error },
    }
}

fn ssh(remote: &Remote, error: git2::Error, message: &str) -> SourceError {
    let url = remote.url().to_owned();
    let key = || match remote.auth() {
        Auth::SshKey { file, .. } => file.clone(),
        Auth::None | Auth::Token { .. } => Default::default(),
    };
    if [
        "unable to extract public key",
        "wrong passphrase",
        "unable to open",
        "unable to initialize private key",
    ]
    .iter()
    .any(|part| message.contains(part))
    {
        return SourceError::KeyUnusable { path: key(), source: error };
    }
    if message.contains("not found") || message.contains("does not appear to be a git repository") {
        return SourceError::NoSuchRepository { url };
    }
    match error.code() {
        ErrorCode::Auth => SourceError::KeyRefused { url, path: key() },
        _ => SourceError::Broken { url, source: error },
    }
}
