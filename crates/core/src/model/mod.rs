//! What is true: farms, nodes, networks. Fields are private and an invalid one cannot be built.
//!
//! Owns: the types, and every condition they must meet, each in one place ([`Fault`]). A *draft* is the same thing with
//! open fields and not yet checked: it is what files are read into and what travels as JSON. Must not know TOML or
//! files (`spec` does), nor what derives from an index (`desire` asks `addr`).
//!
//! ```text
//! FarmDraft, NetworkDraft --faults(): all of them, each with its place--> Farm, Network, World
//! ```

mod bandwidth;
mod farm;
mod fault;
mod ledger;
mod network;
mod node;
mod ports;
mod snapshot;
mod status;
#[cfg(test)]
mod tests;
mod traffic;
mod world;

pub use bandwidth::{Bandwidth, BandwidthError, Bandwidths};
pub use farm::{
    Farm, FarmDraft, LocalV4, NicOf, OwnNic, Provision, Quotas, Service, Slot, SlotDraft, SlotKey,
    SlotKeyError, Upstream,
};
pub use fault::{Fault, Found, Item, Place};
pub use ledger::{
    Conflict, Grant, Heard, Ledger, LedgerChange, ReadSet, Record, Release, ResourceKey, Seat, Shares,
};
pub use network::{
    Attachment, ExitDraft, ExitRef, Exposure, Forward, Network, NetworkDraft, OwnV4, Protocol, Workload,
    WorkloadDraft,
};
pub use node::{Family, Node, NodeDraft, Reach};
pub use ports::{PortBlock, PortBlockError, shared as shared_ports};
pub(crate) use snapshot::document;
pub use snapshot::{
    DeviceReport, ExposureView, Format, FormatError, ForwardView, GatewayView, NetworkView, OwnView, Reports,
    ResourceView, Snapshot, SnapshotError, SnapshotFault, SnapshotFaultKind, StandbyView, WorkloadView,
};
pub use status::{
    Answering, DeviceStatus, ExitStatus, HeardStatus, PeerPath, PeerStatus, RegistryStatus, SecondStatus,
    SessionStatus, Status,
};
pub use traffic::{Carried, GatewayTraffic, NetworkTraffic};
pub(crate) use world::resolve_exit;
pub use world::{Document, World, WorldDraft};
