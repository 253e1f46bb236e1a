//! A node: a mount, network and UTS namespace with a `/run` of its own, kept by a small process, and how to enter it.
//!
//! ```text
//! lab's /run/lab/nodes/NAME  ==bind==>  /run inside the node NAME
//! ```
//!
//! Owns: what is the same in every node, and the order of entering. [`keep`] and [`enter`] run in processes of their own,
//! which must have one thread only. Must not know what runs in a node.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{chdir, execvpe, sethostname};
use serde::{Deserialize, Serialize};
use sixfold_core::id::NodeId;

/// Where the lab sees each node's `/run`.
pub(crate) const NODES: &str = "/run/lab/nodes";
/// A node's own key, as the node sees it: whatever runs there is told, as its `/etc` is the host's.
const KEY: &str = "/run/sixfold/etc/node.pem";
/// Named network namespaces, as `ip netns` has them.
const NETNS: &str = "/run/netns";

/// Why a node cannot be kept or entered.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct NodeError {
    action: &'static str,
    path: PathBuf,
    #[source]
    errno: Errno,
}

fn failed(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(Errno) -> NodeError {
    let path = path.as_ref().to_owned();
    move |errno| NodeError { action, path, errno }
}

fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

/// A node's `/run`, as the lab sees it.
#[must_use]
pub fn run_dir(node: &NodeId) -> PathBuf {
    Path::new(NODES).join(node.as_str())
}

/// Makes the folders that a node's `/run` begins with.
///
/// # Errors
/// If they cannot be made.
pub fn prepare(node: &NodeId) -> Result<(), NodeError> {
    for folder in ["sixfold/state", "sixfold/etc", "log", "probe"] {
        let path = run_dir(node).join(folder);
        fs::create_dir_all(&path).map_err(errno).map_err(failed("make", &path))?;
    }
    Ok(())
}

/// Becomes the node `name` in the network namespace `netns`, says so by one byte on the standard output, and stays
/// until the standard input ends.
///
/// # Errors
/// If a namespace or mount is refused.
pub fn keep(name: &str, netns: &str) -> Result<(), NodeError> {
    join(&Path::new(NETNS).join(netns), CloneFlags::CLONE_NEWNET)?;
    let run = Path::new("/run");
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .map_err(failed("make namespaces for", name))?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(failed("keep apart", "/"))?;
    let own = Path::new(NODES).join(name);
    mount(Some(&own), run, none, MsFlags::MS_BIND, none).map_err(failed("mount", &own))?;
    sethostname(name).map_err(failed("name the host", name))?;
    let mut out = io::stdout();
    out.write_all(b".").and_then(|()| out.flush()).map_err(errno).map_err(failed("report", name))?;
    while io::stdin().read(&mut [0]).is_ok_and(|bytes| bytes > 0) {}
    Ok(())
}

/// Where to run something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// The process whose namespaces to enter; `None`: stay.
    pub keeper: Option<u32>,
    /// A named network namespace there.
    pub netns: Option<String>,
}

impl Door {
    /// Enters, in this process.
    ///
    /// # Errors
    /// If a namespace is not there or not to be entered.
    pub fn pass(&self) -> Result<(), NodeError> {
        if let Some(pid) = self.keeper {
            // All are opened before the first is entered: the mount namespace has another /proc/self.
            let kinds = [
                ("net", CloneFlags::CLONE_NEWNET),
                ("uts", CloneFlags::CLONE_NEWUTS),
                ("mnt", CloneFlags::CLONE_NEWNS),
            ];
            let open = |(name, kind)| {
                let path = PathBuf::from(format!("/proc/{pid}/ns/{name}"));
                let file = File::open(&path).map_err(errno).map_err(failed("open", &path))?;
                Ok((file, kind, path))
            };
            for (file, kind, path) in kinds.into_iter().map(open).collect::<Result<Vec<_>, _>>()? {
                setns(file, kind).map_err(failed("enter", path))?;
            }
            chdir("/").map_err(failed("go to", "/"))?;
        }
        match &self.netns {
            Some(netns) => join(&Path::new(NETNS).join(netns), CloneFlags::CLONE_NEWNET),
            None => Ok(()),
        }
    }

    /// Enters, and becomes the command. Returns only when that fails.
    ///
    /// # Errors
    /// If the door is closed or the command is not there.
    pub fn enter(&self, command: &[String]) -> Result<(), NodeError> {
        self.pass()?;
        let text = |bytes: Vec<u8>| CString::new(bytes).unwrap_or_default();
        let command: Vec<CString> = command.iter().map(|word| text(word.clone().into_bytes())).collect();
        let program = command.first().cloned().unwrap_or_default();
        let name = program.to_string_lossy().into_owned();
        let joined =
            |(name, value): (OsString, OsString)| text([name.as_bytes(), b"=", value.as_bytes()].concat());
        let own = self.keeper.map(|_| (OsString::from("SIXFOLD_KEY"), OsString::from(KEY)));
        let environment: Vec<CString> = std::env::vars_os().chain(own).map(joined).collect();
        execvpe(&program, &command, &environment).map(drop).map_err(failed("run", name))
    }

    /// The words that have this program do it.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec!["lab".to_owned(), "enter".to_owned()];
        words.extend(self.keeper.map(|pid| format!("--keeper={pid}")));
        words.extend(self.netns.as_ref().map(|netns| format!("--netns={netns}")));
        words.push("--".to_owned());
        words
    }
}

fn join(path: &Path, kind: CloneFlags) -> Result<(), NodeError> {
    let file = File::open(path).map_err(errno).map_err(failed("open", path))?;
    setns(file, kind).map_err(failed("enter", path))
}
