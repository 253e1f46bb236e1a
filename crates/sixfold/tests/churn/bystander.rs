//! A bystander: somebody else's namespace, whose owner sets a link up again and again, and how long each time took.
//!
//! The kernel has one lock for all changes to links, addresses and rules of all namespaces (RTNL). Whoever holds it for
//! long makes every other program on the machine wait: this is what such a program sees.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sched::{CloneFlags, unshare};

/// Between two of its changes.
const PAUSE: Duration = Duration::from_micros(200);

/// A thread that changes a link of its own until it is asked what it saw.
pub(crate) struct Bystander {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

/// What it waited.
pub(crate) struct Waits {
    pub(crate) changes: usize,
    pub(crate) median: Duration,
    /// One in a thousand took longer.
    pub(crate) rare: Duration,
    pub(crate) longest: Duration,
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes, median, rare, longest } = self;
        write!(
            f,
            "of {changes} changes half took {median:.1?}, one in 1,000 over {rare:.1?}, the longest {longest:.1?}"
        )
    }
}

impl Bystander {
    pub(crate) fn start() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let hears = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a bystander needs a namespace of its own");
            let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
            socket.bind_auto().unwrap();
            socket.connect(&SocketAddr::new(0, 0)).unwrap();
            let mut waits = Vec::new();
            while !hears.load(Ordering::Relaxed) {
                let began = Instant::now();
                set_loopback_up(&socket);
                waits.push(began.elapsed());
                thread::sleep(PAUSE);
            }
            waits
        });
        Self { ended, thread }
    }

    pub(crate) fn waits(self) -> Waits {
        self.ended.store(true, Ordering::Relaxed);
        let mut all = self.thread.join().unwrap();
        all.sort();
        assert!(all.len() > 100, "the bystander did not get to see anything");
        let at = |place: usize| all[place.min(all.len() - 1)];
        Waits {
            changes: all.len(),
            median: at(all.len() / 2),
            rare: at(all.len() - 1 - all.len() / 1000),
            longest: at(all.len()),
        }
    }
}

/// One RTM_SETLINK with an acknowledgement (rtnetlink(7)): index 1 is the loopback of every namespace.
fn set_loopback_up(socket: &Socket) {
    const SETLINK: u16 = 19;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    const UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(SETLINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(1_u32.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    socket.send(&message, 0).unwrap();
    let mut answer = Vec::with_capacity(256);
    socket.recv(&mut answer, 0).unwrap();
    assert_eq!(answer[16..20], [0; 4], "the bystander's change was refused");
}
