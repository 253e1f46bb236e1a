//! What must not be in a report: what looks like a key and is not known to be a public one; and on request addresses.
//!
//! Owns: what a key and an address look like in any text. Must not read anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

/// What stands for a key that is gone.
const GONE: &str = "[key removed]";
/// Characters of 32 bytes in base64, before the padding.
const BASE64_LEN: usize = 43;
/// Characters of 32 bytes in hex.
const HEX_LEN: usize = 64;

/// All that looks like a key in texts where each is a public one.
pub(super) fn keys_in<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    texts.into_iter().flat_map(pieces).filter(|piece| piece.is_key).map(|piece| piece.text).collect()
}

/// A text without what looks like a key and is none of those known.
pub(super) fn without_keys(text: &str, known: &BTreeSet<&str>) -> String {
    let kept = |piece: Piece<'_>| {
        if piece.is_key && !known.contains(piece.text) { GONE.to_owned() } else { piece.text.to_owned() }
    };
    pieces(text).map(kept).collect()
}

struct Piece<'a> {
    text: &'a str,
    is_key: bool,
}

/// A text in pieces: runs of characters that keys are made of, and the rest.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let in_key = |character: char| character.is_ascii_alphanumeric() || "+/-_".contains(character);
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest.find(|character| in_key(character) != in_key(first)).unwrap_or(rest.len());
        let run;
        (run, rest) = rest.split_at(end);
        // Without its padding a key is a run of just 43, as a path or a name may be: that goes too, but for a plain path.
        let padded = run.len() >= BASE64_LEN && rest.starts_with('=');
        let bare = run.len() == BASE64_LEN && !is_plain_path(run);
        let hex = run.len() >= HEX_LEN && run.bytes().all(|byte| byte.is_ascii_hexdigit());
        // A key in an envelope: the body of a PEM file, a token.
        let wrapped = run.len() > BASE64_LEN && is_mixed(run);
        Some(Piece { text: run, is_key: in_key(first) && (padded || bare || hex || wrapped) })
    })
}

/// Whether a run is a path as most are, in letters of one size: a key has both, but for one in a thousand million.
fn is_plain_path(run: &str) -> bool {
    run.contains('/') && !is_mixed(run)
}

/// Whether a run has letters of both sizes.
fn is_mixed(run: &str) -> bool {
    let has = |of: fn(&u8) -> bool| run.as_bytes().iter().any(of);
    has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)
}

/// A text with each public address replaced by a word, the same by the same.
pub(super) fn redacted(text: &str) -> String {
    let of_address = |character: char| character.is_ascii_hexdigit() || ":.".contains(character);
    let of_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut words: BTreeMap<IpAddr, String> = BTreeMap::new();
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        if !of_address(first) || out.chars().next_back().is_some_and(of_word) {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(|character| !of_address(character)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        // A full stop or a colon after an address ends a clause.
        let bare =
            run.trim_end_matches('.').strip_suffix(':').filter(|bare| !bare.ends_with(':')).unwrap_or(run);
        let bare = bare.trim_end_matches('.');
        match parsed(bare).filter(|(address, _)| is_public(*address) && !after.starts_with(of_word)) {
            Some((address, length)) => {
                let count = words.len() + 1;
                out += words.entry(address).or_insert_with(|| format!("address-{count}"));
                out += &run[length..];
            }
            None => out += run,
        }
        rest = after;
    }
    out
}

/// The address that a run begins with, and how long it is.
fn parsed(run: &str) -> Option<(IpAddr, usize)> {
    let with_port = || {
        let endpoint: SocketAddrV4 = run.parse().ok()?;
        Some((IpAddr::V4(*endpoint.ip()), run.find(':')?))
    };
    run.parse().ok().map(|address| (address, run.len())).or_else(with_port)
}

/// Whether it says where in the Internet somebody is.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || shared)
}

/// All of what is routed is in 2000::/3, and the addresses of the other kind within it are worth hiding as well.
fn is_public_v6(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xe000 == 0x2000 || address.to_ipv4_mapped().is_some_and(is_public_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

    #[test]
    fn a_key_goes_in_every_notation_unless_it_is_known_to_be_public() {
        let hex = "c809f3e53 17e9575c9b5ed78b638b7ce530dabe85ddab614220241801ddf0669".replace(' ', "");
        let bare = KEY.trim_end_matches('=');
        for text in [
            KEY.to_owned(),
            bare.replace('+', "-"),
            bare.replace('+', "/"),
            format!("/{}", &bare[1..]),
            hex.clone(),
            hex.to_uppercase(),
        ] {
            let told = format!("private_key={text}, key \"{text}\"");
            let clean = without_keys(&told, &BTreeSet::new());
            assert_eq!(clean.matches(GONE).count(), 2, "{clean}");
            assert!(!clean.contains(&text[8..20]), "{clean}");
        }
        let known = keys_in([KEY]);
        let other = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        assert_eq!(without_keys(&format!("{KEY} {other}"), &known), format!("{KEY} {GONE}="));
    }

    /// The body of a PEM file is longer than a key and needs no padding; a token is in base64 for URLs.
    #[test]
    fn a_key_in_an_envelope_goes_too() {
        let pem = "MC4CAQAwBQYDK2VwBCIEIHn5z/C8gVYn0Ic3hcbQvN1hYpN5oEwq2Bc9e6W0kUVd";
        let token = "eyJyZWdpc3RyeSI6InNpeGZvbGQ6Ly9hYmMiLCJzZWNyZXQiOiJ4LXlfeiJ9_AbC-9";
        for text in [pem, token] {
            let clean = without_keys(&format!("read {text}, and sixfold1.{text}"), &BTreeSet::new());
            assert_eq!(clean, format!("read {GONE}, and sixfold1.{GONE}"));
        }
    }

    #[test]
    fn other_text_stays() {
        let text = "/var/lib/sixfold/keys/1abc-1: refused, 2001:db8::/32 é x=y a_name_that_is_rather_long_but_no_key";
        assert_eq!(without_keys(text, &BTreeSet::new()), text);
        let path = "/var/lib/sixfold/keys/of-a-farm/1abc-number";
        assert_eq!((path.len(), without_keys(path, &BTreeSet::new()).as_str()), (BASE64_LEN, path));
    }

    #[test]
    fn public_addresses_are_replaced_each_by_its_own_word() {
        let text = "2a02:1802:5e::1/128 via [2a02:1802:5e::1]:51820, 8.8.4.4:53 8.8.8.8, 8.8.4.4. at 2a02::2: 8.8.8.8:1024-65535";
        let wanted = "address-1/128 via [address-1]:51820, address-2:53 address-3, address-2. at address-4: address-3:1024-65535";
        assert_eq!(redacted(text), wanted);
        let kept = "fe80::1%eth0 10.1.2.3 ::1 02:6f:19:bb:00:01 11:16:17 6.1.0-48 sixfold_agent::run feed::2a 192.168.1.1:9 100.64.0.1";
        assert_eq!(redacted(kept), kept);
    }
}
