//! Statements: their bytes, for ever; what is refused of them; and that no signature serves twice.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};

use proptest::prelude::*;
use sixfold_core::id::{Epoch, Generation};
use sixfold_core::key::PublicKey;
use sixfold_core::model::{
    Attachment, DeviceReport, ExitDraft, Exposure, FarmDraft, Fault, Forward, LocalV4, NetworkDraft, NicOf,
    NodeDraft, OwnNic, OwnV4, Protocol, Quotas, Reach, ResourceKey, Seat, Service, SlotDraft, SlotKey,
    Upstream, WorkloadDraft,
};
use sixfold_core::tenure::{Phase, Tenure};
use sixfold_core::trust::{
    Confirm, Delegation, DeviceOf, DeviceStatement, Digest, Dissolution, Granted, Group, Invitation,
    InvitationError, Leaf, Leaving, NetworkStatement, NodeStatement, OpenError, Owner, Reclaim, Role,
    Rotation, Signature, Signed, SigningKey, Statement, Subject, Token, TokenError, VerifyingKey, decode,
    encode,
};

use super::realm::{any_realm, id, key};

fn label<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn farm() -> FarmDraft {
    let slot = |slot: u8, holders: &[&str], v4: Option<(&str, &str)>| SlotDraft {
        public_v4: v4.map(|(public, _)| public.parse().unwrap()),
        default_v4: v4.map(|(_, default)| default.parse().unwrap()),
        ..SlotDraft::new(
            SlotKey { prefix: "2001:db8:a::/48".parse().unwrap(), slot: slot.try_into().unwrap() },
            holders.iter().map(|name| label(name)).collect(),
        )
    };
    FarmDraft {
        id: label("alpha"),
        allocations: vec!["2001:db8:a::/48".parse().unwrap()],
        upstream: Upstream { next_hop_v4: Some("203.0.113.1".parse().unwrap()), ..Upstream::default() },
        management: vec!["192.0.2.0/24".parse().unwrap(), "fd00::/8".parse().unwrap()],
        host_firewall: true,
        provisions: Vec::new(),
        nodes: vec![],
        slots: vec![
            slot(1, &["ant", "bee"], Some(("203.0.113.5/24", "203.0.113.1"))),
            slot(2, &["bee"], None),
        ],
    }
}

fn delegation() -> Delegation {
    Delegation::new(farm(), label("a-farm"), 7).unwrap()
}

fn limited() -> Delegation {
    let mut farm = farm();
    farm.slots[0].bandwidth.each = Some("100 Mbit/s".parse().unwrap());
    farm.slots[1].bandwidth.of = [(label("acme/web"), "1 Gbit/s".parse().unwrap())].into();
    Delegation::new(farm, label("a-farm"), 7).unwrap()
}

fn shared_out() -> Delegation {
    let mut farm = farm();
    farm.slots[0].quotas = Quotas { blocks: Some(8), addresses: Some(2) };
    farm.slots[1].quotas = Quotas { addresses: Some(1), ..Quotas::default() };
    Delegation::new(farm, label("a-farm"), 7).unwrap()
}

fn provided() -> Delegation {
    let mut farm = farm();
    farm.provision_of(&label("bee")).gateway_nic = Some(label("bond0.20"));
    // What says nothing is not written.
    farm.provision_of(&label("cat"));
    farm.provision_of(&label("ant")).gateway_nic = Some(label("eth1"));
    let way = LocalV4 { address: "203.0.113.21/24".parse().unwrap(), router: "203.0.113.1".parse().unwrap() };
    farm.provision_of(&label("ant")).local_v4 = Some(way);
    let of = |address: &str, protocol| Service { address: address.parse().unwrap(), protocol, port: 9000 };
    farm.provision_of(&label("bee")).services =
        vec![of("2001:db8:a::50", Protocol::Tcp), of("203.0.113.30", Protocol::Tcp)];
    let slots: Vec<SlotKey> = farm.slots.iter().map(|slot| slot.key).collect();
    let nic = |link: &str, of| OwnNic { link: label(link), of };
    let [one, two] = [slots[0], slots[1]].map(NicOf::Slot);
    farm.provision_of(&label("bee")).nics = vec![nic("eth3", two), nic("eth2", one)];
    farm.provision_of(&label("cat")).nics = vec![nic("eth4", NicOf::Network(label("acme/web")))];
    Delegation::new(farm, label("a-farm"), 7).unwrap()
}

/// The network, whose workload speaks IPv6 alone.
fn alone() -> NetworkDraft {
    let mut draft = network();
    draft.workloads[0].ipv6_only = true;
    draft
}

fn network() -> NetworkDraft {
    NetworkDraft {
        id: label("acme/web"),
        nodes: vec![label("ant"), label("cat")],
        exit: ExitDraft {
            farm: label("alpha"),
            prefix: Some("2001:db8:a::/48".parse().unwrap()),
            slot: 1_u8.try_into().unwrap(),
        },
        workloads: vec![WorkloadDraft {
            name: label("db"),
            node: label("cat"),
            number: Some(16_u8.try_into().unwrap()),
            attachment: Attachment::Namespace,
            ipv6_only: false,
            nic: None,
        }],
        exposures: vec![Exposure { workload: label("db"), protocol: Protocol::Udp, port: 53 }],
        own_v4: Default::default(),
        local_v4: false,
    }
}

fn live(draft: NetworkDraft) -> NetworkStatement {
    NetworkStatement { version: 3, subject: Subject::Live(draft.try_into().unwrap()) }
}

fn node(reach: Reach) -> NodeStatement {
    let node = NodeDraft { id: label("ant"), reach, nic: label("eth0"), mtu: 1500 };
    NodeStatement { farm: label("alpha"), name: label("an-ant"), version: 2, node: node.try_into().unwrap() }
}

fn public() -> Reach {
    let (address, v4) = ("2001:db8:a::a1/64", "203.0.113.10/24");
    Reach::Public { address: Some(address.parse().unwrap()), address_v4: Some(v4.parse().unwrap()) }
}

fn resource() -> ResourceKey {
    ResourceKey { number: 258_u16.try_into().unwrap(), index: label("1abc") }
}

fn report() -> DeviceReport {
    DeviceReport::new(PublicKey::from_bytes([9; 32]), 6844, &public())
}

fn device(report: DeviceReport) -> Result<DeviceStatement, Fault> {
    let of = DeviceOf {
        node: label("ant"),
        key: resource(),
        generation: Generation(1),
        network: label("acme/web"),
    };
    DeviceStatement::new(of, 5, report)
}

fn granted() -> Leaf {
    let (generation, network) = (Generation(1), label("acme/web"));
    let seat = Seat::Node(label("ant"));
    Leaf::Grant(Granted { key: resource(), generation, network, seat, ports: None, own_v4: None })
}

fn token(registry: &str) -> Token {
    let registry_key = key(Role::Registry, "the registry").verifying();
    Token {
        farm: label("alpha"),
        registry: registry.to_owned(),
        registry_key,
        nonce: [5; 16],
        expires: 1_800_000_000,
    }
}

fn rotation(sequence: u32) -> Rotation {
    let owner = Owner { role: Role::Tenant, id: label("acme") };
    Rotation { owner, sequence, next: key(Role::Tenant, "next").verifying() }
}

fn confirm() -> Confirm {
    Confirm {
        owner: Owner { role: Role::Farmer, id: label("alpha") },
        change: Digest([3; 32]),
        limit: 65_536,
    }
}

fn leaving() -> Leaving {
    Leaving { node: label("ant"), farm: label("alpha"), version: 3 }
}

fn reclaim() -> Reclaim {
    Reclaim { network: label("acme/web"), version: 5 }
}

fn dissolution() -> Dissolution {
    Dissolution { farm: label("alpha"), version: 7 }
}

fn invitation() -> Invitation {
    let prefixes = vec!["2001:db8:a::/48".parse().unwrap(), "2001:db8:100::/40".parse().unwrap()];
    let registry_key = key(Role::Registry, "r").verifying();
    Invitation { registry_key, nonce: [4; 16], expires: 1_800_000_000, prefixes }
}

#[test]
fn an_invitation_is_by_one_operator_to_one_registry_for_a_while() {
    let operator = key(Role::Admin, "operator");
    let text = Invitation::write(&Signed::new(&invitation(), &operator));
    let (read, signed) = Invitation::read(&format!("{text}\n")).unwrap();
    assert_eq!(read, invitation());
    let (registry, by) = (read.registry_key, Some(operator.verifying()));
    let at = |registry, by, secs| read.admits((registry, by), signed.key, secs);
    assert_eq!(at(registry, by, 1_799_999_999), Ok(()));
    assert_eq!(at(registry, by, 1_800_000_007), Err(InvitationError::Expired { secs: 7 }));
    assert_eq!(at(registry, by, 1_800_000_000 - 32 * 86_400), Ok(()));
    assert_eq!(at(registry, by, 1_800_000_000 - 33 * 86_400), Err(InvitationError::Long { days: 33 }));
    assert_eq!(at(registry, None, 0), Err(InvitationError::Signer));
    assert_eq!(at(registry, Some(registry), 0), Err(InvitationError::Signer));
    assert_eq!(at(operator.verifying(), by, 0), Err(InvitationError::Registry));
    let token = Token::write(&Signed::new(&token("a:1"), &operator));
    for bad in ["", "sixfold-farm1.", &text[..text.len() - 1], &token] {
        assert_eq!(Invitation::read(bad), Err(InvitationError::Text), "{bad}");
    }
    let forged = Signed { key: registry, ..signed.clone() };
    let forged = Invitation::read(&Invitation::write(&forged)).unwrap_err();
    assert_eq!(forged, InvitationError::Open(OpenError::Signature));
    assert!(!forged.hint().is_empty());
}

fn group() -> Group {
    Group { root: Digest([1; 32]), size: 2, serial: 9 }
}

fn tenure(phase: Phase) -> Tenure {
    let slot = (1_u16.try_into().unwrap(), 2_u8.try_into().unwrap());
    Tenure { epoch: Epoch(7), phase, ..Tenure::first(slot, label("ant")) }
}

/// Whatever is added to a statement is another kind, or another version of all of them: what was signed stays readable.
#[test]
fn the_bytes_that_are_signed_never_change() {
    let mut text = String::new();
    let mut put = |what: &str, body: Vec<u8>| {
        writeln!(text, "# {what}: {} bytes", body.len()).unwrap();
        for line in body.chunks(32) {
            let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let plain = line.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' });
            writeln!(text, "{hex:<64}  {}", plain.collect::<String>()).unwrap();
        }
    };
    put(Delegation::KIND, encode(&delegation()));
    put("farm, with bandwidths", encode(&limited()));
    let mut spread = farm();
    spread.slots[0].ecmp = true;
    put("farm, with two next hops", encode(&Delegation::new(spread, label("a-farm"), 7).unwrap()));
    put("farm, with provisions", encode(&provided()));
    put("farm, with quotas", encode(&shared_out()));
    let mut pooled = farm();
    pooled.slots[0].pool_v4 = vec!["203.0.113.20".parse().unwrap(), "203.0.113.21".parse().unwrap()];
    put("farm, with a pool of addresses", encode(&Delegation::new(pooled, label("a-farm"), 7).unwrap()));
    put(NetworkStatement::KIND, encode(&live(network())));
    let own_v4 = OwnV4 { whole: Some(label("db")), forwards: Vec::new() };
    put("network, with an address for a workload", encode(&live(NetworkDraft { own_v4, ..network() })));
    let forward = Forward { protocol: Protocol::Tcp, port: 443, workload: label("db"), to: 8443 };
    let own_v4 = OwnV4 { whole: None, forwards: vec![forward] };
    put("network, with a port forwarded", encode(&live(NetworkDraft { own_v4, ..network() })));
    let local_v4 = true;
    put("network, with IPv4 at its nodes", encode(&live(NetworkDraft { local_v4, ..network() })));
    put("network, with a workload that speaks IPv6 alone", encode(&live(alone())));
    let mut with_nic = network();
    with_nic.workloads[0].nic = Some(label("eth4"));
    put("network, with a NIC for a workload", encode(&live(with_nic)));
    let deleted = NetworkStatement { version: 4, subject: Subject::Deleted(label("acme/web")) };
    put("network, deleted", encode(&deleted));
    put(NodeStatement::KIND, encode(&node(public())));
    let families = BTreeSet::from([sixfold_core::model::Family::Ipv4, sixfold_core::model::Family::Ipv6]);
    put("node, hidden", encode(&node(Reach::Hidden { families })));
    put(DeviceStatement::KIND, encode(&device(report()).unwrap()));
    put(Leaf::KIND, encode(&granted()));
    let (generation, network) = (Generation(2), label("acme/web"));
    let exit = Granted { key: resource(), generation, network, seat: Seat::Exit, ports: None, own_v4: None };
    put("grant, of an exit point", encode(&Leaf::Grant(exit.clone())));
    let ports = Some("1024-2047".parse().unwrap());
    put("grant, of an exit point with ports", encode(&Leaf::Grant(Granted { ports, ..exit.clone() })));
    let own_v4 = Some("203.0.113.20".parse().unwrap());
    let own = Granted { ports, own_v4, ..exit };
    put("grant, of an exit point with ports and an address", encode(&Leaf::Grant(own)));
    let prefix = "2001:db8:a::/48".parse().unwrap();
    let allocation = sixfold_core::addr::Allocation::new(prefix, 258_u16.try_into().unwrap()).unwrap();
    put("grant, a number", encode(&Leaf::Number(allocation)));
    put(Group::KIND, encode(&group()));
    put(Tenure::KIND, encode(&tenure(Phase::Done)));
    put(Tenure::KIND, encode(&tenure(Phase::Handover { from: label("bee") })));
    put(Rotation::KIND, encode(&rotation(1)));
    put(Token::KIND, encode(&token("registry.example.net:7443")));
    put(Confirm::KIND, encode(&confirm()));
    put(Leaving::KIND, encode(&leaving()));
    put(Reclaim::KIND, encode(&reclaim()));
    put(Invitation::KIND, encode(&invitation()));
    put(Dissolution::KIND, encode(&dissolution()));
    insta::assert_snapshot!(text);
}

/// And so do the signatures: `KIND`, the tenant's key, the body's digest, its signature.
#[test]
fn what_is_signed_is_the_prefix_the_kind_and_the_body() {
    let signer = key(Role::Tenant, "acme");
    let signed = Signed::new(&live(network()), &signer);
    let message = [b"sixfold/v1/network\0", &encode(&live(network()))[..]].concat();
    assert!(signer.verifying().verifies(&message, &signed.signature));
    use sha2::{Digest as _, Sha256};
    assert_eq!(signed.digest::<NetworkStatement>(), Digest(Sha256::digest(&message).into()));
    insta::assert_snapshot!(serde_json::to_string_pretty(&signed).unwrap());
}

fn said<T: Statement + Debug>(body: &[u8]) -> String {
    decode::<T>(body).unwrap_err().to_string()
}

#[test]
fn there_is_one_encoding_of_each_statement() {
    let body = encode(&live(network()));
    let longer = [&body[..], &[0]].concat();
    assert_eq!(said::<NetworkStatement>(&longer), "it cannot be read: Unexpected length of input");
    // What could be said behind it, said as nothing.
    let nothing = [&body[..], &[0; 4]].concat();
    assert_eq!(decode::<NetworkStatement>(&nothing), Err(OpenError::NotCanonical));
    let (of_nobody, stranger) = ([1, 0, 0, 0, 2, 0, 0, 0, 0], b"\x01\0\0\0\x02\x01\0\0\0\x02\0\0\0bd");
    for (what, more) in [
        ("no", &[1, 0, 0, 0, 1, 0][..]),
        ("twice", &[2, 0, 0, 0, 1, 1, 1, 1]),
        ("nobody speaks IPv6 alone", &of_nobody),
        ("a workload that is not there does", stranger),
    ] {
        let said = decode::<NetworkStatement>(&[&body[..], more].concat());
        assert_eq!(said, Err(OpenError::NotCanonical), "{what}");
    }
    let later = encode(&live(alone()));
    assert_eq!((&later[..body.len()], decode(&later)), (&body[..], Ok(live(alone()))));
    for end in 0..body.len() {
        assert!(matches!(decode::<NetworkStatement>(&body[..end]), Err(OpenError::Shape { .. })), "{end}");
    }
    // The same nodes in another order.
    let at = |needle: &[u8]| body.windows(needle.len()).position(|window| window == needle).unwrap();
    let nodes = b"\x03\0\0\0ant\x03\0\0\0cat";
    let mut other = body.clone();
    let from = at(nodes);
    other[from..from + nodes.len()].copy_from_slice(b"\x03\0\0\0cat\x03\0\0\0ant");
    assert_eq!(decode::<NetworkStatement>(&other), Err(OpenError::NotCanonical));
    // Slots in another order.
    let body = encode(&delegation());
    let mut swapped = farm();
    swapped.slots.reverse();
    let again = Delegation::new(swapped, label("a-farm"), 7).unwrap();
    assert_eq!(encode(&again), body, "it is written in order, whatever order it is given in");
    // What came later ends where an older statement does, and follows it.
    let later = encode(&limited());
    assert_eq!((&later[..body.len()], decode(&later)), (&body[..], Ok(limited())));
    let quotas = encode(&shared_out());
    assert_eq!((&quotas[..body.len()], decode(&quotas)), (&body[..], Ok(shared_out())));
    let there = encode(&provided());
    assert_eq!((&there[..body.len()], decode(&there)), (&body[..], Ok(provided())));
    let all = ["ant", "bee", "cat"].map(|name| provided().provision(&label(name)).cloned().unwrap());
    assert_eq!(provided().with_nodes(Vec::new()).provisions, all, "in order, whatever order it is given in");
    for end in body.len() + 1..later.len() {
        assert!(matches!(decode::<Delegation>(&later[..end]), Err(OpenError::Shape { .. })), "{end}");
    }
    assert_eq!(decode::<Delegation>(&[&body[..], &[0; 4]].concat()), Err(OpenError::NotCanonical), "nothing");
    let one = &later[body.len() + 4..body.len() + 4 + 1 + 17 + 1 + 1 + 8 + 4];
    let twice = [&body[..], &[2, 0, 0, 0], one, one].concat();
    assert_eq!(decode::<Delegation>(&twice), Err(OpenError::NotCanonical), "one slot's twice");
    let mut elsewhere = [&body[..], &[1, 0, 0, 0], one].concat();
    elsewhere[body.len() + 4 + 1 + 17] = 9;
    assert_eq!(decode::<Delegation>(&elsewhere), Err(OpenError::NotCanonical), "of a slot that is not there");
    let huge = vec![0; sixfold_core::limit::STATEMENT_BYTES_MAX + 1];
    assert_eq!(said::<NetworkStatement>(&huge), "it has 1048577 bytes, more than 1048576");
}

/// What says something impossible is refused in the words of a file that says so, whoever signed it.
#[test]
fn the_impossible_is_refused_in_the_words_of_validation() {
    let mut told = String::new();
    let mut refused = |error: OpenError| writeln!(told, "{error}\n  hint: {}", error.hint()).unwrap();
    let replaced = |body: &[u8], from: &[u8], to: &[u8]| {
        let at = body.windows(from.len()).position(|window| window == from).unwrap();
        [&body[..at], to, &body[at + from.len()..]].concat()
    };
    let network_body = encode(&live(network()));
    refused(decode::<NetworkStatement>(&replaced(&network_body, b"\x35\0", b"\0\0")).unwrap_err());
    refused(decode::<NetworkStatement>(&replaced(&network_body, b"cat\x10", b"cow\x10")).unwrap_err());
    refused(decode::<NetworkStatement>(&replaced(&network_body, b"cat\x10", b"cat\x01")).unwrap_err());
    refused(decode::<NetworkStatement>(&replaced(&network_body, b"web", b"w/b")).unwrap_err());
    let farm_body = encode(&delegation());
    refused(
        decode::<Delegation>(&replaced(&farm_body, b"\x03\0\0\0bee\x01", b"\x03\0\0\0ant\x01")).unwrap_err(),
    );
    refused(decode::<Delegation>(&replaced(&farm_body, &[0xfd, 0], &[0xfd, 1])).unwrap_err());
    let node_body = encode(&node(public()));
    refused(decode::<NodeStatement>(&replaced(&node_body, &1500_u16.to_le_bytes(), &[0, 1])).unwrap_err());
    let mut twice = report();
    twice.endpoints.push("[2001:db8:a::a2]:1".parse().unwrap());
    refused(device(twice).unwrap_err().into());
    refused(decode::<Rotation>(&encode(&rotation(0))).unwrap_err());
    refused(decode::<Tenure>(&encode(&Tenure { epoch: Epoch(0), ..tenure(Phase::Done) })).unwrap_err());
    refused(decode::<Group>(&encode(&Group { size: 0, ..group() })).unwrap_err());
    refused(decode::<Token>(&encode(&token("nowhere"))).unwrap_err());
    let rotation_body = encode(&rotation(1));
    refused(decode::<Rotation>(&replaced(&rotation_body, b"tenant", b"tyrant")).unwrap_err());
    insta::assert_snapshot!(told);
}

#[test]
fn a_token_is_one_line_and_is_worth_something_for_a_while() {
    let farmer = key(Role::Farmer, "alpha");
    let wanted = token("[2001:db8::1]:7443");
    let text = Token::write(&Signed::new(&wanted, &farmer));
    assert!(text.starts_with("sixfold1.") && !text.contains(char::is_whitespace), "{text}");
    let (read, signed) = Token::read(&format!(" {text}\n")).unwrap();
    assert_eq!((&read, signed.key), (&wanted, farmer.verifying()));
    let at = |secs| read.admits(farmer.verifying(), signed.key, secs);
    let early = 1_800_000_000 - 32 * 86_400;
    assert_eq!((at(early), at(1_799_999_999)), (Ok(()), Ok(())));
    assert_eq!(at(early - 1), Err(TokenError::Long { days: 32 }));
    assert_eq!(at(1_800_000_000), Err(TokenError::Expired { secs: 0 }));
    let other = key(Role::Farmer, "beta").verifying();
    assert_eq!(read.admits(other, signed.key, 0), Err(TokenError::Signer { farm: label("alpha") }));
    for bad in ["", "sixfold1.", &text[1..], &text[..text.len() - 1], &text.replace("sixfold1", "sixfold2")] {
        let error = Token::read(bad).unwrap_err();
        assert!(matches!(error, TokenError::Text), "{bad}: {error}");
        assert!(!error.hint().is_empty());
    }
    let mut forged = Signed::new(&wanted, &farmer);
    forged.key = other;
    assert_eq!(Token::read(&Token::write(&forged)), Err(TokenError::Open(OpenError::Signature)));
    for good in ["registry.example.net:7443", "192.0.2.1:1", "localhost:65535"] {
        assert!(decode::<Token>(&encode(&token(good))).is_ok(), "{good}");
    }
    for bad in
        ["", ":1", "a", "a:", "a:0", "a:65536", "a:01", "a b:1", "2001:db8::1:1", "[a]:1", "a.:1", "a:1\n"]
    {
        assert!(decode::<Token>(&encode(&token(bad))).is_err(), "{bad}");
    }
}

/// Reads as it was written; not as another kind; and not with a bit of it changed.
fn sound<T: Statement + PartialEq + Debug>(statement: &T, signer: &SigningKey, bit: &prop::sample::Index) {
    let signed = Signed::new(statement, signer);
    assert_eq!(signed.open::<T>().as_ref(), Ok(statement));
    assert_eq!(decode::<T>(&encode(statement)).as_ref(), Ok(statement));
    let json = serde_json::to_string(&signed).unwrap();
    assert_eq!(serde_json::from_str::<Signed>(&json).unwrap(), signed);
    let mut flipped = signed.clone();
    let at = bit.index(signed.body.len() * 8);
    flipped.body[at / 8] ^= 1 << (at % 8);
    assert_eq!(flipped.open::<T>(), Err(OpenError::Signature), "bit {at} of the body");
    let mut flipped = signed.clone();
    let at = bit.index(512);
    flipped.signature.0[at / 8] ^= 1 << (at % 8);
    assert_eq!(flipped.open::<T>(), Err(OpenError::Signature), "bit {at} of the signature");
    let at = bit.index(256);
    let mut bytes = *signed.key.as_bytes();
    bytes[at / 8] ^= 1 << (at % 8);
    if let Ok(key) = VerifyingKey::from_bytes(bytes) {
        let flipped = Signed { key, ..signed.clone() };
        assert_eq!(flipped.open::<T>(), Err(OpenError::Signature), "bit {at} of the key");
    }
    let kinds = [
        (Delegation::KIND, signed.open::<Delegation>().err()),
        (NetworkStatement::KIND, signed.open::<NetworkStatement>().err()),
        (NodeStatement::KIND, signed.open::<NodeStatement>().err()),
        (DeviceStatement::KIND, signed.open::<DeviceStatement>().err()),
        (Leaf::KIND, signed.open::<Leaf>().err()),
        (Group::KIND, signed.open::<Group>().err()),
        (Rotation::KIND, signed.open::<Rotation>().err()),
        (Token::KIND, signed.open::<Token>().err()),
        (Confirm::KIND, signed.open::<Confirm>().err()),
        (Leaving::KIND, signed.open::<Leaving>().err()),
        (Reclaim::KIND, signed.open::<Reclaim>().err()),
        (Invitation::KIND, signed.open::<Invitation>().err()),
        (Dissolution::KIND, signed.open::<Dissolution>().err()),
        (Tenure::KIND, signed.open::<Tenure>().err()),
    ];
    for (kind, error) in kinds.into_iter().filter(|(kind, _)| *kind != T::KIND) {
        assert_eq!(error, Some(OpenError::Signature), "{} as {kind}", T::KIND);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn every_kind_is_read_as_itself_and_unchanged_or_not_at_all(seed: [u8; 32], bit: prop::sample::Index) {
        let signer = SigningKey::from_seed(&seed);
        sound(&delegation(), &signer, &bit);
        sound(&live(network()), &signer, &bit);
        sound(&node(public()), &signer, &bit);
        sound(&device(report()).unwrap(), &signer, &bit);
        sound(&granted(), &signer, &bit);
        sound(&group(), &signer, &bit);
        sound(&tenure(Phase::Done), &signer, &bit);
        sound(&tenure(Phase::Handover { from: "bee".parse().unwrap() }), &signer, &bit);
        sound(&rotation(1), &signer, &bit);
        sound(&token("registry.example.net:7443"), &signer, &bit);
        sound(&confirm(), &signer, &bit);
        sound(&leaving(), &signer, &bit);
        sound(&reclaim(), &signer, &bit);
    }

    /// Bytes that are no statement are an answer, and whatever is read is written as it was.
    #[test]
    fn any_change_of_a_body_is_refused_or_another_statement(at: prop::sample::Index, byte: u8, cut in 0..3_usize) {
        let body = encode(&live(network()));
        let at = at.index(body.len());
        let mut changed = body.clone();
        changed.splice(at..(at + cut).min(body.len()), [byte]);
        if let Ok(statement) = decode::<NetworkStatement>(&changed) {
            prop_assert_eq!(encode(&statement), changed);
        }
    }

    /// Whatever files can say can be signed, and says the same when it is read.
    #[test]
    fn every_farm_and_network_is_a_statement(realm in any_realm()) {
        let world = &realm.farm.world;
        for (id, signed) in &realm.dossier.farms {
            let nodes = world.farm(id).unwrap().nodes().values().cloned().map(NodeDraft::from).collect();
            let farm = signed.open::<Delegation>().unwrap().with_nodes(nodes);
            // Who holds a slot is not the farmer's to say.
            let mut said = FarmDraft::from(world.farm(id).unwrap().clone());
            said.slots.iter_mut().for_each(|slot| slot.tenure = None);
            prop_assert_eq!(farm, said);
        }
        for (id, signed) in &realm.dossier.networks {
            let statement = signed.open::<NetworkStatement>().unwrap();
            prop_assert_eq!(statement.subject, Subject::Live(world.network(id).unwrap().clone()));
        }
    }
}

#[test]
fn a_signature_is_64_bytes_of_base64() {
    let signature = Signature([7; 64]);
    let text = serde_json::to_string(&signature).unwrap();
    assert_eq!((text.len(), serde_json::from_str(&text).ok()), (90, Some(signature)));
    assert!(serde_json::from_str::<Signature>("\"AAAA\"").is_err());
    assert_ne!(id(Role::Tenant, "acme"), id(Role::Farmer, "acme"));
}
