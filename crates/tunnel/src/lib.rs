//! Userspace WireGuard devices in a process of their own, without privilege.
//!
//! The process opens no TUN, binds no UDP socket and enters no namespace: whoever has the privilege does so and
//! hands both descriptors over a Unix socket. So traffic outlives a restart of that other process, and this one
//! needs no capability. It knows nothing of farms, networks and tenants, and depends on no crate of ours.
//!
//! ```text
//!   agent ──add NAME MTU + [TUN, UDP]──▶ control ─┐
//!                                                 ▼
//!   TUN (in the resource's namespace) ◀──▶ pump ──▶ device ──▶ noise (gotatun)
//!   UDP (in the public namespace)     ◀──▶   │        ▲
//!                                            └─ uapi ─┘ ◀── wg show, wg setconf
//! ```
//!
//! [`device`] is the state machine and knows no descriptor; `pump` carries packets and knows no protocol; [`noise`]
//! is the only module that names the cryptographic library; [`uapi`] and [`control`] are text and values.

pub mod allowed;
pub mod client;
pub mod control;
pub mod device;
pub mod ecn;
pub mod inner;
pub mod key;
pub mod limiter;
pub mod memo;
pub mod noise;
pub mod offload;
pub mod privilege;
mod pump;
mod socket;
pub mod status;
mod store;
mod sys;
pub mod translate;
pub mod uapi;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::SockType;
use socket::Listener;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Where the tunnel is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Path of the control socket (`SOCK_SEQPACKET`, mode 0600).
    pub control: PathBuf,
    /// Directory of the configuration sockets, `NAME.sock` each; `wg` looks in the default and nowhere else.
    pub uapi_dir: PathBuf,
    /// Whether it succeeds the process that serves there, with all its devices, instead of binding that socket.
    pub succeed: bool,
    /// Who it becomes once its sockets are bound; `None`: it stays who it is, without capabilities.
    pub user: Option<privilege::User>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            control: "/run/sixfold/tunnel.sock".into(),
            uapi_dir: "/run/wireguard".into(),
            succeed: false,
            user: None,
        }
    }
}

/// Why the tunnel does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process answers at the socket.
    #[error("already running: {path} answers", path = path.display())]
    AlreadyRunning {
        /// The socket.
        path: PathBuf,
    },
    /// A socket cannot be bound.
    #[error("socket {path} cannot be bound", path = path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A directory cannot be made.
    #[error("directory {path} cannot be made", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory of configuration sockets cannot be given to the user who is to make them.
    #[error("directory {path} cannot be given to the user", path = path.display())]
    Ownership {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The process cannot become the user that was asked for.
    #[error("cannot become the user")]
    User {
        /// What the system says.
        source: Errno,
    },
    /// The process that is to be succeeded is not there, or refuses.
    #[error("the tunnel process at {path} cannot be succeeded", path = path.display())]
    NotSucceeded {
        /// Its socket.
        path: PathBuf,
        /// What came of asking it.
        source: client::ClientError,
    },
    /// A device of the process before cannot be carried by this one.
    #[error("device {name} cannot be taken over")]
    NotTaken {
        /// The device.
        name: control::DeviceName,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system refuses something that every tunnel needs.
    #[error("system call {call} failed")]
    System {
        /// The system call.
        call: &'static str,
        /// What the system says.
        source: Errno,
    },
}

impl Error {
    /// What a person can do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::AlreadyRunning { .. } => {
                Some("end the running tunnel first, or use another path with --control")
            }
            Self::Bind { .. } | Self::Directory { .. } => {
                Some("the directory must belong to the user that runs it")
            }
            Self::Ownership { .. } | Self::User { .. } => {
                Some("only root can become another user: run it as root, or as that user and without --user")
            }
            Self::NotSucceeded { source: client::ClientError::NoTunnel { .. }, .. } => {
                Some("if none runs, start one: sixfold tunnel run")
            }
            Self::NotSucceeded { .. } | Self::NotTaken { .. } => Some("the process that runs carries on"),
            Self::System { .. } => None,
        }
    }
}

/// How often the loop says that it goes round, if nothing else wakes it: well within a service's watchdog.
pub const PULSE: Duration = Duration::from_secs(5);

/// Hosts devices until SIGTERM or SIGINT, without any capability from the moment its sockets are bound; to be called
/// before the process starts any thread, which would keep what it has. The loop that does all of it calls `pulse` once it
/// serves and then each [`PULSE`]: whoever hears no more of it knows that nothing is carried. It begins with the devices that a
/// service manager kept of the process before (sd_listen_fds(3)), or with those of the process that it succeeds; then it
/// ends, too, once another one succeeds it.
///
/// # Errors
/// See [`Error`]; once it serves, nothing that a client or a peer does ends it.
pub fn run(config: Config, pulse: impl FnMut()) -> Result<(), Error> {
    raise_descriptor_limit();
    let inherited = store::inherited();
    if config.succeed {
        let (before, control) = pump::Predecessor::at(&config.control)?;
        let mut pump = pump::Pump::new(&config, || Ok(control))?;
        privilege::give_up(&config)?;
        pump.start()?;
        pump.succeed(&before, &config)?;
        return pump.serve(pulse);
    }
    let mut pump = pump::Pump::new(&config, || Listener::bind(&config.control, SockType::SeqPacket))?;
    privilege::give_up(&config)?;
    pump.start()?;
    pump.restore(inherited);
    tracing::info!(control = %config.control.display(), "tunnel serves");
    pump.serve(pulse)
}

/// A device takes up to four descriptors, and the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "limit of open descriptors not raised");
    }
}
