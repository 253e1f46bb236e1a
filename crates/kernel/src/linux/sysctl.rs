//! Sysctls by directories opened inside a namespace: they lead to that namespace's values from any thread, and cost the
//! same however many namespaces there are. By path, each costs a walk that grows with their number.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use sixfold_core::state::{OUR_SYSCTLS, SysctlName};

use crate::netns::{PATH_ONLY, errno};

/// Where the sysctls of a namespace are, below `/proc/sys`.
const PLACES: [&str; 3] = ["net/ipv4/", "net/ipv6/", BRIDGE];

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

/// Open directories of one namespace; what the kernel lacks is missing.
#[derive(Debug)]
pub(crate) struct Directories(BTreeMap<&'static str, OwnedFd>);

impl Directories {
    /// Opens them in the calling thread's namespace.
    pub(crate) fn open() -> Self {
        let open_one = |place| {
            let flags = OFlag::from_bits_truncate(PATH_ONLY);
            Some((place, open(&*format!("/proc/sys/{place}"), flags, Mode::empty()).ok()?))
        };
        Self(PLACES.into_iter().filter_map(open_one).collect())
    }

    /// All that are observed and that the kernel has.
    pub(crate) fn read_ours(&self) -> Result<BTreeMap<SysctlName, String>, (SysctlName, Errno)> {
        let mut values = BTreeMap::new();
        for name in OUR_SYSCTLS {
            let name = SysctlName(name.to_owned());
            match self.read(&name) {
                Ok(value) => drop(values.insert(name, value)),
                Err(Errno::ENOENT) if is_off_where_absent(&name) => drop(values.insert(name, "0".to_owned())),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err((name, errno)),
            }
        }
        Ok(values)
    }

    fn read(&self, name: &SysctlName) -> Result<String, Errno> {
        let mut value = String::new();
        self.file(name, OFlag::O_RDONLY)?.read_to_string(&mut value).map_err(|error| errno(&error))?;
        value.truncate(value.trim_end_matches('\n').len());
        Ok(value)
    }

    /// Writes one.
    pub(crate) fn write(&self, name: &SysctlName, value: &str) -> Result<(), Errno> {
        match self.file(name, OFlag::O_WRONLY) {
            Err(Errno::ENOENT) if is_off_where_absent(name) && value == "0" => Ok(()),
            file => file?.write_all(value.as_bytes()).map_err(|error| errno(&error)),
        }
    }

    /// Whether a directory is missing that the kernel has by now: `br_netfilter` may be loaded at any time.
    pub(crate) fn lacks(&self, place: &str) -> bool {
        !self.0.contains_key(place)
    }

    fn file(&self, name: &SysctlName, flags: OFlag) -> Result<File, Errno> {
        let (place, rest) = PLACES
            .iter()
            .find_map(|place| Some((place, name.0.strip_prefix(place)?)))
            .ok_or(Errno::ENOENT)?;
        let directory = self.0.get(place).ok_or(Errno::ENOENT)?;
        openat(directory, rest, flags | OFlag::O_CLOEXEC, Mode::empty()).map(File::from)
    }
}
