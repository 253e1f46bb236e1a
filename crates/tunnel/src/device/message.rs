//! The outside of WireGuard's four messages (paper, section 5.4): type, length and indices. Nothing is decrypted.

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Initiation,
    Response,
    Cookie,
    Data,
}

const INITIATION_LEN: usize = 148;
const RESPONSE_LEN: usize = 92;
const COOKIE_LEN: usize = 64;
/// Header and authentication tag around nothing: a keepalive.
const DATA_MIN_LEN: usize = 32;

/// Tells the kind; `None` if type and length do not fit together or the reserved bytes are not zero.
pub(super) fn kind(message: &[u8]) -> Option<Kind> {
    match (word(message, 0)?, message.len()) {
        (1, INITIATION_LEN) => Some(Kind::Initiation),
        (2, RESPONSE_LEN) => Some(Kind::Response),
        (3, COOKIE_LEN) => Some(Kind::Cookie),
        (4, DATA_MIN_LEN..) => Some(Kind::Data),
        _ => None,
    }
}

/// The sender's index of an initiation or a response.
pub(super) fn sender_index(message: &[u8]) -> Option<u32> {
    match kind(message)? {
        Kind::Initiation | Kind::Response => word(message, 4),
        Kind::Cookie | Kind::Data => None,
    }
}

/// The receiver's index of every message but an initiation.
pub(super) fn receiver_index(message: &[u8]) -> Option<u32> {
    match kind(message)? {
        Kind::Initiation => None,
        Kind::Response => word(message, 8),
        Kind::Cookie | Kind::Data => word(message, 4),
    }
}

fn word(message: &[u8], offset: usize) -> Option<u32> {
    message.get(offset..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u32, length: usize) -> Vec<u8> {
        let mut message = vec![0; length];
        message[..4].copy_from_slice(&kind.to_le_bytes());
        message[4..8].copy_from_slice(&7u32.to_le_bytes());
        message[8..12].copy_from_slice(&9u32.to_le_bytes());
        message
    }

    #[test]
    fn type_and_length_must_agree() {
        let cases =
            [(1, 148, Kind::Initiation), (2, 92, Kind::Response), (3, 64, Kind::Cookie), (4, 32, Kind::Data)];
        for (number, length, expected) in cases {
            assert_eq!(kind(&message(number, length)), Some(expected));
            assert_eq!(kind(&message(number, length - 1)), None);
            assert_eq!(kind(&message(number | 0x100, length)), None, "reserved bytes");
        }
        assert_eq!((kind(&[]), kind(&message(5, 148))), (None, None));
    }

    #[test]
    fn indices_are_where_the_paper_puts_them() {
        assert_eq!((sender_index(&message(1, 148)), receiver_index(&message(1, 148))), (Some(7), None));
        assert_eq!((sender_index(&message(2, 92)), receiver_index(&message(2, 92))), (Some(7), Some(9)));
        assert_eq!((sender_index(&message(3, 64)), receiver_index(&message(3, 64))), (None, Some(7)));
        assert_eq!((sender_index(&message(4, 64)), receiver_index(&message(4, 64))), (None, Some(7)));
    }
}
