//! Keys, ids and their files' text, against vectors that others made.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use sixfold_core::trust::{
    PemError, Role, Signature, SigningKey, VerifyingKey, VerifyingKeyError, leaf_hash, paths, verify_path,
};

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| Some(c.to_digit(16)? as u8)).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// RFC 8032, 7.1: seed, public key, message, signature.
const RFC_8032: [[&str; 4]; 3] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
];

fn key(seed: &str) -> SigningKey {
    SigningKey::from_seed(&hex(seed).try_into().unwrap())
}

#[test]
fn signatures_are_those_of_the_rfc() {
    for [seed, public, message, signature] in RFC_8032 {
        let key = key(seed);
        assert_eq!(key.verifying().as_bytes()[..], hex(public));
        let made = key.sign(&hex(message));
        assert_eq!(made, Signature(hex(signature).try_into().unwrap()));
        assert!(key.verifying().verifies(&hex(message), &made));
    }
}

/// Each made with
/// `(printf 'sixfold/v1/id/ROLE\0'; echo d75a98...511a | xxd -r -p) | openssl dgst -sha256 -binary | head -c16 | base32 | tr -d = | tr A-Z a-z`
#[test]
fn ids_are_what_other_programs_make_of_the_key() {
    let key = key(RFC_8032[0][0]).verifying();
    let ids = Role::ALL.map(|role| (role.word(), key.id(role).to_string()));
    let wanted = [
        ("tenant", "sk5hdnmcj7tcc3dtevd52lionq"),
        ("farmer", "vjvhrjws4wvgvhkdcecfbejx6q"),
        ("node", "ye3gz4mdz2cygfh2cfs57d6liq"),
        ("registry", "ndlxayepu6flfqjae4zksajnvq"),
        ("admin", "fhmtbxmc6j6n7p4oacbig4emki"),
    ];
    assert_eq!(ids, wanted.map(|(role, id): (&str, &str)| (role, id.to_owned())));
}

#[test]
fn what_cannot_be_somebodys_key_is_refused() {
    let read = |bytes: [u8; 32]| VerifyingKey::from_bytes(bytes);
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(read(identity), Err(VerifyingKeyError::Weak), "with it anybody signs");
    assert_eq!(read([0; 32]), Err(VerifyingKeyError::Weak), "a point of order four");
    // y = p + 1 is another spelling of y = 1, and y = 2 is on no point.
    let mut again = [0xff; 32];
    (again[0], again[31]) = (0xee, 0x7f);
    assert_eq!(read(again), Err(VerifyingKeyError::Point));
    let mut two = [0; 32];
    two[0] = 2;
    assert_eq!(read(two), Err(VerifyingKeyError::Point));
    assert!(matches!("!".parse::<VerifyingKey>(), Err(VerifyingKeyError::Base64(_))));
    assert_eq!("AAAA".parse::<VerifyingKey>(), Err(VerifyingKeyError::Length { bytes: 3, wanted: 32 }));
    let weak = format!("\"{}\"", STANDARD.encode(identity));
    let said = serde_json::from_str::<VerifyingKey>(&weak).unwrap_err().to_string();
    assert_eq!(said, "it is a weak key");
}

/// A signature is malleable if `s` may be written as `s + L`: strict verifiers refuse it (RFC 8032, 8.4).
#[test]
fn another_spelling_of_a_signature_is_refused() {
    let key = key(RFC_8032[1][0]);
    let Signature(mut bytes) = key.sign(b"x");
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0_u16;
    for (byte, more) in bytes[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
    }
    assert!(!key.verifying().verifies(b"x", &Signature(bytes)));
}

/// Made by `openssl pkey -in KEY -text` of the first key of the RFC; the binary's tests ask `openssl` itself.
#[test]
fn a_key_file_reads_as_it_is_written_and_nothing_else_does() {
    let key = key(RFC_8032[0][0]);
    let pem = key.to_pem();
    let wanted = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    assert_eq!(pem.as_str(), wanted);
    assert_eq!(*SigningKey::from_pem(&pem).unwrap().seed(), *key.seed());
    let public = key.verifying().to_pem();
    assert_eq!(VerifyingKey::from_pem(&public), Ok(key.verifying()));
    let refused = |text: &str| SigningKey::from_pem(text).err().expect("it is no key");
    let between = |bytes: &[u8]| {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(bytes))
    };
    assert_eq!(refused(""), PemError::Label { label: "PRIVATE KEY" });
    assert_eq!(refused(&public), PemError::Label { label: "PRIVATE KEY" });
    assert_eq!(refused(&between(&[])), PemError::Algorithm);
    assert_eq!(refused(&between(&[0; 200])), PemError::Algorithm);
    assert_eq!(refused(&pem.replace("MC4C", "MC4D")), PemError::Algorithm);
    assert_eq!(refused(&pem.replace("MC4C", "M!4C")), PemError::Base64);
    let der = STANDARD.decode(pem.lines().nth(1).unwrap()).unwrap();
    assert_eq!(refused(&between(&der[..47])), PemError::Algorithm);
    assert_eq!(refused(&between(&[&der[..], &[0]].concat())), PemError::Algorithm);
    let weak = public.replace(&STANDARD.encode(hex(RFC_8032[0][1]))[3..], "");
    assert!(VerifyingKey::from_pem(&weak).is_err());
}

/// The tree hashes of Certificate Transparency's reference implementation, over the first 1 to 8 of its leaves.
#[test]
fn roots_are_those_of_certificate_transparency() {
    let leaves =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(&hex(leaf))).collect();
    for (count, root) in (1..).zip(roots) {
        assert_eq!(paths(&hashes[..count]).0.0[..], hex(root), "{count}");
    }
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(paths(&[]).0.0[..], hex(empty));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Each leaf is proved by its own path, at its own place, in a tree of its own size, and by nothing else.
    #[test]
    fn a_path_proves_one_leaf_at_one_place(size in 1..40_usize, pick: prop::sample::Index, other: prop::sample::Index, bit in 0..256_usize) {
        let leaves: Vec<_> = (0..size).map(|at| leaf_hash(&at.to_be_bytes())).collect();
        let (root, all) = paths(&leaves);
        let at = pick.index(size);
        let place = (at as u64, size as u64);
        prop_assert!(verify_path(leaves[at], place, &all[at], root));
        let elsewhere = other.index(size);
        if elsewhere != at {
            prop_assert!(!verify_path(leaves[elsewhere], place, &all[at], root));
            prop_assert!(!verify_path(leaves[at], (elsewhere as u64, size as u64), &all[at], root));
        }
        prop_assert!(!verify_path(leaves[at], (size as u64, size as u64), &all[at], root));
        prop_assert!(!verify_path(leaves[at], (0, 0), &all[at], root));
        let mut longer = all[at].clone();
        longer.push(root);
        prop_assert!(!verify_path(leaves[at], place, &longer, root));
        let mut shorter = all[at].clone();
        if shorter.pop().is_some() {
            prop_assert!(!verify_path(leaves[at], place, &shorter, root));
        }
        let mut flipped = all[at].clone();
        if let Some(step) = flipped.first_mut() {
            step.0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!verify_path(leaves[at], place, &flipped, root));
        }
    }

    #[test]
    fn every_key_reads_as_it_is_written(seed: [u8; 32]) {
        let key = SigningKey::from_seed(&seed);
        let public = key.verifying();
        prop_assert_eq!(public.to_string().parse(), Ok(public));
        prop_assert_eq!(VerifyingKey::from_bytes(*public.as_bytes()), Ok(public));
        prop_assert_eq!(VerifyingKey::from_pem(&public.to_pem()), Ok(public));
        let again = SigningKey::from_pem(&key.to_pem()).unwrap();
        prop_assert_eq!(*again.seed(), seed);
        let ids: std::collections::BTreeSet<_> = Role::ALL.map(|role| public.id(role)).into();
        prop_assert_eq!(ids.len(), 5, "a key is somebody else in each role");
        prop_assert!(ids.iter().all(|id| id.as_str().len() == 26));
    }
}
