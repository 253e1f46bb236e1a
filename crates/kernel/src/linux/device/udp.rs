//! The UDP socket of a device that the tunnel process hosts: made here, where the rights are, and handed over as it is.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes that wait in either direction, if the system allows: what comes while the process is at other devices.
const BUFFER_BYTES: usize = 4 << 20;

/// A UDP socket for both families on that port (0: on any) of the calling thread's namespace, with buffers as large as is
/// allowed.
///
/// # Errors
/// What the system says; `EADDRINUSE` if somebody has the port.
pub fn open_udp(port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(false)?;
    enlarge(&socket, BUFFER_BYTES)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    Ok(socket)
}

/// Beyond the system's limits only with `CAP_NET_ADMIN` in the initial user namespace; else as far as they go.
fn enlarge(socket: &Socket, bytes: usize) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &bytes)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &bytes).is_err() {
        setsockopt(socket, sockopt::SndBuf, &bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

    fn limit(name: &str) -> usize {
        fs::read_to_string(format!("/proc/sys/net/core/{name}")).unwrap().trim().parse().unwrap()
    }

    /// What one gets who asks for so much, without what the kernel adds for itself.
    fn gets(bytes: usize) -> [usize; 2] {
        let socket = open_udp(0).unwrap();
        enlarge(&socket, bytes).unwrap();
        [socket.recv_buffer_size().unwrap() / 2, socket.send_buffer_size().unwrap() / 2]
    }

    #[test]
    fn buffers_go_beyond_the_limits_by_right_and_to_them_without() {
        let limits = ["rmem_max", "wmem_max"].map(limit);
        let beyond = limits[0].max(limits[1]) + (1 << 16);
        let own = capabilities(None).unwrap();
        let is_initial = fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295");
        let has_right = is_initial && own.effective.contains(CapabilitySet::NET_ADMIN);
        assert_eq!(gets(beyond), if has_right { [beyond; 2] } else { limits });
        // Linux has capabilities of threads.
        let without = std::thread::spawn(move || {
            let effective = own.effective - CapabilitySet::NET_ADMIN;
            set_capabilities(None, CapabilitySets { effective, ..own }).unwrap();
            gets(beyond)
        });
        assert_eq!(without.join().unwrap(), limits);
    }

    #[test]
    fn a_socket_is_of_both_families_and_its_port_is_its_own() {
        let socket = open_udp(0).unwrap();
        assert!(!socket.only_v6().unwrap());
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        assert_eq!(open_udp(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
