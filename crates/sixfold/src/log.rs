//! The log: structured, on standard error, a line for each event.
//!
//! Owns: how a line reads. No line has a control character in it, whatever a file or a kernel gave: a log cannot be made
//! to look as if it said something else.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic;

use tracing_subscriber::EnvFilter;

/// What is logged, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is logged: error, warn, info, debug, trace, or a filter like `sixfold_agent=debug`
    /// [env: SIXFOLD_LOG]
    #[arg(long, global = true, value_name = "FILTER", value_parser = filter, help_heading = "Log")]
    log: Option<String>,

    /// Log a JSON document per line instead of text [env: SIXFOLD_LOG_FORMAT=json]
    #[arg(long, global = true, help_heading = "Log")]
    log_json: bool,
}

/// What is logged, where no option says it.
const FILTER: &str = "SIXFOLD_LOG";
/// `json` or `text`, where no option says it.
const FORMAT: &str = "SIXFOLD_LOG_FORMAT";

impl Args {
    /// Whether a line is a JSON document.
    pub(crate) fn is_json(&self) -> bool {
        self.log_json || std::env::var(FORMAT).is_ok_and(|format| format == "json")
    }

    /// The same for a process that gets nothing else of this one's environment.
    pub(crate) fn handed_on(&self) -> Vec<(String, String)> {
        let own = [FILTER, FORMAT]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        own.chain(self.environment()).collect()
    }

    /// What has a process that this one starts log alike.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let filter = self.log.clone().map(|filter| (FILTER.to_owned(), filter));
        let format = self.log_json.then(|| (FORMAT.to_owned(), "json".to_owned()));
        filter.into_iter().chain(format).collect()
    }
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Starts the log; a process that stays logs what it does, others only what is wrong.
pub(crate) fn start(args: &Args, stays: bool) {
    let usual = if stays { "info" } else { "warn" };
    let asked = args.log.clone().or_else(|| std::env::var(FILTER).ok().filter(|asked| !asked.is_empty()));
    let given = asked.as_deref().map(EnvFilter::try_new);
    let (filter, wrong) = match given {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(usual), Some(error)),
        None => (EnvFilter::new(usual), None),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines(io::stderr()))
        .with_ansi(false)
        .log_internal_errors(false); // a closed standard error must not end an agent
    if args.is_json() {
        log.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        // What reads the log reads documents.
        panic::set_hook(Box::new(|panic| {
            tracing::error!(panic = panic.to_string(), "a bug: please report it")
        }));
    } else {
        log.init();
    }
    if let Some(error) = wrong {
        tracing::warn!(%error, "{FILTER} is not used");
    }
}

/// Writes events, each given in one piece that ends with its line.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(one_line(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An event in one line, in the notation that JSON has for characters.
fn one_line(event: &str) -> String {
    let (text, end) = event.strip_suffix('\n').map_or((event, ""), |text| (text, "\n"));
    let mut line = String::with_capacity(event.len());
    for character in text.chars() {
        if character.is_control() {
            line += &format!("\\u{:04x}", u32::from(character));
        } else {
            line.push(character);
        }
    }
    line + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_without_control_characters() {
        let mut lines = Lines(Vec::new());
        lines.write_all("a\u{1b}[31m\r\nERROR forged \u{9b}\u{7f}\té\n".as_bytes()).unwrap();
        let wanted = "a\\u001b[31m\\u000d\\u000aERROR forged \\u009b\\u007f\\u0009é\n";
        assert_eq!(String::from_utf8(lines.0).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert!(filter("sixfold_agent=debug,info").is_ok());
        assert!(filter("sixfold_agent=loud").is_err());
    }
}
