//! What an honest registry sends is admitted whole: signed, shown and judged, a world is the snapshot that it was. And what
//! owners change is followed: keys, versions, nodes.

use std::fmt::Write as _;

use proptest::prelude::*;
use sixfold_core::id::NodeId;
use sixfold_core::model::{Family, NodeDraft, Reach, Seat};
use sixfold_core::trust::{
    Admitted, Evidence, NetworkStatement, NodeStatement, Owner, Pins, Proofs, Refusal, Role, Seen, Signed,
    Subject, VerifyingKey, Voucher, admit,
};

use super::realm::{Realm, any_realm, id, key, registry};
use crate::farm::Farm;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_an_honest_registry_sends_is_the_snapshot_it_would_have_made(realm in any_realm()) {
        for node in realm.farm.nodes() {
            let proofs = realm.proofs(&node);
            let bytes = serde_json::to_vec(&proofs).unwrap();
            let (read, unknown) = Proofs::read(&bytes).unwrap();
            prop_assert_eq!((&read, unknown.len()), (&proofs, 0));
            let admitted = admit(&read, &realm.pins(&node), &Seen::default(), &node);
            prop_assert_eq!(&admitted.refusals, &vec![]);
            let snapshot = admitted.snapshot.clone().unwrap();
            prop_assert_eq!(&snapshot, &realm.farm.snapshot(&node));
            prop_assert_eq!(snapshot.faults(), []);

            // The same again is no news, with what was seen kept on disk in between.
            let kept: Seen = serde_json::from_slice(&serde_json::to_vec(&admitted.seen).unwrap()).unwrap();
            prop_assert_eq!(&kept, &admitted.seen);
            prop_assert_eq!(admit(&proofs, &realm.pins(&node), &kept, &node), admitted);
        }
    }
}

fn names(realm: &Realm, text: &str) -> String {
    let mut text = text.to_owned();
    for (owner, name) in &realm.names {
        text = text.replace(owner.id.as_str(), name);
    }
    text
}

fn said(realm: &Realm, admitted: &Admitted) -> Vec<String> {
    let words = |refusal: &Refusal| {
        let cause = std::error::Error::source(refusal).map(|cause| format!(": {cause}")).unwrap_or_default();
        names(realm, &format!("{refusal}{cause}"))
    };
    admitted.refusals.iter().map(words).collect()
}

fn node(name: &str) -> NodeId {
    id(Role::Node, name).into()
}

fn networks(realm: &Realm, admitted: &Admitted) -> Vec<String> {
    let snapshot = admitted.snapshot.as_ref().unwrap();
    snapshot.networks.iter().map(|network| names(realm, &network.id.to_string())).collect()
}

#[test]
fn a_verdict_names_all_who_vouch_for_a_resource() {
    let realm = Realm::of(&Farm::first());
    let proofs = realm.proofs(&node("ant"));
    let registry = registry().verifying().owner(Role::Registry);
    let (evidence, _) = Evidence::open(&proofs, &registry, &Seen::default());
    assert_eq!(evidence.refusals(), []);
    let network = realm.farm.world.networks().keys().next().unwrap();
    let mut told = String::new();
    for verdict in evidence.verdicts(network) {
        let standing = verdict.standing.as_ref().unwrap();
        assert!(standing.device.is_ok());
        writeln!(told, "{:?} on {}", verdict.seat, standing.node.id()).unwrap();
        for Voucher { owner, object, version, key } in &verdict.vouchers {
            let is_its = *key == registry_or(&realm, owner);
            assert!(is_its, "{owner}");
            writeln!(told, "  {owner}: {object}, version {version}").unwrap();
        }
    }
    let told = names(&realm, &told).replace(registry.id.as_str(), "REGISTRY");
    insta::assert_snapshot!(told);
    assert_eq!(evidence.verdicts(&"nobody/web".parse().unwrap()), []);
}

fn registry_or(realm: &Realm, owner: &Owner) -> VerifyingKey {
    if owner.role == Role::Registry { registry().verifying() } else { realm.key_of(owner).verifying() }
}

#[test]
fn what_a_replaced_key_signs_counts_no_more() {
    let mut realm = Realm::of(&Farm::first());
    let ant = node("ant");
    let acme = realm.farm.world.networks().keys().find(|id| id.tenant == tenant("acme")).unwrap().clone();
    let owner = Owner::tenant(&acme.tenant);
    let before = realm.proofs(&ant);
    let keys = [realm.key_of(&owner), key(Role::Tenant, "acme's next")];
    let statement: NetworkStatement = realm.dossier.networks[&acme].open().unwrap();
    realm.dossier.rotations.insert(owner.clone(), super::going_on::chain(&owner, &keys));
    realm.dossier.networks.insert(acme.clone(), Signed::new(&statement, &keys[1]));
    let (proofs, pins) = (realm.proofs(&ant), realm.pins(&ant));
    let fresh = admit(&proofs, &pins, &Seen::default(), &ant);
    assert_eq!((said(&realm, &fresh), fresh.snapshot.clone()), (vec![], Some(realm.farm.snapshot(&ant))));

    // What the old key signed, whatever its version: from now on it is anybody's.
    let newer = NetworkStatement { version: 9, ..statement.clone() };
    for stolen in [before.clone(), Proofs { networks: vec![Signed::new(&newer, &keys[0])], ..before.clone() }]
    {
        let admitted = admit(&stolen, &pins, &fresh.seen, &ant);
        assert!(!networks(&realm, &admitted).contains(&"acme/web".to_owned()));
        let wanted = "network acme/web is signed by a key that its owner replaced";
        assert!(said(&realm, &admitted).contains(&wanted.to_owned()), "{:?}", said(&realm, &admitted));
    }
    // Without the chain the next key is nobody's; who has seen the chain needs it no more.
    let without = Proofs { rotations: vec![], ..proofs.clone() };
    assert_eq!(admit(&without, &pins, &fresh.seen, &ant).snapshot, fresh.snapshot);
    let stranger = admit(&without, &pins, &Seen::default(), &ant);
    assert!(!networks(&realm, &stranger).contains(&"acme/web".to_owned()));
    // Another chain, by whoever has the old key.
    let thief = [realm.key_of(&owner), key(Role::Tenant, "a thief's")];
    let forked = Proofs {
        rotations: vec![super::going_on::chain(&owner, &thief)],
        networks: vec![Signed::new(&newer, &thief[1])],
        ..before
    };
    let admitted = admit(&forked, &pins, &fresh.seen, &ant);
    assert_eq!(networks(&realm, &admitted), Vec::<String>::new());
    insta::assert_snapshot!(said(&realm, &admitted)[..2].join("\n"));
}

fn tenant(name: &str) -> sixfold_core::id::TenantId {
    id(Role::Tenant, name).into()
}

#[test]
fn a_network_that_was_deleted_does_not_come_back() {
    let mut realm = Realm::of(&Farm::first());
    let ant = node("ant");
    let acme = realm.farm.world.networks().keys().find(|id| id.tenant == tenant("acme")).unwrap().clone();
    let before = realm.proofs(&ant);
    let gone = NetworkStatement { version: 2, subject: Subject::Deleted(acme.clone()) };
    let key = realm.key_of(&Owner::tenant(&acme.tenant));
    realm.dossier.networks.insert(acme, Signed::new(&gone, &key));
    let pins = realm.pins(&ant);
    let after = admit(&realm.proofs(&ant), &pins, &Seen::default(), &ant);
    assert_eq!(networks(&realm, &after), ["globex/lab"]);
    let again = admit(&before, &pins, &after.seen, &ant);
    assert_eq!(networks(&realm, &again), ["globex/lab"]);
    assert!(
        said(&realm, &again)
            .contains(&"network acme/web is refused: version 1 is older than 2, which was seen".to_owned())
    );
}

/// The farmer names the holder; the holder must say that it is there, and be reachable.
#[test]
fn a_holder_that_is_hidden_or_elsewhere_is_no_exit() {
    let realm = Realm::of(&Farm::first());
    let (ant, bee) = (node("ant"), node("bee"));
    let key = realm.key_of(&Owner::node(&ant));
    let own: NodeStatement = realm.dossier.nodes[&ant].open().unwrap();
    let reach = Reach::Hidden { families: [Family::Ipv4].into() };
    let hidden = NodeDraft { reach, ..own.node.clone().into() };
    let hidden = NodeStatement { version: 2, node: hidden.try_into().unwrap(), ..own.clone() };
    let elsewhere = NodeStatement { version: 2, farm: "elsewhere".parse().unwrap(), ..own.clone() };
    for (statement, wanted) in [
        (hidden.clone(), "node ant holds the slot and is hidden"),
        (elsewhere.clone(), "node ant holds the slot and says that it is in farm elsewhere"),
    ] {
        let mut proofs = realm.proofs(&bee);
        proofs.nodes.push(Signed::new(&statement, &key));
        let admitted = admit(&proofs, &realm.pins(&bee), &Seen::default(), &bee);
        let left_out = said(&realm, &admitted).iter().filter(|words| words.ends_with(wanted)).count();
        assert_eq!(left_out, 2, "both networks' exit points: {:?}", said(&realm, &admitted));
        let snapshot = admitted.snapshot.unwrap();
        assert!(snapshot.networks.iter().flat_map(|view| &view.resources).all(|r| r.seat != Seat::Exit));
        assert_eq!(snapshot.faults(), []);
    }
    // To the holder itself: without an exit point it has no gateway for it either; in another farm it is nobody.
    let mut proofs = realm.proofs(&ant);
    proofs.nodes.push(Signed::new(&hidden, &key));
    let snapshot = admit(&proofs, &realm.pins(&ant), &Seen::default(), &ant).snapshot.unwrap();
    assert!(snapshot.gateways.iter().all(|gateway| gateway.exits.is_empty()));
    assert_eq!(snapshot.faults(), []);
    proofs.nodes.push(Signed::new(&NodeStatement { version: 3, ..elsewhere }, &key));
    let admitted = admit(&proofs, &realm.pins(&ant), &Seen::default(), &ant);
    assert_eq!(admitted.snapshot, None);
    assert_eq!(
        said(&realm, &admitted).last().unwrap(),
        "node ant says that it is in farm elsewhere, and it joined farm alpha"
    );
}

#[test]
fn without_itself_and_its_farm_a_node_has_no_snapshot() {
    let realm = Realm::of(&Farm::first());
    let bee = node("bee");
    let judged = |proofs: Proofs| {
        let admitted = admit(&proofs, &realm.pins(&bee), &Seen::default(), &bee);
        assert_eq!(admitted.snapshot, None);
        said(&realm, &admitted).pop().unwrap()
    };
    let truth = realm.proofs(&bee);
    assert_eq!(judged(Proofs::default()), "nothing that node bee says of itself is here");
    let no_farm = judged(Proofs { farms: vec![], ..truth.clone() });
    assert_eq!(no_farm, "nothing that the owner of farm alpha says is here");
    let other_registry = Pins { registry: key(Role::Registry, "another").verifying(), ..realm.pins(&bee) };
    let admitted = admit(&truth, &other_registry, &Seen::default(), &bee);
    assert_eq!(networks(&realm, &admitted), Vec::<String>::new(), "nothing is granted");
    assert!(said(&realm, &admitted)[0].starts_with("groups[0] is signed by another key"));
}
