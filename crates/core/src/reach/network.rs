//! What one network reaches and who reaches it: a line for each workload and way, not for each pair.
//!
//! Owns: the choice of whom to ask about. Whoever is no part of the network is as the Internet to it; among themselves its
//! workloads are alike, so that one of the others stands for all. Each verdict is [`Reach::cell`]'s.

use std::collections::BTreeSet;
use std::fmt;

use super::{Kind, Party, Reach, Site, Traffic, Verdict};
use crate::id::{Label, NetworkId};
use crate::model::{Exposure, Family, Network, Protocol};

/// Ports that stand for all where no rule looks at ports.
const ANY: [Traffic; 3] = [Traffic::Echo, Traffic::Tcp(443), Traffic::Udp(443)];

/// One end of a way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A workload of the network.
    Workload(NetworkId, Label),
    /// All other workloads of the network.
    Network(NetworkId),
    /// Everybody else.
    Internet,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(network, name) => write!(f, "{network}:{name}"),
            Self::Network(network) => write!(f, "{network}"),
            Self::Internet => f.write_str("internet"),
        }
    }
}

/// That something passes from one end to the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Who sends.
    pub from: End,
    /// Who is meant.
    pub to: End,
    /// IPv6 or IPv4.
    pub family: Family,
    /// What is sent; anything if it is nothing in particular.
    pub traffic: Option<Traffic>,
}

impl Reach<'_> {
    /// Every way of a network; none for a network that is not there. A way between workloads is told from each of them
    /// to the network.
    #[must_use]
    pub fn of_network(&self, id: &NetworkId) -> BTreeSet<Way> {
        let Some(network) = self.world.network(id) else { return BTreeSet::new() };
        let sites: Vec<Site<'_>> =
            network.workloads().iter().filter_map(|workload| self.workload(network, workload)).collect();
        let mut ways = BTreeSet::new();
        for (at, site) in sites.iter().enumerate() {
            let other = sites.get(usize::from(at == 0));
            for family in [Family::Ipv6, Family::Ipv4] {
                ways.extend(self.ways(network, (site, other), family));
            }
        }
        ways
    }

    fn ways(
        &self,
        network: &Network,
        (site, other): (&Site<'_>, Option<&Site<'_>>),
        family: Family,
    ) -> Vec<Way> {
        let Kind::Workload { workload, .. } = &site.kind else { return Vec::new() };
        let end = || End::Workload(network.id().clone(), workload.name.clone());
        let way = |from, to, traffic| Way { from, to, family, traffic };
        let internet = Site::internet();
        let mut ways = Vec::new();
        if other.is_some_and(|other| self.lets_all(site, other, family)) {
            ways.push(way(end(), End::Network(network.id().clone()), None));
        }
        if self.lets_all(site, &internet, family) {
            ways.push(way(end(), End::Internet, None));
        }
        if family == Family::Ipv4 {
            ways.extend(self.by_own_address(network, site).map(|traffic| way(End::Internet, end(), traffic)));
        }
        let exposed = network.exposures().iter().filter(|exposure| exposure.workload == workload.name);
        let asked: BTreeSet<Traffic> = exposed.map(Traffic::from).chain([Traffic::Echo]).collect();
        let passing = asked.into_iter().filter(|traffic| self.lets(&internet, site, family, *traffic));
        ways.extend(passing.map(|traffic| way(End::Internet, end(), Some(traffic))));
        ways
    }

    /// What comes from everybody else to a workload by its network's own public IPv4 address: anything, or single ports of that.
    fn by_own_address(&self, network: &Network, site: &Site<'_>) -> impl Iterator<Item = Option<Traffic>> {
        let ports = network.own_v4().forwards.iter().map(|it| Traffic::of(it.protocol, it.port));
        let asked = if network.own_v4().whole.is_some() { vec![Traffic::Echo] } else { ports.collect() };
        let internet = Site::internet();
        asked.into_iter().filter_map(move |traffic| {
            let cell = self.own_cell(&internet, site, traffic)?;
            let said = Some(traffic).filter(|traffic| *traffic != Traffic::Echo);
            (cell.verdict == Verdict::Passes).then_some(said)
        })
    }

    fn lets_all(&self, from: &Site<'_>, to: &Site<'_>, family: Family) -> bool {
        ANY.iter().all(|traffic| self.lets(from, to, family, *traffic))
    }

    fn lets(&self, from: &Site<'_>, to: &Site<'_>, family: Family, traffic: Traffic) -> bool {
        self.cell(from, to, family, traffic).is_some_and(|cell| cell.verdict == Verdict::Passes)
    }
}

impl Site<'_> {
    pub(super) const fn internet() -> Self {
        Self { party: Party::Internet, kind: Kind::Internet, border: None, address: None, address_v4: None }
    }
}

impl From<&Exposure> for Traffic {
    fn from(exposure: &Exposure) -> Self {
        Self::of(exposure.protocol, exposure.port)
    }
}

impl Traffic {
    pub(super) const fn of(protocol: Protocol, port: u16) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(port),
            Protocol::Udp => Self::Udp(port),
        }
    }
}
