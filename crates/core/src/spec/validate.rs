//! From files of the right shape to a world, or to everything that is wrong with them.
//!
//! Owns: bringing each fault of the model back to its line. Must not have conditions of its own.

use super::problem::Problems;
use super::reading::Reading;
use super::{FarmSpec, NetworkSpec};
use crate::model::{Document, World, WorldDraft};

/// Validates farms and networks together.
///
/// # Errors
/// Every problem there is, by file and line. What may only follow from another problem is left out: a name that leads
/// nowhere is not reported while something could not be read.
pub fn validate(farms: Vec<FarmSpec>, networks: Vec<NetworkSpec>) -> Result<World, Problems> {
    let mut unnamed = Vec::new();
    let (farms, mut of_farms) = split(farms.into_iter().map(FarmSpec::read), &mut unnamed);
    let (networks, mut of_networks) = split(networks.into_iter().map(NetworkSpec::read), &mut unnamed);
    let broken_farms = of_farms.iter().chain(&unnamed).any(Reading::is_broken);
    let draft = WorldDraft { farms, networks };
    for (document, found) in draft.faults() {
        let reading = match document {
            Document::Farm(at) => &mut of_farms[at],
            Document::Network(at) => &mut of_networks[at],
        };
        let dangling = broken_farms || reading.is_broken();
        reading.take(found, dangling);
    }
    let readings = of_farms.into_iter().chain(of_networks).chain(unnamed);
    let problems: Vec<_> = readings.flat_map(Reading::into_problems).collect();
    if !problems.is_empty() {
        return Err(Problems::sorted(problems));
    }
    Ok(World::try_from(draft).expect("a fault is passed over only where a problem was found"))
}

/// Drafts with their readings in the same order, and apart the readings that gave no draft.
fn split<T>(
    read: impl Iterator<Item = (Option<T>, Reading)>,
    unnamed: &mut Vec<Reading>,
) -> (Vec<T>, Vec<Reading>) {
    let (mut drafts, mut readings) = (Vec::new(), Vec::new());
    for (draft, reading) in read {
        match draft {
            Some(draft) => {
                drafts.push(draft);
                readings.push(reading);
            }
            None => unnamed.push(reading),
        }
    }
    (drafts, readings)
}
