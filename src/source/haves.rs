//! What a fetch tells the remote that we have: the last few commits.
//!
//! libgit2 tells of all that the references reach, twenty commits at a time, newest first, and waits for an answer
//! after each twenty. Over HTTP that is one more request for every fetch of a branch that has so many. So a fetch
//! goes by a repository inside the mirror's folder: it shares the mirror's objects, and its history is cut off.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use git2::{Oid, Repository, RepositoryInitOptions};

use super::mirror::TIP;

/// Enough for a branch that went back a little, and less than libgit2 tells at once.
const COMMITS: usize = 16;
const FOLDER: &str = "haves";

/// The repository to fetch by, `None` where it cannot be made: then the mirror itself serves, a little slower.
pub(super) fn short(mirror: &Repository, tip: Oid) -> Option<Repository> {
    let made = open(mirror, tip).or_else(|_| make(mirror, tip));
    made.inspect_err(|error| tracing::debug!("a fetch tells of all its history: {error}")).ok()
}

/// The one of an earlier fetch, if the branch is still there.
fn open(mirror: &Repository, tip: Oid) -> Result<Repository, Box<dyn Error>> {
    let short = Repository::open(mirror.path().join(FOLDER))?;
    short.set_odb(&mirror.odb()?)?;
    match short.refname_to_id(TIP)? == tip {
        true => Ok(short),
        false => Err("the branch has moved on".into()),
    }
}

fn make(mirror: &Repository, tip: Oid) -> Result<Repository, Box<dyn Error>> {
    let folder = mirror.path().join(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    Repository::init_opts(&folder, RepositoryInitOptions::new().bare(true).external_template(false))?;
    cut(mirror, tip, &folder)?;
    // Opened anew, so that it knows where it is cut; `open_bare` would not read that.
    let short = Repository::open(&folder)?;
    short.set_odb(&mirror.odb()?)?;
    // The last act: without it, this is not used again.
    short.reference(TIP, tip, true, "fetch")?;
    Ok(short)
}

/// Writes down, as Git's grafts, which parents the last commits have: only each other.
fn cut(mirror: &Repository, tip: Oid, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut walk = mirror.revwalk()?;
    walk.push(tip)?;
    let last: BTreeSet<Oid> = walk.take(COMMITS).collect::<Result<_, _>>()?;
    let mut grafts = String::new();
    for id in &last {
        let commit = mirror.find_commit(*id)?;
        let kept: Vec<Oid> = commit.parent_ids().filter(|parent| last.contains(parent)).collect();
        if kept.len() < commit.parent_count() {
            let line: Vec<String> = std::iter::once(id).chain(&kept).map(Oid::to_string).collect();
            grafts.push_str(&line.join(" "));
            grafts.push('\n');
        }
    }
    fs::create_dir_all(folder.join("info"))?;
    Ok(fs::write(folder.join("info/grafts"), grafts)?)
}

#[cfg(test)]
mod tests {
    use git2::Signature;

    use super::*;

    fn commit(repo: &Repository, seconds: i64, parents: &[Oid]) -> Oid {
        let who = Signature::new("a", "a@b", &git2::Time::new(seconds, 0)).unwrap();
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let parents: Vec<_> = parents.iter().map(|id| repo.find_commit(*id).unwrap()).collect();
        repo.commit(None, &who, &who, "x", &tree, &parents.iter().collect::<Vec<_>>()).unwrap()
    }

    fn told(short: &Repository) -> BTreeSet<Oid> {
        let mut walk = short.revwalk().unwrap();
        walk.push_glob("refs/*").unwrap();
        walk.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn of_a_long_history_with_branches_the_last_commits_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Repository::init_bare(folder.path()).unwrap();
        let mut tips = [commit(&mirror, 0, &[]); 2];
        for n in 1..50 {
            let side = n as usize % 2;
            tips[side] = commit(&mirror, n, &[tips[side]]);
        }
        let merged = commit(&mirror, 100, &tips);
        let first = told(&short(&mirror, merged).unwrap());
        assert_eq!(first.len(), COMMITS);
        assert!(first.contains(&merged) && tips.iter().all(|tip| first.contains(tip)));
        // The mirror itself knows all of it.
        let mut walk = mirror.revwalk().unwrap();
        walk.push(merged).unwrap();
        assert_eq!(walk.count(), 51);

        let next = commit(&mirror, 101, &[merged]);
        let then = told(&short(&mirror, next).unwrap());
        assert!(then.contains(&next) && then.contains(&merged) && then.len() == COMMITS);
        assert_eq!(told(&short(&mirror, next).unwrap()), then, "the one from before");
    }

    #[test]
    fn what_a_killed_agent_left_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Repository::init_bare(folder.path()).unwrap();
        let tip = commit(&mirror, 0, &[]);
        fs::create_dir_all(folder.path().join("haves/info")).unwrap();
        fs::write(folder.path().join("haves/info/grafts"), "half").unwrap();
        assert_eq!(told(&short(&mirror, tip).unwrap()), BTreeSet::from([tip]));
    }
}
