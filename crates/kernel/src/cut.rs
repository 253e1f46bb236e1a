//! A failpoint: ends the process after its k-th effect on the world, as a crash would, so that tests can cut at every k.
//!
//! ```text
//! SIXFOLD_CUT=K          ends the process right after its K-th effect (from 1), by SIGKILL: nothing unwinds
//! SIXFOLD_EFFECTS=FILE   appends a line for each effect: they can be counted, and told by what they were
//! ```
//!
//! An effect is what the world takes whole or not at all: one request of a netlink batch (of a batch that is cut only the
//! requests before the cut leave), one nft transaction (the kernel carries it out whole, so there is a cut before and
//! after it and none within), one message to the tunnel process, one mount, one write, rename or deletion of a file.
//!
//! Owns: the count, one for the process. Must not know what the effects are for. A release has none of this: without
//! debug assertions the functions below are empty, and neither the variables' names nor a counter are in the program. It
//! hangs on debug assertions and not on a feature, because features of one build are joined: a test that asked for it
//! would put it into whatever is built beside it.

use std::fmt::Display;

/// How many of so many effects that are about to happen together may happen.
#[must_use]
pub fn room(wanted: usize) -> usize {
    #[cfg(debug_assertions)]
    return armed::room(wanted);
    #[cfg(not(debug_assertions))]
    wanted
}

/// Notes an effect that has just happened. Does not come back if it was the last that may.
pub fn after(what: impl Display) {
    #[cfg(debug_assertions)]
    armed::after(&what);
    #[cfg(not(debug_assertions))]
    let _ = what;
}

#[cfg(debug_assertions)]
mod armed {
    use std::env;
    use std::fmt::Display;
    use std::fs::File;
    use std::io::Write as _;
    use std::num::NonZero;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    /// What the environment asks for, once for the process.
    struct Asked {
        last: usize,
        told: Option<File>,
    }

    static DONE: AtomicUsize = AtomicUsize::new(0);

    fn asked() -> &'static Asked {
        static ASKED: OnceLock<Asked> = OnceLock::new();
        ASKED.get_or_init(|| {
            let last = env::var("SIXFOLD_CUT").ok();
            let from_1 = |k: String| k.parse::<NonZero<usize>>().expect("SIXFOLD_CUT is a number from 1");
            let last = last.map_or(usize::MAX, |k| from_1(k).get());
            let open = |path| File::options().create(true).append(true).open(path);
            let told = env::var_os("SIXFOLD_EFFECTS");
            let told = told.map(|path| open(path).expect("the file of SIXFOLD_EFFECTS can be written"));
            Asked { last, told }
        })
    }

    pub(super) fn room(wanted: usize) -> usize {
        wanted.min(asked().last.saturating_sub(DONE.load(Ordering::SeqCst)))
    }

    pub(super) fn after(what: &dyn Display) {
        let Asked { last, told } = asked();
        if let Some(mut file) = told.as_ref() {
            writeln!(file, "{what}").expect("the file of SIXFOLD_EFFECTS takes a line");
        }
        if DONE.fetch_add(1, Ordering::SeqCst) + 1 >= *last {
            let sent = kill(Pid::this(), Signal::SIGKILL);
            unreachable!("a process does not outlive SIGKILL: {sent:?}");
        }
    }
}
