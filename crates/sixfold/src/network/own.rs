//! A network's own public IPv4 address: what its tenant asks for, and what it has.

use std::net::Ipv4Addr;

use sixfold_api::resource::Held;
use sixfold_core::model::{Network, OwnV4, Seat};

use crate::caller::Known;

/// What a network that asks for an address has.
pub(super) enum Own {
    /// This one.
    Has(Ipv4Addr),
    /// None: it comes beside ports of the slot's address.
    NoPorts,
    /// None: its exit's farmer has none for tenants.
    NoPool,
    /// None: its tenant's networks have as many as one tenant's may.
    OverQuota,
    /// None: all are others'.
    NoneLeft,
}

/// What a network has, if it asks for an address.
pub(super) fn own(known: &Known, network: &Network, grants: &[Held]) -> Option<Own> {
    if network.own_v4().is_none() {
        return None;
    }
    let exit = network.exit();
    let farm = known.farms.iter().find(|farm| *farm.id() == exit.farm);
    let pool = farm.and_then(|farm| farm.delegation.slot(exit.key())).map(|slot| &slot.pool_v4[..]);
    let pool = pool.unwrap_or_default();
    let held = grants.iter().find(|held| held.seat == Seat::Exit)?;
    Some(match held.own_v4.filter(|own| pool.contains(own)) {
        Some(own) => Own::Has(own),
        None if held.ports.is_none() => Own::NoPorts,
        None if pool.is_empty() => Own::NoPool,
        None if held.over_quota => Own::OverQuota,
        None => Own::NoneLeft,
    })
}

/// The same in words.
pub(super) fn words(known: &Known, network: &Network, grants: &[Held]) -> Option<String> {
    let none = |why: &str| format!("none, and the network goes on without it: {why}");
    Some(match own(known, network, grants)? {
        Own::Has(own) => format!("{own}: {}", leads(network.own_v4())),
        Own::NoPorts => {
            none("it comes beside ports of the slot's address, and the network has none of these")
        }
        Own::NoPool => none("the farmer has no addresses for tenants at this slot: choose another exit slot"),
        Own::OverQuota => none(
            "its tenant's networks have as many addresses of the slot's pool as the farmer lets one tenant have. Apply it again when one \
             of those has been gone for seven days, or choose another exit slot",
        ),
        Own::NoneLeft => none(
            "all addresses of the slot's pool are other networks'. Apply it again when one of those is gone, or choose \
             another exit slot",
        ),
    })
}

fn leads(OwnV4 { whole, forwards }: &OwnV4) -> String {
    if let Some(workload) = whole {
        return format!("all of it leads to {workload}, which speaks with it");
    }
    let ports = forwards.iter().map(|it| format!("{}/{} to {} {}", it.protocol, it.port, it.workload, it.to));
    ports.collect::<Vec<_>>().join(", ")
}
