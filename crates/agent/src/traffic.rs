//! What the gateways of this node carried for each network, and what they stopped; and the same of IPv4 that leaves at the node itself.
//!
//! ```text
//! each second a slice of the links to exit points ─▶ what they carried ──┬─▶ sums, which never fall ─▶ /metrics
//! once round: the firewalls' sets ─▶ what was stopped, and IPv4 answers ─┴─▶ traffic.json: a row for each network
//! ```
//!
//! Owns: whose turn it is to be read, that file, and the sums. Nothing is planned by it. A link counts since it is there and a set
//! since it is there: what is made anew counts from nothing, and the sums go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sixfold_core::addr::{Allocation, Gateway, PrefixIndex, Resource};
use sixfold_core::id::NetworkId;
use sixfold_core::model::{Carried, GatewayTraffic, GatewayView, NetworkTraffic, Snapshot};
use sixfold_core::name::{self, IfName, drops};
use sixfold_core::state::{Netns, SetName};
use sixfold_kernel::nft::Counter;
use sixfold_kernel::{Kernel, LinkTraffic};

use crate::disk::{self, DiskError};
use crate::pass::{PERIOD_SECS, Sweep};

/// The file's name in the folder of what a reboot may clear.
pub const FILE: &str = "traffic.json";
/// Bytes of the file at most: some 400 for each of 65,536 networks.
const BYTES_MAX: usize = 64 << 20;

/// A link to an exit point: its namespace and name.
type Way = (Netns, IfName);
/// What each link's element of a set counted, in a namespace; all others' together under none.
type Tallies = BTreeMap<Option<IfName>, Counter>;

/// What was read last, and the sums.
#[derive(Debug)]
pub(crate) struct Traffic {
    sweep: Sweep<Way>,
    /// The first of this round: when its turn comes again, everybody has had theirs.
    first: Option<Way>,
    links: BTreeMap<Way, LinkTraffic>,
    /// By namespace and set.
    tallies: BTreeMap<(Netns, &'static str), Tallies>,
    sums: Flow,
    /// The same of what leaves at the node itself.
    leaving: Flow,
    /// Whether a file of earlier may be there.
    told: bool,
}

/// What all gateways, or the node itself, carried and stopped since the agent began to read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// Networks that leave so.
    pub networks: u64,
    /// From networks, over both families.
    pub sent: Counter,
    /// To networks.
    pub received: Counter,
    /// Packets stopped, by reason.
    pub drops: BTreeMap<&'static str, u64>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            sweep: Sweep::within(PERIOD_SECS),
            first: None,
            links: BTreeMap::new(),
            tallies: BTreeMap::new(),
            sums: Flow::default(),
            leaving: Flow::default(),
            told: true,
        }
    }
}

impl Traffic {
    /// Reads those whose turn it is. Gives what all gateways carried once everybody has had their turn; and once, where there
    /// is none any more, that there is nothing.
    pub(crate) fn read<K: Kernel>(
        &mut self,
        kernel: &mut K,
        snapshot: &Snapshot,
    ) -> Option<Vec<GatewayTraffic>> {
        // What rests keeps its counters, and goes on from them.
        let places = places(snapshot);
        let mut ways: BTreeSet<Way> = places.iter().flat_map(Place::ways).collect();
        let netnss: BTreeSet<&Netns> = places.iter().map(|place| &place.netns).collect();
        self.links.retain(|way, _| ways.contains(way));
        self.tallies.retain(|(netns, _), _| netnss.contains(netns));
        let serving: Vec<&Place<'_>> = places.iter().filter(|place| place.serves(snapshot)).collect();
        let serving_at: BTreeSet<&Netns> = serving.iter().map(|place| &place.netns).collect();
        ways.retain(|(netns, _)| serving_at.contains(netns));
        let leaving = ways.iter().filter(|(netns, _)| is_egress(netns)).count() as u64;
        (self.sums.networks, self.leaving.networks) = (ways.len() as u64 - leaving, leaving);
        if serving.is_empty() {
            return std::mem::take(&mut self.told).then(Vec::new);
        }
        self.told = true;
        let turn = self.sweep.turn(&ways.iter().collect());
        let round = turn.as_ref().is_none_or(|turn| self.is_round(turn, &ways));
        let mut by_netns: BTreeMap<Netns, BTreeSet<IfName>> = BTreeMap::new();
        for (netns, link) in turn.unwrap_or(ways) {
            by_netns.entry(netns).or_default().insert(link);
        }
        for (netns, links) in by_netns {
            let read = kernel.traffic(&netns, &links);
            read.into_iter().for_each(|(link, now)| self.take_link((netns.clone(), link), now));
        }
        if !round {
            return None;
        }
        serving.iter().for_each(|place| self.read_tallies(kernel, &place.netns));
        Some(serving.iter().map(|place| self.of(place, snapshot)).collect())
    }

    /// Whether a slice begins another round.
    fn is_round(&mut self, turn: &BTreeSet<Way>, all: &BTreeSet<Way>) -> bool {
        let begins = self.first.as_ref().is_none_or(|first| turn.contains(first) || !all.contains(first));
        if begins {
            self.first = turn.first().cloned();
        }
        begins
    }

    fn read_tallies<K: Kernel>(&mut self, kernel: &mut K, netns: &Netns) {
        for (set, reason) in drops::ALL.into_iter().chain([(drops::ANSWERED, "")]) {
            let now = kernel.tallies(netns, &SetName(set.into()));
            let before = self.tallies.entry((netns.clone(), set)).or_default();
            let each = now.iter().map(|(link, now)| more(before.get(link), now).packets);
            let more = each.sum::<u64>();
            // A set that could not be read has none.
            if !now.is_empty() {
                *before = now;
            }
            if !reason.is_empty() {
                *self.sum_of(netns).drops.entry(reason).or_default() += more;
            }
        }
    }

    fn sum_of(&mut self, netns: &Netns) -> &mut Flow {
        if is_egress(netns) { &mut self.leaving } else { &mut self.sums }
    }

    fn take_link(&mut self, way: Way, now: LinkTraffic) {
        let was = self.links.insert(way.clone(), now);
        let sums = self.sum_of(&way.0);
        // Of the network's own view, the other way round than the gateway's link has it.
        let pairs = [
            (&mut sums.sent, was.as_ref().map(|was| &was.received), now.received),
            (&mut sums.received, was.as_ref().map(|was| &was.sent), now.sent),
        ];
        for (sum, was, now) in pairs {
            let more = more(was, &now);
            sum.packets += more.packets;
            sum.bytes += more.bytes;
        }
    }

    /// Of all gateways.
    pub(crate) const fn sums(&self) -> &Flow {
        &self.sums
    }

    /// Of the node itself.
    pub(crate) const fn leaving(&self) -> &Flow {
        &self.leaving
    }

    fn of(&self, place: &Place<'_>, snapshot: &Snapshot) -> GatewayTraffic {
        let Place { netns, gateway, ways } = place;
        let drops = |link: Option<IfName>| {
            let packets = |set| self.tally(netns, set, link).packets;
            let all = drops::ALL.into_iter().map(|(set, reason)| (reason.to_owned(), packets(set)));
            all.filter(|(_, packets)| *packets > 0).collect()
        };
        let names = names(*gateway, snapshot);
        let rows = ways.iter().filter_map(|(link, exit)| {
            let told = self.links.get(&(netns.clone(), *link))?;
            let answered = self.tally(netns, drops::ANSWERED, Some(*link));
            Some(NetworkTraffic {
                network: (*names.get(exit)?).clone(),
                exit: *exit,
                sent: carried(told.received_v6),
                sent_v4: carried(less(told.received, told.received_v6)),
                received: carried(less(told.sent, answered)),
                received_v4: carried(answered),
                drops: drops(Some(*link)),
            })
        });
        GatewayTraffic {
            allocation: gateway.map(|view| view.allocation),
            slot: gateway.map(|view| view.slot),
            networks: rows.collect(),
            outside_drops: drops(None),
        }
    }

    fn tally(&self, netns: &Netns, set: &'static str, link: Option<IfName>) -> Counter {
        let tallies = self.tallies.get(&(netns.clone(), set));
        tallies.and_then(|tallies| tallies.get(&link)).copied().unwrap_or_default()
    }
}

/// Writes it where anyone on the node may read it; nothing is no file.
pub(crate) fn write(run: &Path, traffic: &[GatewayTraffic]) -> Result<(), DiskError> {
    if traffic.is_empty() {
        return disk::delete(&run.join(FILE));
    }
    let mut text = serde_json::to_vec(traffic).expect("its keys are all strings");
    text.push(b'\n');
    disk::replace(&run.join(FILE), &text, 0o644)
}

/// What the agent of this folder told last; none where it told nothing, as on a node without a gateway, or where this version
/// cannot read it.
///
/// # Errors
/// If it is there and cannot be read.
pub fn read(run: &Path) -> Result<Option<Vec<GatewayTraffic>>, DiskError> {
    let bytes = disk::read(&run.join(FILE), BYTES_MAX)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Where networks leave.
struct Place<'a> {
    netns: Netns,
    /// None: the node itself.
    gateway: Option<&'a GatewayView>,
    /// The links to exit points with these's indices, or to resources.
    ways: Vec<(IfName, PrefixIndex)>,
}

impl Place<'_> {
    fn ways(&self) -> impl Iterator<Item = Way> + '_ {
        self.ways.iter().map(|(link, _)| (self.netns.clone(), *link))
    }

    /// A gateway that stands by is cut off.
    fn serves(&self, snapshot: &Snapshot) -> bool {
        let node = snapshot.node.id();
        self.gateway.is_none_or(|view| view.serves() || view.second.as_ref() == Some(node))
    }
}

/// The gateways, and the node itself where some leave by it.
fn places(snapshot: &Snapshot) -> Vec<Place<'_>> {
    let gateways = snapshot.gateways.iter().map(|view| Place {
        netns: Netns::Named(Gateway::derive(&view.allocation, view.slot).netns),
        gateway: Some(view),
        ways: view.exits.keys().map(|exit| (to(&view.allocation, *exit), *exit)).collect(),
    });
    let leaving = snapshot.leaving().into_iter();
    let ways: Vec<_> = leaving.map(|(index, network)| (to(&network.allocation, index), index)).collect();
    let own = Place { netns: Netns::Named(name::netns_egress()), gateway: None, ways };
    gateways.chain(Some(own).filter(|own| !own.ways.is_empty())).collect()
}

fn to(allocation: &Allocation, index: PrefixIndex) -> IfName {
    Resource::derive(allocation, index).to_exit
}

/// Whose the links of a gateway are, or those of the node itself.
fn names<'a>(gateway: Option<&GatewayView>, snapshot: &'a Snapshot) -> BTreeMap<PrefixIndex, &'a NetworkId> {
    let Some(view) = gateway else {
        return snapshot.leaving().into_iter().map(|(index, network)| (index, &network.id)).collect();
    };
    let networks = snapshot.networks.iter().filter(|network| network.allocation == view.allocation);
    networks.filter_map(|network| Some((network.exit()?.index, &network.id))).collect()
}

fn is_egress(netns: &Netns) -> bool {
    *netns == Netns::Named(name::netns_egress())
}

/// What was counted since. Less than before: it began anew.
fn more(was: Option<&Counter>, now: &Counter) -> Counter {
    match was {
        Some(was) if was.packets <= now.packets && was.bytes <= now.bytes => less(*now, *was),
        _ => *now,
    }
}

/// Two counters are not read in the same moment: the part may be a little more than the whole.
fn less(whole: Counter, part: Counter) -> Counter {
    Counter {
        packets: whole.packets.saturating_sub(part.packets),
        bytes: whole.bytes.saturating_sub(part.bytes),
    }
}

fn carried(counter: Counter) -> Carried {
    Carried { packets: counter.packets, bytes: counter.bytes }
}

#[cfg(test)]
mod tests;
