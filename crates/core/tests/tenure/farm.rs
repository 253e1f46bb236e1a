//! A farm of three machines on one segment, and replicas of a registry over one store, in which anything may happen at
//! any moment: the world that the protocol is held against. What machines and registry decide, the code of the product
//! decides; what is modelled is what surrounds it.
//!
//! What was ever signed may be told, and overheard, by anybody, at any time, in any order, again and again: so messages
//! are lost, late and repeated without a queue. What nodes tell each other away from the segment is such a message too: there a
//! member of a network takes part, which holds nothing and leaves by whom it knows to hold the slot. What the registry knows of nodes is as old as may be. An agent that ends
//! leaves its kernel forwarding. Faults that are not messages' are counted, for there to be an end.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sixfold_core::id::{AllocationNumber, Epoch, ExitSlot, NodeId};
use sixfold_core::tenure::{Ask, Duty, Facts, Phase, Sight, Tenure, Watch, next};
use stateright::{Model, Property};

/// Which machine.
pub(crate) type At = usize;
/// How many there are.
const MACHINES: usize = 3;
/// Among those who know something: the member of a network that leaves by the slot.
const MEMBER: At = MACHINES;

/// What may happen, how often, and which rule is left out to see that it is needed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Farm {
    /// Faults: an agent ends, a machine ends, a machine is cut from the segment, what the registry knew is gone.
    pub(crate) faults: u8,
    /// Whether machines are also cut from the segment.
    pub(crate) cuts: bool,
    /// Whether machines and a member also cease to hear the registry, and tell each other what they know.
    pub(crate) peers: bool,
    /// Planned moves that the farmer asks for.
    pub(crate) moves: u8,
    /// How often the registry's store is set back to an older one.
    pub(crate) set_back: u8,
    /// The rule that is left out.
    pub(crate) without: Option<Rule>,
}

/// Rules of the protocol, each of which is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A commit is refused if the tenure that was read is no longer the newest.
    ReadSet,
    /// Nobody begins while another gateway answers.
    Silence,
    /// But where it yields, and says so.
    Yielding,
    /// A machine that forwards stops when it hears of a newer tenure.
    Stopping,
    /// Whoever knows a newer tenure tells it to others, wherever they are.
    Telling,
}

/// A tenure of the slot, small: states are kept by the hundred thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    epoch: u8,
    holder: u8,
    from: Option<u8>,
}

impl Mark {
    fn of(tenure: &Tenure) -> Self {
        let at = |id: &NodeId| (0_u8..).zip(NODES.iter()).find(|(_, name)| *name == id).unwrap().0;
        let from = match &tenure.phase {
            Phase::Handover { from } => Some(at(from)),
            Phase::Done => None,
        };
        Self { epoch: u8::try_from(tenure.epoch.0).unwrap(), holder: at(&tenure.holder), from }
    }

    pub(crate) fn tenure(self) -> Tenure {
        let id = |at: u8| node(usize::from(at));
        let phase = self.from.map_or(Phase::Done, |from| Phase::Handover { from: id(from) });
        let first = Tenure::first((AllocationNumber::FIRST, ExitSlot::FIRST), id(self.holder));
        Tenure { epoch: Epoch(u64::from(self.epoch)), phase, ..first }
    }
}

/// A machine; one that does not run has neither agent nor gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    pub(crate) agent: bool,
    pub(crate) attached: bool,
    pub(crate) kernel: Duty,
    pub(crate) known: Known,
    /// It began beside another one that forwarded: that yields to it, or was cut from the segment.
    pub(crate) beside: bool,
}

/// What somebody has heard of the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    told: Mark,
    overheard: Option<Mark>,
    /// The registry is not heard any more.
    pub(crate) deaf: bool,
}

impl Known {
    pub(crate) fn watch(&self) -> Watch {
        let mut watch = Watch::default();
        watch.tell(&self.told.tenure());
        self.overheard.into_iter().for_each(|mark| watch.overhear(&mark.tenure()));
        watch
    }

    pub(crate) fn newest(&self) -> Mark {
        self.overheard.unwrap_or(self.told)
    }

    fn keep(&mut self, watch: &Watch) {
        self.told = Mark::of(watch.told().unwrap());
        self.overheard = watch.newest().filter(|newest| Some(*newest) != watch.told()).map(Mark::of);
    }
}

/// Everything. A replica of the registry is no part of it: it may have read any tenure that there was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Whatever was signed, in order.
    pub(crate) signed: Vec<Mark>,
    /// Which of these the store has.
    pub(crate) store: usize,
    /// What the member knows.
    pub(crate) member: Known,
    /// It left by one that it knew to be of the past.
    pub(crate) went_back: bool,
    /// What the registry knows of each machine that is ready.
    facts: [Option<Facts>; MACHINES],
    pub(crate) machines: [Machine; MACHINES],
    pub(crate) faults: u8,
    pub(crate) moves: u8,
    pub(crate) set_back: u8,
}

/// What may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// By a replica that read a tenure, of these.
    Commit(usize, Ask),
    Report(At),
    Forget(At),
    Tell(At, usize),
    Overhear(At, usize),
    Act(At),
    EndAgent(At),
    StartAgent(At),
    EndMachine(At),
    /// It does not hear the registry any more, nor is it heard.
    Deafen(At),
    Cut(At),
    Heal(At),
    SetBack(usize),
}

/// The machines' names, in the farmer's order.
static NODES: LazyLock<Vec<NodeId>> =
    LazyLock::new(|| ["ant", "bee", "cat"].map(|name| NodeId::try_from(name).unwrap()).to_vec());

/// The name of a machine.
pub(crate) fn node(at: At) -> NodeId {
    NODES[at].clone()
}

impl State {
    pub(crate) fn newest(&self) -> Tenure {
        self.signed[self.store].tenure()
    }

    /// What everybody knows who can tell it: machines with agents, and the member, which comes after all machines.
    pub(crate) fn knowing(&self) -> impl Iterator<Item = (At, &Known)> {
        let machines = self.machines.iter().enumerate().filter(|(_, machine)| machine.agent);
        machines.map(|(at, machine)| (at, &machine.known)).chain([(MEMBER, &self.member)])
    }

    /// Machines whose gateway can be reached on the segment.
    pub(crate) fn reached(&self) -> impl Iterator<Item = At> + '_ {
        (0..MACHINES).filter(|at| self.machines[*at].attached && self.machines[*at].kernel != Duty::Rest)
    }

    fn known_at(&self, at: At) -> Known {
        if at == MEMBER { self.member } else { self.machines[at].known }
    }

    fn sight(&self, at: At) -> Sight {
        let this = &self.machines[at];
        let others: Vec<At> = self.reached().filter(|other| this.attached && *other != at).collect();
        let known = this.known.overheard.is_none().then(|| this.known.told.tenure());
        let yields = |other: &At| {
            let machine = &self.machines[*other];
            machine.agent
                && known.as_ref().is_some_and(|known| machine.known.watch().yields(&node(*other), known))
        };
        Sight {
            forwards: this.kernel != Duty::Rest,
            upstream: this.attached,
            answered: !others.is_empty(),
            yielded: others.iter().any(yields),
        }
    }

    /// What a machine reports, if it is ready: of one that is not, nothing else counts.
    fn facts_of(&self, at: At) -> Option<Facts> {
        let sight = self.sight(at);
        let forwards = sight.forwards.then(|| self.machines[at].known.told.tenure().epoch);
        sight.upstream.then_some(Facts { ready: true, answered: sight.answered, forwards })
    }

    fn known(&self) -> BTreeMap<NodeId, Facts> {
        (0..MACHINES).filter_map(|at| Some((node(at), self.facts[at]?))).collect()
    }

    /// What the registry does by itself, and the newest that nodes can show it.
    fn asks(&self) -> Vec<Ask> {
        let agents = self.machines.iter().filter(|machine| machine.agent && !machine.known.deaf);
        let shown = agents.map(|machine| machine.known.newest().tenure());
        let newer = shown.filter(|tenure| tenure.supersedes(&self.newest())).map(Ask::Adopt);
        newer.chain([Ask::Settle]).collect()
    }

    /// An agent that heard something, or starts, looks at what its kernel does.
    fn stop(&mut self, at: At, without: Option<Rule>) {
        let sight = self.sight(at);
        let machine = &mut self.machines[at];
        if sight.forwards && machine.agent && without != Some(Rule::Stopping) {
            machine.kernel = machine.known.watch().act(&node(at), sight);
        }
    }

    /// Forgets who began beside whom once one is alone.
    fn part(&mut self) {
        let forward = self.machines.iter().filter(|machine| machine.kernel != Duty::Rest).count();
        for machine in &mut self.machines {
            machine.beside &= forward > 1 && machine.kernel != Duty::Rest;
        }
    }
}

impl Farm {
    fn faults(&self, state: &State, events: &mut Vec<Event>) {
        for at in 0..MACHINES {
            if state.faults > 0 {
                events.extend([Event::EndMachine(at), Event::EndAgent(at), Event::Forget(at)]);
                events.extend(self.cuts.then_some(Event::Cut(at)));
                events.extend(self.peers.then_some(Event::Deafen(at)));
            }
            events.extend([Event::StartAgent(at), Event::Heal(at)]);
        }
        events.extend((self.peers && state.faults > 0).then_some(Event::Deafen(MEMBER)));
        if state.set_back > 0 {
            events.extend((0..state.store).map(Event::SetBack));
        }
    }

    /// What happens without a fault or a wish: the farm comes to rest when none of it changes anything.
    fn progress(&self, state: &State) -> Vec<Event> {
        let mut events = Vec::new();
        if self.peers {
            self.tell(state, &mut events);
        }
        for at in 0..MACHINES {
            if !state.machines[at].agent {
                events.push(Event::Forget(at));
                continue;
            }
            events.push(Event::Act(at));
            events.extend(match state.machines[at].known.deaf {
                true => vec![Event::Forget(at)],
                false => vec![Event::Report(at), Event::Tell(at, state.store)],
            });
            let claims = state.reached().filter(|other| state.machines[at].attached && *other != at);
            let claims =
                claims.map(|other| (other, state.machines[other])).filter(|(_, machine)| machine.agent);
            for (other, machine) in claims {
                let claim = machine.known.watch().claim(&node(other)).map(Mark::of);
                events.extend(claim.map(|claim| {
                    let signed = state.signed.iter().position(|mark| *mark == claim);
                    Event::Overhear(at, signed.unwrap())
                }));
            }
        }
        events.extend(state.asks().into_iter().map(|ask| Event::Commit(state.store, ask)));
        events
    }

    /// Everybody tells whoever knows less, and the registry the member.
    fn tell(&self, state: &State, events: &mut Vec<Event>) {
        events.extend((!state.member.deaf).then_some(Event::Tell(MEMBER, state.store)));
        if self.without == Some(Rule::Telling) {
            return;
        }
        for (to, less) in state.knowing() {
            let asked = less.newest().tenure();
            for (_, more) in state.knowing() {
                let watch = more.watch();
                let answer = watch.corrects(&asked).map(Mark::of);
                let at = answer.and_then(|mark| state.signed.iter().position(|signed| *signed == mark));
                events.extend(at.map(|signed| Event::Overhear(to, signed)));
            }
        }
    }

    /// Whether nothing happens any more unless something breaks or is asked for.
    pub(crate) fn rests(&self, state: &State) -> bool {
        self.progress(state).into_iter().all(|event| self.next_state(state, event).is_none())
    }

    /// Whether an event plainly changes nothing.
    fn is_idle(&self, state: &State, event: &Event) -> bool {
        let machine = |at: At| &state.machines[at];
        match event {
            Event::Commit(read, _) => *read != state.store && self.without != Some(Rule::ReadSet),
            Event::Report(at) => machine(*at).known.deaf || state.facts[*at] == state.facts_of(*at),
            Event::Forget(at) => state.facts[*at].is_none(),
            Event::Tell(at, _) if state.known_at(*at).deaf => true,
            Event::Tell(at, signed) => {
                let known = state.known_at(*at);
                known.told == state.signed[*signed] && known.overheard.is_none()
            }
            Event::Overhear(at, signed) => state.known_at(*at).told == state.signed[*signed],
            Event::Deafen(at) => state.known_at(*at).deaf,
            Event::EndAgent(at) => !machine(*at).agent,
            Event::StartAgent(at) => machine(*at).agent,
            Event::EndMachine(at) => !machine(*at).agent && machine(*at).kernel == Duty::Rest,
            Event::Cut(at) => !machine(*at).attached,
            Event::Heal(at) => machine(*at).attached,
            Event::Act(_) | Event::SetBack(_) => false,
        }
    }

    fn commit(&self, state: &mut State, read: usize, ask: &Ask) {
        let refused = read != state.store && self.without != Some(Rule::ReadSet);
        let Ok(tenure) = next(&state.signed[read].tenure(), &NODES, &state.known(), ask) else { return };
        if refused {
            return;
        }
        if let Ask::Move { .. } = ask {
            state.moves -= 1;
        }
        let mark = Mark::of(&tenure);
        let at = state.signed.iter().position(|signed| *signed == mark);
        state.store = at.unwrap_or(state.signed.len());
        if at.is_none() {
            state.signed.push(mark);
        }
    }

    fn hear(&self, state: &mut State, at: At, signed: usize, by_registry: bool) {
        let tenure = state.signed[signed].tenure();
        let known = if at == MEMBER { &mut state.member } else { &mut state.machines[at].known };
        let before = known.newest().tenure();
        let mut watch = known.watch();
        if by_registry {
            watch.tell(&tenure);
        } else {
            watch.overhear(&tenure);
        }
        known.keep(&watch);
        if at == MEMBER {
            state.went_back |= before.supersedes(&state.member.newest().tenure());
        } else {
            state.stop(at, self.without);
        }
    }

    fn act(&self, state: &mut State, at: At) {
        let seen = state.sight(at);
        let away = |other: &Machine| !other.attached && other.kernel != Duty::Rest;
        let hidden = state.machines.iter().any(away);
        let machine = &mut state.machines[at];
        let mut sight = seen;
        match self.without {
            Some(Rule::Silence) => sight.answered = false,
            Some(Rule::Yielding) => sight.yielded = machine.known.told.from.is_some(),
            _ => {}
        }
        machine.kernel = machine.known.watch().act(&node(at), sight);
        machine.beside |= !seen.forwards && machine.kernel != Duty::Rest && (hidden || seen.yielded);
    }

    fn start_agent(&self, state: &mut State, at: At) {
        state.machines[at].agent = true;
        state.stop(at, self.without);
    }

    fn happens(&self, state: &mut State, event: Event) {
        match event {
            Event::Commit(read, ask) => self.commit(state, read, &ask),
            Event::Report(at) => state.facts[at] = state.facts_of(at),
            Event::Forget(at) => state.facts[at] = None,
            Event::Tell(at, signed) => self.hear(state, at, signed, true),
            Event::Overhear(at, signed) => self.hear(state, at, signed, false),
            Event::Act(at) => self.act(state, at),
            Event::EndAgent(at) => state.machines[at].agent = false,
            Event::StartAgent(at) => self.start_agent(state, at),
            Event::EndMachine(at) => {
                let machine = &mut state.machines[at];
                (machine.agent, machine.kernel) = (false, Duty::Rest);
            }
            Event::Deafen(MEMBER) => state.member.deaf = true,
            Event::Deafen(at) => {
                state.machines[at].known.deaf = true;
                state.facts[at] = None;
            }
            Event::Cut(at) => state.machines[at].attached = false,
            Event::Heal(at) => state.machines[at].attached = true,
            Event::SetBack(signed) => {
                state.store = signed;
                state.set_back -= 1;
            }
        }
    }
}

impl Model for Farm {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        let told = Mark { epoch: 1, holder: 0, from: None };
        let known = Known { told, overheard: None, deaf: false };
        let rests = Machine { agent: true, attached: true, kernel: Duty::Rest, known, beside: false };
        let holds = Machine { kernel: Duty::Hold, ..rests };
        let mut state = State {
            machines: [holds, rests, rests],
            signed: vec![told],
            store: 0,
            member: known,
            went_back: false,
            facts: [None; MACHINES],
            faults: self.faults,
            moves: self.moves,
            set_back: self.set_back,
        };
        state.facts = [0, 1, 2].map(|at| state.facts_of(at));
        vec![state]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        events.extend(self.progress(state));
        for at in (0..MACHINES).filter(|at| state.machines[*at].agent) {
            for signed in 0..state.signed.len() {
                events.extend([Event::Tell(at, signed), Event::Overhear(at, signed)]);
            }
        }
        for signed in (0..state.signed.len()).filter(|_| self.peers) {
            events.extend([Event::Tell(MEMBER, signed), Event::Overhear(MEMBER, signed)]);
        }
        for read in 0..state.signed.len() {
            if state.moves > 0 {
                events.extend((0..MACHINES).map(|at| Event::Commit(read, Ask::Move { to: node(at) })));
            }
            events.push(Event::Commit(read, Ask::Settle));
        }
        self.faults(state, events);
    }

    fn next_state(&self, last: &State, event: Event) -> Option<State> {
        if self.is_idle(last, &event) {
            return None;
        }
        let mut state = last.clone();
        let fault = match event {
            Event::EndAgent(_) | Event::EndMachine(_) | Event::Cut(_) | Event::Deafen(_) => 1,
            Event::Forget(at) => u8::from(last.machines[at].agent && !last.machines[at].known.deaf),
            _ => 0,
        };
        state.faults = last.faults.checked_sub(fault)?;
        self.happens(&mut state, event);
        state.part();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::orders::properties()
    }
}
