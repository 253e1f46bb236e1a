//! Passes over a part of a node: they look where they were told to and as far as it takes, and come to the same.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use crate::support::{Farm, Registry, Shared, TestAgent, agent, ground, node, places};
use sixfold_agent::events::Events;
use sixfold_agent::run::{Agent, SLICE};
use sixfold_core::name::{self, IfName};
use sixfold_core::plan::{Op, Plan, Stage, Step, evolve};
use sixfold_core::state::{Element, LinkKind, Netns, NodeState};
use sixfold_kernel::{ApplyError, Failure, Kernel, Keys, ObserveError, Report, Scope};

/// What events a test tells, one answer after the other; then none.
#[derive(Clone, Default)]
struct Script(Rc<RefCell<VecDeque<Scope>>>);

impl Script {
    fn tell(&self, netnss: impl IntoIterator<Item = Netns>) {
        self.0.borrow_mut().push_back(Scope::Only(netnss.into_iter().collect()));
    }
}

impl Events for Script {
    fn take(&mut self) -> Scope {
        self.0.borrow_mut().pop_front().unwrap_or(Scope::Only(BTreeSet::new()))
    }
}

/// An agent of a settled farm that has looked at everything once.
fn listening(farm: &Farm, name: &str) -> (TestAgent, Script) {
    let script = Script::default();
    let mut agent = agent(&farm.dir_of(name), farm.kernel(name), []).with_events(script.clone());
    assert!(agent.round().unwrap().in_sync);
    assert_eq!(farm.kernel(name).looks().first(), Some(&Scope::All), "the first look is at everything");
    (agent, script)
}

fn only(netnss: impl IntoIterator<Item = Netns>) -> Scope {
    Scope::Only(netnss.into_iter().collect())
}

/// The namespaces of the node whose names begin so.
fn named(state: &NodeState, role: &str) -> Vec<Netns> {
    state.namespaces.keys().filter(|netns| netns.to_string().starts_with(role)).cloned().collect()
}

fn damage(kernel: &Shared, netns: &Netns, op: Op) {
    let step = Step { stage: Stage::Dismantle, netns: netns.clone(), op };
    evolve(kernel.0.borrow_mut().state_mut(), &step).unwrap();
}

#[test]
fn an_event_is_a_look_at_its_namespace_alone() {
    let farm = Farm::settled();
    let kernel = farm.kernel("bee");
    let before = kernel.state();
    let (mut agent, script) = listening(&farm, "bee");
    let passes = agent.status().unwrap().passes;
    agent.heed();
    assert_eq!((kernel.looks(), agent.status().unwrap().passes), (vec![], passes), "nothing was told");
    let netns = named(&before, "net-")[0].clone();
    kernel.0.borrow_mut().state_mut().at(netns.clone()).routes.clear();
    script.tell([netns.clone()]);
    let status = agent.heed().unwrap();
    assert!(status.in_sync && status.operations > 0 && status.passes == passes + 1);
    assert_eq!(kernel.looks(), [only([netns.clone()]), only([netns])], "before and after");
    assert_eq!(kernel.state(), before);
}

#[test]
fn lost_events_are_a_look_at_everything() {
    let farm = Farm::settled();
    let (mut agent, script) = listening(&farm, "ant");
    script.0.borrow_mut().push_back(Scope::All);
    assert!(agent.heed().unwrap().in_sync);
    assert_eq!(farm.kernel("ant").looks(), [Scope::All]);
}

/// Every link that is deleted or set down and every namespace that is deleted, each told of one side only.
#[test]
fn damage_that_reaches_elsewhere_is_mended_there_too() {
    let farm = Farm::settled();
    for name in ["ant", "bee", "cat"] {
        let kernel = farm.kernel(name);
        let before = kernel.state();
        let (mut agent, script) = listening(&farm, name);
        let links = |netns: &Netns| before.namespaces[netns].links.keys().copied().collect::<Vec<_>>();
        let mut cases = 0;
        for netns in before.namespaces.keys() {
            let links = links(netns).into_iter().filter(|link| *link != name::loopback());
            let is_up = |link: &IfName| before.namespaces[netns].links[link].up;
            let mut ops: Vec<Op> = links
                .flat_map(|name| {
                    let down = is_up(&name).then_some(Op::SetUp { name, up: false });
                    [Op::DelLink { name }].into_iter().chain(down)
                })
                .chain((*netns != Netns::Host).then_some(Op::DelNetns))
                .collect();
            ops.extend(before.namespaces[netns].firewall.is_some().then_some(Op::DelTable));
            for op in ops {
                let what = format!("{name}: {op:?} in {netns}");
                damage(kernel, netns, op);
                assert_ne!(kernel.state(), before, "{what}");
                script.tell([netns.clone()]);
                let status = agent.heed().unwrap();
                assert!(status.in_sync, "{what}: {:?} {:?}", status.drift, status.failures);
                assert_eq!(kernel.state(), before, "{what}");
                assert!(!kernel.looks().contains(&Scope::All), "{what}");
                cases += 1;
            }
        }
        assert!(cases >= 15, "{name}: {cases}");
    }
}

#[test]
fn a_name_of_ours_that_nobody_desires_goes_when_it_is_told() {
    let farm = Farm::settled();
    let (mut agent, script) = listening(&farm, "ant");
    let before = farm.kernel("ant").state();
    let stray = Netns::Named("net-1fff-1".parse().unwrap());
    damage(farm.kernel("ant"), &stray, Op::AddNetns);
    script.tell([stray]);
    assert!(agent.heed().unwrap().in_sync);
    assert_eq!(farm.kernel("ant").state(), before);
}

#[test]
fn a_port_that_changed_in_one_namespace_is_let_in_by_another() {
    const GOT: u16 = 40_404;
    let farm = Farm::settled();
    let kernel = farm.kernel("bee");
    let (mut agent, script) = listening(&farm, "bee");
    let netns = named(&kernel.state(), "net-")[0].clone();
    let device = |state: &mut NodeState| {
        state.at(netns.clone()).devices.values_mut().next().unwrap().listen_port = GOT
    };
    device(kernel.0.borrow_mut().state_mut());
    script.tell([netns.clone()]);
    let status = agent.heed().unwrap();
    assert!(status.in_sync && status.devices.iter().any(|device| device.report.listen_port == GOT));
    let public = Netns::Named(name::netns_public());
    let firewall = kernel.state().namespaces[&public].firewall.clone().unwrap();
    assert!(firewall.elements.keys().any(|key| key.element == Element::Port(GOT)));
    let looks = kernel.looks();
    assert_eq!(
        looks,
        [only([netns]), only([public])],
        "where it was told, and after where something was done"
    );
}

#[test]
fn a_snapshot_is_a_look_where_its_answer_changed() {
    let mut farm = Farm::settled();
    farm.registry.revision += 1;
    let same = farm.registry.snapshot(&node("bee"));
    farm.registry.revision += 1;
    let mut less = farm.registry.snapshot(&node("bee"));
    let gone = less.networks.pop().unwrap();
    let exit = gone.exit().unwrap().index;
    less.gateways.iter_mut().for_each(|gateway| drop(gateway.exits.remove(&exit)));
    less.gateways.iter_mut().for_each(|gateway| gateway.ports.retain(|index, _| *index != exit));
    let kernel = farm.kernel("bee").clone();
    let before = kernel.state();
    let script = Script::default();
    let held = farm.registry.snapshot(&node("bee"));
    let feed = Feed::default();
    let mut agent = Agent::open(places(&farm.dir_of("bee")), kernel.clone(), feed.clone(), ground).unwrap();
    agent = agent.with_events(script);
    assert!(agent.round().unwrap().in_sync && held.revision == less.revision);
    kernel.looks();
    feed.0.borrow_mut().push_back(same.clone());
    let status = agent.heed().unwrap();
    assert!(status.in_sync && status.revision == same.revision && status.operations == 0);
    assert_eq!(kernel.looks(), [], "the answer is the same");
    feed.0.borrow_mut().push_back(less);
    let status = agent.heed().unwrap();
    assert!(status.in_sync && status.operations > 0, "{:?}", status.drift);
    let number = format!("-{}", gone.allocation.number());
    let looked: BTreeSet<Netns> = kernel
        .looks()
        .into_iter()
        .flat_map(|scope| match scope {
            Scope::All => panic!("at everything"),
            Scope::Only(netnss) => netnss,
        })
        .collect();
    let after = kernel.state();
    for (netns, namespace) in &before.namespaces {
        let changed = after.namespaces.get(netns) != Some(namespace);
        assert!(!changed || looked.contains(netns), "{netns} changed unseen");
    }
    let kept = named(&after, "net-");
    assert!(
        kept.iter().all(|netns| !looked.contains(netns)),
        "{looked:?} has the other network, not {number}"
    );
}

/// A feed that a test holds on to.
#[derive(Clone, Default)]
struct Feed(Rc<RefCell<VecDeque<sixfold_core::model::Snapshot>>>);

impl sixfold_agent::feed::Feed for Feed {
    fn next(&mut self) -> Result<Option<sixfold_agent::received::Received>, sixfold_agent::feed::FeedError> {
        Ok(self.0.borrow_mut().pop_front().map(Into::into))
    }
}

/// Refuses every step in one namespace while told to.
struct Refusing(Shared, Netns, Rc<RefCell<bool>>);

impl Kernel for Refusing {
    fn observe(&mut self, scope: &Scope) -> Result<NodeState, ObserveError> {
        self.0.observe(scope)
    }

    fn apply(&mut self, plan: &Plan, keys: &dyn Keys) -> Report {
        let refuses = |step: &Step| *self.2.borrow() && step.netns == self.1;
        let (refused, done): (Vec<_>, Vec<_>) = plan.steps.iter().cloned().partition(refuses);
        let mut report = self.0.apply(&Plan { steps: done }, keys);
        let error = || ApplyError::NoLink { link: name::loopback() };
        report.failures.extend(refused.into_iter().map(|step| Failure { step, error: error() }));
        report
    }
}

#[test]
fn what_was_left_to_do_elsewhere_is_still_said_and_tried_again() {
    let farm = Farm::settled();
    let kernel = farm.kernel("bee");
    let before = kernel.state();
    let [broken, other, ..] = &named(&before, "net-")[..] else { panic!("two resources") };
    let refusing = Rc::new(RefCell::new(true));
    let (script, feed) = (Script::default(), Feed::default());
    let hand = Refusing(kernel.clone(), broken.clone(), refusing.clone());
    let mut agent = Agent::open(places(&farm.dir_of("bee")), hand, feed, ground).unwrap();
    agent = agent.with_events(script.clone());
    kernel.0.borrow_mut().state_mut().at(broken.clone()).routes.clear();
    let first = agent.round().unwrap().clone();
    assert!(!first.in_sync && !first.failures.is_empty());
    kernel.looks();
    script.tell([other.clone()]);
    let second = agent.heed().unwrap().clone();
    assert_eq!((&second.drift, &second.failures), (&first.drift, &first.failures));
    assert!(!second.in_sync);
    let looks = kernel.looks();
    assert_eq!(looks[0], only([broken.clone(), other.clone()]));
    assert!(looks[1..].iter().all(|scope| *scope == only([broken.clone()])), "{looks:?}");
    *refusing.borrow_mut() = false;
    script.tell([other.clone()]);
    let third = agent.heed().unwrap();
    assert!(third.in_sync && third.failures.is_empty(), "{:?}", third.failures);
    assert_eq!(kernel.state(), before);
}

/// A kernel that cannot be looked at while told so.
struct Blind(Shared, Rc<RefCell<bool>>);

impl Kernel for Blind {
    fn observe(&mut self, scope: &Scope) -> Result<NodeState, ObserveError> {
        let state = self.0.observe(scope)?;
        if *self.1.borrow() {
            return Err(ObserveError::List(sixfold_kernel::netns::NetnsError::Ended));
        }
        Ok(state)
    }

    fn apply(&mut self, plan: &Plan, keys: &dyn Keys) -> Report {
        self.0.apply(plan, keys)
    }
}

#[test]
fn after_a_failure_to_look_everything_is_looked_at() {
    let farm = Farm::settled();
    let kernel = farm.kernel("ant");
    let (script, blind) = (Script::default(), Rc::new(RefCell::new(false)));
    let hand = Blind(kernel.clone(), blind.clone());
    let mut agent = Agent::open(places(&farm.dir_of("ant")), hand, Feed::default(), ground).unwrap();
    agent = agent.with_events(script.clone());
    assert!(agent.round().unwrap().in_sync);
    *blind.borrow_mut() = true;
    script.tell([Netns::Host]);
    assert!(!agent.heed().unwrap().in_sync);
    *blind.borrow_mut() = false;
    kernel.looks();
    script.tell([Netns::Host]);
    assert!(agent.heed().unwrap().in_sync);
    assert_eq!(kernel.looks(), [Scope::All]);
}

#[test]
fn the_timer_goes_round_in_slices_and_damage_it_finds_is_looked_for_everywhere() {
    let farm = Farm::settle(Registry::of_many(2 * SLICE - 20));
    let kernel = farm.kernel("bee");
    let before = kernel.state();
    let count = before.namespaces.len();
    assert!(count > SLICE && count <= 2 * SLICE, "{count} namespaces");
    let (mut agent, _) = listening(&farm, "bee");
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        assert!(agent.round().unwrap().in_sync);
        for scope in kernel.looks() {
            let Scope::Only(netnss) = scope else { panic!("at everything") };
            assert!(netnss.len() <= SLICE);
            seen.extend(netnss);
        }
    }
    assert_eq!(seen.len(), count, "all within two seconds");
    // A flush everywhere, of which nobody tells: found with the slice, and then everywhere.
    for namespace in kernel.0.borrow_mut().state_mut().namespaces.values_mut() {
        namespace.peers.clear();
        namespace.sysctls.clear();
    }
    agent.round();
    assert_ne!(kernel.state(), before);
    kernel.looks();
    assert!(agent.round().unwrap().in_sync);
    assert_eq!(kernel.looks(), [Scope::All, Scope::All]);
    assert_eq!(kernel.state(), before);
    assert!(agent.round().unwrap().in_sync);
    assert!(!kernel.looks().contains(&Scope::All), "and then in slices again");
    let loads = before.namespaces.values().flat_map(|namespace| namespace.links.values());
    assert!(loads.filter(|link| matches!(link.kind, LinkKind::Veth { .. })).count() > SLICE);
}

/// Of peers nobody tells: devices are asked for them, whose turn it is not.
#[test]
fn other_peers_are_found_however_many_namespaces_there_are() {
    let farm = Farm::settle(Registry::of_many(3 * SLICE));
    let kernel = farm.kernel("bee");
    let before = kernel.state();
    let (mut agent, _) = listening(&farm, "bee");
    let last = named(&before, "net-").pop().unwrap();
    for round in 0..3 {
        kernel.0.borrow_mut().state_mut().at(last.clone()).peers.clear();
        assert_ne!(kernel.state(), before);
        kernel.looks();
        let status = agent.round().unwrap();
        assert!(status.in_sync && kernel.state() == before, "round {round}");
        assert!(!kernel.looks().contains(&Scope::All), "and nothing is looked at for it but where it was");
    }
}
