//! The agent's own files: where it keeps what it must not forget.

use std::path::Path;

use super::Finding;
use crate::app::lookup;
use crate::config::Config;
use crate::report;
use crate::store;

pub(super) fn state(config: &Config) -> Finding {
    const WHAT: &str = "state folder";
    let path = &config.state;
    let parent = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    if !parent.is_dir() {
        let found = format!("{} is not a folder", parent.display());
        return Finding::wrong(WHAT, found, "move it away, or change `state`");
    }
    if let Err(error) = rustix::fs::access(parent, rustix::fs::Access::WRITE_OK) {
        let found = format!("{} cannot be written: {error}", parent.display());
        return Finding::wrong(WHAT, found, "run the agent as its own user, or change `state`");
    }
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
