//! Sends a volley: twenty echo requests to each of many destinations, from the namespace it is started in.
//!
//! It is this test program again, started by `lab exec` with the volley in its environment: only so it is in a node's
//! namespaces. A volley has a number, which each of its packets carries as the ICMPv6 identifier.

use std::fs;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, socket,
};

use crate::ground::Up;

/// Echo requests to each destination.
pub(super) const PROBES: u16 = 20;

/// Says to this program that it is to send: a number, and a file of destinations, a line each.
const NUMBER: &str = "SIXFOLD_TEST_VOLLEY";
const FILE: &str = "SIXFOLD_TEST_DESTINATIONS";

/// Between two pauses: a burst that the queues on the way can hold.
const BURST: usize = 64;
const PAUSE: Duration = Duration::from_micros(400);

/// A place of the lab, and a namespace there if not its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct From {
    pub(super) place: String,
    pub(super) netns: Option<String>,
}

impl From {
    pub(super) fn new(place: &str, netns: Option<&str>) -> Self {
        Self { place: place.to_owned(), netns: netns.map(str::to_owned) }
    }

    /// Runs a shell line there.
    pub(super) fn says(&self, lab: &Up, line: &str) -> String {
        let shell = ["sh", "-euc", line];
        match &self.netns {
            None => lab.says(&self.place, &shell),
            Some(netns) => lab.says(&self.place, &[&["ip", "netns", "exec", netns][..], &shell].concat()),
        }
    }
}

/// A volley as its sender says it went.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) from: From,
    pub(super) number: u16,
    /// Probes that the sender's kernel took.
    pub(super) taken: u64,
    /// Probes that it refused: its own routes or firewall stop them.
    pub(super) refused: u64,
}

/// Sends from there, and waits until the sender is done: each probe was taken by its kernel, or refused.
pub(super) fn send(lab: &Up, from: &From, (number, to): (u16, &[Ipv6Addr])) -> Sent {
    let list = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = to.iter().map(Ipv6Addr::to_string).collect();
    fs::write(list.path(), lines.join("\n")).unwrap();
    let (file, program) = (list.path().display(), program());
    let line = format!("{NUMBER}={number} {FILE}={file} {program} --exact volley::is_sent --nocapture");
    let said = from.says(lab, &line);
    let told = said.lines().find_map(|line| line.strip_prefix("@ sent ")?.split_once(" refused "));
    let (taken, refused) = told.unwrap_or_else(|| panic!("{from:?}: {said}"));
    let sent =
        Sent { from: from.clone(), number, taken: taken.parse().unwrap(), refused: refused.parse().unwrap() };
    assert_eq!(sent.taken + sent.refused, u64::from(PROBES) * to.len() as u64, "{sent:?}");
    sent
}

/// This program's file: its folder is the same in every place.
pub(super) fn program() -> String {
    std::env::current_exe().unwrap().display().to_string()
}

/// Not a test by itself: sends, where this program was started to.
#[test]
fn is_sent() {
    let (Ok(number), Ok(file)) = (std::env::var(NUMBER), std::env::var(FILE)) else { return };
    let (sent, refused) = volley(number.parse().unwrap(), Path::new(&file));
    println!("\n@ sent {sent} refused {refused}");
}

fn volley(number: u16, file: &Path) -> (usize, usize) {
    let text = fs::read_to_string(file).unwrap();
    let to: Vec<Ipv6Addr> = text.lines().map(|line| line.parse().unwrap()).collect();
    let (family, kind) = (AddressFamily::Inet6, SockType::Raw);
    let socket =
        socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6).expect("raw sockets need root");
    let (mut sent, mut refused) = (0, 0);
    for probe in 0..PROBES {
        for address in &to {
            // The kernel puts in the checksum of an echo request (RFC 4443, 4.1).
            let mut bytes = vec![128, 0, 0, 0];
            bytes.extend(number.to_be_bytes());
            bytes.extend(probe.to_be_bytes());
            let address = SockaddrIn6::from(SocketAddrV6::new(*address, 0, 0, 0));
            // Refused where the sender's own firewall or routes stop it: that is an answer too.
            match sendto(socket.as_raw_fd(), &bytes, &address, MsgFlags::empty()) {
                Ok(_) => sent += 1,
                Err(Errno::EACCES | Errno::EPERM | Errno::ENETUNREACH | Errno::EHOSTUNREACH) => refused += 1,
                // It asks for more neighbours than it may keep: the router, of its segment.
                Err(Errno::ENOBUFS) => refused += 1,
                Err(errno) => panic!("{sent} sent, {refused} refused, and then {errno}"),
            }
            if (sent + refused) % BURST == 0 {
                thread::sleep(PAUSE);
            }
        }
    }
    (sent, refused)
}
