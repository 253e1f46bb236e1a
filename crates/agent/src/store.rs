//! The last good snapshot on disk, or what proves it, in two slots: a node boots and serves with the registry gone.
//!
//! ```text
//! snapshot.a   sixfold-snapshot 1 SERIAL LENGTH SHA256     one line, then LENGTH bytes of JSON
//! snapshot.b   the save before, or the one after: the higher serial is the newer
//! proofs.a, .b the same for `sixfold-proofs 1`, where a registry is the feed
//! ```
//!
//! Owns: the two files. A save overwrites the slot that is *not* the newest good one, so whatever tears it, a good one
//! is left. The bytes are those that were received: a field that this version does not know is there after an upgrade.
//! A slot that is whole and says nothing to this version (a later one wrote it) still counts by its serial and its
//! revision, and is overwritten only by a snapshot that is no older. Must not judge a snapshot: `accept` does.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use sixfold_core::id::Revision;
use sixfold_core::limit;
use sixfold_core::model::SnapshotError;

use crate::disk::{self, DiskError};
use crate::received::Received;

/// Longest first line: the magic, two numbers of 20 digits and a checksum of 64 are 124 bytes.
const HEAD_BYTES_MAX: usize = 160;

/// What is kept in two slots.
pub trait Content: Sized {
    /// With what a slot of it begins.
    const MAGIC: &'static str;
    /// The names of the slots' files.
    const NAMES: [&'static str; 2];
    /// Bytes that it has at most.
    const BYTES_MAX: usize;

    /// Reads the bytes that were kept.
    ///
    /// # Errors
    /// If this version cannot be sure of them.
    fn read(bytes: &[u8]) -> Result<Self, SnapshotError>;

    /// The bytes to keep.
    fn bytes(&self) -> &[u8];

    /// Of what is in it.
    fn revision(&self) -> Revision;
}

impl Content for Received {
    const MAGIC: &'static str = "sixfold-snapshot 1";
    const NAMES: [&'static str; 2] = ["snapshot.a", "snapshot.b"];
    const BYTES_MAX: usize = limit::SNAPSHOT_BYTES_MAX;

    fn read(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Self::read(bytes)
    }

    fn bytes(&self) -> &[u8] {
        self.bytes()
    }

    fn revision(&self) -> Revision {
        self.snapshot.revision
    }
}

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
}

/// What the two slots hold.
#[derive(Debug)]
pub struct Loaded<T = Received> {
    /// The newest good one.
    pub received: Option<T>,
    /// The highest revision in a slot that is whole.
    pub seen: Revision,
    /// The slots that are there and not good.
    pub damaged: Vec<SlotError>,
}

/// The two slots.
#[derive(Debug, Clone)]
pub struct Store<T = Received> {
    dir: PathBuf,
    content: PhantomData<T>,
    /// First lines of slots that were found good or written here: with its checksum right, such a slot is good again
    /// without being understood again, which takes longer than all the rest of a save.
    good: RefCell<BTreeSet<Vec<u8>>>,
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self { received: None, seen: Revision::default(), damaged: Vec::new() }
    }
}

impl Store {
    /// Opens the slots in a folder, which is made if need be.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(dir: &Path) -> Result<Self, DiskError> {
        Self::of(dir)
    }
}

impl<T: Content> Store<T> {
    /// Reads both slots of a folder, and makes nothing.
    #[must_use]
    pub fn peek(dir: &Path) -> Loaded<T> {
        Self::at(dir).load()
    }

    /// Opens the slots of some content in a folder, which is made if need be.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn of(dir: &Path) -> Result<Self, DiskError> {
        disk::make_private_dir(dir)?;
        Ok(Self::at(dir))
    }

    fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), content: PhantomData, good: RefCell::default() }
    }

    /// Reads both slots.
    #[must_use]
    pub fn load(&self) -> Loaded<T> {
        let (mut good, mut loaded) = (Vec::new(), Loaded::default());
        for path in self.paths() {
            match read_slot::<T>(&path) {
                Ok(slot) => good.extend(slot),
                Err(error) => {
                    if let SlotError::Content { revision, .. } = &error {
                        loaded.seen = loaded.seen.max(*revision);
                    }
                    loaded.damaged.push(error);
                }
            }
        }
        let newest: Option<T> =
            good.into_iter().max_by_key(|(serial, _)| *serial).map(|(_, content)| content);
        loaded.seen = newest.iter().map(T::revision).fold(loaded.seen, Revision::max);
        Loaded { received: newest, ..loaded }
    }

    /// Saves a snapshot, as it was received, over the slot that can be spared.
    ///
    /// # Errors
    /// If it cannot be written; the newest good one is there as before.
    pub fn save(&self, content: &T) -> Result<(), DiskError> {
        let [a, b] = self.paths();
        let (of_a, of_b) = (self.serials(&a), self.serials(&b));
        let next = of_a.whole.max(of_b.whole).map_or(0, |newest| newest.wrapping_add(1));
        let spare = if of_a.good > of_b.good { b } else { a };
        let line = head::<T>(next, content.bytes()).into_bytes();
        let bytes = [&line, content.bytes()].concat();
        disk::replace(&spare, &bytes, 0o600)?;
        self.good.borrow_mut().insert(line);
        Ok(())
    }

    /// What a slot holds now.
    fn serials(&self, path: &Path) -> Serials {
        let Ok(Some(bytes)) = read::<T>(path) else { return Serials::default() };
        let Ok(slot) = whole::<T>(path, &bytes) else { return Serials::default() };
        let serial = Some(slot.serial);
        if self.good.borrow().contains(slot.line) {
            return Serials { whole: serial, good: serial };
        }
        let good = slot.understand::<T>(path).is_ok();
        if good {
            self.good.borrow_mut().insert(slot.line.to_owned());
        }
        Serials { whole: serial, good: serial.filter(|_| good) }
    }

    /// Deletes both slots.
    ///
    /// # Errors
    /// If one is there and cannot be deleted.
    pub fn delete(&self) -> Result<(), DiskError> {
        self.paths().iter().try_for_each(|path| disk::delete(path))
    }

    fn paths(&self) -> [PathBuf; 2] {
        T::NAMES.map(|name| self.dir.join(name))
    }
}

fn head<T: Content>(serial: u64, body: &[u8]) -> String {
    let sum: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {serial} {} {sum}\n", T::MAGIC, body.len())
}

/// The serial of a slot, as far as it is there.
#[derive(Default)]
struct Serials {
    /// If its checksum is right.
    whole: Option<u64>,
    /// If it holds a snapshot that this version reads.
    good: Option<u64>,
}

/// A slot whose checksum is right.
struct Whole<'a> {
    serial: u64,
    line: &'a [u8],
    body: &'a [u8],
}

impl Whole<'_> {
    fn understand<T: Content>(&self, path: &Path) -> Result<T, SlotError> {
        T::read(self.body).map_err(|source| {
            let revision =
                serde_json::from_slice(self.body).map_or(Revision(0), |cover: Cover| cover.revision);
            SlotError::Content { path: path.to_owned(), serial: self.serial, revision, source }
        })
    }
}

fn read<T: Content>(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    disk::read(path, HEAD_BYTES_MAX + T::BYTES_MAX)
}

/// The serial and the snapshot of a slot, if the slot is there.
fn read_slot<T: Content>(path: &Path) -> Result<Option<(u64, T)>, SlotError> {
    let Some(bytes) = read::<T>(path)? else { return Ok(None) };
    decode(path, &bytes).map(Some)
}

/// Reads the bytes of one slot: its serial and its snapshot.
///
/// # Errors
/// If they are not what a save wrote, or no snapshot that this version reads.
pub fn decode<T: Content>(path: &Path, bytes: &[u8]) -> Result<(u64, T), SlotError> {
    let slot = whole::<T>(path, bytes)?;
    slot.understand(path).map(|content| (slot.serial, content))
}

/// Parts the bytes of a slot, if their checksum is right.
fn whole<'a, T: Content>(path: &Path, bytes: &'a [u8]) -> Result<Whole<'a>, SlotError> {
    let broken = || SlotError::Head { path: path.to_owned() };
    let end = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n').ok_or_else(broken)?;
    let (line, body) = (&bytes[..=end], &bytes[end + 1..]);
    let words = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix(T::MAGIC));
    let serial = words.and_then(|words| words.split_whitespace().next()).and_then(|word| word.parse().ok());
    let serial: u64 = serial.ok_or_else(broken)?;
    if head::<T>(serial, body).as_bytes() != line {
        return Err(SlotError::Checksum { path: path.to_owned() });
    }
    Ok(Whole { serial, line, body })
}

/// What a snapshot of any version says of itself.
#[derive(Deserialize)]
struct Cover {
    revision: Revision,
}
