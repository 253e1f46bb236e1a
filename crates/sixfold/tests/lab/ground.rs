//! What the tests of the lab stand on: the binary as root and as nobody, a `/dev/net/tun` of any mode, a lab that is up.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const SIXFOLD: &str = env!("CARGO_BIN_EXE_sixfold");

pub(crate) fn example(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    dir.canonicalize().unwrap().display().to_string()
}

/// The binary, with these arguments.
pub(crate) fn sixfold(arguments: &[&str]) -> Output {
    let uid = fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(uid, 0, "the tests of the lab need root, to see that it leaves nothing and to become nobody");
    Command::new(SIXFOLD).args(arguments).env_remove("SIXFOLD_LOG").output().unwrap()
}

/// The binary as nobody, with a `/dev/net/tun` of that mode, in mounts of its own.
pub(crate) fn as_nobody(tun_mode: &str, script: &str) -> Output {
    let (_place, mut command) = nobody(tun_mode, script);
    command.output().expect("unshare and setpriv of util-linux are needed")
}

/// What nobody is to do, where: the examples are copied to where nobody may read them, and `own` is nobody's.
pub(crate) fn nobody(tun_mode: &str, script: &str) -> (tempfile::TempDir, Command) {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(SIXFOLD, place.path().join("sixfold")).unwrap();
    for folder in ["first-farm", "own"] {
        fs::create_dir(place.path().join(folder)).unwrap();
    }
    chown(place.path().join("own"), Some(65534), Some(65534)).unwrap();
    for entry in fs::read_dir(example("first-farm")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), place.path().join("first-farm").join(entry.file_name())).unwrap();
    }
    let script = format!(
        "mknod -m {tun_mode} $D/tun c 10 200; chmod {tun_mode} $D/tun; mount --bind $D/tun /dev/net/tun; cd $D\n\
         exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -euc '{script}'"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--", "timeout", "100", "sh", "-euc", &script]);
    command.env("D", place.path()).env_remove("SIXFOLD_LOG");
    (place, command)
}

pub(crate) fn words(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n--- out\n{out}\n--- err\n{err}", output.status)
}

/// A lab that stays up until it is dropped.
pub(crate) struct Up {
    pub(crate) top: Child,
    pub(crate) at: PathBuf,
    _folder: tempfile::TempDir,
}

impl Up {
    /// Starts it and waits until it says that it is up.
    pub(crate) fn start(name: &str) -> Self {
        Self::of(&example(name))
    }

    /// Of any folder.
    pub(crate) fn of(farm: &str) -> Self {
        Self::with(farm, &[])
    }

    /// Of any folder, with these arguments more.
    pub(crate) fn with(farm: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("lab");
        Self::start_at(&[&[farm][..], more].concat(), at, folder)
    }

    fn start_at(what: &[&str], at: PathBuf, folder: tempfile::TempDir) -> Self {
        let mut command = Command::new(SIXFOLD);
        command.args(["lab", "up"]).args(what).arg("--at").arg(&at).env_remove("SIXFOLD_LOG");
        let mut top = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(top.stderr.take().unwrap()).lines();
        let (says, said) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Nobody listens once it is up, but its pipe must not fill.
                let _ = says.send(line);
            }
        });
        let lab = Self { top, at, _folder: folder };
        let mut seen = Vec::new();
        loop {
            let line = said.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{seen:#?}"));
            if line.contains("Ctrl-C ends it") {
                return lab;
            }
            seen.push(line);
        }
    }

    /// Ends it by a signal no process can refuse, and starts another at the same folder.
    pub(crate) fn kill_and_start_again(mut self, name: &str) -> Self {
        self.top.kill().unwrap();
        self.top.wait().unwrap();
        let (at, folder) =
            (self.at.clone(), std::mem::replace(&mut self._folder, tempfile::tempdir().unwrap()));
        Self::start_at(&[&example(name)], at, folder)
    }

    /// Runs a command in a place of it.
    pub(crate) fn exec(&self, place: &str, command: &[&str]) -> Output {
        let at = self.at.display().to_string();
        sixfold(&[&["lab", "exec", "--at", &at, place, "--"], command].concat())
    }

    /// Runs a command in a place of it, which must succeed; its output.
    #[track_caller]
    pub(crate) fn says(&self, place: &str, command: &[&str]) -> String {
        let output = self.exec(place, command);
        assert!(output.status.success(), "{command:?} at {place}: {}", words(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// By what its registry is reached.
    pub(crate) fn registry(&self) -> String {
        let log = self.says("internet", &["cat", "/run/lab/log/registry"]);
        log.lines().find_map(|line| line.strip_prefix("reached by ")).unwrap().to_owned()
    }

    /// The pid namespace of all in it.
    pub(crate) fn pid_namespace(&self) -> u64 {
        let children = format!("/proc/{0}/task/{0}/children", self.top.id());
        let inner = fs::read_to_string(children).unwrap();
        fs::metadata(format!("/proc/{}/ns/pid", inner.trim())).unwrap().ino()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have been ended already.
        let _ = self.top.kill();
        let _ = self.top.wait();
    }
}

/// How many processes live in a pid namespace.
pub(crate) fn population(pid_namespace: u64) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let namespaces = processes.filter_map(|entry| fs::metadata(entry.path().join("ns/pid")).ok());
    namespaces.filter(|found| found.ino() == pid_namespace).count()
}

/// Waits until something holds, for so long that what is only slow has come: twenty seconds at most.
#[track_caller]
pub(crate) fn soon(what: &str, holds: impl Fn() -> bool) {
    soon_within(Duration::from_secs(20), what, holds);
}

/// Waits until something holds, for so long at most.
#[track_caller]
pub(crate) fn soon_within(patience: Duration, what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < patience, "after {patience:?} still not: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The links and named namespaces of the host.
pub(crate) fn host() -> (BTreeSet<String>, BTreeSet<String>) {
    let names = |path: &str| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    (names("/sys/class/net"), names("/run/netns"))
}
