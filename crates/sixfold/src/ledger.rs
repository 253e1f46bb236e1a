//! A ledger to throw away: what a registry would grant, for reading and planning without one.

use sixfold_core::allocate::{self, AllocateError, IndexSecret};
use sixfold_core::model::{Ledger, World};
use sixfold_core::place;

use crate::failed::Failed;

/// Not a secret: these grants are examples, and the same each time.
const EXAMPLE: IndexSecret = IndexSecret([0; 32]);

/// Says so wherever these grants are shown.
pub(crate) const NOTE: &str = "the prefixes are examples: the registry of a farm grants its own";

/// Places and grants every network of a world.
pub(crate) fn grant_all(world: &World) -> Result<Ledger, Failed> {
    let mut ledger = Ledger::default();
    for network in world.networks().values() {
        let exit = network.exit();
        let (read, change) = allocate::number(&ledger, exit.prefix);
        ledger.commit(&read, change).map_err(Failed::refused)?;
        let Some(placement) = world.farm(&exit.farm).and_then(|farm| place::place(network, farm)) else {
            continue;
        };
        let (read, change) = allocate::allocate(&ledger, &placement, &EXAMPLE).map_err(|error| {
            let full = matches!(error, AllocateError::Full { .. });
            Failed::refused(error).hint(full.then_some("use another slot of the farm as this network's exit"))
        })?;
        ledger.commit(&read, change).map_err(Failed::refused)?;
    }
    Ok(ledger)
}
