//! Of a report: this node as its agent, its tunnel process and its kernel have it.

use std::fmt::{Debug, Write as _};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sixfold_agent::disk;
use sixfold_agent::dry::dry;
use sixfold_agent::received::Received;
use sixfold_agent::remote::joined::Joined;
use sixfold_agent::remote::judge;
use sixfold_agent::run::Places;
use sixfold_agent::store::Store;
use sixfold_core::limit;
use sixfold_core::model::Status;
use sixfold_core::state::{Namespace, NodeState};
use sixfold_kernel::{Kernel as _, Scope};

use super::{Found, Part, Words, missing};
use crate::agent::NodeArgs;
use crate::failed::Failed;
use crate::node::joined_failed;
use crate::tunnel;

/// So much of the end of a log.
const LOG_BYTES_MAX: u64 = 128 * 1024;

pub(super) fn parts(node: &NodeArgs) -> Vec<Part> {
    let begin = |title, words, gather: fn(&NodeArgs) -> Found| {
        let node = node.clone();
        Part::begin(title, words, move || gather(&node))
    };
    vec![
        begin("agent", Words::Free, agent),
        begin("status", Words::Free, status),
        begin("tunnel process", Words::Ours, devices),
        begin("last good snapshot", Words::Ours, snapshot),
        begin("what an agent would change", Words::Ours, plan),
        begin("namespaces and what is in them", Words::Ours, observed),
        begin("end of the agent's log", Words::Free, log),
    ]
}

/// Whether one runs, and what it takes.
fn agent(node: &NodeArgs) -> Found {
    let pid = agent_pid(&node.places())?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(missing)?;
    let wanted = ["VmRSS:", "VmHWM:", "Threads:", "CapEff:", "Uid:"];
    let lines = status.lines().filter(|line| wanted.iter().any(|key| line.starts_with(key)));
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).map_err(missing)?.count();
    Ok(format!("pid {pid}\n{lines}open files: {open}\n"))
}

/// Who holds the agent's lock. It is looked up, not tried: an agent that starts just then would not get it.
fn agent_pid(places: &Places) -> Result<u32, Failed> {
    let path = places.lock();
    let meta = fs::metadata(&path).map_err(|error| Failed::cannot("read", &path, error))?;
    let locks = fs::read_to_string("/proc/locks").map_err(missing)?;
    let inode = format!(":{}", meta.ino());
    let holder = locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let held = words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|file| file.ends_with(&inode));
        words.get(4).filter(|_| held)?.parse().ok()
    });
    holder.ok_or_else(|| missing(format!("no agent runs: nobody holds {}", path.display())))
}

fn status(node: &NodeArgs) -> Found {
    let path = node.places().status();
    let bytes = disk::read(&path, limit::SNAPSHOT_BYTES_MAX).map_err(missing)?;
    let bytes = bytes.ok_or_else(|| missing(format!("no status at {}", path.display())))?;
    let status: Status = serde_json::from_slice(&bytes).map_err(missing)?;
    Ok(format!("{}\n", serde_json::to_string_pretty(&status).map_err(missing)?))
}

fn devices(node: &NodeArgs) -> Found {
    tunnel::shown(&node.tunnel_socket()).map_err(missing)
}

/// Of a registry, where the node has joined one; else of a file.
fn last_good(node: &NodeArgs) -> Result<Received, Failed> {
    let places = node.places();
    let dir = &places.state;
    // A folder that cannot be entered looks like one that has no snapshot.
    let hint = Some("name the folder of the agent with --state, if it has another");
    fs::read_dir(dir).map_err(|error| Failed::cannot("read", dir, error).hint(hint))?;
    let (received, damaged) = match Joined::read(&places.joined()).map_err(joined_failed)? {
        Some(joined) => judge::peek(dir, &joined),
        None => {
            let loaded = Store::<Received>::peek(dir);
            (loaded.received, loaded.damaged.iter().map(ToString::to_string).collect())
        }
    };
    received.ok_or_else(|| missing(format!("no snapshot in {}", dir.display())).details(damaged).hint(hint))
}

fn snapshot(node: &NodeArgs) -> Found {
    let Received { snapshot, unknown, .. } = last_good(node)?;
    // By its place only: what a field holds that is not known here may be anything.
    let unknown: String =
        unknown.iter().map(|place| format!("a field of a later version: {place}\n")).collect();
    Ok(format!("{unknown}{}\n", serde_json::to_string_pretty(&snapshot).map_err(missing)?))
}

fn observe(node: &NodeArgs) -> Result<NodeState, Failed> {
    node.kernel()?.observe(&Scope::All).map_err(|error| {
        let hint = error.hint();
        Failed::environment(error).hint(hint)
    })
}

fn plan(node: &NodeArgs) -> Found {
    let (snapshot, observed, ground) = (last_good(node)?.snapshot, observe(node)?, node.ground()?);
    let dry = dry(&snapshot, &observed, ground(), Some(&node.places()));
    let mut text = format!("{} steps to revision {}\n", dry.plan.len(), snapshot.revision);
    if !dry.new_keys.is_empty() {
        writeln!(text, "{} keys would be made", dry.new_keys.len()).expect("a String takes all text");
    }
    for (key, error) in &dry.failed_keys {
        writeln!(text, "the key of {}-{} cannot be used: {error}", key.index, key.number)
            .expect("a String takes all text");
    }
    Ok(format!("{text}{}", dry.plan))
}

fn observed(node: &NodeArgs) -> Found {
    let observed = observe(node)?;
    let mut text = format!("{} namespaces\n", observed.namespaces.len());
    for (netns, namespace) in &observed.namespaces {
        writeln!(text, "{netns}: {} links", namespace.links.len()).expect("a String takes all text");
        describe(&mut text, namespace);
    }
    Ok(text)
}

/// A line for each object, in the words of the types.
fn describe(text: &mut String, namespace: &Namespace) {
    fn lines<K: Debug, V: Debug>(text: &mut String, kind: &str, objects: impl IntoIterator<Item = (K, V)>) {
        for (key, value) in objects {
            writeln!(text, "  {kind} {key:?} {value:?}").expect("a String takes all text");
        }
    }
    lines(text, "link", &namespace.links);
    lines(text, "address", &namespace.addresses);
    lines(text, "route", &namespace.routes);
    lines(text, "nexthop", &namespace.nexthops);
    lines(text, "neighbour", &namespace.neighbours);
    lines(text, "device", &namespace.devices);
    lines(text, "peer", &namespace.peers);
    lines(text, "sysctl", &*namespace.sysctls);
    lines(text, "firewall", namespace.firewall.iter().map(|firewall| ("", firewall)));
}

/// The end of it, where the agent's standard error is a file; else where it goes.
fn log(node: &NodeArgs) -> Found {
    let pid = agent_pid(&node.places())?;
    let path = PathBuf::from(format!("/proc/{pid}/fd/2"));
    let goes = fs::read_link(&path).map_err(|error| Failed::cannot("read", &path, error))?;
    // A terminal or a pipe would be read instead of its reader.
    let meta = fs::metadata(&path).map_err(|error| Failed::cannot("read", &path, error))?;
    if !meta.is_file() {
        let words = format!("the agent's log goes to {}", goes.display());
        return Err(missing(words).hint(Some(format!("with systemd: journalctl _PID={pid}"))));
    }
    let tail = tail(&path).map_err(|error| Failed::cannot("read", &goes, error))?;
    Ok(format!("{}:\n{tail}", goes.display()))
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line may be half of one: half a key would not look like one.
    Ok(match text.split_once('\n') {
        Some((_, rest)) if length > LOG_BYTES_MAX => rest.to_owned(),
        _ => text,
    })
}
