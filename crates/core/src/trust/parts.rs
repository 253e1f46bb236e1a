//! What a node is shown, as a set of parts: by what each is called, and by what all of them are.
//!
//! Owns: the names, which follow from the very bytes that were signed, so that a registry and a node that never spoke of it
//! call the same by the same name. Must not judge a part: a name says which, never that it is true.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::grant::Proven;
use super::proofs::{Proofs, ProvenGrant};
use super::signed::{Signed, digest};
use crate::id::Revision;

/// The first half of a SHA-256, in hexadecimal digits: which part it is, or which parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Fingerprint([u8; 16]);

/// It is not 32 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 32 hexadecimal digits")]
pub struct FingerprintError;

impl Fingerprint {
    fn of(kind: &str, parts: &impl BorshSerialize) -> Self {
        let bytes = borsh::to_vec(parts).expect("a list of bytes takes all that is written");
        let mut half = [0; 16];
        half.copy_from_slice(&digest(kind, &bytes).0[..16]);
        Self(half)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(FingerprintError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| FingerprintError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One thing that a node is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Rotations(Vec<Signed>),
    Farm(Signed),
    Network(Signed),
    Node(Signed),
    Device(Signed),
    Tenure(Signed),
    Group(Signed),
    Grant { group: Fingerprint, proven: Proven },
}

impl Part {
    fn name(&self) -> Fingerprint {
        match self {
            Self::Rotations(chain) => Fingerprint::of("part/rotations", chain),
            Self::Farm(signed) => Fingerprint::of("part/farm", signed),
            Self::Network(signed) => Fingerprint::of("part/network", signed),
            Self::Node(signed) => Fingerprint::of("part/node", signed),
            Self::Device(signed) => Fingerprint::of("part/device", signed),
            Self::Tenure(signed) => Fingerprint::of("part/tenure", signed),
            Self::Group(signed) => Fingerprint::of("part/group", signed),
            Self::Grant { group, proven } => {
                let Proven { leaf, index, path } = proven;
                Fingerprint::of("part/grant", &(group, leaf, index, path))
            }
        }
    }
}

/// All that a node is shown, by name: in no order, and nothing twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts(BTreeMap<Fingerprint, Part>);

impl Parts {
    /// What a document shows. A grant of a group that is not there shows nothing.
    #[must_use]
    pub fn of(proofs: &Proofs) -> Self {
        let named = |part: Part| (part.name(), part);
        let each = |of: fn(Signed) -> Part, all: &[Signed]| -> Vec<(Fingerprint, Part)> {
            all.iter().cloned().map(of).map(named).collect()
        };
        let groups = each(Part::Group, &proofs.groups);
        let grants = proofs.grants.iter().filter_map(|grant| {
            let (group, _) = groups.get(grant.group)?;
            Some(named(Part::Grant { group: *group, proven: grant.proven.clone() }))
        });
        let mut parts: BTreeMap<Fingerprint, Part> = grants.collect();
        parts.extend(proofs.rotations.iter().cloned().map(Part::Rotations).map(named));
        parts.extend(each(Part::Farm, &proofs.farms));
        parts.extend(each(Part::Network, &proofs.networks));
        parts.extend(each(Part::Node, &proofs.nodes));
        parts.extend(each(Part::Device, &proofs.devices));
        parts.extend(each(Part::Tenure, &proofs.tenures));
        parts.extend(groups);
        Self(parts)
    }

    /// The names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<Fingerprint> {
        self.0.keys().copied().collect()
    }

    /// What all of them together are called.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of("parts", &self.names())
    }

    /// Those of these names.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&Fingerprint) -> bool) {
        self.0.retain(|name, _| is_kept(name));
    }

    /// These too.
    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The groups that grants among these names are of.
    pub(super) fn groups_of(&self, names: &BTreeSet<Fingerprint>) -> BTreeSet<Fingerprint> {
        let grants = self.0.iter().filter(|(name, _)| names.contains(name));
        grants
            .filter_map(|(_, part)| match part {
                Part::Grant { group, .. } => Some(*group),
                _ => None,
            })
            .collect()
    }

    /// The document that shows them. A grant whose group is not among them is left out.
    #[must_use]
    pub fn into_proofs(self, revision: Revision) -> Proofs {
        let mut proofs = Proofs { revision, ..Proofs::default() };
        let (mut positions, mut grants) = (BTreeMap::new(), Vec::new());
        for (name, part) in self.0 {
            match part {
                Part::Rotations(chain) => proofs.rotations.push(chain),
                Part::Farm(signed) => proofs.farms.push(signed),
                Part::Network(signed) => proofs.networks.push(signed),
                Part::Node(signed) => proofs.nodes.push(signed),
                Part::Device(signed) => proofs.devices.push(signed),
                Part::Tenure(signed) => proofs.tenures.push(signed),
                Part::Group(signed) => {
                    positions.insert(name, proofs.groups.len());
                    proofs.groups.push(signed);
                }
                Part::Grant { group, proven } => grants.push((group, proven)),
            }
        }
        let placed = grants.into_iter().filter_map(|(group, proven)| {
            let group = *positions.get(&group)?;
            Some(ProvenGrant { group, proven })
        });
        proofs.grants = placed.collect();
        proofs
    }
}
