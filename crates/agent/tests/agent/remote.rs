//! A registry as the feed, with a kernel in memory: what it proves is followed, what it makes up is not, and what was
//! followed outlives it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use sixfold_agent::remote::frame::{Answer, Link, Up};
use sixfold_core::id::Revision;
use sixfold_core::key::PublicKey;
use sixfold_core::model::{DeviceReport, NodeDraft, PeerPath, Reach};
use sixfold_core::state::NodeState;
use sixfold_core::trust::{
    DeviceOf, DeviceStatement, NetworkStatement, NodeStatement, Owner, Proofs, Role, Seen, Signed, Subject,
    admit, encode,
};

use super::realm::{Carried, Courier, Realm, RemoteAgent, carried, key, node, registry, until};
use super::support::{Shared, places};

fn follows(agent: &RemoteAgent, revision: u64) -> bool {
    agent.status().is_some_and(|status| status.in_sync && status.revision == Revision(revision))
}

fn held(agent: &RemoteAgent) -> Option<String> {
    agent.status()?.registry.as_ref()?.held.clone()
}

/// Every public key of a peer, and where it is reached.
fn peers(state: &NodeState) -> BTreeSet<String> {
    let peers = state.namespaces.values().flat_map(|namespace| &namespace.peers);
    peers.map(|(at, peer)| format!("{} {peer:?}", at.public_key)).collect()
}

/// Carries errands until none comes, as an honest registry: devices are shown from then on. Gives what was said.
fn carry(
    realm: &mut Realm,
    agent: &mut RemoteAgent,
    courier: &mut Courier,
) -> Vec<(Signed, DeviceStatement)> {
    let mut said = Vec::new();
    for _ in 0..200 {
        agent.round();
        let Some(errand) = courier.errand(Duration::from_millis(50)) else { break };
        realm.revision += 1;
        if let Carried::Device(device) = carried(&errand) {
            realm.devices.insert(device.1.key(), device.0.clone());
            said.push(*device);
        }
        let outcome = Ok(Revision(realm.revision));
        courier.say(&Up::Answer(Answer { id: errand.id, outcome }));
    }
    said
}

/// The devices of every other node, signed.
fn others_say(realm: &mut Realm, but: &str) {
    let networks: Vec<_> = realm.world.networks().keys().cloned().collect();
    let mut seed = 10;
    for network in networks {
        let grants: Vec<_> =
            realm.ledger.grants_of(&network).map(|(key, grant)| (key, grant.clone())).collect();
        for (resource, grant) in grants {
            let there =
                realm.world.seated(realm.world.network(&network).unwrap(), &grant.seat).unwrap().clone();
            if *there.id() == node(but) {
                continue;
            }
            seed += 1;
            let report =
                DeviceReport::new(PublicKey::from_bytes([seed; 32]), 6000 + u16::from(seed), there.reach());
            let of = DeviceOf {
                node: there.id().clone(),
                key: resource,
                generation: grant.generation,
                network: network.clone(),
            };
            let statement = DeviceStatement::new(of, 1, report).unwrap();
            let signed = Signed::new(&statement, realm.key_of(&Owner::node(there.id())));
            realm.devices.insert(resource, signed);
        }
    }
}

/// An agent that follows an honest registry, devices and all.
fn settled(realm: &mut Realm, dir: &std::path::Path, kernel: &Shared) -> (RemoteAgent, Courier) {
    others_say(realm, "ant");
    let (mut agent, mut courier) = realm.agent(dir, "ant", kernel);
    courier.connected();
    courier.show(&realm.proofs());
    let revision = realm.revision;
    until(&mut agent, "in sync", |agent| follows(agent, revision));
    carry(realm, &mut agent, &mut courier);
    realm.revision += 1;
    let revision = realm.revision;
    courier.show(&realm.proofs());
    until(&mut agent, "in sync with its own devices", |agent| follows(agent, revision));
    assert_eq!(agent.status().unwrap().refusals, Vec::<String>::new());
    (agent, courier)
}

#[test]
fn what_was_followed_is_there_again_without_the_registry() {
    let (mut realm, kernel, dir) = (Realm::of_first_farm(), Shared::new(), tempfile::tempdir().unwrap());
    let (agent, courier) = settled(&mut realm, dir.path(), &kernel);
    let before = kernel.state();
    assert!(!peers(&before).is_empty());
    drop((agent, courier));
    // The machine starts anew: nothing of ours is there, and nobody answers.
    let kernel = Shared::new();
    let (mut agent, mut courier) = realm.agent(dir.path(), "ant", &kernel);
    courier.say(&Up::Link(Link { fault: Some("nobody is there".to_owned()), received_bytes: 0 }));
    let revision = realm.revision;
    until(&mut agent, "in sync from disk", |agent| follows(agent, revision));
    assert_eq!(peers(&kernel.state()), peers(&before));
    until(&mut agent, "told why", |agent| {
        agent.status().unwrap().registry.as_ref().unwrap().fault.as_deref() == Some("nobody is there")
    });
    assert!(courier.errand(Duration::from_millis(100)).is_none(), "there is nobody to say anything to");
}

#[test]
fn the_status_says_how_each_other_resource_is_reached() {
    let (mut realm, kernel, dir) = (Realm::of_first_farm(), Shared::new(), tempfile::tempdir().unwrap());
    let (agent, _courier) = settled(&mut realm, dir.path(), &kernel);
    let snapshot = admit(&realm.proofs(), &realm.joined("ant").pins(), &Seen::default(), &node("ant"));
    let wanted: usize = (snapshot.snapshot.unwrap().networks.iter())
        .map(|network| {
            let here = network.resources.iter().filter(|resource| resource.node == node("ant")).count();
            here * (network.resources.len() - 1)
        })
        .sum();
    let told = &agent.status().unwrap().peers;
    assert_eq!(told.len(), wanted);
    // Ant is public: everybody is its peer; and no packet was ever sent.
    assert!(told.iter().all(|peer| peer.path == PeerPath::Direct && !peer.alive), "{told:?}");

    // Cat is hidden, as nobody else is; what has no key yet is reached by the exit point, if at all.
    let (mut agent, mut courier) = realm.agent(&dir.path().join("cat"), "cat", &Shared::new());
    courier.connected();
    let mut proofs = realm.proofs();
    proofs.devices.retain(|signed| *signed.open::<DeviceStatement>().unwrap().node() != node("bee"));
    courier.show(&proofs);
    let revision = realm.revision;
    until(&mut agent, "in sync", |agent| follows(agent, revision));
    let told = &agent.status().unwrap().peers;
    let by_exit = told.iter().filter(|peer| peer.path == PeerPath::Exit);
    assert!(by_exit.clone().count() > 0 && by_exit.clone().all(|peer| peer.node == node("bee")), "{told:?}");
}

#[test]
fn nothing_is_followed_before_it_is_on_disk() {
    let (realm, kernel, dir) = (Realm::of_first_farm(), Shared::new(), tempfile::tempdir().unwrap());
    let (mut agent, mut courier) = realm.agent(dir.path(), "ant", &kernel);
    // Where a save writes first there is something that cannot be replaced.
    let state = places(dir.path()).state;
    let barred = ["proofs.a.new", "proofs.b.new"].map(|name| state.join(name));
    barred.iter().for_each(|path| fs::create_dir(path).unwrap());
    courier.connected();
    courier.show(&realm.proofs());
    for _ in 0..50 {
        agent.round();
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(agent.status(), None, "nothing was followed");
    assert!(
        agent.complaint().is_some_and(|complaint| complaint.contains("proofs.")),
        "{:?}",
        agent.complaint()
    );
    assert_eq!(kernel.state(), Shared::new().state());
    barred.iter().for_each(|path| fs::remove_dir(path).unwrap());
    until(&mut agent, "in sync", |agent| follows(agent, 1));
    assert_eq!(agent.complaint(), None);
    assert!(state.join("proofs.a").exists() || state.join("proofs.b").exists());
}

#[test]
fn a_registry_that_shows_what_is_older_is_not_followed_and_is_told_so() {
    let (mut realm, kernel, dir) = (Realm::of_first_farm(), Shared::new(), tempfile::tempdir().unwrap());
    let older = realm.proofs();
    realm.sign(2);
    let (mut agent, mut courier) = settled(&mut realm, dir.path(), &kernel);
    let (before, revision) = (kernel.state(), realm.revision);
    for (shown, word) in [
        (Proofs { revision: Revision(revision + 1), ..older.clone() }, "older than what this node has seen"),
        (older, "older than what this node has seen"),
        (Proofs { revision: Revision(1), ..realm.proofs() }, "it is at revision 1, and was at"),
    ] {
        courier.show(&shown);
        until(&mut agent, "held", |agent| held(agent).is_some_and(|held| held.contains(word)));
        assert_eq!(kernel.state(), before);
        assert!(follows(&agent, revision), "the last good one stays");
        assert!(
            is_said(&mut agent, &mut courier, false),
            "the registry is told that the node does not follow"
        );
        courier.show(&realm.proofs());
        until(&mut agent, "following again", |agent| held(agent).is_none());
        assert!(is_said(&mut agent, &mut courier, true));
    }
    // Nor is it after the agent was started again.
    drop((agent, courier));
    let (mut agent, mut courier) = realm.agent(dir.path(), "ant", &kernel);
    courier.connected();
    let mut again = Realm::of_first_farm();
    again.revision = revision + 7;
    courier.show(&again.proofs());
    until(&mut agent, "held", |agent| held(agent).is_some());
    assert!(follows(&agent, revision));
    assert_eq!(peers(&kernel.state()), peers(&before));
}

/// Whether a status comes that says so.
fn is_said(agent: &mut RemoteAgent, courier: &mut Courier, in_sync: bool) -> bool {
    (0..100).any(|_| {
        agent.round();
        let Some(errand) = courier.errand(Duration::from_millis(50)) else { return false };
        courier.say(&Up::Answer(Answer { id: errand.id, outcome: Ok(Revision(1)) }));
        matches!(carried(&errand), Carried::Status(status) if status.in_sync == in_sync)
    })
}

fn elsewhere() -> Reach {
    Reach::Public { address: Some("2001:db8:bad::1/64".parse().unwrap()), address_v4: None }
}

/// A lie, and what it changes in what is shown to ant.
type Lie = (&'static str, fn(&mut Proofs));

fn others_device(proofs: &Proofs) -> (usize, DeviceStatement) {
    let devices = proofs.devices.iter().map(|signed| signed.open::<DeviceStatement>().unwrap());
    devices.enumerate().find(|(_, device)| *device.node() != node("ant")).unwrap()
}

fn taken_over(device: &DeviceStatement) -> DeviceStatement {
    let (node, key) = (device.node().clone(), device.key());
    let (generation, network) = (device.generation(), device.network().clone());
    let report = DeviceReport::new(PublicKey::from_bytes([66; 32]), 66, &elsewhere());
    DeviceStatement::new(DeviceOf { node, key, generation, network }, 9, report).unwrap()
}

fn diverted(proofs: &Proofs) -> (usize, NodeStatement) {
    let nodes = proofs.nodes.iter().map(|signed| signed.open::<NodeStatement>().unwrap());
    let (at, says) = nodes.enumerate().find(|(_, says)| *says.node.id() != node("ant")).unwrap();
    let draft = NodeDraft { reach: elsewhere(), ..says.node.clone().into() };
    (at, NodeStatement { version: 9, node: draft.try_into().unwrap(), ..says })
}

const LIES: [Lie; 9] = [
    ("a WireGuard key is swapped", |proofs| {
        let (at, device) = others_device(proofs);
        proofs.devices[at] = Signed::new(&taken_over(&device), &key(Role::Node, "a stranger"));
    }),
    ("a WireGuard key is swapped under its node's signature", |proofs| {
        let (at, device) = others_device(proofs);
        proofs.devices[at].body = encode(&taken_over(&device));
    }),
    ("a WireGuard key is swapped by the registry", |proofs| {
        let (at, device) = others_device(proofs);
        proofs.devices[at] = Signed::new(&taken_over(&device), &registry());
    }),
    ("a node is diverted", |proofs| {
        let (at, says) = diverted(proofs);
        proofs.nodes[at] = Signed::new(&says, &key(Role::Node, "a stranger"));
    }),
    ("a node is diverted under its signature", |proofs| {
        let (at, says) = diverted(proofs);
        proofs.nodes[at].body = encode(&says);
    }),
    ("a network gets a node more", |proofs| {
        let says: NetworkStatement = proofs.networks[0].open().unwrap();
        let Subject::Live(network) = says.subject else { panic!("it is live") };
        let mut draft = sixfold_core::model::NetworkDraft::from(network);
        draft.nodes.push(node("a stranger"));
        let subject = Subject::Live(draft.try_into().unwrap());
        proofs.networks[0] =
            Signed::new(&NetworkStatement { version: 9, subject }, &key(Role::Tenant, "a stranger"));
    }),
    ("grants are of somebody else's group", |proofs| {
        let leaves: Vec<_> = (proofs.grants.iter())
            .map(|grant| grant.proven.open(&proofs.groups[grant.group].open().unwrap()).unwrap())
            .collect();
        let (group, proven) = sixfold_core::trust::seal(&leaves, 9, &key(Role::Registry, "a stranger"));
        proofs.groups = vec![group];
        for (grant, proven) in proofs.grants.iter_mut().zip(proven) {
            (grant.group, grant.proven) = (0, proven);
        }
    }),
    ("this node is left out", |proofs| {
        proofs.nodes.retain(|signed| *signed.open::<NodeStatement>().unwrap().node.id() != node("ant"));
    }),
    ("everything is left out", |proofs| {
        *proofs = Proofs { revision: proofs.revision, ..Proofs::default() };
    }),
];

#[test]
fn no_lie_of_a_registry_installs_anything() {
    for (what, lie) in LIES {
        let (mut realm, kernel, dir) = (Realm::of_first_farm(), Shared::new(), tempfile::tempdir().unwrap());
        let (mut agent, mut courier) = settled(&mut realm, dir.path(), &kernel);
        let truth = peers(&kernel.state());
        let spaces: BTreeSet<_> = kernel.state().namespaces.keys().cloned().collect();
        realm.revision += 1;
        let mut proofs = realm.proofs();
        lie(&mut proofs);
        courier.show(&proofs);
        until(&mut agent, what, |agent| agent.status().is_some_and(|status| !status.refusals.is_empty()));
        until(&mut agent, what, |agent| agent.status().is_some_and(|status| status.in_sync));
        let state = kernel.state();
        let planted: Vec<_> = peers(&state).difference(&truth).cloned().collect();
        assert!(planted.is_empty(), "{what}: {planted:?}");
        assert!(state.namespaces.keys().all(|netns| spaces.contains(netns)), "{what}");
        if what.contains("left out") {
            assert!(held(&agent).is_some_and(|held| held.contains("does not show this node")), "{what}");
            assert_eq!(peers(&state), truth, "{what}: the last good one stays");
        }
    }
}

#[test]
fn a_device_is_said_once_and_in_the_same_version_by_the_next_agent() {
    let (mut realm, kernel, dir) = (Realm::of_first_farm(), Shared::new(), tempfile::tempdir().unwrap());
    others_say(&mut realm, "ant");
    let without = realm.proofs();
    let say = |realm: &mut Realm| {
        let (mut agent, mut courier) = realm.agent(dir.path(), "ant", &kernel);
        courier.connected();
        courier.show(&without);
        until(&mut agent, "in sync", |agent| follows(agent, 1));
        carry(realm, &mut agent, &mut courier)
    };
    let first = say(&mut realm);
    assert_eq!(first.len(), agent_devices(&kernel), "each device once");
    assert!(first.iter().all(|(_, device)| device.node() == &node("ant")));
    let second = say(&mut realm);
    assert_eq!(first, second, "the very same statements");
    // Of another key there is another version.
    fs::remove_dir_all(places(dir.path()).keys()).unwrap();
    let third = say(&mut realm);
    let newer = |(_, old): &(Signed, DeviceStatement)| {
        let new = third.iter().find(|(_, new)| new.key() == old.key());
        new.is_some_and(|(_, new)| version(new) > version(old) && new.report() != old.report())
    };
    assert!(!third.is_empty() && first.iter().all(newer), "{third:?}");
    // And where the count was lost, what the registry shows has it.
    fs::remove_file(places(dir.path()).state.join("devices.json")).unwrap();
    realm.revision += 1;
    let (mut agent, mut courier) = realm.agent(dir.path(), "ant", &kernel);
    courier.connected();
    courier.show(&realm.proofs());
    let revision = realm.revision;
    until(&mut agent, "in sync", |agent| follows(agent, revision));
    assert_eq!(carry(&mut realm, &mut agent, &mut courier), [], "all of it is known");
}

#[test]
fn what_was_said_of_a_device_goes_with_its_resource() {
    let (mut realm, kernel, dir) = (Realm::of_first_farm(), Shared::new(), tempfile::tempdir().unwrap());
    let (mut agent, mut courier) = settled(&mut realm, dir.path(), &kernel);
    let said = || {
        let text = fs::read(places(dir.path()).state.join("devices.json")).unwrap();
        serde_json::from_slice::<Vec<serde_json::Value>>(&text).unwrap().len()
    };
    assert_eq!(said(), agent_devices(&kernel));
    let mut proofs = realm.proofs();
    proofs.networks.remove(0);
    proofs.revision = Revision(realm.revision + 1);
    courier.show(&proofs);
    let (before, revision) = (said(), proofs.revision.0);
    until(&mut agent, "in sync without it", |agent| follows(agent, revision));
    carry(&mut realm, &mut agent, &mut courier);
    let left = agent_devices(&kernel);
    assert!(0 < left && left < before, "{left} of {before}");
    assert_eq!(said(), left);
}

fn version(device: &DeviceStatement) -> u64 {
    sixfold_core::trust::Owned::version(device)
}

fn agent_devices(kernel: &Shared) -> usize {
    kernel.state().namespaces.values().map(|namespace| namespace.devices.len()).sum()
}
