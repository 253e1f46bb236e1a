//! `sixfold registry run`, as a person or a service manager meets it: what it prints, what it counts, how it ends.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "figures are printed")]

mod outsider;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sixfold_api::url::RegistryUrl;

/// A registry that has said where it listens; killed when the test is over.
struct Registry {
    child: Child,
    printed: Vec<String>,
    _out: BufReader<ChildStdout>,
}

fn command(dir: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sixfold"));
    command.args(["registry", "run", "--listen", listen, "--metrics", "[::1]:0", "--dir"]).arg(dir);
    command.env_remove("SIXFOLD_LOG").stdin(Stdio::null());
    command
}

impl Registry {
    fn start(dir: &Path) -> Self {
        Self::of(&mut command(dir, "[::1]:0"))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let line = |out: &mut BufReader<ChildStdout>| {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let printed = (0..4).map(|_| line(&mut out)).collect();
        Self { child, printed, _out: out }
    }

    /// What stands behind a word at the beginning of a printed line.
    fn said(&self, word: &str) -> &str {
        let found = self.printed.iter().find_map(|line| line.strip_prefix(word));
        found.unwrap_or_else(|| panic!("no {word:?} in {:?}", self.printed))
    }

    fn metrics(&self) -> String {
        let address = self.said("metrics at http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to end; its exit code.
    fn end(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_its_key_counts_ends_as_asked_and_is_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("registry");
    let registry = Registry::start(&home);
    let key = registry.said("key ").to_owned();
    assert_eq!(key.len(), 44);
    // A connection that says nothing does not keep it.
    let address = registry.said("listening at ").to_owned();
    let _silent = TcpStream::connect(&address).unwrap();
    let url: RegistryUrl = registry.said("reached by ").parse().unwrap();
    assert_eq!((url.key().to_string(), url.address()), (key.clone(), &*address));
    let metrics = registry.metrics();
    assert!(metrics.contains("\nsixfold_registry_revision "), "{metrics}");
    assert!(metrics.contains("\nsixfold_registry_connections_accepted_total "), "{metrics}");
    let other = dir.path().join("other");
    let refused = command(&other, &address).output().unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(3), "{words}");
    assert!(words.contains(&format!("cannot listen at {address}")) && words.contains("hint: "), "{words}");
    assert_eq!(registry.end(), Some(0));
    let again = Registry::start(&home);
    assert_eq!(again.said("key "), key);
    assert_eq!(again.end(), Some(0));
}

#[test]
fn a_service_manager_is_told_that_it_is_ready_and_that_it_lives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let registry = Registry::of(command(dir.path(), "[::1]:0").env("NOTIFY_SOCKET", &path));
    for expected in ["READY=1", "WATCHDOG=1"] {
        let mut told = [0; 64];
        let length = manager.recv(&mut told).unwrap();
        assert_eq!(String::from_utf8_lossy(&told[..length]).trim_end(), expected);
    }
    assert_eq!(registry.end(), Some(0));
}
