//! Many packets in one: what a TUN with an offload header gives and takes, as values and bytes.
//!
//! ```text
//!   TUN ──super-packet──▶ split ──▶ packets of the path's size ──▶ device
//!   TUN ◀─super-packet── join  ◀── packets of one train      ◀── device
//! ```
//!
//! Owns: the header in front of each packet, cutting a super-packet into what would have been sent without offload, and
//! putting packets of one flow together so that cutting them again gives the same bytes. It opens nothing and sends
//! nothing. The header is that of the virtio specification, 5.1.6 ("Device Operation"), in the machine's byte order.

mod checksum;
mod header;
mod join;
mod split;
mod transport;

pub(crate) use checksum::Sum;
pub use header::{HEADER_LEN, Header};
pub use join::{GROUP, Group, Joiner};
pub use split::{Malformed, split};

#[cfg(test)]
pub(crate) mod tests;
