//! The machine: its engine, its disks, its clock.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::Finding;
use crate::app::connect;
use crate::config::Config;
use crate::engine::{Engine, EngineError};
use crate::report;

pub(super) async fn engine(config: &Config) -> Finding {
    const WHAT: &str = "engine";
    let facts = match connect(config).await {
        Ok(engine) => engine.facts().await,
        Err(error) => Err(error),
    };
    match facts {
        Ok(facts) => Finding::good(WHAT, format!("Docker {} (API {})", facts.version, facts.api_version)),
        Err(error) => Finding::wrong(WHAT, report::line(&error), engine_mend(&error)),
    }
}

fn engine_mend(error: &EngineError) -> &'static str {
    match error {
        EngineError::Refused { .. } => {
            "install Docker Engine 20.10 or newer, and see `socket` under [engine]"
        }
        _ if report::line(error).contains("ermission denied") => "run this as the user that runs the agent",
        _ => "systemctl start docker, and see `socket` under [engine]",
    }
}

/// Where builds and the record write.
pub(super) async fn disks(config: &Config) -> Vec<Finding> {
    let root = match connect(config).await {
        Ok(engine) => engine.facts().await.ok().map(|facts| PathBuf::from(facts.root)),
        Err(_) => None,
    };
    let state = config.state.ancestors().find(|path| path.exists()).map(Path::to_owned);
    let mut folders: Vec<PathBuf> = root.into_iter().chain(state).collect();
    // Usually both lie on the same disk, which needs saying once.
    folders.dedup_by_key(|folder| std::fs::metadata(folder).ok().map(|facts| facts.dev()));
    folders.iter().filter_map(|folder| disk(folder, config.build.min_free_disk.0)).collect()
}

fn disk(folder: &Path, floor: u64) -> Option<Finding> {
    const WHAT: &str = "disk";
    let stat = rustix::fs::statvfs(folder).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{} MiB free below {}", free >> 20, folder.display());
    Some(if free < floor {
        let mend = format!(
            "free some space (`docker system df` says what takes it); a build needs {} MiB, `min_free_disk` under \
             [build]",
            floor >> 20
        );
        Finding::wrong(WHAT, found, mend)
    } else {
        Finding::good(WHAT, found)
    })
}

/// Signatures are good for five minutes around the machine's own time.
pub(super) async fn clock() -> Option<Finding> {
    let asked =
        Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output().await;
    // Without systemd there is nobody to ask.
    let said = String::from_utf8(asked.ok().filter(|output| output.status.success())?.stdout).ok()?;
    match said.trim() {
        "yes" => Some(Finding::good("clock", "kept by the network")),
        "no" => Some(Finding::doubtful(
            "clock",
            "nothing keeps it right: webhooks are refused once it is five minutes off",
            "timedatectl set-ntp true",
        )),
        _ => None,
    }
}
