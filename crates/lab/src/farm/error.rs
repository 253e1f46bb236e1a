//! Why a farm does not run, and what to do about it.

use std::io;
use std::path::PathBuf;

use sixfold_core::model::Fault;
use sixfold_kernel::netns::NetnsError;

use super::GrantedError;
use super::Standing;
use crate::ground::Lack;
use crate::node::NodeError;
use crate::process::{Ended, ProcessError};
use crate::showing::lacks::LacksError;
use crate::world::build::BuildError;

/// Why a farm does not run.
#[derive(Debug, thiserror::Error)]
pub enum FarmError {
    /// The machine lacks something.
    #[error("this machine lacks {}", list(lacks))]
    Ground {
        /// All of it.
        lacks: Vec<Lack>,
    },
    /// Not even namespaces.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// What an owner typed was not done.
    #[error("`{typed}` fails")]
    Said {
        /// What was typed.
        typed: String,
        /// What was said, a line each.
        said: Vec<String>,
        /// What was given is wrong, and not the machine.
        refused: bool,
    },
    /// What an owner types cannot be run.
    #[error("cannot run `{typed}`")]
    Type {
        /// What was typed.
        typed: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The registry does not say by which URL it is reached.
    #[error("the registry does not come up")]
    Silent {
        /// What it says instead.
        said: String,
    },
    /// The registry's word on what it granted is of no use.
    #[error("what the registry granted cannot be told")]
    Granted(#[from] GrantedError),
    /// The declared world is none under its nodes' ids.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// What a node's kernel lacks cannot be told.
    #[error(transparent)]
    Lacks(#[from] LacksError),
    /// The world around the nodes cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A node cannot be made.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A process cannot be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A process that should run has ended.
    #[error("{} ended: {}", ended.name, ended.how)]
    Ended {
        /// Which, and how.
        ended: Ended,
        /// The end of its log.
        log: String,
    },
    /// A file for the owners or nodes.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What no disk holds of a node that reboots cannot be taken away.
    #[error("cannot clear {}", path.display())]
    Forget {
        /// The node's folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another world is not for the nodes that run.
    #[error("these are other nodes, or other cables between them, than those that run")]
    OtherNodes,
    /// Not every node is in sync in time.
    #[error("after {seconds} s not every node is in sync: {}", behind(standings))]
    Late {
        /// How long it was given.
        seconds: u64,
        /// How each node stands.
        standings: Vec<Standing>,
    },
}

impl FarmError {
    /// What to do about it, a line each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Ground { lacks } => {
                lacks.iter().map(|lack| format!("{} ({}): {}", lack.what, lack.reason, lack.cure)).collect()
            }
            Self::Said { said, .. } => said.clone(),
            Self::Silent { said } => said.lines().map(|line| format!("it says: {line}")).collect(),
            Self::Build(error) => error.hint().map(str::to_owned).into_iter().collect(),
            Self::Ended { log, .. } => log.lines().map(|line| format!("its log: {line}")).collect(),
            Self::OtherNodes => vec![
                "networks, workloads and slots of a lab that is up can change; for other nodes end it and start it again"
                    .to_owned(),
            ],
            Self::Late { standings, .. } => standings.iter().flat_map(Standing::complaints).collect(),
            _ => Vec::new(),
        }
    }
}

fn list(lacks: &[Lack]) -> String {
    lacks.iter().map(|lack| lack.what).collect::<Vec<_>>().join(", ")
}

fn behind(standings: &[Standing]) -> String {
    let behind = standings.iter().filter(|standing| !standing.is_done());
    behind.map(|standing| standing.node.to_string()).collect::<Vec<_>>().join(", ")
}
