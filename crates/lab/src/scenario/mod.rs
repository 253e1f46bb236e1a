//! A scenario: what happens to a farm that is up, step by step, as its `scenario.toml` says.
//!
//! ```text
//! text ──parse──▶ Scenario ──check──▶ Script ──play──▶ what came of each step
//!        words              what the steps name, in the world as it then is
//! ```
//!
//! Owns: the words of the file, and what a step may name. All of it is known to be sound before anything is built; must
//! not touch a farm itself: `play` alone does.

mod check;
mod load;
mod parse;
mod play;
mod problem;
#[cfg(test)]
mod tests;

use std::time::Duration;

use sixfold_core::id::{FarmId, NetworkId, NodeId};
use sixfold_core::reach::{Party, Traffic};

pub use check::check;
pub use load::load;
pub use parse::parse;
pub use play::play;
pub use problem::{Problem, ProblemKind, Problems};

use crate::farm::{Declared, Process};

/// The file's name in its folder: it is none of the farm's or its networks' files.
pub const FILE: &str = "scenario.toml";

/// Steps whose words are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The file's name, for what is wrong with a step.
    pub file: String,
    /// In their order.
    pub steps: Vec<Said>,
}

/// A step as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The line, from 1.
    pub line: usize,
    /// Its words, a space between them.
    pub text: String,
    /// What they mean.
    pub step: Step,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A network file's network comes, or becomes another.
    Apply {
        /// Within the scenario's folder.
        file: String,
    },
    /// A network goes.
    Delete(NetworkId),
    /// A process ends at once and stays away.
    Kill(Process),
    /// A process ends, if it runs, and is started again.
    Restart(Process),
    /// A node's processes and namespaces go, with all that no disk holds, and it starts again.
    Reboot(NodeId),
    /// Nothing passes a cable any more.
    Cut(Cable),
    /// Everything passes it again.
    Heal(Cable),
    /// Until every node is in sync and nothing is left to tell.
    WaitInSync {
        /// For so long at most.
        within: Option<Duration>,
    },
    /// Everything that the model says, by packets.
    ExpectMatrix,
    /// Packets from one to another.
    Expect(Expectation),
}

/// A cable of the world around the nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cable {
    /// A node's own.
    Node(NodeId),
    /// A farm's, to the Internet.
    Farm(FarmId),
    /// The registry's.
    Registry,
}

/// What somebody expects of packets, whatever the model says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Who sends.
    pub from: Party,
    /// To whom.
    pub to: Party,
    /// Whether they arrive and are answered, in every family in which the receiver has an address; else none is, in any.
    pub pass: bool,
    /// What is sent.
    pub traffic: Traffic,
}

/// Steps that can be done one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// In their order.
    pub acts: Vec<Act>,
}

/// A step, and what is declared after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// As it was written.
    pub said: Said,
    /// What is declared from then on, where the step changes it.
    pub declared: Option<Declared>,
}
