//! A member and two ways out of its network, with real packets: it sends by one and takes from both, and `wg` minds none
//! of it. Needs root.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod support;

use sixfold_tunnel::key::PublicKey;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use support::*;

/// A host that both ways out lead to.
const HOST: [&str; 2] = ["203.0.113.9", "2001:db8:9::9"];
/// The member, inside its tunnel.
const MEMBER: [&str; 2] = ["198.51.100.1", "2001:db8:6::1"];

/// Device 0 is the member's, 1 and 2 are those of the ways out; all sockets are in one namespace.
struct Ground {
    tunnel: Tunnel,
    names: [String; 3],
    keys: [[String; 2]; 3],
    inner: [Namespace; 3],
    host: Namespace,
    _outer: Namespace,
}

impl Ground {
    fn new(tag: &str) -> Self {
        let tunnel = Tunnel::start();
        let outer = Namespace::new(&format!("{tag}o"));
        let inner = ["m", "1", "2"].map(|end| Namespace::new(&format!("{tag}{end}")));
        let host = Namespace::new(&format!("{tag}h"));
        let names = ["m", "1", "2"].map(|end| format!("wg-{tag}{end}"));
        for end in 0..3 {
            tunnel.add(&names[end], &inner[end], &outer, 51820 + end as u16);
        }
        for address in [format!("{}/32", MEMBER[0]), format!("{}/128", MEMBER[1])] {
            inner[0].ip(&format!("address add {address} dev {}", names[0]));
        }
        inner[0].ip(&format!("route add default dev {}", names[0]));
        inner[0].ip(&format!("-6 route add default dev {}", names[0]));
        for (end, prefix) in [(1, 1), (2, 2)] {
            way_out(&inner[end], &host, (&names[end], prefix));
        }
        host.ip(&format!("address add {}/32 dev lo", HOST[0]));
        host.ip(&format!("address add {}/128 dev lo", HOST[1]));
        Self { tunnel, names, keys: [key_pair(), key_pair(), key_pair()], inner, host, _outer: outer }
    }

    fn start(tag: &str) -> Self {
        let ground = Self::new(tag);
        let everywhere = "AllowedIPs = 0.0.0.0/0, ::/0";
        ground.setconf(0, &[(1, everywhere), (2, "")]);
        let of_member = format!("AllowedIPs = {}/32, {}/128", MEMBER[0], MEMBER[1]);
        (1..3).for_each(|end| ground.setconf(end, &[(0, &of_member)]));
        ground
    }

    fn setconf(&self, end: usize, peers: &[(usize, &str)]) {
        let mut text =
            format!("[Interface]\nPrivateKey = {}\nListenPort = {}\n", self.keys[end][0], 51820 + end);
        for (peer, allowed) in peers {
            let key = &self.keys[*peer][1];
            text += &format!("[Peer]\nPublicKey = {key}\nEndpoint = 127.0.0.1:{}\n{allowed}\n", 51820 + peer);
        }
        let file = self.tunnel.file(&format!("{end}.conf"), &text);
        self.tunnel.assert_wg(&["setconf", &self.names[end], &file]);
    }

    /// Tells the member's device, as the agent does, what it sends to a way out and what it only takes from it.
    fn member(&self, sends: usize, takes: Option<usize>) {
        let mut lines = String::new();
        for (way, key) in [(Some(sends), "allowed_ip"), (takes, "accepted_ip")] {
            let Some(way) = way else { continue };
            let public = PublicKey::from_base64(&self.keys[way][1]).unwrap().to_hex();
            lines += &format!("public_key={public}\nreplace_allowed_ips=true\n{key}=0.0.0.0/0\n{key}=::/0\n");
        }
        let answer = self.ask(&format!("set=1\n{lines}\n"));
        assert_eq!(answer, "errno=0\n\n");
    }

    fn ask(&self, request: &str) -> String {
        let socket = self.tunnel.uapi_dir.join(format!("{}.sock", self.names[0]));
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// By which of the two the host answers the member.
    fn answers_by(&self, way: usize) {
        self.host.ip(&format!("route replace {}/32 via 192.0.{way}.1", MEMBER[0]));
        self.host.ip(&format!("-6 route replace {}/128 via 2001:db8:{way}::1", MEMBER[1]));
    }
}

/// Joins a way out and the host, and has it pass packets on between its tunnel and there.
fn way_out(inner: &Namespace, host: &Namespace, (tunnel, number): (&str, u8)) {
    let (here, there) = (format!("v{number}"), format!("h{number}"));
    run(
        "ip",
        &["link", "add", &here, "netns", &inner.0, "type", "veth", "peer", "name", &there, "netns", &host.0],
    );
    for (namespace, link, last) in [(inner, &here, 1), (host, &there, 2)] {
        namespace.ip(&format!("address add 192.0.{number}.{last}/24 dev {link}"));
        namespace.ip(&format!("address add 2001:db8:{number}::{last}/64 dev {link} nodad"));
        namespace.ip(&format!("link set {link} up"));
    }
    for (member, host) in [(format!("{}/32", MEMBER[0]), HOST[0]), (format!("{}/128", MEMBER[1]), HOST[1])] {
        let (family, via) = match member.contains(':') {
            true => ("-6", format!("2001:db8:{number}::2")),
            false => ("-4", format!("192.0.{number}.2")),
        };
        inner.ip(&format!("{family} route add {member} dev {tunnel}"));
        inner.ip(&format!("{family} route add {host} via {via}"));
    }
    inner.inside(|| {
        for switch in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/{switch}"), "1").unwrap();
        }
    });
}

#[test]
fn whichever_way_out_answers_while_a_member_switches_it_takes_the_answer() {
    let ground = Ground::start("x");
    for (sends, takes) in [(1, 2), (2, 1)] {
        ground.member(sends, Some(takes));
        for answers in [1, 2] {
            ground.answers_by(answers);
            HOST.iter().for_each(|host| ground.inner[0].assert_ping(host));
        }
    }
    // As WireGuard has it: a source comes from its owner alone.
    ground.setconf(0, &[(1, "AllowedIPs = 0.0.0.0/0, ::/0"), (2, "")]);
    for (answers, succeeds) in [(1, true), (2, false)] {
        ground.answers_by(answers);
        for host in HOST {
            assert_eq!(ground.inner[0].ping(host, 1).status.success(), succeeds, "{host} by {answers}");
        }
    }
}

#[test]
fn wg_reads_and_sets_a_device_on_which_something_is_only_accepted() {
    let ground = Ground::start("y");
    ground.member(1, Some(2));
    let (name, standby) = (ground.names[0].as_str(), ground.keys[2][1].as_str());
    let answer = ground.ask("get=1\n\n");
    assert_eq!(answer.matches("\naccepted_ip=").count(), 2, "as our agent reads it");
    let shown = ground.tunnel.assert_wg(&["show", name]);
    assert_eq!(shown.matches("peer: ").count(), 2, "{shown}");
    let allowed = ground.tunnel.assert_wg(&["show", name, "allowed-ips"]);
    assert!(allowed.contains(&format!("{standby}\t(none)\n")), "{allowed}");
    assert_eq!(ground.tunnel.assert_wg(&["show", name, "dump"]).lines().count(), 3);
    ground.tunnel.assert_wg(&["show", "all", "dump"]);
    // What it does not speak of stays; where it says what a peer may bring, that is all.
    ground.tunnel.assert_wg(&["set", name, "peer", standby, "persistent-keepalive", "20"]);
    assert_eq!(ground.ask("get=1\n\n").matches("\naccepted_ip=").count(), 2);
    let file = ground.tunnel.file("same.conf", &ground.tunnel.assert_wg(&["showconf", name]));
    ground.tunnel.assert_wg(&["syncconf", name, &file]);
    assert_eq!(ground.ask("get=1\n\n").matches("\naccepted_ip=").count(), 0);
}
