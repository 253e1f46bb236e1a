//! The worked cases of `testdata/addressing.json`, one by one.

use serde_json::Value;

use crate::addr::{Allocation, Gateway, PrefixIndex, Resource, Workload, carve};
use crate::id::{AllocationNumber, ExitSlot, WorkloadNumber};

fn cases(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../../testdata/addressing.json")).unwrap();
    let cases = all[kind].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "no cases of {kind}");
    cases
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn allocation(case: &Value) -> Allocation {
    let n = case.get("n").map_or(1, |n| n.as_i64().unwrap());
    Allocation::new(text(case, "allocation").parse().unwrap(), AllocationNumber::try_from(n).unwrap())
        .unwrap()
}

fn index(case: &Value) -> PrefixIndex {
    text(case, "index").parse().unwrap()
}

/// Compares, and counts the fields, so that a field added to the cases cannot be passed over.
fn agree(case: &Value, inputs: usize, derived: &[(&str, String)]) {
    for (field, value) in derived {
        assert_eq!(text(case, field), value, "{field} of {case}");
    }
    assert_eq!(case.as_object().unwrap().len(), inputs + derived.len(), "fields of {case}");
}

#[test]
fn resources() {
    for case in cases("resources") {
        let r = Resource::derive(&allocation(&case), index(&case));
        assert_eq!(case["slot"], r.index.slot().get());
        assert_eq!(case["wg_port"], r.wireguard_port);
        agree(
            &case,
            5, // allocation, n, index, and the two numbers above
            &[
                ("prefix", r.prefix.to_string()),
                ("netns", r.netns.to_string()),
                ("wg_name", r.wireguard.to_string()),
                ("wg_ll", r.wireguard_address.to_string()),
                ("wg_ip4", r.wireguard_address_v4.to_string()),
                ("bridge", r.bridge.to_string()),
                ("local_name", r.local.to_string()),
                ("local_ip6", format!("{}/64", r.local_address)),
                ("local_ip4", format!("{}/24", r.local_address_v4)),
                ("ep_pub_name", r.exit_public.to_string()),
                ("ep_pub_ll", r.exit_public_address.to_string()),
                ("ep_pub_ip4r", format!("{}/32", r.exit_loopback_v4)),
                ("gw_to_ep_name", r.to_exit.to_string()),
                ("gw_to_ep_ll", r.to_exit_address.to_string()),
                ("gw_to_ep_mac", r.to_exit_mac.to_string()),
                ("ep_pub_mac", r.exit_public_mac.to_string()),
            ],
        );
        assert_eq!(r.prefix_v4.to_string(), text(&case, "local_ip4").replace(".1/24", ".0/24"));
    }
}

#[test]
fn gateways() {
    for case in cases("gateways") {
        let slot = ExitSlot::try_from(case["slot"].as_i64().unwrap()).unwrap();
        let g = Gateway::derive(&allocation(&case), slot);
        agree(
            &case,
            3, // allocation, n, slot
            &[
                ("slice", g.slice.to_string()),
                ("netns", g.netns.to_string()),
                ("pub_name", g.public.to_string()),
                ("pub_ll", g.public_link_local.to_string()),
                ("pub_ip6", g.public_address.to_string()),
                ("pub_mac", g.public_mac.to_string()),
            ],
        );
    }
}

#[test]
fn workloads() {
    for case in cases("workloads") {
        let k = WorkloadNumber::try_from(case["k"].as_i64().unwrap()).unwrap();
        let w = Workload::derive(&allocation(&case), index(&case), k);
        agree(
            &case,
            3, // allocation, index, k
            &[
                ("port", w.port.to_string()),
                ("ip6", w.address.to_string()),
                ("ip4", w.address_v4.to_string()),
                ("near_mac", w.near_mac.to_string()),
                ("far_mac", w.far_mac.to_string()),
            ],
        );
    }
}

#[test]
fn refused() {
    for case in cases("refused") {
        let said = match case["index"].as_str() {
            Some(index) => index.parse::<PrefixIndex>().unwrap_err().to_string(),
            None => carve(text(&case, "allocation").parse().unwrap()).unwrap_err().to_string(),
        };
        assert!(said.contains(text(&case, "because")), "{said:?} of {case}");
    }
}

#[test]
fn carving() {
    for case in cases("carving") {
        let carving = carve(text(&case, "allocation").parse().unwrap()).unwrap();
        assert_eq!(case["of_48"], carving.count(48));
        if let Some(of_40) = case.get("of_40") {
            assert_eq!(*of_40, carving.count(40));
        }
        assert_eq!(text(&case, "first_48"), carving.allocations().next().unwrap().to_string());
        assert_eq!(text(&case, "last_48"), carving.allocations().next_back().unwrap().to_string());
    }
}
