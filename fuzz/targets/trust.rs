//! Statements, tokens, key files and proofs, as bytes that somebody else made. What is read is written as it was.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sixfold_core::trust::{
    Admitted, Chain, Confirm, Delegation, DeviceStatement, Dissolution, Group, Invitation, Leaf, Leaving,
    NetworkStatement, NodeStatement, Pins, Proofs, Reclaim, Role, Rotation, Seen, SigningKey, Statement,
    Token, VerifyingKey, admit, decode, encode,
};
use sixfold_fuzz::{bytes_of, proofs, statements};

/// The bodies of good statements, by kind.
static BODIES: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(statements);
static PROOFS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let good = proofs();
    let admitted = judged(&good);
    assert!(admitted.snapshot.is_some() && admitted.refusals.is_empty(), "what is to be changed is good");
    vec![serde_json::to_vec(&good).expect("proofs' keys are all strings")]
});

fn judged(proofs: &Proofs) -> Admitted {
    let registry = sixfold_fuzz::registry().verifying();
    let (farm, node) = (registry.id(Role::Farmer).into(), registry.id(Role::Node).into());
    admit(proofs, &Pins { registry, farm }, &Seen::default(), &node)
}

fn one<T: Statement>(kind: usize, change: &[u8]) {
    let body = bytes_of(&BODIES[kind], change);
    match decode::<T>(&body) {
        Ok(statement) => assert_eq!(encode(&statement), body, "it has another encoding"),
        Err(error) => {
            let said = error.to_string();
            assert!(said.chars().all(|c| !c.is_control()) && said.len() < 8192, "{said:?}");
            let _ = error.hint();
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, change)) = data.split_first() else { return };
    match kind % 16 {
        0 => one::<Delegation>(0, change),
        1 => one::<NetworkStatement>(1, change),
        2 => one::<NodeStatement>(2, change),
        3 => one::<DeviceStatement>(3, change),
        4 => one::<Leaf>(4, change),
        5 => one::<Group>(5, change),
        6 => one::<Rotation>(6, change),
        7 => one::<Token>(7, change),
        8 => one::<Confirm>(8, change),
        9 => one::<Leaving>(9, change),
        10 => one::<Reclaim>(10, change),
        11 => {
            let text = String::from_utf8_lossy(change);
            let _ = Token::read(&text);
            let _ = Invitation::read(&text);
            let _ = SigningKey::from_pem(&text);
            let _ = VerifyingKey::from_pem(&text);
        }
        14 => one::<Invitation>(11, change),
        15 => one::<Dissolution>(12, change),
        _ => {
            let Ok((proofs, _)) = Proofs::read(&bytes_of(&PROOFS, change)) else { return };
            for rotations in &proofs.rotations {
                let _ = Chain::read(rotations);
            }
            let admitted = judged(&proofs);
            assert!(admitted.snapshot.is_none_or(|snapshot| snapshot.faults().is_empty()));
        }
    }
});
