//! Sysctls by directories opened inside a namespace: they lead to that namespace's values from any thread, and cost the
//! same however many namespaces there are. By path, each costs a walk that grows with their number.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use sixfold_core::state::{OUR_SYSCTLS, SysctlName};

use crate::netns::{PATH_ONLY, errno};

/// Where the sysctls of a namespace are, below `/proc/sys`.
const PLACES: [&str; 3] = ["net/ipv4/", "net/ipv6/", "net/bridge/"];

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
        self.file(name, OFlag::O_WRONLY)?.write_all(value.as_bytes()).map_err(|error| errno(&error))
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
