//! What a label is, by example and by property.

use proptest::prelude::*;

use super::*;

#[test]
fn refused_labels_say_what_is_wrong() {
    let said = |text: &str| Label::try_from(text).unwrap_err().to_string();
    assert_eq!(said(""), "a name is empty");
    assert_eq!(said("Web"), "'W' at position 1 of a name");
    assert_eq!(said("a/../b"), "'/' at position 2 of a name");
    assert_eq!(said("a\u{1b}[2J"), "'\\u{1b}' at position 2 of a name");
    assert_eq!(said("caf\u{e9}"), "'é' at position 4 of a name");
    assert_eq!(said("-a"), "a name begins or ends with '-'");
    assert_eq!(said(&"a".repeat(64)), "a name of 64 bytes is longer than 63");
    assert!(Label::try_from("a".repeat(63)).is_ok());
}

#[test]
fn a_network_is_written_tenant_slash_name() {
    let id: NetworkId = "acme/web".parse().unwrap();
    assert_eq!((id.tenant.as_str(), id.name.as_str()), ("acme", "web"));
    assert_eq!(serde_json::to_string(&id).unwrap(), "\"acme/web\"");
    assert_eq!("acme".parse::<NetworkId>(), Err(NetworkIdError::Slash));
    assert!("acme/web/1".parse::<NetworkId>().is_err());
}

#[test]
fn what_is_deserialised_is_checked() {
    assert!(serde_json::from_str::<NodeId>("\"ant\"").is_ok());
    assert!(serde_json::from_str::<NodeId>("\"../ant\"").is_err());
    assert!(serde_json::from_str::<NetworkId>("\"acme/WEB\"").is_err());
}

proptest! {
    #[test]
    fn every_label_reads_as_it_is_written(text in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?") {
        let label: Label = text.parse().unwrap();
        prop_assert_eq!(label.to_string(), text.clone());
        let json = serde_json::to_string(&label).unwrap();
        prop_assert_eq!(serde_json::from_str::<Label>(&json).unwrap(), label);
    }

    #[test]
    fn no_other_text_is_a_label(text in "\\PC{0,70}") {
        let wanted = !text.is_empty()
            && text.len() <= 63
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        prop_assert_eq!(text.parse::<Label>().is_ok(), wanted);
    }
}
