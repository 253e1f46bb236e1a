//! What a node sees on the segment of the exit slots that it may hold, and what it says there.
//!
//! It asks for each of these slots' gateways on another machine, again and again (`agent --exit-interval`), and each second for the
//! upstream router. What serves here is announced when it begins to, and again: whoever had the slot before is still in
//! switches' tables. Of a slot with two next hops each is asked for.
//!
//! Owns: when to ask and to announce, and what is known. Must not decide by it, nor read what other nodes say: `holding` does.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sixfold_core::addr::Gateway;
use sixfold_core::mac::Mac;
use sixfold_core::model::{Answering, GatewayView, Snapshot};
use sixfold_core::name::IfName;
use sixfold_core::state::{LinkEnd, Netns};
use sixfold_kernel::segment::{
    Answer, Ask, Heard, Hearing, Patience, Repeats, Segment, SegmentError, Verdict, Word,
};

use super::standing::Standing;
use crate::status::words;

/// Questions for a gateway that make silence.
const ASKS: u32 = 3;
/// Between two questions for the router, which others need more than we do.
const ROUTER_INTERVAL: Duration = Duration::from_secs(1);
/// What was found out counts for so long, once nothing confirms it.
const LASTS: Duration = Duration::from_secs(5);
/// What an agent that starts knows is of yesterday: so long it listens before it takes silence for granted.
const LISTENS_FIRST: Duration = Duration::from_secs(2);
/// For so long what was heard of others lets a gateway begin to forward: less than another one takes to be given the slot, because
/// this one is silent.
pub(crate) const FRESH: Duration = Duration::from_millis(500);
/// Before a segment that could not be listened to is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// For how long a node has just come back to its segment: others may be known there for what it announced before.
const BACK: Duration = Duration::from_secs(1);

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

    /// Says something to the other nodes.
    ///
    /// # Errors
    /// If nothing was sent.
    fn send(&mut self, word: &Word) -> Result<(), SegmentError>;

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

    fn send(&mut self, word: &Word) -> Result<(), SegmentError> {
        Self::send(self, word)
    }

    fn read(&mut self) -> Result<Heard, SegmentError> {
        Self::read(self)
    }
}

type Open = Box<dyn FnMut(&LinkEnd) -> Result<Box<dyn Voice>, SegmentError>>;

/// What is seen of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether the upstream router answers.
    pub router: Answering,
    /// Whether the slot's gateway does on another machine.
    pub others: Answering,
    /// Of a slot with two next hops: whether the second one does on another machine.
    pub second: Answering,
    /// The same, leaving out a holder that stands in.
    pub rivals: Answering,
}

impl Seen {
    /// The same by a node whose own gateway has a NIC itself and so is heard as others are: whether another machine answers by
    /// the very hardware address that it has nobody can tell. Who stands in for a second has another one.
    #[must_use]
    pub const fn besides(self, own: Standing) -> Self {
        let others = if own.first { Answering::Unknown } else { self.others };
        let second = if own.second && !own.first { Answering::Unknown } else { self.second };
        Self { others, second, ..self }
    }
}

/// What is announced: that addresses are at a hardware address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announced {
    mac: Mac,
    addresses: Vec<IpAddr>,
    /// The link itself, where that has a cable of its own: only by it do switches learn the right port.
    by: Option<LinkEnd>,
}

impl Announced {
    /// By the gateway that holds its slot.
    #[must_use]
    pub fn first(gateway: &Gateway, view: &GatewayView) -> Self {
        let v6 = [gateway.public_link_local.addr(), gateway.public_address.addr()].map(IpAddr::V6);
        let own = view.own_addresses().map(|(_, own)| own.address);
        let v4 = view.public_v4.map(|net| net.addr()).into_iter().chain(own).map(IpAddr::V4);
        Self { mac: gateway.public_mac, addresses: v6.into_iter().chain(v4).collect(), by: None }
    }

    /// By the second next hop, or by the holder that stands in for it.
    #[must_use]
    pub fn second(gateway: &Gateway, stands_in: bool) -> Self {
        let addresses = [gateway.second_link_local.addr(), gateway.second_address.addr()];
        let mac = if stands_in { gateway.public_mac } else { gateway.second_mac };
        Self { mac, addresses: addresses.map(IpAddr::V6).to_vec(), by: None }
    }

    /// The same by a link, if one is told.
    #[must_use]
    pub fn by(self, link: Option<LinkEnd>) -> Self {
        Self { by: link, ..self }
    }
}

/// Somebody who is asked for.
struct Asked {
    ask: Ask,
    interval: Duration,
    hearing: Hearing,
    /// The same, but for answers from that hardware address.
    besides: Option<(Mac, Hearing)>,
    next: Instant,
}

impl Asked {
    fn new((ask, except): (Ask, Option<Mac>), interval: Duration, now: Instant) -> Self {
        // Each question has most of the time until the next one for its answer.
        let patience =
            Patience { asks: ASKS, wait: interval * 9 / 10, lasts: LASTS.max(3 * ASKS * interval) };
        let besides = except.map(|mac| (mac, Hearing::new(patience)));
        Self { ask, interval, hearing: Hearing::new(patience), besides, next: now }
    }

    fn hearings(&mut self) -> impl Iterator<Item = &mut Hearing> {
        iter::once(&mut self.hearing).chain(self.besides.as_mut().map(|(_, hearing)| hearing))
    }

    fn deaf(&mut self) {
        self.hearings().for_each(Hearing::deaf);
    }

    fn answered(&mut self, from: Mac, now: Instant) {
        self.hearing.answered(now);
        if let Some((_, hearing)) = self.besides.as_mut().filter(|(except, _)| *except != from) {
            hearing.answered(now);
        }
    }

    /// Whether anybody answers, and whether anybody else than is left out does.
    fn answering(&mut self, now: Instant) -> [Answering; 2] {
        let all = answering(&mut self.hearing, now);
        [all, self.besides.as_mut().map_or(all, |(_, hearing)| answering(hearing, now))]
    }
}

fn answering(hearing: &mut Hearing, now: Instant) -> Answering {
    match hearing.verdict(now) {
        Verdict::Answers => Answering::Answers,
        Verdict::Silent => Answering::Silent,
        Verdict::Unknown => Answering::Unknown,
    }
}

/// What is known of the segment, and what has been said there. By default it sees nothing and says nothing.
#[derive(Default)]
pub struct Sight {
    open: Option<Open>,
    interval: Duration,
    /// By the NIC of that name.
    voice: Option<(IfName, Box<dyn Voice>)>,
    /// Before then it is not tried to be heard again.
    opens_at: Option<Instant>,
    /// When it began to listen for the first time.
    began: Option<Instant>,
    /// When it listened last.
    listened: Option<Instant>,
    asked: BTreeMap<Ipv6Addr, Asked>,
    /// As whom this node answers itself, by address: now, and when it listened last, of which there may be answers left.
    own: [BTreeSet<(Ipv6Addr, Mac)>; 2],
    /// Of what serves here.
    announced: BTreeMap<Announced, Repeats>,
    /// Why nothing is seen or said, once it was logged.
    trouble: Option<String>,
    /// Since when it sees and speaks again.
    back: Option<Instant>,
}

impl Sight {
    /// By the NICs of the namespace that the calling thread is in, asking for gateways at this interval. `directory`: of namespaces.
    #[must_use]
    pub fn of_this_machine(interval: Duration, directory: PathBuf) -> Self {
        Self::by(interval, move |link| Ok(Box::new(Segment::open_within(directory.clone(), link)?)))
    }

    /// By whatever is opened for a link.
    #[must_use]
    pub fn by(
        interval: Duration,
        open: impl FnMut(&LinkEnd) -> Result<Box<dyn Voice>, SegmentError> + 'static,
    ) -> Self {
        Self { open: Some(Box::new(open)), interval, ..Self::default() }
    }

    /// When the next look, question or announcement is due; never, if there is nothing to look at.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let asks = self.asked.values().map(|asked| asked.next);
        let opens = self.opens_at.filter(|_| !self.asked.is_empty());
        match opens {
            Some(at) => Some(at),
            None => asks.chain(self.announced.values().map(Repeats::next)).min(),
        }
    }

    /// Says as whom this node answers itself where it can hear that, by address, until it says so again: before each look.
    pub fn is(&mut self, own: BTreeSet<(Ipv6Addr, Mac)>) {
        self.own.swap(0, 1);
        self.own[0] = own;
    }

    /// Takes in what was heard, and asks what is due. Returns what other nodes said.
    pub fn look(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Word> {
        let asks = asks(snapshot);
        self.asked.retain(|address, _| asks.contains_key(address));
        if self.open.is_none() || asks.is_empty() {
            self.voice = None;
            return Vec::new();
        }
        for (address, ask) in asks {
            let interval = match ask.0 {
                Ask::Gateway(_) => self.interval,
                Ask::Router(_) => self.interval.max(ROUTER_INTERVAL),
            };
            self.asked.entry(address).or_insert_with(|| Asked::new(ask, interval, now));
        }
        if self.opens_at.is_some_and(|at| now < at) {
            return Vec::new();
        }
        let outcome = self.listen(snapshot.gateway_nic(), now);
        self.opens_at = outcome.as_ref().err().map(|_| now + AGAIN);
        match outcome {
            Ok(heard) => {
                if self.trouble.take().is_some() {
                    self.back = Some(now);
                }
                heard
            }
            Err(error) => {
                self.note(&error);
                Vec::new()
            }
        }
    }

    fn listen(&mut self, nic: IfName, now: Instant) -> Result<Vec<Word>, SegmentError> {
        let Some(open) = &mut self.open else { return Ok(Vec::new()) };
        if self.voice.as_ref().is_none_or(|(by, _)| *by != nic) {
            self.asked.values_mut().for_each(Asked::deaf);
            self.voice = Some((nic, open(&LinkEnd { netns: Netns::Host, link: nic })?));
        }
        let Some((_, voice)) = &mut self.voice else { return Ok(Vec::new()) };
        let heard = match voice.read() {
            Ok(heard) => heard,
            Err(error) => {
                self.voice = None;
                return Err(error);
            }
        };
        self.began.get_or_insert(now);
        // Who did not listen, having been stopped, say, knows no silence: another may have begun.
        let before = self.listened.replace(now);
        let patience = FRESH.max(2 * self.interval);
        if heard.deaf || before.is_some_and(|before| now.saturating_duration_since(before) > patience) {
            self.asked.values_mut().for_each(Asked::deaf);
        }
        let is_own =
            |answer: &Answer| self.own.iter().any(|own| own.contains(&(answer.address, answer.from)));
        for answer in heard.answers.into_iter().filter(|answer| !is_own(answer)) {
            if let Some(asked) = self.asked.get_mut(&answer.address) {
                asked.answered(answer.from, now);
            }
        }
        for asked in self.asked.values_mut().filter(|asked| asked.next <= now) {
            // What has had its time is counted before another question.
            asked.answering(now);
            voice.ask(asked.ask)?;
            asked.hearings().for_each(|hearing| hearing.asked(now));
            asked.next = now + asked.interval;
        }
        Ok(heard.words.into_iter().map(|(_, word)| word).collect())
    }

    /// What is seen of a slot at that moment, after a look.
    pub fn seen(&mut self, snapshot: &Snapshot, view: &GatewayView, now: Instant) -> Seen {
        let gateway = Gateway::derive(&view.allocation, view.slot);
        let unknown = [Answering::Unknown; 2];
        let mut of = |address| self.asked.get_mut(&address).map_or(unknown, |asked| asked.answering(now));
        let ([router, _], [others, _]) =
            (of(snapshot.upstream.next_hop), of(gateway.public_link_local.addr()));
        let [second, rivals] = of(gateway.second_link_local.addr());
        Seen { router, others, second, rivals }
    }

    /// Between two questions for a gateway.
    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether it sees and speaks again since just now.
    #[must_use]
    pub fn is_back(&self, now: Instant) -> bool {
        self.back.is_some_and(|back| now.saturating_duration_since(back) < BACK)
    }

    /// Whether it has listened for long enough to take silence for granted.
    #[must_use]
    pub fn is_settled(&self, now: Instant) -> bool {
        self.began.is_some_and(|began| now.saturating_duration_since(began) >= LISTENS_FIRST)
    }

    /// Says something to the other nodes.
    pub fn say(&mut self, all: &[Word]) {
        let Some((_, voice)) = self.voice.as_mut().filter(|_| !all.is_empty()) else { return };
        if let Err(error) = all.iter().try_for_each(|word| voice.send(word)) {
            self.note(&error);
        }
    }

    /// Announces what serves and is due: `serving` is what this node is, and whether another machine answers for it as well: then
    /// switches may know that one, and it is said as if this one had begun just now.
    pub fn tell(&mut self, serving: &BTreeMap<Announced, bool>, now: Instant) {
        self.announced.retain(|what, _| serving.get(what) == Some(&false));
        for what in serving.keys() {
            self.announce(what, now);
        }
    }

    fn announce(&mut self, what: &Announced, now: Instant) {
        let (Some((_, voice)), Some(open)) = (&mut self.voice, &mut self.open) else { return };
        let repeats = self.announced.entry(what.clone()).or_insert_with(|| Repeats::new(now));
        if repeats.next() > now {
            return;
        }
        let outcome = match &what.by {
            None => voice.announce(what.mac, &what.addresses),
            Some(link) => open(link).and_then(|mut own| own.announce(what.mac, &what.addresses)),
        };
        match outcome {
            Ok(()) => repeats.sent(now),
            Err(error) => {
                // From the beginning, when the segment is looked at again.
                self.announced.insert(what.clone(), Repeats::new(now + self.interval));
                match &what.by {
                    None => self.note(&error),
                    // A card that was just set up has no carrier for some seconds.
                    Some(link) => tracing::debug!(%error, netns = %link.netns, "not announced yet"),
                }
            }
        }
    }

    /// Logs what is wrong when it begins.
    fn note(&mut self, error: &SegmentError) {
        let trouble = words(error, error.hint());
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(error = trouble, "the segment of the exit slots is not seen");
        }
        self.trouble = Some(trouble);
    }
}

/// What is asked for, by address: the router, and the next hops of the slots; and whose answer is told apart.
fn asks(snapshot: &Snapshot) -> BTreeMap<Ipv6Addr, (Ask, Option<Mac>)> {
    let mut asks = BTreeMap::new();
    for view in &snapshot.gateways {
        let gateway = Gateway::derive(&view.allocation, view.slot);
        let first = gateway.public_link_local.addr();
        asks.insert(first, (Ask::Gateway(first), None));
        if view.second.is_some() {
            let second = gateway.second_link_local.addr();
            asks.insert(second, (Ask::Gateway(second), Some(gateway.public_mac)));
        }
    }
    if !asks.is_empty() {
        let router = snapshot.upstream.next_hop;
        asks.insert(router, (Ask::Router(router), None));
    }
    asks
}

#[cfg(test)]
mod tests;
