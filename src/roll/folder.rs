//! A folder that instances mount, and whose content is exchanged under them all at once, as Kubernetes does it for
//! mounted configuration:
//!
//! ```text
//! index.html -> ..now/index.html
//! ..now      -> ..kept/4f1c…         exchanged by a rename
//! ..kept/4f1c…/index.html            hard links to the content, which never changes
//! ```
//!
//! Every link is relative, so that it leads to the same place in the container. A program sees the old files or the
//! new ones, and what it has open stays as it was.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const NOW: &str = "..now";
const KEPT: &str = "..kept";

/// The name of the content that a folder shows, if it shows any.
pub fn shown(folder: &Path) -> Option<OsString> {
    let link = fs::read_link(folder.join(NOW)).ok()?;
    link.file_name().map(OsStr::to_owned)
}

/// Makes the folder show this content, a folder that is named after what is in it. Whoever is cut off in here leaves
/// the old content or the new.
pub(super) fn show(folder: &Path, content: &Path) -> io::Result<()> {
    let name = content.file_name().ok_or(ErrorKind::InvalidInput)?;
    let kept = folder.join(KEPT);
    fs::create_dir_all(&kept)?;
    // Readable in the container whoever it runs as; on the host the folders above keep others out.
    for made in [folder, &kept] {
        fs::set_permissions(made, Permissions::from_mode(0o755))?;
    }
    let here = kept.join(name);
    if !here.exists() {
        let aside = kept.join(with("new.", name));
        discard(&aside)?;
        link_all(content, &aside)?;
        fs::rename(&aside, &here)?;
    }
    let names = names(&here)?;
    if names.iter().any(|name| is_ours(name)) {
        return Err(io::Error::other(format!("{NOW} and {KEPT} are names of the agent's own")));
    }
    // Before the exchange they lead nowhere, and nobody knows of them yet.
    for name in &names {
        if folder.join(name).symlink_metadata().is_err() {
            symlink(Path::new(NOW).join(name), folder.join(name))?;
        }
    }
    point(&folder.join(NOW), &Path::new(KEPT).join(name))?;
    for gone in self::names(folder)?.iter().filter(|name| !is_ours(name) && !names.contains(*name)) {
        fs::remove_file(folder.join(gone))?;
    }
    File::open(folder)?.sync_all()
}

/// Removes what a folder showed before.
pub fn forget_old(folder: &Path) -> io::Result<()> {
    let Some(now) = shown(folder) else { return Ok(()) };
    let kept = folder.join(KEPT);
    for old in names(&kept)?.into_iter().filter(|name| *name != now) {
        discard(&kept.join(old))?;
    }
    Ok(())
}

fn is_ours(name: &OsStr) -> bool {
    [NOW, KEPT].iter().any(|ours| name == *ours) || name.as_bytes().starts_with(b"..new.")
}

fn names(folder: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn with(prefix: &str, name: &OsStr) -> OsString {
    let mut whole = OsString::from(prefix);
    whole.push(name);
    whole
}

/// A link can be replaced in one step only by another that is moved over it.
fn point(link: &Path, to: &Path) -> io::Result<()> {
    let aside = link.with_file_name("..new.now");
    discard(&aside)?;
    symlink(to, &aside)?;
    fs::rename(&aside, link)
}

fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    let kind = from.symlink_metadata()?.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if !kind.is_dir() {
        return fs::hard_link(from, to);
    }
    fs::create_dir(to)?;
    for name in names(from)? {
        link_all(&from.join(&name), &to.join(&name))?;
    }
    fs::set_permissions(to, Permissions::from_mode(0o755))
}

fn discard(path: &Path) -> io::Result<()> {
    let path: PathBuf = path.to_owned();
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(root: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let at = root.join("files").join(name);
        for (file, text) in files {
            let file = at.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        at
    }

    /// What a container sees: names at the top that are not the agent's own, and what they hold.
    fn seen(folder: &Path) -> Vec<(String, Option<String>)> {
        let names = names(folder).unwrap().into_iter().filter(|name| !is_ours(name));
        let text = |name: &OsString| fs::read_to_string(folder.join(name)).ok();
        names.map(|name| (name.to_string_lossy().into_owned(), text(&name))).collect()
    }

    #[test]
    fn content_is_exchanged_and_put_back() {
        let root = tempfile::tempdir().unwrap();
        let first = content(root.path(), "one", &[("a", "a 1"), ("b", "b 1"), ("sub/c", "c 1")]);
        let second = content(root.path(), "two", &[("a", "a 2"), ("d", "d 2"), ("sub/c", "c 2")]);
        let folder = root.path().join("mounted");
        assert_eq!(shown(&folder), None);
        show(&folder, &first).unwrap();
        let before = seen(&folder);
        assert_eq!(shown(&folder).unwrap(), "one");
        assert_eq!(fs::read_to_string(folder.join("sub/c")).unwrap(), "c 1");

        show(&folder, &second).unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            seen(&folder),
            [("a".into(), text("a 2")), ("d".into(), text("d 2")), ("sub".into(), None)]
        );
        assert_eq!(fs::read_to_string(folder.join("sub/c")).unwrap(), "c 2");
        // Also when the master copy is gone.
        fs::remove_dir_all(&first).unwrap();
        show(&folder, &first).unwrap();
        assert_eq!(seen(&folder), before);
    }

    #[test]
    fn the_folder_itself_stays_and_leads_nowhere_else() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("mounted");
        show(&folder, &content(root.path(), "one", &[("a", "1")])).unwrap();
        let inode = folder.metadata().unwrap().ino();
        show(&folder, &content(root.path(), "two", &[("a", "2")])).unwrap();
        assert_eq!(folder.metadata().unwrap().ino(), inode, "a container would go on with the old folder");
        // As a mount does, somewhere else.
        let elsewhere = root.path().join("elsewhere");
        fs::rename(&folder, &elsewhere).unwrap();
        assert_eq!(fs::read_to_string(elsewhere.join("a")).unwrap(), "2");
    }

    #[test]
    fn what_was_shown_before_is_forgotten_and_what_is_shown_stays() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("mounted");
        for (name, text) in [("one", "1"), ("two", "2")] {
            show(&folder, &content(root.path(), name, &[("a", text)])).unwrap();
        }
        forget_old(&folder).unwrap();
        assert_eq!(names(&folder.join(KEPT)).unwrap(), BTreeSet::from(["two".into()]));
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "2");
    }

    #[test]
    fn what_a_killed_agent_left_half_made_is_in_nobodys_way() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("mounted");
        let one = content(root.path(), "one", &[("a", "1")]);
        fs::create_dir_all(folder.join(KEPT).join("new.one/half")).unwrap();
        symlink("nowhere", folder.join("..new.now")).unwrap();
        show(&folder, &one).unwrap();
        assert_eq!(seen(&folder), [("a".into(), Some("1".into()))]);
    }
}
