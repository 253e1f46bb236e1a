//! Standard output: whole texts, and no fuss when the reader has gone.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::failed::{Failed, Kind};

/// Prints a text. A reader that closed the pipe (`| head`) has what it wanted: that is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failed> {
    print_while_read(text).map(drop)
}

/// The same; whether there is still a reader.
pub(crate) fn print_while_read(text: &str) -> Result<bool, Failed> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        printed => {
            let failed = |error| Failed::cannot("write", Path::new("the standard output"), error);
            printed.map(|()| true).map_err(failed)
        }
    }
}

/// Prints one JSON document.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failed> {
    let text = serde_json::to_string_pretty(value).map_err(Failed::environment)?;
    print(&format!("{text}\n"))
}

/// Asks whether it is meant, unless that was said already.
pub(crate) fn agree(question: &str, yes: bool) -> Result<(), Failed> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let what = "nothing was done: nobody can be asked, because standard input is no terminal";
        return Err(Failed::new(Kind::Usage, what).hint(Some("say --yes if it is meant")));
    }
    print(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    let asked = Path::new("the standard input");
    io::stdin().lock().read_line(&mut answer).map_err(|error| Failed::cannot("read", asked, error))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failed::refused("nothing was done: the answer was not yes")),
    }
}
