//! How another terminal reaches a lab that is up: a socket in `/tmp`, behind a folder that only its user can open.
//!
//! ```text
//! client ── {"find":"ant"} ──▶ inner      client ◀── {"door":{...}} ── inner
//! client: enters the inner process's namespaces itself, and there runs the command with its own terminal
//! ```
//!
//! Owns: the socket, its few words, and joining a lab from outside. The inner process's id comes from the socket's own
//! credentials, so nobody can be told a wrong one, and only one's own is believed. [`join`] must be called before the process has a second thread.

#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use crate::enclosure::SELF;
use crate::node::Door;

/// Why there is no way to a lab.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// None is up.
    #[error("no lab is up here")]
    NotUp,
    /// One is up already.
    #[error("a lab is up here already")]
    Up,
    /// The folder is not for this user alone.
    #[error("{} is not a folder that only this user can open", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// Another user listens there.
    #[error("the lab at {} is another user's", path.display())]
    Stranger {
        /// The folder.
        path: PathBuf,
    },
    /// The socket, its folder, or the conversation.
    #[error("cannot {action} the lab's socket")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no such place.
    #[error("there is no {name} in the lab")]
    NoPlace {
        /// What was asked for.
        name: String,
        /// What there is.
        places: Vec<String>,
    },
    /// A namespace of the lab cannot be entered.
    #[error("cannot enter the lab by {}", path.display())]
    Enter {
        /// By which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl ControlError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotUp => {
                Some("start one in another terminal: sixfold lab up examples/first-farm".to_owned())
            }
            Self::Up => Some(
                "end it where it runs, with Ctrl-C; or name another folder for this one: --at DIR".to_owned(),
            ),
            Self::Foreign { .. } => Some("name another folder: --at DIR".to_owned()),
            Self::NoPlace { places, .. } => Some(format!("there are {}", places.join(", "))),
            _ => None,
        }
    }
}

fn socket(action: &'static str) -> impl Fn(io::Error) -> ControlError {
    move |source| ControlError::Socket { action, source }
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// The door to a place.
    Find(String),
    /// The matrix, probed anew.
    Probe {
        /// As one document, not as a text.
        json: bool,
    },
    /// Another folder's files, as (path, text), for the same nodes.
    Apply {
        /// The files.
        files: Vec<(String, String)>,
        /// That one node may lose so many resources, where owners are asked whether that is meant.
        #[serde(default)]
        confirm_removal: Option<u32>,
    },
}

/// What the lab answers; `Progress` may come several times first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Where that place is.
    Door(Door),
    /// There is none of that name, but these.
    Unknown(Vec<String>),
    /// Something is being done.
    Progress(String),
    /// The report, and whether all is as expected.
    Report {
        /// For the standard output.
        text: String,
        /// Whether every expectation holds.
        holds: bool,
    },
    /// It could not be done.
    Failed {
        /// Why, the outermost first.
        words: Vec<String>,
        /// What to do about it.
        hints: Vec<String>,
        /// What was asked is at fault, not the machine.
        refused: bool,
    },
}

/// The folder of this user's socket, unless another is named.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(format!("/tmp/sixfold-lab-{}", Uid::effective()))
}

fn path(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

/// Makes the folder, for a lab that is about to come up.
///
/// # Errors
/// If another lab is up, or the folder is somebody else's.
pub fn claim(folder: &Path) -> Result<(), ControlError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map_err(socket("make a folder for")),
    }
    check_private(folder)?;
    if is_up(folder) {
        return Err(ControlError::Up);
    }
    // Left by a lab that was killed.
    drop(fs::remove_file(path(folder)));
    Ok(())
}

/// Whoever answers is followed into its namespaces with all that this user may: so nobody else must be able to answer.
fn check_private(folder: &Path) -> Result<(), ControlError> {
    // A slash at the end would have a link followed.
    let folder: PathBuf = folder.components().collect();
    let found = fs::symlink_metadata(&folder).map_err(socket("look at the folder of"))?;
    let private = found.is_dir() && found.uid() == Uid::effective().as_raw() && found.mode() & 0o077 == 0;
    if private { Ok(()) } else { Err(ControlError::Foreign { path: folder }) }
}

/// Whether a lab answers, or may yet: one that is being killed takes calls until it is gone, and hangs up.
fn is_up(folder: &Path) -> bool {
    const PATIENCE: Duration = Duration::from_secs(2);
    loop {
        let Ok(mut caller) = Caller::call(folder) else { return false };
        if caller.stream.set_read_timeout(Some(PATIENCE)).is_err() {
            return true;
        }
        match caller.ask(&Ask::Find(String::new()), &mut |_| {}) {
            Ok(_) => return true,
            // Busy: coming up, or probing.
            Err(ControlError::Socket { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => {
                return true;
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Takes the folder away again.
pub fn release(folder: &Path) {
    drop(fs::remove_file(path(folder)));
    drop(fs::remove_dir(folder));
}

/// Listens, in the inner process; does not wait for clients.
///
/// # Errors
/// If the socket cannot be made.
pub fn listen(folder: &Path) -> Result<UnixListener, ControlError> {
    let listener = UnixListener::bind(path(folder)).map_err(socket("make"))?;
    listener.set_nonblocking(true).map_err(socket("make"))?;
    Ok(listener)
}

/// One client's conversation, as the lab has it.
#[derive(Debug)]
pub struct Conversation(UnixStream);

impl Conversation {
    /// The next client and what it asks, if there is one.
    pub fn next(listener: &UnixListener) -> Option<(Self, Ask)> {
        let (stream, _) = listener.accept().ok()?;
        stream.set_nonblocking(false).ok()?;
        // A client says at once what it wants, or it is none.
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).ok()?;
        Some((Self(stream), serde_json::from_str(&line).ok()?))
    }

    /// Answers. A client that is gone misses nothing.
    pub fn say(&mut self, answer: &Answer) {
        if let Ok(line) = serde_json::to_string(answer) {
            drop(writeln!(self.0, "{line}"));
        }
    }
}

/// A lab that is up, from outside.
#[derive(Debug)]
pub struct Caller {
    stream: UnixStream,
    inner: i32,
    answers: BufReader<UnixStream>,
}

impl Caller {
    /// Calls the lab whose socket is in that folder.
    ///
    /// # Errors
    /// If none is up, or somebody else may answer.
    pub fn call(folder: &Path) -> Result<Self, ControlError> {
        match check_private(folder) {
            Err(ControlError::Socket { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(ControlError::NotUp);
            }
            checked => checked?,
        }
        let stream = match UnixStream::connect(path(folder)) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Err(ControlError::NotUp);
            }
            stream => stream.map_err(socket("open"))?,
        };
        let credentials = getsockopt(&stream, sockopt::PeerCredentials);
        let peer = credentials.map_err(|errno| socket("ask")(errno.into()))?;
        if peer.uid() != Uid::effective().as_raw() {
            return Err(ControlError::Stranger { path: folder.to_owned() });
        }
        let answers = BufReader::new(stream.try_clone().map_err(socket("open"))?);
        Ok(Self { stream, inner: peer.pid(), answers })
    }

    /// Asks, and returns the last answer; tells of progress in between.
    ///
    /// # Errors
    /// If the lab ends meanwhile.
    pub fn ask(&mut self, ask: &Ask, progress: &mut dyn FnMut(&str)) -> Result<Answer, ControlError> {
        let line = serde_json::to_string(ask).map_err(io::Error::from).map_err(socket("write to"))?;
        writeln!(self.stream, "{line}").map_err(socket("write to"))?;
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line).map_err(socket("read from"))? == 0 {
                return Err(ControlError::NotUp);
            }
            match serde_json::from_str(&line).map_err(io::Error::from).map_err(socket("understand"))? {
                Answer::Progress(text) => progress(&text),
                answer => return Ok(answer),
            }
        }
    }

    /// Runs a command in a place of the lab, with this process's terminal, and waits for it.
    ///
    /// # Errors
    /// If there is no such place, or its namespaces cannot be entered.
    pub fn run(mut self, place: &str, command: &[String]) -> Result<ExitStatus, ControlError> {
        let door = match self.ask(&Ask::Find(place.to_owned()), &mut |_| {})? {
            Answer::Door(door) => door,
            Answer::Unknown(places) => return Err(ControlError::NoPlace { name: place.to_owned(), places }),
            _ => return Err(socket("understand")(io::ErrorKind::InvalidData.into())),
        };
        join(self.inner)?;
        let mut child =
            Command::new(SELF).args(door.words()).args(command).spawn().map_err(socket("start behind"))?;
        // The terminal tells the command too; this process only waits for it.
        let _ = SigSet::from_iter([Signal::SIGINT, Signal::SIGQUIT]).thread_block();
        child.wait().map_err(socket("wait behind"))
    }
}

/// Enters the namespaces of a lab's inner process: children of this process are then in the lab.
fn join(inner: i32) -> Result<(), ControlError> {
    let kinds = [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("net", CloneFlags::CLONE_NEWNET),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    let own = |name: &str| fs::metadata(format!("/proc/self/ns/{name}")).map(|found| found.ino());
    let open = |(name, kind)| {
        let path = PathBuf::from(format!("/proc/{inner}/ns/{name}"));
        let entered = |source| ControlError::Enter { path: path.clone(), source };
        let file = File::open(&path).map_err(entered)?;
        // One's own user namespace cannot be entered again.
        let elsewhere = file.metadata().map_err(entered)?.ino() != own(name).map_err(entered)?;
        Ok(elsewhere.then_some((file, kind, path)))
    };
    for (file, kind, path) in
        kinds.into_iter().map(open).collect::<Result<Vec<_>, _>>()?.into_iter().flatten()
    {
        setns(file, kind).map_err(|errno| ControlError::Enter { path, source: errno.into() })?;
    }
    Ok(())
}

/// The exit code that a shell would show.
#[must_use]
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(1)
}
