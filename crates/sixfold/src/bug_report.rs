//! `sixfold bug-report`: one text about this node that a person reads before sending it.
//!
//! ```text
//! machine ─┐
//! node ────┼─▶ parts, each by itself, all at once ──▶ what looks like a key goes ──▶ one text
//! tools ───┘        a part that fails says why in its place
//! ```
//!
//! Owns: gathering, bounded in size and time. Must not change anything, nor print a private key: no part reads one but
//! to derive its public half, and texts of others are gone through for what looks like a key.

mod machine;
mod node;
mod scrub;

use std::error::Error;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use sixfold_core::shown::plain_lines;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use crate::agent::NodeArgs;
use crate::failed::Failed;
use crate::{Done, output};

/// Gather what helps to find a fault on this node: one text, without keys, to read before sending it
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Gather what helps to find a fault on this node: one text, without keys, to read before sending it.\n\n\
    It holds versions, what the kernel offers, the agent's status, the last good snapshot, what the kernel holds of \
    ours, what an agent would change now, and the end of the agent's log. Nothing is changed. What cannot be had (most \
    of it without root) is said in its place.\n\n\
    Private and preshared keys are not in it; names, public keys and addresses of networks are. With --redact, public \
    IP addresses are replaced, the same by the same.",
    after_long_help = "Exit codes:\n  \
        0  written, also if parts are missing: it says which, and why\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: it cannot be written\n\n\
        Examples:\n  sixfold bug-report\n  sixfold bug-report --redact -o report.txt\n  sixfold bug-report -o - | less"
)]
pub(crate) struct Args {
    /// File to write, which must not be there yet; `-`: print it [default: ./sixfold-bug-report-TIME.txt]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace public IP addresses, each by the same word wherever it occurs
    #[arg(long)]
    redact: bool,

    #[command(flatten)]
    node: NodeArgs,
}

/// All parts together take no longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// More of a part than this is left out, and said to be.
const PART_BYTES_MAX: usize = 512 * 1024;

/// Whose words a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// Made from types that hold public keys only.
    Ours,
    /// Somebody's text: may hold anything.
    Free,
}

/// What a part comes to, or what is in the way, with its causes and what helps.
type Found = Result<String, Failed>;

/// A part of the report that is being gathered.
struct Part {
    title: &'static str,
    words: Words,
    found: Receiver<Result<String, String>>,
}

impl Part {
    /// Begins to gather it, on a thread: a part that hangs or panics is missing, and no more.
    fn begin(title: &'static str, words: Words, gather: impl FnOnce() -> Found + Send + 'static) -> Self {
        let (sender, found) = mpsc::channel();
        // Where no thread is given the receiver is told at once.
        let _ = thread::Builder::new().name(title.to_owned()).spawn(move || {
            // Nobody listens once the time is over.
            let _ = sender.send(gather().map_err(|failed| failed.text()));
        });
        Self { title, words, found }
    }

    /// Its text, or why there is none.
    fn end(&self, by: Instant) -> Result<String, String> {
        match self.found.recv_timeout(by.saturating_duration_since(Instant::now())) {
            Ok(found) => found.map(|text| bounded(&text)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(format!("not done within {} s\n", PATIENCE.as_secs()))
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err("it broke off\n".to_owned()),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    let now = now();
    let (mut text, missing) = report(&args.node, &now);
    if args.redact {
        text = scrub::redacted(&text);
    }
    let path = match &args.output {
        Some(path) if path == Path::new("-") => return output::print(&text).map(|()| Done::Yes),
        Some(path) => path.clone(),
        None => PathBuf::from(format!("sixfold-bug-report-{}.txt", now.replace(':', "-"))),
    };
    write(&path, &text).map_err(|error| {
        let there = error.kind() == io::ErrorKind::AlreadyExists;
        let hint = if there { "name another file with -o" } else { "print it with -o -" };
        Failed::cannot("write", &path, error).hint(Some(hint))
    })?;
    let path = path.display();
    output::print(&format!(
        "the report is in {path}: {} bytes, {missing} parts are missing\nread it before you send it: it has no \
         private keys, but names, public keys and addresses of networks\n",
        text.len()
    ))?;
    Ok(Done::Yes)
}

/// The text, and how many parts are missing.
fn report(node: &NodeArgs, now: &str) -> (String, usize) {
    let by = Instant::now() + PATIENCE;
    let parts = machine::parts().into_iter().chain(node::parts(node)).collect::<Vec<_>>();
    let ended: Vec<_> = parts.iter().map(|part| (part, part.end(by))).collect();
    let ours = ended.iter().filter(|(part, _)| part.words == Words::Ours);
    let known = scrub::keys_in(ours.filter_map(|(_, found)| found.as_deref().ok()));
    let mut text = format!("Sixfold bug report, {now}\n\n");
    for (part, found) in &ended {
        let state = if found.is_ok() { "here" } else { "MISSING" };
        writeln!(text, "  {state:8}{}", part.title).expect("a String takes all text");
    }
    for (part, found) in &ended {
        let body = match found {
            Ok(body) if part.words == Words::Ours => body.clone(),
            Ok(body) => scrub::without_keys(body, &known),
            Err(why) => {
                let why = why.trim_start_matches("error: ");
                scrub::without_keys(&format!("missing: {why}"), &known)
            }
        };
        write!(text, "\n== {} ==\n{}\n", part.title, body.trim_end()).expect("a String takes all text");
    }
    // A log or a file's name may be somebody else's: only letters get to the terminal of who reads it.
    let text = plain_lines(&text.replace('\t', " "));
    let missing = ended.iter().filter(|(_, found)| found.is_err()).count();
    (text, missing)
}

/// The first so many bytes, in whole lines if there are some.
fn bounded(text: &str) -> String {
    if text.len() <= PART_BYTES_MAX {
        return text.to_owned();
    }
    let cut = text.floor_char_boundary(PART_BYTES_MAX);
    let end = text[..cut].rfind('\n').map_or(cut, |at| at + 1);
    format!("{}... and {} bytes more\n", &text[..end], text.len() - end)
}

/// For its owner alone, and never over something that is there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// The time to the second, as the log has it.
fn now() -> String {
    let mut text = String::new();
    let told = SystemTime.format_time(&mut Writer::new(&mut text));
    let time = told.ok().and_then(|()| text.split_once('.')).map_or("unknown", |(seconds, _)| seconds);
    format!("{time}Z")
}

/// What is missing without a cause of its own.
fn missing(what: impl Into<Box<dyn Error>>) -> Failed {
    Failed::environment(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_panics_fails_or_hangs_is_missing_and_says_why() {
        let soon = Instant::now() + Duration::from_millis(50);
        let (keep, hang) = mpsc::channel::<()>();
        let ended = [
            Part::begin("a", Words::Free, || Ok("text".to_owned())),
            Part::begin("b", Words::Free, || Err(missing("no root").hint(Some("be root")))),
            Part::begin("c", Words::Free, move || Ok(format!("{:?}", hang.recv()))),
            Part::begin("d", Words::Free, || unreachable!("a part that panics, on purpose")),
        ]
        .map(|part| part.end(if part.title == "c" { soon } else { soon + PATIENCE }));
        let wanted = [
            Ok("text"),
            Err("error: no root\nhint: be root\n"),
            Err("not done within 30 s\n"),
            Err("it broke off\n"),
        ];
        assert_eq!(ended.each_ref().map(|end| end.as_deref().map_err(String::as_str)), wanted);
        drop(keep);
    }

    #[test]
    fn a_part_is_bounded_in_whole_lines() {
        let text = "line\n".repeat(PART_BYTES_MAX);
        let short = bounded(&text);
        assert!(short.len() < PART_BYTES_MAX + 64 && short.starts_with("line\nline\n"), "{}", short.len());
        let rest = short.rsplit("line\n").next().unwrap();
        assert_eq!(rest, format!("... and {} bytes more\n", text.len() - (short.len() - rest.len())));
        assert_eq!(bounded("short"), "short");
    }
}
