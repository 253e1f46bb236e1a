//! The Internet checksum (RFC 1071), and the pseudo header of TCP and UDP.

/// A sum under way. It is kept in the machine's byte order, in which it is quickest, and is the same in each.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// With these bytes; of what is added, only the last may be of odd length.
    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let mut words = bytes.chunks_exact(4);
        for word in &mut words {
            sum += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
        for pair in words.remainder().chunks(2) {
            sum += u64::from(u16::from_ne_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
        Self(sum)
    }

    /// With the pseudo header of a packet: its addresses, its transport's number and length.
    pub(crate) fn pseudo(self, addresses: &[u8], protocol: u8, length: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.add(addresses).add(&length.to_be_bytes()).add(&[0, protocol])
    }

    /// Goes on from one that stands in a header.
    pub(crate) const fn of(checksum: [u8; 2]) -> Self {
        Self(!u16::from_ne_bytes(checksum) as u64)
    }

    /// With all that another is of, which began at an even place.
    pub(crate) const fn with(self, more: Self) -> Self {
        Self(self.0 + more.0)
    }

    /// The same backwards (RFC 1624).
    pub(crate) fn without(self, less: Self) -> Self {
        Self(self.0 + u64::from(!u16::from_ne_bytes(less.partial())))
    }

    /// As it stands in a header whose checksum is left to somebody else.
    pub(crate) fn partial(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u16).to_ne_bytes()
    }

    /// As it stands in a header.
    pub(crate) fn finish(self) -> [u8; 2] {
        let [high, low] = self.partial();
        [!high, !low]
    }

    /// As it stands in a UDP header, where zero says that there is none.
    pub(crate) fn finish_udp(self) -> [u8; 2] {
        let sum = self.finish();
        if sum == [0, 0] { [0xff, 0xff] } else { sum }
    }
}
