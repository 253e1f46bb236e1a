//! Doing a plan: stage by stage and namespace by namespace, many messages per send, each outcome matched to its step.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::errno::Errno;
use sixfold_core::name::IfName;
use sixfold_core::plan::{Op, Plan, Stage, Step};
use sixfold_core::state::Netns;

use super::handle::{Handle, OpenError};
use super::observe::is_public;
use super::steps::{self, Message};
use super::{Linux, firewall};
use crate::netns::{Found, NetnsError};
use crate::rtnl::{Links, link, route};
use crate::socket::{Refusal, SocketError};
use crate::{ApplyError, Failure, Keys, Report, nft};

/// Links of one namespace beyond which they are deleted together: one wait of the kernel instead of one for each.
const FEW_LINKS: usize = 16;
/// Links deleted together: the kernel holds its lock that long, and everyone else on the machine waits.
const TOGETHER: usize = 32;
/// Namespaces deleted before the kernel is given time to end them: it ends all that wait at once, under the same lock.
const ENDING_TOGETHER: usize = 32;
/// That time: about what it takes for so many.
const BREATH: Duration = Duration::from_millis(30);

/// Links that are asked for in one send: their answers fit the smallest receive buffer that Linux gives by default.
const ASKED_AT_ONCE: usize = 32;

/// Links that are asked for one by one, and not all at once.
const ASKED_BY_NAME: usize = 2;

/// Plain steps whose messages are made before any of them is sent.
const AT_ONCE: usize = 1024;

/// A deleted namespace ends within some milliseconds, if it is not among many.
const ENDING: Duration = Duration::from_millis(10);
const ENDING_ATTEMPTS: u32 = 100;

/// One plan under way.
pub(super) struct Run<'a> {
    pub(super) linux: &'a mut Linux,
    pub(super) keys: &'a dyn Keys,
    failures: Vec<Failure>,
    /// Namespaces deleted since the kernel was last given time to end them.
    ending: usize,
    /// The namespace `public` has been found to be ours.
    public_is_ours: bool,
}

impl From<OpenError> for ApplyError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Netns(error) => error.into(),
            OpenError::Socket(error) => error.into(),
        }
    }
}

impl Linux {
    pub(super) fn apply_plan(&mut self, plan: &Plan, keys: &dyn Keys) -> Report {
        self.handles.close_outdated();
        let mut run = Run { linux: self, keys, failures: Vec::new(), ending: 0, public_is_ours: false };
        for group in plan.steps.chunk_by(|a, b| a.stage == b.stage && a.netns == b.netns) {
            run.group(group);
        }
        run.look_at_carriers(plan);
        Report { failures: run.failures }
    }
}

impl Run<'_> {
    /// All steps of one stage in one namespace.
    fn group(&mut self, steps: &[Step]) {
        let [first, ..] = steps else { return };
        match self.enter(first) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                for step in steps {
                    self.fail(step, error.clone().into());
                }
                return;
            }
        }
        for step in steps {
            self.single(step);
        }
        self.add_links(steps);
        self.peers(steps);
        self.links_away(steps);
        self.part_twins(steps);
        self.plain(steps);
        let transaction: Vec<&Step> = steps.iter().filter(|step| nft::is_firewall(&step.op)).collect();
        if !transaction.is_empty() {
            for (step, error) in firewall::apply(&mut self.linux.handles, &first.netns, &transaction) {
                self.fail(step, error);
            }
        }
    }

    pub(super) fn fail(&mut self, step: &Step, error: ApplyError) {
        tracing::debug!(%step, %error, "step failed");
        if matches!(error, ApplyError::Socket(_)) {
            // A conversation that broke off may leave answers behind.
            self.linux.handles.close(&step.netns);
        }
        self.failures.push(Failure { step: step.clone(), error });
    }

    pub(super) fn settle(&mut self, step: &Step, outcome: Result<(), ApplyError>) {
        if let Err(error) = outcome {
            self.fail(step, error);
        }
    }

    /// Sees that the steps' namespace is there and ours. `false`: it is not there, and the steps only take away.
    fn enter(&mut self, step: &Step) -> Result<bool, EnterError> {
        let netns = &step.netns;
        if let (Netns::Named(name), false) = (netns, step.stage == Stage::RemoveNetns) {
            let found = self.linux.handles.directory.find(name)?;
            let revive = found == Some(Found::Dead) && step.stage > Stage::RemoveNetns;
            if revive || step.stage == Stage::AddNetns {
                self.linux.handles.directory.make(&self.linux.handles.worker, name)?;
            }
        }
        match self.linux.handles.get(netns) {
            Err(error) if error.is_not_there() && step.stage <= Stage::RemoveNetns => {
                return Ok(step.stage == Stage::RemoveNetns || step.stage == Stage::Disconnect);
            }
            handle => drop(handle?),
        }
        if is_public(netns) && !self.public_is_ours {
            self.public_is_ours = self.is_ours(netns)?;
            if !self.public_is_ours {
                return Err(EnterError::Foreign(netns.clone()));
            }
        }
        Ok(true)
    }

    /// Whether a namespace that bears our name has our mark on a link, its loopback at least, or our table.
    fn is_ours(&mut self, netns: &Netns) -> Result<bool, EnterError> {
        let handle = self.linux.handles.get(netns)?;
        let links = link::decode(&handle.route.dump(link::dump())?);
        let marked = links.iter().any(link::RawLink::is_marked);
        // What cannot be read is not known to be ours.
        Ok(marked
            || firewall::observe(&mut self.linux.handles, netns).is_ok_and(|firewall| firewall.is_some()))
    }

    /// A step that is done alone, not in a batch.
    fn single(&mut self, step: &Step) {
        let outcome = match &step.op {
            Op::AddNetns => self.add_netns(&step.netns),
            Op::DelNetns => self.del_netns(&step.netns),
            Op::SetSysctl { name, value } => {
                self.linux.handles.again(&step.netns).map_err(Into::into).and_then(|handle| {
                    handle
                        .sysctls
                        .write(name, value)
                        .map_err(|errno| ApplyError::Sysctl { name: name.clone(), errno })
                })
            }
            Op::ReturnNic { name, nic, home } => self.return_nic(&step.netns, name, (nic, home.as_ref())),
            Op::SetDevice { link, device } => self.set_device(&step.netns, link, device),
            Op::DelDevice { link } => self.del_device(&step.netns, link),
            _ => Ok(()),
        };
        self.settle(step, outcome);
    }

    fn add_netns(&mut self, netns: &Netns) -> Result<(), ApplyError> {
        let handle = self.linux.handles.again(netns)?;
        let mut up = [link::set_up(&sixfold_core::name::loopback(), true)];
        handle.route.batch(&mut up)?.into_iter().try_for_each(|outcome| outcome.map_err(Into::into))
    }

    fn del_netns(&mut self, netns: &Netns) -> Result<(), ApplyError> {
        // An open descriptor would keep it alive.
        self.linux.handles.close(netns);
        match netns {
            Netns::Named(name) => {
                if self.ending == ENDING_TOGETHER {
                    self.breathe();
                    self.ending = 0;
                }
                self.ending += 1;
                Ok(self.linux.handles.directory.delete(name)?)
            }
            Netns::Host => Ok(()),
        }
    }

    /// Gives the kernel time to end namespaces. Where it takes longer than that, a question for a link waits for it: the
    /// kernel answers under the lock that it holds meanwhile. Else ever more would wait to be ended at once.
    fn breathe(&mut self) {
        std::thread::sleep(BREATH);
        if let Ok(handle) = self.linux.handles.get(&Netns::Host) {
            drop(handle.link(&sixfold_core::name::loopback()));
        }
    }

    /// Many links of one namespace go together: marked, then deleted by their mark.
    fn links_away(&mut self, steps: &[Step]) {
        let going: Vec<&Step> = steps.iter().filter(|step| matches!(step.op, Op::DelLink { .. })).collect();
        if going.len() <= FEW_LINKS {
            return;
        }
        for slice in going.chunks(TOGETHER) {
            let mut messages: Vec<Message> = slice.iter().filter_map(|step| mark(step)).collect();
            messages.push(Message { bytes: link::delete_going(), done_already: &[Errno::ENODEV] });
            let outcomes = self.send(&slice[0].netns, messages);
            // A link that could not be marked is told of as itself; a failure to delete is every link's.
            match outcomes {
                Err(error) => slice.iter().for_each(|step| self.fail(step, error.clone().into())),
                Ok(mut outcomes) => {
                    let last = outcomes.pop().unwrap_or(Ok(()));
                    for (step, outcome) in slice.iter().zip(outcomes) {
                        self.settle(step, outcome.and_then(|()| last.clone()).map_err(Into::into));
                    }
                }
            }
        }
    }

    /// The kernel replaces one route: of several that someone made for one destination and metric the others go first.
    fn part_twins(&mut self, steps: &[Step]) {
        let Some(first) = steps.first() else { return };
        let Ok(handle) = self.linux.handles.again(&first.netns) else { return };
        let mut requests: Vec<Vec<u8>> = Vec::new();
        for step in steps {
            if let Op::SetRoute { key, .. } | Op::DelRoute { key } = &step.op
                && let Some(more) = handle.twins.remove(key)
            {
                requests.extend(std::iter::repeat_n(route::delete(key), more));
            }
        }
        if let Err(error) = handle.route.batch(&mut requests) {
            tracing::debug!(netns = %first.netns, %error, "routes of one destination could not be parted");
        }
    }

    /// Steps that are one message each, in as few sends as they fit.
    fn plain(&mut self, steps: &[Step]) {
        let many = steps.iter().filter(|step| matches!(step.op, Op::DelLink { .. })).count() > FEW_LINKS;
        let links = match self.links_for(steps) {
            Ok(links) => links,
            Err(error) => {
                for step in steps.iter().filter(|step| steps::needs(&step.op).is_some()) {
                    self.fail(step, error.clone().into());
                }
                return;
            }
        };
        for slice in steps.chunks(AT_ONCE) {
            let left = slice.iter().filter(|step| !(many && matches!(step.op, Op::DelLink { .. })));
            self.plain_slice(left, &links);
        }
    }

    /// Some of them: however many there are, their messages take the memory of these.
    fn plain_slice<'s>(&mut self, steps: impl Iterator<Item = &'s Step>, links: &Links) {
        let (mut sent, mut messages) = (Vec::new(), Vec::new());
        for step in steps {
            match steps::message(&step.op, links) {
                Ok(None) => {}
                Err(error) => self.fail(step, error),
                Ok(Some(message)) => {
                    sent.push(step);
                    messages.push(message);
                }
            }
        }
        let Some(first) = sent.first() else { return };
        match self.send(&first.netns, messages) {
            Err(error) => sent.iter().for_each(|step| self.fail(step, error.clone().into())),
            Ok(outcomes) => {
                for (step, outcome) in sent.iter().zip(outcomes) {
                    let outcome = outcome.map_err(Into::into).or_else(|error| self.once_more(step, error));
                    self.settle(step, outcome);
                }
            }
        }
    }

    /// Two refusals to set a link up are no last word: a kernel device's port that someone has taken since, and a
    /// macvlan's address that another still has whose namespace was deleted and is about to end.
    fn once_more(&mut self, step: &Step, error: ApplyError) -> Result<(), ApplyError> {
        let Op::SetUp { name, up: true } = &step.op else { return Err(error) };
        if !is_in_use(&error) {
            return Err(error);
        }
        let kind = self.linux.handles.get(&step.netns)?.link(name)?.map(|link| link.kind);
        match kind.as_deref() {
            Some("wireguard") => {
                self.free_port(&step.netns, name)?;
                self.set_up(&step.netns, name)
            }
            Some("macvlan") => {
                for _ in 0..ENDING_ATTEMPTS {
                    std::thread::sleep(ENDING);
                    match self.set_up(&step.netns, name) {
                        Err(error) if is_in_use(&error) => {}
                        outcome => return outcome,
                    }
                }
                Err(error)
            }
            _ => Err(error),
        }
    }

    /// Has the kernel look at the carriers of all links that were set up, now that their other ends are up too. Until it
    /// has, a link drops every packet, and by itself the kernel looks at a hundred links a second; at one that is asked for
    /// by name it looks at once (since Linux 6.8, before that asking is in vain).
    fn look_at_carriers(&mut self, plan: &Plan) {
        let set_up = plan.steps.iter().filter_map(|step| match &step.op {
            Op::SetUp { name, up: true } => Some((&step.netns, name)),
            _ => None,
        });
        for group in set_up.collect::<Vec<_>>().chunk_by(|(a, _), (b, _)| a == b) {
            let netns = group[0].0;
            let Ok(handle) = self.linux.handles.again(netns) else { continue };
            for slice in group.chunks(ASKED_AT_ONCE) {
                let mut questions: Vec<Vec<u8>> =
                    slice.iter().map(|(_, name)| link::get_by_name(name)).collect();
                // A link that is gone by now needs nothing.
                if let Err(error) = handle.route.batch(&mut questions) {
                    tracing::debug!(%netns, %error, "carriers were not looked at");
                }
            }
        }
    }

    fn set_up(&mut self, netns: &Netns, name: &IfName) -> Result<(), ApplyError> {
        let message = Message { bytes: link::set_up(name, true), done_already: &[] };
        self.send(netns, vec![message])?.into_iter().try_for_each(|outcome| outcome.map_err(Into::into))
    }

    /// The links whose index a step needs; few are asked for by name: of a link whose other end is in another namespace the
    /// kernel looks that up among all it knows, so a dump of a gateway's takes time by the square of them.
    fn links_for(&mut self, steps: &[Step]) -> Result<Links, EnterError> {
        let Some(first) = steps.first() else { return Ok(Links::default()) };
        let names: BTreeSet<&IfName> = steps.iter().filter_map(|step| steps::needs(&step.op)).collect();
        if names.is_empty() {
            return Ok(Links::default());
        }
        let handle = self.linux.handles.again(&first.netns)?;
        if names.len() > ASKED_BY_NAME {
            return Ok(handle.links()?);
        }
        let mut found = Vec::new();
        for name in names {
            found.extend(handle.link(name)?.map(|link| (link.index, *name)));
        }
        Ok(found.into_iter().collect())
    }

    fn send(
        &mut self,
        netns: &Netns,
        messages: Vec<Message>,
    ) -> Result<Vec<Result<(), Refusal>>, EnterError> {
        let handle: &mut Handle = self.linux.handles.again(netns)?;
        let (mut requests, allowed): (Vec<_>, Vec<_>) =
            messages.into_iter().map(|message| (message.bytes, message.done_already)).unzip();
        let outcomes = handle.route.batch(&mut requests)?;
        let tolerant = |(outcome, allowed): (Result<(), Refusal>, &[Errno])| match outcome {
            Err(refusal) if allowed.contains(&refusal.errno) => Ok(()),
            outcome => outcome,
        };
        Ok(outcomes.into_iter().zip(allowed).map(tolerant).collect())
    }
}

fn is_in_use(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Refused(Refusal { errno: Errno::EADDRINUSE, .. }))
}

fn mark(step: &Step) -> Option<Message> {
    let Op::DelLink { name } = &step.op else { return None };
    Some(Message { bytes: link::mark_going(name), done_already: &[Errno::ENODEV] })
}

/// Why a namespace's steps cannot even begin: the same for all of them.
#[derive(Debug, Clone)]
enum EnterError {
    Open(OpenError),
    Socket(SocketError),
    Foreign(Netns),
}

impl From<OpenError> for EnterError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<NetnsError> for EnterError {
    fn from(error: NetnsError) -> Self {
        Self::Open(OpenError::Netns(error))
    }
}

impl From<SocketError> for EnterError {
    fn from(error: SocketError) -> Self {
        Self::Socket(error)
    }
}

impl From<EnterError> for ApplyError {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::Open(error) => error.into(),
            EnterError::Socket(error) => error.into(),
            EnterError::Foreign(netns) => Self::Foreign { netns },
        }
    }
}
