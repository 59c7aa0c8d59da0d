//! The folder with nginx's files. A file in it is only ever replaced as a whole, so that nginx never reads half
//! of one, and neither does the agent after a crash. 0644: nginx may run as another user.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::RouteError;

pub(super) struct Folder<'a>(pub(super) &'a Path);

impl Folder<'_> {
    /// `None` when there is no such file.
    pub(super) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RouteError> {
        let path = self.0.join(name);
        match fs::read(&path).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RouteError::File { act: "read", path, source }),
        }
    }

    /// Makes the folder if it is missing; when this returns, the file is on the disk.
    pub(super) async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RouteError> {
        let path = self.0.join(name);
        let written = async {
            fs::create_dir_all(self.0).await?;
            // Of an earlier agent that was killed here at most; it is truncated.
            let unfinished = self.0.join(format!(".{name}.unfinished"));
            let mut file = fs::File::create(&unfinished).await?;
            file.write_all(bytes).await?;
            file.set_permissions(std::fs::Permissions::from_mode(0o644)).await?;
            file.sync_all().await?;
            fs::rename(&unfinished, &path).await?;
            fs::File::open(self.0).await?.sync_all().await
        };
        written.await.map_err(|source| RouteError::File { act: "write", path: path.clone(), source })
    }

    /// Copies what is live to the first free `NAME.edited-N`, or finds the copy that was made before.
    pub(super) async fn keep_edited(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, RouteError> {
        let mut n: u32 = 1;
        loop {
            let copy = format!("{name}.edited-{n}");
            match self.read(&copy).await? {
                Some(kept) if kept != bytes => n += 1,
                Some(_) => return Ok(self.0.join(copy)),
                None => {
                    self.write(&copy, bytes).await?;
                    return Ok(self.0.join(copy));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_edit_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder(folder.path());
        for (text, n) in [("a", 1), ("b", 2), ("a", 1), ("c", 3)] {
            let kept = folder.keep_edited("nginx.conf", text.as_bytes()).await.unwrap();
            assert_eq!(kept, folder.0.join(format!("nginx.conf.edited-{n}")));
            assert_eq!(fs::read(kept).await.unwrap(), text.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("nginx");
        let folder = Folder(&inner);
        assert!(folder.read("nginx.conf").await.unwrap().is_none());
        // What a killed agent may leave.
        folder.write("nginx.conf", b"one").await.unwrap();
        fs::write(inner.join(".nginx.conf.unfinished"), "half of something long").await.unwrap();
        let open = std::fs::File::open(inner.join("nginx.conf")).unwrap();
        folder.write("nginx.conf", b"two").await.unwrap();
        assert_eq!(std::io::read_to_string(open).unwrap(), "one");
        assert_eq!(folder.read("nginx.conf").await.unwrap().unwrap(), b"two");
        let mode = std::fs::metadata(inner.join("nginx.conf")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("nginx");
        std::fs::write(&taken, "").unwrap();
        let error = Folder(&taken).write("nginx.conf", b"").await.unwrap_err();
        assert!(error.to_string().ends_with("/nginx/nginx.conf"), "{error}");
    }
}
