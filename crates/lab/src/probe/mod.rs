//! The probe: a process in a namespace that sends packets when told to, answers those of others, and tells what it got.
//!
//! Owns: the packets' form, the sockets, and the conversation with the lab over a Unix socket. Must not know what is
//! expected: that is `matrix`'s.
//!
//! ```text
//!   Client ── JSON lines ──▶ serve ──▶ shoot: raw ICMPv6 and ICMP, UDP, TCP, one deadline for all
//!                                 ├──▶ listen: answers UDP and TCP
//!                                 └──▶ sniff: echo requests and SYNs that got here, answered or not
//! ```
//!
//! Echoes go by raw sockets: ping sockets are closed in a fresh namespace, raw ones work in a user namespace too.

mod client;
mod error;
mod listen;
mod packet;
mod server;
mod shoot;
mod sniff;
mod sockets;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

pub use client::Client;
pub use error::ProbeError;
pub use packet::MARK;
pub use server::serve;
pub use wire::{Arrivals, Outcome, Refusal, Shot};

use std::time::Duration;

/// Shots that may be asked for at once: each may need sockets, of which a process has 1,024 unless it asks for more.
pub const SHOTS_MAX: usize = 256;

/// Packets of one shot.
pub const COUNT_MAX: u16 = 16;

/// How long a connection that should be stopped may take to come about. It is given up well before a second SYN would leave, after one second
/// (RFC 6298, 2.1): a connection that is stopped has sent exactly one.
pub const SYN_WAIT: Duration = Duration::from_millis(700);

/// The longest a volley may take.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(30);
