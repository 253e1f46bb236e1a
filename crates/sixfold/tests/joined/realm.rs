//! A farmer and a tenant, as they speak to the registry; the node is this program.

use sixfold_api::client::{Client, Method};
use sixfold_api::resource::{Done, Put};
use sixfold_api::tls::Identity;
use sixfold_core::id::{FarmId, NetworkId, NodeId, TenantId};
use sixfold_core::model::{ExitDraft, FarmDraft, NetworkDraft, SlotDraft, Upstream, WorkloadDraft};
use sixfold_core::trust::{
    Delegation, NetworkStatement, Role, Signed, SigningKey, Statement, Subject, Token, VerifyingKey,
};

use crate::machine::Machine;

/// Where the registry listens.
pub(crate) const ADDRESS: &str = "[::1]:7443";
/// The allocation.
const PREFIX: &str = "2001:db8:a::/48";

pub(crate) fn farmer() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

pub(crate) fn tenant() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

pub(crate) fn farm() -> FarmId {
    farmer().verifying().id(Role::Farmer).into()
}

pub(crate) fn network() -> NetworkId {
    let tenant: TenantId = tenant().verifying().id(Role::Tenant).into();
    NetworkId { tenant, name: "web".parse().unwrap() }
}

/// A registry, as the two know it.
pub(crate) struct Realm<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) registry: VerifyingKey,
}

impl Realm<'_> {
    /// Has something be so.
    #[track_caller]
    pub(crate) fn put<T: Statement + Sync>(&self, path: &str, statement: &T, key: &SigningKey) -> Done {
        let put = Put { statement: Signed::new(statement, key), confirmation: None, token: None };
        self.ask(key, async |client| client.send::<Done>(Method::PUT, path, &put, None).await).unwrap()
    }

    /// Asks the registry something as the holder of a key.
    pub(crate) fn ask<T: Send>(
        &self,
        key: &SigningKey,
        what: impl AsyncFnOnce(&mut Client) -> T + Send,
    ) -> T {
        let identity = Identity::of(key).unwrap();
        self.machine.within(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut client = Client::new(ADDRESS, *self.registry.as_bytes(), Some(&identity)).unwrap();
            runtime.block_on(what(&mut client))
        })
    }

    /// The farm, with its slot once there is somebody to hold it.
    pub(crate) fn put_farm(&self, version: u64, holder: Option<&NodeId>) {
        let slot =
            |holder: &NodeId| SlotDraft::new(format!("{PREFIX}#1").parse().unwrap(), vec![holder.clone()]);
        let draft = FarmDraft {
            id: farm(),
            allocations: vec![PREFIX.parse().unwrap()],
            upstream: Upstream::default(),
            management: Vec::new(),
            host_firewall: false,
            provisions: Vec::new(),
            nodes: Vec::new(),
            slots: holder.map(slot).into_iter().collect(),
        };
        let statement = Delegation::new(draft, "alpha".parse().unwrap(), version).unwrap();
        self.put(&format!("/v1/farms/{}", farm()), &statement, &farmer());
    }

    /// The tenant's network on a node, with a workload.
    pub(crate) fn put_network(&self, version: u64, node: &NodeId) -> Done {
        let exit = ExitDraft {
            farm: farm(),
            prefix: Some(PREFIX.parse().unwrap()),
            slot: 1_i64.try_into().unwrap(),
        };
        let workload = WorkloadDraft {
            name: "www".parse().unwrap(),
            node: node.clone(),
            number: None,
            attachment: Default::default(),
            ipv6_only: false,
            nic: None,
        };
        let draft = NetworkDraft {
            id: network(),
            nodes: vec![node.clone()],
            exit,
            workloads: vec![workload],
            exposures: Vec::new(),
            own_v4: Default::default(),
            local_v4: false,
        };
        let statement = NetworkStatement { version, subject: Subject::Live(draft.try_into().unwrap()) };
        self.put(&format!("/v1/networks/{}", network()), &statement, &tenant())
    }

    /// A token of the farm, good until a time.
    pub(crate) fn token(&self, nonce: u8, expires: u64) -> String {
        self.token_by(&farmer(), nonce, expires)
    }

    /// A token of somebody else's farm.
    pub(crate) fn token_of(&self, farmer: &SigningKey) -> String {
        self.token_by(farmer, 1, 1 << 40)
    }

    fn token_by(&self, farmer: &SigningKey, nonce: u8, expires: u64) -> String {
        let token = Token {
            farm: farmer.verifying().id(Role::Farmer).into(),
            registry: ADDRESS.to_owned(),
            registry_key: self.registry,
            nonce: [nonce; 16],
            expires,
        };
        Token::write(&Signed::new(&token, farmer))
    }
}
