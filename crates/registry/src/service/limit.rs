//! Every bound of the registry's service, each with its reason.
//!
//! Owns: numbers only.

/// Requests that wait for the writer: at 80,000 a second in groups, 12 ms of work; more are told to come again.
pub const WAITING_MAX: usize = 1024;

/// Records that the requests of one group write before it is closed: a tenant's whole quota, once or twice. What waits is
/// answered in tens of milliseconds, and a transaction of a replicated store stays one.
pub const GROUP_RECORDS: usize = 8192;

/// Seconds that an answer is kept (1 day): whoever asks again because a network failed does so for minutes; what is asked
/// from a file on a laptop, on the next morning.
pub const ANSWER_SECS: u64 = 24 * 60 * 60;

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
