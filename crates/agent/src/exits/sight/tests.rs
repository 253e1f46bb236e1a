//! Sight by a scripted segment: who answers, what is announced and when, and what is known of it.

use std::cell::RefCell;
use std::rc::Rc;

use sixfold_core::addr::UPSTREAM;
use sixfold_core::model::OwnView;
use sixfold_kernel::segment::Answer;

use super::*;
use crate::ground;

const INTERVAL: Duration = Duration::from_millis(100);

/// A segment on which these addresses answer.
#[derive(Default)]
struct Scripted {
    answers: Vec<Ipv6Addr>,
    asked: Vec<Ipv6Addr>,
    questions: Vec<Ipv6Addr>,
    announced: Vec<(Mac, Vec<IpAddr>)>,
    down: bool,
}

struct Wire(Rc<RefCell<Scripted>>);

impl Voice for Wire {
    fn ask(&mut self, ask: Ask) -> Result<(), SegmentError> {
        let mut there = self.0.borrow_mut();
        let (Ask::Gateway(address) | Ask::Router(address)) = ask;
        if there.down {
            return Err(SegmentError::Down { nic: "eth0".parse().expect("a name") });
        }
        there.asked.push(address);
        there.questions.push(address);
        Ok(())
    }

    fn announce(&mut self, mac: Mac, addresses: &[IpAddr]) -> Result<(), SegmentError> {
        self.0.borrow_mut().announced.push((mac, addresses.to_vec()));
        Ok(())
    }

    fn send(&mut self, _: &Word) -> Result<(), SegmentError> {
        Ok(())
    }

    fn read(&mut self) -> Result<Heard, SegmentError> {
        let mut there = self.0.borrow_mut();
        let asked = std::mem::take(&mut there.asked);
        let answers = asked.into_iter().filter(|address| there.answers.contains(address));
        let answers = answers.map(|address| Answer { address, from: Mac([2; 6]) }).collect();
        Ok(Heard { deaf: there.down, answers, words: Vec::new() })
    }
}

fn snapshot(node: &str) -> Snapshot {
    ground::snapshot(&["farm.toml", "acme.toml"], node)
}

/// A node, its segment, and a clock that goes on by as much as lies between two questions for each round.
struct Ground {
    snapshot: Snapshot,
    wire: Rc<RefCell<Scripted>>,
    sight: Sight,
    now: Instant,
    up: Vec<u8>,
    contested: bool,
}

impl Ground {
    fn new(node: &str, up: &[u8]) -> Self {
        let wire: Rc<RefCell<Scripted>> = Rc::default();
        let there = Rc::clone(&wire);
        let sight = Sight::by(INTERVAL, move |_| Ok(Box::new(Wire(Rc::clone(&there)))));
        Self { snapshot: snapshot(node), wire, sight, now: Instant::now(), up: up.to_vec(), contested: false }
    }

    /// Of each slot whether the router answers, and whether the gateway does elsewhere.
    fn rounds(&mut self, count: u32) -> Vec<(u8, Answering, Answering)> {
        for _ in 0..count {
            self.now += INTERVAL;
            self.sight.look(&self.snapshot, self.now);
            let up = self.snapshot.gateways.iter().filter(|view| self.up.contains(&view.slot.get()));
            let first = |view: &GatewayView| {
                let gateway = Gateway::derive(&view.allocation, view.slot);
                Announced::first(&gateway, view)
            };
            let serving = up.map(|view| (first(view), self.contested)).collect();
            self.sight.tell(&serving, self.now);
        }
        let sight = &mut self.sight;
        let seen = self.snapshot.gateways.iter().map(|view| {
            let Seen { router, others, .. } = sight.seen(&self.snapshot, view, self.now);
            (view.slot.get(), router, others)
        });
        seen.collect()
    }

    fn link_local(&self, slot: usize) -> Ipv6Addr {
        let view = &self.snapshot.gateways[slot - 1];
        Gateway::derive(&view.allocation, view.slot).public_link_local.addr()
    }
}

#[test]
fn a_standby_sees_the_router_and_the_holder_and_that_nobody_holds_its_own() {
    let mut bee = Ground::new("bee", &[2]);
    bee.wire.borrow_mut().answers = vec![UPSTREAM, bee.link_local(1)];
    let (answers, silent, unknown) = (Answering::Answers, Answering::Silent, Answering::Unknown);
    assert_eq!(bee.rounds(1), [(1, unknown, unknown), (2, unknown, unknown)]);
    assert_eq!(bee.rounds(1), [(1, answers, answers), (2, answers, unknown)]);
    assert_eq!(bee.rounds(2), [(1, answers, answers), (2, answers, silent)]);
    assert!(!bee.sight.is_settled(bee.now), "that is soon after the start");
    // The holder goes.
    bee.wire.borrow_mut().answers.truncate(1);
    assert_eq!(bee.rounds(2)[0].2, answers, "two questions are not enough");
    assert_eq!(bee.rounds(2)[0], (1, answers, silent));
    bee.rounds(20);
    assert!(bee.sight.is_settled(bee.now));
    let asked = bee.wire.borrow().questions.clone();
    let of = |address: Ipv6Addr| asked.iter().filter(|asked| **asked == address).count();
    assert_eq!((of(UPSTREAM), of(bee.link_local(1))), (3, 28), "the router is asked each second");
}

#[test]
fn whoever_cannot_hear_claims_no_silence() {
    let mut bee = Ground::new("bee", &[2]);
    bee.wire.borrow_mut().down = true;
    let told = bee.rounds(9);
    assert!(told.iter().all(|it| (it.1, it.2) == (Answering::Unknown, Answering::Unknown)), "{told:?}");
    assert!(bee.sight.trouble.as_ref().is_some_and(|why| why.contains("down")), "{:?}", bee.sight.trouble);
    let mut nowhere = Ground { sight: Sight::default(), ..Ground::new("bee", &[2]) };
    assert!(nowhere.rounds(9).iter().all(|it| it.2 == Answering::Unknown));
    assert_eq!(nowhere.sight.due(), None);
}

/// A process that was stopped has asked nobody meanwhile, and another gateway may have begun.
#[test]
fn whoever_was_away_claims_no_silence_until_it_has_asked_again() {
    let mut bee = Ground::new("bee", &[2]);
    assert_eq!(bee.rounds(9)[1].2, Answering::Silent);
    bee.now += 5 * INTERVAL;
    assert_eq!(bee.rounds(1)[1].2, Answering::Unknown);
    assert_eq!(bee.rounds(2)[1].2, Answering::Unknown, "two questions are not enough");
    assert_eq!(bee.rounds(2)[1].2, Answering::Silent);
    bee.now += 4 * INTERVAL;
    assert_eq!(bee.rounds(1)[1].2, Answering::Silent, "a long pass is no absence");
}

/// As few questions as a farmer may ask for make silence too.
#[test]
fn whoever_asks_seldom_knows_silence_too() {
    let mut bee = Ground::new("bee", &[2]);
    let there = Rc::clone(&bee.wire);
    bee.sight = Sight::by(100 * INTERVAL, move |_| Ok(Box::new(Wire(Rc::clone(&there)))));
    for _ in 0..5 {
        bee.now += 99 * INTERVAL;
        bee.rounds(1);
    }
    assert_eq!(bee.rounds(1)[1].2, Answering::Silent);
}

#[test]
fn what_serves_is_announced_when_it_begins_to_and_again() {
    let mut bee = Ground::new("bee", &[2]);
    // A network's own address is the slot's to announce.
    let own = OwnView { address: [203, 0, 113, 20].into(), whole: None, forwards: Vec::new() };
    bee.snapshot.gateways[1].own_v4.insert("2abc".parse().expect("an index"), own);
    bee.rounds(1);
    let gateway = Gateway::derive(&bee.snapshot.gateways[1].allocation, bee.snapshot.gateways[1].slot);
    let addresses: Vec<IpAddr> = vec![
        gateway.public_link_local.addr().into(),
        gateway.public_address.addr().into(),
        [203, 0, 113, 6].into(),
        [203, 0, 113, 20].into(),
    ];
    assert_eq!(bee.wire.borrow().announced, [(gateway.public_mac, addresses)], "only what serves");
    bee.rounds(340);
    let after_half_a_minute = bee.wire.borrow().announced.len();
    assert!((6..=7).contains(&after_half_a_minute), "{after_half_a_minute}");
    // It is set down and comes back: that is a beginning.
    bee.up.clear();
    bee.rounds(2);
    assert_eq!(bee.wire.borrow().announced.len(), after_half_a_minute);
    bee.up.push(2);
    bee.rounds(1);
    assert_eq!(bee.wire.borrow().announced.len(), after_half_a_minute + 1);
    // Another's answers too: it is said each time, and goes on to be said when that one has fallen silent.
    bee.contested = true;
    bee.rounds(5);
    bee.contested = false;
    bee.rounds(15);
    assert_eq!(bee.wire.borrow().announced.len(), after_half_a_minute + 1 + 5 + 3);
}

#[test]
fn a_node_that_may_hold_no_slot_opens_nothing() {
    let mut cat = Ground::new("cat", &[]);
    assert_eq!(cat.rounds(2), []);
    assert_eq!(cat.sight.due(), None);
    assert!(cat.sight.voice.is_none() && cat.wire.borrow().asked.is_empty());
}

#[test]
fn what_has_a_cable_of_its_own_is_announced_by_that() {
    let opened: Rc<RefCell<Vec<String>>> = Rc::default();
    let (wire, links): (Rc<RefCell<Scripted>>, _) = (Rc::default(), Rc::clone(&opened));
    let there = Rc::clone(&wire);
    let mut sight = Sight::by(INTERVAL, move |link| {
        links.borrow_mut().push(format!("{} {}", link.netns, link.link));
        Ok(Box::new(Wire(Rc::clone(&there))))
    });
    let snapshot = snapshot("ant");
    let view = &snapshot.gateways[0];
    let gateway = Gateway::derive(&view.allocation, view.slot);
    let link = LinkEnd { netns: Netns::Named(gateway.netns), link: gateway.public };
    let serving = [(Announced::first(&gateway, view).by(Some(link)), false)].into();
    let now = Instant::now();
    sight.look(&snapshot, now);
    sight.tell(&serving, now);
    assert_eq!(*opened.borrow(), ["host eth0", "gw-1-1 pub-1-1"]);
    assert_eq!(wire.borrow().announced.len(), 1);
    sight.tell(&serving, now + INTERVAL);
    assert_eq!((wire.borrow().announced.len(), opened.borrow().len()), (2, 3), "opened for each alone");
}
