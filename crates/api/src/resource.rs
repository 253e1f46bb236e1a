//! The documents that travel: what is asked for, and what is answered.
//!
//! Owns: their shapes. What owners say travels as they signed it; the rest here is the registry's own word, for people and
//! for finding things, and no node acts on it.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sixfold_core::addr::Allocation;
use sixfold_core::id::{FarmId, Generation, Label, NetworkId, NodeId, Revision};
use sixfold_core::model::{Family, PortBlock, ResourceKey, Seat, SlotKey, Status};
use sixfold_core::plan::Stage;
use sixfold_core::trust::Signed;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// How a signed statement looks: its exact bytes, the key, the signature; each in base64.
#[derive(ToSchema)]
#[schema(as = Signed)]
#[expect(dead_code, reason = "only its shape is used")]
struct SignedShape {
    /// The bytes that were signed (borsh).
    body: String,
    /// The Ed25519 key that signed them, 32 bytes.
    key: String,
    /// 64 bytes.
    signature: String,
}

/// A statement that its owner wants to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// The statement.
    #[schema(value_type = SignedShape)]
    pub statement: Signed,
    /// The owner's word that it is meant, where it takes much away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SignedShape>)]
    pub confirmation: Option<Signed>,
    /// What a node joins its farm by, the first time; a farm's invitation, by which it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// That an owner's key is replaced: all rotations from the first one, and what the owner has in force, signed again by the
/// newest key, each thing as it is and one version later. So that it is taken all at once, none may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotated {
    /// Each signed by the key before.
    #[schema(value_type = Vec<SignedShape>)]
    pub rotations: Vec<Signed>,
    /// A farmer's farm; a tenant's networks; a node's own statement and those of its devices.
    #[serde(default)]
    #[schema(value_type = Vec<SignedShape>)]
    pub statements: Vec<Signed>,
}

/// The rotations of an owner who replaced a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Keys {
    /// From the first one; each signed by the key before.
    #[schema(value_type = Vec<SignedShape>)]
    pub rotations: Vec<Signed>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// Of the commit; the newest one if there was nothing to write.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// The prefixes that the network has now, if it was about a network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Held>,
}

/// A prefix that a network holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// The allocation's number and the index in it.
    #[schema(value_type = Object)]
    pub resource: ResourceKey,
    /// `exit`, or the node.
    #[schema(value_type = serde_json::Value)]
    pub seat: Seat,
    /// Of its grant.
    #[schema(value_type = u32)]
    pub generation: Generation,
    /// Of an exit point, like `1024-2047`: the ports of its slot's address from which the network speaks IPv4. None are
    /// left where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ports: Option<PortBlock>,
    /// Of an exit point: the public IPv4 address of its slot's pool that was granted to the network, used or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub own_v4: Option<Ipv4Addr>,
    /// Of an exit point: whether it lacks ports, or the address of its own that its network asks for, because its tenant has as many of
    /// these at the slot as the slot's farmer lets one tenant have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_quota: bool,
}

/// What a change of a network would come to. Nothing of it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The newest commit, from which it was computed.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// What would be done on each node, by id. Keys of devices that are still to be made are placeholders.
    pub nodes: Vec<NodeSteps>,
    /// More nodes whose steps are not told, because the network is so large.
    #[serde(default)]
    pub untold: usize,
    /// What passes afterwards and did not, and the other way round.
    pub reach: ReachChange,
    /// The prefixes that the network would have.
    pub grants: Vec<Held>,
    /// The word that its owner has to give, if it takes much away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation_needed: Option<Needed>,
}

/// What would be done on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeSteps {
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// What its operator calls it.
    #[schema(value_type = String)]
    pub name: Label,
    /// In the order of doing.
    pub steps: Vec<StepText>,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepText {
    /// When it is done: the name of a stage.
    #[schema(value_type = String)]
    pub stage: Stage,
    /// The command that does the same by hand.
    pub text: String,
}

/// What a change does to who reaches whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReachChange {
    /// What would pass and does not.
    pub gained: Vec<Way>,
    /// What passes and would not.
    pub lost: Vec<Way>,
}

/// That something passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Way {
    /// Who sends: `TENANT/NETWORK:WORKLOAD`, or `internet`.
    pub from: String,
    /// Who is meant: the same, or `TENANT/NETWORK` for all other workloads of the network, in both directions.
    pub to: String,
    /// `ipv6` or `ipv4`.
    #[schema(value_type = String)]
    pub family: Family,
    /// `echo`, `tcp/PORT`, `udp/PORT`, or `any`.
    pub traffic: String,
}

/// The word that an owner has to give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Needed {
    /// Why, in words.
    pub why: String,
    /// The digest that a confirmation names (32 bytes, base64).
    pub change: String,
    /// How many resources one node would lose at most.
    pub limit: u64,
}

/// What a put of a network is answered with: what was done, or what would be.
#[derive(Debug, Clone, Copy)]
pub struct DoneOrPreview;

impl PartialSchema for DoneOrPreview {
    fn schema() -> RefOr<Schema> {
        let either = AnyOfBuilder::new()
            .item(Ref::from_schema_name(Done::name()))
            .item(Ref::from_schema_name(Preview::name()));
        Schema::AnyOf(either.build()).into()
    }
}

impl ToSchema for DoneOrPreview {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Done::name().into_owned(), Done::schema()));
        schemas.push((Preview::name().into_owned(), Preview::schema()));
        Done::schemas(schemas);
        Preview::schemas(schemas);
    }
}

/// A name for an id, as its owner says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Named {
    /// The id.
    #[schema(value_type = String)]
    pub id: Label,
    /// The name, which nobody else vouches for.
    #[schema(value_type = String)]
    pub name: Label,
}

/// All farms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Farms {
    /// By id.
    pub farms: Vec<Named>,
}

/// A farm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Farm {
    /// Its id.
    #[schema(value_type = String)]
    pub id: FarmId,
    /// The version of its farmer's words.
    pub version: u64,
    /// Of their commit.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// Whether it is no more: then the statement is the operator's word on that.
    #[serde(default)]
    pub deleted: bool,
    /// The farmer's words.
    #[schema(value_type = SignedShape)]
    pub statement: Signed,
    /// The /48s in use, with their numbers.
    #[schema(value_type = Vec<Object>)]
    pub allocations: Vec<Allocation>,
    /// Its nodes' own words: what each is called is nobody else's to say.
    #[schema(value_type = Vec<SignedShape>)]
    pub nodes: Vec<Signed>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its id.
    #[schema(value_type = String)]
    pub id: NodeId,
    /// Its farm.
    #[schema(value_type = String)]
    pub farm: FarmId,
    /// The version of its words.
    pub version: u64,
    /// Of their commit.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// Its words.
    #[schema(value_type = SignedShape)]
    pub statement: Signed,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// Its tenant and name.
    #[schema(value_type = String)]
    pub id: NetworkId,
    /// The version of its tenant's words.
    pub version: u64,
    /// Of their commit.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// Whether the tenant said that it is no more.
    pub deleted: bool,
    /// The tenant's words.
    #[schema(value_type = SignedShape)]
    pub statement: Signed,
    /// The prefixes in force.
    pub grants: Vec<Held>,
}

/// The networks of a tenant, those that are no more among them: their versions count on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Networks {
    /// By name.
    #[schema(value_type = Vec<String>)]
    pub networks: Vec<NetworkId>,
}

/// The networks that leave by a farm's exit slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Guests {
    /// By slot, then by id.
    pub networks: Vec<Guest>,
}

/// A network that leaves by an exit slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Guest {
    /// Its tenant and name.
    #[schema(value_type = String)]
    pub id: NetworkId,
    /// The slot.
    #[schema(value_type = String)]
    pub slot: SlotKey,
    /// The prefixes in force.
    pub grants: Vec<Held>,
}

/// What a node said of itself last. It is kept in memory only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Heard {
    /// Seconds since.
    pub age_secs: u64,
    /// Whether that is longer than a node rests between two words.
    #[serde(default)]
    pub silent: bool,
    /// That another machine asks with the node's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Duplicate>,
    /// What it said.
    #[schema(value_type = Object)]
    pub status: Status,
}

/// That another machine uses a node's key. Which of the two is the right one, their operator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Duplicate {
    /// Seconds since it was refused last.
    pub age_secs: u64,
}

/// What a node's snapshot is built from, by the node itself, or what a network stands on: `sixfold_core::trust::Proofs`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct Proven(pub sixfold_core::trust::Proofs);

/// What is other in it than in what the node holds: `sixfold_core::trust::Difference`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct Other(pub sixfold_core::trust::Difference);

/// What a node says of itself: `sixfold_core::model::Status`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct StatusShape(pub Status);
