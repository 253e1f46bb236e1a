//! The last good snapshot on disk, in two slots: a node boots and serves with the registry gone.
//!
//! ```text
//! snapshot.a   sixfold-snapshot 1 SERIAL LENGTH SHA256     one line, then LENGTH bytes of JSON
//! snapshot.b   the save before, or the one after: the higher serial is the newer
//! ```
//!
//! Owns: the two files. A save overwrites the slot that is *not* the newest good one, so whatever tears it, a good one
//! is left. The bytes are those that were received: a field that this version does not know is there after an upgrade.
//! A slot that is whole and says nothing to this version (a later one wrote it) still counts by its serial and its
//! revision, and is overwritten only by a snapshot that is no older. Must not judge a snapshot: `accept` does.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use sixfold_core::id::Revision;
use sixfold_core::limit;
use sixfold_core::model::SnapshotError;

use crate::disk::{self, DiskError};
use crate::received::Received;

const MAGIC: &str = "sixfold-snapshot 1";
/// Longest first line: the magic, two numbers of 20 digits and a checksum of 64 are 124 bytes.
const HEAD_BYTES_MAX: usize = 160;
const NAMES: [&str; 2] = ["snapshot.a", "snapshot.b"];

/// Why a slot holds no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// It cannot be read from the disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its first line is not one that we write.
    #[error("{path} does not begin as a snapshot does", path = path.display())]
    Head {
        /// The slot.
        path: PathBuf,
    },
    /// Its bytes are not those whose checksum was written.
    #[error("{path} does not match its checksum", path = path.display())]
    Checksum {
        /// The slot.
        path: PathBuf,
    },
    /// It is whole, and not a snapshot that this version can read.
    #[error("{path} is no snapshot that this version reads", path = path.display())]
    Content {
        /// The slot.
        path: PathBuf,
        /// Which save it is.
        serial: u64,
        /// Its revision, if it says one where this version looks for it.
        revision: Revision,
        /// What is wrong with it, and where.
        #[source]
        source: SnapshotError,
    },
}

impl SlotError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::Content { source, .. } => Some(source.hint()),
            Self::Head { .. } | Self::Checksum { .. } => None,
        }
    }

    /// The serial of a slot that is whole, though it cannot be used.
    const fn serial(&self) -> Option<u64> {
        match self {
            Self::Content { serial, .. } => Some(*serial),
            _ => None,
        }
    }
}

/// What the two slots hold.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The newest good snapshot.
    pub received: Option<Received>,
    /// The highest revision in a slot that is whole.
    pub seen: Revision,
    /// The slots that are there and not good.
    pub damaged: Vec<SlotError>,
}

/// The two slots.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the slots in a folder, which is made if need be.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(dir: &Path) -> Result<Self, DiskError> {
        disk::make_private_dir(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Reads both slots of a folder, and makes nothing.
    #[must_use]
    pub fn peek(dir: &Path) -> Loaded {
        Self { dir: dir.to_owned() }.load()
    }

    /// Reads both slots.
    #[must_use]
    pub fn load(&self) -> Loaded {
        let (mut good, mut loaded) = (Vec::new(), Loaded::default());
        for path in self.paths() {
            match read_slot(&path) {
                Ok(slot) => good.extend(slot),
                Err(error) => {
                    if let SlotError::Content { revision, .. } = &error {
                        loaded.seen = loaded.seen.max(*revision);
                    }
                    loaded.damaged.push(error);
                }
            }
        }
        let newest = good.into_iter().max_by_key(|(serial, _)| *serial).map(|(_, received)| received);
        loaded.seen = newest.iter().map(|newest| newest.snapshot.revision).fold(loaded.seen, Revision::max);
        Loaded { received: newest, ..loaded }
    }

    /// Saves a snapshot, as it was received, over the slot that can be spared.
    ///
    /// # Errors
    /// If it cannot be written; the newest good one is there as before.
    pub fn save(&self, received: &Received) -> Result<(), DiskError> {
        let [a, b] = self.paths();
        let [of_a, of_b] = [&a, &b].map(|path| read_slot(path));
        let good = |slot: &Slot| slot.as_ref().ok().and_then(|slot| Some(slot.as_ref()?.0));
        let whole = |slot: &Slot| good(slot).or_else(|| slot.as_ref().err()?.serial());
        let next = whole(&of_a).max(whole(&of_b)).map_or(0, |newest| newest.wrapping_add(1));
        let spare = if good(&of_a) > good(&of_b) { b } else { a };
        let mut bytes = head(next, received.bytes()).into_bytes();
        bytes.extend_from_slice(received.bytes());
        disk::replace(&spare, &bytes, 0o600)
    }

    /// Deletes both slots.
    ///
    /// # Errors
    /// If one is there and cannot be deleted.
    pub fn delete(&self) -> Result<(), DiskError> {
        self.paths().iter().try_for_each(|path| disk::delete(path))
    }

    fn paths(&self) -> [PathBuf; 2] {
        NAMES.map(|name| self.dir.join(name))
    }
}

fn head(serial: u64, body: &[u8]) -> String {
    let sum: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{MAGIC} {serial} {} {sum}\n", body.len())
}

/// The serial and the snapshot of a slot, if the slot is there.
type Slot = Result<Option<(u64, Received)>, SlotError>;

fn read_slot(path: &Path) -> Slot {
    let Some(bytes) = disk::read(path, HEAD_BYTES_MAX + limit::SNAPSHOT_BYTES_MAX)? else { return Ok(None) };
    decode(path, &bytes).map(Some)
}

/// Reads the bytes of one slot: its serial and its snapshot.
///
/// # Errors
/// If they are not what a save wrote, or no snapshot that this version reads.
pub fn decode(path: &Path, bytes: &[u8]) -> Result<(u64, Received), SlotError> {
    let broken = || SlotError::Head { path: path.to_owned() };
    let end = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n').ok_or_else(broken)?;
    let (line, body) = (&bytes[..=end], &bytes[end + 1..]);
    let words = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix(MAGIC));
    let serial = words.and_then(|words| words.split_whitespace().next()).and_then(|word| word.parse().ok());
    let serial: u64 = serial.ok_or_else(broken)?;
    if head(serial, body).as_bytes() != line {
        return Err(SlotError::Checksum { path: path.to_owned() });
    }
    Received::read(body).map(|received| (serial, received)).map_err(|source| {
        let revision = serde_json::from_slice(body).map_or(Revision(0), |cover: Cover| cover.revision);
        SlotError::Content { path: path.to_owned(), serial, revision, source }
    })
}

/// What a snapshot of any version says of itself.
#[derive(Deserialize)]
struct Cover {
    revision: Revision,
}
