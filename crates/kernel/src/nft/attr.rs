//! Netlink attributes as bytes: written into a growing buffer, read as slices.
//!
//! Owns: type, length, padding; netfilter's numbers, which are big-endian. Must not know what any attribute means.
//! Nothing sets `NLA_F_NESTED`: the kernel does not ask for it here and does not set it in its dumps, so what is sent
//! and what is dumped are the same bytes.

/// Bytes of an attribute's header.
const HEADER: usize = 4;

/// The type without the flags `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const TYPE_MASK: u16 = 0x3fff;

/// Appends an attribute with its padding.
pub(super) fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    nest(out, kind, |out| out.extend_from_slice(value));
}

/// Appends a big-endian number of 32 bits.
pub(super) fn put_u32(out: &mut Vec<u8>, kind: u16, value: u32) {
    put(out, kind, &value.to_be_bytes());
}

/// Appends a big-endian number of 64 bits.
pub(super) fn put_u64(out: &mut Vec<u8>, kind: u16, value: u64) {
    put(out, kind, &value.to_be_bytes());
}

/// Appends a text with its closing zero.
pub(super) fn put_str(out: &mut Vec<u8>, kind: u16, value: &str) {
    nest(out, kind, |out| {
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    });
}

/// Appends an attribute whose value `fill` appends.
pub(super) fn nest(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    fill(out);
    let len =
        u16::try_from(out.len() - start).expect("names, rules and chunks of elements are bounded far below");
    out[start..start + 2].copy_from_slice(&len.to_ne_bytes());
    out[start + 2..start + HEADER].copy_from_slice(&kind.to_ne_bytes());
    pad(out);
}

/// Fills up to a multiple of four bytes.
pub(super) fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// One attribute as it was read.
#[derive(Clone, Copy)]
pub(super) struct Attr<'a> {
    /// Its type, without flags.
    pub(super) kind: u16,
    /// Its value, without padding.
    pub(super) value: &'a [u8],
    /// Header and value, as they were read.
    pub(super) whole: &'a [u8],
}

/// Walks a list of attributes; ends at the first that does not fit.
pub(super) struct Attrs<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let len = usize::from(u16::from_ne_bytes(self.0.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..HEADER)?.try_into().ok()?) & TYPE_MASK;
        let whole = self.0.get(..len)?;
        let value = whole.get(HEADER..)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Attr { kind, value, whole })
    }
}

/// The value of the first attribute of that type.
pub(super) fn find(attrs: &[u8], kind: u16) -> Option<&[u8]> {
    Attrs(attrs).find(|attr| attr.kind == kind).map(|attr| attr.value)
}

/// A big-endian number of 32 bits.
pub(super) fn find_u32(attrs: &[u8], kind: u16) -> Option<u32> {
    find(attrs, kind)?.try_into().ok().map(u32::from_be_bytes)
}

/// A big-endian number of 64 bits.
pub(super) fn find_u64(attrs: &[u8], kind: u16) -> Option<u64> {
    find(attrs, kind)?.try_into().ok().map(u64::from_be_bytes)
}

/// A text, without its closing zero. Bytes that are not UTF-8 are replaced.
pub(super) fn find_str(attrs: &[u8], kind: u16) -> Option<String> {
    find(attrs, kind).map(text)
}

/// A text up to its closing zero.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        put_str(&mut out, 1, "abc");
        put_u32(&mut out, 2, 7);
        nest(&mut out, 3, |out| put(out, 9, &[1, 2, 3]));
        assert_eq!(find_str(&out, 1).as_deref(), Some("abc"));
        assert_eq!(find_u32(&out, 2), Some(7));
        assert_eq!(find(find(&out, 3).unwrap(), 9), Some(&[1u8, 2, 3][..]));
        assert_eq!(find(&out, 4), None);
        assert_eq!(out.len(), 8 + 8 + 12);
    }

    #[test]
    fn a_truncated_list_ends_where_it_is_cut() {
        let mut out = Vec::new();
        put_u32(&mut out, 1, 7);
        put_u32(&mut out, 2, 7);
        for cut in 0..out.len() {
            assert_eq!(Attrs(&out[..cut]).count(), cut / 8);
        }
        assert_eq!(Attrs(&[2, 0, 1, 0]).count(), 0, "a length shorter than the header");
    }
}
