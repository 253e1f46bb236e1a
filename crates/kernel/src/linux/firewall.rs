//! The firewall of one namespace: a socket opened inside, and a generation number that saves reading what is known.

use sixfold_core::plan::{Op, Step};
use sixfold_core::state::{Firewall, Netns};

use super::handle::{Handle, Handles};
use crate::netns::{NetnsError, Worker};
use crate::nft::{self, NftError, NftSocket};
use crate::{ApplyError, ObserveError};

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
    if let Some((_, firewall)) = known.as_ref().filter(|(at, _)| *at == generation) {
        return Ok(firewall.clone());
    }
    let firewall = nft::observe(socket).map_err(refused)?;
    // A change between the two is seen next time: the number is the older one.
    *known = Some((generation, firewall.clone()));
    Ok(firewall)
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

type Parts<'a> = (&'a mut NftSocket, &'a mut Option<(u32, Option<Firewall>)>);

fn parts<'a>(worker: &Worker, handle: &'a mut Handle) -> Result<Parts<'a>, Closed> {
    if handle.nft.is_none() {
        let socket = worker.within(&handle.entrance, NftSocket::open).map_err(Closed::Netns)?;
        handle.nft = Some(socket.map_err(Closed::Nft)?);
    }
    let socket = handle.nft.as_mut().expect("it has just been put there");
    Ok((socket, &mut handle.firewall))
}
