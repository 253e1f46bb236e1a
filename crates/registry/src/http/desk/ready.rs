//! Whether the registry can write: looked at now and then, however often it is asked.
//!
//! Owns: how long a look holds. The look itself is the writer's.

use std::time::Instant;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::http::limit;
use crate::service::{Failed, Service};

/// The last look, and when it was.
#[derive(Debug, Default)]
pub(in crate::http) struct Readiness(Mutex<Option<(Instant, Result<(), Failed>)>>);

impl Readiness {
    /// Whether the writer lives and its disk takes writes. Who asks while somebody looks waits for that look.
    pub(in crate::http) async fn look(&self, service: &Service) -> Result<(), Failed> {
        let mut last = self.0.lock().await;
        if let Some((_, seen)) = last.as_ref().filter(|(at, _)| at.elapsed() < limit::WRITABLE) {
            return seen.clone();
        }
        let seen = match service.probe() {
            Ok(probed) => match timeout(limit::PROBE, probed).await {
                Ok(answer) => answer.unwrap_or(Err(Failed::Stopped)),
                Err(_) => Err(Failed::Slow),
            },
            Err(failed) => Err(failed),
        };
        *last = Some((Instant::now(), seen.clone()));
        seen
    }
}
