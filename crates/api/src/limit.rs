//! Bounds that both sides of the contract know, each with its reason.

use std::time::Duration;

/// Bytes in the body of a request: a farm of 4,096 nodes with all its slots fits twice.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Bytes in the body of an answer: the snapshot of a node that holds a whole /48 of 61,184 grants.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The longest wait for news that can be asked for: an answer comes before [`IDLE`] is over, so that a connection on
/// which nothing is said is never one that waits.
pub const WAIT_MAX: Duration = Duration::from_secs(50);

/// After this time without a byte a connection is closed: shorter than most NATs forget a TCP connection.
pub const IDLE: Duration = Duration::from_secs(60);

/// To make a connection and prove both keys: six round trips around the world, and a lost packet or two.
pub const CONNECT: Duration = Duration::from_secs(10);

/// To answer a request that does not wait: a commit takes a hundredth of it.
pub const ANSWER: Duration = Duration::from_secs(30);

/// What a client sent and nobody acknowledged for so long is lost, and the connection with it (RFC 5482).
pub const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// In which all nodes have switched once the move of an exit slot is done, at the latest: until then whom it was from is not told,
/// and hears no claim. The registry tells it sooner once all who are there say that they have.
pub const SWITCHED: Duration = Duration::from_secs(10);

/// Words of names or ids in one question: a head of 64 KiB has room for ten times as many.
pub const WORDS_MAX: usize = 256;
