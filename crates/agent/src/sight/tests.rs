//! Sight by a scripted segment: who answers, what is announced and when, and what is known of it.

use std::cell::RefCell;
use std::rc::Rc;

use sixfold_core::addr::UPSTREAM;
use sixfold_core::spec::parse_all;
use sixfold_core::trial::Trial;
use sixfold_kernel::segment::Answer;

use super::*;

/// A segment on which these addresses answer.
#[derive(Default)]
struct Scripted {
    answers: Vec<Ipv6Addr>,
    asked: Vec<Ipv6Addr>,
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
        Ok(())
    }

    fn announce(&mut self, mac: Mac, addresses: &[IpAddr]) -> Result<(), SegmentError> {
        self.0.borrow_mut().announced.push((mac, addresses.to_vec()));
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
    let files = [
        ("farm.toml", include_str!("../../../../examples/first-farm/farm.toml")),
        ("acme.toml", include_str!("../../../../examples/first-farm/acme.toml")),
    ];
    let world = parse_all(&files.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let trial = Trial::new(world.expect("the example is sound")).expect("it has room");
    trial.snapshot(&node.parse().expect("a name")).expect("it has that node")
}

/// A node, its segment, and a clock that goes on by a second for each round.
struct Ground {
    snapshot: Snapshot,
    wire: Rc<RefCell<Scripted>>,
    sight: Sight,
    now: Instant,
    up: Vec<u8>,
}

impl Ground {
    fn new(node: &str, up: &[u8]) -> Self {
        let wire: Rc<RefCell<Scripted>> = Rc::default();
        let there = Rc::clone(&wire);
        let sight = Sight::by(move |_| Ok(Box::new(Wire(Rc::clone(&there)))));
        Self { snapshot: snapshot(node), wire, sight, now: Instant::now(), up: up.to_vec() }
    }

    fn rounds(&mut self, count: u32) -> Vec<(u8, Duty, bool, Answering, Answering)> {
        let mut told = Vec::new();
        for _ in 0..count {
            self.now += Duration::from_secs(1);
            self.sight.look(&self.snapshot, self.now);
            let is_up = |gateway: &Gateway| self.up.contains(&gateway.slot.get());
            told = self.sight.tell(&self.snapshot, is_up, self.now);
        }
        told.into_iter().map(|it| (it.slot.slot.get(), it.duty, it.serves, it.router, it.others)).collect()
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
    assert_eq!(
        bee.rounds(1),
        [(1, Duty::Rest, false, unknown, unknown), (2, Duty::Hold, true, unknown, unknown)]
    );
    assert_eq!(
        bee.rounds(1),
        [(1, Duty::Rest, false, answers, answers), (2, Duty::Hold, true, answers, unknown)]
    );
    assert_eq!(
        bee.rounds(2),
        [(1, Duty::Rest, false, answers, answers), (2, Duty::Hold, true, answers, silent)]
    );
    // The holder goes.
    bee.wire.borrow_mut().answers.truncate(1);
    assert_eq!(bee.rounds(2)[0].4, answers, "two questions are not enough");
    assert_eq!(bee.rounds(2)[0], (1, Duty::Rest, false, answers, silent));
}

#[test]
fn whoever_cannot_hear_claims_no_silence() {
    let mut bee = Ground::new("bee", &[2]);
    bee.wire.borrow_mut().down = true;
    let told = bee.rounds(9);
    assert!(told.iter().all(|it| (it.3, it.4) == (Answering::Unknown, Answering::Unknown)), "{told:?}");
    assert!(bee.sight.trouble.as_ref().is_some_and(|why| why.contains("down")), "{:?}", bee.sight.trouble);
    let mut nowhere = Ground { sight: Sight::default(), ..Ground::new("bee", &[2]) };
    assert!(nowhere.rounds(9).iter().all(|it| it.4 == Answering::Unknown));
}

#[test]
fn what_serves_is_announced_when_it_begins_to_and_again() {
    let mut bee = Ground::new("bee", &[2]);
    bee.rounds(1);
    let gateway = Gateway::derive(&bee.snapshot.gateways[1].allocation, bee.snapshot.gateways[1].slot);
    let addresses: Vec<IpAddr> = vec![
        gateway.public_link_local.addr().into(),
        gateway.public_address.addr().into(),
        [203, 0, 113, 6].into(),
    ];
    assert_eq!(bee.wire.borrow().announced, [(gateway.public_mac, addresses)], "only what serves");
    bee.rounds(34);
    let after_half_a_minute = bee.wire.borrow().announced.len();
    assert!((4..=7).contains(&after_half_a_minute), "{after_half_a_minute}");
    // It is set down and comes back: that is a beginning.
    bee.up.clear();
    bee.rounds(2);
    assert_eq!(bee.wire.borrow().announced.len(), after_half_a_minute);
    bee.up.push(2);
    bee.rounds(1);
    assert_eq!(bee.wire.borrow().announced.len(), after_half_a_minute + 1);
}

#[test]
fn a_node_that_may_hold_no_slot_opens_nothing() {
    let mut cat = Ground::new("cat", &[]);
    assert_eq!(cat.rounds(2), []);
    assert!(cat.sight.voice.is_none() && cat.wire.borrow().asked.is_empty());
}
