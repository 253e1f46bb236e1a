//! The workers: a thread for each processor, whatever the number of devices. Each takes the next descriptor that has
//! something, whosever it is, carries for one turn and has it watched again: so one descriptor has one worker at a time,
//! which keeps packets in order; both sides of a busy device have one each; and who waits longest is next.

use super::carried::{Carried, Descriptors, Side, WHOLE};
use super::carrier::Carrier;
use super::translating::Translating;
use crate::device::Reason;
use crate::status::Totals;
use crate::{Error, PULSE, sys};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockWriteGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// More workers than that do not make it faster: the Noise library lets one at a time seal or open for a device.
const MOST: usize = 8;

/// What a word of epoll's says beside the device's number.
const INNER: u64 = 0;
const OUTER: u64 = 1;
const END: u64 = 2;
const TRANSLATED: u64 = 3;

/// All workers; dropped, they have ended.
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    epoll: Epoll,
    /// Readable once they are to end.
    end: EventFd,
    carried: RwLock<BTreeMap<u64, Arc<Carried>>>,
    translating: RwLock<BTreeMap<u64, Arc<Translating>>>,
    /// Packets that those which are gone did not translate.
    untranslatable: AtomicU64,
    /// When each worker last went round, in milliseconds of our clock.
    rounds: Vec<AtomicU64>,
}

impl Workers {
    /// Makes what they share; none runs yet.
    pub(super) fn new() -> Result<Self, Error> {
        let failed = |call| move |source| Error::System { call, source };
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed("epoll_create1"))?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let end = EventFd::from_flags(flags).map_err(failed("eventfd"))?;
        epoll.add(&end, EpollEvent::new(EpollFlags::EPOLLIN, END)).map_err(failed("epoll_ctl"))?;
        let count = thread::available_parallelism().map_or(1, usize::from).min(MOST);
        let rounds = (0..count).map(|_| AtomicU64::default()).collect();
        let (carried, translating, untranslatable) = Default::default();
        let shared = Shared { epoll, end, carried, translating, untranslatable, rounds };
        Ok(Self { shared: Arc::new(shared), threads: Vec::new() })
    }

    /// Has them begin. They inherit what the caller may do.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        let now = milliseconds(sys::now());
        for number in 0..self.shared.rounds.len() {
            self.shared.rounds[number].store(now, Ordering::Relaxed);
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name(format!("carry-{number}"));
            let thread = thread.spawn(move || work(&shared, number)).map_err(|error| Error::System {
                call: "clone",
                source: error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw),
            })?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Whether each of them went round lately.
    pub(super) fn are_going(&self, now: Duration) -> bool {
        let oldest = milliseconds(now.saturating_sub(2 * PULSE));
        self.shared.rounds.iter().all(|round| round.load(Ordering::Relaxed) >= oldest)
    }

    /// Has them carry for a device from now on.
    pub(super) fn take(&self, id: u64, carried: Arc<Carried>) -> Result<(), Errno> {
        // First known, then watched: of what has something to read once, a worker is told once.
        self.shared.carried.write().expect(WHOLE).insert(id, Arc::clone(&carried));
        carried.descriptors().as_ref().map_or(Ok(()), |descriptors| self.watch(id, descriptors))
    }

    /// Has them translate what a TUN gives, from now on and until it is deleted.
    pub(super) fn translate(&self, id: u64, translating: Translating) -> Result<(), Errno> {
        let translating = Arc::new(translating);
        self.shared.all_translating().insert(id, Arc::clone(&translating));
        let watched = self.shared.epoll.add(translating.tun(), event_of(id << 2 | TRANSLATED));
        watched.inspect_err(|_| drop(self.shared.all_translating().remove(&id)))
    }

    /// For how many resources they translate.
    pub(super) fn translators(&self) -> usize {
        self.shared.all_translating().len()
    }

    /// Adds what was not translated.
    pub(super) fn untranslatable(&self, totals: &mut Totals) {
        let now =
            self.shared.all_translating().values().map(|translating| translating.refused()).sum::<u64>();
        let gone = self.shared.untranslatable.load(Ordering::Relaxed);
        totals.drops.set(Reason::Untranslatable, now + gone);
    }

    /// Has them carry for a device no more: its descriptors are closed.
    pub(super) fn leave(&self, id: u64) {
        let carried = self.shared.carried.write().expect(WHOLE).remove(&id);
        drop(carried.and_then(|carried| self.release(&carried)));
    }

    /// Takes a device's descriptors away once no turn is under way: nothing of it is carried until it is given some again.
    pub(super) fn release(&self, carried: &Carried) -> Option<Descriptors> {
        carried.between_turns(|descriptors| {
            let released = descriptors.take();
            released.iter().for_each(|released| self.unwatch(released));
            released
        })
    }

    /// Gives a device other descriptors, and closes those it had.
    pub(super) fn exchange(&self, id: u64, carried: &Carried, new: Descriptors) -> Result<(), Errno> {
        carried.between_turns(|descriptors| {
            if let Some(old) = descriptors.take() {
                self.unwatch(&old);
            }
            self.watch(id, descriptors.insert(new))
        })
    }

    fn watch(&self, id: u64, descriptors: &Descriptors) -> Result<(), Errno> {
        for side in [Side::Inner, Side::Outer] {
            self.shared.epoll.add(descriptors.side(side), event(id, side))?;
        }
        Ok(())
    }

    /// Closing is not enough: epoll holds on to a description that the sender still has open. One that was never watched is
    /// no error.
    fn unwatch(&self, descriptors: &Descriptors) {
        for side in [Side::Inner, Side::Outer] {
            let _ = self.shared.epoll.delete(descriptors.side(side));
        }
    }
}

impl Shared {
    fn all_translating(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Arc<Translating>>> {
        self.translating.write().expect(WHOLE)
    }

    /// One turn of a TUN that is translated for; one that was deleted is let go of.
    fn translate(&self, id: u64, carrier: &mut Carrier) {
        let known = self.translating.read().expect(WHOLE).get(&id).cloned();
        let Some(translating) = known else { return };
        match translating.turn(&mut carrier.buffer) {
            // It fails only if the descriptor is watched no more.
            Ok(()) => {
                let _ = self.epoll.modify(translating.tun(), &mut event_of(id << 2 | TRANSLATED));
            }
            Err(errno) => {
                tracing::info!(map = %translating.map(), %errno, "the TUN is gone: translates no more");
                self.untranslatable.fetch_add(translating.refused(), Ordering::Relaxed);
                self.all_translating().remove(&id);
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Err(errno) = self.shared.end.write(1) {
            return tracing::error!(%errno, "workers not told to end");
        }
        for thread in self.threads.drain(..) {
            // A worker that panics has ended the process.
            let _ = thread.join();
        }
    }
}

/// A worker that panics leaves a device locked: then the process ends, and whoever watches over it starts another.
struct Whole;

impl Drop for Whole {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

fn work(shared: &Shared, number: usize) {
    let _whole = Whole;
    let mut carrier = Carrier::new();
    let timeout = EpollTimeout::try_from(PULSE.as_millis()).unwrap_or(EpollTimeout::ZERO);
    let mut events = [EpollEvent::empty(); 1];
    loop {
        shared.rounds[number].store(milliseconds(sys::now()), Ordering::Relaxed);
        match shared.epoll.wait(&mut events, timeout) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(errno) => panic!("epoll_wait of its own descriptor: {errno}"),
        }
        let word = events[0].data();
        let side = match word & 3 {
            INNER => Side::Inner,
            OUTER => Side::Outer,
            TRANSLATED => {
                shared.translate(word >> 2, &mut carrier);
                continue;
            }
            _ => return,
        };
        let carried = shared.carried.read().expect(WHOLE).get(&(word >> 2)).cloned();
        if let Some(carried) = carried {
            carried.turn(side, &mut carrier, |descriptor| {
                // It fails only if the descriptor is watched no more.
                let _ = shared.epoll.modify(descriptor, &mut event(word >> 2, side));
            });
        }
    }
}

/// Tells of something to read once, and then no more until it is watched again.
fn event(id: u64, side: Side) -> EpollEvent {
    let side = match side {
        Side::Inner => INNER,
        Side::Outer => OUTER,
    };
    event_of(id << 2 | side)
}

fn event_of(word: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, word)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_that_goes_round_no_more_is_missed() {
        let mut workers = Workers::new().unwrap();
        workers.start().unwrap();
        let now = sys::now();
        assert!(workers.are_going(now));
        assert!(workers.are_going(now + PULSE));
        let last = &workers.shared.rounds[workers.shared.rounds.len() - 1];
        last.store(milliseconds(now.saturating_sub(3 * PULSE)), Ordering::Relaxed);
        assert!(!workers.are_going(now + PULSE));
    }
}
