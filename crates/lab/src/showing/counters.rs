//! What stopped packets, counted: by rules, and by routes that lead nowhere.
//!
//! ```text
//! lab ── NETNS\n ──▶ a process in the node ── one line of JSON ──▶ lab
//! ```
//!
//! Owns: reading a namespace's counters from inside its node, and asking for them from outside. Must not judge them.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};
use sixfold_core::id::NodeId;
use sixfold_core::name::{NetnsName, rule};
use sixfold_core::reach::{By, Stop};
use sixfold_kernel::linux::Config;
use sixfold_kernel::netns::{Directory, NetnsError, Worker};
use sixfold_kernel::nft::{self, NftError, NftSocket};

use crate::enclosure::SELF;
use crate::node::Door;

/// Why counters cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// The namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Its table cannot be read.
    #[error(transparent)]
    Firewall(#[from] NftError),
    /// Its statistics, or the process that reads them.
    #[error("cannot read counters of {netns}")]
    Read {
        /// The namespace.
        netns: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The node has no keeper.
    #[error("there is no node {node}")]
    NoNode {
        /// The node.
        node: NodeId,
    },
    /// There is no such rule.
    #[error("no rule counts as {stop}")]
    NoRule {
        /// What was asked for.
        stop: String,
    },
}

/// A namespace's counters, in packets since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// By chain and the rule's comment.
    pub rules: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Counted {
    /// What one stop has stopped; `None`: there is no such rule. A route refuses IPv4 alone: between networks over IPv6 it
    /// is a rule that decides.
    #[must_use]
    pub fn of(&self, by: &By) -> Option<u64> {
        match by {
            By::Rule { chain, comment } => self.rules.get(chain)?.get(comment).copied(),
            By::Unreachable => self.rules.get("source")?.get(rule::NO_WAY_V4).copied(),
        }
    }
}

/// Answers for each namespace named on the standard input with a line on the standard output, until the input ends.
/// Runs inside a node.
///
/// # Errors
/// If a namespace cannot be entered or read.
pub fn serve() -> Result<(), CountersError> {
    let (worker, directory) = (Worker::start()?, Directory::new(Config::default().netns_dir)?);
    for line in io::stdin().lines() {
        let line = line.map_err(unread("the node"))?;
        let missing = |_| NetnsError::Ended;
        let entrance = directory.open(&NetnsName::try_from(line.as_str()).map_err(missing)?)?;
        let counted = worker.within(&entrance, read_here)??;
        let mut out = io::stdout().lock();
        let answer = serde_json::to_string(&counted).map_err(io::Error::from);
        answer.and_then(|answer| writeln!(out, "{answer}")).map_err(unread(&line))?;
    }
    Ok(())
}

fn unread(netns: &str) -> impl FnOnce(io::Error) -> CountersError {
    let netns = netns.to_owned();
    |source| CountersError::Read { netns, source }
}

/// Reads the counters of the calling thread's namespace.
fn read_here() -> Result<Counted, CountersError> {
    let mut rules: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for ((chain, comment), counter) in nft::counters(&mut NftSocket::open()?)? {
        rules.entry(chain.0.into_owned()).or_default().insert(comment, counter.packets);
    }
    Ok(Counted { rules })
}

/// The processes that read counters, one in each node that was asked.
#[derive(Debug)]
pub struct Counters {
    keepers: BTreeMap<NodeId, u32>,
    readers: BTreeMap<NodeId, Reader>,
}

#[derive(Debug)]
struct Reader {
    /// Its end ends the process.
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Counters {
    /// Readers for these nodes, by their keepers; each is started when first asked.
    #[must_use]
    pub fn new(keepers: BTreeMap<NodeId, u32>) -> Self {
        Self { keepers, readers: BTreeMap::new() }
    }

    /// All counters of one namespace.
    ///
    /// # Errors
    /// If its node or it is not there, or cannot be read.
    pub fn read(&mut self, node: &NodeId, netns: &NetnsName) -> Result<Counted, CountersError> {
        if !self.readers.contains_key(node) {
            let keeper =
                *self.keepers.get(node).ok_or_else(|| CountersError::NoNode { node: node.clone() })?;
            let reader = Reader::start(keeper).map_err(unread(node.as_str()))?;
            self.readers.insert(node.clone(), reader);
        }
        let reader =
            self.readers.get_mut(node).ok_or_else(|| CountersError::NoNode { node: node.clone() })?;
        let answer = reader.ask(netns).map_err(unread(netns.as_str()))?;
        serde_json::from_str(&answer).map_err(io::Error::from).map_err(unread(netns.as_str()))
    }

    /// What one stop has stopped, in packets.
    ///
    /// # Errors
    /// If it cannot be read, or there is no such rule.
    pub fn of(&mut self, stop: &Stop) -> Result<u64, CountersError> {
        let counted = self.read(&stop.node, &stop.netns)?;
        counted.of(&stop.by).ok_or_else(|| CountersError::NoRule { stop: stop.to_string() })
    }
}

impl Reader {
    fn start(keeper: u32) -> io::Result<Self> {
        let door = Door { keeper: Some(keeper), netns: None };
        let mut command = Command::new(SELF);
        command.args(door.words()).args([SELF, "lab", "counters"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let missing = || io::Error::other("it was asked for a pipe");
        let asks = child.stdin.take().ok_or_else(missing)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        Ok(Self { asks, answers })
    }

    fn ask(&mut self, netns: &NetnsName) -> io::Result<String> {
        writeln!(self.asks, "{netns}")?;
        let mut answer = String::new();
        match self.answers.read_line(&mut answer)? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the reader has ended; its words are on the standard error",
            )),
            _ => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_is_not_there_has_no_count() {
        let one =
            |chain: &str, comment: &str, count| (chain.to_owned(), [(comment.to_owned(), count)].into());
        let counted =
            Counted { rules: [one("input", "closed", 3), one("source", rule::NO_WAY_V4, 4)].into() };
        let by = |comment: &str| By::Rule { chain: "input".to_owned(), comment: comment.to_owned() };
        assert_eq!(counted.of(&by("closed")), Some(3));
        assert_eq!(counted.of(&by("open")), None);
        assert_eq!(counted.of(&By::Unreachable), Some(4));
    }
}
