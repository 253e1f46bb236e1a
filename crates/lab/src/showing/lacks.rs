//! What of a node's kernel is not as the declared world has it: told from inside the node, by core's plan.
//!
//! ```text
//! lab ── snapshot of the declared world, who carries WireGuard ──▶ a process in the node ── steps that are left ──▶ lab
//! ```
//!
//! Owns: the question and the answer. It asks neither the registry nor the node's agent: what they make of the world is
//! held against the world itself. Must not change anything.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use sixfold_core::desire::{self, Own, OwnDevice};
use sixfold_core::model::{DeviceStatus, Snapshot};
use sixfold_core::plan::plan;
use sixfold_core::state::Backend;

use super::observed::{ObservedError, observed};
use crate::enclosure::SELF;
use crate::node::Door;

/// What a node should be.
#[derive(Debug, Serialize, Deserialize)]
pub struct Asked {
    /// What it may see of the declared world.
    pub snapshot: Snapshot,
    /// Its devices.
    pub devices: Vec<DeviceStatus>,
    /// Who carries these: `kernel` or `tunnel`.
    pub wireguard: String,
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum LacksError {
    /// The kernel cannot be observed.
    #[error(transparent)]
    Observed(#[from] ObservedError),
    /// The question or the answer.
    #[error("cannot ask a node what it lacks")]
    Talk(#[from] io::Error),
}

/// Answers the question on the standard input with a line for each step that is left.
///
/// # Errors
/// If the kernel cannot be observed.
pub fn serve() -> Result<(), LacksError> {
    let mut question = String::new();
    io::stdin().read_to_string(&mut question)?;
    let Asked { snapshot, devices, wireguard } = serde_json::from_str(&question).map_err(io::Error::from)?;
    let backend = if wireguard == "kernel" { Backend::Kernel } else { Backend::Tunnel };
    let own = |device: DeviceStatus| {
        let listen_port = Some(device.report.listen_port);
        (device.resource, OwnDevice { public_key: device.report.public_key, listen_port })
    };
    let devices = devices.into_iter().map(own).collect();
    let bridge_netfilter = Path::new("/proc/sys/net/bridge").exists();
    let desired = desire::desire(&snapshot, &Own { bridge_netfilter, devices, ..Own::of(backend) });
    let mut out = io::stdout().lock();
    for step in plan(&desired, &observed()?).steps {
        writeln!(out, "{step}")?;
    }
    Ok(())
}

/// Asks a node, by its keeper.
///
/// # Errors
/// If it does not answer.
pub fn ask(keeper: u32, asked: &Asked) -> Result<Vec<String>, LacksError> {
    let door = Door { keeper: Some(keeper), netns: None };
    let mut command = Command::new(SELF);
    command.args(door.words()).args([SELF, "lab", "lacks"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let question = serde_json::to_vec(asked).map_err(io::Error::from)?;
    let written = child.stdin.take().map_or(Ok(()), |mut line| line.write_all(&question));
    let output = child.wait_with_output()?;
    written?;
    if !output.status.success() {
        return Err(io::Error::other(
            "the process that looks has failed; its words are on the standard error",
        )
        .into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
