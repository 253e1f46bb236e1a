//! What a service manager is told: that this process is ready, and from then on that it lives (sd_notify(3)).
//!
//! Owns: the words. When they are true is known to whoever calls.

use sd_notify::NotifyState;

/// Says at the first call that the process is ready, and at each one after that it lives. Nobody may be listening.
pub(crate) fn pulse() -> impl FnMut() + Send + 'static {
    let mut is_ready = false;
    move || {
        let state = if is_ready { NotifyState::Watchdog } else { NotifyState::Ready };
        match sd_notify::notify(&[state]) {
            Ok(()) => is_ready = true,
            Err(error) => tracing::warn!(%error, "the service manager cannot be told that this lives"),
        }
    }
}
