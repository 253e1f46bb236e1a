//! Copies of a store: a backup of one that is in use, and a store out of a backup.
//!
//! Owns: that a copy is whole, proven and durable before it has its name, and that nothing is ever overwritten.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::fsck::Proven;
use crate::store::{Sqlite, StoreError, sqlite};

/// All pages in one step: between two steps a writer's commit would begin the copy anew, and a reader keeps no writer waiting.
const ALL_PAGES: i32 = -1;

/// What the database keeps beside its file; left over from another one, it would be taken for the copy's.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store that is copied cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is something at the new place.
    #[error("{} is there already", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// Something is wrong with what was copied.
    #[error("{} is not sound: {}", path.display(), words(.proven))]
    Unsound {
        /// What was to be copied.
        path: PathBuf,
        /// What was found.
        proven: Box<Proven>,
    },
    /// The copy cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The place.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn words(proven: &Proven) -> String {
    proven.findings.first().map(ToString::to_string).unwrap_or_default()
}

impl CopyError {
    /// What to do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Store(error) => error.hint(),
            Self::Exists { .. } => "name a place where nothing is, or move away what is there",
            Self::Unsound { .. } => {
                "run `sixfold registry fsck` on it for all that is wrong, and take an older backup"
            }
            Self::Write { .. } => "look at the folder: its rights, and the room on its disk",
        }
    }
}

/// How a copy is proven: [`crate::fsck::fsck`].
pub type Prove = fn(&Sqlite) -> Result<Proven, StoreError>;

/// Copies a store that may be in use to a new file, whole and as it was at one moment. Returns what was proven of the copy.
///
/// # Errors
/// If there is something at the new place, the store cannot be read or is not sound, or the copy cannot be written.
pub fn copy(from: &Path, to: &Path, prove: Prove) -> Result<Proven, CopyError> {
    for path in BESIDE.iter().map(|end| beside(to, end)).chain([to.to_owned()]) {
        if fs::symlink_metadata(&path).is_ok() {
            return Err(CopyError::Exists { path });
        }
    }
    // A registry goes on with a file that was moved; one that begins from now on has made its own, and is not overwritten.
    let _kept_away = sqlite::lock_if_there(to)?;
    let write = |source| CopyError::Write { path: to.to_owned(), source };
    let source = Sqlite::open_to_read(from)?;
    let unfinished = beside(to, &format!(".{}.unfinished", std::process::id()));
    let copied = whole(&source, &unfinished, (from, prove));
    let named = copied.and_then(|proven| {
        File::open(&unfinished).and_then(|file| file.sync_all()).map_err(write)?;
        // A link and not a renaming: if somebody was faster, theirs stays.
        fs::hard_link(&unfinished, to).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => CopyError::Exists { path: to.to_owned() },
            _ => write(source),
        })?;
        Ok(proven)
    });
    let removed = fs::remove_file(&unfinished);
    let proven = named?;
    removed.map_err(write)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(write)?;
    Ok(proven)
}

/// The path with an ending.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// Makes an empty file that only its owner reads: whoever owns the folder, for root may copy for a registry that is not.
fn private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (folder, own) = (fs::metadata(folder)?, file.metadata()?);
    if own.uid() == 0 && (folder.uid(), folder.gid()) != (own.uid(), own.gid()) {
        fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(())
}

fn whole(source: &Sqlite, to: &Path, (from, prove): (&Path, Prove)) -> Result<Proven, CopyError> {
    private(to).map_err(|source| CopyError::Write { path: to.to_owned(), source })?;
    let mut target = Connection::open(to).map_err(StoreError::from)?;
    let backup = Backup::new(source.connection(), &mut target).map_err(StoreError::from)?;
    let step = backup.step(ALL_PAGES).map_err(StoreError::from)?;
    drop(backup);
    if step != StepResult::Done {
        return Err(StoreError::InUse { path: from.display().to_string() }.into());
    }
    // A single file: no log beside it that could be left behind.
    target.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(())).map_err(StoreError::from)?;
    drop(target);
    let proven = prove(&Sqlite::open_to_read(to)?)?;
    if proven.findings.is_empty() {
        return Ok(proven);
    }
    Err(CopyError::Unsound { path: from.to_owned(), proven: Box::new(proven) })
}
