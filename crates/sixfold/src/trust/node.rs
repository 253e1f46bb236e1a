//! What this node's agent believes of a network, from the proofs that it keeps.

use std::path::Path;

use sixfold_agent::remote::joined::Joined;
use sixfold_agent::remote::kept::Kept;
use sixfold_agent::store::Store;
use sixfold_core::id::NetworkId;
use sixfold_core::trust::{Evidence, Role, Subject};

use super::{From, Told, evidence};
use crate::failed::Failed;
use crate::network::Word;

pub(super) fn told(word: &Word, joined: &Joined, state: &Path) -> Result<Told, Failed> {
    let store = Store::<Kept>::of(state).map_err(Failed::environment)?;
    let kept = store.load().received.ok_or_else(|| {
        let what = format!("no proofs are kept in {}", state.display());
        Failed::environment(what).hint(Some("`sixfold agent` keeps them once the registry has shown any"))
    })?;
    let registry = joined.pins().registry.owner(Role::Registry);
    let (evidence, _) = Evidence::open(&kept.proofs, &registry, &kept.seen);
    let id = meant(&evidence, word)?;
    Ok(evidence::told(&evidence, &id, From::Node))
}

/// The network that is meant, of those that concern this node.
fn meant(evidence: &Evidence, word: &Word) -> Result<NetworkId, Failed> {
    let id = |subject: &Subject| match subject {
        Subject::Live(network) => network.id().clone(),
        Subject::Deleted(id) => id.clone(),
    };
    let all: Vec<NetworkId> = evidence.networks().map(id).filter(|id| word.fits(id)).collect();
    match &all[..] {
        [one] => Ok(one.clone()),
        [] => Err(Failed::refused(format!("no network {word} concerns this node"))
            .hint(Some("with --registry it is told from what the registry shows"))),
        several => Err(Failed::refused(format!("{word} is the name of several networks"))
            .details(several.iter().map(ToString::to_string))
            .hint(Some("write it as TENANT-ID/NAME"))),
    }
}
