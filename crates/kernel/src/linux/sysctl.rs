//! Sysctls by directories opened inside a namespace: they lead to that namespace's values from any thread, and cost the
//! same however many namespaces there are. By path, each costs a walk that grows with their number, as opening the
//! directories does: the kernel has those of all namespaces under one name in one list. So they are opened in a procfs
//! of our own, one for each few namespaces: see docs/adr/0030. A file that is kept open costs a tenth of one that is opened
//! for each reading, and a descriptor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use sixfold_core::state::{OUR_SYSCTLS, SysctlName};

use crate::netns::{PATH_ONLY, errno};
use crate::{cut, sys};

/// Where the sysctls of a namespace are, below `/proc/sys`.
const PLACES: [&str; 3] = ["net/ipv4/", "net/ipv6/", BRIDGE];

/// Bytes of the longest value.
const VALUE: usize = 64;

/// The place that comes with the module `br_netfilter`.
pub(crate) const BRIDGE: &str = "net/bridge/";

/// Without `br_netfilter` no bridged frame passes the firewall, which is what 0 says.
fn is_off_where_absent(name: &SysctlName) -> bool {
    name.0.starts_with("net/bridge/bridge-nf-call-")
}

/// Whether the kernel has `br_netfilter` now.
pub(crate) fn has_bridge() -> bool {
    Path::new("/proc/sys").join(BRIDGE).exists()
}

/// Namespaces whose directories are opened in one procfs.
const TOGETHER: usize = 64;

/// Instances of procfs in which directories are opened, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    newest: Option<Arc<OwnedFd>>,
    opened: usize,
}

impl Roots {
    /// The one for the next namespace: `/proc`, where the kernel does not let us mount any; `None` without that.
    pub(crate) fn next(&mut self) -> Option<Arc<OwnedFd>> {
        if self.opened.is_multiple_of(TOGETHER) {
            let usual = |_| open("/proc", OFlag::from_bits_truncate(PATH_ONLY), Mode::empty());
            self.newest = sys::mount_procfs().or_else(usual).ok().map(Arc::new);
        }
        self.opened += 1;
        self.newest.clone()
    }
}

/// Open directories of one namespace; what the kernel lacks is missing.
#[derive(Debug)]
pub(crate) struct Directories {
    places: BTreeMap<&'static str, OwnedFd>,
    /// Files that have been read or written; `None`: none is kept.
    files: Option<BTreeMap<&'static str, File>>,
}

impl Directories {
    /// Opens them in the calling thread's namespace, below the root of a procfs.
    pub(crate) fn open(root: Option<&OwnedFd>) -> Self {
        let open_one = |place| {
            let flags = OFlag::from_bits_truncate(PATH_ONLY);
            Some((place, openat(root?, &*format!("sys/{place}"), flags, Mode::empty()).ok()?))
        };
        Self { places: PLACES.into_iter().filter_map(open_one).collect(), files: None }
    }

    /// From now on keeps each file open that is read or written: at most [`OUR_SYSCTLS`]' number of descriptors.
    pub(crate) fn keep_files(&mut self) {
        self.files.get_or_insert_default();
    }

    /// Keeps none any more.
    pub(crate) fn close_files(&mut self) {
        self.files = None;
    }

    /// Whether files are kept open.
    pub(crate) fn keeps_files(&self) -> bool {
        self.files.is_some()
    }

    /// All that are observed and that the kernel has.
    pub(crate) fn read_ours(&mut self) -> Result<BTreeMap<SysctlName, String>, (SysctlName, Errno)> {
        let mut values = BTreeMap::new();
        for path in OUR_SYSCTLS {
            let name = SysctlName(path.to_owned());
            match self.read(path) {
                Ok(value) => drop(values.insert(name, value)),
                Err(Errno::ENOENT) if is_off_where_absent(&name) => drop(values.insert(name, "0".to_owned())),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err((name, errno)),
            }
        }
        Ok(values)
    }

    fn read(&mut self, path: &'static str) -> Result<String, Errno> {
        if let Some(file) = self.files.as_mut().and_then(|files| files.remove(path))
            && let Ok(value) = read_file(&file)
        {
            self.keep(path, file);
            return Ok(value);
        }
        // Not kept, or of a module that has been unloaded and loaded again.
        let file = self.file(path, OFlag::O_RDONLY)?;
        let value = read_file(&file)?;
        self.keep(path, file);
        Ok(value)
    }

    fn keep(&mut self, path: &'static str, file: File) {
        if let Some(files) = &mut self.files {
            files.insert(path, file);
        }
    }

    /// Writes one. It is opened for reading too, since that is what comes next.
    pub(crate) fn write(&mut self, name: &SysctlName, value: &str) -> Result<(), Errno> {
        match self.file(&name.0, OFlag::O_RDWR) {
            Err(Errno::ENOENT) if is_off_where_absent(name) && value == "0" => Ok(()),
            file => {
                let mut file = file?;
                let written = file.write_all(value.as_bytes()).map_err(|error| errno(&error));
                cut::after(format_args!("sysctl {}", name.0));
                if let Some(path) = OUR_SYSCTLS.into_iter().find(|path| *path == name.0) {
                    self.keep(path, file);
                }
                written
            }
        }
    }

    /// Whether a directory is missing that the kernel has by now: `br_netfilter` may be loaded at any time.
    pub(crate) fn lacks(&self, place: &str) -> bool {
        !self.places.contains_key(place)
    }

    fn file(&self, path: &str, flags: OFlag) -> Result<File, Errno> {
        let (place, rest) =
            PLACES.iter().find_map(|place| Some((place, path.strip_prefix(place)?))).ok_or(Errno::ENOENT)?;
        let directory = self.places.get(place).ok_or(Errno::ENOENT)?;
        openat(directory, rest, flags | OFlag::O_CLOEXEC, Mode::empty()).map(File::from)
    }
}

/// The value, without the newline that ends it. Read by offset, so that an open file tells anew what is there now.
fn read_file(file: &File) -> Result<String, Errno> {
    let mut buffer = [0; VALUE];
    let length = file.read_at(&mut buffer, 0).map_err(|error| errno(&error))?;
    Ok(String::from_utf8_lossy(&buffer[..length]).trim_end_matches('\n').to_owned())
}
