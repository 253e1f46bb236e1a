//! Serves the lab: one thread for each conversation.
//!
//! Owns: the Unix socket. Must not end while anybody may still ask.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use sixfold_core::reach::Traffic;

use super::sniff::{Sniffer, Tally};
use super::wire::{self, Request, Response};
use super::{ProbeError, listen, shoot, sniff};

/// Conversations at once: the lab's own, and a few of people who look.
const CONVERSATIONS_MAX: usize = 8;

/// What all conversations of a probe have in common.
#[derive(Clone)]
struct Probe {
    tally: Tally,
    sniffer: Arc<Sniffer>,
    listening: Arc<Mutex<BTreeSet<Traffic>>>,
    conversations: Arc<AtomicUsize>,
}

/// Serves at `socket`, in the network namespace of the calling thread, until the process ends. A socket that is there
/// already is replaced.
///
/// # Errors
/// No raw sockets, or no socket at that path. Once it serves it does not return but by such an error.
pub fn serve(socket: &Path) -> Result<std::convert::Infallible, ProbeError> {
    let failed = |source| ProbeError::Serve { path: socket.to_owned(), source };
    let tally = Tally::default();
    // First of all: who connects must find it counting.
    let sniffer = sniff::start(&tally)?;
    let (listening, conversations) = (Arc::default(), Arc::default());
    let probe = Probe { tally, sniffer, listening, conversations };
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    loop {
        let (stream, _) = listener.accept().map_err(failed)?;
        let probe = probe.clone();
        if probe.conversations.fetch_add(1, Ordering::Relaxed) >= CONVERSATIONS_MAX {
            probe.conversations.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        thread::spawn(move || {
            if let Err(error) = probe.converse(&stream) {
                tracing::debug!(%error, "a conversation ended");
            }
            probe.conversations.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Probe {
    fn converse(&self, stream: &UnixStream) -> Result<(), ProbeError> {
        let mut from = BufReader::new(stream);
        while let Some(request) = wire::read(&mut from)? {
            let response = self.answer(request).unwrap_or_else(|error| Response::Refused(chain(&error)));
            wire::write(stream, &response)?;
        }
        Ok(())
    }

    fn answer(&self, request: Request) -> Result<Response, ProbeError> {
        Ok(match request {
            Request::Listen(traffic) => {
                self.listen(traffic)?;
                Response::Done
            }
            Request::Shoot { shots, timeout_millis } => {
                Response::Outcomes(shoot::shoot(&shots, Duration::from_millis(timeout_millis))?)
            }
            Request::Received => {
                self.sniffer.settle();
                Response::Arrivals(self.tally.read())
            }
            Request::Forget => {
                self.sniffer.settle();
                self.tally.forget();
                Response::Done
            }
        })
    }

    /// Listens for what is not listened for already: asking twice is no error.
    fn listen(&self, traffic: Vec<Traffic>) -> Result<(), ProbeError> {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        let new: BTreeSet<_> = traffic.into_iter().filter(|traffic| !listening.contains(traffic)).collect();
        listen::start(&Vec::from_iter(new.iter().copied()), &self.tally)?;
        listening.extend(new);
        Ok(())
    }
}

/// An error with its causes, as it must travel as text.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
