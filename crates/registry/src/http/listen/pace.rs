//! A stream that ends when the other side is too slow: with a request's head, or with anything at all.
//!
//! Owns: two deadlines. hyper's own timer for heads also runs while a kept connection rests, which may be long; this one
//! begins with the first byte of a head. The bodies' deadline is where bodies are read.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::limit::HEADER;

/// How long a stream rests before it ends.
pub(super) const IDLE: Duration = sixfold_api::limit::IDLE;

/// Requests of a connection: how many began, and how many were answered. Whoever serves it counts.
#[derive(Debug, Default)]
pub(super) struct Requests {
    begun: AtomicU64,
    answered: AtomicU64,
}

impl Requests {
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn is_between(&self) -> bool {
        self.begun() == self.answered.load(Ordering::Relaxed)
    }
}

/// Where a head must be whole.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// Requests that had begun before it: once there are more, it was whole.
    after: u64,
    by: Instant,
}

/// The stream.
pub(super) struct Pace<S> {
    inner: S,
    requests: Arc<Requests>,
    head: Option<Head>,
    moved: Instant,
    timer: Pin<Box<Sleep>>,
}

impl<S> Pace<S> {
    /// A stream whose first head is due now.
    pub(super) fn new(inner: S, requests: Arc<Requests>) -> Self {
        let now = Instant::now();
        let head = Some(Head { after: 0, by: now + HEADER });
        Self { inner, requests, head, moved: now, timer: Box::pin(sleep_until(now + HEADER)) }
    }

    /// Something came: of a request's head, if none is being answered.
    fn received(&mut self) {
        self.moved = Instant::now();
        self.forget_whole_head();
        if self.head.is_none() && self.requests.is_between() {
            self.head = Some(Head { after: self.requests.begun(), by: self.moved + HEADER });
        }
    }

    fn forget_whole_head(&mut self) {
        if self.head.is_some_and(|head| self.requests.begun() > head.after) {
            self.head = None;
        }
    }

    /// Nothing moves: ready with the reason once that is too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.forget_whole_head();
        let rest = self.moved + IDLE;
        let due = self.head.map_or(rest, |head| head.by.min(rest));
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pace<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buffer) {
            Poll::Pending => self.poll_late(cx).map(Err),
            read => {
                if buffer.filled().len() > before {
                    self.received();
                    // A head that dribbles is late although it moves.
                    if self.head.is_some_and(|head| head.by <= self.moved) {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
                read
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pace<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, bytes) {
            Poll::Pending => self.poll_late(cx).map(Err),
            written => {
                self.moved = Instant::now();
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(cx) {
            Poll::Pending => self.poll_late(cx).map(Err),
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_shutdown(cx) {
            Poll::Pending => self.poll_late(cx).map(Err),
            shut => shut,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{pause, sleep};

    use super::*;

    fn pair() -> (Pace<DuplexStream>, DuplexStream, Arc<Requests>) {
        let (here, there) = duplex(64);
        let requests = Arc::new(Requests::default());
        (Pace::new(here, Arc::clone(&requests)), there, requests)
    }

    async fn read(stream: &mut Pace<DuplexStream>) -> io::Result<usize> {
        stream.read(&mut [0; 16]).await
    }

    async fn ended_after(stream: &mut Pace<DuplexStream>) -> Duration {
        let began = Instant::now();
        while let Ok(bytes) = read(stream).await {
            assert!(bytes > 0, "the other side closed");
        }
        began.elapsed()
    }

    #[tokio::test]
    async fn a_head_that_dribbles_ends_its_stream() {
        pause();
        let (mut stream, mut there, _) = pair();
        let dribble = tokio::spawn(async move {
            while there.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let after = ended_after(&mut stream).await;
        assert!(after >= HEADER && after <= HEADER + Duration::from_secs(1), "{after:?}");
        drop(stream);
        dribble.await.unwrap();
    }

    #[tokio::test]
    async fn a_kept_stream_rests_for_long_and_its_next_head_is_in_time_again() {
        pause();
        let (mut stream, mut there, requests) = pair();
        there.write_all(b"head").await.unwrap();
        read(&mut stream).await.unwrap();
        requests.begin();
        requests.answer();
        let resting = tokio::spawn(async move {
            sleep(IDLE / 2).await;
            there.write_all(b"next").await.unwrap();
            there
        });
        assert_eq!(read(&mut stream).await.unwrap(), 4);
        let _there = resting.await.unwrap();
        let after = ended_after(&mut stream).await;
        assert!(after >= HEADER && after < HEADER * 2, "{after:?}");
    }

    #[tokio::test]
    async fn a_request_that_is_being_answered_has_until_the_stream_is_idle() {
        pause();
        let (mut stream, _there, requests) = pair();
        requests.begin();
        let after = ended_after(&mut stream).await;
        assert!(after >= IDLE && after < IDLE + Duration::from_secs(1), "{after:?}");
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_ends_the_stream() {
        pause();
        let (mut stream, _there, requests) = pair();
        requests.begin();
        let began = Instant::now();
        let failed = stream.write_all(&[0; 65]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= IDLE);
    }
}
