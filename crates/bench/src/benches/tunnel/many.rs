//! Many devices of one tunnel process, each with one peer. They are told by the text protocol itself: a program for each
//! would take longer than what is measured.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::{setsockopt, sockopt};
use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::name::IfName;
use sixfold_kernel::sys::open_tun;
use sixfold_tunnel::client;
use sixfold_tunnel::status::Buffers;

use super::contender::MTU;
use super::load::inside;
use crate::failed::{Failed, chain};
use crate::ground::{Process, run, write};

/// Namespaces in which devices are: both ends of the cable, and a third one.
pub(super) const PLACES: [&str; 3] = ["one", "two", "three"];

/// One device and its peer.
pub(super) struct Single {
    pub(super) name: String,
    /// Where its socket is bound.
    pub(super) socket: SocketAddr,
    /// What its TUN has, with the length of the prefix that leads there; all of that is the peer's.
    pub(super) address: String,
    pub(super) number: u16,
    pub(super) peer: PublicKey,
    pub(super) endpoint: SocketAddr,
}

/// The private key of the device of that number at a place, the same in every run.
pub(super) fn secret(at: usize, number: u16) -> [u8; 32] {
    let mut bytes = [at as u8 + 1; 32];
    bytes[1..3].copy_from_slice(&number.to_be_bytes());
    bytes
}

pub(super) fn public(at: usize, number: u16) -> PublicKey {
    PrivateKey::from_bytes(secret(at, number)).public()
}

/// A process and where its devices are.
pub(super) struct Many {
    pub(super) process: Process,
    control: PathBuf,
    at: usize,
}

impl Many {
    /// Without a device, at one of the places.
    pub(super) fn start(at: usize) -> Result<Self, Failed> {
        let control = PathBuf::from(format!("/run/many-{}.tunnel", PLACES[at]));
        // What one of an earlier round left would be there at once.
        drop(std::fs::remove_file(&control));
        Ok(Self { process: Process::tunnel_at(&control)?, control, at })
    }

    /// Adds devices: TUNs that are up, with an address, a key and a peer.
    pub(super) fn add(&self, devices: &[Single]) -> Result<(), Failed> {
        inside(PLACES[self.at], || devices.iter().try_for_each(|device| self.host(device)))?;
        let (file, mut lines) = (PathBuf::from("/run/many.ip"), String::new());
        for Single { name, address, .. } in devices {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "addr add {address} dev {name} nodad\nlink set {name} mtu {MTU} up");
        }
        write(&file, &lines)?;
        run(&format!("ip -n {} -batch {}", PLACES[self.at], file.display()))?;
        devices.iter().try_for_each(|device| self.tell(device))
    }

    /// In the namespace in which it is called.
    fn host(&self, device: &Single) -> Result<(), Failed> {
        let name = &device.name;
        let link =
            IfName::try_from(name.as_str()).map_err(|error| Failed::meaningless(name, error.to_string()))?;
        let tun = open_tun(&link).map_err(|errno| Failed::system("open a TUN")(errno.into()))?;
        let udp = UdpSocket::bind(device.socket).map_err(Failed::system("bind a tunnel's socket"))?;
        let wanted = Buffers::WANTED as usize;
        setsockopt(&udp, sockopt::RcvBufForce, &wanted)
            .and_then(|()| setsockopt(&udp, sockopt::SndBufForce, &wanted))
            .map_err(|errno| Failed::system("enlarge a socket's buffers")(errno.into()))?;
        let name = name.parse().map_err(|_| Failed::meaningless(name, "it names no device"))?;
        client::add(&self.control, &name, MTU, tun.as_fd(), udp.as_fd())
            .map_err(|error| Failed::meaningless("this tunnel", chain(&error)))
    }

    fn tell(&self, device: &Single) -> Result<(), Failed> {
        let failed = || Failed::system(format!("configure {}", device.name));
        let path = format!("/run/wireguard/{}.sock", device.name);
        let mut socket = UnixStream::connect(Path::new(&path)).map_err(failed())?;
        let (host, length) = device.address.split_once('/').unwrap_or((&device.address, "128"));
        let request = format!(
            "set=1\nprivate_key={}\npublic_key={}\nendpoint={}\nallowed_ip={host}/{length}\n\n",
            hex(&secret(self.at, device.number)),
            hex(device.peer.as_bytes()),
            device.endpoint
        );
        socket.write_all(request.as_bytes()).map_err(failed())?;
        let mut answer = [0; 9];
        socket.read_exact(&mut answer).map_err(failed())?;
        match &answer {
            b"errno=0\n\n" => Ok(()),
            other => Err(Failed::meaningless(&device.name, String::from_utf8_lossy(other))),
        }
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
