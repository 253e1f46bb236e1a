//! What happened, for whom it concerns: at once, or once something does.

use std::sync::Arc;
use std::time::Duration;

use sixfold_api::problem::Problem;
use tokio::time::{Instant, timeout_at};

use crate::http::answer::{Answer, Call};
use crate::http::desk::Desk;
use crate::http::desk::caller::Caller;
use crate::http::listen::stopped;

/// What happened after the number that the asker knows.
pub(in crate::http) async fn events(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let (after, wait) = (call.after()?, Duration::from_secs(call.wait_secs()?));
    let until = Instant::now() + wait;
    let (mut newest, mut stop) = (desk.service.events().watch(), desk.stop.clone());
    let mut after_all = after;
    loop {
        newest.mark_unchanged();
        let told = desk.service.events().after(after_all, |what| match &call.caller {
            Caller::Nobody => false,
            Caller::Key(ids) => ids.hears_of(what),
        });
        if !told.events.is_empty() || told.missed {
            return Answer::of(&told);
        }
        // What is others' need not be looked at again.
        after_all = told.next;
        let more = tokio::select! {
            more = timeout_at(until, newest.changed()) => matches!(more, Ok(Ok(()))),
            () = stopped(&mut stop) => false,
        };
        if !more {
            return Answer::of(&told);
        }
    }
}
