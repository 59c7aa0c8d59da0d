//! The pack files of a mirror, looked at without libgit2: it passes over a pack it cannot open as if its
//! objects had never been there, and a lost history would look like a rewritten one.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Length of the SHA-1 that ends a pack.
const DIGEST: usize = 20;

fn files(mirror: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(mirror.join("objects/pack")).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// How many packs there are, and the first that is not whole.
pub(super) fn inspect(mirror: &Path) -> (usize, Option<PathBuf>) {
    let packs: Vec<PathBuf> =
        files(mirror).filter(|file| file.extension().is_some_and(|e| e == "pack")).collect();
    let broken = packs.iter().find(|pack| !is_whole(pack).unwrap_or(false)).cloned();
    (packs.len(), broken)
}

/// What a killed download left.
pub(super) fn unfinished(mirror: &Path) -> impl Iterator<Item = PathBuf> {
    let named =
        |file: &PathBuf| file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"pack-"));
    files(mirror).filter(move |file| !named(file))
}

/// An index repeats the digest that ends its pack. A cut or lost file does not fit; rot inside is found when
/// an object is read, because its own digest no longer fits.
fn is_whole(pack: &Path) -> io::Result<bool> {
    Ok(tail(pack, DIGEST)? == tail(&pack.with_extension("idx"), 2 * DIGEST)?)
}

/// [`DIGEST`] bytes, starting that far from the end.
fn tail(path: &Path, from_end: usize) -> io::Result<[u8; DIGEST]> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-(from_end as i64)))?;
    let mut bytes = [0; DIGEST];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
