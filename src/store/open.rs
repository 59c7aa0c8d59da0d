//! Connections, and the state a file must be in before anyone gets one.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::{Error, Migration};

/// How long a connection waits for another one's lock. Writers never meet (one thread); this bridges the
/// short moments of recovery and checkpointing.
const BUSY: Duration = Duration::from_secs(5);

/// The writing connection, and the lock that is held as long as the returned file stays open.
pub(super) fn writable(path: &Path, migrations: &[Migration]) -> Result<(Connection, File), Error> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| Error::File { path, source: Arc::new(error) }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
    }
    let lock = lock(path)?;
    // Made before SQLite opens it: the files beside it (-wal, -shm) inherit this mode, and no moment is
    // left in which others could open them. The handle is closed at once, before SQLite holds locks on the
    // file: closing one later would drop those (POSIX).
    private(path).map_err(at(path))?;
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    migrate(&mut connection, migrations)?;
    Ok((connection, lock))
}

/// A connection that cannot write.
pub(super) fn readable(path: &Path) -> Result<Connection, Error> {
    if !path.exists() {
        return Err(Error::Missing { path: path.to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Refuses a database that has taken another number of migrations than `known`.
pub(super) fn check_schema(connection: &Connection, known: usize) -> Result<(), Error> {
    let found = schema(connection)?;
    match usize::try_from(found) {
        Ok(found) if found == known => Ok(()),
        Ok(count) if count < known => Err(Error::Older { found, known }),
        _ => Err(Error::Newer { found, known }),
    }
}

fn schema(connection: &Connection) -> Result<i64, Error> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn migrate(connection: &mut Connection, migrations: &[Migration]) -> Result<(), Error> {
    let (found, known) = (schema(connection)?, migrations.len());
    if usize::try_from(found).is_ok_and(|found| found > known) {
        return Err(Error::Newer { found, known });
    }
    // Rebuilding a table that others refer to needs the keys off; each step checks them at its end.
    connection.pragma_update(None, "foreign_keys", false)?;
    Migrations::new(migrations.iter().map(|step| M::up(step.0).foreign_key_check()).collect())
        .to_latest(connection)
        .map_err(|error| Error::Migrate(Arc::new(error)))?;
    Ok(connection.pragma_update(None, "foreign_keys", true)?)
}

/// Takes the lock beside the database; a lock on the database itself would meet SQLite's own. The file names its
/// holder, for whoever comes second.
fn lock(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let beside = PathBuf::from(name);
    let failed = |error| Error::File { path: beside.clone(), source: Arc::new(error) };
    let mut file = private(&beside).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let holder = io::read_to_string(file).ok().and_then(|text| text.parse().ok());
            Err(Error::Locked { path: path.to_owned(), holder })
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Opens or makes a file that only this user can read, also when it was wider before.
fn private(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}
