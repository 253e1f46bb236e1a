//! Every bound of the listening side, each with its reason. Those that clients know too are in `sixfold_api::limit`.

use std::time::Duration;

/// To finish a TLS handshake: two round trips to anywhere, and a lost packet.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// From the first byte of a request's head to its last: a head is a packet or two.
pub const HEADER: Duration = Duration::from_secs(5);

/// For the body of a request: 1 MiB at 1 Mbit/s.
pub const BODY: Duration = Duration::from_secs(10);

/// The whole life of a connection whose key is not known here: a handshake, one request of 1 MiB, one answer.
pub const STRANGER: Duration = Duration::from_secs(30);

/// For connections to end by themselves when the registry stops; what waits for news is answered at once.
pub const STOP: Duration = Duration::from_secs(5);

/// Header fields of a request: browsers send 20.
pub const HEADERS_MAX: usize = 256;

/// Bytes of a request's head: 256 fields of a usual size.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// Connections that have not proven a key known here. Some 40 KB each while TLS shakes hands: 40 MB.
pub const STRANGERS_MAX: usize = 1024;

/// Of these from one source: a farm's worth of nodes behind one NAT that all start at once; each needs its slot for
/// some milliseconds.
pub const STRANGERS_PER_SOURCE: usize = 64;

/// Connections of keys known here: two for each node of two farms of the largest kind.
pub const KNOWN_MAX: usize = 16_384;

/// Of these with one key: a feed, a report, a command, and each once more while a network changes under them.
pub const KNOWN_PER_KEY: usize = 8;

/// Connections the kernel keeps for us until they are accepted: a burst of all nodes of a farm.
pub const BACKLOG: u32 = 4096;

/// The pause after the system refused a connection for want of descriptors or memory.
pub const SHORTAGE: Duration = Duration::from_millis(50);

/// Previews that are planned at the same time: each takes a core, and others want to be answered meanwhile.
pub const PREVIEWS: usize = 2;

/// Previews that are planned or wait for their turn: what a person waits for; whoever is past it is told to come again.
pub const PREVIEWS_WAITING: usize = 16;

/// Seconds after which one who was told so comes again: what a large network's preview takes.
pub const PREVIEW_SECS: u16 = 5;

/// Parts of snapshots that are remembered as told, over all nodes: 64 MB of names. A node of a farm's thousand has some
/// dozens, the gateway of a full slot some ten thousand.
pub const PARTS_REMEMBERED: usize = 4 << 20;

/// Snapshots that are built at the same time: each takes a core, and at most some hundred megabytes.
pub const BUILDS: usize = 4;

/// Seconds in which a node's agent that is asked whether it is still there speaks again: its poll is ended, and it polls
/// anew at once.
pub const CHALLENGE_SECS: u64 = 3;

/// Seconds without a word after which a node is silent: it speaks every 30, and one word may be lost.
pub const SILENT_SECS: u64 = 90;

/// How often exit slots are looked at where nobody says anything.
pub const SETTLE: Duration = Duration::from_secs(1);

/// Slots that get their first holder before others are looked at again: each 32 of them are a commit.
pub const SETTLED_AT_ONCE: usize = 256;

/// For how long a node that does not wait for news is there because it was heard: it waits again once it has read what it was told.
pub const HEARD_LATELY: Duration = Duration::from_secs(3);

/// In which a node that is challenged asks anew: one that lives does so in milliseconds, by a line of any length in 100.
pub const CHALLENGED: Duration = Duration::from_millis(250);

/// Between a node's question and a challenge, and between two: an agent that is sent away within a second takes the registry for one
/// that stops, and pauses. Whoever says again and again that a gateway is silent costs its holder a request a second.
pub const CHALLENGE_PAUSE: Duration = Duration::from_secs(1);

/// For a node that was given an exit slot, and lives, to make the gateway and see the router, before another one is asked: nodes
/// that are given the same slot at the same time are ready one after the other.
pub const BEGINS: Duration = Duration::from_secs(5);

/// How long nobody can hold an exit slot before that is told: a failover is over long before.
pub const VACANT: Duration = Duration::from_secs(5);

/// How often nodes are looked at for silence.
pub const SWEEP: Duration = Duration::from_secs(5);

/// The time of one key's turn: 100 requests a second, which no agent or person needs for long.
pub const TURN: Duration = Duration::from_millis(10);

/// Turns that a key has at once: a node that reports the devices of 1,000 resources it was just given.
pub const TURNS_AT_ONCE: u32 = 1000;

/// Keys whose turns are counted: four times the connections of known ones, at some 60 bytes each.
pub const BUCKETS_MAX: usize = 65_536;

/// For how long the store is taken to be writable because it was.
pub const WRITABLE: Duration = Duration::from_secs(5);

/// For the writer to say whether it can write: a group that is being made, on a slow disk.
pub const PROBE: Duration = Duration::from_secs(5);
