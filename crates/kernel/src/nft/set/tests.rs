//! Elements and their keys, without a kernel.

use super::*;

fn prefixes(list: &[&str]) -> Vec<Element> {
    list.iter().map(|prefix| Element::Prefix(prefix.parse().unwrap())).collect()
}

fn through_keys(kind: SetKind, elements_in: &[Element]) -> Vec<Element> {
    let each = shape(kind).map(|shape| shape.each).unwrap_or_default();
    let as_dumped = |key| Key { each, ..key };
    elements(kind, elements_in.iter().flat_map(keys).map(as_dumped).collect())
}

#[test]
fn a_prefix_ends_before_the_next_address_or_not_at_all() {
    let ends = |prefix: &str| {
        keys(&prefixes(&[prefix])[0]).into_iter().map(|key| (key.bytes, key.end)).collect::<Vec<_>>()
    };
    assert_eq!(ends("192.0.2.0/25"), [(vec![192, 0, 2, 0], false), (vec![192, 0, 2, 128], true)]);
    assert_eq!(ends("255.255.255.0/24"), [(vec![255, 255, 255, 0], false)]);
    assert_eq!(ends("0.0.0.0/0"), [(vec![0; 4], false)]);
}

#[test]
fn prefixes_that_touch_stay_apart() {
    for list in [
        &["192.0.2.0/25", "192.0.2.128/25", "192.0.3.0/24"][..],
        &["0.0.0.0/8", "255.255.255.255/32"],
        &["0.0.0.0/0"],
        &["0.0.0.0/1", "128.0.0.0/1"],
    ] {
        assert_eq!(through_keys(SetKind::PrefixesV4, &prefixes(list)), prefixes(list));
    }
    let v6 = ["::/128", "::1/128", "2001:db8::/33", "2001:db8:8000::/33", "ff00::/8"];
    assert_eq!(through_keys(SetKind::Prefixes, &prefixes(&v6)), prefixes(&v6));
}

#[test]
fn an_end_that_ends_nothing_is_ignored() {
    let mut found: BTreeSet<Key> = prefixes(&["192.0.2.0/24"]).iter().flat_map(keys).collect();
    found.insert(Key { bytes: vec![0; 4], end: true, ..Key::default() });
    assert_eq!(elements(SetKind::PrefixesV4, found), prefixes(&["192.0.2.0/24"]));
}

#[test]
fn a_range_that_is_no_prefix_is_unknown_and_has_the_same_keys() {
    let range = interval(vec![192, 0, 2, 1], vec![192, 0, 2, 9]);
    let found = elements(SetKind::PrefixesV4, range.iter().cloned().collect());
    assert_eq!(found, [Element::Unknown(vec![192, 0, 2, 1, 192, 0, 2, 9])]);
    assert_eq!(keys(&found[0]), range);
}

#[test]
fn services_and_ports_are_read_as_they_were_written() {
    let v6 = "2001:db8::1".parse().unwrap();
    let services = vec![Element::Service(v6, Protocol::Tcp, 443), Element::Service(v6, Protocol::Udp, 53)];
    assert_eq!(through_keys(SetKind::Services, &services), services);
    assert_eq!(keys(&services[0])[0].bytes.len(), 24);
    let v4 = vec![Element::ServiceV4("192.0.2.1".parse().unwrap(), Protocol::Icmp, 0)];
    assert_eq!(through_keys(SetKind::ServicesV4, &v4), v4);
    assert_eq!(through_keys(SetKind::Ports, &[Element::Port(53)]), [Element::Port(53)]);
}

#[test]
fn a_service_of_another_protocol_is_unknown_and_keeps_its_key() {
    let mut key = service(&[192, 0, 2, 1], Protocol::Tcp, 80);
    key[4] = 132;
    let found = elements(SetKind::ServicesV4, BTreeSet::from([Key { bytes: key.clone(), ..Key::default() }]));
    assert_eq!(found, [Element::Unknown(key.clone())]);
    assert_eq!(keys(&found[0]), [Key { bytes: key, ..Key::default() }]);
}

#[test]
fn every_kind_has_a_shape_of_its_own() {
    for wanted in kinds(Each::Over(7)).into_iter().chain(kinds(Each::Rate(7, 9))) {
        let found = shape(wanted).expect("can be made");
        assert_eq!(kind(found), wanted);
        assert_eq!(kind(Shape { flags: found.flags ^ 8, ..found }), SetKind::Unknown, "a map, or none");
    }
    assert_eq!(shape(SetKind::Unknown), None);
    let counts = shape(SetKind::LinkCounts).unwrap();
    assert_eq!(kind(Shape { each: Each::Nothing, ..counts }), SetKind::Unknown, "links that are not counted");
    assert_eq!(kind(Shape { each: Each::Other, ..counts }), SetKind::Unknown);
}

#[test]
fn links_and_their_ports_are_read_as_they_were_written() {
    let link: IfName = "to-1abc-1".parse().unwrap();
    let links = vec![Element::Link(link)];
    assert_eq!(through_keys(SetKind::LinkCounts, &links), links);
    let address = "192.0.2.1".parse().unwrap();
    let ports = vec![Element::LinkPorts(link, address, (1024, 2047))];
    assert_eq!(through_keys(SetKind::LinkPorts, &ports), ports);
    let key = keys(&ports[0]).remove(0);
    assert_eq!(key.value, [192, 0, 2, 1, 4, 0, 0, 0, 192, 0, 2, 1, 7, 255, 0, 0]);
    let other = Key { value: [192, 0, 2, 1, 4, 0, 0, 0, 192, 0, 2, 9, 7, 255, 0, 0].into(), ..key.clone() };
    let unknown = [Element::Unknown(key.bytes.clone())];
    assert_eq!(elements(SetKind::LinkPorts, BTreeSet::from([other])), unknown, "an interval of addresses");
    assert_eq!(elements(SetKind::LinkPorts, BTreeSet::from([Key { value: vec![], ..key.clone() }])), unknown);
    assert_eq!(keys(&unknown[0])[0].bytes, key.bytes, "can be taken out");
}

#[test]
fn what_stands_for_another_is_read_as_it_was_written() {
    let [one, other] = ["192.0.2.1", "10.0.0.2"].map(|address| address.parse().unwrap());
    let addresses = vec![Element::AddressV4(one, other)];
    assert_eq!(through_keys(SetKind::AddressesV4, &addresses), addresses);
    let forwards = vec![Element::ForwardV4(one, Protocol::Tcp, 443, (other, 8443))];
    assert_eq!(through_keys(SetKind::ForwardsV4, &forwards), forwards);
    let key = keys(&forwards[0]).remove(0);
    assert_eq!(key.value, [10, 0, 0, 2, 0x20, 0xfb, 0, 0]);
    let nowhere = Key { value: vec![], ..key.clone() };
    let unknown = Element::Unknown(key.bytes);
    assert_eq!(elements(SetKind::ForwardsV4, BTreeSet::from([nowhere])), [unknown]);
}

#[test]
fn a_link_with_another_share_than_its_set_says_is_unknown() {
    let key = keys(&Element::LinkShare("to-1abc-1".parse().unwrap(), 9)).remove(0);
    let kind = SetKind::LinkShares { connections: 9 };
    let read = |each| elements(kind, BTreeSet::from([Key { each, ..key.clone() }])).remove(0);
    assert!(matches!(read(Each::Over(9)), Element::LinkShare(_, 9)));
    assert!(matches!(read(Each::Over(10)), Element::Unknown(_)));
    assert!(matches!(read(Each::Nothing), Element::Unknown(_)));
    assert!(matches!(read(Each::Other), Element::Unknown(_)));
}

#[test]
fn each_link_has_a_limit_of_its_own() {
    let limit = ByteLimit { per_second: 12_500_000, burst: 65_600 };
    let key = keys(&Element::LinkBytes("to-1abc-1".parse().unwrap(), limit)).remove(0);
    let read = |each| elements(SetKind::LinkBytes, BTreeSet::from([Key { each, ..key.clone() }])).remove(0);
    assert!(matches!(read(key.each), Element::LinkBytes(_, found) if found == limit));
    assert!(matches!(read(Each::Bytes(ByteLimit::OF_SET)), Element::LinkBytes(_, ByteLimit::OF_SET)));
    assert!(matches!(read(Each::Rate(100, 50)), Element::Unknown(_)));
    assert!(matches!(read(Each::Nothing), Element::Unknown(_)));
}

#[test]
fn what_stands_for_all_other_links_has_no_key_and_its_sets_own_expressions() {
    let key = keys(&Element::OtherLinks).remove(0);
    assert!(key.bytes.is_empty() && key.others);
    let kind = SetKind::LinkRates { per_second: 100, burst: 50 };
    let read = |each| elements(kind, BTreeSet::from([Key { each, ..key.clone() }])).remove(0);
    assert_eq!(read(Each::Rate(100, 50)), Element::OtherLinks);
    let other = read(Each::Rate(100, 51));
    assert_eq!(other, Element::Unknown(Vec::new()));
    assert!(keys(&other)[0].others, "it can be taken out");
}
