//! What a node is shown, by its parts: the same parts are called the same whatever their order, and a difference put onto
//! what is held comes to all of it, or to nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sixfold_core::id::Revision;
use sixfold_core::trust::{Difference, DifferenceError, Fingerprint, Parts, Proofs, Seen, admit};

use super::realm::{Realm, any_realm};
use crate::farm::Farm;

fn names(proofs: &Proofs) -> BTreeSet<Fingerprint> {
    Parts::of(proofs).names().into_iter().collect()
}

/// As it travels.
fn between(held: &Proofs, now: &Proofs) -> Difference {
    let difference = Difference::between(&names(held), Parts::of(now), now.revision);
    let (read, unknown) = Difference::read(&serde_json::to_vec(&difference).unwrap()).unwrap();
    assert_eq!((&read, unknown.len()), (&difference, 0));
    read
}

fn first() -> Vec<Proofs> {
    let realm = Realm::of(&Farm::first());
    realm.farm.nodes().iter().map(|node| realm.proofs(node)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What others are shown, a part of it and nothing stand for what was held: any of them may be.
    #[test]
    fn a_difference_put_onto_what_is_held_comes_to_what_there_is(realm in any_realm(), kept in 0..4_usize) {
        let all: Vec<_> = realm.farm.nodes().into_iter().map(|node| (realm.proofs(&node), node)).collect();
        for (now, node) in &all {
            let mut part = now.clone();
            part.devices.truncate(kept);
            part.grants.truncate(kept);
            part.nodes.truncate(kept);
            for held in all.iter().map(|(proofs, _)| proofs).chain([&part, &Proofs::default()]) {
                let whole = between(held, now).onto(held).unwrap();
                prop_assert_eq!(Parts::of(&whole), Parts::of(now));
                prop_assert_eq!(whole.revision, now.revision);
                let [one, other] = [&whole, now].map(|it| admit(it, &realm.pins(node), &Seen::default(), node));
                prop_assert_eq!(one, other);
            }
        }
    }
}

#[test]
fn nothing_is_sent_of_what_is_the_same_and_nothing_but_its_group_with_a_new_grant() {
    let all = first();
    let now = &all[0];
    let newer = Proofs { revision: Revision(now.revision.0 + 1), ..now.clone() };
    let same = between(now, &newer);
    assert_eq!((same.removed.len(), names(&same.added).len()), (0, 0));
    assert_eq!(same.onto(now).unwrap().revision, newer.revision);
    let mut less = now.clone();
    let gone = less.grants.pop().unwrap();
    let more = between(&less, now);
    assert_eq!((more.removed.len(), more.added.grants.len(), more.added.groups.len()), (0, 1, 1));
    assert_eq!(more.added.grants[0].proven, gone.proven);
    assert_eq!(between(now, &less).removed.len(), 1);
    // Onto what it is no difference to, it comes to something else, and that is seen.
    let refused = more.onto(&Proofs::default()).unwrap_err();
    assert!(matches!(refused, DifferenceError::Other { found, whole } if found != whole));
}

#[test]
fn what_is_called_the_same_is_the_same_to_the_last_bit() {
    let all = first();
    let now = &all[0];
    let mut turned = Proofs { revision: Revision(99), ..now.clone() };
    turned.nodes.reverse();
    turned.devices.reverse();
    assert_eq!(Parts::of(&turned).fingerprint(), Parts::of(now).fingerprint());
    let mut others = vec![now.clone()];
    let mut change = |change: fn(&mut Proofs)| {
        let mut other = now.clone();
        change(&mut other);
        others.push(other);
    };
    change(|proofs| proofs.nodes[0].body[0] ^= 1);
    change(|proofs| proofs.nodes[0].signature.0[63] ^= 1);
    change(|proofs| proofs.nodes[0].key = proofs.farms[0].key);
    change(|proofs| proofs.grants[0].proven.leaf[0] ^= 1);
    change(|proofs| proofs.grants[0].proven.index += 1);
    change(|proofs| {
        let longer = proofs.grants.iter_mut().find(|grant| !grant.proven.path.is_empty());
        longer.unwrap().proven.path.clear();
    });
    change(|proofs| proofs.groups[0].body[0] ^= 1);
    change(|proofs| proofs.farms.clear());
    // In another list it says something else.
    change(|proofs| {
        let moved = proofs.nodes.remove(0);
        proofs.devices.push(moved);
    });
    change(|proofs| proofs.rotations.push(vec![proofs.farms[0].clone()]));
    let called: BTreeSet<Fingerprint> = others.iter().map(|proofs| Parts::of(proofs).fingerprint()).collect();
    assert_eq!(called.len(), others.len());
}

#[test]
fn a_name_is_32_digits_and_one_way_of_writing() {
    let name = Parts::of(&Proofs::default()).fingerprint();
    assert_eq!(name.to_string().parse(), Ok(name));
    for wrong in
        ["", "0", &name.to_string().to_uppercase(), &"+".repeat(32), &"0".repeat(33), &"é".repeat(16)]
    {
        assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong:?}");
    }
}
