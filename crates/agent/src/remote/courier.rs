//! The half of an agent without privilege: it speaks TLS and HTTP with the registry, and has neither rights nor a key.
//!
//! ```text
//! registry ══ TLS ══ news, one after the other ──▶ Proofs, unread ──▶ agent
//!          ══ TLS ══ errands, one at a time   ◀── what to put     ◀── agent
//! ```
//!
//! Owns: asking, and asking again: after a failure it waits by [`retry::wait`]. Must not believe or decide anything. It
//! runs as a process of its own, or as tasks within another, by the same code; it ends when the agent hangs up.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sixfold_api::client::{Client, ClientError, Method, Unread};
use sixfold_api::limit::WAIT_MAX;
use sixfold_api::resource::Done;
use sixfold_api::retry;
use sixfold_api::tls::{Identity, Sign};
use sixfold_core::shown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::frame::{Answer, Begin, Decoder, Down, Errand, FrameError, Link, Message as _, Place, Up};
use super::held::Held;
use crate::status::words;

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;
/// Messages that wait for the other side: more hold up whoever makes them.
const WAITING_MAX: usize = 16;
/// For the agent to sign: it has nothing else to do there.
const SIGNING: Duration = Duration::from_secs(5);
/// No news before this is no answer to a question that waits.
const SENT_AWAY: Duration = Duration::from_secs(1);
/// Characters of why something failed.
const WORDS_MAX: usize = 2000;

/// Why a courier ends before the agent hangs up.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// The agent cannot be spoken with.
    #[error("cannot speak with the agent")]
    Socket(#[from] io::Error),
    /// It says what cannot be understood.
    #[error("the agent cannot be understood")]
    Frame(#[from] FrameError),
    /// It did not say first what to begin with.
    #[error("the agent did not say whom to speak for")]
    Begin,
    /// The settings cannot be used.
    #[error("cannot speak with the registry")]
    Client(#[from] ClientError),
}

/// Runs until the agent hangs up, as a process that does nothing else.
///
/// # Errors
/// [`CourierError`].
pub fn serve(talk: UnixStream, sign: UnixStream) -> Result<(), CourierError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(talk, sign))
}

/// Runs until the agent hangs up. Signing waits for an answer on `sign`, without giving way to other tasks.
///
/// # Errors
/// [`CourierError`].
pub async fn run(talk: UnixStream, sign: UnixStream) -> Result<(), CourierError> {
    talk.set_nonblocking(true)?;
    sign.set_read_timeout(Some(SIGNING))?;
    sign.set_write_timeout(Some(SIGNING))?;
    let (from_agent, to_agent) = tokio::net::UnixStream::from_std(talk)?.into_split();
    let mut ear = Ear { from_agent, decoder: Decoder::default() };
    let Some(Down::Begin(begin)) = ear.next().await? else { return Err(CourierError::Begin) };
    let identity = identity(&begin, sign)?;
    let (say, said) = mpsc::channel(WAITING_MAX);
    let (give, given) = mpsc::channel(WAITING_MAX);
    let news = Round { client: client(&begin, &identity)?, node: begin.node.to_string(), say: say.clone() };
    let errands = Round { client: client(&begin, &identity)?, node: begin.node.to_string(), say };
    // Whichever ends first ends all: the agent hung up.
    tokio::select! {
        heard = ear.hear(give) => heard,
        spoken = speak(to_agent, said) => spoken,
        () = news.follow() => Ok(()),
        () = errands.run_errands(given) => Ok(()),
    }
}

fn client(begin: &Begin, identity: &Identity) -> Result<Client, ClientError> {
    let registry = &begin.registry;
    let client = Client::new(registry.address(), *registry.key().as_bytes(), Some(identity))?;
    Ok(client.in_session(&begin.session))
}

/// The node's identity, whose key the agent has.
fn identity(begin: &Begin, socket: UnixStream) -> Result<Identity, CourierError> {
    let socket = Mutex::new(socket);
    let sign: Arc<Sign> = Arc::new(move |message| {
        let socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = ask_to_sign(&socket, message);
        signed.inspect_err(|error| tracing::warn!(%error, "the agent does not sign")).ok().flatten()
    });
    Ok(Identity::elsewhere(begin.certificate.clone(), sign).map_err(ClientError::from)?)
}

fn ask_to_sign(mut socket: &UnixStream, message: &[u8]) -> io::Result<Option<[u8; 64]>> {
    socket.write_all(&Up::Sign(message.to_vec()).frame())?;
    let mut decoder = Decoder::default();
    let mut piece = [0; 256];
    loop {
        match decoder.take().map_err(io::Error::other)? {
            Some(Down::Signature(signature)) => return Ok(signature.map(|signature| signature.0)),
            Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            None => {}
        }
        match socket.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => decoder.push(&piece[..count]),
        }
    }
}

/// What the agent says.
struct Ear {
    from_agent: OwnedReadHalf,
    decoder: Decoder,
}

impl Ear {
    /// The next message; none if the agent hung up.
    async fn next(&mut self) -> Result<Option<Down>, CourierError> {
        let mut piece = vec![0; PIECE];
        loop {
            if let Some(message) = self.decoder.take()? {
                return Ok(Some(message));
            }
            match self.from_agent.read(&mut piece).await? {
                0 => return Ok(None),
                count => self.decoder.push(&piece[..count]),
            }
        }
    }

    async fn hear(mut self, give: Sender<Errand>) -> Result<(), CourierError> {
        while let Some(message) = self.next().await? {
            match message {
                Down::Errand(errand) => drop(give.send(errand).await),
                Down::Begin(_) | Down::Signature(_) => return Err(CourierError::Begin),
            }
        }
        Ok(())
    }
}

async fn speak(mut to_agent: OwnedWriteHalf, mut said: Receiver<Up>) -> Result<(), CourierError> {
    while let Some(message) = said.recv().await {
        to_agent.write_all(&message.frame()).await?;
    }
    Ok(())
}

/// One connection to the registry, and what is done over it.
struct Round {
    client: Client,
    node: String,
    say: Sender<Up>,
}

impl Round {
    /// Hands on whatever the registry shows the node, for as long as the agent listens.
    async fn follow(mut self) {
        let path = format!("/v1/nodes/{}/snapshot", self.node);
        let (mut held, mut attempt) = (Held::default(), 0);
        // The first question after a failure is answered at once: whether there is anybody.
        let mut wait = Duration::ZERO;
        loop {
            let began = Instant::now();
            let asked = self.client.unread_news(&path, (held.tag(), held.takes_difference()), wait).await;
            // Sent away before its time: the registry is stopping, or another machine asks in the node's name.
            let sent_away = !wait.is_zero() && began.elapsed() < SENT_AWAY;
            let said = match asked {
                Ok(news) => {
                    let (received_bytes, is_same) = (length(&news), news == Unread::Same);
                    let proofs = whole(&mut held, news).map(Up::Proofs);
                    // What could not be put together is asked for whole.
                    let again = if is_same { sent_away } else { proofs.is_none() };
                    (attempt, wait) = (0, if again { Duration::ZERO } else { WAIT_MAX });
                    // That it was reached comes last: whoever waits for that has what it showed.
                    [proofs, Some(Up::Link(Link { fault: None, received_bytes }))]
                }
                Err(error) => {
                    wait = Duration::ZERO;
                    [None, Some(Up::Link(Link { fault: Some(fault(&error)), received_bytes: 0 }))]
                }
            };
            for message in said.into_iter().flatten() {
                if self.say.send(message).await.is_err() {
                    return;
                }
            }
            if wait.is_zero() {
                tokio::time::sleep(retry::wait(attempt, random())).await;
                attempt += 1;
            }
        }
    }

    /// Carries what the agent gives, each once: whether it is tried again is the agent's to say.
    async fn run_errands(mut self, mut given: Receiver<Errand>) {
        while let Some(errand) = given.recv().await {
            let outcome = self.run_errand(&errand).await.map_err(|error| fault(&error));
            if self.say.send(Up::Answer(Answer { id: errand.id, outcome })).await.is_err() {
                return;
            }
        }
        // The agent hung up, and that is heard elsewhere.
        std::future::pending().await
    }

    async fn run_errand(&mut self, errand: &Errand) -> Result<sixfold_core::id::Revision, ClientError> {
        let path = match errand.place {
            Place::Node => format!("/v1/nodes/{}", self.node),
            Place::Devices => format!("/v1/nodes/{}/devices", self.node),
            Place::Status => format!("/v1/nodes/{}/status", self.node),
        };
        let body: serde_json::Value = serde_json::from_str(&errand.body).map_err(ClientError::Unreadable)?;
        let done: Done = self.client.send(Method::PUT, &path, &body, None).await?;
        Ok(done.revision)
    }
}

/// Bytes of news.
fn length(news: &Unread) -> u64 {
    match news {
        Unread::Same => 0,
        Unread::Whole(bytes, _) | Unread::Difference(bytes, _) => bytes.len() as u64,
    }
}

/// All that the registry shows now; none if that is what is held, or if it cannot be put together.
fn whole(held: &mut Held, news: Unread) -> Option<Vec<u8>> {
    match news {
        Unread::Same => None,
        Unread::Whole(bytes, tag) => {
            held.take(&bytes, tag);
            Some(bytes)
        }
        Unread::Difference(difference, tag) => {
            let whole = held.put(&difference, tag);
            whole.inspect_err(|error| tracing::warn!(error = words(error, None), "asking for all of it")).ok()
        }
    }
}

/// Why, with what helps.
fn fault(error: &ClientError) -> String {
    let mut text = words(error, None);
    if let ClientError::Refused(problem) = error {
        text = problem.causes.iter().fold(text, |text, cause| format!("{text}: {cause}"));
    }
    if let Some(hint) = error.hints().first() {
        text = format!("{text} (hint: {hint})");
    }
    shown::cut_to(&shown::plain(&text), WORDS_MAX)
}

/// An even draw; where the system has none, the same moment for all is what remains.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::MAX,
    }
}
