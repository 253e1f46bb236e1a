//! The words of every problem, and what good scenarios are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::*;

const FARM: &str = include_str!("../../../../examples/first-farm/farm.toml");
const ACME: &str = include_str!("../../../../examples/first-farm/acme.toml");
const GLOBEX: &str = include_str!("../../../../examples/first-farm/globex.toml");

fn files() -> Vec<(String, String)> {
    [("farm.toml", FARM), ("acme.toml", ACME), ("globex.toml", GLOBEX)]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into()
}

/// A file of these steps, each on a line of its own from the second on.
fn text(steps: &[&str]) -> String {
    let lines: String = steps.iter().map(|step| format!("  \"{step}\",\n")).collect();
    format!("steps = [\n{lines}]\n")
}

fn script(steps: &[&str], applied: &[(&str, &str)]) -> Result<Script, Problems> {
    let applied: BTreeMap<String, String> =
        applied.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    check(parse(&text(steps), "scenario.toml")?, Declared::of(&files()).unwrap(), &applied)
}

/// What is said of each of these, or that nothing is wrong.
fn words(cases: &[&str], said: impl Fn(&str) -> Result<(), Problems>) -> String {
    cases.iter().fold(String::new(), |mut text, case| {
        let problems = said(case).err().map_or("(nothing is wrong)".to_owned(), |found| found.to_string());
        let _ = writeln!(text, "== {case}\n{problems}\n");
        text
    })
}

#[test]
fn words_about_shape() {
    let cases =
        ["", "steps = \"expect matrix\"", "steps = [1]", "step = []", "steps = [", "steps = []\nname = 1"];
    insta::assert_snapshot!(words(&cases, |case| parse(case, "scenario.toml").map(drop)));
}

#[test]
fn words_about_steps() {
    let cases = [
        "",
        "wait",
        "wiat-in-sync",
        "kil agent ant",
        "sleep 3",
        "apply",
        "apply a.toml b.toml",
        "apply ../a.toml",
        "apply /etc/passwd",
        "delete acme",
        "delete acme/We",
        "kill",
        "kill ant",
        "kill agnet ant",
        "kill agent",
        "kill agent ANT",
        "kill agent ant now",
        "restart tunnel",
        "kill registry ant",
        "cut registry now",
        "reboot",
        "reboot ../ant",
        "cut ant",
        "cut node",
        "heal farm alpha beta",
        "wait-in-sync for 3s",
        "wait-in-sync within",
        "wait-in-sync within 3",
        "wait-in-sync within 0s",
        "wait-in-sync within 601s",
        "wait-in-sync within -1s",
        "wait-in-sync within 3s please",
        "expect",
        "expect matrix pass",
        "expect internet",
        "expect internet acme/web:front",
        "expect internet acme/web:front passes",
        "expect internet acme/web pass",
        "expect intranet acme/web:front pass",
        "expect internet acme/web:front pass http",
        "expect internet acme/web:front pass tcp/0",
        "expect internet acme/web:front pass tcp/65536",
        "expect internet acme/web:front pass tcp/443 udp/53",
        "delete \\u001b[2J",
    ];
    insta::assert_snapshot!(words(&cases, |case| parse(&text(&[case]), "scenario.toml").map(drop)));
}

#[test]
fn words_about_what_steps_name() {
    let cases = [
        "delete acme/wen",
        "delete acme/web; delete acme/web",
        "kill agent dog",
        "kill agent ant; kill agent ant",
        "kill tunnel ant; wait-in-sync",
        "kill tunnel ant; reboot ant; wait-in-sync",
        "kill registry; wait-in-sync",
        "kill registry; delete acme/web",
        "cut registry; apply globex.toml",
        "kill registry; reboot ant; restart registry; wait-in-sync; delete acme/web",
        "cut node dog",
        "cut farm ant",
        "cut node cat; cut node cat",
        "heal node cat",
        "cut farm alpha; wait-in-sync",
        "cut farm alpha; heal farm alpha; wait-in-sync",
        "expect internet acme/web:fort pass",
        "delete acme/web; expect internet acme/web:front stop",
        "expect acme/web:front acme/web:front pass",
        "apply nowhere.toml",
        "apply farm.toml",
        "apply broken.toml",
        "apply dog.toml",
        "delete globex/lab; apply globex.toml; expect globex/lab:model internet pass",
    ];
    let dog = GLOBEX.replace("cat", "dog");
    let applied =
        [("farm.toml", FARM), ("broken.toml", "tenant ="), ("dog.toml", &dog), ("globex.toml", GLOBEX)];
    let said = |case: &str| script(&case.split("; ").collect::<Vec<_>>(), &applied).map(drop);
    insta::assert_snapshot!(words(&cases, said));
}

#[test]
fn every_problem_is_told_with_its_line() {
    let problems = script(&["kill agent dog", "expect matrix", "reboot cow"], &[]).unwrap_err();
    let Problems::Steps(found) = &problems else { panic!("{problems}") };
    assert_eq!(found.iter().map(|problem| problem.line).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(problems.len(), 2);
}

#[test]
fn steps_change_what_is_declared_from_then_on() {
    let more = ACME.replace("\"web\"", "\"more\"");
    let steps = ["delete acme/web", "wait-in-sync", "apply more.toml", "apply acme.toml"];
    let script = script(&steps, &[("more.toml", &more), ("acme.toml", ACME)]).unwrap();
    let declared: Vec<Option<Vec<String>>> = script
        .acts
        .iter()
        .map(|act| {
            let declared = act.declared.as_ref()?;
            assert!(declared.world.networks().keys().eq(declared.networks.keys()));
            Some(declared.networks.keys().map(ToString::to_string).collect())
        })
        .collect();
    let networks = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(
        declared,
        [
            networks(&["globex/lab"]),
            None,
            networks(&["acme/more", "globex/lab"]),
            networks(&["acme/more", "acme/web", "globex/lab"]),
        ]
    );
}

#[test]
fn words_may_stand_apart() {
    let steps = parse(&text(&["  kill   agent\\tant "]), "scenario.toml").unwrap().steps;
    let process = Process::Of { service: crate::farm::Service::Agent, node: "ant".parse().unwrap() };
    assert_eq!(steps, [Said { line: 2, text: "kill agent ant".to_owned(), step: Step::Kill(process) }]);
}

#[test]
fn how_each_step_is_written_can_be_read() {
    for (name, like) in parse::STEPS {
        for example in like.split(", or ") {
            let steps =
                parse(&text(&[example]), "scenario.toml").unwrap_or_else(|found| panic!("{found}")).steps;
            assert!(steps[0].text.starts_with(name), "{example}");
        }
    }
}

#[test]
fn the_examples_scenarios_can_be_played() {
    for example in ["first-farm", "two-farms"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
        let script = load(&dir).unwrap_or_else(|error| panic!("{example}: {error:?}")).unwrap();
        assert!(script.acts.iter().any(|act| act.said.step == Step::ExpectMatrix), "{example}");
    }
}

#[test]
fn a_folder_without_a_scenario_has_none() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("farm.toml"), FARM).unwrap();
    assert_eq!(load(dir.path()).unwrap(), None);
}
