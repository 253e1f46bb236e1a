//! The first farm with everything signed, and a courier that the test speaks as.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use sixfold_agent::remote::frame::{Begin, Decoder, Down, Errand, Link, Message as _, Place, Up};
use sixfold_agent::remote::joined::Joined;
use sixfold_agent::remote::post::{Launch, Launched};
use sixfold_agent::remote::{RegistryFeed, Setup};
use sixfold_agent::run::Agent;
use sixfold_api::resource::Put;
use sixfold_api::url::RegistryUrl;
use sixfold_core::allocate::{self, IndexSecret, Terms};
use sixfold_core::id::{FarmId, Label, NodeId, Revision};
use sixfold_core::model::{FarmDraft, Grant, Ledger, NetworkDraft, ResourceKey, Status, World, WorldDraft};
use sixfold_core::place;
use sixfold_core::trust::{
    Delegation, DeviceStatement, Granted, Leaf, NetworkStatement, NodeStatement, Owner, Proofs, Proven,
    ProvenGrant, Role, Signed, SigningKey, Subject, seal,
};

use super::support::{Registry, Shared, ground, places};

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The key of someone who is known by a name.
pub(crate) fn key(role: Role, name: &str) -> SigningKey {
    SigningKey::from_seed(&Sha256::digest(format!("{role} {name}")).into())
}

pub(crate) fn id(role: Role, name: &str) -> Label {
    key(role, name).verifying().id(role)
}

pub(crate) fn node(name: &str) -> NodeId {
    id(Role::Node, name).into()
}

pub(crate) fn registry() -> SigningKey {
    key(Role::Registry, "the registry")
}

/// The farm, and what is signed in it.
pub(crate) struct Realm {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    farms: Vec<Signed>,
    networks: Vec<Signed>,
    nodes: Vec<Signed>,
    pub(crate) devices: BTreeMap<ResourceKey, Signed>,
    group: Option<Signed>,
    grants: Vec<Proven>,
    pub(crate) revision: u64,
    farm: FarmId,
    keys: BTreeMap<Owner, SigningKey>,
}

impl Realm {
    pub(crate) fn of_first_farm() -> Self {
        let mut draft = WorldDraft::from(Registry::of_first_farm().world);
        let mut keys = BTreeMap::new();
        draft.farms.iter_mut().for_each(|farm| farm_of_keys(farm, &mut keys));
        draft.networks.iter_mut().for_each(|network| network_of_keys(network, &mut keys));
        let farm = draft.farms[0].id.clone();
        let world = World::try_from(draft).expect("only names changed");
        let ledger = Ledger::default();
        let mut realm = Self {
            world,
            ledger,
            farms: Vec::new(),
            networks: Vec::new(),
            nodes: Vec::new(),
            devices: BTreeMap::new(),
            group: None,
            grants: Vec::new(),
            revision: 1,
            farm,
            keys,
        };
        realm.grant();
        realm.sign(1);
        realm
    }

    fn grant(&mut self) {
        for network in self.world.networks().values() {
            let (read, change) = allocate::number(&self.ledger, network.exit().prefix);
            self.ledger.commit(&read, change).unwrap();
            let farm = self.world.farm(&network.exit().farm).unwrap();
            let placement = place::place(network, farm).unwrap();
            let (read, change) =
                allocate::allocate(&self.ledger, &placement, &IndexSecret([7; 32]), &Terms::default())
                    .unwrap();
            self.ledger.commit(&read, change).unwrap();
        }
    }

    pub(crate) fn key_of(&self, owner: &Owner) -> &SigningKey {
        &self.keys[owner]
    }

    /// Everybody says everything, in a version.
    pub(crate) fn sign(&mut self, version: u64) {
        let world = self.world.clone();
        (self.farms, self.networks, self.nodes) = (Vec::new(), Vec::new(), Vec::new());
        for farm in world.farms().values() {
            let statement =
                Delegation::new(FarmDraft::from(farm.clone()), "alpha".parse().unwrap(), version).unwrap();
            let signed = Signed::new(&statement, self.key_of(&Owner::farmer(farm.id())));
            self.farms.push(signed);
            for node in farm.nodes().values() {
                let (farm, name) = (farm.id().clone(), "a-node".parse().unwrap());
                let statement = NodeStatement { farm, name, version, node: node.clone() };
                let signed = Signed::new(&statement, self.key_of(&Owner::node(node.id())));
                self.nodes.push(signed);
            }
        }
        for network in world.networks().values() {
            let statement = NetworkStatement { version, subject: Subject::Live(network.clone()) };
            let signed = Signed::new(&statement, self.key_of(&Owner::tenant(&network.id().tenant)));
            self.networks.push(signed);
        }
        self.seal();
    }

    /// The registry signs its ledger, all in one group.
    fn seal(&mut self) {
        let numbers = self.ledger.allocations().map(Leaf::Number);
        let networks: Vec<_> = self.world.networks().keys().cloned().collect();
        let grants = networks.iter().flat_map(|network| self.ledger.grants_of(network));
        let granted = |(key, grant): (ResourceKey, &Grant)| Leaf::Grant(Granted::of(key, grant));
        let leaves: Vec<Leaf> = numbers.chain(grants.map(granted)).collect();
        let (group, proven) = seal(&leaves, 1, &registry());
        (self.group, self.grants) = (Some(group), proven);
    }

    /// What is shown to every node: all there is, more than an honest registry would show to any.
    pub(crate) fn proofs(&self) -> Proofs {
        let grants = self.grants.iter().cloned().map(|proven| ProvenGrant { group: 0, proven });
        Proofs {
            revision: Revision(self.revision),
            farms: self.farms.clone(),
            networks: self.networks.clone(),
            nodes: self.nodes.clone(),
            devices: self.devices.values().cloned().collect(),
            groups: self.group.iter().cloned().collect(),
            grants: grants.collect(),
            ..Proofs::default()
        }
    }

    pub(crate) fn joined(&self, name: &str) -> Joined {
        let (farm, this) = self.world.node(&node(name)).unwrap();
        let (farm, node) = (farm.id().clone(), this.clone());
        assert_eq!(farm, self.farm);
        let statement = NodeStatement { farm, name: name.parse().unwrap(), version: 1, node };
        Joined::new(RegistryUrl::new(registry().verifying(), "[::1]:1").unwrap(), statement)
    }

    /// An agent of a node, whose courier the test is.
    pub(crate) fn agent(&self, dir: &Path, name: &str, kernel: &Shared) -> (RemoteAgent, Courier) {
        let (launch, launched) = channel();
        let key = key(Role::Node, name);
        let setup = Setup { joined: self.joined(name), key, launch: Hand(launch) };
        let agent = Agent::of_registry(places(dir), kernel.clone(), setup, ground).unwrap();
        (agent, Courier::next(launched))
    }
}

pub(crate) type RemoteAgent = Agent<Shared, RegistryFeed>;

fn keep(keys: &mut BTreeMap<Owner, SigningKey>, role: Role, name: &str) -> Label {
    let key = key(role, name);
    let id = key.verifying().id(role);
    keys.insert(Owner { role, id: id.clone() }, key);
    id
}

fn farm_of_keys(farm: &mut FarmDraft, keys: &mut BTreeMap<Owner, SigningKey>) {
    farm.id = keep(keys, Role::Farmer, farm.id.as_str()).into();
    farm.nodes.iter_mut().for_each(|it| it.id = keep(keys, Role::Node, it.id.as_str()).into());
    let holders = farm.slots.iter_mut().flat_map(|slot| &mut slot.holders);
    holders.for_each(|holder| *holder = node(holder.as_str()));
}

fn network_of_keys(network: &mut NetworkDraft, keys: &mut BTreeMap<Owner, SigningKey>) {
    network.id.tenant = keep(keys, Role::Tenant, network.id.tenant.as_str()).into();
    network.nodes.iter_mut().for_each(|it| *it = node(it.as_str()));
    network.exit.farm = id(Role::Farmer, network.exit.farm.as_str()).into();
    network.workloads.iter_mut().for_each(|workload| workload.node = node(workload.node.as_str()));
}

/// Starts couriers that are the test's.
struct Hand(Sender<(UnixStream, UnixStream)>);

impl Launch for Hand {
    fn launch(&mut self) -> io::Result<Launched> {
        let (talk, its_talk) = UnixStream::pair()?;
        let (sign, its_sign) = UnixStream::pair()?;
        self.0.send((its_talk, its_sign)).map_err(io::Error::other)?;
        Ok(Launched { talk, sign, end: Box::new(|| {}) })
    }
}

/// A courier in the test's hands.
pub(crate) struct Courier {
    talk: UnixStream,
    pub(crate) sign: UnixStream,
    decoder: Decoder,
    pub(crate) begin: Begin,
    launched: Receiver<(UnixStream, UnixStream)>,
}

impl Courier {
    /// The next one that the agent starts.
    fn next(launched: Receiver<(UnixStream, UnixStream)>) -> Self {
        let (talk, sign) = launched.recv_timeout(PATIENCE).expect("the agent starts a courier");
        let mut decoder = Decoder::default();
        let Some(Down::Begin(begin)) = hear(&talk, &mut decoder, PATIENCE) else { panic!("no beginning") };
        Self { talk, sign, decoder, begin: *begin, launched }
    }

    /// Dies, and is the one that is started in its place.
    pub(crate) fn die(self) -> Self {
        let Self { launched, talk, sign, .. } = self;
        drop((talk, sign));
        Self::next(launched)
    }

    pub(crate) fn say(&mut self, message: &Up) {
        self.talk.write_all(&message.frame()).unwrap();
    }

    pub(crate) fn show(&mut self, proofs: &Proofs) {
        self.say(&Up::Proofs(serde_json::to_vec(proofs).unwrap()));
    }

    pub(crate) fn connected(&mut self) {
        self.say(&Up::Link(Link { fault: None, received_bytes: 0 }));
    }

    /// The next errand, if one comes in so long.
    pub(crate) fn errand(&mut self, longest: Duration) -> Option<Errand> {
        match hear(&self.talk, &mut self.decoder, longest)? {
            Down::Errand(errand) => Some(errand),
            other => panic!("{other:?}"),
        }
    }

    /// Whether the agent hung up.
    pub(crate) fn is_parted(&mut self) -> bool {
        self.talk.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut piece = [0; 1 << 12];
        loop {
            match self.talk.read(&mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }
}

fn hear(mut talk: &UnixStream, decoder: &mut Decoder, longest: Duration) -> Option<Down> {
    let until = Instant::now() + longest;
    let mut piece = [0; 1 << 16];
    loop {
        if let Some(message) = decoder.take().unwrap() {
            return Some(message);
        }
        let left = until.checked_duration_since(Instant::now())?;
        talk.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
        match talk.read(&mut piece) {
            Ok(0) => panic!("the agent hung up"),
            Ok(count) => decoder.push(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Lets an agent go round until something is so.
#[track_caller]
pub(crate) fn until(agent: &mut RemoteAgent, what: &str, is_so: impl Fn(&RemoteAgent) -> bool) {
    let began = Instant::now();
    while !is_so(agent) {
        assert!(began.elapsed() < PATIENCE, "not {what}: {:?}", agent.status());
        agent.round();
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What an errand puts: a device that the node signed, or a status.
pub(crate) enum Carried {
    Device(Box<(Signed, DeviceStatement)>),
    Status(Box<Status>),
}

pub(crate) fn carried(errand: &Errand) -> Carried {
    match errand.place {
        Place::Devices => {
            let put: Put = serde_json::from_str(&errand.body).unwrap();
            let statement = put.statement.open().unwrap();
            Carried::Device(Box::new((put.statement, statement)))
        }
        Place::Status => Carried::Status(Box::new(serde_json::from_str(&errand.body).unwrap())),
        Place::Node => panic!("nothing is said of the node itself"),
    }
}
