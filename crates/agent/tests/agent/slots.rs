//! What an agent does about its gateways' links, by the segment that it sees.

use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use sixfold_agent::exits::sight::{Sight, Voice};
use sixfold_core::addr::{Gateway, UPSTREAM};
use sixfold_core::mac::Mac;
use sixfold_core::state::Netns;
use sixfold_core::tenure::Tenure;
use sixfold_kernel::segment::{Answer, Ask, Heard, SegmentError, Word};

use crate::support::{Farm, TestAgent, agent, node};

const INTERVAL: Duration = Duration::from_millis(5);

/// A segment on which the router answers, and another machine's gateway if it is there.
struct Wire {
    another: Rc<Cell<bool>>,
    asked: Vec<Ipv6Addr>,
}

impl Voice for Wire {
    fn ask(&mut self, ask: Ask) -> Result<(), SegmentError> {
        let (Ask::Gateway(address) | Ask::Router(address)) = ask;
        self.asked.push(address);
        Ok(())
    }

    fn announce(&mut self, _: Mac, _: &[IpAddr]) -> Result<(), SegmentError> {
        Ok(())
    }

    fn send(&mut self, _: &Word) -> Result<(), SegmentError> {
        Ok(())
    }

    fn read(&mut self) -> Result<Heard, SegmentError> {
        let asked = std::mem::take(&mut self.asked);
        let answers = asked.into_iter().filter(|address| *address == UPSTREAM || self.another.get());
        let answers = answers.map(|address| Answer { address, from: Mac([2; 6]) }).collect();
        Ok(Heard { deaf: false, answers, words: Vec::new() })
    }
}

/// Setting it up again as it was last seen would be two gateways that forward, until the next look at the segment.
#[test]
fn a_gateways_link_that_was_taken_away_comes_back_only_where_no_other_gateway_answers() {
    let mut farm = Farm::settled();
    farm.registry.revision += 1;
    let mut snapshot = farm.registry.snapshot(&node("ant"));
    let view = &mut snapshot.gateways[0];
    view.tenure = Some(Tenure::first((view.allocation.number(), view.slot), node("ant")));
    let gateway = Gateway::derive(&view.allocation, view.slot);
    let kernel = farm.kernel("ant").clone();
    let netns = Netns::Named(gateway.netns);
    let serves = || {
        let state = kernel.state();
        let link = state.namespaces[&netns].links.get(&gateway.public);
        link.is_some_and(|link| link.up)
    };
    let another = Rc::new(Cell::new(false));
    let there = Rc::clone(&another);
    let sight =
        Sight::by(INTERVAL, move |_| Ok(Box::new(Wire { another: Rc::clone(&there), asked: Vec::new() })));
    let mut agent = agent(&farm.dir_of("ant"), &kernel, [snapshot]).with_sight(sight);
    // Long enough to know silence.
    let rounds = |agent: &mut TestAgent, until: &dyn Fn(Instant) -> bool| {
        let began = Instant::now();
        while !until(began) {
            assert!(began.elapsed() < Duration::from_secs(20), "it never comes to that");
            agent.round().unwrap();
            thread::sleep(INTERVAL);
        }
    };
    rounds(&mut agent, &|began| began.elapsed() > Duration::from_millis(2_100));
    assert!(serves(), "what forwards goes on");
    let (fake, of, link) = (Rc::clone(&kernel.0), netns.clone(), gateway.public);
    let take_away = move || {
        let mut kernel = fake.borrow_mut();
        let there = kernel.state_mut().at(of.clone());
        there.links.remove(&link);
        there.addresses.retain(|key, _| key.link != link);
    };
    take_away();
    rounds(&mut agent, &|_| serves());
    another.set(true);
    take_away();
    rounds(&mut agent, &|began| {
        assert!(!serves(), "another machine's gateway answers");
        began.elapsed() > Duration::from_millis(200)
    });
    another.set(false);
    rounds(&mut agent, &|_| serves());
    // The same, while the agent is stopped between looking at the segment and at its kernel.
    let there = Rc::clone(&another);
    *kernel.3.borrow_mut() = Some(Box::new(move || {
        thread::sleep(Duration::from_millis(600));
        take_away();
        there.set(true);
    }));
    rounds(&mut agent, &|_| kernel.3.borrow().is_none());
    assert!(!serves(), "what it had heard is of before");
    another.set(false);
    rounds(&mut agent, &|_| serves());
}
