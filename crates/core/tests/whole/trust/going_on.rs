//! What goes on and never back: keys that are replaced, versions, numbers of allocations.

use sixfold_core::addr::Allocation;
use sixfold_core::id::Generation;
use sixfold_core::model::ResourceKey;
use sixfold_core::trust::{
    Chain, ChainError, Digest, Mark, Object, OpenError, Owner, Role, Rotation, Seen, Signed, SigningKey,
    Stale,
};

use super::realm::key;

fn keys(count: usize) -> Vec<SigningKey> {
    (0..count).map(|at| key(Role::Tenant, &format!("acme {at}"))).collect()
}

fn owner(keys: &[SigningKey]) -> Owner {
    keys[0].verifying().owner(Role::Tenant)
}

/// Each key signs the next one.
pub(crate) fn chain(owner: &Owner, keys: &[SigningKey]) -> Vec<Signed> {
    let pairs = (1..).zip(keys.windows(2));
    pairs
        .map(|(sequence, pair)| {
            let next = pair[1].verifying();
            Signed::new(&Rotation { owner: owner.clone(), sequence, next }, &pair[0])
        })
        .collect()
}

#[test]
fn an_id_outlives_its_keys() {
    let keys = keys(4);
    let chain = Chain::read(&chain(&owner(&keys), &keys)).unwrap();
    assert_eq!((chain.owner(), chain.length()), (&owner(&keys), 3));
    assert_eq!(chain.newest(), keys[3].verifying());
    let read: Vec<_> = (0..5).map(|length| chain.key(length)).collect();
    let wanted: Vec<_> = keys.iter().map(|key| Some(key.verifying())).chain([None]).collect();
    assert_eq!(read, wanted);
}

#[test]
fn what_is_no_chain_is_refused_at_its_first_wrong_rotation() {
    let keys = keys(4);
    let good = chain(&owner(&keys), &keys);
    assert_eq!(Chain::read(&[]), Err(ChainError::Empty));
    assert_eq!(Chain::read(&good[1..]), Err(ChainError::Broken { sequence: 1 }), "not from the first key");
    let gap = [good[0].clone(), good[2].clone()];
    assert_eq!(Chain::read(&gap), Err(ChainError::Broken { sequence: 2 }));
    let stranger = key(Role::Tenant, "a stranger");
    let next = keys[1].verifying();
    let stolen = Signed::new(&Rotation { owner: owner(&keys), sequence: 1, next }, &stranger);
    assert_eq!(Chain::read(&[stolen]), Err(ChainError::Broken { sequence: 1 }), "another key's");
    let other_role = keys[0].verifying().owner(Role::Node);
    let mixed = [good[0].clone(), Signed::new(&Rotation { owner: other_role, sequence: 2, next }, &keys[1])];
    assert_eq!(Chain::read(&mixed), Err(ChainError::Broken { sequence: 2 }), "another owner's");
    let back = keys[0].verifying();
    let back = Signed::new(&Rotation { owner: owner(&keys), sequence: 2, next: back }, &keys[1]);
    assert_eq!(Chain::read(&[good[0].clone(), back]), Err(ChainError::Back { sequence: 2 }));
    let mut damaged = good.clone();
    damaged[1].signature.0[0] ^= 1;
    let source = OpenError::Signature;
    assert_eq!(Chain::read(&damaged), Err(ChainError::Open { sequence: 2, source }));
    let endless = vec![good[0].clone(); 257];
    assert_eq!(Chain::read(&endless), Err(ChainError::TooLong { count: 257 }));
}

#[test]
fn a_chain_that_was_seen_only_grows() {
    let keys = keys(4);
    let owner = owner(&keys);
    let of = |keys: &[SigningKey]| Chain::read(&chain(&owner, keys)).unwrap();
    let mut seen = Seen::default();
    assert_eq!(seen.newest(&owner), None);
    seen.take_chain(&of(&keys[..3])).unwrap();
    assert_eq!(seen.newest(&owner), Some(keys[2].verifying()));
    let shorter = Stale::ShorterChain { owner: owner.clone(), given: 1, seen: 2 };
    assert_eq!(seen.take_chain(&of(&keys[..2])), Err(shorter));
    let mut thief = self::keys(2);
    thief.extend([key(Role::Tenant, "a thief"), key(Role::Tenant, "and on")]);
    let forked = Err(Stale::ForkedChain { owner: owner.clone() });
    assert_eq!(seen.take_chain(&of(&thief[..3])), forked, "as long");
    assert_eq!(seen.take_chain(&of(&thief)), forked, "longer");
    assert_eq!(seen.newest(&owner), Some(keys[2].verifying()));
    seen.take_chain(&of(&keys)).unwrap();
    seen.take_chain(&of(&keys)).unwrap();
    assert_eq!(seen.newest(&owner), Some(keys[3].verifying()));
}

fn mark(version: u64, words: u8) -> Mark {
    Mark { version, digest: Digest([words; 32]) }
}

#[test]
fn a_version_is_one_statement_and_never_an_older_one() {
    let mut seen = Seen::default();
    let farm = || Object::Farm("alpha".parse().unwrap());
    seen.take(farm(), mark(3, 0)).unwrap();
    seen.take(farm(), mark(3, 0)).unwrap();
    assert_eq!(seen.take(farm(), mark(3, 1)), Err(Stale::Forked { version: 3 }));
    assert_eq!(seen.take(farm(), mark(2, 0)), Err(Stale::Older { version: 2, seen: 3 }));
    assert_eq!(seen.mark(&farm()), Some(mark(3, 0)), "what is refused is not remembered");
    seen.take(farm(), mark(9, 1)).unwrap();
    seen.take(Object::Node("alpha".parse().unwrap()), mark(1, 0)).unwrap();
    assert_eq!(seen.mark(&farm()), Some(mark(9, 1)));
}

#[test]
fn devices_are_forgotten_with_the_grant_they_were_for() {
    let mut seen = Seen::default();
    let key = |index: &str| ResourceKey { number: 1_u16.try_into().unwrap(), index: index.parse().unwrap() };
    let device = |index: &str, generation, node: &str| Object::Device {
        key: key(index),
        generation: Generation(generation),
        node: node.parse().unwrap(),
    };
    seen.take(Object::Grant(key("1abc")), mark(1, 0)).unwrap();
    for object in [device("1abc", 1, "0"), device("1abc", 1, "zebra"), device("1abd", 1, "ant")] {
        seen.take(object, mark(8, 0)).unwrap();
    }
    seen.take(Object::Grant(key("1abc")), mark(2, 0)).unwrap();
    seen.take(device("1abc", 2, "ant"), mark(1, 0)).unwrap();
    assert_eq!(seen.mark(&device("1abc", 1, "0")), None);
    assert_eq!(seen.mark(&device("1abc", 1, "zebra")), None);
    assert_eq!(seen.mark(&device("1abd", 1, "ant")), Some(mark(8, 0)), "another prefix");
    seen.take(Object::Grant(key("1abc")), mark(2, 0)).unwrap();
    assert_eq!(seen.mark(&device("1abc", 2, "ant")), Some(mark(1, 0)), "the same grant again");
}

#[test]
fn a_number_is_an_allocations_for_ever() {
    let mut seen = Seen::default();
    let of = |prefix: &str, number: u16| {
        Allocation::new(prefix.parse().unwrap(), number.try_into().unwrap()).unwrap()
    };
    seen.take_number(of("2001:db8:a::/48", 1)).unwrap();
    seen.take_number(of("2001:db8:a::/48", 1)).unwrap();
    seen.take_number(of("2001:db8:b::/48", 2)).unwrap();
    for bad in [of("2001:db8:a::/48", 2), of("2001:db8:a::/48", 3), of("2001:db8:c::/48", 1)] {
        assert_eq!(seen.take_number(bad), Err(Stale::Renumbered { allocation: bad }));
        assert!(!seen.knows(bad));
    }
    assert!(seen.knows(of("2001:db8:a::/48", 1)) && seen.knows(of("2001:db8:b::/48", 2)));
}

/// A registry that makes up tenants for ever fills nobody's disk.
#[test]
fn no_more_is_remembered_than_there_is_room_for() {
    let mut seen = Seen::default();
    for at in 0..sixfold_core::limit::SEEN_MAX {
        seen.take(Object::Node(format!("n{at}").parse().unwrap()), mark(1, 0)).unwrap();
    }
    let one_more = Object::Node("one-more".parse().unwrap());
    assert_eq!(seen.take(one_more, mark(1, 0)), Err(Stale::Full));
    seen.take(Object::Node("n7".parse().unwrap()), mark(2, 0)).unwrap();
}
