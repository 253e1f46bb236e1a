//! Plays a script on a farm that runs: each step, what came of it, and on to the next, until one fails.
//!
//! Owns: the order, and when a step has failed. Must not know how a step is done: `farm` and `showing` do.

use std::time::{Duration, Instant};

use super::{Act, Script, Step};
use crate::farm::{FarmError, Running};
use crate::job::{JobError, PATIENCE};
use crate::matrix::MatrixReport;
use crate::report::{Report, StepReport};
use crate::showing::{Showing, ShowingError};

/// What a step came to.
struct Came {
    /// What was seen, where it is not as it should be.
    amiss: Vec<String>,
    /// A few words on what was, where it is.
    said: String,
}

impl Came {
    fn well(said: impl Into<String>) -> Self {
        Self { amiss: Vec::new(), said: said.into() }
    }

    fn amiss(amiss: Vec<String>) -> Self {
        Self { amiss, said: String::new() }
    }
}

/// A farm, and what is known of it while its scenario is played.
struct Stage<'a> {
    farm: &'a mut Running,
    showing: &'a mut Showing,
    matrix: MatrixReport,
}

/// Plays it all, or up to the first step that fails.
///
/// # Errors
/// Where the machine is at fault and not the farm.
pub fn play(
    script: &Script,
    (farm, showing): (&mut Running, &mut Showing),
    (began, progress): (Instant, &mut dyn FnMut(&str)),
) -> Result<Report, JobError> {
    let mut stage = Stage { farm, showing, matrix: MatrixReport::default() };
    let mut steps: Vec<StepReport> = Vec::new();
    for (at, act) in script.acts.iter().enumerate() {
        let heading = format!("step {} of {}: {}", at + 1, script.acts.len(), act.said.text);
        progress(&heading);
        let start = Instant::now();
        let came = stage.act(act, progress)?;
        let step = StepReport::new(&act.said, (came.amiss, start.elapsed()));
        let outcome = if step.held { came.said } else { format!("NOT held: {}", step.seen.join("; ")) };
        progress(&format!("{heading}: {outcome} ({} ms)", step.millis));
        let held = step.held;
        steps.push(step);
        if !held {
            break;
        }
    }
    let Stage { farm, showing, matrix, .. } = stage;
    Ok(showing.scenario(farm, (matrix, steps), began))
}

impl Stage<'_> {
    fn act(&mut self, act: &Act, progress: &mut dyn FnMut(&str)) -> Result<Came, JobError> {
        let came = match &act.said.step {
            Step::Apply { .. } | Step::Delete(_) => {
                self.showing.end_probes(self.farm);
                self.declare(act, progress)?
            }
            Step::Kill(process) => {
                self.farm.kill(process);
                Came::well("killed")
            }
            Step::Restart(process) => {
                self.farm.restart(process, progress)?;
                Came::well("started")
            }
            Step::Reboot(node) => {
                self.showing.end_probes(self.farm);
                self.farm.reboot(node, progress)?;
                Came::well("started")
            }
            Step::Cut(cable) => {
                self.farm.cut(cable)?;
                Came::well("cut")
            }
            Step::Heal(cable) => {
                self.farm.heal(cable)?;
                Came::well("healed")
            }
            Step::WaitInSync { within } => self.wait(within.unwrap_or(PATIENCE), progress)?,
            Step::ExpectMatrix => self.matrix(progress)?,
            Step::Expect(expectation) => {
                let seen = self.showing.expect(self.farm, expectation);
                seen.map_or_else(unseen, |seen| Ok(Came { amiss: seen, said: "so it is".to_owned() }))?
            }
        };
        match self.farm.all_run() {
            Err(error @ FarmError::Ended { .. }) if came.amiss.is_empty() => Ok(Came::amiss(told(&error))),
            _ => Ok(came),
        }
    }

    fn declare(&mut self, act: &Act, progress: &mut dyn FnMut(&str)) -> Result<Came, JobError> {
        let Some(declared) = act.declared.clone() else { return Ok(Came::well("declared")) };
        match self.farm.change(declared, None, progress) {
            Ok(()) => Ok(Came::well("declared")),
            Err(error @ FarmError::Said { .. }) => Ok(Came::amiss(told(&error))),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&mut self, patience: Duration, progress: &mut dyn FnMut(&str)) -> Result<Came, JobError> {
        match self.farm.settle(patience, progress) {
            Ok(()) => Ok(Came::well("in sync")),
            Err(error @ (FarmError::Late { .. } | FarmError::Ended { .. })) => Ok(Came::amiss(told(&error))),
            Err(error) => Err(error.into()),
        }
    }

    fn matrix(&mut self, progress: &mut dyn FnMut(&str)) -> Result<Came, JobError> {
        match self.showing.matrix(self.farm, progress) {
            Ok(matrix) => {
                let (held, all) = (matrix.cells.iter().filter(|cell| cell.held).count(), matrix.cells.len());
                let words = format!("{held} of {all} expectations held");
                let counters = matrix.counters.iter().filter(|counter| !counter.held).count();
                let came = match matrix.held() {
                    true => Came::well(words),
                    false => Came::amiss(vec![format!("{words}, {counters} counters did not")]),
                };
                self.matrix = matrix;
                Ok(came)
            }
            Err(error) => unseen(error),
        }
    }
}

/// A probe that cannot be where the model has somebody is a finding; that none can be started is the machine's fault.
fn unseen(error: ShowingError) -> Result<Came, JobError> {
    match error {
        error @ (ShowingError::Probe { .. } | ShowingError::Nowhere { .. }) => {
            Ok(Came::amiss(vec![crate::job::chain(&error).join(": ")]))
        }
        error => Err(error.into()),
    }
}

fn told(error: &FarmError) -> Vec<String> {
    std::iter::once(error.to_string()).chain(error.hints()).collect()
}
