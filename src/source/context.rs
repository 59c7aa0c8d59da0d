//! What a build gets to see: the files of one folder after `.dockerignore`, as a list, a hash and a tar stream.
//!
//! The stream depends on nothing but the content: the same tree gives the same bytes whatever the commit, the
//! clone or the day, so that the engine's layer cache keeps hitting.
//!
//! One difference to `docker build` remains. It sends an ignored Dockerfile beside the context, which an
//! upload cannot: here it travels inside, and `COPY . .` sees it.

use std::io::Write;

use git2::Repository;
use sha2::{Digest, Sha256};

use crate::model::Revision;

use super::error::SourceError;
use super::ignore::Ignore;
use super::mirror::Mirror;
use super::objects::{self, Entry, Kind, Reader};

/// Where a build's Dockerfile comes from.
#[derive(Clone, Copy, Debug)]
pub enum Dockerfile<'a> {
    /// Relative to the context's folder; it may lie outside of it (`../Dockerfile`), not outside the repository.
    Path(&'a str),
    Inline(&'a str),
}

/// A build context, decided but not yet read.
#[derive(Clone, Debug)]
pub struct Context {
    mirror: Mirror,
    entries: Vec<Entry>,
    extra: Option<Extra>,
    dockerfile: String,
    hash: String,
    lfs: Vec<String>,
}

/// A Dockerfile that is not one of the entries: inline, or from outside the context.
#[derive(Clone, Debug)]
struct Extra {
    name: String,
    content: Vec<u8>,
}

impl Mirror {
    /// The build context in `folder` (relative to the repository's root, `""` is the root).
    /// `Dockerfile.dockerignore` beside a Dockerfile goes before the context's own `.dockerignore`.
    pub fn context(
        &self,
        revision: &Revision,
        folder: &str,
        dockerfile: Dockerfile<'_>,
    ) -> Result<Context, SourceError> {
        self.using(|repo| gather(self, repo, revision, folder.trim_matches('/'), dockerfile))
    }
}

impl Context {
    /// Hexadecimal SHA-256 over everything the build gets: path, kind and content of each entry, and which of
    /// them is the Dockerfile. Not over the commit.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The Dockerfile's name in the stream: what the engine must be told.
    pub fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// The Dockerfile's text.
    pub fn dockerfile_text(&self) -> Result<String, SourceError> {
        let bytes = match &self.extra {
            Some(extra) => extra.content.clone(),
            None => match self.entries.iter().find(|entry| entry.path == self.dockerfile) {
                Some(entry) => self.mirror.using(|repo| objects::blob(repo, &entry.id))?,
                None => Vec::new(),
            },
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What the stream holds, sorted by path; a Dockerfile from elsewhere is not listed.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Files whose real content is in Git LFS: the build gets the pointer. Worth a warning.
    pub fn lfs_pointers(&self) -> &[String] {
        &self.lfs
    }

    /// Writes the context as a tar stream, one file in memory at a time, and returns the sink.
    /// Owner, group and times are zero; modes are 0644, or 0755 for executables and folders.
    pub fn write_tar<W: Write>(&self, sink: W) -> Result<W, SourceError> {
        self.mirror.using(|repo| {
            let mut tar = tar::Builder::new(sink);
            for entry in &self.entries {
                append(&mut tar, repo, entry)?;
            }
            if let Some(Extra { name, content }) = &self.extra {
                let mut header = header(tar::EntryType::Regular, 0o644, content.len() as u64);
                tar.append_data(&mut header, name, content.as_slice()).map_err(sink_failed)?;
            }
            tar.into_inner().map_err(sink_failed)
        })
    }
}

fn gather(
    mirror: &Mirror,
    repo: &Repository,
    revision: &Revision,
    folder: &str,
    dockerfile: Dockerfile<'_>,
) -> Result<Context, SourceError> {
    let reader = Reader::new(repo, revision)?;
    let path = match dockerfile {
        Dockerfile::Path(path) => Some(join(folder, path).ok_or_else(|| SourceError::NoSuchPath {
            revision: revision.clone(),
            path: format!("{folder}/{path}"),
        })?),
        Dockerfile::Inline(_) => None,
    };
    let ignore = ignore(&reader, revision, folder, path.as_deref())?;
    let mut entries = reader.walk(&reader.must_find(folder)?, &ignore)?;
    let (name, extra) = match (dockerfile, path) {
        (Dockerfile::Path(_), Some(path)) => place(&reader, folder, &path, &mut entries)?,
        (Dockerfile::Inline(text), _) | (Dockerfile::Path(text), None) => aside(text.as_bytes().to_vec()),
    };
    let hash = hash(&entries, &name, extra.as_ref());
    let lfs = objects::lfs_pointers(repo, &entries)?;
    Ok(Context { mirror: mirror.clone(), entries, extra, dockerfile: name, hash, lfs })
}

/// The ignore file that counts for this Dockerfile.
fn ignore(
    reader: &Reader<'_>,
    revision: &Revision,
    folder: &str,
    dockerfile: Option<&str>,
) -> Result<Ignore, SourceError> {
    let own = dockerfile.map(|path| format!("{path}.dockerignore"));
    let shared = join(folder, ".dockerignore");
    for path in own.into_iter().chain(shared) {
        if let Some(bytes) = reader.read(&path)? {
            return Ignore::parse(&String::from_utf8_lossy(&bytes))
                .map_err(|source| SourceError::BadIgnore { revision: revision.clone(), path, source });
        }
    }
    Ok(Ignore::default())
}

/// Makes sure that the Dockerfile is in the stream, even when ignored or from outside the context.
fn place(
    reader: &Reader<'_>,
    folder: &str,
    path: &str,
    entries: &mut Vec<Entry>,
) -> Result<(String, Option<Extra>), SourceError> {
    let mut entry = reader.must_find(path)?;
    if entry.kind == Kind::Folder {
        return Err(reader.wrong_kind(&entry, "file"));
    }
    let inside = if folder.is_empty() {
        Some(path)
    } else {
        path.strip_prefix(folder).and_then(|p| p.strip_prefix('/'))
    };
    let Some(inside) = inside else {
        return Ok(aside(reader.read(path)?.unwrap_or_default()));
    };
    entry.path = inside.to_owned();
    if let Err(at) = entries.binary_search_by(|other| other.path.as_str().cmp(inside)) {
        entries.insert(at, entry);
    }
    Ok((inside.to_owned(), None))
}

/// A name that follows from the content, so that the stream does too.
fn aside(content: Vec<u8>) -> (String, Option<Extra>) {
    let name = format!(".dockerfile.{}", &hex::encode(Sha256::digest(&content))[..12]);
    (name.clone(), Some(Extra { name, content }))
}

fn hash(entries: &[Entry], dockerfile: &str, extra: Option<&Extra>) -> String {
    let mut hash = Sha256::new();
    // Bumped whenever the stream's form changes, so that old images are not taken for new ones.
    hash.update(b"agent context 1\0");
    for entry in entries {
        hash.update(format!("{}\0{:?}\0{}\0", entry.path, entry.kind, entry.id));
    }
    hash.update(format!("\0{dockerfile}\0"));
    if let Some(extra) = extra {
        hash.update(&extra.content);
    }
    hex::encode(hash.finalize())
}

fn append<W: Write>(tar: &mut tar::Builder<W>, repo: &Repository, entry: &Entry) -> Result<(), SourceError> {
    let (kind, mode) = match entry.kind {
        Kind::Folder => {
            let mut header = header(tar::EntryType::Directory, 0o755, 0);
            return tar
                .append_data(&mut header, format!("{}/", entry.path), std::io::empty())
                .map_err(sink_failed);
        }
        Kind::Link => (tar::EntryType::Symlink, 0o777),
        Kind::Executable => (tar::EntryType::Regular, 0o755),
        Kind::File | Kind::Submodule => (tar::EntryType::Regular, 0o644),
    };
    let content = objects::blob(repo, &entry.id)?;
    if kind == tar::EntryType::Symlink {
        use std::os::unix::ffi::OsStrExt;
        let target = std::ffi::OsStr::from_bytes(&content);
        return tar.append_link(&mut header(kind, mode, 0), &entry.path, target).map_err(sink_failed);
    }
    tar.append_data(&mut header(kind, mode, content.len() as u64), &entry.path, content.as_slice())
        .map_err(sink_failed)
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn sink_failed(source: std::io::Error) -> SourceError {
    SourceError::Sink { source }
}

/// `path` seen from `folder`, both below the repository's root; `None` when it climbs out of the repository.
fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}
