//! The agent's side of its courier: starts it, signs for it, carries between the two, and starts it again when it dies.
//!
//! ```text
//!              ┌──── thread: poll ────┐
//! courier ◀──▶ │ talk, sign           │ ◀── outbox, bell ──  the agent's loop
//!              └──────────────────────┘ ──── inbox, bell ─▶
//! ```
//!
//! Owns: the thread and the two sockets. What the courier does holds the agent's loop up no longer than judging what it
//! brought takes, and makes it keep no more than the newest of each kind. Must not look into what it carries, but for what is to be signed.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use sixfold_api::retry;
use sixfold_core::trust::SigningKey;

use super::courier;
use super::frame::{Answer, Begin, Decoder, Down, Errand, FrameError, Link, Message as _, Up};
use super::guard;
use crate::status::words;

/// A courier that says nothing for so long is started anew: the longest that it waits for anybody is half of it.
const SILENCE: Duration = Duration::from_secs(180);
/// One that lived for so long died of something new.
const LIVED: Duration = Duration::from_secs(60);
/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// How a courier is started.
pub trait Launch: Send + 'static {
    /// Starts one.
    ///
    /// # Errors
    /// If the system refuses.
    fn launch(&mut self) -> io::Result<Launched>;
}

/// A courier that runs.
pub struct Launched {
    /// Where it is spoken with.
    pub talk: UnixStream,
    /// Where it asks to sign.
    pub sign: UnixStream,
    /// Ends it, if hanging up did not, and waits for its end.
    pub end: Box<dyn FnOnce() + Send>,
}

/// A courier as a task of this process: for tests, and for many agents in one process.
impl Launch for tokio::runtime::Handle {
    fn launch(&mut self) -> io::Result<Launched> {
        let (talk, its_talk) = UnixStream::pair()?;
        let (sign, its_sign) = UnixStream::pair()?;
        let task = self.spawn(async move {
            if let Err(error) = courier::run(its_talk, its_sign).await {
                tracing::warn!(error = words(&error, None), "courier");
            }
        });
        Ok(Launched { talk, sign, end: Box::new(move || task.abort()) })
    }
}

/// What the courier brought, the newest of each kind.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) link: Option<Link>,
    pub(super) proofs: Option<Vec<u8>>,
    /// Bytes of all that was shown, that in whose place newer came too.
    pub(super) received_bytes: u64,
    pub(super) answers: Vec<Answer>,
    /// Another courier has begun: errands that the one before had are answered by nobody.
    pub(super) anew: bool,
}

/// What both threads have a hand on.
#[derive(Debug, Default)]
struct Desk {
    inbox: Inbox,
    outbox: VecDeque<Errand>,
    over: bool,
}

#[derive(Debug)]
struct Room {
    desk: Mutex<Desk>,
    for_agent: EventFd,
    for_post: EventFd,
}

impl Room {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the inbox, and rings.
    fn bring(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.desk().inbox);
        let _ = self.for_agent.write(1); // refused only where it has rung 2^64 times
    }
}

/// The thread, as the agent's loop sees it. It ends with this.
#[derive(Debug)]
pub(super) struct Post {
    room: Arc<Room>,
    thread: Option<JoinHandle<()>>,
}

impl Post {
    /// Starts the thread, which starts the courier.
    pub(super) fn start(begin: Begin, key: Arc<SigningKey>, launch: impl Launch) -> io::Result<Self> {
        let bell = || EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let room = Arc::new(Room { desk: Mutex::default(), for_agent: bell()?, for_post: bell()? });
        let begin = Down::Begin(Box::new(begin)).frame();
        let desk = Arc::clone(&room);
        let mut keeper = Keeper { room: desk, begin, key, launch: Box::new(launch) };
        let thread = std::thread::Builder::new().name("post".to_owned()).spawn(move || keeper.run())?;
        Ok(Self { room, thread: Some(thread) })
    }

    /// What to wait on until something was brought.
    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.room.for_agent.as_fd()
    }

    /// Takes what was brought.
    pub(super) fn take(&self) -> Inbox {
        let _ = self.room.for_agent.read(); // refused where it has not rung
        std::mem::take(&mut self.room.desk().inbox)
    }

    /// Gives something to be carried.
    pub(super) fn give(&self, errand: Errand) {
        self.room.desk().outbox.push_back(errand);
        let _ = self.room.for_post.write(1);
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.room.desk().over = true;
        let _ = self.room.for_post.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why a courier is not spoken with any more.
#[derive(Debug, thiserror::Error)]
enum Parted {
    #[error("it ended")]
    Ended,
    #[error("it was silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error("it cannot be spoken with")]
    Socket(#[from] io::Error),
    #[error("it cannot be understood")]
    Frame(#[from] FrameError),
    #[error("it asked to sign what is no proof of the node's key")]
    Guard,
    #[error("it said what it may not say there")]
    Place,
}

/// What the thread runs.
struct Keeper {
    room: Arc<Room>,
    begin: Vec<u8>,
    key: Arc<SigningKey>,
    launch: Box<dyn Launch>,
}

impl Keeper {
    fn run(&mut self) {
        let mut attempt = 0;
        while !self.room.desk().over {
            let began = Instant::now();
            let parted = match self.launch.launch() {
                Ok(Launched { talk, sign, end }) => {
                    let parted = Line::new(talk, sign, &self.begin).and_then(|line| self.stay(line));
                    end();
                    parted
                }
                Err(error) => Err(error.into()),
            };
            let Err(why) = parted else { return };
            attempt = if began.elapsed() > LIVED { 0 } else { attempt + 1 };
            let fault = format!("the agent's courier is started again: {}", words(&why, None));
            tracing::warn!(why = words(&why, None), attempt, "courier");
            self.room.bring(|inbox| {
                (inbox.link, inbox.anew) = (Some(Link { fault: Some(fault), received_bytes: 0 }), true)
            });
            self.room.desk().outbox.clear();
            self.pause(retry::wait(attempt, courier::random()));
        }
    }

    /// Speaks with a courier; comes back without error if the agent ends.
    fn stay(&self, mut line: Line) -> Result<(), Parted> {
        let mut heard_at = Instant::now();
        loop {
            {
                let mut desk = self.room.desk();
                if desk.over {
                    return Ok(());
                }
                let errands: Vec<Errand> = desk.outbox.drain(..).collect();
                drop(desk);
                errands.into_iter().for_each(|errand| line.pending.extend(Down::Errand(errand).frame()));
            }
            let left = SILENCE.checked_sub(heard_at.elapsed()).ok_or(Parted::Silent)?;
            let [bell, talk, sign] = line.wait(&self.room.for_post, left)?;
            if bell {
                let _ = self.room.for_post.read();
            }
            line.flush()?;
            if sign {
                line.answer_signing(&self.key)?;
                heard_at = Instant::now();
            }
            if talk {
                heard_at = Instant::now();
                for message in line.hear()? {
                    self.bring(message)?;
                }
            }
        }
    }

    fn bring(&self, message: Up) -> Result<(), Parted> {
        match message {
            Up::Link(link) => self.room.bring(|inbox| {
                inbox.received_bytes = inbox.received_bytes.saturating_add(link.received_bytes);
                inbox.link = Some(link);
            }),
            Up::Proofs(bytes) => self.room.bring(|inbox| inbox.proofs = Some(bytes)),
            // No more than there are errands under way: others are answers to nothing.
            Up::Answer(answer) => self.room.bring(|inbox| {
                if inbox.answers.len() < super::ERRANDS_MAX {
                    inbox.answers.push(answer);
                }
            }),
            Up::Sign(_) => return Err(Parted::Place),
        }
        Ok(())
    }

    /// Waits, unless the agent ends.
    fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if self.room.desk().over {
                return;
            }
            let mut bell = [PollFd::new(self.room.for_post.as_fd(), PollFlags::POLLIN)];
            let rung = poll(&mut bell, timeout(left));
            if matches!(rung, Ok(1..)) {
                let _ = self.room.for_post.read();
            }
        }
    }
}

/// Rounded up: a poll of 0 ms until the last fraction has passed would spin.
fn timeout(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
}

/// The two sockets to a courier.
struct Line {
    talk: UnixStream,
    sign: UnixStream,
    heard: Decoder,
    asked: Decoder,
    /// What is still to be said.
    pending: VecDeque<u8>,
}

impl Line {
    fn new(talk: UnixStream, sign: UnixStream, begin: &[u8]) -> Result<Self, Parted> {
        talk.set_nonblocking(true)?;
        sign.set_nonblocking(true)?;
        let pending = begin.iter().copied().collect();
        Ok(Self { talk, sign, heard: Decoder::default(), asked: Decoder::default(), pending })
    }

    /// Waits; whether the bell rang, and on which sockets there is something.
    fn wait(&self, bell: &EventFd, left: Duration) -> Result<[bool; 3], Parted> {
        let out = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let mut fds = [
            PollFd::new(bell.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.talk.as_fd(), PollFlags::POLLIN | out),
            PollFd::new(self.sign.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout(left)) {
            Ok(_) => {
                let quiet = PollFlags::POLLOUT | PollFlags::POLLNVAL;
                let woke = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !(events - quiet).is_empty());
                Ok([woke(&fds[0]), woke(&fds[1]), woke(&fds[2])])
            }
            Err(nix::errno::Errno::EINTR) => Ok([false; 3]),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }

    fn flush(&mut self) -> Result<(), Parted> {
        while !self.pending.is_empty() {
            match self.talk.write(self.pending.as_slices().0) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<Vec<Up>, Parted> {
        read(&mut self.talk, &mut self.heard)?;
        let mut messages = Vec::new();
        while let Some(message) = self.heard.take()? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// Signs what may be signed. One that asks for something else is somebody's who took it over.
    fn answer_signing(&mut self, key: &SigningKey) -> Result<(), Parted> {
        read(&mut self.sign, &mut self.asked)?;
        while let Some(message) = self.asked.take()? {
            let Up::Sign(message) = message else { return Err(Parted::Place) };
            let signature = guard::sign(key, &message);
            // A whole answer fits into any socket whose other end reads one before it asks again.
            self.sign.write_all(&Down::Signature(signature).frame())?;
            if signature.is_none() {
                return Err(Parted::Guard);
            }
        }
        Ok(())
    }
}

/// Reads once what is there.
fn read(socket: &mut UnixStream, decoder: &mut Decoder) -> Result<(), Parted> {
    let mut piece = vec![0; PIECE];
    match socket.read(&mut piece) {
        Ok(0) => Err(Parted::Ended),
        Ok(count) => {
            decoder.push(&piece[..count]);
            Ok(())
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
