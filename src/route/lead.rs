//! The links that nginx follows at each request, all exchanged in one step.
//!
//! `live` leads to a folder below `targets`, which is named after its content and never changed. In it each link
//! leads to an empty file named after an address, an upstream block or a waiting room: nginx resolves the links and takes
//! the last name. An old folder stays until the next change, because a worker may be on its way through it.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddrV4;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::RouteError;
use super::files::Folder;
use super::room;
use crate::plan::nginx::{Links, SEVERAL, upstream_of};

const LIVE: &str = "live";
const TARGETS: &str = "targets";
const NOWHERE: &str = "nowhere";
/// Hardly any worker goes on for longer with what it has begun before a reload.
const OLDEST_WORKER: Duration = Duration::from_secs(300);

impl Folder<'_> {
    /// From now on every request goes by these links; what would go to one that is `away` waits in its room. Without
    /// any link nothing is done: no route needs them. `back`: the links that may be wanted again, which are kept.
    pub(super) async fn lead(
        &self,
        links: &Links,
        back: &Links,
        away: &BTreeSet<SocketAddrV4>,
    ) -> Result<(), RouteError> {
        if links.is_empty() {
            return Ok(());
        }
        let path = self.0.to_owned();
        let entries = |links: &Links, away: &BTreeSet<SocketAddrV4>| -> Vec<(String, String)> {
            let to = |name: &str, to: &[SocketAddrV4]| match to {
                [] => NOWHERE.to_owned(),
                [first, ..] if to.iter().any(|at| away.contains(at)) => room::name(*first),
                [only] => only.to_string(),
                _ => format!("{SEVERAL}{}", upstream_of(name)),
            };
            links.iter().map(|(name, at)| (name.clone(), to(name, at))).collect()
        };
        let (now, back) = (entries(links, away), entries(back, &BTreeSet::new()));
        let led = tokio::task::spawn_blocking(move || lead(&path, &now, &back)).await;
        let led = led.unwrap_or_else(|error| Err(io::Error::other(error)));
        led.map_err(|source| RouteError::File {
            act: "exchange the links in",
            path: self.0.to_owned(),
            source,
        })
    }
}

impl Folder<'_> {
    /// The names that were led somewhere of late, for workers that have read no newer text.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.0.join(LIVE)).into_iter().flatten().flatten();
        let late = entries.filter(|entry| {
            let data = entry.metadata().ok().filter(std::fs::Metadata::is_symlink);
            let made = data.and_then(|data| data.modified().ok());
            made.is_some_and(|made| made.elapsed().is_ok_and(|age| age < OLDEST_WORKER))
        });
        late.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

/// The name of the folder for these links.
fn set(links: &[(String, String)]) -> String {
    hex::encode(&Sha256::digest(format!("{links:?}"))[..8])
}

/// Whether this folder has all these links; it may have others.
fn leads(folder: &Path, links: &[(String, String)]) -> bool {
    links.iter().all(|(name, to)| {
        let leads = std::fs::canonicalize(folder.join(name));
        leads.is_ok_and(|leads| leads.file_name() == Some(to.as_ref()))
    })
}

/// `links`: names, and the names of what they lead to. `back`: links for which a folder stays, if one is there: the way
/// back must not fail by a full disk, and takes what it finds.
fn lead(folder: &Path, links: &[(String, String)], back: &[(String, String)]) -> io::Result<()> {
    if leads(&folder.join(LIVE), links) {
        return Ok(());
    }
    let before = std::fs::read_link(folder.join(LIVE)).ok();
    // nginx's workers, which look the links up, run as another user.
    open_to_all(folder)?;
    let targets = folder.join(TARGETS);
    open_to_all(&targets)?;
    let set = match sets(&targets)?.into_iter().find(|set| leads(&targets.join(set), links)) {
        Some(set) => set,
        None => {
            let set = set(links);
            write(&targets, &set, links)?;
            set
        }
    };
    let aside = folder.join(".live.unfinished");
    forget(std::fs::remove_file(&aside))?;
    symlink(Path::new(TARGETS).join(&set), &aside)?;
    std::fs::rename(&aside, folder.join(LIVE))?;
    synced(folder)?;
    let before = before.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    for old in sets(&targets)? {
        let back = !back.is_empty() && leads(&targets.join(&old), back);
        if old != set && Some(old.as_str()) != before && !back {
            forget(std::fs::remove_dir_all(targets.join(old)))?;
        }
    }
    Ok(())
}

/// The folders that are there as a whole.
fn sets(targets: &Path) -> io::Result<Vec<String>> {
    let names = std::fs::read_dir(targets)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    let names: io::Result<Vec<Option<String>>> = names.collect();
    Ok(names?.into_iter().flatten().filter(|name| !name.starts_with('.')).collect())
}

/// Whole or absent, whenever the agent is killed.
fn write(targets: &Path, set: &str, links: &[(String, String)]) -> io::Result<()> {
    let aside = targets.join(".unfinished");
    forget(std::fs::remove_dir_all(&aside))?;
    open_to_all(&aside)?;
    for file in links.iter().map(|(_, to)| to).collect::<BTreeSet<_>>() {
        std::fs::File::create(aside.join(file))?;
    }
    for (name, to) in links {
        symlink(to, aside.join(name))?;
    }
    synced(&aside)?;
    // One that is there all the same is not whole.
    forget(std::fs::remove_dir_all(targets.join(set)))?;
    std::fs::rename(&aside, targets.join(set))?;
    synced(targets)
}

fn open_to_all(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

fn synced(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// What is gone already is as good.
fn forget(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn links(port: u16) -> Links {
        Links::from([
            ("web_80".to_owned(), vec![format!("10.0.0.9:{port}").parse().unwrap()]),
            ("gone_80".to_owned(), vec![]),
            ("two_80~0".to_owned(), ["10.0.0.5:80", "10.0.0.6:80"].map(|at| at.parse().unwrap()).to_vec()),
        ])
    }

    /// What nginx sees.
    fn seen(folder: &Path, name: &str) -> PathBuf {
        let path = std::fs::canonicalize(folder.join(LIVE).join(name)).unwrap();
        path.file_name().unwrap().into()
    }

    #[tokio::test]
    async fn names_are_known_for_as_long_as_a_worker_may_go_by_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nginx");
        let folder = Folder(&path);
        assert!(folder.names().is_empty());
        folder.lead(&links(80), &Links::new(), &BTreeSet::new()).await.unwrap();
        assert_eq!(folder.names().into_iter().collect::<Vec<_>>(), ["gone_80", "two_80~0", "web_80"]);
        let old = std::process::Command::new("touch")
            .args(["-h", "-d", "10 minutes ago"])
            .arg(path.join(LIVE).join("two_80~0"))
            .status();
        assert!(old.unwrap().success());
        assert_eq!(folder.names().into_iter().collect::<Vec<_>>(), ["gone_80", "web_80"]);
    }

    #[tokio::test]
    async fn all_links_lead_elsewhere_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nginx");
        // What a killed agent may leave.
        std::fs::create_dir_all(path.join("targets/.unfinished")).unwrap();
        std::fs::write(path.join(".live.unfinished"), "").unwrap();
        for port in [1, 2, 3, 3, 1] {
            Folder(&path).lead(&links(port), &links(port), &BTreeSet::new()).await.unwrap();
            assert_eq!(seen(&path, "web_80"), PathBuf::from(format!("10.0.0.9:{port}")));
            assert_eq!(seen(&path, "gone_80"), PathBuf::from(NOWHERE));
            assert_eq!(seen(&path, "two_80~0"), PathBuf::from("pool-two_80"));
        }
        assert_eq!(std::fs::read_dir(path.join(TARGETS)).unwrap().count(), 2, "one for workers on their way");
        let away = BTreeSet::from(["10.0.0.9:1", "10.0.0.5:80"].map(|at| at.parse().unwrap()));
        Folder(&path).lead(&links(1), &links(1), &away).await.unwrap();
        assert_eq!(seen(&path, "web_80"), PathBuf::from("wait-10.0.0.9-1.sock"));
        assert_eq!(seen(&path, "two_80~0"), PathBuf::from("wait-10.0.0.5-80.sock"));
    }

    #[tokio::test]
    async fn the_way_back_finds_its_links_after_any_number_of_steps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nginx");
        let back = links(1);
        let mut before = back.clone();
        before.insert("old_80~0".to_owned(), back["web_80"].clone());
        Folder(&path).lead(&before, &back, &BTreeSet::new()).await.unwrap();
        let first = std::fs::read_link(path.join(LIVE)).unwrap();
        for away in [&["10.0.0.9:1"][..], &["10.0.0.9:1", "10.0.0.5:80"], &["10.0.0.5:80"]] {
            let away = away.iter().map(|at| at.parse().unwrap()).collect();
            Folder(&path).lead(&before, &back, &away).await.unwrap();
            assert_ne!(std::fs::read_link(path.join(LIVE)).unwrap(), first);
        }
        // A full disk has no room for another.
        std::fs::write(path.join("targets/.unfinished"), "").unwrap();
        Folder(&path).lead(&back, &back, &BTreeSet::new()).await.unwrap();
        assert_eq!(std::fs::read_link(path.join(LIVE)).unwrap(), first);
    }

    #[tokio::test]
    async fn workers_of_another_user_find_their_way() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        Folder(folder.path()).lead(&links(1), &links(1), &BTreeSet::new()).await.unwrap();
        for path in ["", LIVE, TARGETS] {
            let mode = std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o755, "{path}");
        }
    }
}
