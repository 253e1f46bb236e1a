//! The Noise handshake and transport of WireGuard behind two small traits, so that the library can be changed.
//! A [`Noise`] belongs to a device's private key, a [`Session`] to one peer. Neither knows sockets, AllowedIPs,
//! endpoints or queues; those belong to the device. Time is an argument, as a duration since any fixed moment.

mod library;

pub use library::Gotatun;

use crate::key::{PublicKey, SecretKey};
use bytes::BytesMut;
use std::net::SocketAddr;
use std::time::Duration;

/// A session that is older is dead (WireGuard paper, section 6.1).
pub const SESSION_LASTS: Duration = Duration::from_secs(180);

/// A message from the network that claims to be part of a handshake.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The whole datagram.
    pub message: &'a [u8],
    /// Where it came from.
    pub source: SocketAddr,
    /// When it came.
    pub now: Duration,
}

/// What a handshake message must show before it is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// That it was made for our public key.
    Authentic,
    /// The same, and a cookie.
    Cookie,
}

/// What the first check of a handshake message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The message authenticates to our public key and its source may be heard.
    Accept,
    /// The source must first prove its address; the cookie reply was appended.
    Cookie,
    /// The message was not made for our public key.
    Forged,
}

/// What a handshake message led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// An initiation was answered; the response was appended.
    Responded,
    /// A response completed the handshake; a keepalive that confirms it was appended.
    Completed,
    /// A cookie was kept for the next initiation.
    CookieKept,
}

/// What the timers of a peer call for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// Nothing is due.
    Idle,
    /// An initiation was appended.
    Initiation,
    /// A keepalive was appended.
    Keepalive,
    /// Keys and handshake are given up; what waits in a queue will not be sent.
    Expired,
}

/// Why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It was received before, or is too old to tell.
    Replayed,
    /// There is no session or handshake it could belong to.
    NoSession,
    /// It does not authenticate, or is not a message at all.
    Forged,
}

/// The Noise state of a device: what needs its private key but no peer.
pub trait Noise: Send {
    /// Our own public key.
    fn public_key(&self) -> PublicKey;

    /// Makes the state for one peer; nothing is sent.
    fn session(&self, peer: &PublicKey, preshared: Option<&SecretKey>, now: Duration) -> Box<dyn Session>;

    /// Checks a handshake message before anything expensive is done with it.
    fn admit(&mut self, arrival: Arrival<'_>, demand: Demand, reply: &mut BytesMut) -> Admission;

    /// Decrypts who sent an admitted initiation.
    fn initiator(&self, message: &[u8]) -> Option<PublicKey>;

    /// Whether a sender index of ours still belongs to a live handshake or session.
    fn is_index_live(&self, index: u32) -> bool;

    /// Gives up the memory of cookies that are no longer valid; to be called now and then.
    fn tick(&mut self, now: Duration);
}

/// The Noise state of one peer: its handshakes, its sessions and its timers.
pub trait Session: Send {
    /// Seals an inner packet that is padded already: the datagram.
    ///
    /// # Errors
    /// Gives the packet back if there is no session to seal it with.
    fn seal(&mut self, padded: BytesMut, now: Duration) -> Result<BytesMut, BytesMut>;

    /// Opens a data message where it is: the padded inner packet (nothing for a keepalive).
    ///
    /// # Errors
    /// Says why the message is refused.
    fn open(&mut self, message: BytesMut, now: Duration) -> Result<BytesMut, Refused>;

    /// Appends an initiation unless a handshake is already under way; tells whether it did.
    fn initiate(&mut self, now: Duration, out: &mut BytesMut) -> bool;

    /// Takes an admitted handshake message and appends what is to be sent back.
    ///
    /// # Errors
    /// Says why the message is refused.
    fn handshake_in(
        &mut self,
        message: &[u8],
        now: Duration,
        out: &mut BytesMut,
    ) -> Result<Progress, Refused>;

    /// Runs the timers (rekey, retry, keepalive, expiry); to be called about four times a second.
    fn tick(&mut self, now: Duration, out: &mut BytesMut) -> Tick;

    /// Whether there is a session that something can be sent by.
    fn is_live(&self, now: Duration) -> bool;

    /// Sets the interval of persistent keepalives; zero switches them off.
    fn set_keepalive_secs(&mut self, keepalive_secs: u16, now: Duration);

    /// Sets the preshared key of the next handshake.
    fn set_preshared(&mut self, preshared: Option<&SecretKey>);
}
