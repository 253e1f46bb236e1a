//! The table `inet sixfold` as the kernel has it.
//!
//! Owns: reading chains, rules, sets and elements of our table and nothing else. What was made by hand in it stays
//! visible: a rule as [`Match::Unknown`], a chain that is not hooked in as we would as [`HookPoint::Nowhere`], a set as
//! [`SetKind::Unknown`]. What a rule owns (an anonymous set or chain) is seen in that rule, and goes with it.
//!
//! [`Match::Unknown`]: sixfold_core::state::Match::Unknown

use std::collections::{BTreeMap, BTreeSet};

use nix::libc;
use sixfold_core::name::{IfName, TABLE};
use sixfold_core::state::{
    Action, Chain, ChainName, ElementKey, Firewall, Hook, HookPoint, Rule, Set, SetKind, SetName,
};

use super::attr::{Attrs, find, find_str, find_u32, put_str};
use super::compile::{INTERVAL_END, OTHERS};
use super::message::{flag, kind};
use super::rule::expr::ACCEPT;
use super::set::{self, Each, Key, Shape};
use super::{Counter, NftError, NftSocket, compile, each, rule};

/// `NFT_TABLE_F_DORMANT`: the table is there, and hooked in nowhere.
const DORMANT: u32 = 1;
/// `NFT_CHAIN_BINDING`: the chain belongs to a rule.
const BINDING: u32 = 4;
/// `NFT_SET_ANONYMOUS`: the set belongs to a rule.
const ANONYMOUS: u32 = 1;

/// A dump, and whether it is of one piece.
pub(super) struct Dump<'a> {
    socket: &'a mut NftSocket,
    whole: bool,
}

impl<'a> Dump<'a> {
    pub(super) fn new(socket: &'a mut NftSocket) -> Self {
        Self { socket, whole: true }
    }

    /// Whether no change disturbed any of the dumps so far.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Everything in the table; `None` if there is no table.
    pub(super) fn firewall(&mut self) -> Result<Option<Firewall>, NftError> {
        let Some(flags) = self.table()? else { return Ok(None) };
        let mut chains = self.chains()?;
        self.rules(&mut chains)?;
        if flags & DORMANT != 0 {
            chains.values_mut().for_each(|chain| chain.hook.point = HookPoint::Nowhere);
        }
        let sets = self.sets()?;
        let mut elements = BTreeMap::new();
        for (name, set) in sets.iter().filter(|(_, set)| set.kind != SetKind::Unknown) {
            for element in self.elements(name, set.kind)? {
                elements.insert(ElementKey { set: name.clone(), element }, ());
            }
        }
        Ok(Some(Firewall { chains, sets, elements }))
    }

    /// The table's flags, if there is one.
    fn table(&mut self) -> Result<Option<u32>, NftError> {
        let mut flags = None;
        let found =
            self.ask(kind::GET_TABLE, flag::ACK, |attrs| flags = Some(find_u32(attrs, 2).unwrap_or(0)));
        match found {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(flags),
        }
    }

    /// Chains without their rules. An odd policy becomes a rule, which says what happens after all the others.
    fn chains(&mut self) -> Result<BTreeMap<ChainName, Chain>, NftError> {
        let mut chains = BTreeMap::new();
        self.ask(kind::GET_CHAIN, flag::DUMP, |attrs| {
            let bound = find_u32(attrs, 10).unwrap_or(0) & BINDING != 0;
            if let (Some(name), false) = (find_str(attrs, 3), bound) {
                let odd = find_u32(attrs, 5).is_some_and(|policy| policy != ACCEPT);
                let rules = if odd { vec![odd_policy()] } else { Vec::new() };
                chains.insert(ChainName(name.into()), Chain { hook: hook(attrs), rules: rules.into() });
            }
        })?;
        Ok(chains)
    }

    /// Fills the chains, each rule before the odd policy if there is one.
    fn rules(&mut self, chains: &mut BTreeMap<ChainName, Chain>) -> Result<(), NftError> {
        let mut found: BTreeMap<ChainName, Vec<Rule>> = BTreeMap::new();
        self.each_rule(|chain, expressions, userdata| {
            found.entry(chain).or_default().push(rule::decode(expressions, userdata));
        })?;
        for (name, rules) in found {
            if let Some(chain) = chains.get_mut(&name) {
                chain.rules.splice(0..0, rules);
            }
        }
        Ok(())
    }

    /// Visits every rule of the table: its chain, expressions and user data, in order within a chain.
    pub(super) fn each_rule(
        &mut self,
        mut each: impl FnMut(ChainName, &[u8], &[u8]),
    ) -> Result<(), NftError> {
        self.ask(kind::GET_RULE, flag::DUMP, |attrs| {
            let part = |kind| find(attrs, kind).unwrap_or(&[]);
            each(ChainName(find_str(attrs, 2).unwrap_or_default().into()), part(4), part(7));
        })
    }

    fn sets(&mut self) -> Result<BTreeMap<SetName, Set>, NftError> {
        let mut sets = BTreeMap::new();
        self.ask(kind::GET_SET, flag::DUMP, |attrs| {
            let shape = shape(attrs);
            // A set of ours is as large as it must be.
            let bounded = find(attrs, 9).is_some_and(|desc| find_u32(desc, 1).is_some());
            let kind = if bounded { SetKind::Unknown } else { set::kind(shape) };
            if let (Some(name), 0) = (find_str(attrs, 2), shape.flags & ANONYMOUS) {
                sets.insert(SetName(name.into()), Set { kind });
            }
        })?;
        Ok(sets)
    }

    fn elements(
        &mut self,
        name: &SetName,
        kind: SetKind,
    ) -> Result<Vec<sixfold_core::state::Element>, NftError> {
        let mut keys = BTreeSet::new();
        self.each_element(name, |element| keys.extend([key(element)]))?;
        Ok(set::elements(kind, keys))
    }

    /// What each element of a set of links counted; the others' together under none.
    pub(super) fn tallies(&mut self, name: &SetName) -> Result<BTreeMap<Option<IfName>, Counter>, NftError> {
        let mut tallies = BTreeMap::new();
        self.each_element(name, |element| {
            let Key { bytes, others, .. } = key(element);
            let link = set::link_of(&bytes);
            if let Some(counter) = each::counted(element).filter(|_| others || link.is_some()) {
                tallies.insert(link, counter);
            }
        })?;
        Ok(tallies)
    }

    fn each_element(&mut self, set: &SetName, mut each: impl FnMut(&[u8])) -> Result<(), NftError> {
        let mut request = table_attr();
        put_str(&mut request, 2, &set.0);
        self.whole &= self.socket.request(kind::GET_ELEMENT, flag::DUMP, &request, |attrs| {
            Attrs(find(attrs, 3).unwrap_or(&[])).for_each(|element| each(element.value));
        })?;
        Ok(())
    }

    /// Asks for the table's objects of one kind. The kernel does not filter all of them.
    fn ask(&mut self, kind: u16, flags: u16, mut each: impl FnMut(&[u8])) -> Result<(), NftError> {
        self.whole &= self.socket.request(kind, flags, &table_attr(), |attrs| {
            if find_str(attrs, 1).as_deref() == Some(TABLE) {
                each(attrs);
            }
        })?;
        Ok(())
    }
}

/// Reads the attributes of one object as each kind there is: see `raw`.
pub(crate) fn read_any(attrs: &[u8]) {
    let _ = hook(attrs);
    let part = |kind| find(attrs, kind).unwrap_or(attrs);
    let _ = (rule::decode(part(4), part(7)), rule::counted(part(4)));
    let kind = set::kind(shape(attrs));
    for kind in set::kinds(Each::Over(1)).into_iter().chain((kind != SetKind::Unknown).then_some(kind)) {
        let _ = set::elements(kind, Attrs(part(3)).map(|element| key(element.value)).collect());
    }
}

fn table_attr() -> Vec<u8> {
    let mut out = Vec::new();
    put_str(&mut out, 1, TABLE);
    out
}

fn key(attrs: &[u8]) -> Key {
    let bytes = find(attrs, 1).and_then(|key| find(key, 1)).unwrap_or(&[]).to_vec();
    let value = find(attrs, 2).and_then(|value| find(value, 1)).unwrap_or(&[]).to_vec();
    let flags = find_u32(attrs, 3).unwrap_or(0);
    let each = Each::read(attrs, &each::OF_ELEMENT);
    Key { bytes, end: flags & INTERVAL_END != 0, others: flags & OTHERS != 0, value, each }
}

fn shape(attrs: &[u8]) -> Shape {
    let number = |kind| find_u32(attrs, kind).unwrap_or(0);
    let data = find_u32(attrs, 6).zip(find_u32(attrs, 7));
    let each = Each::read(attrs, &each::OF_SET);
    Shape { flags: number(3), key_type: number(4), key_len: number(5), data, each }
}

fn hook(attrs: &[u8]) -> Hook {
    let hook = find(attrs, 4).unwrap_or(&[]);
    let number = find_u32(hook, 1);
    let kind = find_str(attrs, 7).unwrap_or_default();
    let point = [
        HookPoint::Prerouting,
        HookPoint::Input,
        HookPoint::Forward,
        HookPoint::Output,
        HookPoint::Postrouting,
    ]
    .into_iter()
    .find(|point| number.is_some() && compile::hook_number(*point) == number)
    .filter(|_| kind == "filter" || kind == "nat")
    .unwrap_or(HookPoint::Nowhere);
    Hook { point, priority: find_u32(hook, 2).unwrap_or(0).cast_signed(), nat: kind == "nat" }
}

/// Stands for a policy other than accept. It equals no rule of ours, so the chain is set anew, which resets the policy.
fn odd_policy() -> Rule {
    Rule {
        matches: Vec::new(),
        action: Action::Unknown(Vec::new()),
        comment: "policy is not accept".to_owned(),
    }
}
