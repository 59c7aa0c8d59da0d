//! What went wrong in a turn, in the two forms that matter: its class for the loop, its words for people.

use crate::build::BuildError;
use crate::engine::EngineError;
use crate::model::class::Class;
use crate::model::problem::Problem;
use crate::model::run::Failure;
use crate::record::RecordError;
use crate::report;
use crate::roll::{JournalError, RollError};
use crate::route::RouteError;
use crate::source::SourceError;

/// Why a turn did not reach its end.
#[derive(Debug)]
pub enum Trouble {
    /// Something newer is to be reached; nothing is wrong.
    Newer,
    Failure {
        class: Class,
        failure: Failure,
    },
}

impl Trouble {
    fn new(class: Class, message: String, hint: Option<String>) -> Self {
        Self::Failure { class, failure: Failure { message, hint, ..Failure::default() } }
    }

    /// Only a person's change can mend it.
    pub(super) fn stalled(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Class::Stalled, message.into(), Some(hint.into()))
    }

    /// It may mend by itself.
    pub(super) fn waiting(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Class::Waiting, message.into(), Some(hint.into()))
    }

    pub(super) fn of_service(mut self, name: &str) -> Self {
        if let Self::Failure { failure, .. } = &mut self {
            failure.service = Some(name.to_owned());
        }
        self
    }

    fn with_log(mut self, text: &str) -> Self {
        if let Self::Failure { failure, .. } = &mut self {
            failure.log = text.trim_end().to_owned();
        }
        self
    }
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Self::new(error.class(), report::line(&error), error.hint().map(str::to_owned))
    }
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Self {
        Self::new(error.class(), report::line(&error), hint(&error).map(str::to_owned))
    }
}

fn hint(error: &EngineError) -> Option<&'static str> {
    match error {
        EngineError::Unreachable { .. } => Some("start the engine: systemctl start docker"),
        EngineError::DiskFull { .. } => Some("free some disk space"),
        _ => None,
    }
}

impl From<RecordError> for Trouble {
    fn from(error: RecordError) -> Self {
        Self::new(Class::Failed, report::line(&error), error.hint().map(str::to_owned))
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        let hint = error.0.downcast_ref().and_then(RecordError::hint);
        Self::new(Class::Failed, report::line(&error), hint.map(str::to_owned))
    }
}

impl From<BuildError> for Trouble {
    fn from(error: BuildError) -> Self {
        match &error {
            BuildError::Failed { log, source, .. } => {
                let (message, hint) = (report::line(source), hint(source).unwrap_or("mend it and push"));
                Self::new(source.class(), message, Some(hint.into())).with_log(log)
            }
            BuildError::TooLong { log, .. } => {
                let hint = "make the build quicker, or raise `timeout` under [build]";
                Self::new(Class::Stalled, report::line(&error), Some(hint.into())).with_log(log)
            }
            BuildError::Log { .. } => Self::new(Class::Failed, report::line(&error), None),
        }
    }
}

impl From<RollError> for Trouble {
    fn from(error: RollError) -> Self {
        match error {
            RollError::Newer => Self::Newer,
            RollError::Journal(error) => error.into(),
            RollError::Engine { service, source } => {
                let class = source.class();
                Self::new(class, report::line(&source), None).of_service(&service)
            }
            RollError::Folder { ref service, .. } => {
                Self::new(Class::Failed, report::line(&error), None).of_service(service)
            }
            RollError::Gate { service, message, log } => {
                Self::new(Class::Stalled, message, Some("mend it and push".into()))
                    .of_service(&service)
                    .with_log(&log)
            }
        }
    }
}

impl From<RouteError> for Trouble {
    fn from(error: RouteError) -> Self {
        Self::new(error.class(), report::line(&error), None)
    }
}

impl From<Vec<Problem>> for Trouble {
    fn from(problems: Vec<Problem>) -> Self {
        let first = problems.first();
        let mut message = first.map_or_else(String::new, |p| format!("{}: {}", p.place, p.message));
        if problems.len() > 1 {
            message.push_str(&format!(" (and {} more)", problems.len() - 1));
        }
        let hint = first.and_then(|problem| problem.hint.clone());
        let rest = problems.iter().skip(1).map(Problem::to_string).collect::<Vec<_>>().join("\n");
        Self::new(Class::Stalled, message, hint).with_log(&rest)
    }
}
