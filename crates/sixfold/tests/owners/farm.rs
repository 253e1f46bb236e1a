//! A farm, from its file to its slots.

use sixfold_core::trust::Role;

use super::ground::Ground;

pub(crate) const FARM: &str = "examples/first-farm/farm.toml";

/// What each node of the first farm says of itself.
const NODES: [(&str, &[&str]); 3] = [
    ("ant", &["--address", "2001:db8:a::a1/64", "--address-v4", "203.0.113.11/24"]),
    ("bee", &["--address", "2001:db8:a::a2/64", "--address-v4", "203.0.113.12/24"]),
    ("cat", &["--family", "ipv4"]),
];

/// Has machines join by tokens of the farmer's.
pub(crate) fn join(ground: &Ground, farmer: &str, nodes: &[(&str, &[&str])]) {
    for (file, reach) in nodes {
        let name = file.rsplit('/').next().unwrap();
        let token = ground.prints(farmer, &["farm", "token"], 0);
        ground.key(Role::Node, file);
        let (key, state) = (ground.path(&format!("{file}.pem")), ground.path(file));
        let mut args = vec!["node", "join", token.trim(), "--name", name, "--nic", "eth0", "--mtu", "1500"];
        args.extend(["--key", key.to_str().unwrap(), "--state", state.to_str().unwrap()]);
        args.extend(*reach);
        ground.prints(file, &args, 0);
    }
}

/// The first farm with its nodes and slots, once the registry has said who holds its slot: that is a revision of its own.
pub(crate) fn first_farm(ground: &Ground) {
    ground.key(Role::Farmer, "alpha");
    ground.prints("alpha", &["farm", "create", FARM], 0);
    join(ground, "alpha", &NODES);
    ground.prints("alpha", &["farm", "apply", FARM, "--yes"], 0);
    let is_held = || ground.prints("alpha", &["events"], 0).contains("slot-held");
    assert!((0..1000).any(|_| is_held()), "nobody holds the slot");
}

#[test]
fn a_farm_is_made_then_joined_then_given_its_slots() {
    let ground = Ground::new();
    let farm = ground.key(Role::Farmer, "alpha");
    let early = ground.prints("alpha", &["farm", "token"], 1);
    let made = ground.prints("alpha", &["farm", "create", FARM], 0);
    let twice = ground.prints("alpha", &["farm", "create", FARM], 1);
    let alone = ground.prints("alpha", &["farm", "apply", FARM, "--yes"], 1);
    let token = ground.prints("alpha", &["farm", "token", "--expires", "10m"], 0);
    assert!(token.starts_with("sixfold1.") && token.lines().count() == 1, "{token}");
    join(&ground, "alpha", &NODES);
    let unasked = ground.prints("alpha", &["farm", "apply", FARM], 2);
    let applied = ground.prints("alpha", &["farm", "apply", FARM, "--yes"], 0);
    let again = ground.prints("alpha", &["farm", "apply", FARM], 0);
    let shown = ground.prints("alpha", &["farm", "show"], 0);
    let moved = ground.prints("alpha", &["farm", "exit", "set", "1", "bee", "ant"], 0);
    let added = ground.prints("alpha", &["farm", "allocation", "add", "2001:db8:b::/48"], 0);
    let hidden = ground.prints("alpha", &["farm", "exit", "set", "2001:db8:b::/48#3", "cat"], 1);
    let unknown = ground.prints("alpha", &["farm", "exit", "set", "1", "bea"], 1);
    let document = ground.json("alpha", &["farm", "show", "alpha", "--json"]);
    assert_eq!(document["slots"][0]["holders"][0]["name"], "bee");
    assert_eq!(document["slots"][0]["public_v4"], "203.0.113.5/24", "as it was");
    assert_eq!((&document["version"], &document["nodes"].as_array().unwrap().len()), (&4.into(), &3));
    let list = ground.prints("alpha", &["farm", "list"], 0);
    let said =
        [early, made, twice, alone, unasked, applied, again, shown, moved, added, hidden, unknown, list];
    let ids = ["ant", "bee", "cat"].map(|name| (ground.key(Role::Node, name), name));
    let mut ids: Vec<(&str, &str)> = ids.iter().map(|(id, name)| (id.as_str(), *name)).collect();
    ids.push((&farm, "farm"));
    insta::assert_snapshot!(ground.plain(&said.join("\n"), &ids));
}

#[test]
fn what_networks_may_send_is_the_farmers_word_and_stays_when_the_holders_change() {
    let ground = Ground::new();
    first_farm(&ground);
    let acme = ground.key(Role::Tenant, "acme");
    let text = include_str!("../../../../examples/first-farm/farm.toml");
    let limited = |own: &str| {
        let words = format!(
            "slot = 1\nbandwidth = \"100 Mbit/s\"\nbandwidth_of = {{ \"{own}/web\" = \"1 Gbit/s\" }}"
        );
        text.replacen("slot = 1", &words, 1)
    };
    let named = ground.file("named.toml", &limited("acme"));
    let refused = ground.prints("alpha", &["farm", "apply", &named, "--yes"], 1);
    assert!(
        refused.contains("acme/web names its tenant") && refused.contains("write the tenant's id"),
        "{refused}"
    );
    let file = ground.file("limited.toml", &limited(&acme));
    let applied = ground.prints("alpha", &["farm", "apply", &file, "--yes"], 0);
    let each = "bandwidth 100 Mbit/s each way for each network of slot 2001:db8:a::/48#1\n";
    let own = format!("bandwidth 1 Gbit/s each way for {acme}/web of slot 2001:db8:a::/48#1\n");
    assert!(applied.starts_with(&format!("+ {each}+ {own}")), "{applied}");
    ground.prints("alpha", &["farm", "exit", "set", "1", "bee", "ant"], 0);
    let shown = ground.prints("alpha", &["farm", "show"], 0);
    assert!(shown.contains(&format!("  {each}  {own}")), "{shown}");
    let document = ground.json("alpha", &["farm", "show", "--json"]);
    assert_eq!(document["slots"][0]["bandwidth"], "100 Mbit/s");
    assert_eq!(document["slots"][0]["bandwidth_of"][format!("{acme}/web")], "1 Gbit/s");
    let back = ground.prints("alpha", &["farm", "apply", FARM, "--yes"], 0);
    assert!(back.contains(&format!("- {each}")) && back.contains(&format!("- {own}")), "{back}");
}

#[test]
fn what_takes_much_away_needs_a_word_that_names_how_much() {
    let ground = Ground::new();
    first_farm(&ground);
    ground.key(Role::Tenant, "acme");
    for name in ["one", "two", "three", "four", "five"] {
        let exit = "exit = { farm = \"alpha\", slot = 1 }";
        let text = format!("tenant = \"acme\"\nnetwork = \"{name}\"\nnodes = [\"cat\"]\n{exit}\n");
        let file = ground.file(&format!("{name}.toml"), &text);
        ground.prints("acme", &["network", "apply", &file, "--yes"], 0);
    }
    let moved = |word: &[&str], code| {
        ground.prints("alpha", &[&["farm", "exit", "set", "1", "bee"], word].concat(), code)
    };
    // What may serve again has lost nothing.
    ground.prints("alpha", &["farm", "exit", "set", "1", "bee", "ant"], 0);
    ground.prints("alpha", &["farm", "exit", "set", "1", "ant", "bee"], 0);
    let refused = moved(&[], 1);
    assert!(refused.contains("would lose 5 resources at once"), "{refused}");
    assert!(refused.contains("hint: ") && refused.contains("--confirm-removal N"), "{refused}");
    assert!(moved(&["--confirm-removal", "4"], 1).contains("would lose 5 resources at once"));
    assert_eq!(ground.json("alpha", &["farm", "show", "--json"])["version"], 4, "nothing was written");
    let done = moved(&["--confirm-removal", "5"], 0);
    assert!(done.ends_with("farm alpha: now version 5\n"), "{done}");
}

#[test]
fn a_token_lets_one_machine_in_and_the_next_is_told_so_at_once() {
    let ground = Ground::new();
    ground.key(Role::Farmer, "alpha");
    ground.prints("alpha", &["farm", "create", FARM], 0);
    let token = ground.prints("alpha", &["farm", "token"], 0);
    let joined = |name: &str| {
        ground.key(Role::Node, name);
        let (key, state) = (ground.path(&format!("{name}.pem")), ground.path(name));
        let args =
            ["node", "join", token.trim(), "--name", name, "--nic", "eth0", "--mtu", "1500", "--hidden"];
        let places = ["--family", "ipv4", "--key", key.to_str().unwrap(), "--state", state.to_str().unwrap()];
        ground.says(name, &[&args[..], &places[..]].concat())
    };
    assert_eq!(joined("ant").code, Some(0));
    let second = joined("bee");
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("this token was used already"), "{}", second.err);
    assert!(second.err.contains("hint: a token lets one in, once: ask for another"), "{}", second.err);
    assert!(!second.err.contains("trying again"), "{}", second.err);
}

#[test]
fn a_farm_is_made_by_an_invitation_of_the_operators_and_by_each_one() {
    let ground = Ground::with(&[]);
    ground.key(Role::Farmer, "alpha");
    let alone = ground.prints("alpha", &["farm", "create", FARM], 1);
    assert!(
        alone.contains("hint: ask its operator for what `sixfold farm invite 2001:db8:a::/48` prints"),
        "{alone}"
    );
    let operator = ground.path("registry/operator.pem");
    let invite = |prefix: &str| {
        let args = ["farm", "invite", prefix, "--key", operator.to_str().unwrap()];
        ground.prints("alpha", &args, 0).trim().to_owned()
    };
    let one = invite("2001:db8::/32");
    let garbled = ground.prints("alpha", &["farm", "create", FARM, "--invitation", &one[1..]], 1);
    assert!(garbled.contains("it is no invitation"), "{garbled}");
    let forged = ground.prints("alpha", &["farm", "invite", "2001:db8:a::/48"], 0);
    let forged = ground.prints("alpha", &["farm", "create", FARM, "--invitation", forged.trim()], 1);
    assert!(forged.contains("is not signed by the operator"), "{forged}");
    ground.prints("alpha", &["farm", "create", FARM, "--invitation", &one], 0);
    let add = ["farm", "allocation", "add", "2001:db8:b::/48"];
    let alone = ground.prints("alpha", &add, 1);
    assert!(
        alone.contains("takes allocation 2001:db8:b::/48 by an invitation that names it only"),
        "{alone}"
    );
    assert!(alone.contains("`sixfold farm invite 2001:db8:b::/48` prints"), "{alone}");
    let more = invite("2001:db8:b::/48");
    ground.prints("alpha", &[&add[..], &["--invitation", &more]].concat(), 0);
    ground.key(Role::Farmer, "beta");
    let farm = ground.file("beta.toml", "farm = \"beta\"\nallocations = [\"2001:db8:c::/48\"]\n");
    let twice = ground.prints("beta", &["farm", "create", &farm, "--invitation", &one], 1);
    assert!(twice.contains("this token was used already"), "{twice}");
    ground.prints("beta", &["farm", "create", &farm, "--invitation", &invite("2001:db8:c::/48")], 0);
}

#[test]
fn a_farm_that_nobody_is_in_is_taken_away_by_the_operator_and_may_come_back() {
    let ground = Ground::new();
    let farm = ground.key(Role::Farmer, "alpha");
    ground.key(Role::Admin, "operator");
    ground.prints("alpha", &["farm", "create", FARM], 0);
    join(&ground, "alpha", &NODES[2..]);
    let used = ground.prints("operator", &["farm", "delete", "alpha", "--yes"], 1);
    ground.prints("alpha", &["node", "remove", "cat", "--yes", "--confirm-removal", "0"], 0);
    let unasked = ground.prints("operator", &["farm", "delete", "alpha"], 2);
    let stranger = ground.prints("alpha", &["farm", "delete", "alpha", "--yes"], 1);
    let deleted = ground.prints("operator", &["farm", "delete", "alpha", "--yes"], 0);
    let again = ground.prints("operator", &["farm", "delete", "alpha", "--yes"], 1);
    let shown = ground.prints("alpha", &["farm", "show"], 1);
    let back = ground.prints("alpha", &["farm", "create", FARM], 0);
    let said = [used, unasked, stranger, deleted, again, shown, back].join("\n");
    let cat = ground.key(Role::Node, "cat");
    insta::assert_snapshot!(ground.plain(&said, &[(&farm, "farm"), (&cat, "cat")]));
    let store = ground.path("registry/registry.db");
    ground.prints("operator", &["registry", "fsck", store.to_str().unwrap()], 0);
}
