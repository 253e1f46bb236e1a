//! Every bound of the registry's service, each with its reason.
//!
//! Owns: numbers only.

/// Requests that wait for the writer: at 80,000 a second in groups, 12 ms of work; more are told to come again.
pub const WAITING_MAX: usize = 1024;

/// Of these by one asker: four times what one key's connections can ask at once; strangers' keys have more connections.
pub const WAITING_PER_ASKER: usize = 32;

/// Records that the requests of one group write before it is closed: a tenant's whole quota, once or twice. What waits is
/// answered in tens of milliseconds, and a transaction of a replicated store stays one.
pub const GROUP_RECORDS: usize = 8192;

/// Seconds that an answer is kept (1 day): whoever asks again because a network failed does so for minutes; what is asked
/// from a file on a laptop, on the next morning.
pub const ANSWER_SECS: u64 = 24 * 60 * 60;

/// Answers that are kept for one asker; of more the oldest go, before their day is over. Whoever asks again after that is
/// judged by the versions of what they say: nothing is done twice, and an older word is refused.
pub const ANSWERS_PER_ASKER: usize = 1024;

/// Names that a tenant may give to networks, once and for all: of a deleted one its version is kept, so that nobody puts an
/// older one again. Four times the networks that a quota is enough for; deleted names can be used again.
pub const NAMES_PER_TENANT: usize = 8192;

/// Bytes of what a tenant says of all its networks: sixteen of the largest documents, or 2 KB for each of its names.
pub const BYTES_PER_TENANT: usize = 16 << 20;

/// Nodes that a farm lets in over its whole life: sixteen times as many as it may have at once. A token that was used is
/// remembered, so that it is not used again.
pub const JOINS_PER_FARM: usize = 65_536;

/// Bytes that one tenant's words, grants and answers take in the store at most: documents with their meaning (three times
/// [`BYTES_PER_TENANT`], with 0.5 KB for each name), its quota of grants with paths and seals (3 KB each), its answers (0.5 KB
/// each). What a resting prefix waits for is apart: 27 bytes for each node of its network, as long as these have not said
/// that it is gone.
pub const STORE_BYTES_PER_TENANT: usize = 3 * BYTES_PER_TENANT
    + NAMES_PER_TENANT * 512
    + sixfold_core::limit::PREFIXES_PER_TENANT * 3072
    + ANSWERS_PER_ASKER * 512;

/// Bytes of an idempotency key: a UUID has 36, a hash in hex 64.
pub const KEY_BYTES_MAX: usize = 64;

/// Bytes of one document: a network of 4,095 nodes with ids of 26 letters and its workloads has under a third of it.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Of a node's resources, the part that a change may take without a confirmation: 1 / this.
pub const BREAKER_PART: usize = 10;

/// Resources that a change may always take from one node, less one: on small nodes a tenth is nothing.
pub const BREAKER_LEAST: usize = 5;

/// Resources of a network times nodes for which a preview makes plans: each node's plan grows with the network, and this
/// many lines of one fill a screen a thousand times. Past it nodes are counted.
pub const PREVIEW_PAIRS: usize = 16_384;

/// Events that are kept: a farm's nodes that all join, and some days of what happens after that.
pub const EVENTS_MAX: usize = 8192;

/// Events in one answer.
pub const EVENTS_TOLD_MAX: usize = 1000;

/// Faults that a refusal names: a screen of them.
pub const FAULTS_TOLD: usize = 16;

/// Times that a group is computed anew because somebody else wrote to the store: there is nobody else, unless by mistake.
pub const CONFLICTS_MAX: usize = 3;
