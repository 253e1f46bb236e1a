//! A failpoint: ends the process at a step of a commit, as a crash would, so that tests can cut at every step.
//!
//! ```text
//! SIXFOLD_CUT=K          ends the process when its K-th step (from 1) is reached, by SIGKILL: nothing unwinds
//! SIXFOLD_EFFECTS=FILE   appends a line for each step: they can be counted, and told by what they were
//! ```
//!
//! Owns: the count, one for the process. A release has none of this: without debug assertions the function below is empty,
//! as in the kernel crate, whose own failpoints these are told apart from by living in another process.

/// Notes that a step is reached. Does not come back if it is the last that may be.
pub fn at(step: &str) {
    #[cfg(debug_assertions)]
    armed::at(step);
    #[cfg(not(debug_assertions))]
    let _ = step;
}

#[cfg(debug_assertions)]
mod armed {
    use std::env;
    use std::fs::File;
    use std::io::Write as _;
    use std::num::NonZero;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    struct Asked {
        last: usize,
        told: Option<File>,
    }

    static REACHED: AtomicUsize = AtomicUsize::new(0);

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

    pub(super) fn at(step: &str) {
        let Asked { last, told } = asked();
        if let Some(mut file) = told.as_ref() {
            writeln!(file, "{step}").expect("the file of SIXFOLD_EFFECTS takes a line");
        }
        if REACHED.fetch_add(1, Ordering::SeqCst) + 1 >= *last {
            let sent = kill(Pid::this(), Signal::SIGKILL);
            unreachable!("a process does not outlive SIGKILL: {sent:?}");
        }
    }
}
