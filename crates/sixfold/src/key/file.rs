//! Where a key is kept: its file, the rotations beside it, and the keys that it replaced.
//!
//! Owns: these files. None is ever written over but the rotations, which only grow. Each step of a replacement leaves
//! something that the next command can go on from:
//!
//! ```text
//! tenant.pem.next made ──▶ tenant.rotations.json has it ──▶ tenant.pem is also tenant.1.pem ──▶ next renamed to tenant.pem
//! (unused until then)      from here on it is the key, wherever it lies
//! ```

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sixfold_agent::disk;
use sixfold_core::limit;
use sixfold_core::shown::plain;
use sixfold_core::trust::{Chain, ChainError, Owner, PemError, Role, Signed, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::failed::{Failed, Kind};

/// Bytes of a key file that are read: PEM of 48 bytes is 119, and a longer one is no key of ours.
const KEY_FILE_MAX: usize = 4096;
/// Bytes of a file of rotations: each is under a kilobyte.
const ROTATIONS_FILE_MAX: usize = limit::ROTATIONS_MAX << 10;

/// Where the key of a role is, or is to be.
pub(super) struct Place {
    role: Role,
    path: PathBuf,
}

/// A key, with what proves that it is its owner's.
pub(crate) struct Held {
    path: PathBuf,
    key: SigningKey,
    rotations: Vec<Signed>,
    chain: Option<Chain>,
}

impl Held {
    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(super) fn into_key(self) -> SigningKey {
        self.key
    }

    pub(super) fn rotations(&self) -> &[Signed] {
        &self.rotations
    }

    /// Replaced by the key that was put aside.
    fn then(mut self, rotation: Signed, key: SigningKey) -> Result<Self, ChainError> {
        self.rotations.push(rotation);
        let chain = Some(Chain::read(&self.rotations)?);
        Ok(Self { key, chain, ..self })
    }

    pub(crate) fn owner(&self, role: Role) -> Owner {
        match &self.chain {
            Some(chain) => chain.owner().clone(),
            None => self.key.verifying().owner(role),
        }
    }
}

impl Place {
    /// The file that was named, or else the one that the role has: a person's among their own, a machine's in `/etc`.
    pub(super) fn of(role: Role, file: Option<&Path>) -> Result<Self, Failed> {
        let path = match (file, role) {
            (Some(file), _) => file.to_owned(),
            (None, Role::Node | Role::Registry) => Path::new("/etc/sixfold").join(format!("{role}.pem")),
            (None, Role::Tenant | Role::Farmer | Role::Admin) => own_folder()?.join(format!("{role}.pem")),
        };
        if path.file_name().is_none() {
            let what = format!("{} is no name of a file", path.display());
            return Err(Failed::new(Kind::Usage, what).hint(Some("like --file ./tenant.pem")));
        }
        Ok(Self { role, path })
    }

    pub(super) const fn role(&self) -> Role {
        self.role
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Another file beside the key's: its name without `.pem`, and then this.
    fn beside(&self, end: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!("{}{end}", name.strip_suffix(".pem").unwrap_or(&name)))
    }

    fn next(&self) -> PathBuf {
        self.beside(".pem.next")
    }

    fn rotations(&self) -> PathBuf {
        self.beside(".rotations.json")
    }

    /// Whether there is something in the key's place.
    pub(super) fn is_taken(&self) -> Result<bool, Failed> {
        match fs::symlink_metadata(&self.path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failed::cannot("read", &self.path, error)),
        }
    }

    /// Puts a new key in its place, if nothing is there.
    pub(super) fn make(&self, key: &SigningKey) -> Result<(), Failed> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            disk::make_private_dir(folder).map_err(Failed::environment)?;
        }
        // Rotations of another key would make this one somebody else's.
        for path in [self.path.clone(), self.rotations(), self.next()] {
            if fs::symlink_metadata(&path).is_ok() {
                return Err(taken(&path));
            }
        }
        write_once(&self.path, key)
    }

    /// Puts the key aside that is to replace the one in its place.
    pub(super) fn make_next(&self, key: &SigningKey) -> Result<VerifyingKey, Failed> {
        write_once(&self.next(), key)?;
        Ok(key.verifying())
    }

    /// The key that was put aside, if there is one.
    pub(super) fn unfinished(&self) -> Result<Option<VerifyingKey>, Failed> {
        Ok(read_key(&self.next())?.map(|key| key.verifying()))
    }

    /// What the key will be once it is replaced by the one that was put aside.
    pub(super) fn replaced_by_next(&self, held: Held, rotation: Signed) -> Result<Held, Failed> {
        let key = read_key(&self.next())?.ok_or_else(|| self.missing())?;
        held.then(rotation, key).map_err(out_of_rotations)
    }

    /// What the key was after so many replacements, fewer than there were.
    pub(super) fn before(&self, held: &Held, replacements: usize) -> Result<Held, Failed> {
        let path = self.beside(&format!(".{}.pem", replacements + 1));
        let missing = || {
            let what = format!("the key that was replaced is not in {}", path.display());
            Failed::environment(what).hint(Some("put it back: only it can say by which key it was replaced"))
        };
        let key = read_key(&path)?.ok_or_else(missing)?;
        let rotations = held.rotations[..replacements].to_vec();
        let chain = if rotations.is_empty() {
            None
        } else {
            Some(Chain::read(&rotations).map_err(out_of_rotations)?)
        };
        Ok(Held { path, key, rotations, chain })
    }

    /// The key, and what proves whose it is. A replacement that was cut short is finished first.
    pub(super) fn read(&self) -> Result<Held, Failed> {
        let rotations = self.read_rotations()?;
        let chain = match &rotations[..] {
            [] => None,
            all => Some(Chain::read(all).map_err(|error| self.unusable(Box::new(error)))?),
        };
        if let Some(chain) = &chain {
            self.finish(chain)?;
        }
        let key = read_key(&self.path)?.ok_or_else(|| self.missing())?;
        if let Some(chain) = &chain
            && chain.newest() != key.verifying()
        {
            return Err(self.unusable("it ends in another key than the one in the key's file".into()));
        }
        if let Some(chain) = &chain
            && chain.owner().role != self.role
        {
            return Err(self.unusable(format!("it is of a {}", chain.owner().role).into()));
        }
        Ok(Held { path: self.path.clone(), key, rotations, chain })
    }

    fn read_rotations(&self) -> Result<Vec<Signed>, Failed> {
        let path = self.rotations();
        let Some(bytes) = disk::read(&path, ROTATIONS_FILE_MAX).map_err(Failed::environment)? else {
            return Ok(Vec::new());
        };
        serde_json::from_slice(&bytes).map_err(|error| self.unusable(Box::new(error)))
    }

    fn unusable(&self, why: Box<dyn std::error::Error + Send + Sync>) -> Failed {
        let what = format!("cannot use {}: {}", self.rotations().display(), plain(&why.to_string()));
        Failed::refused(what).hint(Some("put back the file that belongs to this key"))
    }

    fn missing(&self) -> Failed {
        let what = format!("there is no key of a {} in {}", self.role, self.path.display());
        Failed::environment(what).hint(Some(format!("make one with `sixfold key new {}`", self.role)))
    }

    /// Moves the key that is signed for already to its place, if it is not there.
    fn finish(&self, chain: &Chain) -> Result<(), Failed> {
        let next = self.next();
        let Some(key) = read_key(&next)? else { return Ok(()) };
        if key.verifying() != chain.newest() {
            return Ok(());
        }
        let kept = self.beside(&format!(".{}.pem", chain.length()));
        match fs::hard_link(&self.path, &kept) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Of this very replacement, or somebody's who must not be written over.
                let old = read_key(&kept)?.map(|key| key.verifying());
                if old != chain.key(chain.length() - 1) {
                    return Err(taken(&kept));
                }
            }
            linked => linked.map_err(|error| Failed::cannot("write", &kept, error))?,
        }
        disk::rename(&next, &self.path).map_err(Failed::environment)?;
        Ok(())
    }

    /// Replaces the key by the one that was put aside and that `rotation` names.
    pub(super) fn replace(&self, held: &Held, rotation: Signed) -> Result<(), Failed> {
        let rotations: Vec<Signed> = held.rotations.iter().cloned().chain([rotation]).collect();
        let chain = Chain::read(&rotations).map_err(out_of_rotations)?;
        let text = serde_json::to_vec_pretty(&rotations).map_err(Failed::environment)?;
        disk::replace(&self.rotations(), &text, 0o644).map_err(Failed::environment)?;
        self.finish(&chain)
    }
}

fn out_of_rotations(error: ChainError) -> Failed {
    Failed::refused(error).hint(Some("make a new key, and with it another id"))
}

fn taken(path: &Path) -> Failed {
    let what = format!("there is already something in {}", path.display());
    Failed::refused(what)
        .hint(Some("keys are never written over: name another --file, or move that one away"))
}

/// Writes a key to where nothing is: aside first, and then linked into place, which fails if something came there in
/// between. So there is all of it or nothing.
fn write_once(path: &Path, key: &SigningKey) -> Result<(), Failed> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    let aside = PathBuf::from(aside);
    let written = write_and_link(&aside, path, key);
    let removed = fs::remove_file(&aside);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken(path)),
        Err(error) => Err(Failed::cannot("write", path, error)),
        Ok(()) => removed.map_err(|error| Failed::cannot("delete", &aside, error)),
    }
}

fn write_and_link(aside: &Path, path: &Path, key: &SigningKey) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
    file.write_all(key.to_pem().as_bytes())?;
    file.sync_all()?;
    fs::hard_link(aside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

/// Reads a key that nobody else can; `None` if there is none.
fn read_key(path: &Path) -> Result<Option<SigningKey>, Failed> {
    let opened = disk::open_plain(path).map_err(Failed::environment)?;
    let Some((file, meta)) = opened else { return Ok(None) };
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let what = format!("refused {}: others than its owner have access (mode {mode:04o})", path.display());
        let hint =
            format!("others may have read it. If not: chmod 0600 {}. If so: replace it", path.display());
        return Err(Failed::refused(what).hint(Some(hint)));
    }
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_MAX));
    let read = file.take(KEY_FILE_MAX as u64).read_to_string(&mut text);
    read.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => no_key(path, PemError::Label { label: "PRIVATE KEY" }),
        _ => Failed::cannot("read", path, error),
    })?;
    SigningKey::from_pem(&text).map(Some).map_err(|error| no_key(path, error))
}

fn no_key(path: &Path, error: PemError) -> Failed {
    let hint = error.hint();
    Failed::refused(format!("{} is no key: {error}", path.display())).hint(Some(hint))
}

/// `$XDG_CONFIG_HOME/sixfold`, or `~/.config/sixfold`.
fn own_folder() -> Result<PathBuf, Failed> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let nowhere =
        || Failed::new(Kind::Usage, "there is no home folder: HOME is not set").hint(Some("name --file"));
    Ok(config.ok_or_else(nowhere)?.join("sixfold"))
}
