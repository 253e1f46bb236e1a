//! Every name fits, no two are alike, and each leads back to what it was made from.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn numbers() -> [AllocationNumber; 3] {
    [1_u16, 2, 65_535].map(|n| AllocationNumber::try_from(n).unwrap())
}

fn grantable(index: u16) -> bool {
    (0x1000..0xff00).contains(&index)
}

#[test]
fn every_name_fits() {
    assert_eq!(local(0xffff, AllocationNumber::LAST).as_str(), "veth-ffff-65535");
    assert_eq!(
        netns_workload(0xffff, AllocationNumber::LAST, WorkloadNumber::LAST).as_str(),
        "load-ffff-65535-254"
    );
    assert_eq!(port(WorkloadNumber::LAST).as_str(), "port-254");
    assert_eq!(netns_gateway(ExitSlot::LAST, AllocationNumber::LAST).as_str(), "gw-15-65535");
}

#[test]
fn no_two_links_share_a_name() {
    let mut seen = BTreeSet::from([loopback(), workload_link(), public_link(), translated_port()]);
    assert_eq!(seen.len(), 4);
    for k in WorkloadNumber::all() {
        assert!(seen.insert(port(k)));
    }
    for n in numbers() {
        for index in 0..=u16::MAX {
            for make in [wireguard, exit_public, gateway_to_exit, local, bridge] {
                assert!(seen.insert(make(index, n)), "{} is there twice", make(index, n));
            }
        }
        for slot in ExitSlot::all() {
            assert!(seen.insert(gateway_public(slot, n)));
        }
    }
}

/// `pub-1-1` and `pub-1abc-1`: the middle is one or two characters in the one and four in the other, for every slot,
/// every index and every n, as neither middle holds a hyphen.
#[test]
fn the_two_kinds_of_pub_never_collide() {
    for n in AllocationNumber::all() {
        for slot in ExitSlot::all() {
            let name = gateway_public(slot, n);
            let middle =
                name.as_str().strip_prefix("pub-").and_then(|rest| rest.strip_suffix(&format!("-{n}")));
            assert!(matches!(middle, Some(x) if x.len() < 4 && !x.contains('-')));
        }
    }
    for index in 0..=u16::MAX {
        for n in numbers() {
            let name = exit_public(index, n);
            let middle =
                name.as_str().strip_prefix("pub-").and_then(|rest| rest.strip_suffix(&format!("-{n}")));
            assert!(matches!(middle, Some(nib) if nib.len() == 4 && !nib.contains('-')));
        }
    }
}

#[test]
fn every_namespace_leads_back_to_its_role() {
    assert_eq!(netns_public().role(), Some(NetnsRole::Public));
    for n in numbers() {
        for index in 0..=u16::MAX {
            let wanted = grantable(index).then_some(NetnsRole::Resource { index, n });
            assert_eq!(netns_resource(index, n).role(), wanted);
            let k = WorkloadNumber::try_from(2 + (index % 253) as u8).unwrap();
            let wanted = grantable(index).then_some(NetnsRole::Workload { index, n, k });
            assert_eq!(netns_workload(index, n, k).role(), wanted);
            assert_eq!(bridge(index, n).role(), grantable(index).then_some(LinkRole::Bridge { index, n }));
            assert_eq!(wireguard(index, n).is_ours(), grantable(index));
        }
    }
    for (slot, n) in ExitSlot::all().flat_map(|slot| AllocationNumber::all().map(move |n| (slot, n))) {
        assert_eq!(netns_gateway(slot, n).role(), Some(NetnsRole::Gateway { slot, n }));
    }
}

#[test]
fn another_spelling_is_foreign() {
    let foreign = [
        "net-1ABC-1",
        "net-1abc-01",
        "net-1abc-0",
        "net-1abc-65536",
        "net-1abc-+1",
        "net-01abc-1",
        "net-abc-1",
        "net-+abc-1",
        "net-1abc",
        "net-1abc-",
        "net-1abc-1-2",
        "net-0abc-1",
        "net-ff00-1",
        "gw-0-1",
        "gw-16-1",
        "gw-01-1",
        "gw-1",
        "gw-1-1-1",
        "load-1abc-1",
        "load-1abc-1-1",
        "load-1abc-1-255",
        "load-1abc-1-02",
        "public-1",
        "Public",
        "qrouter-1",
        "net",
        "cni-1abc-1",
    ];
    for name in foreign {
        assert_eq!(NetnsName::try_from(name).unwrap().role(), None, "{name}");
    }
    for name in [
        "br-0123456789ab",
        "br-1ABC-1",
        "br-1abc-01",
        "br0",
        "br-lan",
        "wg0",
        "veth-1abc-1",
        "docker0",
        "pub-1-1",
    ] {
        assert!(!IfName::try_from(name).unwrap().is_ours(), "{name}");
    }
}

#[test]
fn refused_names_say_what_is_wrong() {
    let said = |text: &str| IfName::try_from(text).unwrap_err().to_string();
    assert_eq!(said(""), "a kernel name is empty");
    assert_eq!(said("veth-ffff-65535x"), "a kernel name of 16 bytes is longer than 15");
    assert_eq!(said("a/b"), "'/' in a kernel name");
    assert_eq!(said("a b"), "' ' in a kernel name");
    assert_eq!(said("eth%d"), "'%' in a kernel name");
    assert_eq!(said(".."), "a kernel name that a path or a command would read as something else");
    assert_eq!(said("-j"), "a kernel name that a path or a command would read as something else");
    assert!(NetnsName::try_from("a".repeat(33).as_str()).is_err());
    assert!(serde_json::from_str::<IfName>("\"a/b\"").is_err());
}

proptest! {
    #[test]
    fn names_read_as_written_and_sort_as_text(a in "[a-z0-9._+@][a-z0-9._+@-]{0,14}", b in "[a-z0-9._+@][a-z0-9._+@-]{0,14}") {
        prop_assume!(![".", ".."].contains(&a.as_str()) && ![".", ".."].contains(&b.as_str()));
        let (first, second) = (a.parse::<IfName>().unwrap(), b.parse::<IfName>().unwrap());
        prop_assert_eq!(first.to_string(), a.clone());
        prop_assert_eq!(first.cmp(&second), a.cmp(&b));
    }

    #[test]
    fn any_role_is_spelled_canonically(text in "(net|gw|load)-[0-9a-f]{1,5}-[0-9]{1,6}(-[0-9]{1,3})?") {
        let name: NetnsName = text.parse().unwrap();
        let again = name.role().map(|role| match role {
            NetnsRole::Resource { index, n } => netns_resource(index, n),
            NetnsRole::Gateway { slot, n } => netns_gateway(slot, n),
            NetnsRole::Workload { index, n, k } => netns_workload(index, n, k),
            NetnsRole::Egress => netns_egress(),
            NetnsRole::Public => netns_public(),
        });
        prop_assert!(again.is_none_or(|made| made == name));
    }
}

#[test]
fn a_name_like_ours_is_told_from_ours_and_from_anything_else() {
    for (name, alike) in [
        ("net-0fff-1", true),
        ("net-ff00-1", true),
        ("net-1FFF-1", true),
        ("gw-01-1", true),
        ("gw-16-1", true),
        ("load-1fff-1-", true),
        ("net-1fff-1", false),
        ("gw-1-1", false),
        ("public", false),
        ("net-of-theirs", false),
        ("cni-1234", false),
        ("net", false),
    ] {
        assert_eq!(NetnsName::try_from(name).unwrap().is_like_ours(), alike, "{name}");
    }
}
