//! The tunnel process as its service manager sees it. No device is made: nothing but sockets is needed.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command;

/// Longer than the manager hears nothing of one that lives.
const QUIET: Duration = Duration::from_secs(6);

/// A tunnel that says to a manager how it is; killed with this value.
struct Tunnel {
    process: Child,
    manager: UnixDatagram,
}

impl Tunnel {
    fn start(dir: &tempfile::TempDir) -> Self {
        let at = |name: &str| dir.path().join(name);
        let manager = UnixDatagram::bind(at("notify")).unwrap();
        let mut command: Command = command(&["tunnel", "run"]);
        command.arg("--control").arg(at("tunnel.sock")).arg("--uapi").arg(at("uapi"));
        command.env("NOTIFY_SOCKET", at("notify")).stderr(Stdio::null());
        Self { process: command.spawn().unwrap(), manager }
    }

    /// What the manager hears, if it hears something for so long.
    fn says(&self, within: Duration) -> Option<String> {
        self.manager.set_read_timeout(Some(within)).unwrap();
        let mut told = [0; 64];
        let length = self.manager.recv(&mut told).ok()?;
        Some(String::from_utf8_lossy(&told[..length]).trim_end().to_owned())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), signal).unwrap();
    }

    /// What the process is, as the kernel tells.
    fn status(&self, name: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // It has ended where the test went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_service_manager_is_told_that_the_tunnel_is_ready_and_that_its_loop_goes_round() {
    let dir = tempfile::tempdir().unwrap();
    let mut tunnel = Tunnel::start(&dir);
    let patience = Duration::from_secs(60);
    assert_eq!(tunnel.says(patience).as_deref(), Some("READY=1"));
    assert!(dir.path().join("tunnel.sock").exists(), "whoever starts after it finds its socket");
    assert_eq!(tunnel.status("CapEff:"), "0000000000000000", "it says so with what it has left");
    assert_eq!(tunnel.says(patience).as_deref(), Some("WATCHDOG=1"));

    // It says so while each of its threads goes round.
    tunnel.signal(Signal::SIGSTOP);
    while !tunnel.status("State:").starts_with('T') {
        std::thread::sleep(Duration::from_millis(5));
    }
    // What was said before.
    tunnel.manager.set_nonblocking(true).unwrap();
    while tunnel.manager.recv(&mut [0; 64]).is_ok() {}
    tunnel.manager.set_nonblocking(false).unwrap();
    assert_eq!(tunnel.says(QUIET), None, "a loop that hangs says nothing");
    tunnel.signal(Signal::SIGCONT);
    assert_eq!(tunnel.says(patience).as_deref(), Some("WATCHDOG=1"));
    tunnel.signal(Signal::SIGTERM);
    let began = Instant::now();
    while tunnel.process.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < patience, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}
