//! Gives each seat of a placement a prefix index, and releases those of seats that are gone.
//!
//! The index is pseudo-random and deterministic: a hash of (network, seat, attempt) keyed with the farm's secret, the
//! first free one taken. Recreated, a resource asks for the index it had; neighbours cannot be enumerated. A released
//! index rests in quarantine; only its own seat may reclaim it from there, one generation higher.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use thiserror::Error;

use crate::addr::PrefixIndex;
use crate::id::{ExitSlot, Generation, NetworkId};
use crate::model::{Grant, Ledger, LedgerChange, ReadSet, Record, ResourceKey, Seat};
use crate::place::Placement;

/// The farm's secret that indices are keyed with. Whoever has it can tell which index a seat will ask for.
#[derive(Clone)]
pub struct IndexSecret(pub [u8; 32]);

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
}

/// Computes what to commit so that exactly the placement's seats are granted.
///
/// # Errors
/// When the slot is full or its allocation has no number; the ledger is as it was.
pub fn allocate(
    ledger: &Ledger,
    placement: &Placement,
    secret: &IndexSecret,
) -> Result<(ReadSet, LedgerChange), AllocateError> {
    let prefix = placement.slot.prefix;
    let allocation = ledger.allocation(prefix).ok_or(AllocateError::Unnumbered { prefix })?;
    let (number, slot) = (allocation.number(), placement.slot.slot);
    let read = ledger.read([Record::Slot(number, slot), Record::Network(placement.network.clone())]);
    let taken: BTreeMap<PrefixIndex, &Grant> = ledger.grants_in(number, slot).collect();
    let mut change = LedgerChange::default();
    let mut granted = Vec::new();
    for (key, grant) in ledger.grants_of(&placement.network) {
        let stays = key.number == number && key.index.slot() == slot && placement.seats.contains(&grant.seat);
        if stays {
            granted.push(grant.seat.clone());
        } else {
            change.grants.insert(key, Grant { quarantined: true, ..grant.clone() });
        }
    }
    let mut fresh = Vec::new();
    for seat in placement.seats.iter().filter(|seat| !granted.contains(seat)) {
        let place = Candidates { network: &placement.network, seat, slot, secret };
        let (index, generation) = place.first_free(&taken, &fresh).ok_or(AllocateError::Full {
            prefix,
            slot,
            in_use: taken.len(),
        })?;
        let network = placement.network.clone();
        let grant = Grant { network, seat: seat.clone(), generation, quarantined: false };
        change.grants.insert(ResourceKey { number, index }, grant);
        fresh.push(index);
    }
    Ok((read, change))
}

/// Numbers an allocation, if it has none: done when its first slot is configured.
#[must_use]
pub fn number(ledger: &Ledger, prefix: ipnet::Ipv6Net) -> (ReadSet, LedgerChange) {
    let read = ledger.read([Record::Allocations]);
    let allocations = if ledger.allocation(prefix).is_some() { Vec::new() } else { vec![prefix] };
    (read, LedgerChange { allocations, ..LedgerChange::default() })
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
        taken: &BTreeMap<PrefixIndex, &Grant>,
        fresh: &[PrefixIndex],
    ) -> Option<(PrefixIndex, Generation)> {
        /// Enough that a slot half full is nearly always served by the hash.
        const ATTEMPTS: u32 = 64;
        if let Some((index, grant)) = taken.iter().find(|(_, grant)| grant.quarantined && self.owned(grant)) {
            return Some((*index, grant.generation.next()));
        }
        let free = |index: &PrefixIndex| !taken.contains_key(index) && !fresh.contains(index);
        let hashed = (0..ATTEMPTS).filter_map(|attempt| self.attempt(attempt)).find(free);
        let start = self.attempt(0).map_or(0, PrefixIndex::get);
        let (before, after): (Vec<_>, Vec<_>) =
            PrefixIndex::of_slot(self.slot).partition(|index| index.get() < start);
        let index = hashed.or_else(|| after.into_iter().chain(before).find(free))?;
        Some((index, Generation::default().next()))
    }

    fn owned(&self, grant: &Grant) -> bool {
        grant.network == *self.network && grant.seat == *self.seat
    }

    /// `None` where the hash hits an index that is never granted (the last 256 of slot 15).
    fn attempt(&self, attempt: u32) -> Option<PrefixIndex> {
        let mut hash =
            Hmac::<Sha256>::new_from_slice(&self.secret.0).expect("HMAC takes a key of any length");
        let seat = match self.seat {
            Seat::Exit => "exit".to_owned(),
            Seat::Node(node) => format!("node {node}"),
        };
        hash.update(format!("{}\0{seat}\0{attempt}", self.network).as_bytes());
        let bytes = hash.finalize().into_bytes();
        let low = u16::from_be_bytes([bytes[0], bytes[1]]) & 0x0fff;
        PrefixIndex::new(u16::from(self.slot.get()) << 12 | low).ok()
    }
}
