//! Our device and implementations that are not ours: `wireguard-go` here, and the kernel's own. Where this kernel has
//! none, that part runs itself on Debian's stock kernel in a virtual machine.

use crate::support::*;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where each end listens at first; ours is the first.
const PORTS: [usize; 2] = [51820, 51821];
const MODULES: &str = "wireguard,veth,tun";
/// Keys are to change after two minutes: longer than that is never.
const RENEWAL: Duration = Duration::from_secs(180);

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Go,
    Kernel,
}

/// A device that is not ours.
enum Foreign {
    /// A `wireguard-go` that makes its TUN and its socket in one namespace; `wg` finds it in the folder.
    Go {
        child: Child,
        sockets: tempfile::TempDir,
    },
    Kernel {
        namespace: String,
    },
}

impl Foreign {
    fn start(kind: Kind, namespace: &Namespace, name: &str) -> Self {
        match kind {
            Kind::Go => Self::start_go(namespace, name),
            Kind::Kernel => {
                namespace.ip(&format!("link add {name} type wireguard"));
                Self::Kernel { namespace: namespace.0.clone() }
            }
        }
    }

    fn start_go(namespace: &Namespace, name: &str) -> Self {
        let found = Command::new("wireguard-go").arg("--version").output();
        assert!(found.is_ok(), "this test needs wireguard-go: apt-get install wireguard-go");
        let sockets = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs none /run && mkdir /run/wireguard && mount --bind \"$0\" /run/wireguard && \
                      exec wireguard-go -f \"$1\"";
        let child = Command::new("ip")
            .args(["netns", "exec", &namespace.0, "unshare", "-m", "sh", "-c", script])
            .arg(sockets.path())
            .arg(name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let socket = sockets.path().join(format!("{name}.sock"));
        let foreign = Self::Go { child, sockets };
        wait_for("wireguard-go", || socket.exists());
        foreign
    }

    fn assert_wg(&self, arguments: &[&str]) -> String {
        let output = match self {
            Self::Go { sockets, .. } => wg(sockets.path(), arguments),
            Self::Kernel { namespace } => {
                output("ip", &[&["netns", "exec", namespace, "wg"], arguments].concat())
            }
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Self::Go { child, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Our device in the first namespace and theirs in the second, their cable between them.
struct Ends {
    tunnel: Tunnel,
    foreign: Foreign,
    names: [String; 2],
    namespaces: [Namespace; 2],
    /// Which of them is configured to know where the other is; 0 is ours.
    initiator: usize,
}

impl Ends {
    /// Both sides with a preshared key; the outer packets are of IPv6 if our device is the initiator, of IPv4 otherwise.
    fn new(kind: Kind, initiator: usize) -> Self {
        let tag = format!("{}{initiator}", if kind == Kind::Go { "g" } else { "k" });
        let namespaces = ["1", "2"].map(|end| Namespace::new(&format!("{tag}{end}")));
        namespaces[0].join(&namespaces[1], [1, 2]);
        let names = ["o", "f"].map(|end| format!("wg-{tag}{end}"));
        let tunnel = Tunnel::start();
        tunnel.add(&names[0], &namespaces[0], &namespaces[0], PORTS[0] as u16);
        let foreign = Foreign::start(kind, &namespaces[1], &names[1]);
        for end in 0..2 {
            let (namespace, name) = (&namespaces[end], &names[end]);
            namespace.ip(&format!("address add 198.51.100.{}/24 dev {name}", end + 1));
            namespace.ip(&format!("address add 2001:db8:6::{}/64 dev {name} nodad", end + 1));
            namespace.ip(&format!("link set {name} mtu {MTU} up"));
        }
        let ends = Self { tunnel, foreign, names, namespaces, initiator };
        ends.configure();
        ends
    }

    fn configure(&self) {
        let keys = [key_pair(), key_pair()];
        let preshared = run("wg", &["genpsk"]);
        for end in [1 - self.initiator, self.initiator] {
            let far = 1 - end;
            let mut text = format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {}\n[Peer]\nPublicKey = {}\nPresharedKey = {preshared}\n\
                 AllowedIPs = 198.51.100.{n}/32, 2001:db8:6::{n}/128\n",
                keys[end][0],
                PORTS[end],
                keys[far][1],
                n = far + 1
            );
            if end == self.initiator {
                text.push_str(&format!("Endpoint = {}\n", self.endpoint(far + 1, PORTS[far])));
            }
            let file = self.tunnel.file(&format!("{end}.conf"), &text);
            self.assert_wg(end, &["setconf", &self.names[end], &file]);
        }
    }

    /// Where an end is reached by that port while the host part of its addresses is that number.
    fn endpoint(&self, host: usize, port: usize) -> String {
        if self.initiator == 0 {
            format!("[2001:db8::{host}]:{port}")
        } else {
            format!("192.0.2.{host}:{port}")
        }
    }

    fn assert_wg(&self, end: usize, arguments: &[&str]) -> String {
        if end == 0 { self.tunnel.assert_wg(arguments) } else { self.foreign.assert_wg(arguments) }
    }

    /// A value that `wg` shows of the one peer that an end has.
    fn of_peer(&self, end: usize, what: &str) -> String {
        let shown = self.assert_wg(end, &["show", &self.names[end], what]);
        shown.trim_end().split_once('\t').unwrap().1.to_owned()
    }

    /// When each end completed its last handshake, as it tells it.
    fn handshakes(&self) -> [String; 2] {
        [0, 1].map(|end| self.of_peer(end, "latest-handshakes"))
    }

    /// An echo from one end to the other and back comes at the first time, of either family.
    fn assert_echoes(&self, from: usize) {
        for far in [format!("198.51.100.{}", 2 - from), format!("2001:db8:6::{}", 2 - from)] {
            let answered = output(
                "ip",
                &["netns", "exec", &self.namespaces[from].0, "ping", "-n", "-c", "1", "-W", "5", &far],
            );
            let words = String::from_utf8_lossy(&answered.stdout);
            assert!(
                answered.status.success(),
                "{} from end {from}: {words}\n{}\n{}",
                self.names[0],
                self.assert_wg(0, &["show", &self.names[0]]),
                self.assert_wg(1, &["show", &self.names[1]]),
            );
        }
    }

    /// One end is somewhere else all at once, and speaks first; the other follows it there. Theirs has another port then,
    /// too: `wireguard-go` of 2022 sends by no new IPv4 address before it has a new socket, to its own kind neither.
    fn assert_roams(&self, end: usize) {
        let (namespace, link, old, new) = (&self.namespaces[end], format!("v{}", end + 1), end + 1, end + 11);
        namespace.ip(&format!("address del 192.0.2.{old}/24 dev {link}"));
        namespace.ip(&format!("address del 2001:db8::{old}/64 dev {link}"));
        namespace.ip(&format!("address add 192.0.2.{new}/24 dev {link}"));
        namespace.ip(&format!("address add 2001:db8::{new}/64 dev {link} nodad"));
        let port = PORTS[end] + 10 * end;
        if end == 1 {
            self.foreign.assert_wg(&["set", &self.names[1], "listen-port", &port.to_string()]);
        }
        self.assert_echoes(end);
        assert_eq!(self.of_peer(1 - end, "endpoints"), self.endpoint(new, port), "{}", self.names[0]);
        self.assert_echoes(1 - end);
    }

    /// Echoes pass both ways all the time until both ends have other keys, and none of them is lost.
    fn assert_keys_change(&self) {
        let (before, started) = (self.handshakes(), Instant::now());
        assert!(before.iter().all(|time| time != "0"), "each end sees the handshake: {before:?}");
        while self.handshakes().iter().zip(&before).any(|(now, before)| now == before) {
            assert!(started.elapsed() < RENEWAL, "{}: keys are still those of {before:?}", self.names[0]);
            thread::sleep(Duration::from_secs(1));
            [0, 1].iter().for_each(|from| self.assert_echoes(*from));
        }
        [0, 1].iter().for_each(|from| self.assert_echoes(*from));
    }
}

fn assert_lives_on(kind: Kind, initiator: usize) {
    let ends = Ends::new(kind, initiator);
    ends.assert_echoes(initiator);
    ends.assert_echoes(1 - initiator);
    ends.assert_roams(1 - initiator);
    ends.assert_roams(initiator);
    ends.assert_keys_change();
}

fn has_wireguard() -> bool {
    output("unshare", &["--net", "ip", "link", "add", "w0", "type", "wireguard"]).status.success()
}

fn in_a_virtual_machine(test: &str) {
    let program = std::env::current_exe().unwrap();
    let mut machine = Command::new(env!("CARGO"));
    machine.args(["xtask", "vm", "--modules", MODULES, "--"]).arg(program);
    machine.args(["--exact", test, "--nocapture"]);
    let output = machine.output().expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "on the stock kernel (cargo xtask vm):\n{text}");
    assert!(text.contains("1 passed"), "the machine did not run the test:\n{text}");
}

/// Handshakes with each side as the initiator, both directions, roaming of either side, and keys that change after two
/// minutes, with everybody at the same time.
#[test]
fn others_and_ours_shake_hands_roam_and_change_keys() {
    let (is_guest, has_wireguard) = (std::env::var_os("VM_OUT").is_some(), has_wireguard());
    thread::scope(|scope| {
        for initiator in 0..2 {
            if !is_guest {
                scope.spawn(move || assert_lives_on(Kind::Go, initiator));
            }
            if has_wireguard {
                scope.spawn(move || assert_lives_on(Kind::Kernel, initiator));
            }
        }
        if !has_wireguard {
            assert!(!is_guest, "the stock kernel has WireGuard: was its module loaded?");
            in_a_virtual_machine("interoperation::others_and_ours_shake_hands_roam_and_change_keys");
        }
    });
}
