//! Whether somebody answers: what follows from questions, answers, and the time between them.
//!
//! Silence is the stronger claim, because a second gateway may begin by it. So it takes several questions, each of which had its time,
//! none of them asked or waited for while the node may have been deaf.
//!
//! Owns: that conclusion. Must not read a clock, ask, or know who is asked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Questions that wait at once: whoever asks faster than that learns nothing sooner.
const WAITING_MAX: usize = 16;

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Questions without an answer that make silence; at least one.
    pub asks: u32,
    /// How long each of them waits.
    pub wait: Duration,
    /// For how long what was found out counts, once nothing confirms it.
    pub lasts: Duration,
}

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody has answered, and has not fallen silent since.
    Answers,
    /// All questions that silence takes were asked and waited for, without an answer.
    Silent,
    /// Neither.
    Unknown,
}

/// Questions to one address, and answers from it.
#[derive(Debug, Clone)]
pub struct Hearing {
    patience: Patience,
    answered: Option<Instant>,
    /// Of questions since then that had their time: how many, and when the last one was over.
    unanswered: u32,
    waited_until: Option<Instant>,
    /// When the others were asked.
    waiting: VecDeque<Instant>,
}

impl Hearing {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new(patience: Patience) -> Self {
        let waiting = VecDeque::new();
        Self { patience, answered: None, unanswered: 0, waited_until: None, waiting }
    }

    /// A question was sent.
    pub fn asked(&mut self, now: Instant) {
        self.wait(now);
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(now);
        }
    }

    /// Somebody has the address, whoever asked.
    pub fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
        self.forget_questions();
    }

    /// Something may have been missed: what was not heard until now says nothing.
    pub fn deaf(&mut self) {
        self.forget_questions();
    }

    /// What is known at that moment, after all that had been heard by then was told.
    pub fn verdict(&mut self, now: Instant) -> Verdict {
        self.wait(now);
        let counts = |since: Instant| now.saturating_duration_since(since) <= self.patience.lasts;
        if self.unanswered >= self.patience.asks.max(1) && self.waited_until.is_some_and(counts) {
            Verdict::Silent
        } else if self.unanswered < self.patience.asks.max(1) && self.answered.is_some_and(counts) {
            Verdict::Answers
        } else {
            Verdict::Unknown
        }
    }

    /// Counts the questions that had their time.
    fn wait(&mut self, now: Instant) {
        while let Some(over) =
            self.waiting.front().map(|asked| *asked + self.patience.wait).filter(|over| *over <= now)
        {
            self.waiting.pop_front();
            self.unanswered = self.unanswered.saturating_add(1);
            self.waited_until = Some(over);
        }
    }

    fn forget_questions(&mut self) {
        (self.unanswered, self.waited_until) = (0, None);
        self.waiting.clear();
    }
}
