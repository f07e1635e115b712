//! Where the world is kept: in a file, row by row, so that a change costs what it changes and not what there is.
//!
//! The store is [`redb`]: its one file is whole however the process ends, and what was written before an answer is there
//! after it. The rows are the model's own ([`World::take_changes`]); the store knows nothing of what is in them.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ovenbird_sim::{Change, World};
use redb::{
    ConcurrencyMode, Database, DatabaseError, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    TableDefinition, TableError,
};

use crate::{
    deploy::REGION,
    error::{LocalError, Result},
    home::Home,
    ministack::ACCOUNT,
};

/// Every row of the world as JSON, by its table and its key there.
const ROWS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("rows");

/// How much of the file is kept in memory, in bytes. The world itself is in memory, too.
const CACHE: usize = 4 << 20;

/// The file of one local cloud's world, open for writing.
#[derive(Debug)]
pub struct Store {
    /// None after a failed write: redb takes nothing more then, and the file is opened anew.
    database: Mutex<Option<Database>>,
    path: PathBuf,
}

impl Store {
    /// Opens a home's store with the world in it: the one that was kept last, what an older version saved, or a new one.
    ///
    /// # Errors
    /// When what is there can't be read, or nothing can be written.
    pub fn open(home: &Home) -> Result<(Self, World)> {
        let path = home.world();
        let database = file().create(&path).map_err(|error| of_database(&path, error))?;
        let kept = database.begin_read().map_err(|error| of_transaction(&path, error))?;
        let kept = read(&kept, &path)?;
        let store = Self { database: Mutex::new(Some(database)), path };
        let mut world = match kept {
            Some(world) => world,
            None => older(home)?.unwrap_or_else(|| World::new(ACCOUNT, REGION)),
        };
        store.save(&world.take_changes())?;
        // By now all of it is here. Left by an older version once more, it would be the older world.
        match fs::remove_file(home.older_world()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let path = home.older_world();
                return Err(LocalError::io(format!("remove {}", path.display()))(error));
            }
            _ => {}
        }
        Ok((store, world))
    }

    /// Writes what changed, all of it or nothing; it is on the disk when this ends. What is as it was is not written.
    ///
    /// # Errors
    /// When it can't be written: the file is as it was.
    pub fn save(&self, changes: &[Change]) -> Result<()> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let written = write(&mut database, &self.path, changes);
        written.map_err(|error| {
            *database = None;
            LocalError::io(format!("write {}", self.path.display()))(std::io::Error::other(error))
        })
    }
}

fn write(database: &mut Option<Database>, path: &Path, changes: &[Change]) -> Result<(), redb::Error> {
    let database = match database {
        Some(database) => database,
        closed => closed.insert(file().open(path)?),
    };
    let rows: Vec<(&Change, Option<Vec<u8>>)> =
        changes.iter().map(|change| (change, change.row.as_ref().map(bytes))).collect();
    let kept = database.begin_read()?;
    let kept = match kept.open_table(ROWS) {
        Ok(table) => Some(table),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let is_kept = |(change, row): &(&Change, Option<Vec<u8>>)| -> Result<bool, redb::Error> {
        let Some(kept) = &kept else { return Ok(false) };
        let before = kept.get((change.table, change.key.as_str()))?;
        Ok(before.as_ref().map(redb::AccessGuard::value) == row.as_deref())
    };
    let mut new = Vec::new();
    for row in rows {
        if !is_kept(&row)? {
            new.push(row);
        }
    }
    if new.is_empty() {
        return Ok(());
    }
    let mut transaction = database.begin_write()?;
    // Coming up after a crash takes the same in a large world as in a small one.
    transaction.set_quick_repair(true);
    {
        let mut table = transaction.open_table(ROWS)?;
        for (change, row) in new {
            let key = (change.table, change.key.as_str());
            match row {
                Some(row) => drop(table.insert(key, row.as_slice())?),
                None => drop(table.remove(key)?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// The world of a home, whether its local cloud runs or not; nothing is changed but what a crash left half done. None if
/// there is no world.
pub(crate) fn look(home: &Home) -> Result<Option<World>> {
    let path = home.world();
    if !path.exists() {
        return older(home);
    }
    let opened = match file().open_read_only(&path) {
        // Nobody has it open, and its last process was killed: whoever opens it to write makes it whole.
        Err(DatabaseError::RepairAborted) => {
            drop(file().open(&path).map_err(|error| of_database(&path, error))?);
            file().open_read_only(&path)
        }
        opened => opened,
    };
    let database = opened.map_err(|error| of_database(&path, error))?;
    let kept = database.begin_read().map_err(|error| of_transaction(&path, error))?;
    match read(&kept, &path)? {
        Some(world) => Ok(Some(world)),
        None => older(home),
    }
}

/// How the file is opened. While its local cloud runs, others may read it.
fn file() -> redb::Builder {
    let mut file = Database::builder();
    file.set_cache_size(CACHE).set_concurrency_mode(ConcurrencyMode::SingleWriter);
    file
}

fn read(kept: &ReadTransaction, path: &Path) -> Result<Option<World>> {
    let corrupt = |source| LocalError::Corrupt { path: path.to_owned(), source };
    let rows = || -> Result<Vec<_>, Box<dyn std::error::Error + Send + Sync>> {
        let table = match kept.open_table(ROWS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let rows = table.iter()?.map(|row| {
            let (key, row) = row?;
            let (table, key) = key.value();
            Ok((table.to_owned(), key.to_owned(), serde_json::from_slice(row.value())?))
        });
        rows.collect()
    };
    let rows = rows().map_err(corrupt)?;
    if rows.is_empty() {
        return Ok(None);
    }
    World::of_rows(rows).map(Some).map_err(|error| corrupt(error.into()))
}

/// What an older version saved.
fn older(home: &Home) -> Result<Option<World>> {
    let path = home.older_world();
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| LocalError::Corrupt { path, source: Box::new(source) }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LocalError::io(format!("read {}", path.display()))(error)),
    }
}

fn bytes(row: &serde_json::Value) -> Vec<u8> {
    row.to_string().into_bytes()
}

fn of_transaction(path: &Path, error: redb::TransactionError) -> LocalError {
    LocalError::Corrupt { path: path.to_owned(), source: Box::new(error) }
}

fn of_database(path: &Path, error: DatabaseError) -> LocalError {
    match error {
        DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() != ErrorKind::InvalidData => {
            LocalError::io(format!("open {}", path.display()))(error)
        }
        error => LocalError::Corrupt { path: path.to_owned(), source: Box::new(error) },
    }
}
