//! The bare repository on disk, and keeping it in step with the remote.
//!
//! A mirror has one owner process; inside it any number of threads may read while one fetches. It is a cache:
//! damage is answered by a new clone beside it and a swap, and so is growth, because every fetch adds a pack
//! and nothing ever collects garbage in place.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};

use git2::{
    AutotagOption, Direction, ErrorClass, ErrorCode, FetchOptions, Repository, RepositoryInitOptions,
};

use crate::model::{NotARevision, Revision};

use super::error::SourceError;
use super::haves;
use super::ignore::Ignore;
use super::objects::{self, Entry, Reader, Subject};
use super::packs;
use super::remote::Remote;
use super::transport::{self, Verdict};

/// More packs than this and the next fetch clones anew. Each fetch adds one.
const MOST_PACKS: usize = 50;

/// The one reference kept: what the branch last pointed at, whatever its name. Fetches negotiate from it and the
/// commits just before it.
pub(super) const TIP: &str = "refs/agent/tip";

/// A local copy of one branch, its whole history included. Cheap to clone; all clones share their locks.
#[derive(Clone, Debug)]
pub struct Mirror {
    folder: PathBuf,
    remote: Remote,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Read by everyone who uses the folder, written by the swap that replaces it.
    folder: RwLock<()>,
    /// One fetch at a time: two would clone into the same place.
    fetching: Mutex<()>,
    /// A read met damage: the next fetch clones anew even if it needs no object.
    condemned: AtomicBool,
}

/// What a fetch found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where the branch points now; the mirror holds it.
    pub revision: Revision,
    /// False when everything was there already and nothing was transferred.
    pub downloaded: bool,
    /// The branch no longer contains the revision it was compared with: a force-push.
    pub forced: bool,
    /// Why the mirror was cloned anew, if it was.
    pub recloned: Option<String>,
}

impl Mirror {
    /// Opens the mirror in `folder`, which is made when absent. Talks to nobody, and never fails on what is in
    /// the folder: what cannot be used is found, and replaced, by the next fetch.
    pub fn open(folder: &Path, remote: Remote) -> Result<Self, SourceError> {
        let mirror = Self { folder: folder.to_owned(), remote, shared: Arc::default() };
        if !folder.exists() {
            init(folder)?;
        }
        for left in packs::unfinished(folder) {
            remove(&left)?;
        }
        Ok(mirror)
    }

    /// Asks a remote where its branch points, without a mirror.
    pub fn ask(remote: &Remote) -> Result<Revision, SourceError> {
        let mut detached = git2::Remote::create_detached(remote.url())
            .map_err(|source| SourceError::Broken { url: remote.url().to_owned(), source })?;
        Ok(connect(remote, &mut detached)?.1)
    }

    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Brings the mirror to where the branch points now, in one conversation, and compares with `previous`.
    /// A damaged or overgrown mirror is cloned anew on the way.
    pub fn fetch(&self, previous: Option<&Revision>) -> Result<Fetched, SourceError> {
        let _alone = self.shared.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = match self.shared.condemned.load(Ordering::Acquire) {
            true => self.reclone("objects could not be read".to_owned()),
            false => match self.fetch_here() {
                Err(SourceError::Damaged { source, .. }) => self.reclone(source.message().to_owned()),
                other => other,
            },
        };
        let mut fetched = attempt?;
        if let Some(previous) = previous {
            fetched.forced = self.is_rewritten(previous, &fetched.revision)?;
        }
        Ok(fetched)
    }

    /// Whether the branch, now at `tip`, no longer contains the revision `previous`: a force-push. An error where
    /// the configuration refuses that.
    pub fn is_rewritten(&self, previous: &Revision, tip: &Revision) -> Result<bool, SourceError> {
        let rewritten = !self.is_ancestor(previous, tip)?;
        if rewritten && self.remote.refuses_rewrites() {
            let (branch, previous) = (self.remote.branch().to_owned(), previous.clone());
            return Err(SourceError::Rewritten { branch, previous, now: tip.clone() });
        }
        Ok(rewritten)
    }

    fn fetch_here(&self) -> Result<Fetched, SourceError> {
        let (packs, broken) = packs::inspect(&self.folder);
        if let Some(pack) = broken {
            let source = git2::Error::from_str(&format!("{} is cut short", pack.display()));
            return Err(SourceError::Damaged { folder: self.folder.clone(), source });
        }
        let (tip, downloaded) = self.using(|repo| download(&self.remote, repo))?;
        let recloned = None;
        let fetched = Fetched { revision: tip, downloaded, forced: false, recloned };
        if downloaded && packs >= MOST_PACKS {
            // Everything needed is here already: a failure now only means that the folder stays large.
            return Ok(self.reclone(format!("it had {} packs", packs + 1)).unwrap_or(fetched));
        }
        Ok(fetched)
    }

    /// Clones beside the mirror, then puts the new one in its place. The old one stays until then.
    fn reclone(&self, why: String) -> Result<Fetched, SourceError> {
        let fresh = self.beside("new");
        remove(&fresh)?;
        let tip = download(&self.remote, &init(&fresh)?)?.0;
        let old = self.beside("old");
        remove(&old)?;
        // Not waited for: a reader may stand in a long upload, and the next fetch tries again.
        let swap = match self.shared.folder.try_write() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let source = git2::Error::from_str("it is being read while it should be replaced");
                return Err(SourceError::Damaged { folder: self.folder.clone(), source });
            }
        };
        if self.folder.exists() {
            fs::rename(&self.folder, &old).map_err(|source| disk(&self.folder, source))?;
        }
        fs::rename(&fresh, &self.folder).map_err(|source| disk(&self.folder, source))?;
        self.shared.condemned.store(false, Ordering::Release);
        drop(swap);
        remove(&old)?;
        Ok(Fetched { revision: tip, downloaded: true, forced: false, recloned: Some(why) })
    }

    /// Whether `descendant` contains `ancestor`; a revision contains itself. An ancestor that the mirror does
    /// not hold counts as not contained.
    pub fn is_ancestor(&self, ancestor: &Revision, descendant: &Revision) -> Result<bool, SourceError> {
        self.using(|repo| objects::is_ancestor(repo, ancestor, descendant))
    }

    /// Message, author and time of a revision.
    pub fn subject(&self, revision: &Revision) -> Result<Subject, SourceError> {
        self.using(|repo| objects::subject(repo, revision))
    }

    /// The bytes of the file at `path` below the repository's root, `None` when nothing is there.
    pub fn read(&self, revision: &Revision, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        self.using(|repo| Reader::new(repo, revision)?.read(path))
    }

    /// What is at `path` (`""` is the root), `None` when nothing is.
    pub fn entry(&self, revision: &Revision, path: &str) -> Result<Option<Entry>, SourceError> {
        self.using(|repo| Reader::new(repo, revision)?.find(path))
    }

    /// Everything below the folder at `path`, folders included, paths relative to it, sorted.
    pub fn list(&self, revision: &Revision, path: &str) -> Result<Vec<Entry>, SourceError> {
        self.using(|repo| {
            let reader = Reader::new(repo, revision)?;
            reader.walk(&reader.must_find(path)?, &Ignore::default())
        })
    }

    /// Opens the repository for one piece of work. It is opened each time: that costs a fraction of a
    /// millisecond, and nobody holds on to files of a mirror that was replaced.
    pub(super) fn using<T>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let _present = self.shared.folder.read().unwrap_or_else(PoisonError::into_inner);
        let done = Repository::open_bare(&self.folder)
            .map_err(|source| SourceError::Damaged { folder: self.folder.clone(), source })
            .and_then(|repo| work(&repo));
        if matches!(done, Err(SourceError::Damaged { .. })) {
            self.shared.condemned.store(true, Ordering::Release);
        }
        done
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.folder.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }
}

/// Lists the remote's references and picks the branch. The connection stays open for a download.
fn connect<'r, 'c>(
    remote: &'c Remote,
    git: &'c mut git2::Remote<'r>,
) -> Result<(git2::RemoteConnection<'r, 'c, 'c>, Revision), SourceError> {
    let verdict = Rc::new(Verdict::default());
    let explain = |error| verdict.explain(remote, error);
    let connection = git
        .connect_auth(Direction::Fetch, Some(transport::callbacks(remote, &verdict)), None)
        .map_err(explain)?;
    let wanted = format!("refs/heads/{}", remote.branch());
    let heads = connection.list().map_err(explain)?;
    let url = || remote.url().to_owned();
    if heads.is_empty() {
        return Err(SourceError::EmptyRepository { url: url() });
    }
    let found = heads.iter().find(|head| head.name() == wanted).map(git2::RemoteHead::oid);
    let id = found.ok_or_else(|| SourceError::NoSuchBranch {
        url: url(),
        branch: remote.branch().to_owned(),
        branches: heads
            .iter()
            .filter_map(|head| head.name().strip_prefix("refs/heads/"))
            .map(String::from)
            .collect(),
    })?;
    let tip = id.to_string().parse().map_err(|error: NotARevision| SourceError::Broken {
        url: url(),
        source: git2::Error::from_str(&error.to_string()),
    })?;
    Ok((connection, tip))
}

/// Makes the repository hold what the branch points at. Says where that is and whether anything was missing.
fn download(remote: &Remote, repo: &Repository) -> Result<(Revision, bool), SourceError> {
    let last = last(repo)?;
    let short = last.and_then(|tip| haves::short(repo, tip));
    let mut git = short
        .as_ref()
        .unwrap_or(repo)
        .remote_anonymous(remote.url())
        .map_err(|source| SourceError::Broken { url: remote.url().to_owned(), source })?;
    let (mut connection, tip) = connect(remote, &mut git)?;
    let missing = match objects::commit(repo, &tip) {
        Ok(_) => false,
        Err(SourceError::UnknownRevision { .. }) => true,
        Err(error) => return Err(error),
    };
    if missing {
        let verdict = Rc::new(Verdict::default());
        let mut options = FetchOptions::new();
        options.remote_callbacks(transport::callbacks(remote, &verdict)).download_tags(AutotagOption::None);
        let refspec = format!("+refs/heads/{}:{TIP}", remote.branch());
        connection.remote().download(&[refspec], Some(&mut options)).map_err(|error| {
            match error.class() {
                ErrorClass::Net
                | ErrorClass::Http
                | ErrorClass::Ssh
                | ErrorClass::Ssl
                | ErrorClass::Callback
                | ErrorClass::Os => verdict.explain(remote, error),
                _ => objects::damaged(repo, error),
            }
        })?;
    }
    // Only now, with the objects there: a reference to nothing would be damage of our own making.
    let id = objects::commit(repo, &tip)?.id();
    if last != Some(id) {
        repo.reference(TIP, id, true, "fetch").map_err(|error| objects::damaged(repo, error))?;
    }
    Ok((tip, missing))
}

/// What the last fetch brought. It must be there still, or the remote is told that we have what we have not.
fn last(repo: &Repository) -> Result<Option<git2::Oid>, SourceError> {
    match repo.find_reference(TIP).and_then(|last| last.peel_to_tree().map(|_| last.target())) {
        Err(error) if error.class() == ErrorClass::Reference && error.code() == ErrorCode::NotFound => {
            Ok(None)
        }
        Err(error) => Err(objects::damaged(repo, error)),
        Ok(last) => Ok(last),
    }
}

fn init(folder: &Path) -> Result<Repository, SourceError> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false).mkpath(true);
    Repository::init_opts(folder, &options).map_err(|source| disk(folder, std::io::Error::other(source)))
}

fn remove(path: &Path) -> Result<(), SourceError> {
    let gone = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(disk(path, source)),
        _ => Ok(()),
    }
}

fn disk(path: &Path, source: std::io::Error) -> SourceError {
    SourceError::Disk { path: path.to_owned(), source }
}
