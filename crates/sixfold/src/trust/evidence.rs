//! What proofs come to, resource by resource: the same for a node, which keeps them, and a tenant, who is shown them.

use sixfold_core::id::NetworkId;
use sixfold_core::model::Seat;
use sixfold_core::trust::{Evidence, Objection, Role, Verdict, Voucher};

use super::{From, Resource, Said, Told};

pub(super) fn told(evidence: &Evidence, id: &NetworkId, from: From) -> Told {
    let mut verdicts = evidence.verdicts(id);
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
    Told { network: id.to_string(), from, statements, resources: resources.collect(), refusals: Vec::new() }
}

fn said(voucher: &Voucher) -> Said {
    let Voucher { owner, key, object, version } = voucher.clone();
    Said { owner, key, object: object.to_string(), version }
}

fn what(verdict: &Verdict) -> String {
    format!("{}, prefix {} of allocation {}", seat(&verdict.seat), verdict.key.index, verdict.key.number)
}

pub(super) fn seat(seat: &Seat) -> String {
    match seat {
        Seat::Exit => "exit point".to_owned(),
        Seat::Node(node) => format!("resource on node {node}"),
    }
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
