//! Good statements of every kind, and the proofs of a farm of one node, all by one key.

use sixfold_core::addr::Allocation;
use sixfold_core::id::{Generation, Label, NodeId};
use sixfold_core::key::PublicKey;
use sixfold_core::model::{
    DeviceReport, ExitDraft, FarmDraft, Network, NetworkDraft, Node, NodeDraft, Reach, ResourceKey, Seat,
    SlotDraft, SlotKey, Upstream, WorkloadDraft,
};
use sixfold_core::trust::{
    Confirm, Delegation, DeviceOf, DeviceStatement, Digest, Dissolution, Granted, Invitation, Leaf, Leaving,
    NetworkStatement, NodeStatement, Proofs, ProvenGrant, Reclaim, Role, Rotation, Signed, SigningKey,
    Subject, Token, encode, seal,
};

/// The one key there is: the registry's, and everybody else's.
#[must_use]
pub fn registry() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn id(role: Role) -> Label {
    registry().verifying().id(role)
}

/// What each of the owners of a farm of one node says.
struct Said {
    farm: Delegation,
    network: NetworkStatement,
    node: NodeStatement,
    devices: Vec<DeviceStatement>,
    leaves: Vec<Leaf>,
}

fn read<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("a constant of this file is right")
}

fn farm(node: &NodeId) -> FarmDraft {
    let slot = SlotDraft {
        public_v4: Some(read("203.0.113.5/24")),
        default_v4: Some(read("203.0.113.1")),
        ..SlotDraft::new(slot(), vec![node.clone()])
    };
    FarmDraft {
        id: id(Role::Farmer).into(),
        allocations: vec![read("2001:db8:a::/48")],
        upstream: Upstream::default(),
        management: vec![read("192.0.2.0/24")],
        host_firewall: true,
        provisions: Vec::new(),
        nodes: vec![],
        slots: vec![slot],
    }
}

fn slot() -> SlotKey {
    read("2001:db8:a::/48#1")
}

fn network(node: &NodeId) -> Network {
    let draft = NetworkDraft {
        id: read(&format!("{}/web", id(Role::Tenant))),
        nodes: vec![node.clone()],
        exit: ExitDraft { farm: id(Role::Farmer).into(), prefix: Some(slot().prefix), slot: slot().slot },
        workloads: vec![WorkloadDraft {
            name: read("db"),
            node: node.clone(),
            number: None,
            attachment: sixfold_core::model::Attachment::Namespace,
            ipv6_only: false,
            nic: None,
        }],
        exposures: vec![],
        own_v4: Default::default(),
        local_v4: false,
    };
    draft.try_into().expect("the network is right")
}

fn said() -> Said {
    let node: NodeId = id(Role::Node).into();
    let name: Label = read("a-name");
    let allocation = Allocation::new(slot().prefix, read("1")).expect("the allocation is one");
    let network = network(&node);
    let reach = Reach::Public { address: Some(read("2001:db8:a::a1/64")), address_v4: None };
    let (mut devices, mut leaves) = (Vec::new(), vec![Leaf::Number(allocation)]);
    for (index, seat) in [("1abc", Seat::Exit), ("1abd", Seat::Node(node.clone()))] {
        let key = ResourceKey { number: allocation.number(), index: read(index) };
        let (generation, id) = (Generation(1), network.id().clone());
        let of = DeviceOf { node: node.clone(), key, generation, network: id.clone() };
        let report = DeviceReport::new(PublicKey::from_bytes([key.index.low(); 32]), key.index.get(), &reach);
        devices.push(DeviceStatement::new(of, 1, report).expect("the device is right"));
        let ports = (seat == Seat::Exit).then(|| read("1024-2047"));
        leaves.push(Leaf::Grant(Granted { key, generation, network: id, seat, ports, own_v4: None }));
    }
    let itself = NodeDraft { id: node.clone(), reach, nic: read("eth0"), mtu: 1500 };
    Said {
        farm: Delegation::new(farm(&node), name.clone(), 1).expect("the farm is right"),
        network: NetworkStatement { version: 1, subject: Subject::Live(network) },
        node: NodeStatement {
            farm: id(Role::Farmer).into(),
            name,
            version: 1,
            node: Node::try_from(itself).expect("the node is right"),
        },
        devices,
        leaves,
    }
}

/// What everybody says, as a registry sends it.
#[must_use]
pub fn proofs() -> Proofs {
    let (said, key) = (said(), registry());
    let (group, proven) = seal(&said.leaves, 1, &key);
    Proofs {
        rotations: vec![vec![Signed::new(&rotation(), &key)]],
        farms: vec![Signed::new(&said.farm, &key)],
        networks: vec![Signed::new(&said.network, &key)],
        nodes: vec![Signed::new(&said.node, &key)],
        devices: said.devices.iter().map(|device| Signed::new(device, &key)).collect(),
        groups: vec![group],
        grants: proven.into_iter().map(|proven| ProvenGrant { group: 0, proven }).collect(),
        ..Proofs::default()
    }
}

fn rotation() -> Rotation {
    let next = SigningKey::from_seed(&[8; 32]).verifying();
    // Of a role in which nobody speaks here, or all that is said would be by a replaced key.
    Rotation { owner: registry().verifying().owner(Role::Admin), sequence: 1, next }
}

/// The bodies of good statements, by kind: farm, network, node, device, grant, group, rotation, token, confirm, leaving, reclaim,
/// invitation, dissolution.
///
/// # Panics
/// If one is wrong.
#[must_use]
pub fn statements() -> Vec<Vec<Vec<u8>>> {
    let said = said();
    let token = Token {
        farm: id(Role::Farmer).into(),
        registry: "registry.example.net:7443".to_owned(),
        registry_key: registry().verifying(),
        nonce: [5; 16],
        expires: 1_800_000_000,
    };
    let confirm =
        Confirm { owner: registry().verifying().owner(Role::Farmer), change: Digest([3; 32]), limit: 5 };
    let deleted = NetworkStatement { version: 2, subject: Subject::Deleted(said.network.id().clone()) };
    let reclaim = Reclaim { network: said.network.id().clone(), version: 3 };
    let prefixes = vec!["2001:db8:a::/48".parse().expect("a prefix")];
    let invitation =
        Invitation { registry_key: registry().verifying(), nonce: [6; 16], expires: 1_800_000_000, prefixes };
    let dissolution = Dissolution { farm: id(Role::Farmer).into(), version: 4 };
    let leaving = Leaving { node: id(Role::Node).into(), farm: id(Role::Farmer).into(), version: 2 };
    vec![
        vec![encode(&said.farm)],
        vec![encode(&said.network), encode(&deleted)],
        vec![encode(&said.node)],
        said.devices.iter().map(encode).collect(),
        said.leaves.iter().map(encode).collect(),
        proofs().groups.into_iter().map(|group| group.body).collect(),
        vec![encode(&rotation())],
        vec![encode(&token)],
        vec![encode(&confirm)],
        vec![encode(&leaving)],
        vec![encode(&reclaim)],
        vec![encode(&invitation)],
        vec![encode(&dissolution)],
    ]
}
