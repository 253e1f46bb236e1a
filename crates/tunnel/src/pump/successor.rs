//! One process succeeds another: the same descriptors, no packet read in between by anybody, and a new handshake with each peer
//! at once, since session keys are private to the library.
//!
//! ```text
//! the one after                              the one before, which carries all the while
//!   succeed FORM ──────────────────────────▶ the control socket
//!   list, give NAME … ─────────────────────▶ TUN, UDP socket, configuration socket, memo
//!   (makes each device; any failure so far ends the one after, and the one before has noticed nothing)
//!   take LIST ─────────────────────────────▶ if nothing changed: ok, and stands still
//!   carries, calls each peer, `done` ──────▶ ends. Anything else (the connection's end, five seconds): carries on
//! ```
//!
//! Owns: both sides of that. Whatever goes wrong, one of the two carries. Both do so for a moment if the one after needs longer
//! than the one before waits: it learns by its `done` that it was too late, and ends.

use super::Pump;
use super::carried::Descriptors;
use super::commands::Reply;
use super::hosted::Hosted;
use super::kept::{self, KeptError};
use crate::client::{ClientError, Connection, read_list};
use crate::control::{Command, ControlError, DONE, DeviceName, list_number};
use crate::memo::{self, FORM};
use crate::socket::{Listener, share};
use crate::sys::receive_with_descriptors;
use crate::{Config, Error};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Milliseconds for a successor to carry once it was told to; as long a client waits for an answer.
const PATIENCE: u16 = 5_000;
/// How often a successor begins again because something was configured meanwhile.
const TRIES: usize = 5;

/// The side of the process before.
impl Pump {
    pub(super) fn give_control(&self, form: u32) -> Result<Reply, ControlError> {
        if form != FORM {
            return Err(ControlError::OtherForm { wanted: form });
        }
        if self.keeper.keeps() {
            return Err(ControlError::IsKept);
        }
        let unusable = |errno| ControlError::UnusableDescriptor { role: "control socket", errno };
        Ok(Reply::with(vec![self.control.share().map_err(unusable)?]))
    }

    pub(super) fn give(&self, name: &DeviceName) -> Result<Reply, ControlError> {
        let hosted = self.names.get(name).and_then(|id| self.devices.get(id));
        let hosted = hosted.ok_or_else(|| ControlError::NoDevice { name: name.clone() })?;
        parts(hosted).map(Reply::with).map_err(|errno| ControlError::NotGiven { name: name.clone(), errno })
    }

    pub(super) fn take(&self, list: u64) -> Result<Reply, ControlError> {
        if list != list_number(&self.list()) {
            return Err(ControlError::Changed);
        }
        Ok(Reply { hands_over: true, ..Reply::with(Vec::new()) })
    }

    /// Carries nothing until the successor does; then all is the successor's, and this process ends.
    pub(super) fn stand_still(&mut self, successor: BorrowedFd<'_>) {
        let release = |(id, hosted): (&u64, &Hosted)| Some((*id, self.workers.release(&hosted.carried)?));
        let released: Vec<(u64, Descriptors)> = self.devices.iter().filter_map(release).collect();
        if !is_carried_by(successor) {
            for (id, descriptors) in released {
                let Some(hosted) = self.devices.get(&id) else { continue };
                if let Err(errno) = self.workers.exchange(id, &hosted.carried, descriptors) {
                    tracing::error!(device = %hosted.name, %errno, "device is carried no more");
                }
            }
            return;
        }
        tracing::info!(devices = self.devices.len(), "a successor carries all devices");
        self.control.leave_file();
        self.devices.values_mut().for_each(|hosted| hosted.uapi.leave_file());
        self.is_succeeded = true;
    }
}

/// Waits for a successor's last word, and tells whether it came.
fn is_carried_by(successor: BorrowedFd<'_>) -> bool {
    let mut said = [0; DONE.len() + 1];
    let heard = poll(&mut [PollFd::new(successor, PollFlags::POLLIN)], PollTimeout::from(PATIENCE));
    let heard = heard.and_then(|ready| match ready {
        0 => Err(Errno::ETIMEDOUT),
        _ => receive_with_descriptors(successor, &mut said),
    });
    let is_done = heard.as_ref().is_ok_and(|(length, _)| &said[..*length] == DONE);
    if !is_done {
        tracing::warn!(?heard, "the successor does not carry: this process goes on");
    }
    is_done
}

fn parts(hosted: &Hosted) -> Result<Vec<OwnedFd>, Errno> {
    let failed = |error: memo::MemoError| {
        tracing::warn!(device = %hosted.name, %error, "no memo of a device");
        Errno::ENOMEM
    };
    let memory = memo::memory().map_err(failed)?;
    let descriptors = hosted.carried.descriptors();
    let Descriptors { tun, udp, mtu, .. } = descriptors.as_ref().ok_or(Errno::ENODEV)?;
    let met = hosted.carried.device().met();
    memo::put(&memory, &hosted.memo(&met, *mtu)).map_err(failed)?;
    let (tun, udp) = (share(tun)?, share(udp)?);
    Ok(vec![tun, udp, hosted.uapi.share()?, memory.into()])
}

/// The process before, as the one after sees it.
pub(crate) struct Predecessor {
    connection: Connection,
    path: PathBuf,
}

impl Predecessor {
    /// Asks the process at a control socket for that socket.
    ///
    /// # Errors
    /// If there is none, or it refuses.
    pub(crate) fn at(control: &Path) -> Result<(Self, Listener), Error> {
        let failed = |source| Error::NotSucceeded { path: control.to_owned(), source };
        let connection = Connection::to(control).map_err(failed)?;
        let path = control.to_owned();
        let asked = connection.ask(&Command::Succeed { form: FORM }, &[]).and_then(only::<1>);
        let [listener] = asked.map_err(failed)?;
        Ok((Self { connection, path }, Listener::on(listener)))
    }

    fn failed(&self) -> impl Fn(ClientError) -> Error {
        |source| Error::NotSucceeded { path: self.path.clone(), source }
    }
}

/// The side of the process after.
impl Pump {
    /// Takes over all devices.
    ///
    /// # Errors
    /// If it cannot: the process before carries on then, and this one is to end.
    pub(crate) fn succeed(&mut self, before: &Predecessor, config: &Config) -> Result<(), Error> {
        let devices = self.receive(before)?;
        for hosted in devices {
            self.host(hosted).map_err(|source| Error::System { call: "epoll_ctl", source })?;
        }
        self.call_peers();
        before.connection.say(DONE).map_err(before.failed())?;
        self.control.take_file(&config.control);
        for hosted in self.devices.values_mut() {
            let path = Hosted::path(&hosted.name, &config.uapi_dir);
            hosted.uapi.take_file(&path);
        }
        tracing::info!(devices = self.devices.len(), "succeeds the process before");
        Ok(())
    }

    /// Makes each device, and has the process before stand still.
    fn receive(&self, before: &Predecessor) -> Result<Vec<Hosted>, Error> {
        let mut tries = 1;
        loop {
            let (list, _) = before.connection.ask(&Command::List, &[]).map_err(before.failed())?;
            let listed = read_list(&list).map_err(before.failed())?;
            let devices = listed.iter().filter_map(|listed| self.given(before, &listed.name).transpose());
            let devices = devices.collect::<Result<Vec<_>, _>>()?;
            let take = Command::Take { list: list_number(&list) };
            match before.connection.ask(&take, &[]) {
                Ok(_) => return Ok(devices),
                Err(ClientError::Refused { errno, .. }) if errno == Errno::EAGAIN as i32 && tries < TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(before.failed()(error)),
            }
        }
    }

    /// Makes one device. `None`: there is nothing left of it to carry.
    fn given(&self, before: &Predecessor, name: &DeviceName) -> Result<Option<Hosted>, Error> {
        let asked = before.connection.ask(&Command::Give(name.clone()), &[]).and_then(only::<4>);
        let [tun, udp, uapi, memory] = asked.map_err(before.failed())?;
        let made = memo::take(&File::from(memory))
            .map_err(KeptError::from)
            .and_then(|memo| kept::hosted(memo, vec![tun, udp], Listener::on(uapi), &self.handshakes));
        match made {
            Err(error) if error.is_gone() => {
                tracing::warn!(device = %name, "the TUN is gone: the device is not taken over");
                Ok(None)
            }
            Err(error) => Err(Error::NotTaken { name: name.clone(), source: Box::new(error) }),
            Ok(made) => Ok(Some(made)),
        }
    }
}

/// The descriptors that came with a reply that is nothing else.
fn only<const N: usize>((reply, received): (String, Vec<OwnedFd>)) -> Result<[OwnedFd; N], ClientError> {
    received.try_into().map_err(|_| ClientError::Unreadable { reply })
}
