//! A farm, its nodes and a network, as their owners sign them: of keys whose seeds are 32 times one byte.

use sixfold_core::id::{FarmId, Label, NetworkId, NodeId, Revision, TenantId};
use sixfold_core::model::{
    ExitDraft, FarmDraft, NetworkDraft, NodeDraft, Reach, SlotDraft, Status, Upstream,
};
use sixfold_core::trust::{
    Delegation, NetworkStatement, NodeStatement, Role, Signed, SigningKey, Subject, Token,
};
use sixfold_registry::service::{Clock as _, SystemClock};

/// The key whose seed is 32 times one byte.
pub(crate) fn signing(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// The registry's own.
pub(crate) const REGISTRY: u8 = 0xf0;

/// Known to the registry once the farm is there.
pub(crate) const FARMER: u8 = 1;
pub(crate) const TENANT: u8 = 4;
/// The holder of the slot, and another.
pub(crate) const NODES: [u8; 2] = [2, 3];
/// Not before the end of any test.
pub(crate) fn later() -> u64 {
    SystemClock.now().0 + 60 * 60
}

pub(crate) fn farm() -> FarmId {
    signing(FARMER).verifying().id(Role::Farmer).into()
}

pub(crate) fn node(seed: u8) -> NodeId {
    signing(seed).verifying().id(Role::Node).into()
}

pub(crate) fn network() -> NetworkId {
    let tenant: TenantId = signing(TENANT).verifying().id(Role::Tenant).into();
    NetworkId { tenant, name: label("web") }
}

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

pub(crate) fn status(seed: u8, in_sync: bool) -> Status {
    Status {
        node: node(seed),
        revision: Revision(1),
        in_sync,
        wireguard: "kernel".to_owned(),
        devices: Vec::new(),
        drift: Vec::new(),
        failures: Vec::new(),
        unknown_fields: Vec::new(),
        foreign: Vec::new(),
        exits: Vec::new(),
        heard: Vec::new(),
        registry: None,
        refusals: Vec::new(),
        peers: Vec::new(),
        passes: 1,
        operations: 2,
    }
}

/// The farm, with its slot once there is somebody to hold it.
pub(crate) fn delegation(version: u64, held: bool) -> Delegation {
    let slot = SlotDraft::new("2001:db8:a::/48#1".parse().unwrap(), vec![node(NODES[0])]);
    let draft = FarmDraft {
        id: farm(),
        allocations: vec!["2001:db8:a::/48".parse().unwrap()],
        upstream: Upstream::default(),
        management: Vec::new(),
        host_firewall: false,
        provisions: Vec::new(),
        nodes: Vec::new(),
        slots: if held { vec![slot] } else { Vec::new() },
    };
    Delegation::new(draft, label("alpha"), version).unwrap()
}

pub(crate) fn node_statement(seed: u8) -> NodeStatement {
    let address = Some(format!("2001:db8:f::{seed}/64").parse().unwrap());
    let reach = Reach::Public { address, address_v4: None };
    let draft = NodeDraft { id: node(seed), reach, nic: "eth0".parse().unwrap(), mtu: 1500 };
    NodeStatement {
        farm: farm(),
        name: label(&format!("n{seed}")),
        version: 1,
        node: draft.try_into().unwrap(),
    }
}

pub(crate) fn token(nonce: u8, signer: u8) -> String {
    let registry_key = signing(REGISTRY).verifying();
    let registry = "[::1]:7443".to_owned();
    let token = Token { farm: farm(), registry, registry_key, nonce: [nonce; 16], expires: later() };
    Token::write(&Signed::new(&token, &signing(signer)))
}

pub(crate) fn live(version: u64, nodes: &[u8]) -> NetworkStatement {
    let exit = ExitDraft {
        farm: farm(),
        prefix: Some("2001:db8:a::/48".parse().unwrap()),
        slot: 1_i64.try_into().unwrap(),
    };
    let nodes = nodes.iter().map(|seed| node(*seed)).collect();
    let draft = NetworkDraft {
        id: network(),
        nodes,
        exit,
        workloads: Vec::new(),
        exposures: Vec::new(),
        own_v4: Default::default(),
        local_v4: false,
    };
    NetworkStatement { version, subject: Subject::Live(draft.try_into().unwrap()) }
}
