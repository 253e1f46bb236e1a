//! What can go wrong with the kernel, as values: where, doing what, why, and what helps.

use nix::errno::Errno;
use sixfold_core::key::PublicKey;
use sixfold_core::name::IfName;
use sixfold_core::plan::{Op, Step};
use sixfold_core::state::{Link, LinkKind, Netns, SysctlName};

use crate::netns::NetnsError;
use crate::nft::NftError;
use crate::socket::{Refusal, SocketError};
use crate::tunnel::TunnelError;

/// Why the node cannot be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The namespaces cannot be listed.
    #[error("cannot list namespaces")]
    List(#[source] NetnsError),
    /// One namespace cannot be entered.
    #[error("cannot enter namespace {netns}")]
    Enter {
        /// Which.
        netns: Netns,
        /// Why not.
        #[source]
        source: NetnsError,
    },
    /// One class of objects cannot be read.
    #[error("cannot read {what} of namespace {netns}")]
    Read {
        /// Which namespace.
        netns: Netns,
        /// Which objects.
        what: &'static str,
        /// Why not.
        #[source]
        source: SocketError,
    },
    /// A sysctl cannot be read.
    #[error("cannot read sysctl {name} of namespace {netns}")]
    Sysctl {
        /// Which namespace.
        netns: Netns,
        /// Which sysctl.
        name: SysctlName,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// The table cannot be read.
    #[error("cannot read the firewall of namespace {netns}")]
    Firewall {
        /// Which namespace.
        netns: Netns,
        /// Why not.
        #[source]
        source: NftError,
    },
    /// The tunnel process is there and does not answer as it should.
    #[error("cannot read the devices of the tunnel process")]
    Tunnel(#[source] TunnelError),
}

impl ObserveError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        let errno = match self {
            Self::List(source) | Self::Enter { source, .. } => source.errno(),
            Self::Read { source, .. } => source.errno(),
            Self::Sysctl { errno, .. } => Some(*errno),
            Self::Firewall { .. } | Self::Tunnel(_) => None,
        };
        errno.and_then(hint_for)
    }
}

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The namespace cannot be made, entered or deleted.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The kernel could not be asked.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A link that the step needs is not there.
    #[error("no link {link}")]
    NoLink {
        /// Its name.
        link: IfName,
    },
    /// The link below is a port of another one: the kernel gives what comes in by it to that one alone.
    #[error("link {link} is a port of the {kind} {of}")]
    Port {
        /// Its name.
        link: IfName,
        /// What it is a port of: `bond`, `bridge`, ...
        kind: String,
        /// The name of that.
        of: IfName,
    },
    /// The link below is a macvlan: the kernel puts another on what is below that one.
    #[error("link {link} is itself a macvlan")]
    Stacked {
        /// Its name.
        link: IfName,
    },
    /// The link below carries less than is wanted above it.
    #[error("link {link} carries packets of {mtu} bytes, not of {wanted}")]
    Narrow {
        /// Its name.
        link: IfName,
        /// The bytes that it carries.
        mtu: u32,
        /// The bytes wanted.
        wanted: u16,
    },
    /// The host itself is reached by the link: without it the machine might be out of reach.
    #[error("link {link} has addresses of the host's own")]
    Addressed {
        /// Its name.
        link: IfName,
    },
    /// The kernel keeps links of this kind where they were made.
    #[error("link {link} is a {kind}, which stays in its namespace")]
    Immovable {
        /// Its name.
        link: IfName,
        /// The kernel's word.
        kind: String,
    },
    /// Another link has the name already.
    #[error("another link has the name {link}")]
    NameTaken {
        /// The name.
        link: IfName,
    },
    /// The namespace `public` was not made by us.
    #[error("the namespace {netns} is someone else's")]
    Foreign {
        /// Its name.
        netns: Netns,
    },
    /// A step that no plan contains: a link without what its kind needs.
    #[error("the link {link} cannot be made")]
    Unmakeable {
        /// Its name.
        link: IfName,
    },
    /// There is no private key.
    #[error("no private key for {public_key}")]
    NoKey {
        /// Its public key.
        public_key: PublicKey,
    },
    /// A sysctl cannot be written.
    #[error("cannot write sysctl {name}")]
    Sysctl {
        /// Which.
        name: SysctlName,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// A TUN cannot be made.
    #[error("cannot make the TUN {link}")]
    Tun {
        /// Its name.
        link: IfName,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// No UDP socket can be opened for a device.
    #[error("cannot open a UDP socket for {link}")]
    Udp {
        /// The device's link.
        link: IfName,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// The firewall's transaction was refused because of this step.
    #[error(transparent)]
    Firewall(#[from] NftError),
    /// The firewall's transaction was refused because of another step of it.
    #[error("not done, because another change of the same firewall was refused")]
    FirewallOther,
    /// The tunnel process refused or is not there.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
}

impl ApplyError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Foreign { .. } => Some("a namespace called public was there before: rename or delete it"),
            Self::Port { .. } => Some(
                "name that one, a VLAN on it, or a link that is no port, as this node's `nic` or `gateway_nic`",
            ),
            Self::Stacked { .. } => Some("name the link below it as this node's `nic` or `gateway_nic`"),
            Self::Narrow { .. } => Some("say its MTU as this node's `mtu`, or widen the link"),
            Self::Addressed { .. } => {
                Some("take them off, or name another link: what is moved is the host's no more")
            }
            Self::Immovable { .. } => Some("name a card, a virtual function or a VLAN"),
            Self::NameTaken { .. } => Some("rename or delete the other link"),
            Self::Tun { errno: Errno::ENOENT | Errno::ENODEV | Errno::ENXIO, .. } => {
                Some("/dev/net/tun is missing: load the module tun")
            }
            Self::Tun { errno: Errno::EACCES, .. } => Some("/dev/net/tun may not be opened by this user"),
            Self::Tunnel(TunnelError::NotRunning { .. }) => Some("start it: sixfold tunnel run"),
            Self::NoKey { .. } => {
                Some("the key store has lost a key: delete the device's link to have it made anew")
            }
            Self::Netns(source) => source.errno().and_then(hint_for),
            Self::Refused(refusal) => hint_for(refusal.errno),
            Self::Socket(source) => source.errno().and_then(hint_for),
            Self::Sysctl { errno, .. } | Self::Tun { errno, .. } | Self::Udp { errno, .. } => {
                hint_for(*errno)
            }
            _ => None,
        }
    }
}

fn hint_for(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EPERM | Errno::EACCES => Some("this needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN"),
        Errno::EMFILE | Errno::ENFILE => Some("raise the limit of open files (LimitNOFILE, ulimit -n)"),
        Errno::EROFS => Some("/proc/sys is mounted read-only: a container may not do this"),
        Errno::EOPNOTSUPP => Some("the running kernel lacks this: see the requirements in the README"),
        _ => None,
    }
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed: {step}")]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// Why.
    #[source]
    pub error: ApplyError,
}

impl Failure {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match (&self.error, &self.step.op) {
            (
                ApplyError::NoLink { .. },
                Op::AddLink { link: Link { kind: LinkKind::Macvlan { .. }, .. }, .. },
            ) => Some(
                "it is this node's `nic` or `gateway_nic` in the farm file: the link to its upstream must bear that name",
            ),
            (
                ApplyError::NoLink { .. },
                Op::AddLink { link: Link { kind: LinkKind::Nic { .. }, .. }, .. },
            ) => Some(
                "it is among this node's `nics` in the farm file: a link of the host's must bear that name",
            ),
            (error, _) => error.hint(),
        }
    }
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Report {
    /// The steps that failed; all others are done.
    pub failures: Vec<Failure>,
}

impl Report {
    /// Whether every step was done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failures.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sixfold_core::plan::Stage;

    #[test]
    fn a_missing_nic_is_said_to_be_the_farm_files() {
        let eth9: IfName = "eth9".parse().unwrap();
        let link = |kind| Link { kind, up: true, mtu: None, mac: None };
        let failure = |kind| {
            let op = Op::AddLink { name: "public".parse().unwrap(), link: link(kind), peer: None };
            let step = Step { stage: Stage::Link, netns: Netns::Host, op };
            Failure { step, error: ApplyError::NoLink { link: eth9 } }
        };
        assert!(
            failure(LinkKind::Macvlan { parent: eth9 })
                .hint()
                .unwrap()
                .contains("`nic` or `gateway_nic` in the farm file")
        );
        assert_eq!(failure(LinkKind::Loopback).hint(), None);
    }
}
