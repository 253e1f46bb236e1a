//! The words of a scenario: a list of steps, each a line as a person would type it.
//!
//! Owns: the shape of the file and of each step. Must not ask whether what a step names is there: `check` does.

use std::path::{Component, Path};
use std::str::SplitWhitespace;
use std::time::Duration;

use serde::Deserialize;
use serde_spanned::Spanned;
use sixfold_core::id::Label;
use sixfold_core::reach::{Party, Traffic};
use sixfold_core::shown::cut;
use sixfold_core::spec;

use super::problem::{Problem, ProblemKind, Problems};
use super::{Cable, Expectation, Said, Scenario, Step};
use crate::farm::{Process, Service};

/// Each step, and how one is written.
pub(super) const STEPS: [(&str, &str); 9] = [
    ("apply", "apply later/web.toml"),
    ("delete", "delete acme/web"),
    ("kill", "kill agent ant, or kill registry"),
    ("restart", "restart agent ant, or restart registry"),
    ("reboot", "reboot ant"),
    ("cut", "cut node ant, or cut farm alpha, or cut registry"),
    ("heal", "heal node ant, or heal farm alpha, or heal registry"),
    ("wait-in-sync", "wait-in-sync, or wait-in-sync within 30s"),
    (
        "expect",
        "expect acme/web:front internet pass, or expect internet acme/web:front stop tcp/80, or expect matrix",
    ),
];

/// How long a step may wait at most, in seconds.
pub(super) const WITHIN_SECS_MAX: u64 = 600;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    steps: Vec<Spanned<String>>,
}

/// Parses a scenario.
///
/// # Errors
/// That it has not the shape of one, or else everything wrong with its steps.
pub fn parse(text: &str, file: &str) -> Result<Scenario, Problems> {
    let fields: Fields = spec::read(text, file)?;
    let (mut steps, mut problems) = (Vec::new(), Vec::new());
    for said in &fields.steps {
        let (line, _) = spec::position(text, said.span().start);
        let mut words = Words { step: "", rest: said.get_ref().split_whitespace() };
        match words.step().and_then(|step| words.end().map(|()| step)) {
            Ok(step) => {
                let text = said.get_ref().split_whitespace().collect::<Vec<_>>().join(" ");
                steps.push(Said { line, text, step });
            }
            Err(what) => problems.push(Problem { file: file.to_owned(), line, what }),
        }
    }
    if problems.is_empty() {
        Ok(Scenario { file: file.to_owned(), steps })
    } else {
        Err(Problems::Steps(problems))
    }
}

/// A step's words, those that are left.
struct Words<'a> {
    step: &'static str,
    rest: SplitWhitespace<'a>,
}

impl<'a> Words<'a> {
    fn step(&mut self) -> Result<Step, ProblemKind> {
        let word = self.rest.next().unwrap_or_default();
        let known = STEPS.iter().find(|(name, _)| *name == word);
        self.step = known.ok_or_else(|| ProblemKind::NoStep { word: cut(word) })?.0;
        match self.step {
            "apply" => self.file().map(|file| Step::Apply { file }),
            "delete" => self.network().map(Step::Delete),
            "kill" => self.process().map(Step::Kill),
            "restart" => self.process().map(Step::Restart),
            "reboot" => self.name("the name of a node").map(|name| Step::Reboot(name.into())),
            "cut" => self.cable().map(Step::Cut),
            "heal" => self.cable().map(Step::Heal),
            "wait-in-sync" => self.within().map(|within| Step::WaitInSync { within }),
            _ => self.expect(),
        }
    }

    fn end(&mut self) -> Result<(), ProblemKind> {
        match self.rest.next() {
            Some(word) => Err(ProblemKind::TooMuch { step: self.step, word: cut(word) }),
            None => Ok(()),
        }
    }

    fn next(&mut self, wanted: &'static str) -> Result<&'a str, ProblemKind> {
        self.rest.next().ok_or(ProblemKind::Lacks { step: self.step, wanted })
    }

    /// One of a few words: its position.
    fn one_of(&mut self, wanted: &'static str, known: &'static [&'static str]) -> Result<usize, ProblemKind> {
        let word = self.next(wanted)?;
        let at = known.iter().position(|one| *one == word);
        at.ok_or_else(|| ProblemKind::NotA { word: cut(word), wanted, known })
    }

    fn name(&mut self, wanted: &'static str) -> Result<Label, ProblemKind> {
        let word = self.next(wanted)?;
        Label::try_from(word).map_err(|source| ProblemKind::Name { word: cut(word), source })
    }

    fn network(&mut self) -> Result<sixfold_core::id::NetworkId, ProblemKind> {
        let word = self.next("a network")?;
        word.parse().map_err(|source| ProblemKind::Network { word: cut(word), source })
    }

    fn file(&mut self) -> Result<String, ProblemKind> {
        let word = self.next("a file")?;
        let inside = Path::new(word).components().all(|part| matches!(part, Component::Normal(_)));
        if inside { Ok(word.to_owned()) } else { Err(ProblemKind::Outside { word: cut(word) }) }
    }

    fn process(&mut self) -> Result<Process, ProblemKind> {
        const KNOWN: [&str; 3] = ["agent", "tunnel", "registry"];
        let service = match self.one_of("a process", &KNOWN)? {
            0 => Service::Agent,
            1 => Service::Tunnel,
            _ => return Ok(Process::Registry),
        };
        Ok(Process::Of { service, node: self.name("the name of a node")?.into() })
    }

    fn cable(&mut self) -> Result<Cable, ProblemKind> {
        match self.one_of("whose cable", &["node", "farm", "registry"])? {
            0 => self.name("the name of a node").map(|name| Cable::Node(name.into())),
            2 => Ok(Cable::Registry),
            _ => self.name("the name of a farm").map(|name| Cable::Farm(name.into())),
        }
    }

    fn within(&mut self) -> Result<Option<Duration>, ProblemKind> {
        if self.rest.clone().next().is_none() {
            return Ok(None);
        }
        self.one_of("how long", &["within"])?;
        let word = self.next("a number of seconds")?;
        let secs = word.strip_suffix('s').and_then(|number| number.parse().ok());
        match secs.filter(|secs| (1..=WITHIN_SECS_MAX).contains(secs)) {
            Some(secs) => Ok(Some(Duration::from_secs(secs))),
            None => Err(ProblemKind::Within { word: cut(word) }),
        }
    }

    fn expect(&mut self) -> Result<Step, ProblemKind> {
        if self.rest.clone().next() == Some("matrix") {
            self.rest.next();
            return Ok(Step::ExpectMatrix);
        }
        let from = party(self.next("who sends")?)?;
        let to = party(self.next("who receives")?)?;
        let pass = self.one_of("pass or stop", &["pass", "stop"])? == 0;
        let traffic = self.rest.next().map_or(Ok(Traffic::Echo), traffic)?;
        Ok(Step::Expect(Expectation { from, to, pass, traffic }))
    }
}

/// As a [`Party`] is shown; no gateway, which sends nothing by itself.
fn party(word: &str) -> Result<Party, ProblemKind> {
    if word == "internet" {
        return Ok(Party::Internet);
    }
    let workload = |(network, name): (&str, &str)| {
        Some(Party::Workload { network: network.parse().ok()?, name: name.parse().ok()? })
    };
    word.split_once(':').and_then(workload).ok_or_else(|| ProblemKind::Party { word: cut(word) })
}

/// As a [`Traffic`] is shown.
fn traffic(word: &str) -> Result<Traffic, ProblemKind> {
    let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
    let port = match word.split_once('/') {
        Some(("tcp", text)) => port(text).map(Traffic::Tcp),
        Some(("udp", text)) => port(text).map(Traffic::Udp),
        Some(_) => None,
        None => (word == "echo").then_some(Traffic::Echo),
    };
    port.ok_or_else(|| ProblemKind::Traffic { word: cut(word) })
}
