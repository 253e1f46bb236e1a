//! Files that are whole or not there: written aside, synced, and renamed into place.
//!
//! Owns: how this crate touches files. Must not know what is in them.

pub(crate) mod lists;

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use sixfold_kernel::cut;

/// What could not be done with a file or a folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {path}", path = path.display())]
pub struct DiskError {
    /// What was to be done: `read`, `write`, `make`, `rename`, `delete`.
    pub verb: &'static str,
    /// With which file or folder.
    pub path: PathBuf,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

impl DiskError {
    fn of<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self { verb, path: path.to_owned(), source }
    }

    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self.source.kind() {
            io::ErrorKind::PermissionDenied => {
                Some("run it as root, or name folders of your own with --state and --run")
            }
            io::ErrorKind::StorageFull => Some("the disk is full"),
            io::ErrorKind::ReadOnlyFilesystem => Some("the file system is mounted read-only"),
            // Ours, of what is not a regular file; the system's has a number.
            io::ErrorKind::InvalidInput if self.source.raw_os_error().is_none() => {
                Some("put a file in its place, no folder, device or pipe")
            }
            _ => None,
        }
    }
}

/// Makes a folder that only its owner enters, with those above it. One that is there keeps its mode.
///
/// # Errors
/// If it cannot be made.
pub fn make_private_dir(path: &Path) -> Result<(), DiskError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    cut::after(format_args!("folder {}", path.display()));
    made.map_err(DiskError::of("make", path))
}

/// Makes a folder, with those above it.
///
/// # Errors
/// If it cannot be made.
pub fn make_dir(path: &Path) -> Result<(), DiskError> {
    let made = fs::create_dir_all(path);
    cut::after(format_args!("folder {}", path.display()));
    made.map_err(DiskError::of("make", path))
}

/// Puts a file in place of what is there. After a crash there is the old one or the new one, never half of it.
///
/// # Errors
/// If it cannot be written; then the old one is there as before.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
    let aside = aside(path);
    write_aside(&aside, bytes, mode).map_err(DiskError::of("write", &aside))?;
    fs::rename(&aside, path).map_err(DiskError::of("write", path))?;
    cut::after(format_args!("file {} renamed into place", path.display()));
    sync_parent(path)
}

/// Adds to the end of a file that its owner alone may open, and makes it if need be. After a crash all, a part or none of
/// it is there.
///
/// # Errors
/// If it cannot be made or written, or is no regular file; what was added is taken away then, so that the next addition is whole.
pub fn append(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(mode).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let mut file = options.open(path).map_err(DiskError::of("write", path))?;
    let before = file.metadata().map_err(DiskError::of("read", path))?.len();
    let added = file.write_all(bytes).and_then(|()| file.sync_all());
    cut::after(format_args!("file {} added to", path.display()));
    if let Err(error) = added {
        file.set_len(before).map_err(DiskError::of("write", path))?;
        return Err(DiskError::of("write", path)(error));
    }
    sync_parent(path)
}

/// Gives a file another name; whether there was one.
///
/// # Errors
/// If it is there and cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> Result<bool, DiskError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        renamed => {
            renamed.map_err(DiskError::of("rename", from))?;
            cut::after(format_args!("file {} renamed", from.display()));
            sync_parent(to).map(|()| true)
        }
    }
}

/// Where what shall replace a file is written first.
fn aside(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    PathBuf::from(aside)
}

fn write_aside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
        // One left by a crash would keep its own mode.
        Ok(()) => cut::after(format_args!("file {} deleted", path.display())),
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    cut::after(format_args!("file {} made", path.display()));
    file.write_all(bytes)?;
    cut::after(format_args!("file {} written", path.display()));
    file.sync_all()
}

/// A rename is on disk only once its folder is.
fn sync_parent(path: &Path) -> Result<(), DiskError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(DiskError::of("write", parent))
}

/// Reads a file of at most `limit` bytes, and one byte more of a longer one; `None` if there is none.
///
/// # Errors
/// If it is there and cannot be read, or is no regular file.
pub fn read(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, DiskError> {
    let Some((file, meta)) = open_with(path, 0)? else { return Ok(None) };
    // Room for all of it at once: a bounded reader does not ask for its size, and would read in halves.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(limit).min(limit) + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(DiskError::of("read", path))?;
    Ok(Some(bytes))
}

/// Opens a file that is no symbolic link, with what is known of it; `None` if there is none.
///
/// # Errors
/// If it is there and cannot be opened, or is no regular file.
pub fn open_plain(path: &Path) -> Result<Option<(File, Metadata)>, DiskError> {
    open_with(path, O_NOFOLLOW)
}

/// Without waiting: a named pipe with nobody at its other end would hold the agent for ever.
fn open_with(path: &Path, flags: i32) -> Result<Option<(File, Metadata)>, DiskError> {
    let opened = OpenOptions::new().read(true).custom_flags(flags | O_NONBLOCK).open(path);
    match opened.and_then(|file| Ok((file.metadata()?, file))) {
        Ok((meta, file)) if meta.is_file() => Ok(Some((file, meta))),
        Ok(_) => {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            Err(DiskError { verb: "read", path: path.to_owned(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DiskError { verb: "read", path: path.to_owned(), source }),
    }
}

/// Says that a file was last written at that time.
///
/// # Errors
/// If the file system does not take it.
pub fn date(file: &File, path: &Path, at: SystemTime) -> Result<(), DiskError> {
    let dated = file.set_modified(at);
    cut::after(format_args!("file {} dated", path.display()));
    dated.map_err(DiskError::of("write", path))
}

/// Opens a file to write that its owner alone may open, and makes it if need be: whoever may read one may lock it too.
///
/// # Errors
/// If it cannot be made or opened, or is somebody else's.
pub fn open_private(path: &Path) -> Result<File, DiskError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let own = |file: File| {
        cut::after(format_args!("file {} opened", path.display()));
        file.set_permissions(Permissions::from_mode(0o600)).map(|()| file)
    };
    options.open(path).and_then(own).map_err(DiskError::of("write", path))
}

/// Deletes a file, and what a crash may have left aside of it; also right if there is neither.
///
/// # Errors
/// If one is there and cannot be deleted.
pub fn delete(path: &Path) -> Result<(), DiskError> {
    delete_one(&aside(path))?;
    delete_one(path)
}

fn delete_one(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        deleted => {
            cut::after(format_args!("file {} deleted", path.display()));
            deleted.map_err(DiskError::of("delete", path))
        }
    }
}

/// Deletes a folder if it is empty; also right if there is none, or something of somebody else's is in it.
///
/// # Errors
/// If it is empty and cannot be deleted, though it is neither a mount point nor somebody else's.
pub fn delete_empty_dir(path: &Path) -> Result<(), DiskError> {
    let deleted = fs::remove_dir(path);
    cut::after(format_args!("folder {} deleted", path.display()));
    match deleted {
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::DirectoryNotEmpty].contains(&error.kind()) => {
            Ok(())
        }
        // A mount point, or in a folder of somebody else's.
        Err(error)
            if [io::ErrorKind::ResourceBusy, io::ErrorKind::PermissionDenied].contains(&error.kind()) =>
        {
            Ok(())
        }
        deleted => deleted.map_err(DiskError::of("delete", path)),
    }
}
