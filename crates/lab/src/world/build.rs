//! Makes the drawn world in the kernel, by the same plan and the same hands as an agent makes a node.
//!
//! Owns: the order of sysctls, bridges and everything else. Must run in the lab's own namespaces.

use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::plan::plan;
use sixfold_core::state::{Namespace, NodeState};
use sixfold_kernel::linux::{Config, Linux};
use sixfold_kernel::netns::{Directory, NetnsError, Worker};
use sixfold_kernel::{Failure, Kernel as _, Keys};

use super::bridge::{self, BridgeError};
use super::{Fork, Segment, Surroundings};

/// Why the world around the nodes could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No namespaces.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A step of the plan; the first that failed.
    #[error("cannot make the world around the nodes ({count} steps failed)")]
    Step {
        /// How many failed.
        count: usize,
        /// The first.
        #[source]
        first: Box<Failure>,
    },
    /// A farm's segment.
    #[error("cannot make the segment {netns}")]
    Segment {
        /// The router's namespace.
        netns: sixfold_core::name::NetnsName,
        /// Why not.
        #[source]
        source: BridgeError,
    },
}

impl BuildError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Step { first, .. } => first.error.hint(),
            Self::Netns(_) | Self::Segment { .. } => None,
        }
    }
}

/// No device of the world around the nodes is WireGuard's.
pub(crate) struct NoKeys;

impl Keys for NoKeys {
    fn private_key(&self, _: &PublicKey) -> Option<PrivateKey> {
        None
    }
}

/// Makes everything drawn. Sysctls first, because links take them when they come; then bridges, which the rest of the
/// plan gives addresses; then all else; then cables go into the bridges.
///
/// # Errors
/// The first step that the kernel refuses.
pub fn build(drawn: &Surroundings) -> Result<(), BuildError> {
    let mut kernel = Linux::new(Config::default())?;
    let prepared = prepared(&drawn.state);
    carry_out(&mut kernel, &prepared, &NodeState::default())?;
    let make = |segment: &Segment| bridge::make(segment.bridge, segment.mac, segment.mtu);
    drawn.segments.iter().try_for_each(|segment| within(segment, make))?;
    carry_out(&mut kernel, &drawn.state, &prepared)?;
    drawn.segments.iter().try_for_each(plug)?;
    fork(&drawn.forks)
}

/// Gives slots their second next hops.
///
/// # Errors
/// If the kernel refuses one.
pub fn fork(forks: &[Fork]) -> Result<(), BuildError> {
    forks.iter().try_for_each(|fork| {
        let (slice, next_hops) = (fork.slice, fork.next_hops.clone());
        within(&fork.segment, move |segment| bridge::spread(segment.bridge, slice, &next_hops))
    })
}

/// Makes what was drawn before into what is drawn now, where both have the same segments.
///
/// # Errors
/// The first step that the kernel refuses.
pub fn rebuild(drawn: &NodeState, before: &NodeState) -> Result<(), BuildError> {
    carry_out(&mut Linux::new(Config::default())?, drawn, before)
}

/// Puts the cables of a segment back into its bridge, those that are in it too.
///
/// # Errors
/// If the kernel refuses one.
pub fn plug(segment: &Segment) -> Result<(), BuildError> {
    within(segment, |segment| bridge::join(segment.bridge, &segment.ports))
}

fn within(
    segment: &Segment,
    work: impl FnOnce(&Segment) -> Result<(), BridgeError> + Send + 'static,
) -> Result<(), BuildError> {
    let (worker, directory) = (Worker::start()?, Directory::new(Config::default().netns_dir)?);
    let (entrance, there) = (directory.open(&segment.netns)?, segment.clone());
    let done = worker.within(&entrance, move || work(&there))?;
    done.map_err(|source| BuildError::Segment { netns: segment.netns, source })
}

/// The namespaces with their sysctls and nothing else.
fn prepared(state: &NodeState) -> NodeState {
    let namespaces = state.namespaces.iter().map(|(netns, namespace)| {
        (netns.clone(), Namespace { sysctls: namespace.sysctls.clone(), ..Namespace::fresh() })
    });
    NodeState { namespaces: namespaces.collect() }
}

fn carry_out(kernel: &mut Linux, desired: &NodeState, there: &NodeState) -> Result<(), BuildError> {
    let report = kernel.apply(&plan(desired, there), &NoKeys);
    let count = report.failures.len();
    match report.failures.into_iter().next() {
        Some(first) => Err(BuildError::Step { count, first: Box::new(first) }),
        None => Ok(()),
    }
}
