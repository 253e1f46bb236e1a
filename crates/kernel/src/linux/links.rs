//! Making links of each kind, and the port of a device's socket.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use sixfold_core::name::IfName;
use sixfold_core::state::{Link, LinkEnd, LinkKind, Netns};

use super::apply::Run;
use super::kind::{Dumped, Kinds, write_alias};
use crate::rtnl::make::{self, Peer};
use crate::rtnl::{link, nsid};
use crate::socket::Refusal;
use crate::{ApplyError, sys};

impl Run<'_> {
    /// Makes a link, down; one that is there and of that kind is taken as it is, but for its MTU and hardware address.
    pub(super) fn add_link(
        &mut self,
        netns: &Netns,
        name: &IfName,
        link: &Link,
        peer: Option<&Link>,
    ) -> Result<(), ApplyError> {
        let made = match &link.kind {
            LinkKind::Veth { peer: end } => self.add_veth(netns, name, link, (end, peer)),
            LinkKind::Macvlan { parent } => self.add_macvlan(netns, name, link, parent),
            LinkKind::Tun { socket: Some(socket) } => return self.add_tun(netns, name, link, socket),
            LinkKind::Wireguard { socket: Some(socket) } => self.add_wireguard(netns, name, link, socket),
            _ => return Err(ApplyError::Unmakeable { link: *name }),
        };
        match made {
            Err(ApplyError::Refused(Refusal { errno: Errno::EEXIST, .. })) => self.adopt(netns, name, link),
            outcome => outcome,
        }
    }

    fn add_veth(
        &mut self,
        netns: &Netns,
        name: &IfName,
        link: &Link,
        (end, peer): (&LinkEnd, Option<&Link>),
    ) -> Result<(), ApplyError> {
        let there = self.linux.handles.entrance(&end.netns)?;
        let message = make::veth(name, link, &Peer { netns: there.fd(), name: &end.link, link: peer });
        self.ask_all(netns, vec![message])
    }

    /// Made in its own namespace, by the id under which that knows the host's: so no name of the host's is in the way.
    fn add_macvlan(
        &mut self,
        netns: &Netns,
        name: &IfName,
        link: &Link,
        parent: &IfName,
    ) -> Result<(), ApplyError> {
        let below = self.linux.handles.get(&Netns::Host)?.link(parent)?;
        let below = below.ok_or(ApplyError::NoLink { link: *parent })?;
        let host = self.linux.handles.entrance(&Netns::Host)?;
        let handle = self.linux.handles.get(netns)?;
        let mut id = None;
        if *netns != Netns::Host {
            // Refused if it has one, and then it is only to be asked for.
            let assigned = handle.route.batch(&mut [nsid::assign(host.fd())])?;
            id = nsid::decode(&handle.route.ask(nsid::get(host.fd()))?);
            if let (None, Some(Err(refusal))) = (id, assigned.into_iter().next()) {
                return Err(refusal.into());
            }
        }
        self.ask_all(netns, vec![make::macvlan(name, link, (below.index, id))])
    }

    /// Opened where it shall be, marked, and left without a holder until the tunnel process gets it.
    fn add_tun(
        &mut self,
        netns: &Netns,
        name: &IfName,
        link: &Link,
        socket: &Netns,
    ) -> Result<(), ApplyError> {
        if self.linux.handles.get(netns)?.link(name)?.is_some() {
            return self.adopt(netns, name, link);
        }
        let alias = self.alias(socket)?;
        let tun = self.open_tun(netns, name)?;
        sys::persist(tun.as_fd()).map_err(|errno| ApplyError::Tun { link: *name, errno })?;
        self.ask_all(netns, vec![make::adopt(name, link, &alias)])
    }

    /// Opens the TUN of that name in a namespace.
    pub(super) fn open_tun(&mut self, netns: &Netns, name: &IfName) -> Result<OwnedFd, ApplyError> {
        let entrance = self.linux.handles.entrance(netns)?;
        let link = *name;
        let tun = self.linux.handles.worker.within(&entrance, move || sys::open_tun(&link))?;
        tun.map_err(|errno| ApplyError::Tun { link, errno })
    }

    /// Made where its socket shall live, and moved: the socket stays behind.
    fn add_wireguard(
        &mut self,
        netns: &Netns,
        name: &IfName,
        link: &Link,
        socket: &Netns,
    ) -> Result<(), ApplyError> {
        if self.linux.handles.get(netns)?.link(name)?.is_some() {
            return self.adopt(netns, name, link);
        }
        let alias = self.alias(socket)?;
        let there = self.linux.handles.entrance(netns)?;
        let to = (socket != netns).then(|| there.fd());
        let messages = make::wireguard(name, link, &alias, to);
        let handle = self.linux.handles.get(socket)?;
        let mut messages = messages;
        let outcomes = handle.route.batch(&mut messages)?;
        let made = outcomes.first().is_some_and(Result::is_ok);
        let outcome = outcomes.into_iter().try_for_each(|outcome| outcome.map_err(ApplyError::from));
        if outcome.is_err() && made {
            // Half made and in the wrong place: begun anew next time.
            handle.route.batch(&mut [link::delete(name)])?;
        }
        outcome
    }

    fn alias(&self, socket: &Netns) -> Result<String, ApplyError> {
        Ok(write_alias(socket, self.linux.handles.entrance(socket)?.inode))
    }

    /// Takes a link that is there already, if it is of the kind that is wanted.
    fn adopt(&mut self, netns: &Netns, name: &IfName, link: &Link) -> Result<(), ApplyError> {
        let taken = || ApplyError::NameTaken { link: *name };
        let raw = self.linux.handles.get(netns)?.link(name)?.ok_or_else(taken)?;
        let names = self.linux.handles.directory.list()?;
        let mut kinds = Kinds { handles: &mut self.linux.handles, dumped: &Dumped::new(), names: &names };
        let there = kinds.link(netns, &raw);
        if there.kind != link.kind {
            return Err(taken());
        }
        let mut changes = Vec::new();
        changes.extend(link.mtu.filter(|_| there.mtu != link.mtu).map(|mtu| link::set_mtu(name, mtu)));
        changes.extend(link.mac.filter(|_| there.mac != link.mac).map(|mac| link::set_mac(name, mac)));
        self.ask_all(netns, changes)
    }

    /// Sends requests to one namespace; the first refusal is the outcome.
    fn ask_all(&mut self, netns: &Netns, mut requests: Vec<Vec<u8>>) -> Result<(), ApplyError> {
        let outcomes = self.linux.handles.get(netns)?.route.batch(&mut requests)?;
        outcomes.into_iter().try_for_each(|outcome| outcome.map_err(Into::into))
    }
}
