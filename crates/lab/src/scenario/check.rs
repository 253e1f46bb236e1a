//! Whether the steps of a scenario can be done one after the other: what each names, in the world as it is by then.
//!
//! Owns: that play over the model. Must not read a file: it is given their texts.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::id::{FarmId, NodeId};
use sixfold_core::model::World;
use sixfold_core::reach::Party;
use sixfold_core::spec::{self, FarmSpec};

use super::problem::{Problem, ProblemKind, Problems};
use super::{Act, Cable, Expectation, Process, Said, Scenario, Script, Step};

/// What a step says of something that is not as it should be.
const DOWN: &str = "is down";
const CUT: &str = "is cut";

/// Plays the steps over the model: `files` are the folder's, `applied` the texts of the files that steps name, where they
/// are there.
///
/// # Errors
/// Everything wrong with the steps.
pub fn check(
    scenario: Scenario,
    (world, files): (World, &[(String, String)]),
    applied: &BTreeMap<String, String>,
) -> Result<Script, Problems> {
    let farms = files.iter().filter_map(|(name, text)| spec::parse_farm(text, name).ok()).collect();
    let mut stage = Stage { world, farms, applied, down: BTreeSet::new(), cut: BTreeSet::new() };
    let (mut acts, mut problems) = (Vec::new(), Vec::new());
    for said in scenario.steps {
        match stage.act(&said) {
            Ok(changes) => {
                let world = changes.then(|| stage.world.clone());
                acts.push(Act { said, world });
            }
            Err(what) => problems.push(Problem { file: scenario.file.clone(), line: said.line, what }),
        }
    }
    if problems.is_empty() { Ok(Script { acts }) } else { Err(Problems::Steps(problems)) }
}

/// The farm by then.
struct Stage<'a> {
    world: World,
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
                let known = || self.world.networks().keys().map(ToString::to_string).collect();
                if self.world.network(network).is_none() {
                    return Err(nobody("network", network, known()));
                }
                self.world.remove_network(network);
                return Ok(true);
            }
            Step::Kill(process) => {
                self.node(&process.node)?;
                if !self.down.insert(process.clone()) {
                    return Err(ProblemKind::Already { what: process.to_string(), is: DOWN });
                }
            }
            Step::Restart(process) => {
                self.node(&process.node)?;
                self.down.remove(process);
            }
            Step::Reboot(node) => {
                self.node(node)?;
                self.down.retain(|process| process.node != *node);
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
        let text = self.applied.get(file).ok_or_else(|| ProblemKind::NoFile { file: file.to_owned() })?;
        let wrong = |source| ProblemKind::File { file: file.to_owned(), source };
        let spec = spec::parse_network(text, file);
        let shape = |error| spec::Problems::of_shape(vec![error]).expect("there is one error");
        let spec = spec.map_err(|error| wrong(shape(error)))?;
        let alone = spec::validate(self.farms.clone(), vec![spec]).map_err(wrong)?;
        for network in alone.networks().values() {
            self.world.insert_network(network.clone());
        }
        Ok(())
    }

    fn node(&self, node: &NodeId) -> Result<(), ProblemKind> {
        let known = || self.world.nodes().map(|(_, node)| node.id().to_string()).collect();
        self.world.node(node).map(drop).ok_or_else(|| nobody("node", node, known()))
    }

    fn farm(&self, farm: &FarmId) -> Result<(), ProblemKind> {
        let known = || self.world.farms().keys().map(ToString::to_string).collect();
        self.world.farm(farm).map(drop).ok_or_else(|| nobody("farm", farm, known()))
    }

    fn cable(&self, cable: &Cable) -> Result<(), ProblemKind> {
        match cable {
            Cable::Node(node) => self.node(node),
            Cable::Farm(farm) => self.farm(farm),
        }
    }

    fn party(&self, party: &Party) -> Result<(), ProblemKind> {
        let Party::Workload { network, name } = party else { return Ok(()) };
        if self.world.network(network).and_then(|network| network.workload(name)).is_some() {
            return Ok(());
        }
        let all = self.world.networks().values().flat_map(|network| {
            network.workloads().iter().map(|workload| format!("{}:{}", network.id(), workload.name))
        });
        Err(nobody("workload", party, all.collect()))
    }

    fn can_be_in_sync(&self) -> Result<(), ProblemKind> {
        let down = self.down.iter().map(|process| (process.to_string(), DOWN));
        let cut = self.cut.iter().map(|cable| (cable.to_string(), CUT));
        match down.chain(cut).next() {
            Some((what, is)) => Err(ProblemKind::NeverInSync { what, is }),
            None => Ok(()),
        }
    }
}

fn nobody(what: &'static str, name: &impl ToString, known: Vec<String>) -> ProblemKind {
    ProblemKind::Nobody { what, name: name.to_string(), known }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the {} of {}", self.service.name(), self.node)
    }
}

impl std::fmt::Display for Cable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(node) => write!(f, "the cable of node {node}"),
            Self::Farm(farm) => write!(f, "the cable of farm {farm}"),
        }
    }
}
