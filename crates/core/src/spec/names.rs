//! Which farm or node somebody means: a name is what its owner calls it, an id is what is signed.
//!
//! Owns: from a word to the one id that it stands for. Whoever owns a thing names it, so a name may stand for several; then
//! it stands for none. Nobody has another's id: a word that is an id is that one, whatever others call themselves. Must not
//! ask anybody: it is told who there is.

use std::collections::{BTreeMap, BTreeSet};

use super::error::nearest;
use crate::id::{FarmId, Label, NodeId};
use crate::model::SlotKey;

/// Farms and nodes, with what their owners call them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    farms: BTreeMap<FarmId, NamedFarm>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedFarm {
    name: Label,
    slots: BTreeSet<SlotKey>,
    nodes: BTreeMap<NodeId, Label>,
}

/// Why a word stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// Nobody has this name or id.
    #[error("there is no {what} {word}")]
    Unknown {
        /// `farm` or `node`.
        what: &'static str,
        /// The word.
        word: Label,
        /// The name that may be meant.
        near: Option<String>,
    },
    /// Several have this name.
    #[error("{word} is the name of several {what}s: {}", ids.join(", "))]
    Ambiguous {
        /// `farm` or `node`.
        what: &'static str,
        /// The word.
        word: Label,
        /// Their ids; a node's with its farm.
        ids: Vec<String>,
    },
}

impl NamesError {
    /// What to do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { near: Some(near), .. } => format!("did you mean {near}?"),
            Self::Unknown { what: "node", .. } => {
                "a node is known once it has joined; `sixfold farm show FARM` lists those that have"
                    .to_owned()
            }
            Self::Unknown { .. } => "`sixfold farm list` lists those there are".to_owned(),
            Self::Ambiguous { .. } => "write the id of the one that is meant".to_owned(),
        }
    }
}

impl Names {
    /// Adds a farm, with its name, its slots and its nodes.
    pub fn add(
        &mut self,
        id: FarmId,
        name: Label,
        slots: impl IntoIterator<Item = SlotKey>,
        nodes: impl IntoIterator<Item = (NodeId, Label)>,
    ) {
        let (slots, nodes) = (slots.into_iter().collect(), nodes.into_iter().collect());
        self.farms.insert(id, NamedFarm { name, slots, nodes });
    }

    /// The farm that a word stands for.
    ///
    /// # Errors
    /// If it stands for none or several.
    pub fn farm(&self, word: &Label) -> Result<&FarmId, NamesError> {
        let all = self.farms.iter().map(|(id, farm)| (id, id.as_str(), &farm.name));
        find("farm", word, all, |id| id.to_string())
    }

    /// The node that a word stands for, of those of all farms.
    ///
    /// # Errors
    /// If it stands for none or several.
    pub fn node(&self, word: &Label) -> Result<&NodeId, NamesError> {
        let all = self.farms.values().flat_map(|farm| &farm.nodes).map(|(id, name)| (id, id.as_str(), name));
        let told = |id: &NodeId| {
            let home = self.farms.values().find(|farm| farm.nodes.contains_key(id));
            home.map_or_else(|| id.to_string(), |farm| format!("{id} in farm {}", farm.name))
        };
        find("node", word, all, told)
    }

    /// The node that a word stands for, of those of one farm.
    ///
    /// # Errors
    /// If it stands for none or several.
    pub fn node_of(&self, farm: &FarmId, word: &Label) -> Result<&NodeId, NamesError> {
        let nodes = self.farms.get(farm).into_iter().flat_map(|farm| &farm.nodes);
        find("node", word, nodes.map(|(id, name)| (id, id.as_str(), name)), |id| id.to_string())
    }

    /// The slots of a farm.
    #[must_use]
    pub fn slots(&self, farm: &FarmId) -> BTreeSet<SlotKey> {
        self.farms.get(farm).map(|farm| farm.slots.clone()).unwrap_or_default()
    }

    /// What a farm is called.
    #[must_use]
    pub fn of_farm(&self, id: &FarmId) -> Option<&Label> {
        self.farms.get(id).map(|farm| &farm.name)
    }

    /// What a node is called.
    #[must_use]
    pub fn of_node(&self, id: &NodeId) -> Option<&Label> {
        self.farms.values().find_map(|farm| farm.nodes.get(id))
    }
}

/// The one that a word stands for, of all with their ids and names.
fn find<'a, I>(
    what: &'static str,
    word: &Label,
    all: impl Iterator<Item = (&'a I, &'a str, &'a Label)> + Clone,
    told: impl Fn(&I) -> String,
) -> Result<&'a I, NamesError> {
    if let Some((id, ..)) = all.clone().find(|(_, id, _)| *id == word.as_str()) {
        return Ok(id);
    }
    let called: Vec<&I> = all.clone().filter(|(.., name)| *name == word).map(|(id, ..)| id).collect();
    match called[..] {
        [id] => Ok(id),
        [] => {
            let names: Vec<&str> = all.map(|(.., name)| name.as_str()).collect();
            let near = nearest(word.as_str(), &names).map(str::to_owned);
            Err(NamesError::Unknown { what, word: word.clone(), near })
        }
        _ => {
            let ids = called.into_iter().map(told).collect();
            Err(NamesError::Ambiguous { what, word: word.clone(), ids })
        }
    }
}
