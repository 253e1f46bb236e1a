//! The registry's own signature: under the grants and numbers of each commit, all at once, and under who holds a slot.
//!
//! Owns: how they are written as leaves, and whose keys a store names. What is kept is JSON, as it is sent to nodes.

use std::sync::Arc;

use serde::Serialize;
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::{Granted, Leaf, Role, Signed, SigningKey, VerifyingKey, seal};

use crate::service::{Newly, Sealed, Sealer};

/// Signs with the registry's key.
pub struct Signing {
    /// That key.
    pub key: SigningKey,
    /// The operator's, if the registry has one.
    pub operator: Option<VerifyingKey>,
}

impl Sealer for Signing {
    fn seal(&mut self, newly: &Newly<'_>) -> Sealed {
        let numbers = newly.numbers.iter().map(|allocation| Leaf::Number(*allocation));
        let grants = newly.grants.iter().map(|(key, grant)| Leaf::Grant(Granted::of(*key, grant)));
        let leaves: Vec<Leaf> = numbers.chain(grants).collect();
        let (group, proven) = seal(&leaves, newly.serial.0, &self.key);
        Sealed { seal: json(&group), paths: proven.iter().map(json).collect() }
    }

    fn tenure(&mut self, tenure: &Tenure) -> Arc<[u8]> {
        json(&Signed::new(tenure, &self.key))
    }

    fn keys(&self) -> Vec<(Role, VerifyingKey)> {
        let operator = self.operator.map(|operator| (Role::Admin, operator));
        operator.into_iter().chain([(Role::Registry, self.key.verifying())]).collect()
    }
}

fn json(value: &impl Serialize) -> Arc<[u8]> {
    serde_json::to_vec(value).expect("what is signed is JSON, and memory takes any").into()
}
