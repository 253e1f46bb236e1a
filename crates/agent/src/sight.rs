//! What a node sees on the segment of the exit slots that it may hold, and what it says there.
//!
//! Each second it asks for the upstream router and for each of these slots' gateways on another machine. What serves here is
//! announced when it begins to, and again: whoever had the slot before is still in switches' tables.
//!
//! Owns: when to ask and to announce, and what is known. Must not decide by it: the status tells it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use sixfold_core::addr::Gateway;
use sixfold_core::mac::Mac;
use sixfold_core::model::{Answering, ExitStatus, GatewayView, SlotKey, Snapshot};
use sixfold_core::name::IfName;
use sixfold_core::tenure::Duty;
use sixfold_kernel::segment::{Ask, Heard, Hearing, Patience, Repeats, Segment, SegmentError, Verdict};

use crate::status::words;

/// Three questions, a second apart, each with most of that second for its answer.
const PATIENCE: Patience =
    Patience { asks: 3, wait: Duration::from_millis(800), lasts: Duration::from_secs(5) };

/// Ears and a voice on a segment.
pub trait Voice {
    /// Asks; the answer is heard later.
    ///
    /// # Errors
    /// If nothing was sent.
    fn ask(&mut self, ask: Ask) -> Result<(), SegmentError>;

    /// Says that addresses are at a hardware address.
    ///
    /// # Errors
    /// If something was not sent.
    fn announce(&mut self, mac: Mac, addresses: &[IpAddr]) -> Result<(), SegmentError>;

    /// What was heard since the last time.
    ///
    /// # Errors
    /// If nothing can be heard any more.
    fn read(&mut self) -> Result<Heard, SegmentError>;
}

impl Voice for Segment {
    fn ask(&mut self, ask: Ask) -> Result<(), SegmentError> {
        Self::ask(self, ask)
    }

    fn announce(&mut self, mac: Mac, addresses: &[IpAddr]) -> Result<(), SegmentError> {
        Self::announce(self, mac, addresses)
    }

    fn read(&mut self) -> Result<Heard, SegmentError> {
        Self::read(self)
    }
}

type Open = Box<dyn FnMut(IfName) -> Result<Box<dyn Voice>, SegmentError>>;

/// What is known of the segment, and what has been said there. By default it sees nothing and says nothing.
#[derive(Default)]
pub struct Sight {
    open: Option<Open>,
    /// By the NIC of that name.
    voice: Option<(IfName, Box<dyn Voice>)>,
    heard: BTreeMap<Ipv6Addr, Hearing>,
    /// Of the gateways that serve here.
    announced: BTreeMap<SlotKey, Repeats>,
    /// Why nothing is seen or said, once it was logged.
    trouble: Option<String>,
}

impl Sight {
    /// By the NICs of the namespace that the calling thread is in.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::by(|nic| Ok(Box::new(Segment::open(nic)?)))
    }

    /// By whatever is opened for a NIC.
    #[must_use]
    pub fn by(open: impl FnMut(IfName) -> Result<Box<dyn Voice>, SegmentError> + 'static) -> Self {
        Self { open: Some(Box::new(open)), ..Self::default() }
    }

    /// Takes in what was heard, and asks again.
    pub fn look(&mut self, snapshot: &Snapshot, now: Instant) {
        let asks = asks(snapshot);
        self.heard.retain(|address, _| asks.contains_key(address));
        if asks.is_empty() {
            self.voice = None;
            return;
        }
        let outcome = self.listen(snapshot.node.nic(), &asks, now);
        self.note(outcome);
    }

    fn listen(
        &mut self,
        nic: IfName,
        asks: &BTreeMap<Ipv6Addr, Ask>,
        now: Instant,
    ) -> Result<(), SegmentError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if self.voice.as_ref().is_none_or(|(by, _)| *by != nic) {
            self.heard.clear();
            self.voice = Some((nic, open(nic)?));
        }
        let Some((_, voice)) = &mut self.voice else { return Ok(()) };
        let heard = match voice.read() {
            Ok(heard) => heard,
            Err(error) => {
                self.voice = None;
                self.heard.clear();
                return Err(error);
            }
        };
        if heard.deaf {
            self.heard.values_mut().for_each(Hearing::deaf);
        }
        for answer in heard.answers {
            if let Some(hearing) = self.heard.get_mut(&answer.address) {
                hearing.answered(now);
            }
        }
        for (address, ask) in asks {
            let hearing = self.heard.entry(*address).or_insert_with(|| Hearing::new(PATIENCE));
            // What has had its time is counted before another question.
            hearing.verdict(now);
            voice.ask(*ask)?;
            hearing.asked(now);
        }
        Ok(())
    }

    /// Announces what serves and is due, and tells how each slot is.
    pub fn tell(
        &mut self,
        snapshot: &Snapshot,
        is_up: impl Fn(&Gateway) -> bool,
        now: Instant,
    ) -> Vec<ExitStatus> {
        let router = self.answering(snapshot.upstream.next_hop, now);
        let mut exits = Vec::new();
        for view in &snapshot.gateways {
            let gateway = Gateway::derive(&view.allocation, view.slot);
            let slot = view.key();
            let serves = is_up(&gateway);
            if serves && view.duty == Duty::Hold {
                self.announce(slot, (view, &gateway), now);
            } else {
                self.announced.remove(&slot);
            }
            let others = self.answering(gateway.public_link_local.addr(), now);
            let (duty, tenure, made) = (view.duty, view.tenure.clone(), true);
            exits.push(ExitStatus { slot, duty, tenure, made, serves, router, others });
        }
        self.announced.retain(|slot, _| exits.iter().any(|exit| exit.slot == *slot));
        exits
    }

    fn announce(&mut self, slot: SlotKey, (view, gateway): (&GatewayView, &Gateway), now: Instant) {
        let Some((_, voice)) = &mut self.voice else { return };
        let repeats = self.announced.entry(slot).or_insert_with(|| Repeats::new(now));
        if repeats.next() > now {
            return;
        }
        let v6 = [gateway.public_link_local.addr(), gateway.public_address.addr()];
        let v4 = view.public_v4.map(|net| IpAddr::V4(net.addr()));
        let addresses: Vec<IpAddr> = v6.map(IpAddr::V6).into_iter().chain(v4).collect();
        let outcome = voice.announce(gateway.public_mac, &addresses);
        if outcome.is_ok() {
            repeats.sent(now);
        }
        self.note(outcome);
    }

    fn answering(&mut self, address: Ipv6Addr, now: Instant) -> Answering {
        match self.heard.get_mut(&address).map(|hearing| hearing.verdict(now)) {
            Some(Verdict::Answers) => Answering::Answers,
            Some(Verdict::Silent) => Answering::Silent,
            Some(Verdict::Unknown) | None => Answering::Unknown,
        }
    }

    /// Logs what is wrong when it begins.
    fn note(&mut self, outcome: Result<(), SegmentError>) {
        let trouble = outcome.err().map(|error| words(&error, error.hint()));
        if let Some(error) = trouble.as_ref().filter(|_| trouble != self.trouble) {
            tracing::warn!(error, "the segment of the exit slots is not seen");
        }
        self.trouble = trouble;
    }
}

/// What is asked for, by address: the router, and the gateways of the slots.
fn asks(snapshot: &Snapshot) -> BTreeMap<Ipv6Addr, Ask> {
    let gateways = snapshot.gateways.iter().map(|view| {
        let address = Gateway::derive(&view.allocation, view.slot).public_link_local.addr();
        (address, Ask::Gateway(address))
    });
    let mut asks: BTreeMap<Ipv6Addr, Ask> = gateways.collect();
    if !asks.is_empty() {
        let router = snapshot.upstream.next_hop;
        asks.insert(router, Ask::Router(router));
    }
    asks
}

#[cfg(test)]
mod tests;
