//! The traits on gotatun's `noise` module, the only file that names the library.
//!
//! The library reads a clock inside. With its `mock_instant` feature that clock is a value of the thread, which
//! is set here from the argument before every call: so time is an argument all the way down, the same code runs
//! in production and under tests, and a call costs no system call for the time. The wall clock is read by the
//! library when a session is made, for the first timestamp of its handshakes: what that asks for is `device/stamps.rs`.

use super::{Admission, Arrival, Demand, Noise, Progress, Refused, SESSION_LASTS, Session, Tick};
use crate::key::{PublicKey, SecretKey};
use bytes::BytesMut;
use gotatun::noise::errors::WireGuardError;
use gotatun::noise::handshake::parse_handshake_anon;
use gotatun::noise::index_table::IndexTable;
use gotatun::noise::rate_limiter::RateLimiter;
use gotatun::noise::{Tunn, TunnResult};
use gotatun::packet::{Packet, WgKind};
use gotatun::x25519;
use mock_instant::thread_local::MockClock;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Who has a cookie may show it for so long (WireGuard paper, section 5.4.7: two minutes), and a little longer.
const COOKIES_LAST: Duration = Duration::from_secs(130);
/// From where what is not asked for a cookie comes, as the library counts it.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// Sets the clock the library sees. It never goes back on one thread: the library subtracts without a check.
fn set_clock(now: Duration) {
    MockClock::set_time(now.max(MockClock::time()));
}

/// [`Noise`] by gotatun.
pub struct Gotatun {
    secret: x25519::StaticSecret,
    public: x25519::PublicKey,
    indices: IndexTable,
    /// Never demands a cookie; the sessions hold it too, but do not ask it.
    authentic: Arc<RateLimiter>,
    /// Demands one from everybody, and keeps an entry of memory for each source that it is asked about in a second.
    cookie: RateLimiter,
    /// When it was asked last.
    asked: Option<Duration>,
}

impl Gotatun {
    /// Makes the state of a device from its private key.
    pub fn new(private: &SecretKey, now: Duration) -> Self {
        set_clock(now);
        let secret = x25519::StaticSecret::from(*private.as_bytes());
        let public = x25519::PublicKey::from(&secret);
        Self {
            secret,
            public,
            indices: IndexTable::from_os_rng(),
            authentic: Arc::new(RateLimiter::new(&public, u64::MAX)),
            cookie: RateLimiter::new(&public, 0),
            asked: None,
        }
    }
}

impl Noise for Gotatun {
    fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(self.public.to_bytes())
    }

    fn session(&self, peer: &PublicKey, preshared: Option<&SecretKey>, now: Duration) -> Box<dyn Session> {
        set_clock(now);
        Box::new(Tunn::new(
            self.secret.clone(),
            x25519::PublicKey::from(*peer.as_bytes()),
            preshared.map(|key| *key.as_bytes()),
            None,
            self.indices.clone(),
            Arc::clone(&self.authentic),
        ))
    }

    fn admit(&mut self, arrival: Arrival<'_>, demand: Demand, reply: &mut BytesMut) -> Admission {
        set_clock(arrival.now);
        let (limiter, source) = match demand {
            Demand::Authentic => (&*self.authentic, ANYWHERE),
            Demand::Cookie => {
                self.asked = Some(arrival.now);
                self.cookie.try_reset_count();
                (&self.cookie, canonical(arrival.source))
            }
        };
        match limiter.verify_packet(source, Packet::copy_from(arrival.message)) {
            Ok(_) => Admission::Accept,
            Err(TunnResult::WriteToNetwork(cookie)) => {
                append(reply, cookie);
                Admission::Cookie
            }
            Err(_) => Admission::Forged,
        }
    }

    fn initiator(&self, message: &[u8]) -> Option<PublicKey> {
        let Ok(WgKind::HandshakeInit(initiation)) = Packet::copy_from(message).try_into_wg() else {
            return None;
        };
        let half = parse_handshake_anon(&self.secret, &self.public, &initiation).ok()?;
        Some(PublicKey::from_bytes(half.peer_static_public))
    }

    fn is_index_live(&self, index: u32) -> bool {
        self.indices.in_use(index)
    }

    fn tick(&mut self, now: Duration) {
        if self.asked.is_some_and(|asked| now.saturating_sub(asked) > COOKIES_LAST) {
            set_clock(now);
            (self.cookie, self.asked) = (RateLimiter::new(&self.public, 0), None);
        }
    }
}

impl Session for Tunn {
    fn seal(&mut self, padded: BytesMut, now: Duration) -> Result<BytesMut, BytesMut> {
        set_clock(now);
        match self.encapsulate_with_session(Packet::from_bytes(padded)) {
            Ok(sealed) => Ok(taken(sealed.into_bytes())),
            Err(padded) => Err(taken(padded)),
        }
    }

    fn open(&mut self, message: BytesMut, now: Duration) -> Result<BytesMut, Refused> {
        set_clock(now);
        let data = Packet::from_bytes(message).try_into_wg().map_err(|_| Refused::Forged)?;
        match self.handle_incoming_packet(data) {
            TunnResult::WriteToTunnel(plain) => Ok(taken(plain)),
            TunnResult::Err(error) => Err(refused(&error)),
            TunnResult::Done | TunnResult::WriteToNetwork(_) => Err(Refused::Forged),
        }
    }

    fn initiate(&mut self, now: Duration, out: &mut BytesMut) -> bool {
        set_clock(now);
        let Some(initiation) = self.format_handshake_initiation(false) else { return false };
        append(out, initiation.into());
        true
    }

    fn handshake_in(
        &mut self,
        message: &[u8],
        now: Duration,
        out: &mut BytesMut,
    ) -> Result<Progress, Refused> {
        set_clock(now);
        let message = Packet::copy_from(message).try_into_wg().map_err(|_| Refused::Forged)?;
        match self.handle_incoming_packet(message) {
            TunnResult::WriteToNetwork(reply) => {
                let progress = match reply {
                    WgKind::HandshakeResp(_) => Progress::Responded,
                    _ => Progress::Completed,
                };
                append(out, reply);
                Ok(progress)
            }
            TunnResult::Done => Ok(Progress::CookieKept),
            TunnResult::Err(error) => Err(refused(&error)),
            TunnResult::WriteToTunnel(_) => Err(Refused::Forged),
        }
    }

    fn tick(&mut self, now: Duration, out: &mut BytesMut) -> Tick {
        set_clock(now);
        match self.update_timers() {
            Ok(None) => Tick::Idle,
            Ok(Some(WgKind::Data(keepalive))) => {
                append(out, keepalive.into());
                Tick::Keepalive
            }
            Ok(Some(initiation)) => {
                append(out, initiation);
                Tick::Initiation
            }
            Err(_) => Tick::Expired,
        }
    }

    fn is_live(&self, now: Duration) -> bool {
        set_clock(now);
        self.time_since_last_handshake().is_some_and(|age| age < SESSION_LASTS)
    }

    fn set_keepalive_secs(&mut self, keepalive_secs: u16, now: Duration) {
        set_clock(now);
        self.set_persistent_keepalive(Some(keepalive_secs));
    }

    fn set_preshared(&mut self, preshared: Option<&SecretKey>) {
        self.set_preshared_key(preshared.map(|key| *key.as_bytes()));
    }
}

/// The bytes of a packet of the library's, as they are.
fn taken(mut packet: Packet) -> BytesMut {
    std::mem::take(packet.buf_mut())
}

fn append(out: &mut BytesMut, message: WgKind) {
    out.extend_from_slice(&Packet::from(message));
}

fn refused(error: &WireGuardError) -> Refused {
    match error {
        WireGuardError::DuplicateCounter
        | WireGuardError::InvalidCounter
        | WireGuardError::WrongTai64nTimestamp => Refused::Replayed,
        WireGuardError::NoCurrentSession
        | WireGuardError::WrongIndex
        | WireGuardError::UnexpectedPacket
        | WireGuardError::ConnectionExpired => Refused::NoSession,
        _ => Refused::Forged,
    }
}

/// A cookie is bound to the source address: IPv4 in one spelling, whatever socket it came by.
fn canonical(source: SocketAddr) -> SocketAddr {
    SocketAddr::new(source.ip().to_canonical(), source.port())
}
