//! Two hosts and a router, each a network namespace, made by `ip` and gone with the value.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use crate::probe::{Client, Shot, serve};
use sixfold_core::reach::Traffic;

pub(crate) const ROUTER: &str = "2001:db8:1::1";
pub(crate) const ROUTER_V4: &str = "192.0.2.1";
pub(crate) const HOST: &str = "2001:db8:2::2";
pub(crate) const HOST_V4: &str = "198.51.100.2";
/// The router has an `unreachable` route for these.
pub(crate) const NOWHERE: &str = "2001:db8:3::1";
pub(crate) const NOWHERE_V4: &str = "203.0.113.1";

const RULE: &str = "counter drop comment \"witness\"";

pub(crate) struct Ground {
    name: String,
    folder: tempfile::TempDir,
}

impl Ground {
    /// `a` and `b` with `r` between them; `label` is unique among the tests.
    pub(crate) fn new(label: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: run it as root");
        let name = format!("probe-{}-{label}", std::process::id());
        let ground = Self { name, folder: tempfile::tempdir().unwrap() };
        for part in ["a", "r", "b"] {
            run("ip", &format!("netns add {}", ground.netns(part)));
            ground.ip(part, "link set lo up");
            // Detection would leave addresses unusable for a second.
            ground.sysctl(part, "net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
        }
        ground.link("a", "2001:db8:1::", "192.0.2.");
        ground.link("b", "2001:db8:2::", "198.51.100.");
        ground.sysctl("r", "net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        for address in [HOST, HOST_V4] {
            // Neighbours find each other: on a link just made that may take a second, longer than a SYN is waited for.
            run("ip", &format!("netns exec {} ping -n -q -c 1 -w 10 {address}", ground.netns("a")));
        }
        ground.ip("r", &format!("route add unreachable {NOWHERE}/128"));
        ground.ip("r", &format!("route add unreachable {NOWHERE_V4}/32"));
        ground
    }

    fn link(&self, host: &str, net: &str, net_v4: &str) {
        let router = self.netns("r");
        self.ip(host, &format!("link add eth0 type veth peer name to-{host} netns {router}"));
        for (part, link, number) in [(host, "eth0".to_owned(), 2), ("r", format!("to-{host}"), 1)] {
            self.ip(part, &format!("addr add {net}{number}/64 dev {link} nodad"));
            self.ip(part, &format!("addr add {net_v4}{number}/24 dev {link}"));
            self.ip(part, &format!("link set {link} up"));
        }
        self.ip(host, &format!("route add default via {net}1"));
        self.ip(host, &format!("route add default via {net_v4}1"));
    }

    /// A probe at each of the two hosts.
    pub(crate) fn probes(&self) -> (Client, Client) {
        (self.probe("a", "a.sock").0, self.probe("b", "b.sock").0)
    }

    pub(crate) fn another_probe_at_a(&self) -> (Client, PathBuf) {
        self.probe("a", "other.sock")
    }

    fn probe(&self, part: &str, socket: &str) -> (Client, PathBuf) {
        let path = self.folder.path().join(socket);
        let netns = File::open(format!("/run/netns/{}", self.netns(part))).unwrap();
        serve_in(Some(netns), &path);
        (connect(&path), path)
    }

    /// Further addresses of the host, in both families.
    pub(crate) fn add_addresses_to_b(&self, [address, address_v4]: [&str; 2]) {
        self.ip("b", &format!("addr add {address}/64 dev eth0 nodad"));
        self.ip("b", &format!("addr add {address_v4}/24 dev eth0"));
    }

    /// From now on the router drops what it should forward, and counts it.
    pub(crate) fn count_and_drop_forwarded(&self) {
        self.rule("r", "forward", RULE);
    }

    /// From now on the router drops UDP and TCP that it should forward from `a`, and counts it.
    pub(crate) fn count_and_drop_transport(&self) {
        self.rule("r", "forward", &format!("iifname to-a meta l4proto {{ tcp, udp }} {RULE}"));
    }

    /// From now on the sender drops all that it sends but what neighbours need to find each other.
    pub(crate) fn drop_at_sender(&self) {
        self.rule("a", "output", "meta l4proto { tcp, udp } counter drop comment \"witness\"");
        self.rule("a", "output", "icmp type echo-request counter drop comment \"witness\"");
        self.rule("a", "output", "icmpv6 type echo-request counter drop comment \"witness\"");
    }

    /// From now on what opens connections is lost on the way, until so many bytes of it were.
    pub(crate) fn lose_first_syns(&self, bytes: u32) {
        let syns = "tcp flags & (syn | ack) == syn";
        self.rule(
            "r",
            "forward",
            &format!("{syns} quota until {bytes} bytes counter drop comment \"witness\""),
        );
    }

    fn rule(&self, part: &str, hook: &str, rule: &str) {
        let chain = format!("chain witness {{ type filter hook {hook} priority 0; {rule}\n }}\n");
        let script = format!("table inet witness {{ {chain} }}");
        let at = self.folder.path().join("rules.nft");
        std::fs::write(&at, script).unwrap();
        run("ip", &format!("netns exec {} nft -f {}", self.netns(part), at.display()));
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.counted("r")
    }

    pub(crate) fn dropped_at_sender(&self) -> u64 {
        self.counted("a")
    }

    /// The sum of the counters.
    fn counted(&self, part: &str) -> u64 {
        let text = run("ip", &format!("netns exec {} nft list chain inet witness witness", self.netns(part)));
        let after = text.split("counter packets ").skip(1);
        after.map(|rest| rest.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn netns(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    fn ip(&self, part: &str, words: &str) {
        run("ip", &format!("-n {} {words}", self.netns(part)));
    }

    fn sysctl(&self, part: &str, words: &str) {
        run("ip", &format!("netns exec {} sysctl -qw {words}", self.netns(part)));
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for part in ["a", "r", "b"] {
            let _ = Command::new("ip").args(["netns", "del", &self.netns(part)]).output();
        }
    }
}

/// Serves from a thread in that namespace. The thread ends with the tests.
fn serve_in(netns: Option<File>, path: &Path) {
    let path = path.to_owned();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        if let Some(netns) = netns {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
        }
        tell.send(()).unwrap();
        let error = serve(&path).unwrap_err();
        panic!("{error}: {:?}", std::error::Error::source(&error));
    });
    told.recv().unwrap();
}

fn connect(path: &Path) -> Client {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Client::connect(path) {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < until, "{error}: {:?}", std::error::Error::source(&error)),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn run(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Starts one test of this program as `nobody`, in a user and network namespace.
pub(crate) fn start_inside(test: &str) {
    assert!(nix::unistd::geteuid().is_root(), "this test changes to another user: run it as root");
    let folder = tempfile::tempdir().unwrap();
    // The program may be where nobody else may look.
    let program = folder.path().join("tests");
    std::fs::copy("/proc/self/exe", &program).unwrap();
    for path in [folder.path(), &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let words = "--reuid 65534 --regid 65534 --clear-groups unshare --user --map-root-user --net --";
    let mut command = Command::new("setpriv");
    command.args(words.split(' ')).arg(&program).args([test, "--exact", "--nocapture"]);
    let output = command.env("SIXFOLD_PROBE_INSIDE", "1").current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{error}");
}

/// What that test does there: a probe that shoots at itself.
pub(crate) fn inside(shots: &[Shot]) {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "65534", "1"], "nobody, and nobody else");
    run("ip", "link set lo up");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probe.sock");
    serve_in(None, &path);
    let mut client = connect(&path);
    client.listen(&[Traffic::Tcp(443), Traffic::Udp(9000)]).unwrap();
    for outcome in client.shoot(shots, Duration::from_secs(2)).unwrap() {
        assert_eq!((outcome.sent, outcome.answered), (3, 3), "{outcome:?}");
    }
    let arrivals = client.received().unwrap();
    assert!(arrivals.payloads.values().all(|count| *count == 3) && arrivals.payloads.len() == shots.len());
}
