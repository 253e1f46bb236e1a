//! Every kernel name there is: namespaces, links, the nftables table, and the numbers that mark what is ours.
//!
//! Owns: what a name may look like, how each of ours is made, and the inverse, by which "ours" is decided from the
//! kernel's own facts. Must not import anything of ours but `id` and `limit`; addresses are `addr::derive`'s.
//! Realises addressing.md, "Names and addresses"; `NIB` is the prefix index as four lowercase hex digits.

pub mod drops;
mod parse;
pub mod rule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{AllocationNumber, ExitSlot, WorkloadNumber};
use crate::limit;
use Piece::{Hex, Number, Text};
pub use parse::{LinkRole, NetnsRole};

/// The nftables table, of family `inet`, in every namespace of ours.
pub const TABLE: &str = "sixfold";

/// The protocol number of every route of ours.
pub const ROUTE_PROTOCOL: u8 = 200;

/// The group of every link of ours.
pub const LINK_GROUP: u32 = 200;

/// Why a text is not a kernel name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("a kernel name is empty")]
    Empty,
    /// It has more bytes than the kernel, or a path, takes.
    #[error("a kernel name of {bytes} bytes is longer than {limit}")]
    TooLong {
        /// Bytes of the refused text.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A character that a kernel name of ours, a path or a shell would not take as it is.
    #[error("{character:?} in a kernel name")]
    Character {
        /// The first character refused.
        character: char,
    },
    /// `.` or `..`, or a name that begins with a hyphen.
    #[error("a kernel name that a path or a command would read as something else")]
    Ambiguous,
}

/// Letters and digits, and what names of VLANs, macvlans and aliases are seen to hold. No `/`, `:` or white space, which
/// the kernel refuses, and no `%`, which it takes for a template.
fn takes(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '+' | '@')
}

fn validated<const N: usize>(text: &str) -> Result<[u8; N], NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(character) = text.chars().find(|c| !takes(*c)) {
        return Err(NameError::Character { character });
    }
    if text.len() > N {
        return Err(NameError::TooLong { bytes: text.len(), limit: N });
    }
    if text == "." || text == ".." || text.starts_with('-') {
        return Err(NameError::Ambiguous);
    }
    let mut bytes = [0; N];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Ok(bytes)
}

/// A part of a name of ours.
#[derive(Clone, Copy)]
enum Piece {
    Text(&'static str),
    /// Four lowercase hex digits.
    Hex(u16),
    /// Decimal, in its shortest spelling.
    Number(u16),
}

impl Piece {
    /// Puts it at the beginning of `bytes`, and says how many it took.
    fn write(self, bytes: &mut [u8]) -> usize {
        match self {
            Self::Text(text) => {
                bytes[..text.len()].copy_from_slice(text.as_bytes());
                text.len()
            }
            Self::Hex(number) => {
                for (byte, shift) in bytes[..4].iter_mut().zip([12, 8, 4, 0]) {
                    *byte = b"0123456789abcdef"[usize::from(number >> shift & 0xf)];
                }
                4
            }
            Self::Number(number) => {
                let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
                let mut left = number;
                for byte in bytes[..digits].iter_mut().rev() {
                    *byte = b"0123456789"[usize::from(left % 10)];
                    left /= 10;
                }
                digits
            }
        }
    }
}

/// A kernel name kept in place, zero padded: its order is the order of its text, as no name holds a zero.
macro_rules! kernel_name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $max]);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                let end = self.0.iter().position(|b| *b == 0).unwrap_or($max);
                std::str::from_utf8(&self.0[..end]).expect("only ASCII was accepted")
            }

            /// A name of ours, which fits whatever its numbers are: `tests::every_name_fits`. Put together in place:
            /// a node with thousands of resources derives a hundred thousand names at a time.
            fn ours(pieces: &[Piece]) -> Self {
                let mut bytes = [0; $max];
                let mut end = 0;
                for piece in pieces {
                    end += piece.write(&mut bytes[end..]);
                }
                Self(bytes)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                validated(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                validated(&text).map(Self)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                validated(text).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

kernel_name! {
    /// A link's name: at most 15 bytes.
    IfName, limit::IFNAME_MAX
}
kernel_name! {
    /// A network namespace's name, a file under `/run/netns`: at most 32 bytes.
    NetnsName, limit::NETNS_NAME_MAX
}

/// `net-NIB-n`: the namespace of a network resource or an exit point.
#[must_use]
pub fn netns_resource(index: u16, n: AllocationNumber) -> NetnsName {
    NetnsName::ours(&[Text("net-"), Hex(index), Text("-"), Number(n.get())])
}

/// `gw-X-n`: the namespace of the gateway of one slot; X is decimal.
#[must_use]
pub fn netns_gateway(slot: ExitSlot, n: AllocationNumber) -> NetnsName {
    NetnsName::ours(&[Text("gw-"), Number(slot.get().into()), Text("-"), Number(n.get())])
}

/// `load-NIB-n-K`: the namespace the agent makes for workload K; K is decimal.
#[must_use]
pub fn netns_workload(index: u16, n: AllocationNumber, k: WorkloadNumber) -> NetnsName {
    NetnsName::ours(&[
        Text("load-"),
        Hex(index),
        Text("-"),
        Number(n.get()),
        Text("-"),
        Number(k.get().into()),
    ])
}

/// `public`: where the sockets of a public node's devices live. Its name is no proof that it is ours: our table is.
#[must_use]
pub fn netns_public() -> NetnsName {
    NetnsName::ours(&[Text("public")])
}

/// `sixfold-egress`: where a node lets networks out over IPv4 itself.
#[must_use]
pub fn netns_egress() -> NetnsName {
    NetnsName::ours(&[Text("sixfold-egress")])
}

/// `wg-NIB-n` (WGName): the WireGuard device of a resource.
#[must_use]
pub fn wireguard(index: u16, n: AllocationNumber) -> IfName {
    IfName::ours(&[Text("wg-"), Hex(index), Text("-"), Number(n.get())])
}

/// `pub-NIB-n` (EPPubName): an exit point's link to its gateway.
#[must_use]
pub fn exit_public(index: u16, n: AllocationNumber) -> IfName {
    IfName::ours(&[Text("pub-"), Hex(index), Text("-"), Number(n.get())])
}

/// `pub-X-n` (GWPubName): a gateway's link to the segment. X is decimal, one or two digits, so never four: no
/// [`exit_public`] has the same name.
#[must_use]
pub fn gateway_public(slot: ExitSlot, n: AllocationNumber) -> IfName {
    IfName::ours(&[Text("pub-"), Number(slot.get().into()), Text("-"), Number(n.get())])
}

/// `out-NIB-n`: a resource's link to where its node lets its IPv4 out.
#[must_use]
pub fn local_out(index: u16, n: AllocationNumber) -> IfName {
    IfName::ours(&[Text("out-"), Hex(index), Text("-"), Number(n.get())])
}

/// `to-NIB-n` (GWtoEPName): a gateway's link to an exit point.
#[must_use]
pub fn gateway_to_exit(index: u16, n: AllocationNumber) -> IfName {
    IfName::ours(&[Text("to-"), Hex(index), Text("-"), Number(n.get())])
}

/// `veth-NIB-n` (NRLocalName): the local side of a resource that has a bridge.
#[must_use]
pub fn local(index: u16, n: AllocationNumber) -> IfName {
    IfName::ours(&[Text("veth-"), Hex(index), Text("-"), Number(n.get())])
}

/// `br-NIB-n`: the bridge in the host's namespace.
#[must_use]
pub fn bridge(index: u16, n: AllocationNumber) -> IfName {
    IfName::ours(&[Text("br-"), Hex(index), Text("-"), Number(n.get())])
}

/// `port-K`: the near end of workload K's link, in the resource's namespace.
#[must_use]
pub fn port(k: WorkloadNumber) -> IfName {
    IfName::ours(&[Text("port-"), Number(k.get().into())])
}

/// `eth0`: a workload's own end, in the namespace the agent makes for it.
#[must_use]
pub fn workload_link() -> IfName {
    IfName::ours(&[Text("eth0")])
}

/// `port-v4`: the port of a resource by which workloads that speak IPv6 alone have their IPv4.
#[must_use]
pub fn translated_port() -> IfName {
    IfName::ours(&[Text("port-v4")])
}

/// `lo`: the loopback of every namespace.
#[must_use]
pub fn loopback() -> IfName {
    IfName::ours(&[Text("lo")])
}

/// `egress`: the link of `sixfold-egress` to the world.
#[must_use]
pub fn egress_link() -> IfName {
    IfName::ours(&[Text("egress")])
}

/// `public`: the link of the namespace `public` to the segment.
#[must_use]
pub fn public_link() -> IfName {
    IfName::ours(&[Text("public")])
}
