//! A ground for tests with real packets: namespaces of the test's own, joined by veth, a tunnel process, and TUNs
//! and sockets opened in the right namespaces as the agent does it. All of it goes away with the values.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unsafe_code, reason = "TUNSETIFF has no safe wrapper")]
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

use nix::libc;
use nix::sched::{CloneFlags, setns};
use sixfold_tunnel::client;
use sixfold_tunnel::control::DeviceName;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const MTU: u16 = 1420;
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a program and gives its output; the test fails with its words if it fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(program, arguments);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn output(program: &str, arguments: &[&str]) -> Output {
    let started = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    started.unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"))
}

pub(crate) fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A network namespace, removed with the value.
pub(crate) struct Namespace(pub(crate) String);

impl Namespace {
    pub(crate) fn new(tag: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces and needs root");
        let name = format!("sft{}-{tag}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let namespace = Self(name);
        namespace.ip("link set lo up");
        namespace
    }

    pub(crate) fn ip(&self, arguments: &str) -> String {
        let arguments: Vec<&str> = ["-n", &self.0].into_iter().chain(arguments.split(' ')).collect();
        run("ip", &arguments)
    }

    /// Joins two namespaces by a cable, an address of each family at both ends (host part `n` of the documentation
    /// prefixes' first networks).
    pub(crate) fn join(&self, other: &Self, ends: [u8; 2]) {
        let [own, far] = ends.map(|end| format!("v{end}"));
        run(
            "ip",
            &["link", "add", &own, "netns", &self.0, "type", "veth", "peer", "name", &far, "netns", &other.0],
        );
        for (namespace, end, link) in [(self, ends[0], own), (other, ends[1], far)] {
            namespace.ip(&format!("address add 192.0.2.{end}/24 dev {link}"));
            namespace.ip(&format!("address add 2001:db8::{end}/64 dev {link} nodad"));
            namespace.ip(&format!("link set {link} up"));
        }
    }

    /// Runs `work` on a thread inside the namespace.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(&self.0)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    pub(crate) fn ping(&self, address: &str, count: u32) -> Output {
        let count = count.to_string();
        let arguments =
            ["netns", "exec", &self.0, "ping", "-n", "-i", "0.2", "-W", "2", "-c", &count, address];
        output("ip", &arguments)
    }

    pub(crate) fn assert_ping(&self, address: &str) {
        let output = self.ping(address, 3);
        assert!(
            output.status.success(),
            "no answer from {address}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A running tunnel process with its directories.
pub(crate) struct Tunnel {
    pub(crate) child: Child,
    pub(crate) control: PathBuf,
    pub(crate) uapi_dir: PathBuf,
    directory: TempDir,
}

impl Tunnel {
    pub(crate) fn start() -> Self {
        Self::start_by(&[])
    }

    /// Starts it as nobody, without capabilities and without a way to get any.
    pub(crate) fn start_unprivileged() -> Self {
        let by = "setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs";
        Self::start_by(&by.split(' ').collect::<Vec<_>>())
    }

    /// Starts it as the root of a user namespace that is nobody's, with every capability there.
    pub(crate) fn start_in_user_namespace() -> Self {
        let by = "setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user --map-root-user";
        Self::start_by(&by.split(' ').collect::<Vec<_>>())
    }

    /// Starts it as root and asks it to become nobody, as `--user 65534` does. The folder stays root's.
    pub(crate) fn start_giving_up() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        Self::start_in(directory, |control, uapi_dir| spawn_server_for(Some("65534"), control, uapi_dir))
    }

    fn start_by(by: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if !by.is_empty() {
            std::os::unix::fs::chown(directory.path(), Some(65534), Some(65534)).unwrap();
        }
        Self::start_in(directory, |control, uapi_dir| spawn_server(by, control, uapi_dir))
    }

    pub(crate) fn start_in(directory: TempDir, spawn: impl FnOnce(&Path, &Path) -> Child) -> Self {
        let (control, uapi_dir) =
            (directory.path().join("run/tunnel.sock"), directory.path().join("wireguard"));
        let child = spawn(&control, &uapi_dir);
        let tunnel = Self { child, control, uapi_dir, directory };
        wait_for("the tunnel", || client::ping(&tunnel.control).is_ok());
        tunnel
    }

    /// Opens a TUN in `inner` and a socket in `outer` and hands both over; the TUN is up when this returns.
    pub(crate) fn add(&self, name: &str, inner: &Namespace, outer: &Namespace, port: u16) {
        let tun = inner.inside(|| open_tun(name));
        let udp = outer.inside(|| UdpSocket::bind(("::", port)).unwrap());
        client::add(&self.control, &device(name), MTU, tun.as_fd(), udp.as_fd()).unwrap();
        inner.ip(&format!("link set {name} mtu {MTU} up"));
    }

    /// A line of the process's /proc status.
    pub(crate) fn of_process(&self, name: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    }

    /// Its resident memory.
    pub(crate) fn memory_kib(&self) -> u64 {
        self.of_process("VmRSS:").split(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn wg(&self, arguments: &[&str]) -> Output {
        wg(&self.uapi_dir, arguments)
    }

    pub(crate) fn assert_wg(&self, arguments: &[&str]) -> String {
        let output = self.wg(arguments);
        assert!(output.status.success(), "wg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes a file that `wg` can read.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn device(name: &str) -> DeviceName {
    name.parse().unwrap()
}

/// Starts the example `serve`, which `cargo test` builds beside the tests; `by` is a program that starts it.
pub(crate) fn spawn_server(by: &[&str], control: &Path, uapi_dir: &Path) -> Child {
    let server = server();
    let words: Vec<&OsStr> = by.iter().map(OsStr::new).chain([server.as_os_str()]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(control).arg(uapi_dir).stderr(Stdio::piped()).spawn().unwrap()
}

/// The same, asked to become a user.
pub(crate) fn spawn_server_for(user: Option<&str>, control: &Path, uapi_dir: &Path) -> Child {
    let mut command = Command::new(server());
    command.arg(control).arg(uapi_dir).args(user).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn server() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let server = tests.parent().unwrap().parent().unwrap().join("examples/serve");
    assert!(server.exists(), "{} is not built: cargo build -p sixfold-tunnel --examples", server.display());
    server
}

/// Runs `wg`, which looks in /run/wireguard and nowhere else: in a mount namespace where that is `directory`.
pub(crate) fn wg(directory: &Path, arguments: &[&str]) -> Output {
    let script = "mount -t tmpfs none /run && mkdir /run/wireguard && mount --bind \"$0\" /run/wireguard && exec wg \"$@\"";
    let directory = directory.to_str().unwrap();
    let arguments: Vec<&str> =
        ["-m", "sh", "-c", script, directory].into_iter().chain(arguments.iter().copied()).collect();
    output("unshare", &arguments)
}

/// A private key and its public key, in base64, by `wg` itself.
pub(crate) fn key_pair() -> [String; 2] {
    let private = run("wg", &["genkey"]).trim().to_owned();
    let public = run("sh", &["-c", &format!("echo {private} | wg pubkey")]).trim().to_owned();
    [private, public]
}

/// Opens a persistent TUN without packet information in the current namespace.
pub(crate) fn open_tun(name: &str) -> OwnedFd {
    open_tuntap(name, libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR)
}

pub(crate) fn open_tuntap(name: &str, flags: libc::c_int) -> OwnedFd {
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: all zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is and outlives the call.
    let made = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    assert_eq!(made, 0, "TUNSETIFF: {}", std::io::Error::last_os_error());
    // SAFETY: TUNSETPERSIST takes a number.
    let kept = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETPERSIST, 1) };
    assert_eq!(kept, 0, "TUNSETPERSIST: {}", std::io::Error::last_os_error());
    tun.into()
}
