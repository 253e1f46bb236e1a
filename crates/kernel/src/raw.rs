//! The decoders of what rtnetlink, nftables, the tunnel process and a segment answer, for whoever feeds it bytes that no kernel wrote: the fuzz targets, and nobody else.
//!
//! Owns: calling each of them. Must not decode anything itself. What is asked of them is no panic, and an end.

use sixfold_core::name::{IfName, loopback};

use crate::rtnl::{self, Links};
use crate::{nft, segment, tunnel, wire};

/// Reads an answer of rtnetlink as every kind of object.
pub fn rtnl(answer: &[u8]) {
    let eth0 = IfName::try_from("eth0").expect("eth0 is a link's name");
    let links: Links = [(1, loopback()), (2, eth0)].into_iter().collect();
    let _ = rtnl::link::decode(answer);
    let _ = rtnl::nsid::decode(answer);
    let _ = rtnl::address::decode(answer, &links).count();
    let _ = rtnl::neighbour::decode(answer, &links).count();
    let _ = rtnl::nexthop::decode(answer, &links).count();
    let _ = rtnl::route::decode(answer, &links).count();
    for message in wire::messages(answer) {
        let _ = rtnl::link::name_of(message.payload);
        for (_, value) in wire::attributes(message.payload, 0) {
            let _ = (wire::text(value), wire::address(value), wire::attributes(value, 0).count());
        }
    }
}

/// Reads attributes of an object of nftables as a chain, a set with its elements and a rule.
pub fn nft(attributes: &[u8]) {
    nft::read_any(attributes);
}

/// Reads a reply of the tunnel process, or of any implementation's configuration socket.
pub fn tunnel(reply: &str) {
    tunnel::read_any(reply);
}

/// Reads a frame of a segment as an answer and as a word.
pub fn segment(frame: &[u8]) {
    let _ = (segment::read_answer(frame), segment::read_word(frame));
}
