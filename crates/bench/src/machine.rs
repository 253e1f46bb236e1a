//! The machine on which figures were taken: without it they say nothing.

use std::fs;
use std::thread::available_parallelism;

use serde::Serialize;

use crate::failed::Failed;

/// What a reader must know to weigh a figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processors: usize,
    /// Processes that wanted a processor, on average over the last minute.
    pub(crate) load: f64,
}

impl Machine {
    /// As it is now.
    pub(crate) fn now() -> Result<Self, Failed> {
        let read = |path: &str| fs::read_to_string(path).map_err(Failed::system(format!("read {path}")));
        let load = read("/proc/loadavg")?;
        let load = load.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN);
        let processors = available_parallelism().map_err(Failed::system("count processors"))?.get();
        Ok(Self { kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(), processors, load })
    }
}
