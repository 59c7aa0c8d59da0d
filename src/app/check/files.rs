//! The agent's own files: where it keeps what it must not forget.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::app::lookup;
use crate::config::Config;
use crate::report;
use crate::store;

/// A folder that the agent could not work in.
#[derive(Debug, thiserror::Error)]
pub enum NotWritable {
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    #[error("{} cannot be written", .0.display())]
    Shut(PathBuf, #[source] std::io::Error),
}

/// Whether a folder can be written, or made in the nearest that is there, which is the answer.
pub fn writable(folder: &Path) -> Result<&Path, NotWritable> {
    let nearest = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
    if !nearest.is_dir() {
        return Err(NotWritable::NotAFolder(nearest.to_owned()));
    }
    let access = rustix::fs::access(nearest, rustix::fs::Access::WRITE_OK);
    access.map(|()| nearest).map_err(|error| NotWritable::Shut(nearest.to_owned(), error.into()))
}

pub(super) fn state(config: &Config) -> Finding {
    const WHAT: &str = "state folder";
    let path = &config.state;
    let parent = match writable(path) {
        Ok(parent) => parent,
        Err(error) => {
            let mend = "let the agent's user write there, or change `state`";
            return Finding::wrong(WHAT, report::line(&error), mend);
        }
    };
    if in_memory(parent) {
        let found =
            format!("{} is in memory: the history and the releases go with the next reboot", path.display());
        return Finding::doubtful(
            WHAT,
            found,
            "change `state` to a folder on a disk, such as /var/lib/agent",
        );
    }
    Finding::good(WHAT, path.display().to_string())
}

fn in_memory(path: &Path) -> bool {
    // linux/magic.h
    const TMPFS: i64 = 0x0102_1994;
    rustix::fs::statfs(path).is_ok_and(|facts| facts.f_type == TMPFS)
}

/// The record, if there is one yet.
pub(super) async fn record(config: &Config) -> Option<Finding> {
    const WHAT: &str = "record";
    let record = match lookup(config) {
        Ok(record) => record,
        Err(store::Error::Missing { .. }) => return None,
        Err(error) => {
            let mend = "see what the message names; a backup of the state folder can be put back";
            return Some(Finding::wrong(WHAT, report::line(&error), mend));
        }
    };
    let newest = match record.runs(1).await {
        Ok(runs) => runs.into_iter().next()?,
        Err(error) => {
            let mend = "see what the message names; a backup of the state folder can be put back";
            return Some(Finding::wrong(WHAT, report::line(&error), mend));
        }
    };
    let ahead = newest.started_at - chrono::Utc::now().timestamp_millis();
    Some(if ahead > 0 {
        let found =
            format!("run {} began {} s in the future: the clock was set back", newest.id, ahead / 1000);
        Finding::doubtful("clock", found, "set it right: timedatectl set-ntp true")
    } else {
        Finding::good(WHAT, format!("{} is its newest run", newest.id))
    })
}
