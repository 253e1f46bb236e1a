//! The firewall of one namespace: a socket opened inside, and a generation number that saves reading what is known.

use sixfold_core::plan::{Op, Step};
use sixfold_core::state::{Firewall, Netns};

use super::handle::{Handle, Handles, Known};
use crate::netns::{NetnsError, Worker};
use crate::nft::{self, NftError, NftSocket};
use crate::{ApplyError, Foreign, ObserveError};

/// Why there is no socket.
enum Closed {
    Netns(NetnsError),
    Nft(NftError),
}

/// The table; `None`: there is none. `handles` holds the namespace open already.
pub(super) fn observe(handles: &mut Handles, netns: &Netns) -> Result<Option<Firewall>, ObserveError> {
    let refused = |source| ObserveError::Firewall { netns: netns.clone(), source };
    let Some((worker, handle)) = handles.opened(netns) else { return Ok(None) };
    let (socket, known) = match parts(worker, handle) {
        Ok(parts) => parts,
        Err(Closed::Netns(source)) => return Err(ObserveError::Enter { netns: netns.clone(), source }),
        Err(Closed::Nft(source)) => return Err(refused(source)),
    };
    let generation = nft::generation(socket).map_err(refused)?;
    if let Some(known) = known.as_ref().filter(|known| known.generation == generation) {
        return Ok(known.table.clone());
    }
    let table = nft::observe(socket).map_err(refused)?;
    let others = nft::other_tables(socket).map_err(refused)?.into_iter();
    let others = others.map(|(family, name)| Foreign::Table { family, name }).collect();
    // A change between the two is seen next time: the number is the older one.
    *known = Some(Known { generation, table: table.clone(), others });
    Ok(table)
}

/// Does steps of the firewall as one transaction; those that failed, with their reasons.
pub(super) fn apply<'a>(
    handles: &mut Handles,
    netns: &Netns,
    steps: &[&'a Step],
) -> Vec<(&'a Step, ApplyError)> {
    let all = |error: fn() -> ApplyError| steps.iter().map(|step| (*step, error())).collect();
    let Some((worker, handle)) = handles.opened(netns) else { return all(|| ApplyError::FirewallOther) };
    let ops: Vec<&Op> = steps.iter().map(|step| &step.op).collect();
    let socket = match parts(worker, handle) {
        Ok((socket, _)) => socket,
        Err(closed) => {
            let mut failed = all(|| ApplyError::FirewallOther);
            if let Some((_, error)) = failed.first_mut() {
                *error = match closed {
                    Closed::Netns(source) => source.into(),
                    Closed::Nft(source) => source.into(),
                };
            }
            return failed;
        }
    };
    let Err(refused) = nft::apply(socket, &ops) else { return Vec::new() };
    let mut failed: Vec<(&Step, ApplyError)> = all(|| ApplyError::FirewallOther);
    for (place, error) in refused {
        if let Some((_, there)) = failed.get_mut(place) {
            *there = error.into();
        }
    }
    failed
}

/// A socket opened inside, where the namespace is held open already.
pub(super) fn socket<'a>(handles: &'a mut Handles, netns: &Netns) -> Option<&'a mut NftSocket> {
    let (worker, handle) = handles.opened(netns)?;
    parts(worker, handle).ok().map(|(socket, _)| socket)
}

type Parts<'a> = (&'a mut NftSocket, &'a mut Option<Known>);

fn parts<'a>(worker: &Worker, handle: &'a mut Handle) -> Result<Parts<'a>, Closed> {
    if handle.nft.is_none() {
        let socket = worker.within(&handle.entrance, NftSocket::open).map_err(Closed::Netns)?;
        handle.nft = Some(socket.map_err(Closed::Nft)?);
    }
    let socket = handle.nft.as_mut().expect("it has just been put there");
    Ok((socket, &mut handle.firewall))
}
