//! Making links of each kind, and the port of a device's socket.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};

use ipnet::{Ipv4Net, Ipv6Net};
use nix::errno::Errno;
use sixfold_core::name::IfName;
use sixfold_core::plan::{Op, Step};
use sixfold_core::state::{Link, LinkEnd, LinkKind, Netns};

use super::apply::Run;
use super::kind::{Dumped, Kinds, write_alias, write_translator};
use crate::netns::Entrance;
use crate::rtnl::link::RawLink;
use crate::rtnl::make::{self, Peer};
use crate::rtnl::{link, nsid};
use crate::socket::Refusal;
use crate::{ApplyError, cut, sys};

/// Links made together: their other ends' namespaces are held open meanwhile.
const TOGETHER: usize = 128;

/// The kinds of link that take whatever comes in by their ports, so that nothing else can be on these.
pub(super) const HOLDS_ITS_PORTS: [&str; 4] = ["bond", "bridge", "openvswitch", "team"];

/// A link as one message, valid while the namespace that it names by a descriptor is held.
struct Making {
    message: Vec<u8>,
    _there: Option<Entrance>,
}

impl Run<'_> {
    /// All steps that make a link: those of one message each together, the others one by one.
    pub(super) fn add_links(&mut self, steps: &[Step]) {
        let steps: Vec<&Step> = steps.iter().filter(|step| matches!(step.op, Op::AddLink { .. })).collect();
        for slice in steps.chunks(TOGETHER) {
            let mut made = self.make_together(slice);
            for (place, step) in slice.iter().enumerate() {
                let Op::AddLink { name, link, peer } = &step.op else { continue };
                let outcome = match made.remove(&place) {
                    // Could not be asked for with the others.
                    None => self.add_link(&step.netns, name, link, peer.as_ref()),
                    Some(outcome) => self.made(&step.netns, (name, link), outcome.map_err(Into::into)),
                };
                self.settle(step, outcome);
            }
        }
    }

    /// The outcomes of those that are one message, by place.
    fn make_together(&mut self, steps: &[&Step]) -> BTreeMap<usize, Result<(), Refusal>> {
        let (mut places, mut making) = (Vec::new(), Vec::new());
        for (place, step) in steps.iter().enumerate() {
            if let Op::AddLink { name, link, peer } = &step.op
                && let Some(Ok(one)) = self.making(&step.netns, name, link, peer.as_ref())
            {
                places.push(place);
                making.push(one);
            }
        }
        let mut messages: Vec<Vec<u8>> =
            making.iter_mut().map(|making| std::mem::take(&mut making.message)).collect();
        let [first, ..] = steps else { return BTreeMap::new() };
        let asked = self.linux.handles.get(&first.netns).map_err(ApplyError::from);
        match asked.and_then(|handle| Ok(handle.route.batch(&mut messages)?)) {
            Ok(outcomes) => places.into_iter().zip(outcomes).collect(),
            Err(_) => {
                // What may be left in the socket must not be taken for the answers to the single ones.
                self.linux.handles.close(&first.netns);
                BTreeMap::new()
            }
        }
    }

    /// The message that makes a link; `None`: its kind takes more than one.
    fn making(
        &mut self,
        netns: &Netns,
        name: &IfName,
        link: &Link,
        peer: Option<&Link>,
    ) -> Option<Result<Making, ApplyError>> {
        match &link.kind {
            LinkKind::Veth { peer: end } => Some(self.veth(name, link, (end, peer))),
            LinkKind::Macvlan { parent } => Some(self.macvlan(netns, name, link, parent)),
            _ => None,
        }
    }

    /// Makes a link, down; one that is there and of that kind is taken as it is, but for its MTU and hardware address.
    pub(super) fn add_link(
        &mut self,
        netns: &Netns,
        name: &IfName,
        link: &Link,
        peer: Option<&Link>,
    ) -> Result<(), ApplyError> {
        let outcome = match &link.kind {
            LinkKind::Veth { .. } | LinkKind::Macvlan { .. } => {
                let making = self.making(netns, name, link, peer);
                let making = making.unwrap_or(Err(ApplyError::Unmakeable { link: *name }))?;
                self.ask_all(netns, vec![making.message.clone()])
            }
            LinkKind::Tun { socket: Some(socket) } => return self.add_tun(netns, name, link, socket),
            LinkKind::Nic { nic, .. } => return self.take_nic(netns, (name, link), nic),
            LinkKind::Translator { prefix, prefix_v4, mtu } => {
                return self.add_translator(netns, (name, link), (*prefix, *prefix_v4), *mtu);
            }
            LinkKind::Wireguard { socket: Some(socket) } => self.add_wireguard(netns, name, link, socket),
            _ => return Err(ApplyError::Unmakeable { link: *name }),
        };
        self.made(netns, (name, link), outcome)
    }

    /// What has become of a link that was to be made: one of its name may have been there.
    fn made(
        &mut self,
        netns: &Netns,
        (name, link): (&IfName, &Link),
        outcome: Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        match outcome {
            Err(ApplyError::Refused(Refusal { errno: Errno::EEXIST, .. })) => self.adopt(netns, name, link),
            outcome => outcome,
        }
    }

    fn veth(
        &self,
        name: &IfName,
        link: &Link,
        (end, peer): (&LinkEnd, Option<&Link>),
    ) -> Result<Making, ApplyError> {
        let there = self.linux.handles.entrance(&end.netns)?;
        let message = make::veth(name, link, &Peer { netns: there.fd(), name: &end.link, link: peer });
        Ok(Making { message, _there: Some(there) })
    }

    /// Made in its own namespace, by the id under which that knows the host's: so no name of the host's is in the way.
    fn macvlan(
        &mut self,
        netns: &Netns,
        name: &IfName,
        link: &Link,
        parent: &IfName,
    ) -> Result<Making, ApplyError> {
        let below = self.below(parent, link)?;
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
        Ok(Making { message: make::macvlan(name, link, (below.index, id)), _there: None })
    }

    /// The link of the host's that a macvlan shall be on, if one can be on it that comes out as it was wanted.
    fn below(&mut self, parent: &IfName, link: &Link) -> Result<RawLink, ApplyError> {
        let host = self.linux.handles.get(&Netns::Host)?;
        let below = host.link(parent)?.ok_or(ApplyError::NoLink { link: *parent })?;
        if let Some(master) = below.master.filter(|_| HOLDS_ITS_PORTS.contains(&below.port.as_str())) {
            let of = link::decode(&host.route.ask(link::get(master, None))?).pop();
            let of = of.map_or(*parent, |of| of.name);
            return Err(ApplyError::Port { link: *parent, kind: below.port, of });
        }
        if below.kind == "macvlan" {
            return Err(ApplyError::Stacked { link: *parent });
        }
        match link.mtu {
            Some(wanted) if u32::from(wanted) > below.mtu => {
                Err(ApplyError::Narrow { link: *parent, mtu: below.mtu, wanted })
            }
            _ => Ok(below),
        }
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
        cut::after(format_args!("TUN {name} is to stay"));
        self.ask_all(netns, vec![make::adopt(name, link, &alias)])
    }

    /// Made, marked and handed over. It stays only if the tunnel process takes it.
    fn add_translator(
        &mut self,
        netns: &Netns,
        (name, link): (&IfName, &Link),
        prefixes: (Ipv6Net, Ipv4Net),
        mtu: u16,
    ) -> Result<(), ApplyError> {
        if self.linux.handles.get(netns)?.link(name)?.is_some() {
            return self.adopt(netns, name, link);
        }
        let tun = self.opened(netns, name, sys::open_plain_tun)?;
        self.ask_all(netns, vec![make::adopt(name, link, &write_translator(prefixes, mtu))])?;
        Ok(self.linux.tunnel().translate(prefixes, mtu, tun.as_fd())?)
    }

    /// Opens the TUN of that name in a namespace.
    pub(super) fn open_tun(&mut self, netns: &Netns, name: &IfName) -> Result<OwnedFd, ApplyError> {
        self.opened(netns, name, sys::open_tun)
    }

    fn opened(
        &mut self,
        netns: &Netns,
        name: &IfName,
        open: fn(&IfName) -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, ApplyError> {
        let entrance = self.linux.handles.entrance(netns)?;
        let link = *name;
        let tun = self.linux.handles.worker.within(&entrance, move || open(&link))?;
        cut::after(format_args!("TUN {name} opened"));
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
    pub(super) fn adopt(&mut self, netns: &Netns, name: &IfName, link: &Link) -> Result<(), ApplyError> {
        let taken = || ApplyError::NameTaken { link: *name };
        let raw = self.linux.handles.get(netns)?.link(name)?.ok_or_else(taken)?;
        let names = self.linux.handles.directory.list()?;
        let mut kinds = Kinds { handles: &mut self.linux.handles, dumped: &Dumped::new(), names: &names };
        let there = kinds.link(netns, &raw);
        if !link.kind.is(&there.kind) {
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
