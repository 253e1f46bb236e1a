//! A key that is replaced while its owner's request waits signs nothing any more.

use sixfold_core::trust::{Owner, Role, Rotation, Signed, SigningKey};
use sixfold_registry::service::{Op, Request, Said};
use sixfold_registry::store::Memory;

use crate::ground::{Hands, Registry, network, put_network, request};

#[test]
fn what_a_replaced_key_signed_before_is_not_done_after() {
    let registry = Registry::start(Memory::default(), &Hands::at(1)).furnish(2);
    let [old, new] = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
    let owner = Owner { role: Role::Tenant, id: old.verifying().id(Role::Tenant) };
    let id = format!("{}/web", owner.id);
    let by = |key: &SigningKey, version| Request {
        by: Some((owner.clone(), key.verifying())),
        ..request("tenant", "", put_network(version, network(&id, 1, [1])))
    };
    registry.service.ask(by(&old, 1)).unwrap();
    registry.service.ask(by(&new, 2)).expect_err("nobody's key yet");
    let rotation = Rotation { owner: owner.clone(), sequence: 1, next: new.verifying() };
    let body = serde_json::to_vec(&[Signed::new(&rotation, &old)]).unwrap();
    let known = registry.service.read(|state| state.network_draft(&id.parse().unwrap()).unwrap());
    let rotate = Op::Rotate {
        said: Said { version: 1, body: body.into() },
        owner: owner.clone(),
        again: vec![put_network(2, known)],
    };
    registry.ask("tenant", "", rotate).unwrap();
    let refused = registry.service.ask(by(&old, 3)).unwrap_err();
    assert!(refused.to_string().contains("is not the newest of"), "{refused}");
    registry.service.ask(by(&new, 3)).unwrap();
}
