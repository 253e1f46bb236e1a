//! From a link as one namespace sees it to what it is on this node: its other end, its parent, where its socket lives.

use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};
use sixfold_core::name::{IfName, NetnsName, NetnsRole};
use sixfold_core::state::{Link, LinkEnd, LinkKind, Netns};

use super::handle::Handles;
use super::nic;
use crate::rtnl::link::{self, RawLink};
use crate::rtnl::nsid;

/// A macvlan's bridge mode.
const BRIDGE_MODE: u32 = 4;
/// A TUN's type, as against a TAP's.
const TYPE_TUN: u32 = 1;

/// What has been dumped of every namespace in scope.
pub(crate) type Dumped = BTreeMap<Netns, Vec<RawLink>>;

/// Finds out what links are.
pub(crate) struct Kinds<'a> {
    pub(crate) handles: &'a mut Handles,
    pub(crate) dumped: &'a Dumped,
    /// Every name under which another end may be found.
    pub(crate) names: &'a [NetnsName],
}

impl Kinds<'_> {
    /// The link as state.
    pub(crate) fn link(&mut self, netns: &Netns, raw: &RawLink) -> Link {
        let kind = self.kind(netns, raw).unwrap_or_else(|| LinkKind::Other { kind: raw.kind.clone() });
        let plain = matches!(kind, LinkKind::Loopback);
        let addressed = !matches!(
            kind,
            LinkKind::Loopback
                | LinkKind::Tun { .. }
                | LinkKind::Translator { .. }
                | LinkKind::Wireguard { .. }
        );
        Link {
            up: raw.up,
            mtu: u16::try_from(raw.mtu).ok().filter(|_| !plain),
            mac: raw.mac.filter(|_| addressed),
            kind,
        }
    }

    fn kind(&mut self, netns: &Netns, raw: &RawLink) -> Option<LinkKind> {
        if let Some((nic, home)) = raw.alias.as_deref().and_then(nic::read) {
            return Some(LinkKind::Nic { nic, home: Some(home) });
        }
        match raw.kind.as_str() {
            "" if raw.loopback => Some(LinkKind::Loopback),
            "veth" => Some(LinkKind::Veth { peer: self.other(netns, raw)? }),
            "macvlan" if raw.shape == Some(BRIDGE_MODE) => {
                let parent = self.other(netns, raw)?;
                (parent.netns == Netns::Host).then_some(LinkKind::Macvlan { parent: parent.link })
            }
            "tun" if raw.shape == Some(TYPE_TUN) => {
                let translator = raw.alias.as_deref().and_then(read_translator);
                Some(translator.unwrap_or_else(|| LinkKind::Tun { socket: self.socket(raw) }))
            }
            "wireguard" => Some(LinkKind::Wireguard { socket: self.socket(raw) }),
            _ => None,
        }
    }

    /// The namespace that the link's alias names, if that is still the one it was.
    fn socket(&self, raw: &RawLink) -> Option<Netns> {
        let (netns, inode) = read_alias(raw.alias.as_deref()?)?;
        (self.handles.inode(&netns).ok()? == Some(inode)).then_some(netns)
    }

    /// The link that this one is tied to.
    fn other(&mut self, netns: &Netns, raw: &RawLink) -> Option<LinkEnd> {
        let index = raw.other?;
        let place = match raw.other_nsid {
            None => netns.clone(),
            Some(id) => self.known_as(netns, id, &raw.name)?,
        };
        let seen = self.dumped.get(&place).and_then(|links| links.iter().find(|link| link.index == index));
        let link = match seen {
            Some(link) => link.name,
            None => {
                let answer =
                    self.handles.again(netns).ok()?.route.ask(link::get(index, raw.other_nsid)).ok()?;
                link::decode(&answer).pop()?.name
            }
        };
        Some(LinkEnd { netns: place, link })
    }

    /// The namespace that `netns` knows by that id. Ids are reused, so each guess is verified.
    fn known_as(&mut self, netns: &Netns, id: i32, link: &IfName) -> Option<Netns> {
        let last = self.handles.again(netns).ok()?.nsids.get(&id).cloned();
        let likely = last.into_iter().chain(likely(netns, link)).chain([Netns::Host]);
        let all = self.names.iter().map(|name| Netns::Named(*name));
        let found = likely.chain(all).find(|candidate| self.is_known_as(netns, id, candidate))?;
        self.handles.again(netns).ok()?.nsids.insert(id, found.clone());
        Some(found)
    }

    fn is_known_as(&mut self, netns: &Netns, id: i32, candidate: &Netns) -> bool {
        let Ok(entrance) = self.handles.entrance(candidate) else { return false };
        let Ok(handle) = self.handles.again(netns) else { return false };
        handle.route.ask(nsid::get(entrance.fd())).is_ok_and(|answer| nsid::decode(&answer) == Some(id))
    }
}

/// Where the other end is, going by the names: a guess that saves asking for every namespace.
fn likely(netns: &Netns, link: &IfName) -> Option<Netns> {
    let Netns::Named(name) = netns else { return None };
    let (kind, rest) = link.as_str().split_once('-').unwrap_or((link.as_str(), ""));
    let guess = match (name.role()?, kind) {
        (NetnsRole::Gateway { .. } | NetnsRole::Egress, "to") => format!("net-{rest}"),
        (NetnsRole::Resource { index, n }, "pub") => format!("gw-{}-{n}", index >> 12),
        (NetnsRole::Resource { .. }, "out") => "sixfold-egress".to_owned(),
        (NetnsRole::Resource { .. }, "port") => {
            format!("load-{}-{rest}", name.as_str().strip_prefix("net-")?)
        }
        (NetnsRole::Workload { index, n, .. }, "eth0") => format!("net-{index:04x}-{n}"),
        _ => return None,
    };
    NetnsName::try_from(guess.as_str()).ok().map(Netns::Named)
}

/// What is noted on a device: where its UDP socket lives, by name and by the number the namespace had then.
pub(crate) fn write_alias(netns: &Netns, inode: u64) -> String {
    format!("sixfold socket={netns} inode={inode}")
}

/// What is noted on a TUN on which is translated: between what. It is gone with whoever does.
pub(crate) fn write_translator((prefix, prefix_v4): (Ipv6Net, Ipv4Net), mtu: u16) -> String {
    format!("sixfold translates {prefix} {prefix_v4} mtu={mtu}")
}

fn read_translator(alias: &str) -> Option<LinkKind> {
    let words = alias.strip_prefix("sixfold translates ")?;
    let [prefix, prefix_v4, mtu] = words.split(' ').collect::<Vec<_>>()[..] else { return None };
    let mtu = mtu.strip_prefix("mtu=")?.parse().ok()?;
    Some(LinkKind::Translator { prefix: prefix.parse().ok()?, prefix_v4: prefix_v4.parse().ok()?, mtu })
}

fn read_alias(alias: &str) -> Option<(Netns, u64)> {
    let (netns, inode) = alias.strip_prefix("sixfold socket=")?.split_once(" inode=")?;
    let netns = match netns {
        "host" => Netns::Host,
        name => Netns::Named(NetnsName::try_from(name).ok()?),
    };
    Some((netns, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Netns {
        Netns::Named(NetnsName::try_from(name).unwrap())
    }

    #[test]
    fn an_alias_reads_as_it_is_written_and_nothing_else_is_one() {
        for netns in [Netns::Host, named("public"), named("net-1234-1")] {
            assert_eq!(read_alias(&write_alias(&netns, 4_026_531_840)), Some((netns, 4_026_531_840)));
        }
        for other in
            ["", "sixfold", "sixfold socket=a", "sixfold socket=../x inode=1", "sixfold socket=host inode=x"]
        {
            assert_eq!(read_alias(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_translated_reads_as_it_is_written_and_nothing_else_is_such() {
        let prefixes = ("2001:db8:1:1000::/64".parse().unwrap(), "10.16.0.0/24".parse().unwrap());
        let kind = LinkKind::Translator { prefix: prefixes.0, prefix_v4: prefixes.1, mtu: 1420 };
        assert_eq!(read_translator(&write_translator(prefixes, 1420)), Some(kind));
        for other in
            ["", "sixfold translates", "sixfold translates a b mtu=1", "sixfold translates ::/64 10.0.0.0/24"]
        {
            assert_eq!(read_translator(other), None, "{other}");
        }
    }

    #[test]
    fn names_tell_where_the_other_end_is() {
        let guess = |netns: &str, link: &str| likely(&named(netns), &IfName::try_from(link).unwrap());
        assert_eq!(guess("gw-10-7", "to-a123-7"), Some(named("net-a123-7")));
        assert_eq!(guess("net-a123-7", "pub-a123-7"), Some(named("gw-10-7")));
        assert_eq!(guess("net-a123-7", "port-12"), Some(named("load-a123-7-12")));
        assert_eq!(guess("load-a123-7-12", "eth0"), Some(named("net-a123-7")));
        assert_eq!(guess("gw-10-7", "pub-10-7"), None);
    }
}
