//! ant and bee, which may hold slot 1, and cat, a member behind a NAT, over a net on which datagrams are lost, forged and repeated.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use sixfold_core::id::{AllocationNumber, Epoch, ExitSlot, NodeId};
use sixfold_core::model::StandbyView;
use sixfold_core::tenure::{Duty, Phase};
use sixfold_core::trust::{SigningKey, Statement as _};

use super::*;
use crate::exits::Exits;
use crate::exits::standing::Standing;
use crate::feed::FeedError;
use crate::ground;
use crate::received::Received;

const NODES: [&str; 3] = ["ant", "bee", "cat"];
/// Of cat's NAT.
const NAT: &str = "198.51.100.7:40001";

/// What is on its way, and to whom; and what there was.
#[derive(Default)]
struct Net {
    on_way: Vec<Datagram>,
    sent: Vec<Datagram>,
    cut: bool,
    reads: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// One node's socket, which is reached at these.
struct Socket {
    net: Rc<RefCell<Net>>,
    at: Vec<SocketAddr>,
}

impl Line for Socket {
    fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<(), GossipError> {
        let from = self.at.iter().find(|from| from.is_ipv4() == to.is_ipv4()).expect("it speaks both");
        let datagram = Datagram { from: *from, to, bytes: bytes.to_vec() };
        let mut net = self.net.borrow_mut();
        net.sent.push(datagram.clone());
        if !net.cut {
            net.on_way.push(datagram);
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Vec<(SocketAddr, Vec<u8>)>, GossipError> {
        let mut net = self.net.borrow_mut();
        net.reads += 1;
        let (own, others) =
            net.on_way.drain(..).partition(|datagram: &Datagram| self.at.contains(&datagram.to));
        net.on_way = others;
        Ok(own.into_iter().map(|datagram: Datagram| (datagram.from, datagram.bytes)).collect())
    }
}

/// What the registry told a node.
#[derive(Default)]
struct Registry(BTreeMap<Slot, (Tenure, Signed)>);

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

impl Feed for Registry {
    fn next(&mut self) -> Result<Option<Received>, FeedError> {
        Ok(None)
    }

    fn told(&self, slot: (AllocationNumber, ExitSlot)) -> Option<&(Tenure, Signed)> {
        self.0.get(&slot)
    }

    fn believes(&self, signed: &Signed) -> Option<Tenure> {
        (signed.key == key().verifying()).then(|| signed.open().ok()).flatten()
    }
}

struct Node {
    snapshot: Snapshot,
    exits: Exits,
    registry: Registry,
    serves: bool,
}

impl Node {
    fn new(name: &str, net: &Rc<RefCell<Net>>, state: &Path) -> Self {
        let mut snapshot = ground::snapshot(&["farm.toml", "acme.toml"], name);
        snapshot.gateways.truncate(1);
        let exits = Self::started(name, net, state);
        Self { snapshot, exits, registry: Registry::default(), serves: name == "ant" }
    }

    fn started(name: &str, net: &Rc<RefCell<Net>>, state: &Path) -> Exits {
        let mut exits = Exits::open(state).expect("a folder");
        let (net, at) = (Rc::clone(net), addresses(name));
        exits.gossip_by(Gossip::by(move |_| Ok(Box::new(Socket { net: Rc::clone(&net), at: at.clone() }))));
        exits
    }

    fn told(&mut self, tenure: &Tenure) {
        if let Some(view) = self.snapshot.gateways.first_mut() {
            view.tenure = Some(tenure.clone());
        }
        self.registry.0.insert(tenure.key(), (tenure.clone(), Signed::new(tenure, &key())));
        self.exits.renew();
    }

    fn looks(&mut self, now: Instant) {
        let standing = Standing { first: self.serves, second: false };
        self.exits.look_at((&self.snapshot, &self.registry), |_| Some(standing), now);
        let duties = &self.exits.roles().duties;
        self.serves &= duties.values().all(|duty| *duty != Duty::Rest);
        if let Some(newer) = self.exits.take_followed(&self.registry) {
            self.snapshot.follow(&newer);
        }
    }

    fn leaves_by(&self) -> String {
        self.snapshot.networks[0].exit().expect("it has one").node.to_string()
    }

    fn counts(&self) -> Words {
        self.exits.said()
    }
}

fn addresses(name: &str) -> Vec<SocketAddr> {
    let at = |ip: &str| SocketAddr::new(ip.parse().expect("an address"), GOSSIP_PORT);
    match name {
        "ant" => vec![at("2001:db8:a::a1"), at("203.0.113.11")],
        "bee" => vec![at("2001:db8:a::a2"), at("203.0.113.12")],
        _ => vec![NAT.parse().expect("an address")],
    }
}

struct Farm {
    net: Rc<RefCell<Net>>,
    nodes: Vec<Node>,
    now: Instant,
    state: tempfile::TempDir,
}

impl Farm {
    /// In which ant holds the slot by the registry's word.
    fn new() -> Self {
        let (net, state) = (Rc::<RefCell<Net>>::default(), tempfile::tempdir().expect("a folder"));
        let node = |name: &&str| Node::new(name, &net, &Self::folder(&state, name));
        let nodes = NODES.iter().map(node).collect();
        let mut farm = Self { net, nodes, now: Instant::now(), state };
        farm.nodes.iter_mut().for_each(|node| node.told(&tenure(1, "ant", None)));
        farm.passes(Duration::from_secs(60));
        farm
    }

    fn folder(state: &tempfile::TempDir, name: &str) -> PathBuf {
        let folder = state.path().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn at(&mut self, name: &str) -> &mut Node {
        let at = NODES.iter().position(|node| *node == name).expect("a node");
        &mut self.nodes[at]
    }

    fn passes(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += LOOKS;
            let now = self.now;
            self.nodes.iter_mut().for_each(|node| node.looks(now));
        }
    }

    /// Its agent starts again.
    fn restart(&mut self, name: &str) {
        let exits = Node::started(name, &self.net, &Self::folder(&self.state, name));
        let node = self.at(name);
        node.exits = exits;
        node.snapshot.follow(&[(tenure(0, "ant", None).key(), tenure(0, "ant", None))].into());
    }

    /// Sends something to a node from an address of nobody's, and gives what it says to that.
    fn stranger(&mut self, to: &str, bytes: &[u8]) -> Vec<Datagram> {
        let from: SocketAddr = "[2001:db8:ff::9]:9".parse().expect("an address");
        let to = addresses(to)[0];
        self.net.borrow_mut().on_way.push(Datagram { from, to, bytes: bytes.to_vec() });
        self.passes(LOOKS);
        let sent = &self.net.borrow().sent;
        sent.iter().filter(|datagram| datagram.to == from).cloned().collect()
    }
}

fn id(name: &str) -> NodeId {
    name.parse().expect("a name")
}

fn tenure(epoch: u64, holder: &str, from: Option<&str>) -> Tenure {
    let snapshot = ground::snapshot(&["farm.toml", "acme.toml"], "ant");
    let view = &snapshot.gateways[0];
    let phase = from.map_or(Phase::Done, |from| Phase::Handover { from: id(from) });
    let first = Tenure::first((view.allocation.number(), view.slot), id(holder));
    Tenure { epoch: Epoch(epoch), phase, ..first }
}

fn word(tenure: &Tenure, key: &SigningKey) -> Vec<u8> {
    written(&Signed::new(tenure, key)).expect("it fits")
}

#[test]
fn an_old_holder_stops_and_a_member_follows_by_what_peers_tell() {
    let mut farm = Farm::new();
    assert!(farm.at("ant").serves && farm.at("cat").leaves_by() == "ant");
    // Neither ant nor cat hear the registry, nor each other's segment.
    farm.at("bee").told(&tenure(2, "bee", None));
    farm.passes(SWITCHED - LOOKS);
    assert!(farm.at("ant").serves, "nobody is told before those who hear the registry have switched");
    farm.passes(SWITCHED + EVERY);
    assert!(!farm.at("ant").serves);
    assert_eq!(farm.at("cat").leaves_by(), "bee");
    let heard = |node: &Node| node.exits.heard(&node.registry);
    assert_eq!(heard(farm.at("ant")).pop().map(|heard| heard.by), Some("bee".to_owned()));
    let by_bee = heard(farm.at("cat")).pop().expect("it did not hear the registry");
    assert_eq!((by_bee.by.as_str(), by_bee.tenure.epoch), ("bee", Epoch(2)));
    // It is on disk, and nothing older brings it back.
    farm.net.borrow_mut().cut = true;
    for name in ["ant", "cat"] {
        farm.restart(name);
        farm.at(name).told(&tenure(1, "ant", None));
        farm.at(name).serves = name == "ant";
    }
    farm.passes(LOOKS);
    assert!(!farm.at("ant").serves && farm.at("cat").leaves_by() == "bee");
    // The registry is there again.
    farm.at("cat").told(&tenure(2, "bee", None));
    farm.passes(LOOKS);
    assert_eq!(heard(farm.at("cat")), []);
}

#[test]
fn a_member_tells_the_old_holder_where_nobody_else_can() {
    let mut farm = Farm::new();
    farm.at("bee").exits.gossip_by(Gossip::default());
    farm.at("cat").told(&tenure(2, "bee", None));
    farm.passes(2 * SWITCHED + TWICE);
    assert!(!farm.at("ant").serves);
    let heard = farm.nodes[0].exits.heard(&farm.nodes[0].registry);
    assert_eq!(heard[0].by, "198.51.100.7", "it is not known which node that is");
}

#[test]
fn an_agent_that_starts_asks_at_once() {
    let mut farm = Farm::new();
    farm.net.borrow_mut().cut = true;
    farm.at("bee").told(&tenure(2, "bee", None));
    farm.passes(3 * SWITCHED);
    assert!(farm.at("ant").serves);
    farm.net.borrow_mut().cut = false;
    farm.restart("ant");
    farm.at("bee").exits.gossip_by(Gossip::default());
    let (net, state) = (Rc::clone(&farm.net), Farm::folder(&farm.state, "bee"));
    farm.at("bee").exits = Node::started("bee", &net, &state);
    farm.at("ant").told(&tenure(1, "ant", None));
    farm.passes(3 * LOOKS);
    assert!(!farm.at("ant").serves, "its first word is answered");
}

#[test]
fn nothing_that_peers_say_makes_a_holder() {
    let mut farm = Farm::new();
    farm.at("cat").told(&tenure(2, "bee", None));
    farm.passes(2 * SWITCHED + EVERY);
    assert_eq!(farm.at("bee").exits.roles().duties.values().collect::<Vec<_>>(), [&Duty::Rest]);
    assert_eq!(farm.at("bee").leaves_by(), "bee", "but its own networks leave where all do");
    assert!(!farm.at("ant").serves);
}

#[test]
fn what_is_forged_old_or_of_another_registry_changes_nothing_and_is_counted() {
    let mut farm = Farm::new();
    farm.nodes.iter_mut().for_each(|node| node.told(&tenure(3, "ant", None)));
    farm.passes(SWITCHED - LOOKS);
    let before = farm.at("ant").counts();
    let old = word(&tenure(2, "bee", None), &key());
    assert_eq!(farm.stranger("ant", &old), [], "not before all have switched");
    farm.passes(3 * EVERY);
    let settled = farm.at("ant").counts();
    assert_eq!((settled.newer, settled.older, settled.refused), (0, before.older + 1, 0));

    let stranger = SigningKey::from_seed(&[8; 32]);
    let forged = Signed {
        body: borsh::to_vec(&tenure(9, "bee", None).wire()).expect("bytes"),
        ..Signed::new(&tenure(3, "ant", None), &key())
    };
    let slot_2 = Tenure { slot: ExitSlot::try_from(2_u8).expect("a slot"), ..tenure(9, "bee", None) };
    let mut padded = word(&tenure(9, "bee", None), &key());
    padded[GOSSIP_BYTES - 1] = 1;
    let wrong = [
        word(&tenure(9, "bee", None), &stranger),
        written(&forged).expect("it fits"),
        word(&slot_2, &key()),
        padded.clone(),
        padded[..GOSSIP_BYTES - 1].to_vec(),
        vec![7; GOSSIP_BYTES],
        Vec::new(),
        word(&tenure(3, "ant", None), &key()),
    ];
    for bytes in &wrong {
        assert_eq!(farm.stranger("ant", bytes), [], "none of it is answered");
    }
    let after = farm.at("ant").counts();
    assert_eq!((after.refused, after.newer, after.older), (2, 0, settled.older));
    assert_eq!(after.astray, settled.astray + 5);
    assert!(farm.at("ant").serves && farm.at("ant").leaves_by() == "ant");
    assert_eq!(farm.nodes[0].exits.heard(&farm.nodes[0].registry), []);

    // What is old is answered, by as much as was said.
    let answers = farm.stranger("ant", &old);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].bytes.len(), old.len());
    assert_eq!(read(&answers[0].bytes), Some(Signed::new(&tenure(3, "ant", None), &key())));
    assert_eq!(farm.stranger("ant", &old).len(), 2, "each time");
}

#[test]
fn what_cannot_be_kept_makes_a_holder_stop_and_no_member_follow() {
    let mut farm = Farm::new();
    // A folder in the file's place.
    for name in NODES {
        let file = Farm::folder(&farm.state, name).join(crate::exits::holding::FILE);
        std::fs::create_dir(file).expect("a folder");
    }
    farm.at("bee").told(&tenure(2, "bee", None));
    farm.passes(2 * SWITCHED + EVERY);
    assert!(!farm.at("ant").serves);
    assert_eq!(farm.at("cat").leaves_by(), "ant");
    std::fs::remove_dir(Farm::folder(&farm.state, "cat").join(crate::exits::holding::FILE))
        .expect("it is empty");
    farm.passes(Duration::from_secs(2));
    assert_eq!(farm.at("cat").leaves_by(), "bee", "once it is kept");
}

#[test]
fn as_much_is_said_however_long_nothing_changes() {
    let mut farm = Farm::new();
    let before = farm.net.borrow().sent.len();
    farm.passes(10 * EVERY);
    // ant and bee tell each other, and cat tells both.
    assert_eq!(farm.net.borrow().sent.len() - before, 10 * 4);
    let lengths: Vec<usize> = farm.net.borrow().sent.iter().map(|datagram| datagram.bytes.len()).collect();
    assert!(lengths.iter().all(|length| *length == GOSSIP_BYTES));
    assert_eq!(farm.at("ant").counts().refused + farm.at("ant").counts().astray, 0);
}

#[test]
fn what_is_new_is_said_twice() {
    let mut farm = Farm::new();
    let new = tenure(2, "bee", None);
    farm.at("cat").told(&new);
    farm.passes(3 * SWITCHED);
    let net = farm.net.borrow();
    let said = net.sent.iter().filter(|it| it.from == addresses("cat")[0]);
    let to_ant = said.filter(|it| it.to == addresses("ant")[1] && it.bytes == word(&new, &key()));
    assert!(to_ant.count() >= 2, "within a second, and the next time is after twenty");
}

#[test]
fn whatever_there_is_a_look_reads_once_and_sends_so_much() {
    let mut farm = Farm::new();
    let before = farm.net.borrow().reads;
    for _ in 0..10 {
        farm.now += LOOKS / 10;
        let now = farm.now;
        farm.at("ant").looks(now);
    }
    assert_eq!(farm.net.borrow().reads - before, 1);

    // Fifteen slots, each with fifteen other nodes.
    let cat = farm.at("cat");
    let network = cat.snapshot.networks[0].clone();
    for slot in 1..=15_u8 {
        let mut network = network.clone();
        network.slot = ExitSlot::try_from(slot).expect("a slot");
        for exit in network.resources.iter_mut().filter(|resource| !resource.standbys.is_empty()) {
            let standby = exit.standbys[0].clone();
            let other = |at| StandbyView { node: id(&format!("n{slot}-{at}")), ..standby.clone() };
            exit.standbys = (1..15).map(other).collect();
        }
        cat.snapshot.networks.push(network);
        cat.told(&Tenure { slot: ExitSlot::try_from(slot).expect("a slot"), ..tenure(1, "ant", None) });
    }
    cat.snapshot.networks.remove(0);
    let before = farm.net.borrow().sent.len();
    let mut sent = Vec::new();
    for _ in 0..8 {
        farm.now += LOOKS;
        let now = farm.now;
        farm.at("cat").looks(now);
        sent.push(farm.net.borrow().sent.len() - before);
    }
    let each: Vec<usize> = sent.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(sent[0] <= SENDS_PER_LOOK && each.iter().all(|sent| *sent <= SENDS_PER_LOOK), "{sent:?}");
    assert!(sent[7] >= 14 * 15, "and all have had their turn: {sent:?}");
}

#[test]
fn the_longest_names_fit_into_a_datagram() {
    let longest = "a".repeat(sixfold_core::limit::LABEL_MAX);
    let tenure = Tenure { epoch: Epoch(u64::MAX), ..tenure(1, &longest, Some(&longest)) };
    let signed = Signed::new(&tenure, &key());
    let bytes = written(&signed).expect("it fits");
    assert_eq!((bytes.len(), read(&bytes)), (GOSSIP_BYTES, Some(signed)));
}

#[test]
fn a_node_without_a_registry_says_nothing() {
    let mut farm = Farm::new();
    let before = farm.net.borrow().sent.len();
    farm.nodes.iter_mut().for_each(|node| node.registry = Registry::default());
    farm.passes(2 * EVERY);
    assert_eq!(farm.net.borrow().sent.len(), before);
}
