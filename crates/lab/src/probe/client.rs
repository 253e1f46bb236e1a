//! The lab's end of the conversation.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use sixfold_core::reach::Traffic;

use super::wire::{self, Request, Response};
use super::{Arrivals, Outcome, ProbeError, Shot};

/// How much longer than the volley an answer may take: a machine that is busy must not look like a broken one.
const GRACE: Duration = Duration::from_secs(20);

/// A probe somewhere.
#[derive(Debug)]
pub struct Client {
    from: BufReader<UnixStream>,
    to: UnixStream,
}

impl Client {
    /// Connects to the probe that serves at `socket`.
    ///
    /// # Errors
    /// Nobody serves there.
    pub fn connect(socket: &Path) -> Result<Self, ProbeError> {
        let open = || {
            let to = UnixStream::connect(socket)?;
            Ok(Self { from: BufReader::new(to.try_clone()?), to })
        };
        open().map_err(|source| ProbeError::Connect { path: socket.to_owned(), source })
    }

    /// Lets the probe listen on these ports, in both families. Asking twice is no error.
    ///
    /// # Errors
    /// A port cannot be had.
    pub fn listen(&mut self, traffic: &[Traffic]) -> Result<(), ProbeError> {
        self.ask(&Request::Listen(traffic.to_vec()), Duration::ZERO).map(drop)
    }

    /// Lets the probe send, and waits until all is answered or refused, at most for `timeout`. An outcome for each shot,
    /// in their order.
    ///
    /// # Errors
    /// More than [`super::SHOTS_MAX`] shots; two equal nonces; a probe that cannot send at all.
    pub fn shoot(&mut self, shots: &[Shot], timeout: Duration) -> Result<Vec<Outcome>, ProbeError> {
        let timeout_millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let shoot = Request::Shoot { shots: shots.to_vec(), timeout_millis };
        match self.ask(&shoot, timeout)? {
            Response::Outcomes(outcomes) if outcomes.len() == shots.len() => Ok(outcomes),
            other => Err(unexpected(&other)),
        }
    }

    /// What got to the probe.
    ///
    /// # Errors
    /// The probe is gone.
    pub fn received(&mut self) -> Result<Arrivals, ProbeError> {
        match self.ask(&Request::Received, Duration::ZERO)? {
            Response::Arrivals(arrivals) => Ok(arrivals),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets the probe begin its count anew.
    ///
    /// # Errors
    /// The probe is gone.
    pub fn forget(&mut self) -> Result<(), ProbeError> {
        self.ask(&Request::Forget, Duration::ZERO).map(drop)
    }

    fn ask(&mut self, request: &Request, takes: Duration) -> Result<Response, ProbeError> {
        self.to.set_read_timeout(Some(takes.saturating_add(GRACE))).map_err(ProbeError::Talk)?;
        wire::write(&self.to, request)?;
        match wire::read(&mut self.from)? {
            Some(Response::Refused(reason)) => Err(ProbeError::Refused { reason }),
            Some(response) => Ok(response),
            None => Err(ProbeError::Talk(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn unexpected(response: &Response) -> ProbeError {
    ProbeError::Refused { reason: format!("an answer to something else: {response:?}") }
}
