//! Two nodes of a slot with two next hops on one scripted segment: who is which, through losses and moves.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use sixfold_core::addr::UPSTREAM;
use sixfold_core::id::{Epoch, NodeId};
use sixfold_core::mac::Mac;
use sixfold_core::model::{NicOf, OwnNic, Provision};
use sixfold_core::tenure::{Phase, Tenure};
use sixfold_kernel::segment::{Answer, Ask, Heard, SegmentError, Word};

use super::*;
use crate::exits::sight::Voice;
use crate::ground;

const INTERVAL: Duration = Duration::from_millis(100);

/// A machine as the segment knows it.
#[derive(Default)]
struct There {
    is_cut: bool,
    standing: Standing,
    asked: Vec<Ipv6Addr>,
    announced: Vec<(Mac, Vec<IpAddr>)>,
}

/// One machine's NIC, among all.
struct Nic {
    at: usize,
    all: Rc<RefCell<[There; 2]>>,
    gateway: Gateway,
    /// Its gateway has another one of its own: it hears that, too.
    hears_itself: bool,
}

impl Voice for Nic {
    fn ask(&mut self, ask: Ask) -> Result<(), SegmentError> {
        let this = &mut self.all.borrow_mut()[self.at];
        if this.is_cut {
            return Err(SegmentError::Down { nic: "eth0".parse().expect("a name") });
        }
        let (Ask::Gateway(address) | Ask::Router(address)) = ask;
        this.asked.push(address);
        Ok(())
    }

    fn announce(&mut self, mac: Mac, addresses: &[IpAddr]) -> Result<(), SegmentError> {
        self.all.borrow_mut()[self.at].announced.push((mac, addresses.to_vec()));
        Ok(())
    }

    fn send(&mut self, _: &Word) -> Result<(), SegmentError> {
        Ok(())
    }

    fn read(&mut self) -> Result<Heard, SegmentError> {
        let mut all = self.all.borrow_mut();
        let (asked, deaf) = (std::mem::take(&mut all[self.at].asked), all[self.at].is_cut);
        let heard = if self.hears_itself { &all[..] } else { &all[1 - self.at..2 - self.at] };
        let Gateway { public_link_local, second_link_local, public_mac, second_mac, .. } = self.gateway;
        let answer_of = |other: &There, address: Ipv6Addr| {
            let from = match address {
                UPSTREAM => Some(Mac([2; 6])),
                _ if other.is_cut => None,
                first if first == public_link_local.addr() && other.standing.first => Some(public_mac),
                second if second == second_link_local.addr() && other.standing.second => {
                    Some(if other.standing.first { public_mac } else { second_mac })
                }
                _ => None,
            };
            from.filter(|_| !deaf).map(|from| Answer { address, from })
        };
        let answers = asked.iter().flat_map(|address| heard.iter().map(|other| answer_of(other, *address)));
        Ok(Heard { deaf, answers: answers.flatten().collect(), words: Vec::new() })
    }
}

/// ant and bee, whose kernels do at once what their agents decide.
struct Farm {
    all: Rc<RefCell<[There; 2]>>,
    nodes: Vec<(Snapshot, Exits)>,
    gateway: Gateway,
    now: Instant,
    _state: tempfile::TempDir,
}

const FIRST: Standing = Standing { first: true, second: false };
const SECOND: Standing = Standing { first: false, second: true };
const BOTH: Standing = Standing { first: true, second: true };

impl Farm {
    /// `own`: each gateway has a NIC itself.
    fn of(own: bool) -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let all: Rc<RefCell<[There; 2]>> = Rc::default();
        let snapshots = ["ant", "bee"].map(|name| {
            let mut snapshot = ground::snapshot(&["farm.toml", "acme.toml"], name);
            snapshot.gateways.truncate(1);
            if own {
                let nic = OwnNic {
                    link: "eth2".parse().expect("a name"),
                    of: NicOf::Slot(snapshot.gateways[0].key()),
                };
                let node = snapshot.node.id().clone();
                snapshot.provision = Some(Provision { nics: vec![nic], ..Provision::none(node) });
            }
            snapshot
        });
        let view = &snapshots[0].gateways[0];
        let gateway = Gateway::derive(&view.allocation, view.slot);
        let nodes = snapshots.into_iter().enumerate().map(|(at, snapshot)| {
            let mut exits = Exits::open(state.path()).expect("an empty folder");
            let (all, gateway) = (Rc::clone(&all), gateway.clone());
            exits.see_by(Sight::by(INTERVAL, move |_| {
                Ok(Box::new(Nic { at, all: Rc::clone(&all), gateway: gateway.clone(), hears_itself: own }))
            }));
            (snapshot, exits)
        });
        let nodes = nodes.collect();
        Self { all, nodes, gateway, now: Instant::now(), _state: state }.told(0, 1, "ant").told(1, 1, "ant")
    }

    /// Has a node hear from the registry who holds the slot; the other one is the second then.
    fn told(mut self, at: usize, epoch: u64, holder: &str) -> Self {
        let view = &mut self.nodes[at].0.gateways[0];
        let id = |name: &str| -> NodeId { name.parse().expect("a name") };
        let first = Tenure::first((view.allocation.number(), view.slot), id(holder));
        view.tenure = Some(Tenure { epoch: Epoch(epoch), phase: Phase::Done, ..first });
        view.second = Some(id(if holder == "ant" { "bee" } else { "ant" }));
        self
    }

    fn cut(self, at: usize, is_cut: bool) -> Self {
        self.all.borrow_mut()[at].is_cut = is_cut;
        self
    }

    /// What both are after so many looks; never was there no next hop, or another first one, once all had begun.
    fn after(&mut self, looks: u32) -> [Standing; 2] {
        for _ in 0..looks {
            self.now += INTERVAL;
            for (at, (snapshot, exits)) in self.nodes.iter_mut().enumerate() {
                let before = self.all.borrow()[at].standing;
                let feed = VecDeque::<Snapshot>::new();
                exits.look_at((snapshot, &feed), |_| Some(before), self.now);
                let slot = snapshot.gateways[0].key();
                let roles = exits.roles();
                let first = roles.duties[&slot] != Duty::Rest;
                let standing = Standing { first, second: roles.seconds[&slot] };
                self.all.borrow_mut()[at].standing = standing;
                exits.tell_at(snapshot, |_| (standing, true), self.now);
            }
        }
        let all = self.all.borrow();
        [all[0].standing, all[1].standing]
    }

    /// What a node announced of the second next hop since the last time, by hardware address.
    fn announced(&self, at: usize) -> Vec<Mac> {
        let said = std::mem::take(&mut self.all.borrow_mut()[at].announced);
        let second = IpAddr::from(self.gateway.second_address.addr());
        said.into_iter().filter(|(_, addresses)| addresses.contains(&second)).map(|(mac, _)| mac).collect()
    }
}

#[test]
fn two_nodes_are_two_next_hops_and_whoever_is_left_is_both() {
    for own in [false, true] {
        whoever_is_left_is_both(Farm::of(own));
    }
}

fn whoever_is_left_is_both(mut farm: Farm) {
    assert_eq!(farm.after(40), [FIRST, SECOND]);
    assert_eq!(farm.announced(1)[0], farm.gateway.second_mac);
    farm.announced(0);

    let mut farm = farm.cut(1, true);
    assert_eq!(farm.after(2), [FIRST, SECOND], "two questions without an answer are not enough");
    assert_eq!(farm.after(2), [BOTH, SECOND], "who hears nobody goes on");
    assert_eq!(farm.announced(0)[0], farm.gateway.public_mac);
    farm.announced(1);

    let mut farm = farm.cut(1, false);
    assert_eq!(farm.after(15), [FIRST, SECOND]);
    assert!(!farm.announced(1).is_empty(), "switches may know the other one");
    farm.announced(0);

    // The holder is lost; the registry gives the slot to bee, and ant hears of that late.
    let mut farm = farm.cut(0, true).told(1, 2, "bee");
    assert_eq!(farm.after(4), [FIRST, BOTH]);
    assert_eq!(farm.announced(1).last(), Some(&farm.gateway.public_mac));
    let mut farm = farm.cut(0, false);
    assert_eq!(farm.after(15), [FIRST, BOTH]);
    let mut farm = farm.told(0, 2, "bee");
    assert_eq!(farm.after(1)[0], Standing::default(), "its link goes down before it is the second");
    assert_eq!(farm.after(2), [SECOND, FIRST]);
}

#[test]
fn a_second_that_is_told_to_hold_the_slot_goes_on_until_it_does() {
    [false, true].into_iter().for_each(|own| told_to_hold(Farm::of(own)));
}

fn told_to_hold(mut farm: Farm) {
    farm.after(40);
    // ant does not know yet, and answers; bee must not begin.
    let mut farm = farm.told(1, 2, "bee");
    assert_eq!(farm.after(10), [FIRST, SECOND]);
    let mut farm = farm.told(0, 2, "bee");
    assert_eq!(farm.after(6), [SECOND, FIRST]);
}

#[test]
fn an_agent_that_starts_goes_on_with_what_its_kernel_forwards() {
    [false, true].into_iter().for_each(|own| goes_on(Farm::of(own)));
}

fn goes_on(mut again: Farm) {
    again.all.borrow_mut()[0].standing = FIRST;
    again.all.borrow_mut()[1].standing = SECOND;
    assert_eq!(again.after(1), [FIRST, SECOND]);
    assert_eq!(again.after(30), [FIRST, SECOND]);
}
