//! The service as a process of its own, which a test may end at any moment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sixfold_registry::fsck::{Proven, fsck};
use sixfold_registry::service::Done;
use sixfold_registry::store::Sqlite;

use crate::ground::{Hands, Registry};

/// How long a process has to begin to listen, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running service.
pub(crate) struct Process {
    child: Child,
    socket: PathBuf,
}

impl Process {
    /// Starts it on a store; `cut` ends it at that step of its commits.
    pub(crate) fn start(store: &Path, cut: Option<usize>, told: Option<&Path>) -> Self {
        let socket = store.with_extension("socket");
        drop(std::fs::remove_file(&socket));
        let folder = std::env::current_exe().unwrap();
        let program = folder.parent().unwrap().parent().unwrap().join("examples/registry-on-a-socket");
        assert!(program.exists(), "{} is built with the tests", program.display());
        let mut command = Command::new(program);
        command.arg(store).arg(&socket).env_remove("SIXFOLD_CUT").env_remove("SIXFOLD_EFFECTS");
        if let Some(step) = cut {
            command.env("SIXFOLD_CUT", step.to_string());
        }
        if let Some(file) = told {
            command.env("SIXFOLD_EFFECTS", file);
        }
        Self { child: command.spawn().unwrap(), socket }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Connects, once somebody listens; `None` if that does not come to be.
pub(crate) fn connect(socket: &Path, gives_up: impl Fn() -> bool) -> Option<UnixStream> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && !gives_up() {
        match UnixStream::connect(socket) {
            Ok(stream) => return Some(stream),
            Err(_) => sleep(Duration::from_millis(2)),
        }
    }
    None
}

/// Sends a request and waits for its answer; `None` if the other side went away.
pub(crate) fn ask(stream: &mut BufReader<UnixStream>, request: &str) -> Option<Result<Done, String>> {
    writeln!(stream.get_mut(), "{request}").ok()?;
    let mut answer = String::new();
    if stream.read_line(&mut answer).ok()? == 0 || !answer.ends_with('\n') {
        return None;
    }
    let answer = answer.trim_end();
    Some(match answer.strip_prefix("failed: ") {
        Some(why) => Err(why.to_owned()),
        None => Ok(serde_json::from_str(answer).unwrap()),
    })
}

/// A store with farm alpha and so many nodes, closed.
pub(crate) fn furnished(path: &Path, nodes: usize) {
    Registry::open(path, &Hands::at(1)).furnish(nodes).end();
}

/// Proves a store that nobody writes to.
pub(crate) fn proven(path: &Path) -> Proven {
    let proven = fsck(&Sqlite::open_to_read(path).unwrap()).unwrap();
    assert_eq!(proven.findings, [], "{}", path.display());
    proven
}
