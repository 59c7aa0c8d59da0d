//! Why a command did not do what it was asked, and what its exit code says of that.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use crate::app::{AloneError, AppError};
use crate::config::ConfigError;
use crate::model::class::Class;
use crate::model::run::Failure;
use crate::orders::OrderError;
pub(super) use crate::overview::{brief, plain_log};
use crate::reconcile::Trouble;
use crate::record::RecordError;
use crate::source::timeouts::LimitError;
use crate::store;

/// How a command ended, for the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Good = 0,
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    /// What the shell says of a process that SIGINT ended.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl From<Class> for Code {
    /// What waits, waits for something that did not answer.
    fn from(class: Class) -> Self {
        match class {
            Class::Waiting => Self::Unreachable,
            Class::Stalled | Class::Failed => Self::Failed,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{message}")]
    Usage { message: String, hint: Option<String> },
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error("the process cannot start its threads")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Alone(#[from] AloneError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The daemon, or the loop in this process, says why not.
    #[error("{}", told(failure))]
    Refused { code: Code, failure: Failure },
    #[error("{what}")]
    Unreachable {
        what: String,
        hint: Option<&'static str>,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    #[error("no longer waiting")]
    Left { hint: &'static str },
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

impl From<Trouble> for CliError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failure { class, failure } => Self::Refused { code: class.into(), failure },
            Trouble::Newer => Self::moved(),
        }
    }
}

impl CliError {
    /// The branch or the target changed under the question.
    pub(super) fn moved() -> Self {
        let message = "something newer came in between".to_owned();
        let failure = Failure { message, hint: Some("ask again".into()), ..Failure::default() };
        Self::Refused { code: Code::Failed, failure }
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Config(_) | Self::Usage { .. } => Code::Usage,
            Self::App(AppError::Hook(_) | AppError::Schedule(_)) => Code::Usage,
            Self::Limit(LimitError::Authorities { .. }) => Code::Usage,
            Self::Unreachable { .. } | Self::Alone(AloneError::Engine(_)) => Code::Unreachable,
            Self::Refused { code, .. } => *code,
            Self::Left { .. } => Code::Interrupted,
            _ => Code::Failed,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Usage { hint, .. } => hint.clone(),
            Self::Refused { failure, .. } => failure.hint.clone(),
            Self::Unreachable { hint, .. } => hint.map(str::to_owned),
            Self::Limit(LimitError::Authorities { .. }) => Some(
                "it must be a PEM file that the agent may read: lines from BEGIN to END CERTIFICATE".into(),
            ),
            Self::Left { hint } => Some((*hint).to_owned()),
            Self::Store(error) => error.hint().map(str::to_owned),
            Self::Record(error) | Self::Order(OrderError::Record(error)) => error.hint().map(str::to_owned),
            Self::Alone(AloneError::Engine(_)) => Some("systemctl start docker, then: agent check".into()),
            _ => std::iter::successors(self.source(), |&error| error.source())
                .find_map(|error| error.downcast_ref::<store::Error>()?.hint())
                .map(str::to_owned),
        }
    }

    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// A failure with its service and its log.
fn told(failure: &Failure) -> String {
    let mut text = brief(failure);
    if !failure.log.is_empty() {
        text.push('\n');
        text.push_str(&plain_log(failure));
    }
    text
}
