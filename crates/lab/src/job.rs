//! What a person asked of the lab, from the first process to the report.
//!
//! ```text
//! top:   load ▶ claim the socket ▶ walls ▶ wait ▶ release
//! inner: furnish ▶ start the farm ▶ settle ▶ scenario, or the matrix ▶ report   (run)
//!                                        ▶ serve until killed                    (up)
//! ```
//!
//! Owns: the order of these. Must not print: it is given where to write a report and whom to tell of progress.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sixfold_core::id::NodeId;

use crate::control::{self, Answer, Ask, ControlError, Conversation};
use crate::enclosure::{self, EnclosureError};
use crate::farm::{Carriers, Declared, FarmError, REGISTRY_LOG, Running};
use crate::files::{self, LoadError};
use crate::node::{self, Door};
use crate::report::Report;
use crate::scenario::{self, Script};
use crate::showing::{Showing, ShowingError};

/// How long a farm may take until every node is in sync.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two rounds of a lab that is up.
const ROUND: Duration = Duration::from_millis(50);

/// Why a job is not done.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The folder gives no world.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No walls.
    #[error(transparent)]
    Enclosure(#[from] EnclosureError),
    /// No way to be reached.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The farm does not run.
    #[error(transparent)]
    Farm(#[from] FarmError),
    /// The matrix could not be probed.
    #[error(transparent)]
    Probe(#[from] ShowingError),
    /// Something was said of a node that there is not.
    #[error("no farm has a node {node}")]
    NoNode {
        /// The name that was given.
        node: NodeId,
    },
    /// The logs cannot be kept.
    #[error("cannot keep logs in {}", path.display())]
    Logs {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl JobError {
    /// What to do about it, a line each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let one = |hint: Option<&'static str>| hint.map(str::to_owned).into_iter().collect();
        match self {
            Self::Load(error) => one(error.hint()),
            Self::Enclosure(error) => one(error.hint()),
            Self::Control(error) => error.hint().into_iter().collect(),
            Self::Farm(error) => error.hints(),
            Self::NoNode { .. } => one(Some("`sixfold show DIR` lists the nodes")),
            Self::Probe(_) | Self::Logs { .. } => Vec::new(),
        }
    }

    /// Whether what was asked for is at fault, and not the machine.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoNode { .. } => true,
            Self::Load(error) => error.is_refusal(),
            Self::Farm(error) => {
                let refused = matches!(error, FarmError::Said { refused: true, .. });
                refused || matches!(error, FarmError::OtherNodes | FarmError::Late { .. })
            }
            _ => false,
        }
    }
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The folder of farm and network files.
    pub dir: PathBuf,
    /// The report as one document, not as a text.
    pub json: bool,
    /// Whether the scenario is played, or the matrix probed if there is none.
    pub probe: bool,
    /// Where logs are kept.
    pub keep_logs: Option<PathBuf>,
    /// The folder of the socket, for a lab that stays up.
    pub up: Option<PathBuf>,
    /// Who carries WireGuard on which node.
    pub wireguard: Carriers,
    /// What the environment of every process of the lab has besides: how it logs.
    pub environment: BTreeMap<String, String>,
}

/// The top's part: walls, and waiting for what happens inside. The caller must have one thread only.
///
/// # Errors
/// If the folder gives no world, another lab is up, or there can be no walls.
pub fn outer(job: &Job, words: &[&str]) -> Result<ExitStatus, JobError> {
    let world = files::load(&job.dir)?;
    scenario::load(&job.dir)?;
    if let Some(node) = job.wireguard.keys().find(|node| world.node(node).is_none()) {
        return Err(JobError::NoNode { node: node.clone() });
    }
    if let Some(folder) = &job.up {
        control::claim(folder)?;
    }
    let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    arguments.push(serde_json::to_string(job).map_err(|error| EnclosureError::Start(error.into()))?);
    let ended = enclosure::open(&arguments, &job.environment).and_then(enclosure::Inner::wait);
    if let Some(folder) = &job.up {
        control::release(folder);
    }
    Ok(ended?)
}

/// The inner process's part: all of it. Returns whether every expectation held; a lab that is up stays so until killed.
///
/// # Errors
/// Whatever keeps the farm from running.
pub fn inner(
    job: &Job,
    print: &mut dyn FnMut(&str),
    progress: &mut dyn FnMut(&str),
) -> Result<bool, JobError> {
    let began = Instant::now();
    // Before /run is another.
    let declared = (files::declared(&job.dir)?, scenario::load(&job.dir)?);
    enclosure::furnish()?;
    let done = live(job, declared, (began, print), progress);
    match &job.keep_logs {
        Some(path) => {
            let kept = keep_logs(path).map_err(|source| JobError::Logs { path: path.clone(), source });
            done.and_then(|held| kept.map(|()| held))
        }
        None => done,
    }
}

fn live(
    job: &Job,
    (declared, script): (Declared, Option<Script>),
    (began, print): (Instant, &mut dyn FnMut(&str)),
    progress: &mut dyn FnMut(&str),
) -> Result<bool, JobError> {
    let listener = job.up.as_deref().map(control::listen).transpose()?;
    let mut showing = Showing::default();
    let mut farm = Running::start(declared, job.wireguard.clone(), progress)?;
    showing.step("declared", began.elapsed());
    farm.settle(PATIENCE, progress)?;
    showing.step("all in sync", began.elapsed());
    if let Some(listener) = listener {
        progress(
            "the lab is up; in another terminal: sixfold lab exec NODE -- COMMAND, or sixfold lab probe",
        );
        progress(&format!("places: {}", places(&farm).join(", ")));
        progress("Ctrl-C ends it");
        serve(&mut farm, &mut showing, (&listener, progress))?;
    }
    let report = match script {
        _ if !job.probe => showing.nodes_alone(&mut farm, began),
        Some(script) => scenario::play(&script, (&mut farm, &mut showing), (began, progress))?,
        None => showing.probe(&mut farm, (began, progress))?,
    };
    print(&shown(&report, job.json));
    Ok(report.held)
}

fn shown(report: &Report, json: bool) -> String {
    match json {
        true => serde_json::to_string_pretty(report).expect("texts and numbers have a form in JSON") + "\n",
        false => report.text(),
    }
}

/// Plays the service manager of the registry and of each node, and answers callers, for ever.
fn serve(
    farm: &mut Running,
    showing: &mut Showing,
    (listener, progress): (&UnixListener, &mut dyn FnMut(&str)),
) -> Result<(), JobError> {
    loop {
        for line in farm.tend()? {
            progress(&line);
        }
        while let Some((mut conversation, ask)) = Conversation::next(listener) {
            let answer = match ask {
                Ask::Find(name) => {
                    find(farm, &name).map_or_else(|| Answer::Unknown(places(farm)), Answer::Door)
                }
                Ask::Probe { json } => probe(farm, showing, (json, &mut conversation)),
                Ask::Apply { files, confirm_removal } => {
                    apply(farm, showing, (&files, confirm_removal, &mut conversation))
                }
            };
            conversation.say(&answer);
        }
        thread::sleep(ROUND);
    }
}

fn probe(farm: &mut Running, showing: &mut Showing, (json, to): (bool, &mut Conversation)) -> Answer {
    let mut tell = |text: &str| to.say(&Answer::Progress(text.to_owned()));
    match showing.probe(farm, (Instant::now(), &mut tell)) {
        Ok(report) => Answer::Report { text: shown(&report, json), holds: report.held },
        Err(error) => failed(&error.into()),
    }
}

/// Gives the farm another world and waits until every node follows.
fn apply(
    farm: &mut Running,
    showing: &mut Showing,
    (files, confirm_removal, to): (&[(String, String)], Option<u32>, &mut Conversation),
) -> Answer {
    let mut tell = |text: &str| to.say(&Answer::Progress(text.to_owned()));
    let began = Instant::now();
    let declared = match Declared::of(files) {
        Ok(declared) => declared,
        Err(problems) => return failed(&LoadError::Invalid { path: "the folder".into(), problems }.into()),
    };
    let changed = farm.change(declared, confirm_removal, &mut tell).and_then(|()| {
        showing.end_probes(farm);
        farm.settle(PATIENCE, &mut tell)
    });
    match changed {
        Ok(()) => {
            let report = showing.nodes_alone(farm, began);
            let text = report.text() + "Who reaches whom now: sixfold lab probe\n";
            Answer::Report { text, holds: report.held }
        }
        Err(error) => failed(&error.into()),
    }
}

fn failed(error: &JobError) -> Answer {
    Answer::Failed { words: chain(error), hints: error.hints(), refused: error.is_refusal() }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

/// A node, or a namespace around the nodes.
fn find(farm: &Running, name: &str) -> Option<Door> {
    let node = NodeId::try_from(name).ok();
    if let Some(keeper) = node.and_then(|node| farm.keepers().get(&node).copied()) {
        return Some(Door { keeper: Some(keeper), netns: None });
    }
    around().contains(&name.to_owned()).then(|| Door { keeper: None, netns: Some(name.to_owned()) })
}

fn places(farm: &Running) -> Vec<String> {
    farm.keepers().keys().map(ToString::to_string).chain(around()).collect()
}

/// The namespaces around the nodes.
fn around() -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with("node"));
    names.sort();
    names
}

fn keep_logs(to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    match fs::copy(REGISTRY_LOG, to.join("registry")) {
        // It was not started yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        copied => drop(copied?),
    }
    for node in fs::read_dir(node::NODES)? {
        let node = node?;
        let folder = to.join(node.file_name());
        fs::create_dir_all(&folder)?;
        for name in ["log", "sixfold"] {
            for entry in fs::read_dir(node.path().join(name))? {
                let entry = entry?;
                // No sockets, and never the keys' folder.
                if entry.file_type()?.is_file() {
                    fs::copy(entry.path(), folder.join(entry.file_name()))?;
                }
            }
        }
    }
    Ok(())
}
