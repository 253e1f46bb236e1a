//! Somebody else on the machine who wants the kernel's one lock for links, addresses and routes: how long it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sched::{CloneFlags, unshare};

use crate::failed::Failed;

/// Between two questions: a wait shorter than that is nothing that anybody notices.
const PAUSE: Duration = Duration::from_millis(1);

/// One who asks until it is told to stop.
#[derive(Debug)]
pub(crate) struct Bystander {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<std::io::Result<Duration>>,
}

impl Bystander {
    /// Begins to ask, in a namespace of its own.
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let (ready, begun) = channel();
        let asking = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            let mut longest = Duration::ZERO;
            let _awaited = ready.send(());
            while !told.load(Ordering::Relaxed) {
                longest = longest.max(ask(&socket)?);
                sleep(PAUSE);
            }
            Ok(longest)
        });
        // One who could not begin says why in the end.
        let _begun = begun.recv();
        Self { stop, asking }
    }

    /// Has it stop; the longest that it waited.
    pub(crate) fn stop(self) -> Result<Duration, Failed> {
        self.stop.store(true, Ordering::Relaxed);
        let longest = self.asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        longest.map_err(Failed::system("ask the kernel as a bystander"))
    }
}

/// A change of the loopback that changes nothing, and yet takes the lock; how long the answer takes.
fn ask(socket: &Socket) -> std::io::Result<Duration> {
    const LENGTH: u8 = 32;
    const SET_LINK: u8 = 19;
    const REQUEST_AND_ACK: u8 = 0x05;
    const LOOPBACK: u8 = 1;
    let mut message = [0; LENGTH as usize];
    message[..4].copy_from_slice(&u32::from(LENGTH).to_ne_bytes());
    message[4..6].copy_from_slice(&u16::from(SET_LINK).to_ne_bytes());
    message[6..8].copy_from_slice(&u16::from(REQUEST_AND_ACK).to_ne_bytes());
    message[20..24].copy_from_slice(&u32::from(LOOPBACK).to_ne_bytes());
    let started = Instant::now();
    socket.send_to(&message, &SocketAddr::new(0, 0), 0)?;
    let mut answer = [0; 64];
    socket.recv(&mut &mut answer[..], 0)?;
    let took = started.elapsed();
    // A refusal would be quick, and no wait at all: the number behind the answer's header is 0 if it was done.
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(took),
        refused => Err(std::io::Error::from_raw_os_error(-refused)),
    }
}
