//! How values of the model are written where they are signed: borsh, of the plainest shape that each has.
//!
//! Owns: the bytes of ids, numbers and prefixes inside of statements. They are fixed for as long as there are statements:
//! whatever the model's own types become, what is written here stays (`tests/goldens.rs`). Reading passes the same
//! checks as building.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use borsh::{BorshDeserialize, BorshSerialize};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::key::{Digest, Owner, Role, Signature, VerifyingKey};
use crate::addr::{Allocation, PrefixIndex};
use crate::id::{
    AllocationNumber, ExitSlot, FarmId, Generation, Label, NetworkId, NodeId, TenantId, WorkloadNumber,
};
use crate::key::PublicKey;
use crate::model::{Attachment, Bandwidth, Family, PortBlock, Protocol, Reach, ResourceKey, Seat};
use crate::name::IfName;

fn impossible(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Written as another type that it can be made from.
macro_rules! written_as {
    ($name:ty, $plain:ty, $write:expr, $read:expr) => {
        impl BorshSerialize for $name {
            fn serialize<W: Write>(&self, writer: &mut W) -> io::Result<()> {
                let write: fn(&Self) -> $plain = $write;
                write(self).serialize(writer)
            }
        }

        impl BorshDeserialize for $name {
            fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
                let read: fn($plain) -> io::Result<Self> = $read;
                read(<$plain>::deserialize_reader(reader)?)
            }
        }
    };
}

/// Written as its text.
macro_rules! written_as_text {
    ($($name:ty),*) => {
        $(written_as!($name, String, |value| value.as_str().to_owned(), |text| {
            Self::try_from(text.as_str()).map_err(impossible)
        });)*
    };
}

written_as_text!(Label, FarmId, NodeId, TenantId, IfName);
written_as!(NetworkId, (TenantId, Label), |id| (id.tenant.clone(), id.name.clone()), |(tenant, name)| {
    Ok(Self { tenant, name })
});
written_as!(ExitSlot, u8, |slot| slot.get(), |number| Self::try_from(number).map_err(impossible));
written_as!(WorkloadNumber, u8, |k| k.get(), |number| Self::try_from(number).map_err(impossible));
written_as!(AllocationNumber, u16, |n| n.get(), |number| Self::try_from(number).map_err(impossible));
written_as!(PrefixIndex, u16, |index| index.get(), |number| Self::new(number).map_err(impossible));
written_as!(PortBlock, (u16, u16), |block| (block.first(), block.last()), |(first, last)| {
    Self::new(first, last).map_err(impossible)
});
written_as!(Bandwidth, u64, |bandwidth| bandwidth.kbits(), |kbits| Self::new(kbits).map_err(impossible));
written_as!(Generation, u32, |generation| generation.0, |number| Ok(Self(number)));
written_as!(PublicKey, [u8; 32], |key| *key.as_bytes(), |bytes| Ok(Self::from_bytes(bytes)));
written_as!(VerifyingKey, [u8; 32], |key| *key.as_bytes(), |bytes| {
    Self::from_bytes(bytes).map_err(impossible)
});
written_as!(Signature, [u8; 64], |signature| signature.0, |bytes| Ok(Self(bytes)));
written_as!(Digest, [u8; 32], |digest| digest.0, |bytes| Ok(Self(bytes)));
written_as!(Role, String, |role| role.word().to_owned(), |word| {
    let role = Self::ALL.into_iter().find(|role| role.word() == word);
    role.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no such role"))
});
written_as!(Owner, (Role, Label), |owner| (owner.role, owner.id.clone()), |(role, id)| Ok(Self { role, id }));
written_as!(ResourceKey, (AllocationNumber, PrefixIndex), |key| (key.number, key.index), |(
    number,
    index,
)| {
    Ok(Self { number, index })
});
written_as!(
    Allocation,
    (Net<Ipv6Net>, AllocationNumber),
    |allocation| (Net(allocation.whole()), allocation.number()),
    |(prefix, number)| Self::new(prefix.0, number).map_err(impossible)
);
written_as!(
    Seat,
    Option<NodeId>,
    |seat| match seat {
        Seat::Exit => None,
        Seat::Node(node) => Some(node.clone()),
    },
    |node| Ok(node.map_or(Self::Exit, Self::Node))
);

/// Written as its position in a list.
macro_rules! written_as_number {
    ($name:ty, $what:literal, $all:expr) => {
        written_as!(
            $name,
            u8,
            |value| {
                let at = $all.iter().position(|one| one == value).expect("the list has all of them");
                at as u8
            },
            |number| {
                let value = $all.get(usize::from(number)).copied();
                value.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, concat!("no such ", $what)))
            }
        );
    };
}

written_as_number!(Protocol, "protocol", [Protocol::Tcp, Protocol::Udp]);
written_as_number!(Family, "family", [Family::Ipv6, Family::Ipv4]);
written_as_number!(Attachment, "attachment", [Attachment::Namespace]);

/// A prefix, or an address with its subnet's length: the address, then the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Net<T>(pub(super) T);

written_as!(Net<Ipv6Net>, ([u8; 16], u8), |net| (net.0.addr().octets(), net.0.prefix_len()), |(
    bytes,
    length,
)| {
    Ipv6Net::new(bytes.into(), length).map(Net).map_err(impossible)
});
written_as!(Net<Ipv4Net>, ([u8; 4], u8), |net| (net.0.addr().octets(), net.0.prefix_len()), |(
    bytes,
    length,
)| {
    Ipv4Net::new(bytes.into(), length).map(Net).map_err(impossible)
});
/// As [`Reach`] is written: which of the two, and then that.
#[derive(BorshSerialize, BorshDeserialize)]
enum ReachWire {
    Public(Option<Net<Ipv6Net>>, Option<Net<Ipv4Net>>),
    Hidden(BTreeSet<Family>),
}

written_as!(
    Reach,
    ReachWire,
    |reach| match reach {
        Reach::Public { address, address_v4 } => ReachWire::Public(address.map(Net), address_v4.map(Net)),
        Reach::Hidden { families } => ReachWire::Hidden(families.clone()),
    },
    |wire| Ok(match wire {
        ReachWire::Public(address, address_v4) => {
            Self::Public { address: address.map(|net| net.0), address_v4: address_v4.map(|net| net.0) }
        }
        ReachWire::Hidden(families) => Self::Hidden { families },
    })
);

/// As a prefix of either family is written.
#[derive(BorshSerialize, BorshDeserialize)]
enum NetWire {
    V6(Net<Ipv6Net>),
    V4(Net<Ipv4Net>),
}

written_as!(
    Net<IpNet>,
    NetWire,
    |net| match net.0 {
        IpNet::V6(net) => NetWire::V6(Net(net)),
        IpNet::V4(net) => NetWire::V4(Net(net)),
    },
    |wire| Ok(Net(match wire {
        NetWire::V6(net) => IpNet::V6(net.0),
        NetWire::V4(net) => IpNet::V4(net.0),
    }))
);

/// What a statement may say since the first of its kind were signed. One that says none of it ends before: what was signed
/// stays what it is, and who does not know of it refuses the rest.
pub(super) struct Later<T>(pub(super) Vec<T>);

impl<T: BorshSerialize> BorshSerialize for Later<T> {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        if self.0.is_empty() { Ok(()) } else { self.0.serialize(writer) }
    }
}

impl<T: BorshDeserialize> BorshDeserialize for Later<T> {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let mut first = [0];
        match reader.read(&mut first)? {
            0 => Ok(Self(Vec::new())),
            _ => Vec::deserialize_reader(&mut io::Read::chain(&first[..], reader)).map(Self),
        }
    }
}
