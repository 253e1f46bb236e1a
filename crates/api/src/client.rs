//! A client of the registry: one connection, kept open, to the one key it was told.
//!
//! Owns: connecting, sending, and the end of waiting. Must not retry by itself: a caller knows whether a request may be
//! sent twice (with an idempotency key it may), and how long to wait is [`crate::retry`]'s.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
pub use hyper::Method;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, ETAG, HOST, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::limit::{ANSWER, ANSWER_BYTES_MAX, CONNECT, UNACKNOWLEDGED, WAIT_MAX};
use crate::problem::{Kind, Problem};
use crate::tls::{self, Identity, RawKey, TlsError};

/// The header that makes a request one request, however often it is sent.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header by which whoever holds something says that it takes a difference to it (RFC 3229), and the one that says that
/// an answer is one.
pub const DIFFERENCE_TAKEN: &str = "a-im";
/// The other.
pub const DIFFERENCE_GIVEN: &str = "im";
/// As what a difference is known.
pub const DIFFERENCE: &str = "sixfold-parts";

/// The header by which a node's agent says which start of it asks: `BOOT-NONCE`.
pub const SESSION: &str = "sixfold-session";

/// Why there is no answer that says it is done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The registry answered, and refused.
    #[error(transparent)]
    Refused(#[from] Box<Problem>),
    /// The settings cannot be used.
    #[error(transparent)]
    Setup(#[from] TlsError),
    /// Nobody is there, or somebody with another key.
    #[error("cannot connect to the registry at {address}")]
    Connect {
        /// Where it should be, as `host:port`.
        address: String,
        /// What the system or TLS says.
        #[source]
        source: io::Error,
    },
    /// The connection ended under the request: whether it was done is not known.
    #[error("the connection to the registry broke")]
    Broken(#[source] hyper::Error),
    /// There was no answer in time: whether it was done is not known.
    #[error("the registry gave no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// An answer of more than [`ANSWER_BYTES_MAX`].
    #[error("the registry's answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// What came is no answer of a registry.
    #[error("the registry's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// What is asked for cannot be written as a request.
    #[error("the request cannot be written")]
    Unwritable(#[source] hyper::http::Error),
}

impl ClientError {
    /// Whether the same request may succeed later, if it carries an idempotency key or changes nothing.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            // Not a conflict: what was written since stays, so the same request is refused again.
            Self::Refused(problem) => {
                matches!(problem.kind, Kind::Busy | Kind::Unavailable | Kind::Timeout)
            }
            Self::Connect { .. } | Self::Broken(_) | Self::Late(_) => true,
            Self::Setup(_) | Self::TooLong | Self::Unreadable(_) | Self::Unwritable(_) => false,
        }
    }

    /// How long to wait before it is asked again, if the registry said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after_secs.map(|secs| Duration::from_secs(secs.into())),
            _ => None,
        }
    }

    /// What helps, if that is known.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Refused(problem) => problem.hints.clone(),
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::InvalidData => vec![
                "either this is not the registry that the key was told for, or it has a new key: ask its operator"
                    .to_owned(),
            ],
            Self::Connect { .. } => vec!["look whether `sixfold registry run` runs there".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// News of a resource that has a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News<T> {
    /// It is as it was at the revision that was named.
    Same,
    /// What it is now, and the tag to name the next time.
    Changed {
        /// The resource.
        value: T,
        /// Its tag, opaque.
        tag: Option<String>,
    },
}

/// News as they came, for whoever hands them on unread; each with the tag to name the next time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is as the tag says that was named.
    Same,
    /// All that it is now.
    Whole(Vec<u8>, Option<String>),
    /// What is other in it than in what the tag says that was named.
    Difference(Vec<u8>, Option<String>),
}

/// A client: knows where the registry is, which key it has, and who it is itself.
pub struct Client {
    address: String,
    config: Arc<ClientConfig>,
    session: Option<String>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client of the registry at `address` (`host:port`) that holds `pinned`; anonymous without an identity.
    ///
    /// # Errors
    /// [`ClientError::Setup`].
    pub fn new(
        address: impl Into<String>,
        pinned: RawKey,
        identity: Option<&Identity>,
    ) -> Result<Self, ClientError> {
        let config = Arc::new(tls::client(pinned, identity)?);
        Ok(Self { address: address.into(), config, session: None, connection: None })
    }

    /// Says in each request which start of a node's agent asks.
    #[must_use]
    pub fn in_session(self, session: impl Into<String>) -> Self {
        Self { session: Some(session.into()), ..self }
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let answer = self.ask(Ask { method: Method::GET, path, ..Ask::default() }).await?;
        answer.value()
    }

    /// Reads a resource if it is another than the one with `tag`, waiting up to `wait` (at most [`WAIT_MAX`]) for it to
    /// become so.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn news<T: DeserializeOwned>(
        &mut self,
        path: &str,
        tag: Option<&str>,
        wait: Duration,
    ) -> Result<News<T>, ClientError> {
        match self.unread_news(path, (tag, false), wait).await? {
            Unread::Same => Ok(News::Same),
            Unread::Whole(value, tag) | Unread::Difference(value, tag) => {
                let value = serde_json::from_slice(&value).map_err(ClientError::Unreadable)?;
                Ok(News::Changed { value, tag })
            }
        }
    }

    /// As [`Client::news`], as they came; where `takes_difference`, they may be a difference to what the tag says.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn unread_news(
        &mut self,
        path: &str,
        (tag, takes_difference): (Option<&str>, bool),
        wait: Duration,
    ) -> Result<Unread, ClientError> {
        let wait = wait.min(WAIT_MAX);
        let path = format!("{path}?wait={}", wait.as_secs());
        let patience = ANSWER + wait;
        let ask = Ask { method: Method::GET, path: &path, tag, takes_difference, patience, ..Ask::default() };
        let Answer { status, tag, body } = self.ask(ask).await?;
        Ok(match status {
            StatusCode::NOT_MODIFIED => Unread::Same,
            StatusCode::IM_USED => Unread::Difference(body.into(), tag),
            _ => Unread::Whole(body.into(), tag),
        })
    }

    /// Sends something with a method, under an idempotency key if one is given.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn send<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        idempotency_key: Option<&str>,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Unreadable)?;
        let ask = Ask { method, path, body: Some(body), idempotency_key, ..Ask::default() };
        self.ask(ask).await?.value()
    }

    async fn ask(&mut self, ask: Ask<'_>) -> Result<Answer, ClientError> {
        let patience = ask.patience;
        let request = ask.request(&self.address, self.session.as_deref())?;
        let mut connection = match self.connection.take() {
            Some(open) if open.is_ready() => open,
            _ => self.connect().await?,
        };
        // A connection is only kept if its answer was read to the end: a late one must not be taken for the next.
        let answered = timeout(patience, async {
            connection.ready().await.map_err(ClientError::Broken)?;
            let response = connection.send_request(request).await.map_err(ClientError::Broken)?;
            Answer::read(response).await
        });
        let answer = answered.await.map_err(|_| ClientError::Late(patience))??;
        self.connection = Some(connection);
        answer.success()
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let failed = |source| ClientError::Connect { address: self.address.clone(), source };
        let connecting = timeout(CONNECT, async {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            // Else a word that went into a cut cable is said again minutes after it is healed.
            SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
            TlsConnector::from(Arc::clone(&self.config)).connect(tls::server_name(), stream).await
        });
        let stream =
            connecting.await.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(&failed)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| failed(io::Error::other(error)))?;
        // Ends when the sender is dropped, or the registry closes.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the registry ended");
            }
        });
        Ok(sender)
    }
}

/// What is asked.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    body: Option<Vec<u8>>,
    tag: Option<&'a str>,
    takes_difference: bool,
    idempotency_key: Option<&'a str>,
    patience: Duration,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self {
            method: Method::GET,
            path: "/",
            body: None,
            tag: None,
            takes_difference: false,
            idempotency_key: None,
            patience: ANSWER,
        }
    }
}

impl Ask<'_> {
    fn request(self, host: &str, session: Option<&str>) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header(HOST, host)
            .header(ACCEPT, HeaderValue::from_static("application/json, application/problem+json"));
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(session) = session {
            request = request.header(HeaderName::from_static(SESSION), session);
        }
        if let Some(tag) = self.tag {
            request = request.header(IF_NONE_MATCH, tag);
            if self.takes_difference {
                request = request.header(HeaderName::from_static(DIFFERENCE_TAKEN), DIFFERENCE);
            }
        }
        if let Some(key) = self.idempotency_key {
            request = request.header(HeaderName::from_static(IDEMPOTENCY_KEY), key);
        }
        request.body(Full::from(self.body.unwrap_or_default())).map_err(ClientError::Unwritable)
    }
}

/// What was answered.
struct Answer {
    status: StatusCode,
    tag: Option<String>,
    body: Bytes,
}

impl Answer {
    async fn read(response: Response<Incoming>) -> Result<Self, ClientError> {
        let status = response.status();
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let read = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = read.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(broken) => ClientError::Broken(*broken),
            Err(other) => {
                debug_assert!(other.is::<LengthLimitError>(), "a body ends early or is too long");
                ClientError::TooLong
            }
        })?;
        Ok(Self { status, tag, body: body.to_bytes() })
    }

    /// Itself, unless it is a refusal.
    fn success(self) -> Result<Self, ClientError> {
        if self.status.is_success() || self.status == StatusCode::NOT_MODIFIED {
            return Ok(self);
        }
        let problem: Box<Problem> = serde_json::from_slice(&self.body).map_err(ClientError::Unreadable)?;
        Err(problem.into())
    }

    fn value<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        let body: &[u8] = if self.body.is_empty() { b"null" } else { &self.body };
        serde_json::from_slice(body).map_err(ClientError::Unreadable)
    }
}
