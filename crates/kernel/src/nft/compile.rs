//! Operations on the firewall as one transaction.
//!
//! Owns: which messages an operation is, and in what order they go. Must not send anything.
//!
//! - Deleting what is not there is done already, but the kernel refuses it (and with it the transaction), and kernels
//!   before 6.3 have no message that forgives it. So the batch is made against what is there, and is valid only for
//!   the generation that was looked at ([`Look`]): the kernel refuses it if anyone came in between, and it is made anew.
//! - A run of chain operations first empties all its chains and then fills and deletes: a foreign chain that some
//!   rule of ours was made to jump to by hand can only be deleted after that rule.

use sixfold_core::name::TABLE;
use sixfold_core::plan::Op;
use sixfold_core::state::{Chain, ChainName, ElementKey, Firewall, HookPoint, Rule, Set, SetName};

use super::attr::{nest, put, put_str, put_u32};
use super::batch::Batch;
use super::message::{flag, kind};
use super::rule::{self, expr};
use super::{each, set};

/// Elements in one message: an attribute holds 65,535 bytes, and an element at most two keys of 24 bytes, or a key and a
/// value of 16, and headers.
const ELEMENTS_PER_MESSAGE: usize = 500;

/// `NFT_SET_ELEM_INTERVAL_END`
pub(super) const INTERVAL_END: u32 = 1;
/// `NFT_SET_ELEM_CATCHALL`: in place of every key that is not in the set.
pub(super) const OTHERS: u32 = 2;

/// What is there, and the generation that it is of.
pub(super) struct Look {
    pub(super) there: Option<Firewall>,
    pub(super) generation: u32,
}

/// Makes the transaction of operations that were checked; `seq` is the number of its beginning.
pub(super) fn compile(ops: &[&Op], seq: u32, look: Option<Look>) -> Batch {
    let batch = Batch::begin(seq, look.as_ref().map(|look| look.generation));
    let mut compiler = Compiler { ops, batch, there: look.map(|look| look.there) };
    let mut done = 0;
    while done < ops.len() {
        done += compiler.run(done);
    }
    compiler.batch.close();
    compiler.batch
}

/// A transaction in the making.
struct Compiler<'a> {
    ops: &'a [&'a Op],
    batch: Batch,
    /// What will be there after the operations so far. `None`: nobody looked, and nothing is to be deleted.
    there: Option<Option<Firewall>>,
}

impl Compiler<'_> {
    /// Appends what begins at `at`, and says how many operations that was.
    fn run(&mut self, at: usize) -> usize {
        let ops = self.ops;
        match ops[at] {
            Op::AddTable => {
                self.batch.push(at, (kind::NEW_TABLE, flag::CREATE), |out| {
                    put_str(out, 1, TABLE);
                    put_u32(out, 2, 0);
                });
                self.known(|there| {
                    there.get_or_insert_default();
                });
            }
            Op::DelTable => {
                if self.present(|_| true) {
                    self.batch.push(at, (kind::DEL_TABLE, 0), |out| put_str(out, 1, TABLE));
                }
                self.known(|there| *there = None);
            }
            Op::AddSet { name, set } => {
                self.add_set(at, name, set);
                self.known_table(|table| {
                    table.sets.insert(name.clone(), set.clone());
                });
            }
            Op::DelSet { name } => {
                if self.present(|table| table.sets.contains_key(name)) {
                    self.batch.push(at, (kind::DEL_SET, 0), |out| named(out, 2, &name.0));
                }
                self.known_table(|table| {
                    table.sets.remove(name);
                    table.elements.retain(|key, ()| key.set != *name);
                });
            }
            Op::AddElement(_) | Op::DelElement(_) => return self.elements(at),
            Op::SetChain { .. } | Op::DelChain { .. } => return self.chains(at),
            _ => {}
        }
        1
    }

    fn add_set(&mut self, op: usize, name: &SetName, what: &Set) {
        let Some(shape) = set::shape(what.kind) else { return };
        let id = self.batch.last_seq().wrapping_add(1);
        self.batch.push(op, (kind::NEW_SET, flag::CREATE), |out| {
            named(out, 2, &name.0);
            for (kind, value) in [(3, shape.flags), (4, shape.key_type), (5, shape.key_len), (10, id)] {
                put_u32(out, kind, value);
            }
            if let Some((data_type, data_len)) = shape.data {
                put_u32(out, 6, data_type);
                put_u32(out, 7, data_len);
            }
            if let Some(userdata) = set::userdata(what.kind) {
                put(out, 13, &userdata);
            }
            shape.each.fill(out, &each::OF_SET);
        });
    }

    /// Neighbouring elements of one set go into one message.
    fn elements(&mut self, at: usize) -> usize {
        let element = |op: &Op| match op {
            Op::AddElement(key) => Some((true, key.clone())),
            Op::DelElement(key) => Some((false, key.clone())),
            _ => None,
        };
        let Some((add, first)) = element(self.ops[at]) else { return 1 };
        let run: Vec<ElementKey> = self.ops[at..]
            .iter()
            .take(ELEMENTS_PER_MESSAGE)
            .map_while(|op| element(op).filter(|(a, key)| *a == add && key.set == first.set))
            .map(|(_, key)| key)
            .collect();
        let send: Vec<(usize, &ElementKey)> = run
            .iter()
            .enumerate()
            .filter(|(_, key)| add || self.present(|table| table.elements.contains_key(key)))
            .map(|(i, key)| (at + i, key))
            .collect();
        if !send.is_empty() {
            let what = if add { (kind::NEW_ELEMENT, flag::CREATE) } else { (kind::DEL_ELEMENT, 0) };
            self.batch.push_parts(what, |out, start| {
                named(out, 2, &first.set.0);
                let mut parts = Vec::new();
                nest(out, 3, |out| {
                    for (op, key) in send {
                        parts.push((out.len() - start, op));
                        put_element(out, key);
                    }
                });
                parts
            });
        }
        self.known_table(|table| {
            for key in &run {
                if add {
                    table.elements.insert(key.clone(), ());
                } else {
                    table.elements.remove(key);
                }
            }
        });
        run.len()
    }

    /// A run of chain operations: empties, then fills, then deletes.
    fn chains(&mut self, at: usize) -> usize {
        let ops = self.ops;
        let run =
            ops[at..].iter().take_while(|op| matches!(op, Op::SetChain { .. } | Op::DelChain { .. })).count();
        let numbered = || (at..at + run).map(|i| (i, ops[i]));
        let mut doomed = Vec::new();
        for (i, op) in numbered() {
            match op {
                Op::SetChain { name, chain } => self.base_chain(i, name, chain),
                Op::DelChain { name } if self.present(|table| table.chains.contains_key(name)) => {
                    doomed.push((i, name));
                }
                _ => continue,
            }
            self.clear(i, op);
        }
        for (i, op) in numbered() {
            if let Op::SetChain { name, chain } = op {
                chain.rules.iter().for_each(|rule| self.rule(i, name, rule));
                self.known_table(|table| {
                    table.chains.insert(name.clone(), chain.clone());
                });
            }
        }
        for (i, name) in doomed {
            self.batch.push(i, (kind::DEL_CHAIN, 0), |out| named(out, 3, &name.0));
            self.known_table(|table| {
                table.chains.remove(name);
            });
        }
        run
    }

    fn clear(&mut self, i: usize, op: &Op) {
        if let Op::SetChain { name, .. } | Op::DelChain { name } = op {
            self.batch.push(i, (kind::DEL_RULE, 0), |out| named(out, 2, &name.0));
        }
    }

    fn base_chain(&mut self, op: usize, name: &ChainName, chain: &Chain) {
        let Some(point) = hook_number(chain.hook.point) else { return };
        self.batch.push(op, (kind::NEW_CHAIN, flag::CREATE), |out| {
            named(out, 3, &name.0);
            nest(out, 4, |out| {
                put_u32(out, 1, point);
                put_u32(out, 2, chain.hook.priority.cast_unsigned());
            });
            put_u32(out, 5, expr::ACCEPT);
            put_str(out, 7, if chain.hook.nat { "nat" } else { "filter" });
        });
    }

    fn rule(&mut self, op: usize, chain: &ChainName, what: &Rule) {
        self.batch.push(op, (kind::NEW_RULE, flag::CREATE | flag::APPEND), |out| {
            named(out, 2, &chain.0);
            put(out, 4, &rule::encode(what));
            if let Some(userdata) = rule::userdata(&what.comment) {
                put(out, 7, &userdata);
            }
        });
    }

    /// Whether an object is there. Without a look nothing is to be deleted.
    fn present(&self, has: impl FnOnce(&Firewall) -> bool) -> bool {
        self.there.as_ref().and_then(Option::as_ref).is_some_and(has)
    }

    fn known(&mut self, change: impl FnOnce(&mut Option<Firewall>)) {
        if let Some(there) = &mut self.there {
            change(there);
        }
    }

    fn known_table(&mut self, change: impl FnOnce(&mut Firewall)) {
        if let Some(Some(table)) = &mut self.there {
            change(table);
        }
    }
}

/// The table's name, and an object's.
fn named(out: &mut Vec<u8>, kind: u16, name: &str) {
    put_str(out, 1, TABLE);
    put_str(out, kind, name);
}

fn put_element(out: &mut Vec<u8>, key: &ElementKey) {
    for key in set::keys(&key.element) {
        nest(out, 1, |out| {
            if !key.others {
                nest(out, 1, |out| put(out, 1, &key.bytes));
            }
            if !key.value.is_empty() {
                nest(out, 2, |out| put(out, 1, &key.value));
            }
            key.each.fill(out, &each::OF_ELEMENT);
            if key.end || key.others {
                put_u32(out, 3, if key.end { INTERVAL_END } else { OTHERS });
            }
        });
    }
}

/// Netfilter's number of a hook of the family `inet`.
pub(super) fn hook_number(point: HookPoint) -> Option<u32> {
    Some(match point {
        HookPoint::Prerouting => 0,
        HookPoint::Input => 1,
        HookPoint::Forward => 2,
        HookPoint::Output => 3,
        HookPoint::Postrouting => 4,
        HookPoint::Nowhere => return None,
    })
}

#[cfg(test)]
mod tests;
