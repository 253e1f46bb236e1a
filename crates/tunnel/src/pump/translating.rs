//! A TUN whose packets come back in the other family. It has no state but a number, and no other descriptor: so it is neither kept nor
//! passed on. With the process the TUN goes, and whoever made it makes another.

use super::carried::{TURN, WHOLE};
use super::carrier::LEAST;
use crate::control::ControlError;
use crate::socket::set_nonblocking;
use crate::sys::{Front, check_tun};
use crate::translate::{Map, Translator};
use nix::errno::Errno;
use nix::unistd::{read, write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) struct Translating {
    map: Map,
    tun: OwnedFd,
    translator: Mutex<Translator>,
    refused: AtomicU64,
}

impl Translating {
    /// Takes what came with a `translate`: exactly a TUN, without a header in front of its packets.
    pub(super) fn adopt(map: Map, mtu: u16, received: Vec<OwnedFd>) -> Result<Self, ControlError> {
        let [tun] = <[OwnedFd; 1]>::try_from(received).map_err(|received| {
            ControlError::WrongDescriptors { wanted: "1 descriptor (TUN)", got: received.len() }
        })?;
        let unusable = |errno| ControlError::UnusableDescriptor { role: "TUN", errno };
        if check_tun(&tun).map_err(unusable)? != Front::Nothing {
            return Err(unusable(Errno::EPROTOTYPE));
        }
        set_nonblocking(&tun).map_err(unusable)?;
        let translator = Mutex::new(Translator::new(map, mtu));
        Ok(Self { map, tun, translator, refused: AtomicU64::default() })
    }

    pub(super) const fn map(&self) -> Map {
        self.map
    }

    pub(super) fn tun(&self) -> BorrowedFd<'_> {
        self.tun.as_fd()
    }

    /// Packets that were not translated, or that the TUN did not take.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Translates what the TUN gives, one turn long.
    ///
    /// # Errors
    /// It will never give anything again.
    pub(super) fn turn(&self, buffer: &mut [u8]) -> Result<(), Errno> {
        let mut translator = self.translator.lock().expect(WHOLE);
        let mut carried = 0;
        while carried < TURN {
            let length = match read(&self.tun, buffer) {
                Ok(0) => return Err(Errno::EBADFD),
                Ok(length) => length,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            carried += length.max(LEAST);
            // What cannot be delivered at once is dropped, as on any link.
            let mut unsent = 0;
            let translated = translator.translate(&buffer[..length], |packet| {
                unsent += u64::from(write(&self.tun, packet).is_err());
            });
            self.refused.fetch_add(unsent + u64::from(translated.is_err()), Ordering::Relaxed);
        }
        Ok(())
    }
}
