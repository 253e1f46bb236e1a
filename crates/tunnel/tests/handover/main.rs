//! A tunnel process ends, and another one goes on with its devices: killed and started again by a service manager that kept
//! their descriptors, or succeeded while it runs. The far end is a process of its own that nobody touches. Needs root.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod probe;
mod service;
#[path = "../support/mod.rs"]
mod support;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, socket};
use nix::unistd::Pid;
use probe::{Gaps, Stream};
use service::Service;
use sixfold_tunnel::client;
use sixfold_tunnel::memo::FORM;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::*;

/// Two devices, each of a process of its own; the near one is the one that ends.
struct Ends {
    near: Tunnel,
    far: Tunnel,
    names: [String; 2],
    inner: [Namespace; 2],
    outer: [Namespace; 2],
}

const PORTS: [u16; 2] = [51820, 51821];

impl Ends {
    fn new(tag: &str) -> Self {
        Self::with(tag, Tunnel::start_giving_up())
    }

    /// The near one is started by a service manager.
    fn kept(tag: &str, service: &Service) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), mode).unwrap();
        let near = Tunnel::start_in(directory, |control, uapi_dir| service.start(control, uapi_dir));
        let ends = Self::with(tag, near);
        let part = |part| format!("{}.{part}", ends.names[0]);
        wait_for("the store", || service.names() == ["memo", "tun", "udp"].map(part));
        // What is known of the session is written a second later.
        std::thread::sleep(Duration::from_millis(1500));
        ends
    }

    fn with(tag: &str, near: Tunnel) -> Self {
        let inner = ["i1", "i2"].map(|end| Namespace::new(&format!("{tag}{end}")));
        let outer = ["o1", "o2"].map(|end| Namespace::new(&format!("{tag}{end}")));
        outer[0].join(&outer[1], [1, 2]);
        let (names, far) = (["1", "2"].map(|end| format!("wg-{tag}{end}")), Tunnel::start());
        let keys = [key_pair(), key_pair()];
        for (end, tunnel) in [&near, &far].into_iter().enumerate() {
            tunnel.add(&names[end], &inner[end], &outer[end], PORTS[end]);
            let n = 2 - end;
            inner[end].ip(&format!("address add 2001:db8:6::{}/64 dev {} nodad", end + 1, names[end]));
            let conf = format!(
                "[Interface]\nPrivateKey = {}\n[Peer]\nPublicKey = {}\nEndpoint = [2001:db8::{n}]:{}\n\
                 AllowedIPs = 2001:db8:6::{n}/128\n",
                keys[end][0],
                keys[1 - end][1],
                PORTS[1 - end],
            );
            let file = tunnel.file("wg.conf", &conf);
            tunnel.assert_wg(&["setconf", &names[end], &file]);
        }
        inner[0].assert_ping("2001:db8:6::2");
        Self { near, far, names, inner, outer }
    }

    /// What `wg` says of the near end but for the counts.
    fn shown(&self) -> Vec<String> {
        let what =
            ["private-key", "listen-port", "peers", "endpoints", "allowed-ips", "persistent-keepalive"];
        what.map(|what| self.near.assert_wg(&["show", &self.names[0], what])).to_vec()
    }

    /// Another process succeeds the near one, which ends.
    fn hand_over(&mut self) {
        let successor = spawn_successor(&self.near);
        let mut before = std::mem::replace(&mut self.near.child, successor);
        let ended = wait_at_most(&mut before);
        assert_eq!(ended, Some(0), "the one before ends in peace");
        assert_eq!(client::ping(&self.near.control).unwrap().pid, self.near.child.id());
    }

    /// The near one is ended, and another one started at once with what is kept.
    fn restart(&mut self, service: &Service, by: Signal) {
        kill(Pid::from_raw(self.near.child.id() as i32), by).unwrap();
        self.near.child.wait().unwrap();
        self.near.child = service.start(&self.near.control, &self.near.uapi_dir);
        wait_for("the next process", || client::ping(&self.near.control).is_ok());
    }
}

fn spawn_successor(before: &Tunnel) -> Child {
    let mut command = Command::new(server());
    command.arg("--succeed").args([&before.control, &before.uapi_dir]).arg("65534");
    command.stderr(Stdio::piped()).spawn().unwrap()
}

fn wait_at_most(child: &mut Child) -> Option<i32> {
    let mut code = None;
    wait_for("its end", || match child.try_wait().unwrap() {
        Some(status) => {
            code = status.code();
            true
        }
        None => false,
    });
    code
}

/// A client of the control socket that says what it likes.
struct Raw(OwnedFd);

impl Raw {
    fn to(control: &Path) -> Self {
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        connect(socket.as_raw_fd(), &UnixAddr::new(control).unwrap()).unwrap();
        Self(socket)
    }

    fn ask(&self, words: &str) -> String {
        send(self.0.as_raw_fd(), words.as_bytes(), MsgFlags::empty()).unwrap();
        let mut reply = [0; 4096];
        let length = recv(self.0.as_raw_fd(), &mut reply, MsgFlags::empty()).unwrap();
        String::from_utf8(reply[..length].to_vec()).unwrap()
    }
}

#[test]
fn a_successor_goes_on_with_all_that_was_there() {
    let mut ends = Ends::new("ha");
    let before = ends.shown();
    for _ in 0..3 {
        ends.hand_over();
        assert_eq!(ends.shown(), before);
        ends.inner[0].assert_ping("2001:db8:6::2");
        ends.inner[1].assert_ping("2001:db8:6::1");
    }
    // The last one has the files of its sockets, and takes them with it but for that in a folder of another user's.
    kill(Pid::from_raw(ends.near.child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(wait_at_most(&mut ends.near.child), Some(0));
    assert!(!ends.near.uapi_dir.join(format!("{}.sock", ends.names[0])).exists());
}

#[test]
fn a_stream_survives_that_its_process_is_succeeded() {
    let mut ends = Ends::new("hb");
    let stream = Stream::begin(&ends.inner, "2001:db8:6::2");
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(300));
        ends.hand_over();
    }
    std::thread::sleep(Duration::from_millis(300));
    println!("bytes that arrived as they were sent, from either end: {:?}", stream.finish());
}

#[test]
fn a_stream_survives_that_its_process_is_killed() {
    let service = Service::new();
    let mut ends = Ends::kept("hc", &service);
    let before = ends.shown();
    let stream = Stream::begin(&ends.inner, "2001:db8:6::2");
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(1500));
        ends.restart(&service, Signal::SIGKILL);
    }
    std::thread::sleep(Duration::from_millis(300));
    println!("bytes that arrived as they were sent, from either end: {:?}", stream.finish());
    assert_eq!(ends.shown(), before);
    let status = client::status(&ends.far.control, &device(&ends.names[1])).unwrap();
    assert!(status.peers[0].handshake_age_secs.unwrap() < 5, "the next process called");
}

#[test]
fn gaps_are_printed() {
    let mut ends = Ends::new("hd");
    for round in 0..5 {
        let gaps = Gaps::begin(&ends.inner);
        std::thread::sleep(Duration::from_millis(300));
        ends.hand_over();
        std::thread::sleep(Duration::from_millis(500));
        println!("handover {round}: {}", gaps.finish());
    }
    drop(ends);
    let service = Service::new();
    let mut ends = Ends::kept("he", &service);
    for (by, rounds) in [(Signal::SIGTERM, 3), (Signal::SIGKILL, 3)] {
        for round in 0..rounds {
            let gaps = Gaps::begin(&ends.inner);
            std::thread::sleep(Duration::from_millis(1500));
            ends.restart(&service, by);
            std::thread::sleep(Duration::from_millis(500));
            println!("{by} and started by a service manager {round}: {}", gaps.finish());
        }
    }
}

#[test]
fn a_successor_of_another_form_is_refused_and_all_goes_on() {
    let ends = Ends::new("hf");
    let refused = Raw::to(&ends.near.control).ask(&format!("succeed {}", FORM + 1));
    assert!(refused.starts_with("error 71 a successor of form 2 cannot follow"), "{refused}");
    ends.inner[0].assert_ping("2001:db8:6::2");
}

#[test]
fn a_successor_that_ends_half_way_changes_nothing() {
    let ends = Ends::new("hg");
    let [form, give] = [format!("succeed {FORM}"), format!("give {}", ends.names[0])];
    let handshakes = || ends.near.assert_wg(&["show", &ends.names[0], "latest-handshakes"]);
    let before = handshakes();
    let list = |raw: &Raw| sixfold_tunnel::control::list_number(&raw.ask("list"));
    for last in ["take", "word", "end"] {
        let raw = Raw::to(&ends.near.control);
        assert_eq!([raw.ask(&form), raw.ask(&give)], ["ok", "ok"]);
        if last != "end" {
            let number = list(&raw);
            assert_eq!(raw.ask(&format!("take {number}")), "ok");
        }
        if last == "word" {
            send(raw.0.as_raw_fd(), b"dune", MsgFlags::empty()).unwrap();
        }
        drop(raw);
        ends.inner[0].assert_ping("2001:db8:6::2");
    }
    assert_eq!(handshakes(), before, "the session is the same");
}

#[test]
fn what_is_configured_meanwhile_is_not_lost() {
    let ends = Ends::new("hh");
    let raw = Raw::to(&ends.near.control);
    assert_eq!(raw.ask(&format!("succeed {FORM}")), "ok");
    let number = sixfold_tunnel::control::list_number(&raw.ask("list"));
    let [_, peer] = key_pair();
    ends.near.assert_wg(&["set", &ends.names[0], "peer", &peer, "allowed-ips", "2001:db8:9::/48"]);
    assert_eq!(
        raw.ask(&format!("take {number}")),
        "error 11 devices changed while they were passed on: ask again"
    );
    ends.inner[0].assert_ping("2001:db8:6::2");
}

#[test]
fn nobody_succeeds_a_process_that_a_service_manager_keeps() {
    let service = Service::new();
    let ends = Ends::kept("hi", &service);
    let mut successor = spawn_successor(&ends.near);
    assert_eq!(wait_at_most(&mut successor), Some(3));
    let mut words = String::new();
    std::io::Read::read_to_string(successor.stderr.as_mut().unwrap(), &mut words).unwrap();
    assert!(words.contains("cannot be succeeded") && words.contains("carries on"), "{words}");
    ends.inner[0].assert_ping("2001:db8:6::2");
}

#[test]
fn a_removed_device_is_not_kept_and_its_port_and_tun_are_free() {
    let service = Service::new();
    let ends = Ends::kept("hj", &service);
    for _ in 0..5 {
        client::remove(&ends.near.control, &device(&ends.names[0])).unwrap();
        wait_for("the store's end", || service.names().is_empty());
        // What another test forks just now has all that is open, for a moment.
        wait_for("a free TUN", || {
            ends.inner[0].ip(&format!("link show {}", ends.names[0])).contains("NO-CARRIER")
        });
        wait_for("a free port", || {
            ends.outer[0].inside(|| std::net::UdpSocket::bind(("::", PORTS[0])).is_ok())
        });
        ends.near.add(&ends.names[0], &ends.inner[0], &ends.outer[0], PORTS[0]);
        wait_for("the store", || service.names().len() == 3);
    }
}

#[test]
fn what_is_kept_in_part_is_let_go_of_and_made_anew() {
    let service = Service::new();
    let mut ends = Ends::kept("hk", &service);
    service.lose(&format!("{}.memo", ends.names[0]));
    ends.restart(&service, Signal::SIGKILL);
    wait_for("the store", || service.names().is_empty());
    assert_eq!(client::list(&ends.near.control).unwrap(), []);
    ends.near.add(&ends.names[0], &ends.inner[0], &ends.outer[0], PORTS[0]);
}
