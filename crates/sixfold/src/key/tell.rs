//! Telling a registry that a key was replaced: the chain of keys, and all that the old one had signed, by the new one.
//!
//! Owns: the order. The registry takes all of it at once or nothing, from the key that it knows; asked again, it is told
//! nothing that it knows already.

use sixfold_api::client::Method;
use sixfold_api::resource::{Done, Farm, Keys, Network, Networks, Rotated};
use sixfold_api::url::RegistryUrl;
use sixfold_core::trust::{
    Delegation, NetworkStatement, Owned, Owner, Role, Signed, SigningKey, VerifyingKey,
};

use super::file::{Held, Place};
use crate::caller::Caller;
use crate::failed::Failed;

/// Has the registry know an owner by the newest key; `old` is the key before it. Gives how many statements were signed
/// again; nothing if the registry knew.
pub(super) fn tell(place: &Place, url: &RegistryUrl, old: Held, new: &Held) -> Result<Option<usize>, Failed> {
    let role = place.role();
    let Owner { id, .. } = new.owner(role);
    let path = format!("/v1/keys/{role}/{id}");
    let (before, length) = (old.rotations().len(), new.rotations().len());
    let mut signer = old.key().verifying();
    let mut caller = Caller::new(url.clone(), role, old)?;
    let known = caller.find::<Keys>(&path)?.map_or(0, |keys| keys.rotations.len());
    if known >= length {
        return Ok(None);
    }
    if known < before {
        // Nobody told it of the last ones.
        let older = place.before(new, known)?;
        signer = older.key().verifying();
        caller = Caller::new(url.clone(), role, older)?;
    }
    let again = Again { by: signer, owner: new.owner(role), key: new.key() };
    let statements = match role {
        Role::Tenant => networks(&mut caller, &again)?,
        Role::Farmer => farm(&mut caller, &again)?,
        Role::Node | Role::Registry | Role::Admin => return Err(not_told(role)),
    };
    let count = statements.len();
    let rotated = Rotated { rotations: new.rotations().to_vec(), statements };
    caller.send::<Done>(&Method::PUT, &path, &rotated)?;
    Ok(Some(count))
}

/// Why a key of that role is not replaced while a registry knows it.
fn not_told(role: Role) -> Failed {
    let (what, hint) = match role {
        Role::Node => (
            "a node's devices are signed by its agent, and not by this command",
            "let the node leave its farm, make it a new key, and let it join again",
        ),
        _ => ("no registry is told of that role's keys", "leave out --registry"),
    };
    Failed::refused(what).hint(Some(hint))
}

/// What is signed again: whatever an owner said, by the key that the registry knows.
struct Again<'a> {
    by: VerifyingKey,
    owner: Owner,
    key: &'a SigningKey,
}

impl Again<'_> {
    /// What the owner said, as the registry shows it: the new key signs nothing that the old one did not.
    fn open<T: Owned>(&self, signed: &Signed) -> Result<T, Failed> {
        let opened: T = signed.open().map_err(|error| {
            let hint = error.hint();
            Failed::refused(error).hint(Some(hint))
        })?;
        if signed.key == self.by && opened.owner() == self.owner {
            return Ok(opened);
        }
        let what = format!("the registry shows as a statement of {} what it did not sign", self.owner);
        Err(Failed::refused(what).hint(Some("do not replace the key before its operator has told why")))
    }
}

/// A tenant's networks that are in force. Of one that is no more nothing is said again: whoever ended it, it stays ended.
fn networks(caller: &mut Caller, again: &Again<'_>) -> Result<Vec<Signed>, Failed> {
    let listed: Option<Networks> = caller.find(&format!("/v1/networks/{}", caller.tenant()))?;
    let mut statements = Vec::new();
    for id in listed.into_iter().flat_map(|listed| listed.networks) {
        let network: Network = caller.get(&format!("/v1/networks/{id}"))?;
        if network.deleted {
            continue;
        }
        let said: NetworkStatement = again.open(&network.statement)?;
        let next = NetworkStatement { version: said.version + 1, ..said };
        statements.push(Signed::new(&next, again.key));
    }
    Ok(statements)
}

/// A farmer's farm, if there is one.
fn farm(caller: &mut Caller, again: &Again<'_>) -> Result<Vec<Signed>, Failed> {
    let path = format!("/v1/farms/{}", caller.farm());
    let Some(farm) = caller.find::<Farm>(&path)? else { return Ok(Vec::new()) };
    let said: Delegation = again.open(&farm.statement)?;
    let next = Delegation::new(said.with_nodes(Vec::new()), said.name().clone(), said.version() + 1);
    Ok(vec![Signed::new(&next.map_err(Failed::refused)?, again.key)])
}
