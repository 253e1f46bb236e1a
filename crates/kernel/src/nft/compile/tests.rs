//! Which messages operations are, counted and in order; no kernel.

use sixfold_core::state::{Action, Element, Hook, Match, SetKind};

use super::super::message::{BATCH_BEGIN, BATCH_END};
use super::*;

fn set(name: &str) -> SetName {
    SetName(name.to_owned().into())
}

fn port(port: u16) -> ElementKey {
    ElementKey { set: set("ports"), element: Element::Port(port) }
}

fn chain(rules: usize) -> Chain {
    let rule = |i| Rule { matches: vec![Match::TcpSyn], action: Action::Accept, comment: format!("{i}") };
    let hook = Hook { point: HookPoint::Forward, priority: 0, nat: false };
    Chain { hook, rules: (0..rules).map(rule).collect() }
}

fn name(name: &str) -> ChainName {
    ChainName(name.to_owned().into())
}

/// Types of the messages, subsystem left out, in order.
fn kinds(ops: &[Op], look: Option<Look>) -> Vec<u16> {
    let batch = compile(&ops.iter().collect::<Vec<_>>(), 1, look);
    let (mut rest, mut out) = (batch.bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let len = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
        out.push(u16::from_ne_bytes([rest[4], rest[5]]) & 0xff);
        rest = &rest[len..];
    }
    assert_eq!(out.len(), batch.len() + 2);
    assert_eq!((out.remove(0), out.pop()), (BATCH_BEGIN, Some(BATCH_END)));
    out
}

fn there() -> Look {
    let mut table = Firewall::default();
    table.sets.insert(set("ports"), Set { kind: SetKind::Ports });
    table.elements.insert(port(1), ());
    table.chains.insert(name("old"), chain(1));
    Look { there: Some(table), generation: 7 }
}

#[test]
fn one_more_element_is_one_message() {
    assert_eq!(kinds(&[Op::AddElement(port(2))], None), [kind::NEW_ELEMENT]);
}

#[test]
fn neighbouring_elements_of_a_set_share_messages_of_five_hundred() {
    let many: Vec<Op> = (0..1001).map(|i| Op::AddElement(port(i))).collect();
    assert_eq!(kinds(&many, None), [kind::NEW_ELEMENT; 3]);
    let other = Op::AddElement(ElementKey { set: set("more"), element: Element::Port(1) });
    let mixed = [Op::AddElement(port(1)), other, Op::DelElement(port(1))];
    assert_eq!(kinds(&mixed, Some(there())), [kind::NEW_ELEMENT, kind::NEW_ELEMENT, kind::DEL_ELEMENT]);
}

#[test]
fn chains_are_emptied_first_then_filled_then_deleted() {
    let ops = [
        Op::DelChain { name: name("old") },
        Op::SetChain { name: name("forward"), chain: chain(2) },
        Op::DelChain { name: name("never") },
        Op::DelSet { name: set("ports") },
    ];
    let expected = [
        kind::DEL_RULE,
        kind::NEW_CHAIN,
        kind::DEL_RULE,
        kind::NEW_RULE,
        kind::NEW_RULE,
        kind::DEL_CHAIN,
        kind::DEL_SET,
    ];
    assert_eq!(kinds(&ops, Some(there())), expected);
}

#[test]
fn only_what_is_there_by_then_is_deleted() {
    let ops = [
        Op::DelTable,
        Op::DelTable,
        Op::AddTable,
        Op::DelElement(port(1)),
        Op::DelSet { name: set("ports") },
    ];
    assert_eq!(kinds(&ops, Some(there())), [kind::DEL_TABLE, kind::NEW_TABLE]);
    let ops = [Op::AddElement(port(2)), Op::DelElement(port(2)), Op::DelElement(port(2))];
    assert_eq!(kinds(&ops, Some(there())), [kind::NEW_ELEMENT, kind::DEL_ELEMENT]);
    assert!(kinds(&ops[1..], Some(there())).is_empty());
}

#[test]
fn a_verdict_leads_back_to_its_operation() {
    let ops = [Op::AddTable, Op::AddElement(port(2)), Op::AddElement(port(3)), Op::DelTable];
    let batch = compile(&ops.iter().collect::<Vec<_>>(), 10, Some(there()));
    assert_eq!(batch.op_at(10, None), None, "the transaction");
    assert_eq!(batch.op_at(11, None), Some(0));
    assert_eq!(batch.op_at(12, None), Some(1), "the first of those that share the message");
    let second = 20 + 12 + 12 + 4; // headers, table, set, list
    assert_eq!(batch.op_at(12, Some(second)), Some(1));
    assert_eq!(batch.op_at(12, Some(second + 16)), Some(2));
    assert_eq!((batch.op_at(13, None), batch.op_at(14, None)), (Some(3), None));
    assert_eq!(batch.last_seq(), 13);
}
