//! The second next hop of a slot whose router has two: whether a node answers for it.
//!
//! Either forwards inward and keeps nothing in mind, so no epoch says who the second is, and two of them harm nobody. The holder
//! stands in where there is none. What makes a holder knows nothing of it.
//!
//! Must not look at the time: silence is the caller's to judge, as for [`super::Watch`].

use super::Duty;

/// What a node knows of a slot's second next hop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Beside {
    /// What it does for the slot.
    pub duty: Duty,
    /// Its kernel forwards as the first next hop.
    pub is_first: bool,
    /// Its kernel forwards as the second, alone or beside the first.
    pub is_second: bool,
    /// The farmer's list names it.
    pub is_named: bool,
    /// It is told to hold the slot, and may not have begun.
    pub is_heir: bool,
    /// The upstream router answers on the segment.
    pub upstream: bool,
    /// Another machine answers for the second next hop.
    pub answered: bool,
    /// It is known that none does; where this node does not hold the slot, that none does but a holder that stands in.
    pub is_free: bool,
}

impl Beside {
    /// Whether it answers for the second next hop from now on.
    #[must_use]
    pub const fn takes_part(self) -> bool {
        match self.duty {
            Duty::Hold => self.is_free || (self.is_second && !self.answered),
            Duty::Yield => self.is_second && !self.answered,
            // Its link goes down first: what the router sends to the first next hop is the holder's.
            Duty::Rest if self.is_first => false,
            Duty::Rest if self.is_second => self.is_named || self.is_heir,
            Duty::Rest => self.is_named && self.upstream && self.is_free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that the list names, on a segment where all is well and nobody is the second.
    const NAMED: Beside = Beside {
        duty: Duty::Rest,
        is_first: false,
        is_second: false,
        is_named: true,
        is_heir: false,
        upstream: true,
        answered: false,
        is_free: true,
    };
    const HOLDER: Beside = Beside { duty: Duty::Hold, is_first: true, is_named: false, ..NAMED };

    #[test]
    fn whom_the_list_names_begins_where_it_can_be_reached_and_nobody_else_does() {
        assert!(NAMED.takes_part());
        assert!(Beside { answered: true, ..NAMED }.takes_part(), "only a holder that stands in answers");
        for other in [
            Beside { is_named: false, ..NAMED },
            Beside { upstream: false, ..NAMED },
            Beside { is_free: false, ..NAMED },
            Beside { is_first: true, ..NAMED },
            Beside { is_first: true, is_second: true, ..NAMED },
        ] {
            assert!(!other.takes_part(), "{other:?}");
        }
    }

    #[test]
    fn a_second_goes_on_whatever_it_sees_until_another_is_named() {
        let second = Beside { is_second: true, upstream: false, answered: true, is_free: false, ..NAMED };
        assert!(second.takes_part());
        assert!(!Beside { is_named: false, ..second }.takes_part());
        assert!(Beside { is_named: false, is_heir: true, ..second }.takes_part(), "until it holds the slot");
        let begins = Beside { duty: Duty::Hold, ..second };
        assert!(Beside { answered: false, ..begins }.takes_part(), "and then it stands in at once");
    }

    #[test]
    fn a_holder_stands_in_after_silence_and_lets_go_when_it_hears_another() {
        assert!(HOLDER.takes_part());
        assert!(!Beside { is_free: false, ..HOLDER }.takes_part(), "it is not known");
        let stands_in = Beside { is_second: true, is_free: false, ..HOLDER };
        assert!(stands_in.takes_part());
        assert!(!Beside { answered: true, ..stands_in }.takes_part());
        let yields = Beside { duty: Duty::Yield, ..stands_in };
        assert!(yields.takes_part());
        assert!(
            !Beside { is_second: false, is_free: true, ..yields }.takes_part(),
            "who yields begins nothing"
        );
    }
}
