//! Reading revisions: commits, trees and blobs, by path. Nothing is written and nothing is fetched.

use git2::{ErrorCode, ObjectType, Oid, Repository, Tree};

use crate::model::Revision;

use super::error::SourceError;
use super::ignore::{Ignore, Inherited};

/// One thing in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Slash-separated, no leading or trailing slash. What it is relative to is said where entries are made.
    pub path: String,
    pub kind: Kind,
    /// The Git object id: equal ids are equal contents.
    pub id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    File,
    Executable,
    Link,
    Folder,
    Submodule,
}

/// What people read about a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// First line of the message.
    pub message: String,
    pub author: String,
    /// Seconds since 1970, as the committer's clock had it.
    pub time: i64,
}

impl Kind {
    fn from_mode(mode: i32) -> Self {
        match mode {
            0o040_000 => Self::Folder,
            0o100_755 => Self::Executable,
            0o120_000 => Self::Link,
            0o160_000 => Self::Submodule,
            _ => Self::File,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File | Self::Executable => "file",
            Self::Link => "symbolic link",
            Self::Folder => "folder",
            Self::Submodule => "submodule",
        }
    }
}

/// A revision being read.
pub(super) struct Reader<'r> {
    repo: &'r Repository,
    revision: Revision,
    root: Tree<'r>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(repo: &'r Repository, revision: &Revision) -> Result<Self, SourceError> {
        let root = commit(repo, revision)?.tree().map_err(|error| damaged(repo, error))?;
        Ok(Self { repo, revision: revision.clone(), root })
    }

    /// The entry at `path` below the root, `""` being the root itself.
    pub(super) fn find(&self, path: &str) -> Result<Option<Entry>, SourceError> {
        let path = path.trim_matches('/');
        if path.is_empty() {
            let id = self.root.id().to_string();
            return Ok(Some(Entry { path: String::new(), kind: Kind::Folder, id }));
        }
        let mut tree = self.root.clone();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let Some(found) = tree.get_name(part) else { return Ok(None) };
            let (kind, id) = (Kind::from_mode(found.filemode_raw()), found.id());
            drop(found);
            if parts.peek().is_none() {
                return Ok(Some(Entry { path: path.to_owned(), kind, id: id.to_string() }));
            }
            if kind != Kind::Folder {
                return Ok(None);
            }
            tree = self.tree(id)?;
        }
        Ok(None)
    }

    pub(super) fn must_find(&self, path: &str) -> Result<Entry, SourceError> {
        let absent = || SourceError::NoSuchPath { revision: self.revision.clone(), path: path.to_owned() };
        self.find(path)?.ok_or_else(absent)
    }

    /// The bytes of a file, `None` when nothing is there.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        match self.find(path)? {
            None => Ok(None),
            Some(Entry { kind: Kind::File | Kind::Executable, id, .. }) => blob(self.repo, &id).map(Some),
            Some(other) => Err(self.wrong_kind(&other, "file")),
        }
    }

    /// Everything below the folder `at`, paths relative to it, sorted by path: a folder stands before what is
    /// in it. Excluded entries are left out; folders come along when something in them is kept.
    pub(super) fn walk(&self, at: &Entry, ignore: &Ignore) -> Result<Vec<Entry>, SourceError> {
        if at.kind != Kind::Folder {
            return Err(self.wrong_kind(at, "folder"));
        }
        let mut entries = Vec::new();
        self.collect(self.tree(parse(self.repo, &at.id)?)?, "", ignore, &Inherited::default(), &mut entries)?;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn collect(
        &self,
        tree: Tree<'_>,
        prefix: &str,
        ignore: &Ignore,
        inherited: &Inherited,
        into: &mut Vec<Entry>,
    ) -> Result<(), SourceError> {
        for found in tree.iter() {
            let kind = Kind::from_mode(found.filemode_raw());
            let name = String::from_utf8_lossy(found.name_bytes());
            let path = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}/{name}") };
            let (excluded, inherited) = ignore.judge(&path, inherited);
            let before = into.len();
            if kind == Kind::Folder && !(excluded && ignore.is_final()) {
                self.collect(self.tree(found.id())?, &path, ignore, &inherited, into)?;
            }
            if excluded && into.len() == before {
                continue;
            }
            if kind == Kind::Submodule {
                return Err(SourceError::Submodule { revision: self.revision.clone(), path });
            }
            if found.name().is_err() {
                return Err(SourceError::NotUtf8 {
                    revision: self.revision.clone(),
                    path: prefix.to_owned(),
                });
            }
            into.push(Entry { path, kind, id: found.id().to_string() });
        }
        Ok(())
    }

    fn tree(&self, id: Oid) -> Result<Tree<'r>, SourceError> {
        self.repo.find_tree(id).map_err(|error| damaged(self.repo, error))
    }

    pub(super) fn wrong_kind(&self, entry: &Entry, wanted: &'static str) -> SourceError {
        let (revision, path) = (self.revision.clone(), entry.path.clone());
        match entry.kind {
            Kind::Submodule => SourceError::Submodule { revision, path },
            kind => SourceError::WrongKind { revision, path, is: kind.name(), wanted },
        }
    }
}

pub(super) fn commit<'r>(repo: &'r Repository, revision: &Revision) -> Result<git2::Commit<'r>, SourceError> {
    let unknown = || SourceError::UnknownRevision { revision: revision.clone() };
    let id = Oid::from_str(revision.as_str()).map_err(|_| unknown())?;
    repo.find_commit(id).map_err(|error| match error.code() {
        ErrorCode::NotFound => unknown(),
        _ => damaged(repo, error),
    })
}

pub(super) fn subject(repo: &Repository, revision: &Revision) -> Result<Subject, SourceError> {
    let commit = commit(repo, revision)?;
    Ok(Subject {
        message: String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned(),
        author: String::from_utf8_lossy(commit.author().name_bytes()).into_owned(),
        time: commit.time().seconds(),
    })
}

/// Whether `descendant` contains `ancestor`; a revision contains itself. An ancestor that the mirror does not
/// hold is not contained: after a rewrite and a new clone, that is how a lost revision looks.
pub(super) fn is_ancestor(
    repo: &Repository,
    ancestor: &Revision,
    descendant: &Revision,
) -> Result<bool, SourceError> {
    let below = commit(repo, descendant)?.id();
    let above = match commit(repo, ancestor) {
        Ok(commit) => commit.id(),
        Err(SourceError::UnknownRevision { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(above == below || repo.graph_descendant_of(below, above).map_err(|error| damaged(repo, error))?)
}

pub(super) fn blob(repo: &Repository, id: &str) -> Result<Vec<u8>, SourceError> {
    let blob = repo.find_blob(parse(repo, id)?).map_err(|error| damaged(repo, error))?;
    Ok(blob.content().to_vec())
}

/// Files that are only pointers into Git LFS: their real content is not in the repository.
pub(super) fn lfs_pointers(repo: &Repository, entries: &[Entry]) -> Result<Vec<String>, SourceError> {
    // A pointer is about 130 bytes; only the headers of other blobs are looked at.
    const SIZES: std::ops::RangeInclusive<usize> = 100..=300;
    let odb = repo.odb().map_err(|error| damaged(repo, error))?;
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| matches!(entry.kind, Kind::File | Kind::Executable)) {
        let id = parse(repo, &entry.id)?;
        let (size, kind) = odb.read_header(id).map_err(|error| damaged(repo, error))?;
        if kind == ObjectType::Blob
            && SIZES.contains(&size)
            && blob(repo, &entry.id)?.starts_with(b"version https://git-lfs")
        {
            found.push(entry.path.clone());
        }
    }
    Ok(found)
}

fn parse(repo: &Repository, id: &str) -> Result<Oid, SourceError> {
    Oid::from_str(id).map_err(|error| damaged(repo, error))
}

/// An object that must be there cannot be read: only a damaged mirror explains it.
pub(super) fn damaged(repo: &Repository, source: git2::Error) -> SourceError {
    SourceError::Damaged { folder: repo.path().to_owned(), source }
}
