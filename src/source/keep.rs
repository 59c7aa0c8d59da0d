//! Repository files for mounts: written once, named after their content, never changed.
//!
//! A container that mounts one keeps seeing what it was started with, whatever is pushed; the same content
//! under another revision is the same path, so nothing has to be recreated for it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use git2::Repository;

use crate::model::Revision;

use super::error::SourceError;
use super::ignore::Ignore;
use super::mirror::Mirror;
use super::objects::{self, Entry, Kind, Reader};

/// A file or folder of the repository on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// `STORE/<id>`: equal content, equal path.
    pub path: PathBuf,
    /// Files in it whose real content is in Git LFS. Worth a warning.
    pub lfs_pointers: Vec<String>,
}

impl Entry {
    /// The name under which [`Mirror::keep`] stores it: known without writing anything.
    pub fn kept_name(&self) -> String {
        // The same bytes with and without the executable bit are two things to a container.
        if self.kind == Kind::Executable { format!("{}.x", self.id) } else { self.id.clone() }
    }
}

impl Mirror {
    /// Puts the file or folder at `path` into `store` and says where it is; what is there already is used.
    /// Whole or absent: written aside, flushed to the disk, then renamed.
    ///
    /// A symbolic link at `path` itself is refused: the engine would follow it on the host, out of the store.
    pub fn keep(&self, revision: &Revision, path: &str, store: &Path) -> Result<Kept, SourceError> {
        self.using(|repo| {
            let reader = Reader::new(repo, revision)?;
            let entry = reader.must_find(path)?;
            let below = match entry.kind {
                Kind::Folder => reader.walk(&entry, &Ignore::default())?,
                Kind::File | Kind::Executable => Vec::new(),
                Kind::Link | Kind::Submodule => return Err(reader.wrong_kind(&entry, "file or a folder")),
            };
            let kept = store.join(entry.kept_name());
            if !kept.exists() {
                write(repo, &entry, &below, &kept)?;
            }
            let files = if below.is_empty() { vec![entry] } else { below };
            Ok(Kept { path: kept, lfs_pointers: objects::lfs_pointers(repo, &files)? })
        })
    }
}

/// Begins the names of what is being removed.
const GOING: &str = ".going.";

/// Removes everything from a store but what is `needed`, by name, and what this process is writing right now. Each is
/// first moved aside: whoever is cut off in here leaves nothing under its name that is not whole.
pub fn forget(store: &Path, needed: &BTreeSet<OsString>) -> Result<(), SourceError> {
    let entries = match fs::read_dir(store) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|source| disk(store, source))?,
    };
    let writing = format!(".{}.", std::process::id());
    for entry in entries {
        let name = entry.map_err(|source| disk(store, source))?.file_name();
        if needed.contains(&name) || name.to_string_lossy().contains(&writing) {
            continue;
        }
        let (path, mut aside) = (store.join(&name), OsString::from(GOING));
        aside.push(&name);
        let aside =
            if name.as_bytes().starts_with(GOING.as_bytes()) { path.clone() } else { store.join(aside) };
        fs::rename(&path, &aside).map_err(|source| disk(&path, source))?;
        discard(&aside)?;
    }
    Ok(())
}

fn write(repo: &Repository, entry: &Entry, below: &[Entry], kept: &Path) -> Result<(), SourceError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let store = kept.parent().unwrap_or(Path::new("."));
    let unique = format!(".{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let aside = store.join(format!("{}{unique}", entry.kept_name()));
    fs::create_dir_all(store).map_err(|source| disk(store, source))?;
    // A process with this id may have died here before.
    discard(&aside)?;
    if let Err(error) = fill(repo, entry, below, &aside) {
        discard(&aside)?;
        return Err(error);
    }
    match fs::rename(&aside, kept) {
        Ok(()) => sync(store),
        // Someone else was quicker, with the same content.
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => {
            discard(&aside)
        }
        Err(source) => Err(disk(kept, source)),
    }
}

fn fill(repo: &Repository, entry: &Entry, below: &[Entry], aside: &Path) -> Result<(), SourceError> {
    write_one(repo, entry, aside)?;
    for child in below {
        write_one(repo, child, &aside.join(&child.path))?;
    }
    // Deepest first: a folder is closed to writing once all of it is there.
    for child in below.iter().rev().filter(|child| child.kind == Kind::Folder) {
        seal(&aside.join(&child.path))?;
    }
    if entry.kind == Kind::Folder { seal(aside) } else { Ok(()) }
}

fn write_one(repo: &Repository, entry: &Entry, at: &Path) -> Result<(), SourceError> {
    let content = match entry.kind {
        Kind::Folder => return fs::create_dir(at).map_err(|source| disk(at, source)),
        _ => objects::blob(repo, &entry.id)?,
    };
    let done = match entry.kind {
        Kind::Link => symlink(std::ffi::OsStr::from_bytes(&content), at),
        _ => File::create_new(at).and_then(|mut file| {
            file.write_all(&content)?;
            let mode = if entry.kind == Kind::Executable { 0o555 } else { 0o444 };
            file.set_permissions(Permissions::from_mode(mode))?;
            file.sync_all()
        }),
    };
    done.map_err(|source| disk(at, source))
}

fn seal(folder: &Path) -> Result<(), SourceError> {
    fs::set_permissions(folder, Permissions::from_mode(0o555)).map_err(|source| disk(folder, source))?;
    sync(folder)
}

fn sync(folder: &Path) -> Result<(), SourceError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| disk(folder, source))
}

/// Removes what was written, sealed folders included.
fn discard(path: &Path) -> Result<(), SourceError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.is_dir() {
        return fs::remove_file(path).map_err(|source| disk(path, source));
    }
    fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(|source| disk(path, source))?;
    for entry in fs::read_dir(path).map_err(|source| disk(path, source))?.flatten() {
        discard(&entry.path())?;
    }
    fs::remove_dir(path).map_err(|source| disk(path, source))
}

fn disk(path: &Path, source: std::io::Error) -> SourceError {
    SourceError::Disk { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_needs_goes_sealed_folders_and_half_removed_ones_too() {
        let store = tempfile::tempdir().unwrap();
        let at = |name: &str| store.path().join(name);
        for folder in ["needed", "old", ".going.older"] {
            fs::create_dir_all(at(folder).join("sub")).unwrap();
            fs::write(at(folder).join("sub/file"), "x").unwrap();
            seal(&at(folder).join("sub")).unwrap();
            seal(&at(folder)).unwrap();
        }
        fs::write(at("file"), "x").unwrap();
        let writing = format!("new.{}.7", std::process::id());
        fs::write(at(&writing), "x").unwrap();
        forget(store.path(), &BTreeSet::from(["needed".into()])).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(store.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["needed", writing.as_str()]);
        assert!(at("needed/sub/file").exists());
        discard(&at("needed")).unwrap();
        forget(&at("absent"), &BTreeSet::new()).unwrap();
    }
}
