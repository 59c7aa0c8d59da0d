//! Opening the state folder and everything in it; from configuration to values.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::outside;
use crate::clearance::Clearance;
use crate::config::{Config, ForgeHook, SecretError};
use crate::engine::Engine;
use crate::http::{ClientError, EmptySecret, Secret};
use crate::inbox;
use crate::model::forge::Forge;
use crate::outbox;
use crate::plan::fingerprint::Key;
use crate::reconcile::{Reconciler, Situation, Whereabouts};
use crate::record::{self, Record};
use crate::source::{Auth, Mirror, Remote, SourceError};
use crate::store::{self, Migration, Store};
use crate::trigger::{self, PushHook, PushHookError, Schedule, ScheduleError, Wakes};

use super::stripe::Wing;

const DATABASE: &str = "agent.db";

/// What is open, before an engine is there.
pub struct Opened {
    pub config: Arc<Config>,
    pub record: Record,
    pub store: Store,
    pub wakes: Wakes,
    pub mirror: Mirror,
    pub key: Key,
    pub stripe: Option<Wing>,
    pub clearance: Clearance,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use the state folder {}", path.display())]
    State {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the store cannot be opened")]
    Store(#[from] store::Error),
    #[error("the remote cannot be used as configured")]
    Source(#[from] SourceError),
    #[error("the key of the state folder, {}, is damaged: restore it from a backup, or remove it (every service then rolls once)", path.display())]
    Key { path: PathBuf },
    #[error("the key of the state folder, {}, cannot be read", path.display())]
    KeyUnread {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}", .0.hint())]
    Secret(#[from] SecretError),
    #[error("others cannot be asked over HTTPS")]
    Client(#[from] ClientError),
}

#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("a secret cannot be read")]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Empty(#[from] EmptySecret),
    #[error(transparent)]
    Hook(#[from] PushHookError),
}

/// All tables, in the order in which they came to be. The rooms have the texts, and this list their order: a store has
/// taken the first so many of it, so what a room adds goes to the end here, in a slice of its own. Append only.
pub fn migrations() -> Vec<Migration> {
    [
        &trigger::MIGRATIONS[..2],
        &record::MIGRATIONS[..1],
        &inbox::MIGRATIONS[..1],
        &outbox::MIGRATIONS[..1],
        &record::MIGRATIONS[1..2],
        &record::MIGRATIONS[2..3],
    ]
    .concat()
}

/// Opens everything for working with it: one process at a time.
pub async fn open(config: Config) -> Result<Opened, OpenError> {
    let state = &config.state;
    let unusable = |source| OpenError::State { path: state.clone(), source };
    fs::create_dir_all(state).map_err(unusable)?;
    fs::set_permissions(state, Permissions::from_mode(0o700)).map_err(unusable)?;
    let store = Store::open(&state.join(DATABASE), &migrations())?;
    let key = key(&state.join("key"))?;
    let mirror = Mirror::open(&state.join("mirror"), remote(&config)?)?;
    let wakes = Wakes::open(store.clone(), &config.stack.name).await?;
    let config = Arc::new(config);
    let stripe = Wing::open(&config, store.clone());
    let record = Record::new(store.clone());
    let clearance = outside::clearance(&config)?;
    Ok(Opened { config, record, store, wakes, mirror, key, clearance, stripe })
}

/// Stripe's events for reading only, whether or not a daemon runs.
pub fn events(config: &Config) -> Result<inbox::Reader, store::Error> {
    Ok(inbox::Reader::new(Store::read_only(&config.state.join(DATABASE), &migrations())?))
}

/// The record for reading only, whether or not a daemon runs.
pub fn lookup(config: &Config) -> Result<Record, store::Error> {
    Ok(Record::new(Store::read_only(&config.state.join(DATABASE), &migrations())?))
}

impl Opened {
    pub fn with<E: Engine>(self, engine: E) -> Reconciler<E> {
        let situation = watch::Sender::new(Situation::default());
        let Self { config, record, wakes, mirror, key, clearance, stripe, store: _ } = self;
        let secrets = stripe.as_ref().map(Wing::secrets);
        let whereabouts = Whereabouts::default();
        Reconciler {
            engine,
            record,
            mirror,
            wakes,
            config,
            key,
            clearance,
            situation,
            secrets,
            whereabouts,
            gap: Default::default(),
            alarm: Default::default(),
            thaw: Default::default(),
            met: Default::default(),
        }
    }
}

/// The key under which fingerprints are made: this machine's own. One that is there and cannot be read is not made
/// anew, because every service would roll under another.
fn key(path: &Path) -> Result<Key, OpenError> {
    let failed = |source| OpenError::State { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(bytes) => {
            return Key::try_from(bytes.as_slice()).map_err(|_| OpenError::Key { path: path.to_owned() });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(OpenError::KeyUnread { path: path.to_owned(), source }),
    }
    let mut key: Key = [0; 64];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut key)).map_err(failed)?;
    let aside = path.with_extension("new");
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside);
    let written = file.and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&aside, path)).map_err(failed)?;
    // Else a power cut could take the name along, and with it the key that fingerprints were made under.
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(key)
}

/// The remote as configured.
pub fn remote(config: &Config) -> Result<Remote, OpenError> {
    let source = &config.source;
    let auth = match (&source.token_file, &source.ssh_key_file) {
        (Some(token), _) => Auth::Token { user: source.username.clone(), file: token.path()? },
        (None, Some(key)) => {
            let mut host_keys = source.ssh_host_keys.clone();
            if let Some(path) = &source.ssh_known_hosts {
                let text = fs::read_to_string(path);
                let text = text.map_err(|source| OpenError::State { path: path.clone(), source })?;
                host_keys.extend(fingerprints(&text));
            }
            Auth::SshKey { file: key.path()?, host_keys }
        }
        (None, None) => Auth::None,
    };
    Ok(Remote::new(&source.url, &source.branch, auth)?.ff_only(source.ff_only))
}

/// The fingerprints of the keys in a known_hosts file (`sshd(8)`, SSH_KNOWN_HOSTS FILE FORMAT), revoked ones left
/// out. The file is the operator's own choice for this remote, so the host column is not looked at.
fn fingerprints(known_hosts: &str) -> Vec<String> {
    let lines =
        known_hosts.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '@']));
    let keys = lines.filter_map(|line| line.split_whitespace().nth(2));
    let blobs = keys.filter_map(|key| base64::engine::general_purpose::STANDARD.decode(key).ok());
    blobs.map(|blob| format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob)))).collect()
}

/// The push webhooks that are configured.
pub fn hooks(config: &Config) -> Result<Vec<PushHook>, HookError> {
    let one = |(forge, hook): (Forge, &ForgeHook)| {
        let secrets = hook.secret_files.iter().map(|file| Ok(Secret::new(file.read()?)?));
        let secrets = secrets.collect::<Result<_, HookError>>()?;
        let repositories = config.repository(forge).into_iter().collect();
        Ok(PushHook::new(forge, secrets, repositories, config.source.branch.as_str())?)
    };
    config.webhook.accepted().map(one).collect()
}

/// The poll's schedule, if polling is on.
pub fn schedule(config: &Config) -> Result<Option<Schedule>, ScheduleError> {
    let name = format!("{} {}", config.stack.name, config.source.url);
    config.poll.schedule().map(|line| Schedule::parse(line, &name, config.poll.jitter)).transpose()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rusqlite::Connection;

    use super::*;

    #[test]
    fn every_rooms_tables_are_in_the_list() {
        let rooms = [trigger::MIGRATIONS, record::MIGRATIONS, inbox::MIGRATIONS, outbox::MIGRATIONS];
        let all = migrations();
        assert_eq!(all.len(), rooms.iter().map(|room| room.len()).sum::<usize>());
        for Migration(text) in rooms.concat() {
            assert_eq!(all.iter().filter(|known| known.0 == text).count(), 1, "{text}");
        }
    }

    /// Stores have taken these: one that is edited or moved would leave them with other tables than new ones have.
    /// Whoever adds one adds its sum at the end, and changes nothing above it.
    #[test]
    fn no_migration_is_edited_or_moved() {
        const TAKEN: [&str; 7] = [
            "de3a833fad78a24588a43cd8eb56dbc1f0a63a99aedefe5dce22a70696696b00",
            "455362e367495f2fdb8bd5b2664a6ca84e19ab8f1761c0a6fc2d3e8296edeeb0",
            "0cf094ea9836c4ce4996f6aab04eae45ecdf32b00354394fa864e7b19cbf5afa",
            "6348e0b6ca2072cb52f451871a326d8f5796d3f5630778e6c6992b7945a63a78",
            "387942258e93d0ad2c3374f4e5a5b090098c1682f985a38123259c6d12dde618",
            "5c86bbace70ef482846a507b72cae01e6fb0643f90e9baf4a7a0266feec64e2c",
            "56d4c72b11700c37e462432488cca02443ca2b6e9a8e28fcdb400917666f4537",
        ];
        let sums: Vec<String> =
            migrations().iter().map(|Migration(text)| hex::encode(Sha256::digest(text))).collect();
        assert_eq!(sums, TAKEN);
    }

    #[test]
    fn every_migration_keeps_the_rows_that_it_finds() {
        let all = migrations();
        for taken in 1..=all.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(DATABASE);
            drop(Store::open(&path, &all[..taken]).unwrap());
            let before = fill(&path);
            assert!(!before.is_empty());
            drop(Store::open(&path, &all).unwrap());
            let after = rows(&path);
            for (table, rows) in before {
                assert_eq!(after.get(&table), Some(&rows), "{table}, after migration {taken}");
            }
        }
    }

    /// One row in each table; its number is 1, so that what refers to a row finds it.
    fn fill(path: &Path) -> BTreeMap<String, i64> {
        let sql = Connection::open(path).unwrap();
        sql.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
        for table in tables(&sql) {
            let mut columns = sql.prepare("SELECT name, type FROM pragma_table_info(?1)").unwrap();
            let columns = columns.query_map([&table], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let columns: Vec<(String, String)> = columns.collect::<Result<_, _>>().unwrap();
            let value = |kind: &str| if kind == "BLOB" { "x'01'" } else { "'1'" };
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let values: Vec<&str> = columns.iter().map(|(_, kind)| value(kind)).collect();
            let (names, values) = (names.join(", "), values.join(", "));
            sql.execute_batch(&format!("INSERT INTO {table} ({names}) VALUES ({values})")).unwrap();
        }
        rows(path)
    }

    fn rows(path: &Path) -> BTreeMap<String, i64> {
        let sql = Connection::open(path).unwrap();
        let count = |table: &String| {
            sql.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        tables(&sql).into_iter().map(|table| (table.clone(), count(&table))).collect()
    }

    fn tables(sql: &Connection) -> Vec<String> {
        let mut names = sql
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            .unwrap();
        names.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn known_hosts_give_the_fingerprints_that_ssh_keygen_prints() {
        let text = "# comment\n@revoked x ssh-ed25519 AAAA\n\
            github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n";
        assert_eq!(fingerprints(text), ["SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"]);
    }

    #[test]
    fn the_key_is_made_once_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let first = key(&path).unwrap();
        assert_eq!(first, key(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(matches!(key(&path), Err(OpenError::Key { .. })));
    }

    #[test]
    fn a_key_that_cannot_be_read_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        // A link to itself: no user, root neither, gets through.
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(matches!(key(&path), Err(OpenError::KeyUnread { .. })));
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    }
}
