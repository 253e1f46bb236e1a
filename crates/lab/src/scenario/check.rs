//! Whether the steps of a scenario can be done one after the other: what each names, in the world as it is by then.
//!
//! Owns: that play over the model. Must not read a file: it is given their texts.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::id::{FarmId, NodeId};
use sixfold_core::reach::Party;
use sixfold_core::spec::{self, FarmSpec};

use super::problem::{Problem, ProblemKind, Problems};
use super::{Act, Cable, Expectation, Said, Scenario, Script, Step};
use crate::farm::{Declared, Process, Text};

/// What a step says of something that is not as it should be.
const DOWN: &str = "is down";
const CUT: &str = "is cut";

/// Plays the steps over the model, from what is declared: `applied` has the texts of the files that steps name, where they
/// are there.
///
/// # Errors
/// Everything wrong with the steps.
pub fn check(
    scenario: Scenario,
    declared: Declared,
    applied: &BTreeMap<String, String>,
) -> Result<Script, Problems> {
    let farms = declared.farms.values().filter_map(|file| spec::parse_farm(&file.text, &file.name).ok());
    let farms = farms.collect();
    let mut stage = Stage { declared, farms, applied, down: BTreeSet::new(), cut: BTreeSet::new() };
    let (mut acts, mut problems) = (Vec::new(), Vec::new());
    for said in scenario.steps {
        match stage.act(&said) {
            Ok(changes) => {
                let declared = changes.then(|| stage.declared.clone());
                acts.push(Act { said, declared });
            }
            Err(what) => problems.push(Problem { file: scenario.file.clone(), line: said.line, what }),
        }
    }
    if problems.is_empty() { Ok(Script { acts }) } else { Err(Problems::Steps(problems)) }
}

/// The farm by then.
struct Stage<'a> {
    declared: Declared,
    farms: Vec<FarmSpec>,
    applied: &'a BTreeMap<String, String>,
    down: BTreeSet<Process>,
    cut: BTreeSet<Cable>,
}

impl Stage<'_> {
    /// Does a step; whether it changes what is declared.
    fn act(&mut self, said: &Said) -> Result<bool, ProblemKind> {
        match &said.step {
            Step::Apply { file } => return self.apply(file).map(|()| true),
            Step::Delete(network) => {
                self.can_be_told()?;
                let known = || self.declared.networks.keys().map(ToString::to_string).collect();
                if self.declared.world.remove_network(network).is_none() {
                    return Err(nobody("network", network, known()));
                }
                self.declared.networks.remove(network);
                return Ok(true);
            }
            Step::Kill(process) => {
                self.process(process)?;
                if !self.down.insert(process.clone()) {
                    return Err(ProblemKind::Already { what: process.to_string(), is: DOWN });
                }
            }
            Step::Restart(process) => {
                self.process(process)?;
                self.down.remove(process);
            }
            Step::Reboot(node) => {
                self.node(node)?;
                self.down.retain(|process| !matches!(process, Process::Of { node: of, .. } if of == node));
            }
            Step::Cut(cable) => {
                self.cable(cable)?;
                if !self.cut.insert(cable.clone()) {
                    return Err(ProblemKind::Already { what: cable.to_string(), is: CUT });
                }
            }
            Step::Heal(cable) => {
                self.cable(cable)?;
                if !self.cut.remove(cable) {
                    return Err(ProblemKind::Already { what: cable.to_string(), is: "is whole" });
                }
            }
            Step::WaitInSync { .. } => self.can_be_in_sync()?,
            Step::ExpectMatrix => {}
            Step::Expect(Expectation { from, to, .. }) => {
                self.party(from)?;
                self.party(to)?;
                if from == to {
                    return Err(ProblemKind::Itself { party: from.to_string() });
                }
            }
        }
        Ok(false)
    }

    fn apply(&mut self, file: &str) -> Result<(), ProblemKind> {
        self.can_be_told()?;
        let text = self.applied.get(file).ok_or_else(|| ProblemKind::NoFile { file: file.to_owned() })?;
        let wrong = |source| ProblemKind::File { file: file.to_owned(), source };
        let spec = spec::parse_network(text, file);
        let shape = |error| spec::Problems::of_shape(vec![error]).expect("there is one error");
        let spec = spec.map_err(|error| wrong(shape(error)))?;
        let alone = spec::validate(self.farms.clone(), vec![spec]).map_err(wrong)?;
        for network in alone.networks().values() {
            self.declared.world.insert_network(network.clone());
            let text = Text { name: file.to_owned(), text: text.clone() };
            self.declared.networks.insert(network.id().clone(), text);
        }
        Ok(())
    }

    fn process(&self, process: &Process) -> Result<(), ProblemKind> {
        match process {
            Process::Registry => Ok(()),
            Process::Of { node, .. } => self.node(node),
        }
    }

    fn node(&self, node: &NodeId) -> Result<(), ProblemKind> {
        let known = || self.declared.world.nodes().map(|(_, node)| node.id().to_string()).collect();
        self.declared.world.node(node).map(drop).ok_or_else(|| nobody("node", node, known()))
    }

    fn farm(&self, farm: &FarmId) -> Result<(), ProblemKind> {
        let known = || self.declared.world.farms().keys().map(ToString::to_string).collect();
        self.declared.world.farm(farm).map(drop).ok_or_else(|| nobody("farm", farm, known()))
    }

    fn cable(&self, cable: &Cable) -> Result<(), ProblemKind> {
        match cable {
            Cable::Node(node) => self.node(node),
            Cable::Farm(farm) => self.farm(farm),
            Cable::Registry => Ok(()),
        }
    }

    fn party(&self, party: &Party) -> Result<(), ProblemKind> {
        let Party::Workload { network, name } = party else { return Ok(()) };
        if self.declared.world.network(network).and_then(|network| network.workload(name)).is_some() {
            return Ok(());
        }
        let all = self.declared.world.networks().values().flat_map(|network| {
            network.workloads().iter().map(|workload| format!("{}:{}", network.id(), workload.name))
        });
        Err(nobody("workload", party, all.collect()))
    }

    fn can_be_in_sync(&self) -> Result<(), ProblemKind> {
        // Without the registry a node is in sync with what it knew last, and nobody can have said anything since.
        let of_nodes = |process: &Process| *process != Process::Registry;
        self.whole("not every node can be in sync", of_nodes, |cable| *cable != Cable::Registry)
    }

    /// Owners are somewhere on the Internet.
    fn can_be_told(&self) -> Result<(), ProblemKind> {
        let registry = |process: &Process| *process == Process::Registry;
        self.whole("nobody can tell the registry", registry, |cable| *cable == Cable::Registry)
    }

    /// Whether none of these processes is down and none of these cables cut.
    fn whole(
        &self,
        wish: &'static str,
        processes: impl Fn(&Process) -> bool,
        cables: impl Fn(&Cable) -> bool,
    ) -> Result<(), ProblemKind> {
        let down = self.down.iter().filter(|process| processes(process));
        let cut = self.cut.iter().filter(|cable| cables(cable));
        let down = down.map(|process| (process.to_string(), DOWN));
        match down.chain(cut.map(|cable| (cable.to_string(), CUT))).next() {
            Some((what, is)) => Err(ProblemKind::Hindered { wish, what, is }),
            None => Ok(()),
        }
    }
}

fn nobody(what: &'static str, name: &impl ToString, known: Vec<String>) -> ProblemKind {
    ProblemKind::Nobody { what, name: name.to_string(), known }
}

impl std::fmt::Display for Cable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(node) => write!(f, "the cable of node {node}"),
            Self::Farm(farm) => write!(f, "the cable of farm {farm}"),
            Self::Registry => f.write_str("the cable of the registry"),
        }
    }
}
