//! Files that services are given: mounted repository files, secrets and configs, each in a folder named after
//! its content, so that another content is another path and the old one stays what it was.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::engine::Engine;
use crate::model::Revision;
use crate::model::problem::Problem;
use crate::model::project::{FileContent, FileObject, MountSource, Project};
use crate::plan::desire::{Mounted, object_key};
use crate::plan::fingerprint::{self, Key};
use crate::source::{Kind, Mirror};

use super::Reconciler;
use super::render::blocking;
use super::trouble::Trouble;

/// What is mounted by repository path, and host paths by [`object_key`].
type Paths = (BTreeMap<String, Mounted>, BTreeMap<String, String>);

/// Puts everything that the project mounts where containers can be given it.
pub(super) async fn keep<E: Engine>(
    world: &Reconciler<E>,
    revision: &Revision,
    project: &Project,
    warnings: &mut Vec<String>,
) -> Result<Paths, Trouble> {
    let keeper = Keeper {
        mirror: world.mirror.clone(),
        revision: revision.clone(),
        files: world.files(),
        objects: world.objects(),
        key: world.key,
    };
    let project = project.clone();
    let (paths, said) = blocking(move || keeper.keep(&project)).await?;
    warnings.extend(said);
    Ok(paths)
}

impl<E: Engine> Reconciler<E> {
    /// Where mounted repository files are kept.
    pub(super) fn files(&self) -> PathBuf {
        self.config.state.join("files")
    }

    /// Where secrets and configs are kept.
    pub(super) fn objects(&self) -> PathBuf {
        self.config.state.join("objects")
    }

    /// Where folders are that change under running instances.
    pub(super) fn in_place(&self) -> PathBuf {
        self.config.state.join("in-place")
    }
}

struct Keeper {
    mirror: Mirror,
    revision: Revision,
    files: PathBuf,
    objects: PathBuf,
    key: Key,
}

impl Keeper {
    fn keep(&self, project: &Project) -> Result<(Paths, Vec<String>), Trouble> {
        let (mut mounted, mut objects, mut warnings) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for mount in project.services.values().flat_map(|service| &service.volumes) {
            let MountSource::Repository(path) = &mount.source else { continue };
            let Some(entry) = self.mirror.entry(&self.revision, path)? else { continue };
            let is_folder = entry.kind == Kind::Folder;
            let kept = self.of_repository(path, &mut warnings)?;
            mounted.insert(path.clone(), Mounted { path: kept, is_folder });
        }
        let secrets = project.secrets.iter().map(|(name, object)| ("secret", name, object));
        let configs = project.configs.iter().map(|(name, object)| ("config", name, object));
        for (kind, name, object) in secrets.chain(configs) {
            let path = match &object.content {
                FileContent::Repository(path) => self.of_repository(path, &mut warnings)?,
                FileContent::Host(path) => {
                    let bytes =
                        fs::read(path).map_err(|error| unreadable(kind, name, object, path, &error))?;
                    self.write(&bytes)?
                }
                FileContent::Inline(text) => self.write(text.as_bytes())?,
                FileContent::Environment { value: Some(value), .. } => self.write(value.as_bytes())?,
                FileContent::Environment { value: None, .. } => continue,
            };
            objects.insert(object_key(kind, name), path);
        }
        Ok(((mounted, objects), warnings))
    }

    fn of_repository(&self, path: &str, warnings: &mut Vec<String>) -> Result<String, Trouble> {
        let kept = self.mirror.keep(&self.revision, path, &self.files)?;
        let pointers = kept.lfs_pointers.iter();
        warnings
            .extend(pointers.map(|file| format!("{file} is a Git LFS pointer: only the pointer is mounted")));
        Ok(kept.path.to_string_lossy().into_owned())
    }

    /// The name is a keyed hash: a guessed secret cannot be tried against it.
    fn write(&self, bytes: &[u8]) -> Result<String, Trouble> {
        let name = fingerprint::keyed(&self.key, &bytes)
            .map_err(|error| Trouble::stalled(error.to_string(), "please report this"))?;
        let path = self.objects.join(name);
        if !path.exists() {
            whole(&path, bytes).map_err(|error| {
                let what = format!("{} cannot be written: {error}", path.display());
                Trouble::stalled(what, "check the state folder's disk and permissions")
            })?;
        }
        Ok(path.to_string_lossy().into_owned())
    }
}

/// Whole or absent, whenever the agent is killed. Readable in the container whoever it runs as; on the host the
/// folder above keeps others out.
fn whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(0o444))?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

fn unreadable(kind: &str, name: &str, object: &FileObject, path: &str, error: &std::io::Error) -> Trouble {
    let problem =
        Problem::new(&object.place, format!("the {kind} {name} cannot be read from {path}: {error}"));
    vec![problem].into()
}
