//! Those who type commands: the registry's operator, a farmer for each farm, a tenant's person for each tenant, and whoever is at a node's console.
//!
//! ```text
//! registry$ sixfold farm invite 2001:db8:a::/48 --key ...     at the registry
//! alpha$ sixfold farm create farm.toml ...    on the Internet, with a key of their own
//! ant$ sixfold node join $TOKEN ...           in the node
//! ```
//!
//! Owns: running what they type, as they would, and telling it. Must not know what it is for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::FarmError;
use crate::enclosure::SELF;
use crate::node::Door;

/// Where the files are that they name.
pub(super) const FILES: &str = "/run/lab/files";
/// Where their keys are.
const KEYS: &str = "/run/lab/keys";

/// What is long and differs each time is told by what it is: tokens and invitations.
const TOKENS: [&str; 2] = ["sixfold1.", "sixfold-farm1."];

/// Somebody who types.
#[derive(Debug, Clone)]
pub(super) struct Person {
    name: String,
    door: Door,
    /// Their key, and the registry they ask; who is at a node's console has the node's.
    own: Option<(PathBuf, String)>,
}

impl Person {
    /// The owner of a farm or of networks, somewhere on the Internet.
    pub(super) fn owner(role: &str, name: &str, registry: &str) -> Self {
        let key = Path::new(KEYS).join(role).join(format!("{name}.pem"));
        let door = Door { keeper: None, netns: Some(crate::world::INTERNET.to_owned()) };
        Self { name: name.to_owned(), door, own: Some((key, registry.to_owned())) }
    }

    /// The registry's operator, at its console.
    pub(super) fn operator(key: &str, registry: &str) -> Self {
        let name = crate::world::REGISTRY.to_owned();
        let door = Door { keeper: None, netns: Some(name.clone()) };
        Self { name, door, own: Some((key.into(), registry.to_owned())) }
    }

    /// Whoever is at a node's console.
    pub(super) fn at(node: &str, keeper: u32) -> Self {
        Self { name: node.to_owned(), door: Door { keeper: Some(keeper), netns: None }, own: None }
    }

    /// The file of their key.
    pub(super) fn key(&self) -> Option<&Path> {
        self.own.as_ref().map(|(key, _)| key.as_path())
    }

    /// Types a command, tells it, and waits for it: what it printed.
    pub(super) fn types(&self, words: &[&str], tell: &mut dyn FnMut(&str)) -> Result<String, FarmError> {
        tell(&self.shown(words));
        self.asks(words)
    }

    /// The same without telling it: nothing changes by it.
    pub(super) fn asks(&self, words: &[&str]) -> Result<String, FarmError> {
        let mut command = Command::new(SELF);
        command.args(self.door.words()).arg(SELF).args(words).stdin(Stdio::null()).current_dir(FILES);
        if let Some((key, registry)) = &self.own {
            command.env("SIXFOLD_KEY", key).env("SIXFOLD_REGISTRY", registry);
        }
        let output =
            command.output().map_err(|source| FarmError::Type { typed: self.shown(words), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
        let refused = output.status.code() == Some(1);
        Err(FarmError::Said { typed: self.shown(words), said, refused })
    }

    /// As it stands on a terminal.
    fn shown(&self, words: &[&str]) -> String {
        let is_token = |word: &str| TOKENS.iter().any(|start| word.starts_with(start));
        let words: Vec<&str> =
            words.iter().map(|word| if is_token(word) { "$TOKEN" } else { word }).collect();
        format!("{}$ sixfold {}", self.name, words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_told_as_it_stands_on_a_terminal() {
        let words = ["node", "join", "sixfold1.AbCd", "--address", "2001:db8::a/64"];
        assert_eq!(
            Person::at("ant", 7).shown(&words),
            "ant$ sixfold node join $TOKEN --address 2001:db8::a/64"
        );
        assert_eq!(
            Person::owner("farmer", "alpha", "-").shown(&["farm", "token"]),
            "alpha$ sixfold farm token"
        );
    }
}
