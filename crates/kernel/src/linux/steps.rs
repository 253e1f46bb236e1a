//! Plain steps as messages: those that are one request to one namespace, whatever else is there.

use nix::errno::Errno;
use sixfold_core::name::IfName;
use sixfold_core::plan::Op;

use crate::ApplyError;
use crate::rtnl::{Links, address, link, neighbour, nexthop, route};

/// One request, and the refusals that mean "done already".
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) done_already: &'static [Errno],
}

/// The link whose index the operation needs.
pub(super) fn needs(op: &Op) -> Option<&IfName> {
    match op {
        Op::AddAddress(key) | Op::DelAddress(key) => Some(&key.link),
        Op::SetNeighbour { key, .. } | Op::DelNeighbour(key) => Some(&key.link),
        Op::SetNexthop { nexthop, .. } => Some(&nexthop.link),
        Op::SetRoute { target, .. } => target.link(),
        _ => None,
    }
}

/// The message that does a plain operation. `None`: nothing is to be done, since what is to go went with its link.
///
/// # Errors
/// [`ApplyError::NoLink`] if the operation needs a link that is not there.
pub(super) fn message(op: &Op, links: &Links) -> Result<Option<Message>, ApplyError> {
    let needed = needs(op);
    let index = needed.and_then(|link| links.index(link));
    if let (Some(link), None) = (needed, index) {
        return match op {
            Op::DelAddress(_) | Op::DelNeighbour(_) => Ok(None),
            _ => Err(ApplyError::NoLink { link: *link }),
        };
    }
    let at = index.unwrap_or_default();
    let (bytes, done_already): (_, &[Errno]) = match op {
        Op::SetUp { name, up } => (link::set_up(name, *up), &[]),
        Op::SetMtu { name, mtu } => (link::set_mtu(name, *mtu), &[]),
        Op::SetMac { name, mac } => (link::set_mac(name, *mac), &[]),
        Op::DelLink { name } => (link::delete(name), &[Errno::ENODEV]),
        Op::AddAddress(key) => (address::add(key, at), &[]),
        Op::DelAddress(key) => (address::delete(key, at), &[Errno::EADDRNOTAVAIL, Errno::ENODEV]),
        Op::SetNeighbour { key, mac } => (neighbour::set(key, *mac, at), &[]),
        Op::DelNeighbour(key) => (neighbour::delete(key, at), &[Errno::ENOENT, Errno::ENODEV]),
        Op::SetNexthop { id, nexthop } => (nexthop::set(*id, nexthop, at), &[]),
        Op::DelNexthop { id } => (nexthop::delete(*id), &[Errno::ENOENT]),
        Op::SetRoute { key, target } => (route::set(key, target, index), &[]),
        Op::DelRoute { key } => (route::delete(key), &[Errno::ESRCH]),
        _ => return Ok(None),
    };
    Ok(Some(Message { bytes, done_already }))
}
