//! Devices and peers, whoever carries them: the link's kind tells.

mod differ;
mod peers;
mod sessions;
mod udp;

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use sixfold_core::key::PublicKey;
use sixfold_core::name::{IfName, LinkRole, NetnsRole, netns_resource, wireguard as wireguard_name};
use sixfold_core::state::{Backend, Device, LinkKind, Netns, NodeState};
use socket2::Socket as UdpSocket;

use super::apply::Run;
use super::handle::Handles;
use super::kind::{Dumped, Kinds};
use super::{Linux, wireguard};
use crate::rtnl::link::RawLink;
use crate::socket::{self, Socket, SocketError};
use crate::tunnel::{Held, Listed, Tunnel};
use crate::{ApplyError, ObserveError, Scope};

pub use udp::open_udp;

/// MTU that a TUN has if nothing else is said.
const MTU: u16 = 1280;

/// Says who can carry WireGuard here, by asking the kernel (which loads its module, if there is one).
///
/// # Errors
/// If the kernel cannot be asked.
pub fn probe_wireguard() -> Result<Backend, SocketError> {
    match wireguard::family(&mut Socket::open(socket::GENERIC)?) {
        Ok(_) => Ok(Backend::Kernel),
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(Backend::Tunnel),
        Err(error) => Err(error),
    }
}

impl Linux {
    fn family(&mut self) -> Result<u16, SocketError> {
        if let Some(family) = self.wireguard {
            return Ok(family);
        }
        let family = wireguard::family(&mut Socket::open(socket::GENERIC)?)?;
        self.wireguard = Some(family);
        Ok(family)
    }

    pub(super) fn tunnel(&self) -> Tunnel<'_> {
        Tunnel { control: &self.config.tunnel, uapi_dir: &self.config.uapi_dir }
    }

    pub(super) fn observe_devices(
        &mut self,
        scope: &Scope,
        state: &mut NodeState,
        dumped: &Dumped,
    ) -> Result<(), ObserveError> {
        // Listed before it is read: what changes in between is another number next time.
        let listed = self.tunnel().list().map_err(ObserveError::Tunnel)?;
        let mut held: BTreeMap<IfName, Listed> = listed.into_iter().map(|one| (one.name, one)).collect();
        match scope {
            Scope::All => self.changes.clear(),
            Scope::Only(netnss) => netnss.iter().filter_map(device_of).for_each(|name| self.forget(&name)),
        }
        for (netns, links) in dumped {
            for raw in links {
                self.forget(&raw.name);
                if let Some(listed) = is_hosted(raw).then(|| held.remove(&raw.name)).flatten() {
                    self.changes.insert(raw.name, listed.changes);
                    // One that answers no more is none: it will be set again.
                    let device = self.tunnel().get(&raw.name).inspect_err(|error| {
                        tracing::warn!(link = %raw.name, %error, "a device of the tunnel process does not answer");
                    });
                    put(state, netns, &raw.name, device.unwrap_or_default());
                } else if raw.kind == "wireguard" {
                    let device = self.observe_kernel_device(netns, raw)?;
                    put(state, netns, &raw.name, device);
                }
            }
        }
        if scope.contains(&Netns::Host) {
            self.observe_strays(state, &held);
        }
        Ok(())
    }

    fn observe_kernel_device(&mut self, netns: &Netns, raw: &RawLink) -> Result<Held, ObserveError> {
        let unread = |source| ObserveError::Read { netns: netns.clone(), what: "WireGuard devices", source };
        let family = self.family().map_err(unread)?;
        let Some(socket) = generic(&mut self.handles, netns).map_err(unread)? else {
            return Ok(Held::default());
        };
        wireguard::get(socket, family, &raw.name).map_err(unread)
    }

    /// Devices that the tunnel process holds without their link: they are shown in the host's namespace, where nobody
    /// desires them, so that a plan has it let go. One whose link was there when its namespace was looked at last has it
    /// still: what became of that since is for a look at that namespace, which is told of it.
    fn observe_strays(&mut self, state: &mut NodeState, held: &BTreeMap<IfName, Listed>) {
        for (name, Listed { port, .. }) in held {
            if self.changes.contains_key(name) {
                continue;
            }
            let Some(LinkRole::Wireguard { index, n }) = name.role() else { continue };
            let home = Netns::Named(netns_resource(index, n));
            if !state.namespaces.contains_key(&home) && self.has_hosted(&home, name) {
                continue;
            }
            let nobody = Device { public_key: PublicKey::from_bytes([0; 32]), listen_port: *port, fwmark: 0 };
            let device = self.tunnel().get(name).ok().and_then(|held| held.device).unwrap_or(nobody);
            state.at(Netns::Host).devices.insert(*name, device);
        }
    }

    /// Before its link is looked at: it may be gone.
    pub(super) fn forget(&mut self, device: &IfName) {
        self.changes.remove(device);
    }

    /// Whether the TUN of that name is there, and some process holds it.
    fn has_hosted(&mut self, netns: &Netns, name: &IfName) -> bool {
        let found = self.handles.get(netns).ok().and_then(|handle| handle.link(name).ok().flatten());
        found.is_some_and(|link| is_hosted(&link))
    }
}

/// Whether that is a TUN that some process holds.
fn is_hosted(link: &RawLink) -> bool {
    link.kind == "tun" && link.carrier
}

/// The device that belongs in a namespace of ours.
fn device_of(netns: &Netns) -> Option<IfName> {
    match netns {
        Netns::Named(name) => match name.role()? {
            NetnsRole::Resource { index, n } => Some(wireguard_name(index, n)),
            _ => None,
        },
        Netns::Host => None,
    }
}

fn put(state: &mut NodeState, netns: &Netns, link: &IfName, held: Held) {
    let namespace = state.at(netns.clone());
    if let Some(device) = held.device {
        namespace.devices.insert(*link, device);
        namespace.peers.extend(held.peers);
    }
}

/// The socket for devices of a namespace, opened inside on first use; `None`: the namespace is not open.
fn generic<'a>(handles: &'a mut Handles, netns: &Netns) -> Result<Option<&'a mut Socket>, SocketError> {
    let Some((worker, handle)) = handles.opened(netns) else { return Ok(None) };
    if handle.generic.is_none() {
        let opened = worker.within(&handle.entrance, || Socket::open(socket::GENERIC));
        let entering = |_| SocketError::Io { action: "open", errno: Errno::ENOENT };
        handle.generic = Some(opened.map_err(entering)??);
    }
    Ok(handle.generic.as_mut())
}

/// What a link's device is spoken to by.
enum Carrier {
    Kernel,
    Tunnel { raw: RawLink },
    Nobody,
}

impl Run<'_> {
    pub(super) fn set_device(
        &mut self,
        netns: &Netns,
        link: &IfName,
        device: &Device,
    ) -> Result<(), ApplyError> {
        let no_key = || ApplyError::NoKey { public_key: device.public_key };
        let key = self.keys.private_key(&device.public_key).ok_or_else(no_key)?;
        match self.carrier(netns, link)? {
            Carrier::Nobody => Err(ApplyError::NoLink { link: *link }),
            Carrier::Tunnel { raw } => {
                self.attach(netns, &raw, device.listen_port)?;
                Ok(self.linux.tunnel().set_key(link, &key)?)
            }
            Carrier::Kernel => {
                let family = self.linux.family()?;
                let held = match generic(&mut self.linux.handles, netns)? {
                    Some(socket) => wireguard::get(socket, family, link)?.device,
                    None => None,
                };
                let has = held.map(|device| device.listen_port);
                let port = self.port_to_take(netns, link, (device.listen_port, has));
                self.ask_device(netns, vec![wireguard::set_device(family, link, &key, port)])
            }
        }
    }

    /// The port to tell a kernel device: none if it has the wanted one, or a usable one while the wanted one is taken;
    /// any, if it has none. On a link that is down a taken port would be told of only when it is set up.
    fn port_to_take(
        &mut self,
        netns: &Netns,
        link: &IfName,
        (wanted, has): (u16, Option<u16>),
    ) -> Option<u16> {
        if wanted == 0 || has == Some(wanted) {
            return None;
        }
        match self.bind(netns, link, wanted) {
            Ok(_) => Some(wanted),
            Err(_) if has.is_some_and(|port| port != 0) => None,
            Err(_) => Some(0),
        }
    }

    pub(super) fn del_device(&mut self, netns: &Netns, link: &IfName) -> Result<(), ApplyError> {
        match self.carrier(netns, link) {
            Ok(Carrier::Kernel) => {
                let family = self.linux.family()?;
                self.ask_device(netns, vec![wireguard::clear(family, link)])
            }
            // The tunnel process may hold it though its link, or its namespace, is gone.
            _ => Ok(self.linux.tunnel().remove(link)?),
        }
    }

    /// Has a device listen on any port that is free, because its own is taken.
    pub(super) fn free_port(&mut self, netns: &Netns, link: &IfName) -> Result<(), ApplyError> {
        let family = self.linux.family()?;
        self.ask_device(netns, vec![wireguard::set_port(family, link, 0)])
    }

    fn carrier(&mut self, netns: &Netns, link: &IfName) -> Result<Carrier, ApplyError> {
        let Some(raw) = self.linux.handles.get(netns)?.link(link)? else { return Ok(Carrier::Nobody) };
        match raw.kind.as_str() {
            "tun" => Ok(Carrier::Tunnel { raw }),
            "wireguard" => Ok(Carrier::Kernel),
            _ => Ok(Carrier::Nobody),
        }
    }

    /// Sees that the tunnel process holds a device with its TUN and a socket on that port (0: on any).
    fn attach(&mut self, netns: &Netns, raw: &RawLink, port: u16) -> Result<(), ApplyError> {
        let held = self.linux.tunnel().list()?.into_iter().find(|listed| listed.name == raw.name);
        let Some(Listed { port: bound, .. }) = held.filter(|_| raw.carrier) else {
            let socket = self.bind(netns, &raw.name, port).or_else(|_| self.bind(netns, &raw.name, 0))?;
            return self.hand_over(netns, raw, &socket);
        };
        if port == 0 || port == bound {
            return Ok(());
        }
        match self.bind(netns, &raw.name, port) {
            Ok(socket) => self.attach_anew(netns, raw, &socket),
            // Still taken: the port that it has is as good.
            Err(_) => Ok(()),
        }
    }

    /// Another port means another socket. A TUN has one holder, so it must let go first; its peers are kept over it.
    fn attach_anew(&mut self, netns: &Netns, raw: &RawLink, socket: &UdpSocket) -> Result<(), ApplyError> {
        let before = self.linux.tunnel().get(&raw.name)?;
        self.linux.tunnel().remove(&raw.name)?;
        self.hand_over(netns, raw, socket)?;
        let peers = before.peers.iter().map(|(key, peer)| (&key.public_key, Some(peer)));
        Ok(self.linux.tunnel().set_peers(&raw.name, peers)?)
    }

    fn hand_over(&mut self, netns: &Netns, raw: &RawLink, socket: &UdpSocket) -> Result<(), ApplyError> {
        let tun = self.open_tun(netns, &raw.name)?;
        let mtu = u16::try_from(raw.mtu).unwrap_or(MTU);
        Ok(self.linux.tunnel().add(&raw.name, mtu, tun.as_fd(), socket.as_fd())?)
    }

    /// A UDP socket for both families in the namespace where the device's socket shall live.
    fn bind(&mut self, netns: &Netns, link: &IfName, port: u16) -> Result<UdpSocket, ApplyError> {
        let place = self.socket_place(netns, link)?;
        let entrance = self.linux.handles.entrance(&place)?;
        let opened = self.linux.handles.worker.within(&entrance, move || open_udp(port))?;
        opened.map_err(|error| ApplyError::Udp { link: *link, errno: crate::netns::errno(&error) })
    }

    fn socket_place(&mut self, netns: &Netns, link: &IfName) -> Result<Netns, ApplyError> {
        let missing = || ApplyError::NoLink { link: *link };
        let raw = self.linux.handles.get(netns)?.link(link)?.ok_or_else(missing)?;
        let mut kinds = Kinds { handles: &mut self.linux.handles, dumped: &Dumped::new(), names: &[] };
        match kinds.link(netns, &raw).kind {
            LinkKind::Tun { socket: Some(place) } | LinkKind::Wireguard { socket: Some(place) } => Ok(place),
            _ => Err(ApplyError::Unmakeable { link: *link }),
        }
    }

    fn ask_device(&mut self, netns: &Netns, mut requests: Vec<Vec<u8>>) -> Result<(), ApplyError> {
        self.linux.handles.get(netns)?;
        let Some(socket) = generic(&mut self.linux.handles, netns)? else { return Ok(()) };
        let outcomes = socket.batch(&mut requests)?;
        outcomes.into_iter().try_for_each(|outcome| outcome.map_err(Into::into))
    }
}
