//! What is declared: the world, and by which file each farm and network of it is.
//!
//! Owns: telling the files apart, and what lies between two declarations. Must not read a file from disk.

use std::collections::BTreeMap;
use std::path::Path;

use sixfold_core::id::{FarmId, NetworkId};
use sixfold_core::model::World;
use sixfold_core::spec::{self, Problems};

/// A world and its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// What they say together.
    pub world: World,
    /// Each farm's file.
    pub farms: BTreeMap<FarmId, Text>,
    /// Each network's.
    pub networks: BTreeMap<NetworkId, Text>,
}

/// A file's name, within the folder, and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its name.
    pub name: String,
    /// What it says.
    pub text: String,
}

impl Declared {
    /// What these files say, given as (path, text).
    ///
    /// # Errors
    /// Everything wrong with them.
    pub fn of(files: &[(String, String)]) -> Result<Self, Problems> {
        let world = spec::parse_all(files)?;
        let mut declared = Self { world, ..Self::default() };
        let mut specs = Vec::new();
        for (path, text) in files {
            let Ok(farm) = spec::parse_farm(text, path) else { continue };
            let alone = spec::validate(vec![farm.clone()], Vec::new())?;
            specs.push(farm);
            let file = Text::new(path, text);
            declared.farms.extend(alone.farms().keys().map(|id| (id.clone(), file.clone())));
        }
        for (path, text) in files {
            let Ok(network) = spec::parse_network(text, path) else { continue };
            let alone = spec::validate(specs.clone(), vec![network])?;
            let file = Text::new(path, text);
            declared.networks.extend(alone.networks().keys().map(|id| (id.clone(), file.clone())));
        }
        Ok(declared)
    }
}

impl Text {
    fn new(path: &str, text: &str) -> Self {
        let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        Self { name: name.unwrap_or_else(|| path.to_owned()), text: text.to_owned() }
    }
}

/// Something that an owner says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Say {
    /// A farmer: the farm is what this file says.
    Farm(FarmId, Text),
    /// A tenant: so is the network.
    Network(NetworkId, Text),
    /// A tenant: the network is no more.
    Deleted(NetworkId),
}

/// What owners have to say, in this order, for one world to become another. A farm's new slots come before the networks that
/// leave by them, and its old ones go after.
pub(super) fn between(before: &Declared, after: &Declared) -> Vec<Say> {
    let farms = after.farms.iter().filter(|(id, _)| before.world.farm(id) != after.world.farm(id));
    let (fewer, more): (Vec<_>, Vec<_>) = farms.partition(|(id, _)| {
        let slots = |world: &World| world.farm(id).map(|farm| farm.slots().clone()).unwrap_or_default();
        let after = slots(&after.world);
        slots(&before.world).keys().any(|slot| !after.contains_key(slot))
    });
    let farm = |(id, text): (&FarmId, &Text)| Say::Farm(id.clone(), text.clone());
    let gone = before.world.networks().keys().filter(|id| after.world.network(id).is_none());
    let changed = after.networks.iter().filter(|(id, _)| before.world.network(id) != after.world.network(id));
    let gone = gone.map(|id| Say::Deleted(id.clone()));
    let changed = changed.map(|(id, text)| Say::Network(id.clone(), text.clone()));
    more.into_iter().map(farm).chain(gone).chain(changed).chain(fewer.into_iter().map(farm)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FARM: &str = include_str!("../../../../examples/first-farm/farm.toml");
    const ACME: &str = include_str!("../../../../examples/first-farm/acme.toml");
    const GLOBEX: &str = include_str!("../../../../examples/first-farm/globex.toml");

    fn declared(files: &[&str]) -> Declared {
        let file = |(at, text): (usize, &&str)| (format!("/a/folder/{at}.toml"), (*text).to_owned());
        Declared::of(&files.iter().enumerate().map(file).collect::<Vec<_>>()).unwrap()
    }

    fn said(before: &[&str], after: &[&str]) -> Vec<String> {
        let say = |say| match say {
            Say::Farm(id, text) => format!("farm {id} {}", text.name),
            Say::Network(id, text) => format!("network {id} {}", text.name),
            Say::Deleted(id) => format!("no {id}"),
        };
        between(&declared(before), &declared(after)).into_iter().map(say).collect()
    }

    #[test]
    fn owners_say_what_changes_and_nothing_else() {
        let whole = [FARM, ACME, GLOBEX];
        assert_eq!(said(&whole, &whole), [""; 0]);
        assert_eq!(said(&whole, &[FARM, ACME]), ["no globex/lab"]);
        assert_eq!(said(&[FARM, ACME], &whole), ["network globex/lab 2.toml"]);
        let other = ACME.replace("443", "444");
        assert_eq!(said(&whole, &[FARM, &other, GLOBEX]), ["network acme/web 1.toml"]);
    }

    #[test]
    fn slots_come_before_the_networks_that_leave_by_them_and_go_after() {
        let (less, _) = FARM.split_once("[[slot]]\nslot = 2").unwrap();
        let by_two = GLOBEX.replace("slot = 1", "slot = 2");
        let (with, without) = ([FARM, ACME, &by_two], [less, ACME, GLOBEX]);
        assert_eq!(said(&without, &with), ["farm alpha 0.toml", "network globex/lab 2.toml"]);
        assert_eq!(said(&with, &without), ["network globex/lab 2.toml", "farm alpha 0.toml"]);
    }
}
