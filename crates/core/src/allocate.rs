//! Gives each seat of a placement a prefix index, and releases those of seats that are gone.
//!
//! The index is pseudo-random and deterministic: a hash of (network, seat, attempt) keyed with the farm's secret, the
//! first free one taken. Recreated, a resource asks for the index it had; neighbours cannot be enumerated. A released
//! index rests in quarantine, from where only its own seat may reclaim it; after that it is anybody's. Either way its next
//! grant is one generation higher.
//!
//! An exit point's grant has a block of ports with it, as long as the slot has one left: found, rested and reclaimed in
//! the same way. A network that got none gets one when it is allocated again, one generation higher. A network that asks for a
//! public IPv4 address of its own gets one of its slot's pool beside its ports, in the same way. Of both a tenant's networks
//! have together no more than the slot's farmer lets one tenant have; a network that would have more goes on without.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use thiserror::Error;

use crate::addr::PrefixIndex;
use crate::id::{AllocationNumber, ExitSlot, Generation, NetworkId, NodeId, TenantId, Timestamp};
use crate::limit;
use crate::model::{Grant, Ledger, LedgerChange, PortBlock, ReadSet, Record, ResourceKey, Seat, Shares};
use crate::place::Placement;

/// The farm's secret that indices are keyed with. Whoever has it can tell which index a seat will ask for.
#[derive(Clone)]
pub struct IndexSecret(pub [u8; 32]);

/// Under which terms prefixes are granted and released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What time it is.
    pub now: Timestamp,
    /// Prefixes that the tenant may have, quarantined ones included.
    pub quota: usize,
    /// Nodes that may have state of the network beside those of its seats: the holders of its slots until now.
    pub holders: BTreeSet<NodeId>,
}

impl Default for Terms {
    /// Of one who knows no time: with the quota that every tenant has, and what is released rests for ever.
    fn default() -> Self {
        Self { now: Timestamp(0), quota: limit::PREFIXES_PER_TENANT, holders: BTreeSet::new() }
    }
}

/// Why a placement gets no grants.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AllocateError {
    /// The slot's /48 has no number yet.
    #[error("allocation {prefix} has no number yet")]
    Unnumbered {
        /// The /48.
        prefix: ipnet::Ipv6Net,
    },
    /// Every index is taken. Nothing spills into another slot.
    #[error("exit slot {slot} of {prefix} is full: {in_use} prefixes are in use")]
    Full {
        /// The /48.
        prefix: ipnet::Ipv6Net,
        /// The slot.
        slot: ExitSlot,
        /// Grants and quarantined ones.
        in_use: usize,
    },
    /// The tenant would have more than it may.
    #[error("tenant {tenant} has {held} prefixes and asks for {asked} more: its quota is {quota}")]
    Quota {
        /// The tenant.
        tenant: TenantId,
        /// What it has, quarantined ones included.
        held: usize,
        /// How many more it asked for.
        asked: usize,
        /// What it may have.
        quota: usize,
    },
}

impl AllocateError {
    /// What to do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unnumbered { .. } => "configure a slot of it first",
            Self::Full { .. } => "choose another exit slot; what was released rests for up to seven days",
            Self::Quota { .. } => "delete what is not needed: released prefixes count for up to seven days",
        }
    }
}

/// Computes what to commit so that exactly the placement's seats are granted. Costs in proportion to what the network
/// has and asks for; only where a slot is nearly full, it is walked.
///
/// # Errors
/// When the slot is full, its allocation has no number or the tenant would have too many; the ledger is as it was.
pub fn allocate(
    ledger: &Ledger,
    placement: &Placement,
    secret: &IndexSecret,
    terms: &Terms,
) -> Result<(ReadSet, LedgerChange), AllocateError> {
    let prefix = placement.slot.prefix;
    let allocation = ledger.allocation(prefix).ok_or(AllocateError::Unnumbered { prefix })?;
    let place = Place { number: allocation.number(), slot: placement.slot.slot, ledger, now: terms.now };
    let held = Held::of(placement, place);
    let wanted = placement.seats.iter().filter(|seat| !held.granted.contains(seat));
    let (again, anew): (Vec<_>, Vec<_>) = wanted.partition(|seat| held.resting.contains_key(seat));
    let tenant = &placement.network.tenant;
    let (count, asked, quota) = (ledger.count_of(tenant), anew.len(), terms.quota);
    if asked > 0 && count + asked > quota {
        return Err(AllocateError::Quota { tenant: tenant.clone(), held: count, asked, quota });
    }
    let mut change = LedgerChange { grants: held.releases(placement, terms), ..LedgerChange::default() };
    let new = |seat: &Seat, generation: Generation| {
        Grant::new(placement.network.clone(), seat.clone(), generation.next())
    };
    for seat in again {
        let (key, before) = held.resting[seat];
        let waiting = before.released.iter().filter(|_| !before.is_over(terms.now));
        let late = waiting.flat_map(|release| release.holders.iter().cloned()).collect();
        change.grants.insert(key, Grant { late, ..new(seat, before.generation) });
    }
    for seat in anew {
        let candidates = Candidates { network: &placement.network, seat, slot: place.slot, secret };
        let found = candidates.first_free(|index| place.free(index, &change.grants));
        let (index, generation) = found.ok_or_else(|| {
            let in_use = place.in_use(&change.grants);
            AllocateError::Full { prefix, slot: place.slot, in_use }
        })?;
        change.grants.insert(place.key(index), new(seat, generation));
    }
    grant_ports(&mut change, &held, placement, (place, secret));
    grant_own_v4(&mut change, &held, placement, (place, secret));
    let slots = held.released.iter().map(|(key, _)| Record::Slot(key.number, key.index.slot()));
    let own = [Record::Slot(place.number, place.slot), Record::Network(placement.network.clone())];
    Ok((ledger.read(slots.chain(own)), change))
}

/// Gives the network's exit point ports, if it is granted anew or has none. Whoever had them and has rested loses what was
/// left of them, so that no two grants ever name one port.
fn grant_ports(
    change: &mut LedgerChange,
    held: &Held<'_>,
    placement: &Placement,
    (place, secret): (Place<'_>, &IndexSecret),
) {
    let new = change.grants.iter().find(|(_, grant)| grant.is_live() && grant.seat == Seat::Exit);
    let again = held.exit.filter(|(_, grant)| grant.ports.is_none()).map(granted_again);
    let Some((key, mut grant)) = new.map(|(key, grant)| (*key, grant.clone())).or(again) else { return };
    if place.shares(placement).blocks >= placement.block_quota {
        return;
    }
    let before = held.resting.get(&Seat::Exit).and_then(|(_, grant)| grant.ports);
    let candidates = Candidates { network: &placement.network, seat: &Seat::Exit, slot: place.slot, secret };
    let others: Vec<(ResourceKey, &Grant, PortBlock)> =
        place.ledger.ports_in(place.number, place.slot).filter(|(other, ..)| *other != key).collect();
    let is_free = |block: &PortBlock| {
        !others.iter().any(|(_, grant, taken)| taken.overlaps(*block) && !grant.is_over(place.now))
    };
    let Some(block) = before.into_iter().chain(candidates.blocks(placement.ports)).find(is_free) else {
        return;
    };
    for (other, grant, _) in others.iter().filter(|(_, _, taken)| taken.overlaps(block)) {
        let without = || Grant { ports: None, own_v4: None, ..(*grant).clone() };
        change.grants.entry(*other).or_insert_with(without);
    }
    grant.ports = Some(block);
    change.grants.insert(key, grant);
}

/// The same grant, one generation higher.
fn granted_again((key, grant): (ResourceKey, &Grant)) -> (ResourceKey, Grant) {
    (key, Grant { generation: grant.generation.next(), ..grant.clone() })
}

/// Gives the network's exit point an address of its slot's pool, if the network asks for one and has none of these. It comes
/// beside ports alone. Whoever had it and has rested loses it.
fn grant_own_v4(
    change: &mut LedgerChange,
    held: &Held<'_>,
    placement: &Placement,
    (place, secret): (Place<'_>, &IndexSecret),
) {
    let new = change.grants.iter().find(|(_, grant)| grant.is_live() && grant.seat == Seat::Exit);
    let found = new.map(|(key, grant)| (*key, grant.clone())).or_else(|| held.exit.map(granted_again));
    let Some((key, mut grant)) = found.filter(|(_, grant)| grant.ports.is_some()) else { return };
    let pool = &placement.pool_v4;
    let has = grant.own_v4.is_some_and(|own| pool.contains(&own));
    if has || place.shares(placement).addresses >= placement.pool_quota {
        return;
    }
    let before = held.resting.get(&Seat::Exit).and_then(|(_, grant)| grant.own_v4);
    let candidates = Candidates { network: &placement.network, seat: &Seat::Exit, slot: place.slot, secret };
    let others: Vec<(ResourceKey, &Grant, PortBlock)> =
        place.ledger.ports_in(place.number, place.slot).filter(|(other, ..)| *other != key).collect();
    let has = |grant: &Grant, own: Ipv4Addr| grant.own_v4 == Some(own);
    let is_free =
        |own: &Ipv4Addr| !others.iter().any(|(_, grant, _)| has(grant, *own) && !grant.is_over(place.now));
    let wanted = before.into_iter().filter(|own| pool.contains(own)).chain(candidates.of_pool(pool));
    let Some(own) = { wanted }.find(is_free) else { return };
    for (other, rested, _) in others.iter().filter(|(_, grant, _)| has(grant, own)) {
        change.grants.entry(*other).or_insert_with(|| (*rested).clone()).own_v4 = None;
    }
    grant.own_v4 = Some(own);
    change.grants.insert(key, grant);
}

/// One slot of the ledger, now.
#[derive(Clone, Copy)]
struct Place<'a> {
    number: AllocationNumber,
    slot: ExitSlot,
    ledger: &'a Ledger,
    now: Timestamp,
}

impl Place<'_> {
    fn key(&self, index: PrefixIndex) -> ResourceKey {
        ResourceKey { number: self.number, index }
    }

    /// What the tenant's other networks have here.
    fn shares(&self, placement: &Placement) -> Shares {
        self.ledger.shares((self.number, self.slot), &placement.network, self.now)
    }

    /// The generation that an index had last, if anybody may have it.
    fn free(&self, index: PrefixIndex, taken: &BTreeMap<ResourceKey, Grant>) -> Option<Generation> {
        let key = self.key(index);
        if taken.contains_key(&key) {
            return None;
        }
        match self.ledger.grants().get(&key) {
            None => Some(Generation::default()),
            Some(before) => before.is_over(self.now).then_some(before.generation),
        }
    }

    fn in_use(&self, taken: &BTreeMap<ResourceKey, Grant>) -> usize {
        PrefixIndex::of_slot(self.slot).filter(|index| self.free(*index, taken).is_none()).count()
    }
}

/// What the network has already, sorted by what becomes of it.
struct Held<'a> {
    /// Seats that keep theirs.
    granted: BTreeSet<&'a Seat>,
    /// Released ones in the placement's slot, for their seats to take again.
    resting: BTreeMap<&'a Seat, (ResourceKey, &'a Grant)>,
    /// Live ones that nobody of the placement has a seat for.
    released: Vec<(ResourceKey, &'a Grant)>,
    /// Where there may be state of the network now.
    nodes: BTreeSet<&'a NodeId>,
    /// Its exit point.
    exit: Option<(ResourceKey, &'a Grant)>,
}

impl<'a> Held<'a> {
    fn of(placement: &'a Placement, place: Place<'a>) -> Self {
        let (granted, resting, released) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        let mut held = Self { granted, resting, released, nodes: BTreeSet::new(), exit: None };
        for (key, grant) in place.ledger.all_of(&placement.network) {
            let here = key.number == place.number && key.index.slot() == place.slot;
            if let (true, Seat::Node(node)) = (grant.is_live(), &grant.seat) {
                held.nodes.insert(node);
            }
            match (grant.is_live(), here) {
                (true, true) if placement.seats.contains(&grant.seat) => {
                    held.granted.insert(&grant.seat);
                    if grant.seat == Seat::Exit {
                        held.exit = Some((key, grant));
                    }
                }
                (true, _) => held.released.push((key, grant)),
                (false, true) => {
                    held.resting.entry(&grant.seat).or_insert((key, grant));
                }
                (false, false) => {}
            }
        }
        held
    }

    fn releases(&self, placement: &Placement, terms: &Terms) -> BTreeMap<ResourceKey, Grant> {
        let mut holders: BTreeSet<NodeId> = self.nodes.iter().map(|node| (*node).clone()).collect();
        holders.insert(placement.exit_node.clone());
        holders.extend(terms.holders.iter().cloned());
        let released = self.released.iter();
        released.map(|(key, grant)| (*key, grant.release(terms.now, holders.clone()))).collect()
    }
}

/// Numbers an allocation, if it has none: done when its first slot is configured. Once all numbers are given there is
/// nothing to commit, and what needs the allocation is refused as [`AllocateError::Unnumbered`].
#[must_use]
pub fn number(ledger: &Ledger, prefix: ipnet::Ipv6Net) -> (ReadSet, LedgerChange) {
    number_all(ledger, [prefix])
}

/// The same for several, in their order, each once: those that no number is left for are not in the change.
#[must_use]
pub fn number_all(
    ledger: &Ledger,
    prefixes: impl IntoIterator<Item = ipnet::Ipv6Net>,
) -> (ReadSet, LedgerChange) {
    let read = ledger.read([Record::Allocations]);
    let left = ledger.next_number().map_or(0, |first| usize::from(u16::MAX - first.get()) + 1);
    let without = prefixes.into_iter().filter(|prefix| ledger.allocation(*prefix).is_none());
    (read, LedgerChange { allocations: without.take(left).collect(), ..LedgerChange::default() })
}

/// The indices that one seat asks for, in order.
struct Candidates<'a> {
    network: &'a NetworkId,
    seat: &'a Seat,
    slot: ExitSlot,
    secret: &'a IndexSecret,
}

impl Candidates<'_> {
    /// Hashed attempts first; once those run out, the next index upwards from the last: so a nearly full slot is
    /// filled to the last prefix.
    fn first_free(
        &self,
        free: impl Fn(PrefixIndex) -> Option<Generation>,
    ) -> Option<(PrefixIndex, Generation)> {
        /// Enough that a slot half full is nearly always served by the hash.
        const ATTEMPTS: u32 = 64;
        let take = |index: PrefixIndex| Some((index, free(index)?));
        let hashed = (0..ATTEMPTS).filter_map(|attempt| self.attempt(attempt)).find_map(take);
        hashed.or_else(|| {
            let start = self.attempt(0).map_or(0, PrefixIndex::get);
            let (before, after): (Vec<_>, Vec<_>) =
                PrefixIndex::of_slot(self.slot).partition(|index| index.get() < start);
            after.into_iter().chain(before).find_map(take)
        })
    }

    /// The blocks of ports that the network asks for, in order: one by its hash, and upwards from there.
    fn blocks(&self, size: u16) -> impl Iterator<Item = PortBlock> {
        let blocks = PortBlock::all(size);
        let count = blocks.len();
        let start = usize::from(self.hash("ports")) % count;
        blocks.cycle().skip(start).take(count)
    }

    /// The addresses of a pool in the order in which the network asks for them: one by its hash, and onwards from there.
    fn of_pool(&self, pool: &[Ipv4Addr]) -> impl Iterator<Item = Ipv4Addr> {
        let start = usize::from(self.hash("address")).checked_rem(pool.len()).unwrap_or_default();
        pool.iter().cycle().skip(start).take(pool.len()).copied()
    }

    /// `None` where the hash hits an index that is never granted (the last 256 of slot 15).
    fn attempt(&self, attempt: u32) -> Option<PrefixIndex> {
        let low = self.hash(&attempt.to_string()) & 0x0fff;
        PrefixIndex::new(u16::from(self.slot.get()) << 12 | low).ok()
    }

    fn hash(&self, what: &str) -> u16 {
        let mut hash =
            Hmac::<Sha256>::new_from_slice(&self.secret.0).expect("HMAC takes a key of any length");
        let seat = match self.seat {
            Seat::Exit => "exit".to_owned(),
            Seat::Node(node) => format!("node {node}"),
        };
        hash.update(format!("{}\0{seat}\0{what}", self.network).as_bytes());
        let bytes = hash.finalize().into_bytes();
        u16::from_be_bytes([bytes[0], bytes[1]])
    }
}
