//! Who may make a farm: whom the operator invited, each once. A farm that is there needs no invitation any more.

use sixfold_api::client::{Client, ClientError};
use sixfold_api::problem::Kind;
use sixfold_api::resource::{Done, Put};
use sixfold_core::id::FarmId;
use sixfold_core::model::FarmDraft;
use sixfold_core::trust::{Delegation, Invitation, Role, Signed};

use super::flow::{FARMER, delegation, farm, put, refused, send};
use super::{ADMIN, REGISTRY, Running, signing};

/// Another farmer.
const OTHER: u8 = 0x31;

fn invitation(nonce: u8, (signer, registry): (u8, u8), expires: u64) -> String {
    let registry_key = signing(registry).verifying();
    let invitation = Invitation { registry_key, nonce: [nonce; 16], expires };
    Invitation::write(&Signed::new(&invitation, &signing(signer)))
}

async fn create(client: &mut Client, said: &Put, token: Option<String>) -> Result<Done, ClientError> {
    send(client, &format!("/v1/farms/{}", farm()), &Put { token, ..said.clone() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_is_made_by_whom_the_operator_invited_and_once() {
    let running = Running::closed();
    let mut farmer = running.client(Some(FARMER));
    let said = put(&delegation(1, false), FARMER);
    let good = invitation(1, (ADMIN, REGISTRY), 1 << 40);
    let bad = [
        None,
        Some("sixfold-farm1.".to_owned()),
        Some(good[..good.len() - 1].to_owned()),
        Some(invitation(2, (FARMER, REGISTRY), 1 << 40)),
        Some(invitation(3, (ADMIN, 0x55), 1 << 40)),
        Some(invitation(4, (ADMIN, REGISTRY), 1)),
    ];
    for token in bad {
        assert_eq!(refused(create(&mut farmer, &said, token.clone()).await), Kind::Refused, "{token:?}");
    }
    create(&mut farmer, &said, Some(good.clone())).await.unwrap();
    create(&mut farmer, &said, Some(good.clone())).await.expect("it was done, and is known");
    send(&mut farmer, &format!("/v1/farms/{}", farm()), &put(&delegation(2, false), FARMER)).await.unwrap();
    // Nobody else by the same one.
    let id: FarmId = signing(OTHER).verifying().id(Role::Farmer).into();
    let other = FarmDraft {
        id: id.clone(),
        allocations: vec!["2001:db8:b::/48".parse().unwrap()],
        ..delegation(1, false).with_nodes(Vec::new())
    };
    let other = put(&Delegation::new(other, "beta".parse().unwrap(), 1).unwrap(), OTHER);
    let (mut second, path) = (running.client(Some(OTHER)), format!("/v1/farms/{id}"));
    let by = |token| Put { token: Some(token), ..other.clone() };
    assert_eq!(refused(send(&mut second, &path, &by(good)).await), Kind::Conflict);
    send(&mut second, &path, &by(invitation(5, (ADMIN, REGISTRY), 1 << 40))).await.unwrap();
}
