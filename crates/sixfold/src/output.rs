//! Standard output: whole texts, and no fuss when the reader has gone.

use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::failed::Failed;

/// Prints a text. A reader that closed the pipe (`| head`) has what it wanted: that is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|error| Failed::cannot("write", Path::new("the standard output"), error)),
    }
}

/// Prints one JSON document.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failed> {
    let text = serde_json::to_string_pretty(value).map_err(Failed::environment)?;
    print(&format!("{text}\n"))
}
