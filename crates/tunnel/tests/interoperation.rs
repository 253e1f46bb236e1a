//! Our device and an implementation that is not ours, `wireguard-go`, each as initiator. Needs root and the
//! Debian package wireguard-go.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod support;

use std::process::{Child, Command, Stdio};
use support::*;

/// A `wireguard-go` that makes its TUN and its socket in one namespace.
struct Foreign {
    child: Child,
    sockets: tempfile::TempDir,
}

impl Foreign {
    fn start(namespace: &Namespace, name: &str) -> Self {
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
        let foreign = Self { child, sockets };
        wait_for("wireguard-go", || foreign.sockets.path().join(format!("{name}.sock")).exists());
        foreign
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Our device in the first namespace and theirs in the second, their cable between them.
struct Ends {
    tunnel: Tunnel,
    foreign: Foreign,
    names: [String; 2],
    namespaces: [Namespace; 2],
}

impl Ends {
    fn new(tag: &str) -> Self {
        let namespaces = ["1", "2"].map(|end| Namespace::new(&format!("{tag}{end}")));
        namespaces[0].join(&namespaces[1], [1, 2]);
        let names = ["o", "f"].map(|end| format!("wg-{tag}{end}"));
        let tunnel = Tunnel::start();
        tunnel.add(&names[0], &namespaces[0], &namespaces[0], 51820);
        let foreign = Foreign::start(&namespaces[1], &names[1]);
        for end in 0..2 {
            let (namespace, name) = (&namespaces[end], &names[end]);
            namespace.ip(&format!("address add 198.51.100.{}/24 dev {name}", end + 1));
            namespace.ip(&format!("address add 2001:db8:6::{}/64 dev {name} nodad", end + 1));
            namespace.ip(&format!("link set {name} mtu {MTU} up"));
        }
        Self { tunnel, foreign, names, namespaces }
    }

    /// Both sides with a preshared key; only `initiator` knows where the other is.
    fn configure(&self, initiator: usize) {
        let keys = [key_pair(), key_pair()];
        let preshared = run("wg", &["genpsk"]);
        let hosts = ["192.0.2.1", "[2001:db8::2]"];
        let directories = [self.tunnel.uapi_dir.as_path(), self.foreign.sockets.path()];
        for end in [1 - initiator, initiator] {
            let far = 1 - end;
            let mut text = format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {}\n[Peer]\nPublicKey = {}\nPresharedKey = {preshared}\n\
                 AllowedIPs = 198.51.100.{n}/32, 2001:db8:6::{n}/128\n",
                keys[end][0],
                51820 + end,
                keys[far][1],
                n = far + 1
            );
            if end == initiator {
                text.push_str(&format!("Endpoint = {}:{}\n", hosts[far], 51820 + far));
            }
            let file = self.tunnel.file(&format!("{end}.conf"), &text);
            let output = wg(directories[end], &["setconf", &self.names[end], &file]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }

    fn assert_passes(&self, initiator: usize) {
        self.configure(initiator);
        let far = 2 - initiator; // host part of the other side
        self.namespaces[initiator].assert_ping(&format!("198.51.100.{far}"));
        self.namespaces[initiator].assert_ping(&format!("2001:db8:6::{far}"));
        self.namespaces[1 - initiator].assert_ping(&format!("2001:db8:6::{}", initiator + 1));
        let shown = wg(self.foreign.sockets.path(), &["show", &self.names[1], "latest-handshakes"]);
        assert!(!String::from_utf8_lossy(&shown.stdout).ends_with("\t0\n"), "they see the handshake too");
    }
}

#[test]
fn our_device_calls_wireguard_go() {
    Ends::new("q").assert_passes(0);
}

#[test]
fn wireguard_go_calls_our_device() {
    Ends::new("r").assert_passes(1);
}
