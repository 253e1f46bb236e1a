//! A network, from its file to its end, with what is refused on the way.

use sixfold_core::trust::Role;

use super::farm::{first_farm, join};
use super::ground::Ground;

const ACME: &str = "examples/first-farm/acme.toml";

#[test]
fn a_network_is_planned_applied_shown_changed_and_deleted() {
    let ground = Ground::new();
    first_farm(&ground);
    let tenant = ground.key(Role::Tenant, "acme");
    let says = |args: &[&str], code| ground.prints("acme", args, code);
    let none = says(&["network", "list"], 0);
    let planned = says(&["network", "plan", ACME], 0);
    assert_eq!(says(&["network", "list"], 0), none, "a plan writes nothing");
    says(&["network", "plan", ACME, "--exit-code"], 2);
    let steps = says(&["network", "plan", ACME, "--steps"], 0);
    assert!(steps.contains("\n  ip netns add net-"), "{steps}");
    let document = ground.json("acme", &["network", "plan", ACME, "--json"]);
    assert_eq!((&document["changes"], &document["version"]), (&true.into(), &1.into()));
    assert_eq!(document["preview"]["nodes"].as_array().unwrap().len(), 3);

    let unasked = says(&["network", "apply", ACME], 2);
    assert!(unasked.contains("hint: say --yes"), "{unasked}");
    let applied = says(&["network", "apply", ACME, "--yes"], 0);
    let again = says(&["network", "apply", ACME], 0);
    says(&["network", "plan", ACME, "--exit-code"], 0);
    let shown = says(&["network", "show", "web"], 0);
    let document = ground.json("acme", &["network", "show", "web", "--json"]);
    assert_eq!(document["version"], 1, "nothing was written again");
    assert_eq!(document["prefixes"].as_array().unwrap().len(), 4);
    assert_eq!(document["exposures"][0]["port"], 443);
    assert_eq!(
        ground.json("alpha", &["network", "show", &format!("{tenant}/web"), "--json"]),
        document,
        "its farmer"
    );
    let list = says(&["network", "list"], 0);

    let less = std::fs::read_to_string(format!("{}/../../{ACME}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let less = ground.file("less.toml", less.split("# The Internet").next().unwrap());
    let closed = says(&["network", "apply", &less, "--yes"], 0);
    let deleted = says(&["network", "delete", "web", "--yes"], 0);
    let twice = says(&["network", "delete", "web", "--yes"], 0);
    let never = says(&["network", "delete", "wob", "--yes"], 1);
    let gone = says(&["network", "show", "web"], 0);
    assert_eq!(says(&["network", "list"], 0), "no networks\n");
    let back = says(&["network", "apply", ACME, "--yes"], 0);
    let prefixes = |text: &str| {
        text.lines().filter(|line| line.contains("2001:db8:a:")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(prefixes(&back), prefixes(&applied), "it has its prefixes again");

    let said = [none, planned, unasked, applied, again, shown, list, closed, deleted, twice, never, gone];
    let mut ids = ["ant", "bee", "cat"].map(|name| (ground.key(Role::Node, name), name)).to_vec();
    ids.push((tenant, "acme"));
    ids.push((ground.key(Role::Farmer, "alpha"), "alpha"));
    let ids: Vec<(&str, &str)> = ids.iter().map(|(id, name)| (id.as_str(), *name)).collect();
    insta::assert_snapshot!(ground.plain(&said.join("\n"), &ids));
}

#[test]
fn a_network_is_told_the_address_of_its_own_or_why_it_has_none() {
    let ground = Ground::new();
    first_farm(&ground);
    let read = |name: &str| {
        std::fs::read_to_string(format!("{}/../../examples/first-farm/{name}", env!("CARGO_MANIFEST_DIR")))
            .unwrap()
    };
    let farm = |pool: &str| {
        let slot = "public_v4 = \"203.0.113.5/24\"\n";
        let farm = read("farm.toml").replacen(slot, &format!("{slot}pool_v4 = [{pool}]\n"), 1);
        let file = ground.file("pooled.toml", &farm);
        ground.prints("alpha", &["farm", "apply", &file, "--yes"], 0);
    };
    let asks = |name: &str, workload: &str| {
        let asks = format!("own_v4 = \"{workload}\"\n[[workload]]");
        ground.file(name, &read(name).replacen("[[workload]]", &asks, 1))
    };
    let told = |who: &str, args: &[&str]| -> Vec<String> {
        let said = ground.prints(who, args, 0);
        let lines = said.lines().filter(|line| line.starts_with("own ipv4") || line.contains("any traffic"));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    ground.key(Role::Tenant, "acme");
    ground.key(Role::Tenant, "globex");
    let (acme, globex) = (asks("acme.toml", "front"), asks("globex.toml", "model"));
    let mut all = vec![told("acme", &["network", "plan", &acme])];
    farm("\"203.0.113.20\"");
    all.extend([
        told("acme", &["network", "apply", &acme, "--yes"]),
        told("acme", &["network", "show", "web"]),
        told("globex", &["network", "apply", &globex, "--yes"]),
        told("globex", &["network", "show", "lab"]),
    ]);
    farm("\"203.0.113.21\", \"203.0.113.22\"");
    all.extend([
        told("acme", &["network", "show", "web"]),
        told("acme", &["network", "apply", &acme, "--yes"]),
        told("globex", &["network", "apply", &globex, "--yes"]),
    ]);
    // Which of the two it is follows from a secret of the farm's.
    let all = format!("{all:#?}").replace("203.0.113.21", "ONE OF TWO").replace("203.0.113.22", "ONE OF TWO");
    insta::assert_snapshot!(all);
    let none = ground.prints("acme", &["network", "apply", &acme], 0);
    assert!(none.contains("nothing changes"), "{none}");
}

#[test]
fn names_that_stand_for_nothing_or_several_and_files_of_others_are_refused() {
    let ground = Ground::new();
    first_farm(&ground);
    ground.key(Role::Tenant, "acme");
    let other = ground.key(Role::Farmer, "beta");
    let farm = ground.file("beta.toml", "farm = \"beta\"\nallocations = [\"2001:db8:c::/48\"]\n");
    ground.prints("beta", &["farm", "create", &farm], 0);
    std::fs::create_dir(ground.path("second")).unwrap();
    join(&ground, "beta", &[("second/cat", &["--hidden", "--family", "ipv6"])]);
    let network = |name: &str, nodes: &str, exit: &str| {
        let text = format!("tenant = \"acme\"\nnetwork = \"web\"\nnodes = [{nodes}]\nexit = {{ {exit} }}\n");
        ground.file(name, &text)
    };
    let exit = "farm = \"alpha\", slot = 1";
    let unknown = network("unknown.toml", "\"ant\", \"boo\"", "farm = \"alfa\", slot = 1");
    let several = network("several.toml", "\"cat\"", exit);
    let slot = network("slot.toml", "\"ant\"", "farm = \"alpha\", slot = 3");
    let twice = network("twice.toml", &format!("\"ant\", \"{}\"", ground.key(Role::Node, "ant")), exit);
    let mut said: Vec<String> = [&unknown, &several, &slot, &twice]
        .map(|file| ground.prints("acme", &["network", "apply", file, "--yes"], 1))
        .to_vec();
    // By its id there is one.
    let by_id = network("by-id.toml", &format!("\"{}\"", ground.key(Role::Node, "cat")), exit);
    ground.prints("acme", &["network", "apply", &by_id, "--yes"], 0);
    ground.key(Role::Tenant, "globex");
    said.push(ground.prints("globex", &["network", "apply", &by_id, "--yes"], 1));
    said.push(ground.prints("alpha", &["farm", "apply", &farm, "--yes"], 1));
    let ids = [("ant", "ant"), ("bee", "bee"), ("cat", "cat"), ("second/cat", "other cat")];
    let mut ids = ids.map(|(file, name)| (ground.key(Role::Node, file), name)).to_vec();
    ids.extend([
        (ground.key(Role::Tenant, "globex"), "globex"),
        (ground.key(Role::Farmer, "alpha"), "alpha"),
        (other, "beta"),
    ]);
    let ids: Vec<(&str, &str)> = ids.iter().map(|(id, name)| (id.as_str(), *name)).collect();
    insta::assert_snapshot!(ground.plain(&said.join("\n"), &ids));
}

#[test]
fn an_operator_takes_a_network_back_and_its_tenant_can_have_it_again() {
    let ground = Ground::new();
    first_farm(&ground);
    let tenant = ground.key(Role::Tenant, "acme");
    ground.key(Role::Admin, "operator");
    ground.prints("acme", &["network", "apply", ACME, "--yes"], 0);
    let whole = format!("{tenant}/web");
    let says = |args: &[&str], code| ground.prints("operator", args, code);
    let vague = says(&["network", "reclaim", "web", "--yes"], 2);
    assert!(vague.contains("name it whole: TENANT-ID/web"), "{vague}");
    assert!(!ground.prints("acme", &["network", "reclaim", &whole, "--yes"], 1).contains("is no more"));
    let taken = says(&["network", "reclaim", &whole, "--yes"], 0);
    assert!(taken.contains("is no more, revision "), "{taken}");
    assert!(says(&["network", "reclaim", &whole], 0).contains("nothing to do"));
    assert_eq!(ground.prints("acme", &["network", "list"], 0), "no networks\n");
    assert_eq!(ground.json("acme", &["network", "show", "web", "--json"])["deleted"], true);
    let again = ground.prints("acme", &["network", "apply", ACME, "--yes"], 0);
    assert!(again.contains("now version 3"), "{again}");
}

#[test]
fn a_network_goes_on_without_a_node_that_its_farmer_took_away() {
    let ground = Ground::new();
    first_farm(&ground);
    ground.key(Role::Tenant, "acme");
    ground.prints("acme", &["network", "apply", ACME, "--yes"], 0);
    let taken = |word: &[&str], code| {
        ground.prints("alpha", &[&["node", "remove", "cat", "--yes"], word].concat(), code)
    };
    let refused = taken(&[], 1);
    assert!(
        refused.contains("would lose 1 resources at once") && refused.contains("--confirm-removal N"),
        "{refused}"
    );
    assert!(taken(&["--confirm-removal", "1"], 0).contains("is in the farm no more"));
    let cat = ground.key(Role::Node, "cat");
    let shown = ground.prints("acme", &["network", "show", "web"], 0);
    assert!(shown.contains(&format!("missing    {cat}: its farmer took it out")), "{shown}");
    let document = ground.json("acme", &["network", "show", "web", "--json"]);
    assert_eq!((&document["missing"][0], &document["version"]), (&cat.as_str().into(), &1.into()));
    assert_eq!(document["prefixes"].as_array().unwrap().len(), 3, "{document:#}");
    let heard = ground.prints("acme", &["events"], 0);
    assert!(heard.contains("node-taken") && heard.contains(&cat), "{heard}");
    let again = ground.prints("acme", &["network", "apply", ACME, "--yes"], 1);
    assert!(again.contains("cat"), "what the file names is not there: {again}");

    // A key is replaced nevertheless, and whatever was deleted is not signed again.
    let exit = "exit = { farm = \"alpha\", slot = 1 }";
    let text = format!("tenant = \"acme\"\nnetwork = \"brief\"\nnodes = [\"ant\"]\n{exit}\n");
    let file = ground.file("brief.toml", &text);
    ground.prints("acme", &["network", "apply", &file, "--yes"], 0);
    ground.prints("acme", &["network", "delete", "brief", "--yes"], 0);
    let key = ground.path("acme.pem");
    let said = ground.prints("acme", &["key", "rotate", "tenant", "--file", key.to_str().unwrap()], 0);
    assert!(said.contains("told, with 1 statement signed again"), "{said}");
    assert_eq!(ground.json("acme", &["network", "show", "web", "--json"])["missing"][0], cat.as_str());
}
