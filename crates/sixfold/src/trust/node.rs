//! What this node's agent believes of a network, from the proofs that it keeps.

use std::path::Path;

use sixfold_agent::remote::joined::Joined;
use sixfold_agent::remote::kept::Kept;
use sixfold_agent::store::Store;
use sixfold_core::id::NetworkId;
use sixfold_core::model::Seat;
use sixfold_core::trust::{Evidence, Objection, Role, Subject, Verdict, Voucher};

use super::{Resource, Said, Told};
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
    let mut verdicts = evidence.verdicts(&id);
    verdicts.sort_by(|one, other| one.seat.cmp(&other.seat));
    // Tenant and farmer are the same for all of them.
    let whole = |voucher: &Voucher| matches!(voucher.owner.role, Role::Tenant | Role::Farmer);
    let first = verdicts.first().map(|verdict| &verdict.vouchers[..]).unwrap_or_default();
    let statements = first.iter().filter(|voucher| whole(voucher)).map(said).collect();
    let resources = verdicts.iter().map(|verdict| {
        let statements = verdict.vouchers.iter().filter(|voucher| !whole(voucher)).map(said).collect();
        let (words, hint) = judged(verdict);
        Resource { what: what(verdict), statements, verdict: words, hint }
    });
    Ok(Told { network: id.to_string(), from: "node", statements, resources: resources.collect() })
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

fn said(voucher: &Voucher) -> Said {
    let Voucher { owner, key, object, version } = voucher.clone();
    Said { owner, key, object: object.to_string(), version }
}

fn what(verdict: &Verdict) -> String {
    let seat = match &verdict.seat {
        Seat::Exit => "exit point".to_owned(),
        Seat::Node(node) => format!("resource on node {node}"),
    };
    format!("{seat}, prefix {} of allocation {}", verdict.key.index, verdict.key.number)
}

fn judged(verdict: &Verdict) -> (String, Option<String>) {
    let hint = |objection: &Objection| Some(objection.hint().to_owned());
    match &verdict.standing {
        Err(objection) => (format!("not made: {objection}"), hint(objection)),
        Ok(standing) => match &standing.device {
            Ok(_) => ("all agree".to_owned(), None),
            Err(objection) => (format!("made, and no peer of others: {objection}"), hint(objection)),
        },
    }
}
