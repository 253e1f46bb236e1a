//! The home of a hidden node: a router that translates IPv4 and lets nothing in that was not asked for.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sixfold_core::model::{Family, Node};
use sixfold_core::name::{self, IfName};
use sixfold_core::state::{
    Action, CT_ESTABLISHED_RELATED, Chain, ChainName, Firewall, Hook, HookPoint, LinkPattern, Match,
    Protocol, Rule,
};

use super::pieces::{self, DOWN, EVERYWHERE, MTU, UP};
use super::{Drawing, names};

/// What every home router hands out: the same in each, as it is.
const LAN_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 1, 1), 24);
const NODE_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 1, 2), 24);
const LAN: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 64);
const NODE: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2), 64);

/// A Linux router's usual choice.
const PORTS: (u16, u16) = (1024, 65_535);

impl Drawing<'_> {
    pub(super) fn home(&mut self, at: usize, node: &Node) {
        let (netns, there) = (names::home(at, node), names::node(self.world, node.id()));
        let (internet, isp) = (names::internet(), names::isp(at, node));
        let (wan, lan) = (names::fixed("wan"), names::fixed("lan"));
        pieces::cable(&mut self.state, (internet, isp), (netns, wan), MTU);
        pieces::cable(&mut self.state, (netns, lan), (there, node.nic()), node.mtu());
        let public = self.outside.home_v4(at);
        let namespace = pieces::place(&mut self.state, netns);
        pieces::forwarding(namespace);
        pieces::address(namespace, wan, DOWN);
        namespace.firewall = Some(firewall(wan, lan, public));
        for everywhere in EVERYWHERE {
            pieces::route(namespace, everywhere, (UP.addr().into(), wan));
        }
        pieces::address(pieces::place(&mut self.state, internet), isp, UP);
        if node.speaks(Family::Ipv4) {
            self.home_v4((netns, wan, lan), (isp, public), node);
        }
        if node.speaks(Family::Ipv6) {
            self.home_v6((netns, lan), (isp, self.outside.home(at)), node);
        }
    }

    fn home_v4(
        &mut self,
        (netns, wan, lan): (name::NetnsName, IfName, IfName),
        (isp, public): (IfName, Ipv4Addr),
        node: &Node,
    ) {
        let host = IpNet::from(std::net::IpAddr::V4(public));
        let namespace = pieces::place(&mut self.state, netns);
        pieces::address(namespace, wan, host);
        pieces::address(namespace, lan, LAN_V4);
        let there = pieces::place(&mut self.state, names::node(self.world, node.id()));
        pieces::address(there, node.nic(), NODE_V4);
        pieces::route(there, EVERYWHERE[1], (LAN_V4.addr().into(), node.nic()));
        pieces::route(pieces::place(&mut self.state, names::internet()), host, (DOWN.addr().into(), isp));
    }

    fn home_v6(
        &mut self,
        (netns, lan): (name::NetnsName, IfName),
        (isp, prefix): (IfName, Ipv6Net),
        node: &Node,
    ) {
        let own = |host: u128| Ipv6Net::new_assert(Ipv6Addr::from(u128::from(prefix.network()) + host), 64);
        let namespace = pieces::place(&mut self.state, netns);
        pieces::address(namespace, lan, LAN);
        pieces::address(namespace, lan, own(1));
        let there = pieces::place(&mut self.state, names::node(self.world, node.id()));
        pieces::address(there, node.nic(), NODE);
        pieces::address(there, node.nic(), own(2));
        pieces::route(there, EVERYWHERE[0], (LAN.addr().into(), node.nic()));
        pieces::route(pieces::place(&mut self.state, names::internet()), prefix, (DOWN.addr().into(), isp));
    }
}

fn firewall(wan: IfName, lan: IfName, public: Ipv4Addr) -> Firewall {
    let (inside, outside) = (LinkPattern::Is(lan), LinkPattern::Is(wan));
    let answers = || rule([Match::CtState(CT_ESTABLISHED_RELATED)], Action::Accept, "answers");
    let outward = [Match::InputLink(inside.clone()), Match::OutputLink(outside.clone())];
    let forward =
        vec![answers(), rule(outward, Action::Accept, "out"), rule([], Action::Drop, "nobody is let in")];
    let input = vec![
        answers(),
        rule([Match::Icmpv6Type(135)], Action::Accept, "neighbours ask"),
        rule([Match::Icmpv6Type(136)], Action::Accept, "neighbours answer"),
        rule([Match::InputLink(inside), Match::IcmpType(8)], Action::Accept, "echo from inside"),
        rule([], Action::Drop, "closed"),
    ];
    let nat = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp].map(|protocol| {
        let matches = [
            Match::OutputLink(outside.clone()),
            Match::Source(LAN_V4.trunc().into()),
            Match::Protocol(protocol),
        ];
        rule(
            matches,
            Action::Snat { address: public, ports: PORTS },
            &format!("{protocol:?} leaves by one address"),
        )
    });
    let chains = [
        ("forward", HookPoint::Forward, 0, forward),
        ("input", HookPoint::Input, 0, input),
        ("nat", HookPoint::Postrouting, 100, nat.into()),
    ];
    let chains = chains.into_iter().map(|(name, point, priority, rules)| {
        let hook = Hook { point, priority, nat: name == "nat" };
        (ChainName(name.to_owned().into()), Chain { hook, rules: rules.into() })
    });
    Firewall { chains: chains.collect(), ..Firewall::default() }
}

fn rule<const N: usize>(matches: [Match; N], action: Action, comment: &str) -> Rule {
    Rule { matches: matches.into(), action, comment: comment.to_owned() }
}
