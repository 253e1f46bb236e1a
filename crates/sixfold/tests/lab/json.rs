//! What programs read: each command that takes `--json`, the places and kinds of all fields that it prints, and that its
//! help tells those at the top. A field that goes, comes or is renamed changes a golden here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use sixfold_core::trial::Trial;

use crate::ground::{SIXFOLD, Up, example, sixfold, soon, words};
use crate::scenario::first_farm;

/// Places that hold what was met, which is chance: a session's drops by their reason, and the errors that came back for a
/// shot, of which a kernel sends only so many. What an error looks like is held where it is defined.
const BY_WHAT_WAS_MET: [(&str, &str); 4] = [
    ("session.drops", "object"),
    ("[].drops", "object"),
    ("outside_drops", "object"),
    ("outcome.refusals", "list"),
];

/// A gateway's log of who had which ports.
const PORTS: &str = "sixfold-ports 1\n+ 1795286772 203.0.113.7 1024-2047 2001:db8:a::/48 1000 acme/web\n";

/// A lab that is up, where all commands are typed that need a node or a registry.
struct Place {
    lab: Up,
    farm: tempfile::TempDir,
    /// Of the registry.
    url: String,
}

impl Place {
    fn start() -> Self {
        let farm = first_farm(&["expect matrix"]);
        // The kernel's devices are no tunnel's.
        let lab = Up::with(&farm.path().display().to_string(), &["--wireguard", "ant=tunnel"]);
        let url = lab.registry();
        Self { lab, farm, url }
    }

    /// A file of the test's.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.farm.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// What an owner reads, who has a key and names the registry.
    #[track_caller]
    fn owner(&self, key: &str, args: &[&str]) -> Vec<Value> {
        let (key, registry) =
            (format!("SIXFOLD_KEY=/run/lab/keys/{key}.pem"), format!("SIXFOLD_REGISTRY={}", self.url));
        let command = [&["env", &key, &registry, SIXFOLD][..], args, &["--json"]].concat();
        documents(&self.lab.exec("internet", &command))
    }

    /// What is read on a node.
    #[track_caller]
    fn node(&self, node: &str, args: &[&str]) -> Vec<Value> {
        documents(&self.lab.exec(node, &[&[SIXFOLD][..], args, &["--json"]].concat()))
    }

    /// Until all nodes were heard of, and the sessions of the first are seen.
    fn settle(&self) {
        soon("every node is heard of", || {
            let list = &self.owner("farmer/alpha", &["node", "list"])[0];
            list["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "in-sync")
        });
        soon("every slot's segment is seen", || {
            let seen = ["ant", "bee"].map(|node| self.node(node, &["status"])[0]["exits"].take());
            let known = |exit: &Value| exit["router"] == "answers" && exit["others"] != "unknown";
            seen.iter().flat_map(|exits| exits.as_array().unwrap()).all(known)
        });
        soon("the registry hears by which word of its own each slot is held", || {
            let list = |exits: Value| {
                exits.as_array().is_some_and(|exits| {
                    !exits.is_empty() && exits.iter().all(|exit| exit["tenure"].is_object())
                })
            };
            let own = ["ant", "bee"].map(|node| self.node(node, &["status"])[0]["exits"].take());
            let farm = &self.owner("farmer/alpha", &["exit", "status", "--registry", &self.url])[0];
            let nodes =
                farm["slots"].as_array().unwrap().iter().flat_map(|slot| slot["nodes"].as_array().unwrap());
            own.into_iter().all(list) && nodes.into_iter().all(|node| node["tenure"].is_object())
        });
        soon("every session is told of", || {
            let peers = ["ant", "bee", "cat"].map(|node| self.node(node, &["status"])[0]["peers"].take());
            let age = |peer: &Value| peer["session"]["handshake_age_secs"].is_u64();
            peers.iter().flat_map(|peers| peers.as_array().unwrap()).all(age)
        });
    }

    /// What a command prints, of each kind that there is.
    fn read(&self, command: &str) -> Vec<Value> {
        let owner = |key: &str, args: &[&str]| self.owner(key, args);
        let here = |args: &[&str]| documents(&sixfold(&[args, &["--json"]].concat()));
        let farm = self.farm.path().display().to_string();
        match command {
            "addr" => {
                let runs: [&[&str]; 4] = [
                    &["addr", "2001:db8::/32"],
                    &["addr", "2001:db8:a::/48"],
                    &["addr", "2001:db8:a::/48", "--slot", "1"],
                    &["addr", "2001:db8:a::/48", "--index", "1abc", "--workload", "2"],
                ];
                runs.into_iter().flat_map(here).collect()
            }
            "agent" => vec![one_round(&self.farm)],
            "events" => owner("farmer/alpha", &["events"]),
            "exit drill" => {
                let foretold = owner("farmer/alpha", &["exit", "drill", "1", "--dry-run"]);
                // Whether packets were lost depends on what else this machine does.
                let (key, registry) =
                    ("SIXFOLD_KEY=/run/lab/keys/farmer/alpha.pem", format!("SIXFOLD_REGISTRY={}", self.url));
                let command = ["env", key, &registry, SIXFOLD, "exit", "drill", "1", "--yes", "--json"];
                let output = self.lab.exec("internet", &command);
                let drill =
                    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
                foretold.into_iter().chain([drill]).collect()
            }
            "exit status" => ["ant", "bee", "cat"]
                .into_iter()
                .flat_map(|node| self.node(node, &["exit", "status"]))
                .chain(owner("farmer/alpha", &["exit", "status", "--registry", &self.url]))
                .collect(),
            "exit who" => {
                self.file("ports.log", PORTS);
                let whose = ["exit", "who", "203.0.113.7:1500", "2026-12-01T00:00:00Z", "--state", &farm];
                here(&whose)
            }
            "farm list" => owner("farmer/alpha", &["farm", "list"]),
            "farm show" => owner("farmer/alpha", &["farm", "show"]),
            "key show" => {
                owner("tenant/acme", &["key", "show", "tenant", "--file", "/run/lab/keys/tenant/acme.pem"])
            }
            "lab probe" => here(&["lab", "probe", "--at", &self.lab.at.display().to_string()]),
            "lab run" => here(&["lab", "run", &farm]),
            "network list" => owner("tenant/acme", &["network", "list"]),
            "network plan" => self.plans(),
            "network show" => owner("tenant/acme", &["network", "show", "web"]),
            "node list" => owner("farmer/alpha", &["node", "list"]),
            "node show" => owner("farmer/alpha", &["node", "show", "ant"]),
            "plan" => here(&["plan", &example("two-farms"), "--node", "owl"]),
            "registry fsck" => owner("farmer/alpha", &["registry", "fsck", "/run/lab/registry/registry.db"]),
            "show" => here(&["show", &example("two-farms")]),
            "status" => ["ant", "bee", "cat"]
                .into_iter()
                .flat_map(|node| self.node(node, &["status"]))
                .chain(owner("farmer/alpha", &["status", "--registry", &self.url]))
                .collect(),
            "trust show" => owner("tenant/acme", &["trust", "show", "web"]),
            "tunnel show" => self.node("ant", &["tunnel", "show"]),
            other => panic!("nothing here runs `sixfold {other} --json`"),
        }
    }

    /// Nothing changes, something is lost, something is gained.
    fn plans(&self) -> Vec<Value> {
        let acme = fs::read_to_string(self.farm.path().join("acme.toml")).unwrap();
        let less = acme.split("# The Internet").next().unwrap();
        let files = [
            ("same", acme.clone()),
            ("less", less.to_owned()),
            ("other", acme.replace("\"web\"", "\"more\"")),
        ];
        let plan = |(name, text): (&str, String)| {
            let file = self.file(&format!("{name}.plan"), &text);
            self.owner("tenant/acme", &["network", "plan", &file])
        };
        files.into_iter().flat_map(plan).collect()
    }
}

/// One round of an agent on an empty machine, where no tunnel process is: not all can be done.
fn one_round(dir: &tempfile::TempDir) -> Value {
    let trial = Trial::new(sixfold_lab::files::load(example("first-farm").as_ref()).unwrap()).unwrap();
    let snapshot = trial.snapshot(&"ant".parse().unwrap()).unwrap();
    let feed = dir.path().join("snapshot.json");
    fs::write(&feed, serde_json::to_string(&snapshot).unwrap()).unwrap();
    let script = "mount -t tmpfs none /run; ip link set lo up
        \"$S\" agent --feed \"$F\" --once --json --state /run/state --wireguard tunnel";
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "--mount",
        "--propagation",
        "private",
        "--",
        "timeout",
        "60",
        "sh",
        "-uc",
        script,
    ]);
    let output = command.env("S", SIXFOLD).env("F", &feed).env_remove("SIXFOLD_LOG").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// All that was printed, of one document or one a line.
#[track_caller]
fn documents(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", words(output));
    let documents = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    documents.collect::<Result<_, _>>().unwrap()
}

/// The kinds of what stands at each place: `nodes[].name`.
type Fields = BTreeMap<String, BTreeSet<&'static str>>;

fn collect(value: &Value, at: &str, fields: &mut Fields) {
    if let Some((_, kind)) = BY_WHAT_WAS_MET.iter().find(|(place, _)| at.ends_with(place)) {
        fields.entry(at.to_owned()).or_default().insert(kind);
        return;
    }
    let kind = match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                collect(value, &at, fields);
            }
            return;
        }
        Value::Array(list) if !list.is_empty() => {
            return list.iter().for_each(|value| collect(value, &format!("{at}[]"), fields));
        }
        Value::Object(_) => "object",
        Value::Array(_) => "empty list",
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
    };
    fields.entry(at.to_owned()).or_default().insert(kind);
}

/// As a person reads them. What is null or empty in one document and more in another is that.
fn text(fields: &Fields) -> String {
    let has_more = |at: &str| {
        let inner = [format!("{at}."), format!("{at}[]")];
        fields.keys().any(|other| inner.iter().any(|inner| other.starts_with(inner)))
    };
    let line = |(at, kinds): (&String, &BTreeSet<&str>)| {
        let kinds: Vec<&str> = kinds.iter().copied().filter(|kind| *kind != "empty list").collect();
        match (kinds.is_empty(), has_more(at)) {
            (true, true) => None,
            (true, false) => Some(format!("{at}[]\n")),
            (false, more) => {
                let more = if more { " or more" } else { "" };
                Some(format!("{at}  {}{more}\n", kinds.join(" or ")))
            }
        }
    };
    fields.iter().filter_map(line).collect()
}

/// The words of every command that has the option, from the definitions that its pages are made of.
fn commands() -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    assert!(sixfold(&["man", dir.path().to_str().unwrap()]).status.success());
    let pages = fs::read_dir(dir.path()).unwrap().map(|page| page.unwrap().path());
    let has_option = |page: &std::path::PathBuf| {
        let text = fs::read_to_string(page).unwrap().replace('\\', "");
        text.lines().any(|line| line.trim_start_matches("fB").trim_end_matches("fR") == "--json")
    };
    let name = |page: std::path::PathBuf| {
        let stem = page.file_stem().unwrap().to_str().unwrap().to_owned();
        stem.strip_prefix("sixfold-").unwrap_or_default().replace('-', " ")
    };
    let mut commands: Vec<String> = pages.filter(has_option).map(name).collect();
    // A drill has sessions come about that were not there: what the others print is read before.
    commands.sort_by_key(|command| (command == "exit drill", command.clone()));
    commands
}

/// The words in which a help says what `--json` prints; none if it does not.
fn told(command: &str) -> BTreeSet<String> {
    let words = command.split(' ').chain(["--help"]).collect::<Vec<_>>();
    let help = String::from_utf8(sixfold(&words).stdout).unwrap();
    let told = help.split("\n\n").find(|paragraph| paragraph.contains("With --json: "));
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    told.unwrap_or_default().split(|letter| !is_word(letter)).map(str::to_owned).collect()
}

#[test]
fn every_field_of_every_json_is_known_and_those_at_the_top_are_told_in_help() {
    let commands = commands();
    assert!(commands.len() >= 20, "{commands:?}");
    let place = Place::start();
    // Handshakes take packets.
    place.read("lab probe");
    place.settle();
    let mut untold = Vec::new();
    for command in commands {
        let mut fields = Fields::new();
        place.read(&command).iter().for_each(|document| collect(document, "", &mut fields));
        insta::assert_snapshot!(format!("json-{}", command.replace(' ', "-")), text(&fields));
        let told = told(&command);
        let top = |at: &String| {
            at.trim_start_matches("[].").split(['.', '[']).next().unwrap_or_default().to_owned()
        };
        let missing: BTreeSet<String> = fields.keys().map(top).filter(|name| !told.contains(name)).collect();
        untold.extend(missing.into_iter().map(|name| format!("{command}: {name}")));
    }
    assert!(untold.is_empty(), "no help tells {untold:#?}");
}
