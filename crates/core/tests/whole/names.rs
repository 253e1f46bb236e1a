//! Names that people write, and the ids that owners sign.

use sixfold_core::id::{FarmId, Label, NodeId, TenantId};
use sixfold_core::model::SlotKey;
use sixfold_core::spec::{Names, NamesError, Tenant, parse_farm, parse_network};

const FARM: &str = include_str!("../../../../examples/first-farm/farm.toml");
const ACME: &str = include_str!("../../../../examples/first-farm/acme.toml");

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

fn farm(text: &str) -> FarmId {
    label(text).into()
}

fn node(text: &str) -> NodeId {
    label(text).into()
}

/// Two farms, each with a node `cat`; and somebody who calls a node by the id of another.
fn names() -> Names {
    let mut names = Names::default();
    let slots: [SlotKey; 2] = ["2001:db8:a::/48#1", "2001:db8:a::/48#2"].map(|key| key.parse().unwrap());
    let nodes = [("id-ant", "ant"), ("id-bee", "bee"), ("id-cat", "cat")];
    names.add(farm("id-alpha"), label("alpha"), slots, nodes.map(|(id, name)| (node(id), label(name))));
    let others = [("id-other-cat", "cat"), ("id-thief", "id-ant")];
    names.add(farm("id-beta"), label("beta"), [], others.map(|(id, name)| (node(id), label(name))));
    names
}

#[test]
fn a_word_is_an_id_or_the_name_of_one() {
    let names = names();
    assert_eq!(names.farm(&label("alpha")), Ok(&farm("id-alpha")));
    assert_eq!(names.farm(&label("id-beta")), Ok(&farm("id-beta")));
    assert_eq!(names.node(&label("bee")), Ok(&node("id-bee")));
    assert_eq!(names.node(&label("id-ant")), Ok(&node("id-ant")), "whatever another calls itself");
    assert_eq!(names.node_of(&farm("id-beta"), &label("cat")), Ok(&node("id-other-cat")));
    let several = names.node(&label("cat")).unwrap_err();
    let words = "cat is the name of several nodes: id-cat in farm alpha, id-other-cat in farm beta";
    assert_eq!(
        (several.to_string().as_str(), several.hint().as_str()),
        (words, "write the id of the one that is meant")
    );
    let unknown = names.node_of(&farm("id-beta"), &label("bee")).unwrap_err();
    assert!(matches!(unknown, NamesError::Unknown { near: None, .. }), "{unknown:?}");
    assert_eq!(names.farm(&label("alphas")).unwrap_err().hint(), "did you mean alpha?");
    assert_eq!(
        (names.of_farm(&farm("id-beta")), names.of_node(&node("id-ant"))),
        (Some(&label("beta")), Some(&label("ant")))
    );
}

#[test]
fn a_network_is_signed_with_ids_and_by_its_own_tenant_only() {
    let unique = {
        let mut names = names();
        names.add(farm("id-beta"), label("beta"), [], []);
        names
    };
    let id: TenantId = label("abcdefghijklmnopqrstuvwxyz").into();
    let resolve = |text: &str, name, names: &Names| {
        let spec = parse_network(text, "acme.toml").unwrap();
        spec.resolve(Tenant { id: &id, name }, names).map_err(|problems| problems.to_string())
    };
    let network = resolve(ACME, Some("acme"), &unique).unwrap();
    assert_eq!(network.id().to_string(), format!("{id}/web"));
    assert_eq!(
        network.nodes().iter().map(NodeId::as_str).collect::<Vec<_>>(),
        ["id-ant", "id-bee", "id-cat"]
    );
    assert_eq!((network.exit().farm.as_str(), network.workloads()[2].node.as_str()), ("id-alpha", "id-cat"));
    // The same network, whichever way it is written.
    let by_id = ACME.replace("\"ant\"", "\"id-ant\"").replace("\"acme\"", &format!("\"{id}\""));
    assert_eq!(resolve(&by_id, Some("globex"), &unique), Ok(network.clone()));
    assert_eq!(resolve(ACME, None, &unique), Ok(network));
    let other = resolve(ACME, Some("globex"), &unique).unwrap_err();
    assert!(other.contains("acme.toml:2: tenant acme is not globex, whose key this is"), "{other}");
    let foreign = by_id.replace(id.as_str(), "zyxwvutsrqponmlkjihgfedcba");
    let other = resolve(&foreign, None, &unique).unwrap_err();
    assert!(other.contains(&format!("is not {id}, whose key this is")), "{other}");
    let several = resolve(ACME, None, &names()).unwrap_err();
    assert!(several.contains("acme.toml:4: cat is the name of several nodes"), "{several}");
}

#[test]
fn a_farms_holders_are_its_own_nodes() {
    let spec = || parse_farm(FARM, "farm.toml").unwrap();
    let declared = spec().declare(&farm("id-alpha")).unwrap();
    assert_eq!(
        (declared.name.as_str(), declared.draft.nodes.len(), declared.draft.slots.len()),
        ("alpha", 0, 2)
    );
    let resolved = spec().resolve(&farm("id-alpha"), &names()).unwrap();
    assert_eq!(resolved.draft.slots[0].holders, [node("id-ant"), node("id-bee")]);
    let other = spec().resolve(&farm("id-beta"), &names()).unwrap_err().to_string();
    assert!(other.contains("farm.toml:30: there is no node ant"), "{other}");
    // A tenant is its id: anybody may be called acme.
    let id = "abcdefghijklmnopqrstuvwxyz/web";
    for (network, is_known) in [(id, true), ("acme/web", false)] {
        let own = format!("slot = 1\nbandwidth_of = {{ \"{network}\" = \"1 Gbit/s\" }}");
        let declared = parse_farm(&FARM.replacen("slot = 1", &own, 1), "farm.toml").unwrap();
        let declared = declared.declare(&farm("id-alpha")).map_err(|problems| problems.to_string());
        match declared {
            Ok(farm) => assert!(is_known && farm.draft.slots[0].bandwidth.of(&id.parse().unwrap()).is_some()),
            Err(words) => {
                assert!(!is_known && words.contains("farm.toml:30: acme/web names its tenant"), "{words}")
            }
        }
    }
    // What the file itself gets wrong is said without any registry.
    let wrong = FARM.replace("default_v4 = \"203.0.113.1\"\n\n[[slot]]", "\n[[slot]]");
    let wrong = parse_farm(&wrong, "farm.toml").unwrap().declare(&farm("id-alpha")).unwrap_err();
    assert_eq!(wrong.len(), 1, "{wrong}");
}
