//! The private keys of this node's devices: made here, kept here, deleted here.
//!
//! ```text
//! STATE/keys/         0700
//!   1abc-1            0600   32 bytes: the private key of the resource with index 1abc in allocation 1
//!   1abd-1.retired    0600   the same, of one that is no longer asked for, since the time the file says
//! ```
//!
//! A retired key is deleted after a day, and taken back if its resource is asked for again: one snapshot that leaves a
//! network out by mistake must not cost its peers a new key.
//!
//! Owns: these files. A private key is read at the moment the kernel crate asks for it and overwritten after; what is
//! kept in memory is which public key is whose. Never in a state, a plan, a log or an error.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::unistd::geteuid;
use sixfold_core::addr::PrefixIndex;
use sixfold_core::id::AllocationNumber;
use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::model::ResourceKey;
use sixfold_kernel::Keys;
use zeroize::Zeroizing;

use crate::disk::{self, DiskError};

/// Bits of a mode that let anyone but the owner in.
const OTHERS: u32 = 0o077;
const KEY_BYTES: usize = 32;
/// How the file of a key ends whose resource is gone.
const RETIRED: &str = "retired";
/// What ends the name of one that is being written.
const HALF: &str = "new";
/// How long such a key is kept.
const RETIRED_FOR: Duration = Duration::from_hours(24);

/// Why there is no key for a resource.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// It cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Others may read it, or the folder it is in.
    #[error("refused {path}: others than its owner have access (mode {mode:04o})", path = path.display())]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is somebody else's, who could put another key there.
    #[error("refused {path}: it belongs to user {uid}", path = path.display())]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// It is not 32 bytes long.
    #[error("{path} is not a key of 32 bytes", path = path.display())]
    Length {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("no random bytes for a new key")]
    Entropy(#[source] getrandom::Error),
}

impl KeyStoreError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Disk(error) => error.hint().map(str::to_owned),
            Self::Open { path, mode } => {
                let wanted = if *mode & 0o100 == 0 { "0600" } else { "0700" };
                let path = path.display();
                Some(format!(
                    "others may have read it. If not: chmod {wanted} {path}. If so, delete it: a new key is made"
                ))
            }
            Self::Owner { path, .. } => {
                let path = path.display();
                Some(format!("its owner may know the keys. Delete {path}: it is made anew"))
            }
            Self::Length { path } => {
                Some(format!("delete {}: a new key is made and its peers learn it", path.display()))
            }
            Self::Entropy(_) => None,
        }
    }
}

/// The public key of a resource, if it has a key file in a folder; nothing is made.
///
/// # Errors
/// If there is one that cannot be used.
pub fn peek(dir: &Path, resource: ResourceKey) -> Result<Option<PublicKey>, KeyStoreError> {
    let found = match read(&path_in(dir, resource))? {
        None => read(&retired_in(dir, resource))?,
        found => found,
    };
    Ok(found.map(|private| private.public()))
}

fn path_in(dir: &Path, ResourceKey { number, index }: ResourceKey) -> PathBuf {
    dir.join(format!("{index}-{number}"))
}

fn retired_in(dir: &Path, resource: ResourceKey) -> PathBuf {
    path_in(dir, resource).with_extension(RETIRED)
}

/// After that long the folder is listed again: nobody else has anything to do there.
const LISTED_FOR: Duration = Duration::from_secs(60);

/// The key files of one node.
#[derive(Debug)]
pub struct KeyStore {
    dir: PathBuf,
    public: BTreeMap<ResourceKey, PublicKey>,
    /// The resources that have a key in use, and when they were last listed: a pass asks, and there may be thousands.
    listed: Option<(Instant, BTreeSet<ResourceKey>)>,
}

impl KeyStore {
    /// Opens the folder of keys, which is made if need be.
    ///
    /// # Errors
    /// If it cannot be made, or others may enter it.
    pub fn open(dir: &Path) -> Result<Self, KeyStoreError> {
        disk::make_private_dir(dir)?;
        let meta = fs::metadata(dir);
        let meta = meta.map_err(|source| DiskError { verb: "read", path: dir.to_owned(), source })?;
        refuse_others(dir, &meta)?;
        Ok(Self { dir: dir.to_owned(), public: BTreeMap::new(), listed: None })
    }

    /// The public key of a resource's own device; its private half is made if there is none yet.
    ///
    /// # Errors
    /// If there is one that cannot be used, or none can be made. Other resources are not concerned.
    pub fn provide(&mut self, resource: ResourceKey) -> Result<PublicKey, KeyStoreError> {
        if let Some(public) = self.public.get(&resource) {
            return Ok(*public); // each pass asks for all of them
        }
        let path = self.path(resource);
        let private = match read(&path)? {
            Some(private) => private,
            None if disk::rename(&retired_in(&self.dir, resource), &path)? => {
                read(&path)?.ok_or(KeyStoreError::Length { path })?
            }
            None => make(&path)?,
        };
        let public = private.public();
        self.public.insert(resource, public);
        if let Some((_, kept)) = &mut self.listed {
            kept.insert(resource);
        }
        Ok(public)
    }

    /// The resources that have a key in use.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn kept(&self) -> Result<BTreeSet<ResourceKey>, KeyStoreError> {
        Ok(self.files()?.iter().filter_map(|path| resource_of(path.file_name()?.to_str()?)).collect())
    }

    /// The same, as listed within the last minute; and whether it has just been listed.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub(crate) fn lately_kept(&mut self) -> Result<(&BTreeSet<ResourceKey>, bool), KeyStoreError> {
        let now = Instant::now();
        let is_late = self.listed.as_ref().is_none_or(|(at, _)| now.duration_since(*at) > LISTED_FOR);
        if is_late {
            self.listed = Some((now, self.kept()?));
        }
        let (_, kept) = self.listed.as_ref().expect("it has just been listed, or was there");
        Ok((kept, is_late))
    }

    /// Puts the key of a resource that is gone aside, for a day from `now`.
    ///
    /// # Errors
    /// If it is there and cannot be put aside.
    pub fn retire(&mut self, resource: ResourceKey, now: SystemTime) -> Result<(), KeyStoreError> {
        let path = self.path(resource);
        self.public.remove(&resource);
        if let Some((_, kept)) = &mut self.listed {
            kept.remove(&resource);
        }
        let Some((file, _)) = disk::open_plain(&path)? else { return Ok(()) };
        disk::date(&file, &path, now)?;
        disk::rename(&path, &retired_in(&self.dir, resource))?;
        Ok(())
    }

    /// Deletes the keys that were put aside more than a day before `now`, and those that were never whole.
    ///
    /// # Errors
    /// If one cannot be deleted; the others are, the next time.
    pub fn expire(&self, now: SystemTime) -> Result<(), KeyStoreError> {
        for path in &self.files()? {
            if is_ours(path, &[HALF]) {
                disk::delete(path)?;
            }
            if path.extension().is_none_or(|end| end != RETIRED) {
                continue;
            }
            let since = fs::symlink_metadata(path).and_then(|meta| meta.modified());
            // A clock that went back makes it younger, never older.
            if since.is_ok_and(|since| now.duration_since(since).is_ok_and(|age| age > RETIRED_FOR)) {
                disk::delete(path)?;
            }
        }
        Ok(())
    }

    /// Deletes every key, in use, put aside or half written.
    ///
    /// # Errors
    /// If one cannot be deleted.
    pub fn clear(&mut self) -> Result<(), KeyStoreError> {
        self.public.clear();
        self.listed = None;
        for path in self.files()? {
            if is_ours(&path, &["", RETIRED, HALF]) {
                disk::delete(&path)?;
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<PathBuf>, DiskError> {
        let entries =
            fs::read_dir(&self.dir).and_then(|names| names.map(|entry| Ok(entry?.path())).collect());
        entries.map_err(|source| DiskError { verb: "list", path: self.dir.clone(), source })
    }

    fn path(&self, resource: ResourceKey) -> PathBuf {
        path_in(&self.dir, resource)
    }
}

impl Keys for KeyStore {
    fn private_key(&self, public: &PublicKey) -> Option<PrivateKey> {
        let (resource, _) = self.public.iter().find(|(_, held)| *held == public)?;
        let private = read(&self.path(*resource)).ok().flatten()?;
        (private.public() == *public).then_some(private)
    }
}

/// Whether a file is named after a resource, with one of these endings.
fn is_ours(path: &Path, ends: &[&str]) -> bool {
    let end = path.extension().map_or("", |end| end.to_str().unwrap_or("?"));
    let resource = path.file_stem().and_then(OsStr::to_str).and_then(resource_of);
    resource.is_some() && ends.contains(&end)
}

/// The resource that a file is named after.
fn resource_of(name: &str) -> Option<ResourceKey> {
    let (index, number) = name.split_once('-')?;
    let (index, number): (PrefixIndex, AllocationNumber) = (index.parse().ok()?, number.parse().ok()?);
    Some(ResourceKey { number, index })
}

fn refuse_others(path: &Path, meta: &Metadata) -> Result<(), KeyStoreError> {
    if meta.uid() != geteuid().as_raw() {
        return Err(KeyStoreError::Owner { path: path.to_owned(), uid: meta.uid() });
    }
    let mode = meta.mode() & 0o7777;
    if mode & OTHERS == 0 { Ok(()) } else { Err(KeyStoreError::Open { path: path.to_owned(), mode }) }
}

fn read(path: &Path) -> Result<Option<PrivateKey>, KeyStoreError> {
    let Some((mut file, meta)) = disk::open_plain(path)? else { return Ok(None) };
    refuse_others(path, &meta)?;
    let mut bytes = Zeroizing::new([0; KEY_BYTES + 1]); // a byte more than a key has, to see one that is too long
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(source) => return Err(DiskError { verb: "read", path: path.to_owned(), source }.into()),
        }
    }
    let key = bytes.first_chunk::<KEY_BYTES>().filter(|_| length == KEY_BYTES);
    let key = key.ok_or_else(|| KeyStoreError::Length { path: path.to_owned() })?;
    Ok(Some(PrivateKey::from_bytes(*key)))
}

fn make(path: &Path) -> Result<PrivateKey, KeyStoreError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(bytes.as_mut_slice()).map_err(KeyStoreError::Entropy)?;
    disk::replace(path, bytes.as_slice(), 0o600)?;
    Ok(PrivateKey::from_bytes(*bytes))
}
