//! A volley: all its shots at once, with one deadline for all.
//!
//! Owns: sending, and knowing whose answer came. Must not judge: an outcome says what happened, not whether it should.
//!
//! Packets that differ only in their index leave a few milliseconds apart. Errors come by the raw sockets, which get those
//! about UDP and TCP too; so every refusal has the address of who refused.

mod attempt;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use sixfold_core::model::Family;
use sixfold_core::reach::Traffic;
use socket2::Socket;

use super::packet::{self, About, Icmp, Sign};
use super::{COUNT_MAX, Outcome, ProbeError, Refusal, SHOTS_MAX, Shot, TIMEOUT_MAX, sockets};
use attempt::{Attempt, Step};

/// Between two packets of one shot.
const GAP: Duration = Duration::from_millis(5);

/// Shoots, and waits until all is answered or refused, at most for `timeout`.
///
/// # Errors
/// More than is allowed at once; two equal nonces; no sockets. What becomes of a packet is never an error.
pub(super) fn shoot(shots: &[Shot], timeout: Duration) -> Result<Vec<Outcome>, ProbeError> {
    let mut volley = Volley::new(shots)?;
    let start = Instant::now();
    let deadline = start + timeout.min(TIMEOUT_MAX);
    let waves = shots.iter().map(|shot| shot.count).max().unwrap_or(0);
    let mut wave = 0;
    loop {
        while wave < waves && start + GAP * u32::from(wave) <= Instant::now() {
            volley.send(wave);
            wave += 1;
        }
        volley.give_up();
        let now = Instant::now();
        if now >= deadline || (wave == waves && volley.is_settled()) {
            return Ok(volley.finish());
        }
        let next = if wave < waves { deadline.min(start + GAP * u32::from(wave)) } else { deadline };
        let next = volley.attempts.iter().filter_map(Attempt::gives_up_at).fold(next, Instant::min);
        volley.listen(next.saturating_duration_since(now))?;
    }
}

/// One shot under way.
struct Flight {
    shot: Shot,
    outcome: Outcome,
    left_at: BTreeMap<u16, Instant>,
    /// Answered or refused.
    settled: BTreeSet<u16>,
}

struct Volley {
    flights: Vec<Flight>,
    by_nonce: BTreeMap<u64, usize>,
    /// Raw and UDP, of each family that is shot at.
    sockets: BTreeMap<Family, (Socket, Socket)>,
    attempts: Vec<Attempt>,
}

impl Volley {
    fn new(shots: &[Shot]) -> Result<Self, ProbeError> {
        let most = shots.iter().map(|shot| shot.count).max().unwrap_or(0);
        within("shots", shots.len(), SHOTS_MAX)?;
        within("packets of one shot", most.into(), COUNT_MAX.into())?;
        let mut volley = Self {
            flights: Vec::new(),
            by_nonce: BTreeMap::new(),
            sockets: BTreeMap::new(),
            attempts: Vec::new(),
        };
        for (at, shot) in shots.iter().enumerate() {
            if volley.by_nonce.insert(shot.nonce, at).is_some() {
                return Err(ProbeError::Nonce { nonce: shot.nonce });
            }
            let family = sockets::family_of(shot.to);
            if let std::collections::btree_map::Entry::Vacant(vacant) = volley.sockets.entry(family) {
                vacant.insert((sockets::icmp(family)?, sockets::udp(family)?));
            }
            let (outcome, left_at, settled) = (Outcome::default(), BTreeMap::new(), BTreeSet::new());
            volley.flights.push(Flight { shot: *shot, outcome, left_at, settled });
        }
        Ok(volley)
    }

    /// Sends packet `index` of every shot that has so many.
    fn send(&mut self, index: u16) {
        for (at, flight) in
            self.flights.iter_mut().enumerate().filter(|(_, flight)| index < flight.shot.count)
        {
            let Shot { to, traffic, nonce, .. } = flight.shot;
            let family = sockets::family_of(to);
            let (raw, udp) = self.sockets.get(&family).expect("each family shot at has its sockets");
            let sign = Sign { nonce, index };
            let now = Instant::now();
            let sent = match traffic {
                Traffic::Echo => raw
                    .send_to(&packet::echo_request(family, sign), &sockets::socket_address(to, 0))
                    .map(drop),
                Traffic::Udp(port) => {
                    udp.send_to(&sign.payload(), &sockets::socket_address(to, port)).map(drop)
                }
                Traffic::Tcp(port) => {
                    Attempt::start(at, &flight.shot, (index, port)).map(|attempt| self.attempts.push(attempt))
                }
            };
            flight.left(index, now, sent);
        }
    }

    /// Waits for something, at most for `timeout`, and takes all there is.
    fn listen(&mut self, timeout: Duration) -> Result<(), ProbeError> {
        let wait = |source| ProbeError::Socket { kind: "waiting", source };
        let raw_and_udp = self.sockets.values().flat_map(|(raw, udp)| [raw.as_fd(), udp.as_fd()]);
        let mut wanted: Vec<(BorrowedFd<'_>, PollFlags)> =
            raw_and_udp.map(|fd| (fd, PollFlags::POLLIN)).collect();
        let before = wanted.len();
        wanted.extend(self.attempts.iter().map(Attempt::wanted));
        let ready = sockets::ready(&wanted, Some(timeout)).map_err(wait)?;
        let arrived = self.take().map_err(wait)?;
        for (family, from, message, now) in arrived {
            self.receive(family, from, message, now);
        }
        self.advance(&ready[before..]);
        Ok(())
    }

    /// Whatever the raw and the UDP sockets hold. A datagram counts as a reply, which it is.
    fn take(&self) -> io::Result<Vec<(Family, IpAddr, Icmp, Instant)>> {
        let mut arrived = Vec::new();
        for (family, (raw, udp)) in &self.sockets {
            sockets::drain(raw, |bytes, from| {
                let message = packet::parse_icmp(*family, bytes);
                arrived.extend(message.map(|message| (*family, from, message, Instant::now())));
            })?;
            sockets::drain(udp, |bytes, from| {
                let reply = Sign::find(bytes).map(Icmp::Reply);
                arrived.extend(reply.map(|reply| (*family, from, reply, Instant::now())));
            })?;
        }
        Ok(arrived)
    }

    fn receive(&mut self, family: Family, from: IpAddr, message: Icmp, now: Instant) {
        match message {
            Icmp::Request(_) => {}
            Icmp::Reply(sign) => {
                // Whoever else answers, with whatever it was sent, is not who was asked.
                if let Some(flight) = self.flight(family, sign).filter(|flight| flight.shot.to == from) {
                    flight.answered(sign.index, now);
                }
            }
            Icmp::Error { kind, code, about } => {
                let refusal = Refusal::Icmp { by: from, kind, code };
                match about {
                    About::Sign(sign) => {
                        if let Some(flight) = self.flight(family, sign) {
                            flight.refused(sign.index, refusal);
                        }
                    }
                    About::Tcp { from_port, to } => self.refused_syn((from_port, to), refusal),
                }
            }
        }
    }

    fn flight(&mut self, family: Family, sign: Sign) -> Option<&mut Flight> {
        let flight = self.flights.get_mut(*self.by_nonce.get(&sign.nonce)?)?;
        let ours = sockets::family_of(flight.shot.to) == family && sign.index < flight.shot.count;
        ours.then_some(flight)
    }

    fn refused_syn(&mut self, which: (u16, IpAddr), refusal: Refusal) {
        if let Some(attempt) = self.attempts.iter().find(|attempt| (attempt.from_port, attempt.to) == which) {
            self.flights[attempt.flight].refused(attempt.sign.index, refusal);
        }
    }

    /// Moves those connections on for which something happened.
    fn advance(&mut self, ready: &[bool]) {
        for (attempt, _) in self.attempts.iter_mut().zip(ready).filter(|(_, ready)| **ready) {
            let flight = &mut self.flights[attempt.flight];
            match attempt.advance() {
                Step::Waits => continue,
                Step::Answered(connected) => flight.answered(attempt.sign.index, connected),
                // ICMP errors end a connection too; those have been told by the raw socket, with their sender.
                Step::Failed(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    flight.reset(attempt.sign.index);
                }
                Step::Failed(_) => {}
            }
            attempt.over = true;
        }
        self.attempts.retain(|attempt| !attempt.over);
    }

    /// Gives up connections whose SYN has gone unanswered for so long that the next would leave.
    fn give_up(&mut self) {
        let now = Instant::now();
        let flights = &mut self.flights;
        self.attempts.retain(|attempt| {
            let over = attempt.gives_up_at().is_some_and(|at| at <= now);
            if over {
                flights[attempt.flight].outcome.late |= attempt.is_late(now);
            }
            !over
        });
    }

    fn is_settled(&self) -> bool {
        self.flights.iter().all(|flight| flight.settled.len() == usize::from(flight.shot.count))
    }

    fn finish(mut self) -> Vec<Outcome> {
        let now = Instant::now();
        for attempt in self.attempts.iter().filter(|attempt| attempt.gives_up_at().is_some()) {
            self.flights[attempt.flight].outcome.late |= attempt.is_late(now);
        }
        self.flights.into_iter().map(|flight| flight.outcome).collect()
    }
}

impl Flight {
    /// A packet has left, or not. One that a rule dropped on its way out was made, and has been counted there.
    fn left(&mut self, index: u16, now: Instant, sent: io::Result<()>) {
        self.left_at.insert(index, now);
        let Err(error) = sent else {
            self.outcome.sent += 1;
            return;
        };
        let errno = nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or_default());
        self.outcome.sent += u32::from(errno == nix::errno::Errno::EPERM);
        self.refused(index, Refusal::Local { errno: format!("{errno:?}") });
    }

    fn answered(&mut self, index: u16, now: Instant) {
        if let Some(left) = self.left_at.get(&index)
            && self.settled.insert(index)
        {
            self.outcome.answered += 1;
            let micros = u64::try_from(now.saturating_duration_since(*left).as_micros()).unwrap_or(u64::MAX);
            self.outcome.rtt_micros = Some(self.outcome.rtt_micros.map_or(micros, |best| best.min(micros)));
        }
    }

    fn refused(&mut self, index: u16, refusal: Refusal) {
        self.settled.insert(index);
        self.outcome.refuse(refusal);
    }

    /// A refused connection: a reset, unless an ICMP error said so.
    fn reset(&mut self, index: u16) {
        if self.settled.insert(index) {
            self.outcome.refuse(Refusal::Reset);
        }
    }
}

fn within(what: &'static str, asked: usize, limit: usize) -> Result<(), ProbeError> {
    if asked > limit { Err(ProbeError::TooMany { what, asked, limit }) } else { Ok(()) }
}
