//! What a device's descriptors allow, as words of a status: by what many packets go at once (`offload.uso=unasked`), and
//! how much waits at its socket (`buffer.send=4194304`). It asks nobody.

use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fmt;

/// What lets many packets go in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offload {
    /// `UDP_SEGMENT`: datagrams are sent in trains.
    UdpSegment,
    /// `UDP_GRO`: datagrams are received in trains.
    UdpGro,
    /// `TUN_F_TSO4` and `TUN_F_TSO6`: the TUN gives and takes super-packets of TCP.
    Tso,
    /// `TUN_F_USO4` and `TUN_F_USO6`: the same of UDP; from Linux 6.2.
    Uso,
}

impl Offload {
    /// Every one, in the order they are told.
    pub const ALL: [Self; 4] = [Self::UdpSegment, Self::UdpGro, Self::Tso, Self::Uso];

    /// Its name in words joined by dashes, as status reports it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UdpSegment => "udp-segment",
            Self::UdpGro => "udp-gro",
            Self::Tso => "tso",
            Self::Uso => "uso",
        }
    }
}

/// Whether something is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is, where there are many packets at a time.
    On,
    /// Nobody asked for it: the TUN that was handed over gives no offload header.
    Unasked,
    /// The kernel did not do it, and was not asked again.
    Refused(Errno),
}

impl From<Result<(), Errno>> for Use {
    fn from(asked: Result<(), Errno>) -> Self {
        asked.map_or_else(Self::Refused, |()| Self::On)
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Unasked => f.write_str("unasked"),
            Self::Refused(errno) => write!(f, "{}", *errno as i32),
        }
    }
}

/// Each offload that was told of.
pub type Offloads = BTreeMap<Offload, Use>;

/// What may wait at a UDP socket, in bytes, without what the kernel adds for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Buffers {
    /// To be received.
    pub receive: u64,
    /// To be sent.
    pub send: u64,
}

impl Buffers {
    /// What is asked for in either direction; the system's limit may make it less.
    pub const WANTED: u64 = 4 << 20;
}

/// What a device may have to do without, by name; each with whether it does.
pub(crate) fn lacking(offloads: &Offloads, buffers: Buffers) -> Vec<(&'static str, bool)> {
    let offloads = offloads.iter().map(|(of, used)| (of.name(), *used != Use::On));
    let sizes = [("receive-buffer", buffers.receive), ("send-buffer", buffers.send)];
    offloads.chain(sizes.map(|(name, size)| (name, size < Buffers::WANTED))).collect()
}

/// The names of [`lacking`], for those who read them.
pub(super) fn lacked(name: &str) -> Option<&'static str> {
    let names = Offload::ALL.into_iter().map(Offload::name).chain(["receive-buffer", "send-buffer"]);
    { names }.find(|known| *known == name)
}

/// Reads the words of an offload.
pub(super) fn read(name: &str, value: &str) -> Option<(Offload, Use)> {
    let offload = Offload::ALL.into_iter().find(|offload| offload.name() == name)?;
    let used = match value {
        "on" => Use::On,
        "unasked" => Use::Unasked,
        errno => Use::Refused(Errno::from_raw(errno.parse().ok()?)),
    };
    Some((offload, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_read_as_they_are_written() {
        for offload in Offload::ALL {
            for used in [Use::On, Use::Unasked, Use::Refused(Errno::EIO)] {
                assert_eq!(read(offload.name(), &used.to_string()), Some((offload, used)));
            }
        }
        assert_eq!((read("lro", "on"), read("uso", "off")), (None, None));
    }
}
