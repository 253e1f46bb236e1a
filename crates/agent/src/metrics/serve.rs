//! Answers on an address of this machine alone, in the clear.
//!
//! Owns: the socket and the little of HTTP/1.1 that a scraper needs: one request for each connection, of which the first
//! line alone is read. This process has every right on the node, so nothing that understands more stands here.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sixfold_api::metrics::CONTENT_TYPE;
use sixfold_kernel::tunnel;

use super::{Figures, of_tunnel};

/// Answered at a time: a scraper, a probe, and one that does not read.
const ANSWERED: usize = 4;
/// For one request and its answer: both are on this machine.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a request that are read at most.
const REQUEST_MAX: usize = 4096;
/// After a connection could not be taken.
const SHORTAGE: Duration = Duration::from_millis(100);

/// What the agent counts, told to whoever asks on this machine.
#[derive(Debug)]
pub struct Metrics {
    socket: TcpListener,
    figures: Arc<Figures>,
    /// The control socket of the tunnel process, where there is one.
    tunnel: Option<PathBuf>,
}

impl Metrics {
    /// Takes the address.
    ///
    /// # Errors
    /// What the system says; an address that others than this machine reach is refused.
    pub fn bind(address: SocketAddr, figures: Arc<Figures>, tunnel: Option<PathBuf>) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            let words = "it is told in the clear: others reach this address";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        }
        Ok(Self { socket: TcpListener::bind(address)?, figures, tunnel })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers from now on, until the process ends.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn serve(self) -> io::Result<()> {
        let this = Arc::new(self);
        for _ in 0..ANSWERED {
            let this = Arc::clone(&this);
            thread::Builder::new().name("metrics".to_owned()).spawn(move || this.answer_all())?;
        }
        Ok(())
    }

    fn answer_all(&self) {
        loop {
            match self.socket.accept() {
                // One who does not read is gone after a while; there is nobody to tell.
                Ok((stream, _)) => drop(self.converse(stream)),
                Err(_) => thread::sleep(SHORTAGE),
            }
        }
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let Some(request) = receive(&mut stream, until)? else { return Ok(()) };
        let (status, kind, text) = self.answer(&request);
        let length = text.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(text.as_bytes())
    }

    /// Status, kind and text for a request's first line.
    fn answer(&self, request: &str) -> (&'static str, &'static str, String) {
        const PLAIN: &str = "text/plain; charset=utf-8";
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let said = |outcome: Result<String, String>| match outcome {
            Ok(text) => ("200 OK", PLAIN, text + "\n"),
            Err(text) => ("503 Service Unavailable", PLAIN, text + "\n"),
        };
        match (method, path) {
            ("GET", "/metrics") => ("200 OK", CONTENT_TYPE, self.text()),
            ("GET", "/healthz") => said(self.figures.health(Instant::now()).map(str::to_owned)),
            ("GET", "/readyz") => said(self.figures.readiness(Instant::now())),
            ("GET", _) => ("404 Not Found", PLAIN, "there are /metrics, /healthz and /readyz\n".to_owned()),
            _ => ("405 Method Not Allowed", PLAIN, "ask with GET\n".to_owned()),
        }
    }

    fn text(&self) -> String {
        let tunnel = self.tunnel.as_ref().map(|control| of_tunnel(&tunnel::totals(control)));
        self.figures.text() + &tunnel.unwrap_or_default()
    }
}

/// The first line of a request, once its head is there as a whole; `None`: it is none, or too long.
fn receive(stream: &mut TcpStream, until: Instant) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() >= REQUEST_MAX {
            return Ok(None);
        }
        stream.set_read_timeout(Some(left))?;
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&part[..length]);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok(std::str::from_utf8(line).ok().map(str::to_owned))
}
