//! Explicit congestion notification through a tunnel, as RFC 6040 has it in normal mode: a datagram carries its packet's
//! mark, and what routers marked on the way comes out on the packet. It knows IP headers, and nothing of WireGuard.

use crate::offload::Sum;

/// The two bits of an IP header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ecn {
    /// Its transport does not take part.
    #[default]
    NotEct = 0,
    /// It takes part; the second spelling.
    Ect1 = 1,
    /// It takes part.
    Ect0 = 2,
    /// A router on the way was congested.
    Ce = 3,
}

/// A router said that it was congested, on a packet whose transport cannot be told: it is dropped, which tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Congested;

impl Ecn {
    /// What the lowest two bits of a TOS or traffic class say.
    pub const fn of_class(class: u8) -> Self {
        match class & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// What a packet says; nothing for what is no packet.
    pub fn of(packet: &[u8]) -> Self {
        match packet {
            [first, second, ..] if first >> 4 == 6 => Self::of_class(second >> 4),
            [first, second, ..] if first >> 4 == 4 => Self::of_class(*second),
            _ => Self::NotEct,
        }
    }

    /// What a packet that says this says after a datagram that said `outer` (RFC 6040, figure 4).
    const fn after(self, outer: Self) -> Result<Self, Congested> {
        match (self, outer) {
            (Self::NotEct, Self::Ce) => Err(Congested),
            (Self::NotEct, _) => Ok(Self::NotEct),
            (Self::Ect1 | Self::Ect0, Self::Ce) | (Self::Ce, _) => Ok(Self::Ce),
            (Self::Ect0, Self::Ect1) => Ok(Self::Ect1),
            (inner, _) => Ok(inner),
        }
    }
}

/// Has an opened packet say what its datagram said.
///
/// # Errors
/// [`Congested`] if the packet is to be dropped.
pub fn open(packet: &mut [u8], outer: Ecn) -> Result<(), Congested> {
    let before = Ecn::of(packet);
    let after = before.after(outer)?;
    if after == before {
        return Ok(());
    }
    let change = before as u8 ^ after as u8;
    if packet[0] >> 4 == 6 {
        packet[1] ^= change << 4;
    } else if let Some([first, class, .., high, low]) = packet.first_chunk_mut::<12>() {
        // The sum after one of its words has changed (RFC 1624, equation 3).
        let sum = Sum::default().add(&[!*high, !*low]).add(&[!*first, !*class]);
        *class ^= change;
        [*high, *low] = sum.add(&[*first, *class]).finish();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Ecn; 4] = [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce];

    fn v4(inner: Ecn) -> Vec<u8> {
        let mut packet =
            [&[0x45, 0xb8 | inner as u8, 0, 20, 0, 1, 0, 0, 64, 17, 0, 0][..], &[192, 0, 2, 1, 192, 0, 2, 2]]
                .concat();
        let sum = Sum::default().add(&packet).finish();
        packet[10..12].copy_from_slice(&sum);
        packet
    }

    fn v6(inner: Ecn) -> Vec<u8> {
        let mut packet = vec![0; 40];
        (packet[0], packet[1]) = (0x6b, 0x80 | (inner as u8) << 4 | 0xf);
        packet
    }

    #[test]
    fn every_pair_comes_out_as_the_table_of_the_rfc_has_it() {
        use Ecn::{Ce, Ect0, Ect1, NotEct};
        // A row for each packet, a column for each datagram, both in the table's order.
        let table = [
            [Some(NotEct), Some(NotEct), Some(NotEct), None],
            [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)],
            [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)],
            [Some(Ce), Some(Ce), Some(Ce), Some(Ce)],
        ];
        for (inner, row) in ALL.into_iter().zip(table) {
            for (outer, expected) in ALL.into_iter().zip(row) {
                for make in [v4, v6] {
                    let mut packet = make(inner);
                    assert_eq!(open(&mut packet, outer), expected.map_or(Err(Congested), |_| Ok(())));
                    assert_eq!(packet, make(expected.unwrap_or(inner)), "{inner:?} in {outer:?}");
                    assert_eq!(Ecn::of(&packet), expected.unwrap_or(inner));
                }
            }
        }
    }

    #[test]
    fn what_is_no_packet_is_left_as_it_is() {
        for packet in [vec![], vec![0x45], vec![0x45, 2], vec![0x50; 40]] {
            let mut marked = packet.clone();
            assert!(open(&mut marked, Ecn::Ect1).is_ok());
            assert!(packet.len() > 1 && packet[0] == 0x45 || marked == packet);
        }
    }
}
