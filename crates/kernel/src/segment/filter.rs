//! What reaches the sockets at all: programs that the kernel runs on each frame, so that nothing else wakes the node.
//!
//! A frame with a VLAN's tag that no link here is for bears none any more when it comes to a packet socket, as if it were
//! untagged; the kernel marks it as somebody else's, and that is what is looked at.

use nix::libc;
use socket2::SockFilter;

use super::frame::{ETHERNET, HOPS, ICMPV6};
use super::word::MARK;

/// Bytes of the longest frame that is taken: an advertisement has 86, and a word under 1,100.
const ANSWER_MAX: u32 = 256;
const WORD_MAX: u32 = 1280;
/// Where the kernel shows what it knows of a frame beside its bytes.
const KNOWN: u32 = libc::SKF_AD_OFF.cast_unsigned();
const WHOSE: u32 = KNOWN + libc::SKF_AD_PKTTYPE.cast_unsigned();
const SOMEBODY_ELSES: u32 = libc::PACKET_OTHERHOST as u32;

/// A frame goes on if what is loaded equals the number, or is at most so much, or else.
enum Test {
    Is(u32),
    IsNot(u32),
    AtMost(u32),
}

/// Neighbour advertisements that have come directly.
pub(super) fn answers() -> Vec<SockFilter> {
    let at = |offset: usize| u32::try_from(ETHERNET + offset).expect("offsets are short");
    let octet = libc::BPF_B | libc::BPF_ABS;
    program(&[
        (octet, WHOSE, Test::IsNot(SOMEBODY_ELSES)),
        (libc::BPF_W | libc::BPF_LEN, 0, Test::AtMost(ANSWER_MAX)),
        (octet, at(6), Test::Is(ICMPV6.into())),
        (octet, at(7), Test::Is(HOPS.into())),
        (octet, at(40), Test::Is(136)),
        (octet, at(41), Test::Is(0)),
    ])
}

/// What bears our mark.
pub(super) fn words() -> Vec<SockFilter> {
    program(&[
        (libc::BPF_B | libc::BPF_ABS, WHOSE, Test::IsNot(SOMEBODY_ELSES)),
        (libc::BPF_W | libc::BPF_LEN, 0, Test::AtMost(WORD_MAX)),
        (libc::BPF_W | libc::BPF_ABS, 14, Test::Is(u32::from_be_bytes(MARK))),
    ])
}

/// Loads and tests in turn; a frame that fails one is dropped. So is one that is too short for a load.
fn program(tests: &[(u32, u32, Test)]) -> Vec<SockFilter> {
    let code = |code: u32| u16::try_from(code).expect("codes of classic BPF are short");
    let mut program = Vec::new();
    for (place, (load, from, test)) in tests.iter().enumerate() {
        // Over the other tests, and over the word that takes the frame.
        let out = u8::try_from(2 * (tests.len() - place) - 1).expect("programs are short");
        let (compare, number, (then, or)) = match test {
            Test::Is(number) => (libc::BPF_JEQ, number, (0, out)),
            Test::IsNot(number) => (libc::BPF_JEQ, number, (out, 0)),
            Test::AtMost(number) => (libc::BPF_JGT, number, (out, 0)),
        };
        program.push(SockFilter::new(code(libc::BPF_LD | load), 0, 0, *from));
        program.push(SockFilter::new(code(libc::BPF_JMP | compare | libc::BPF_K), then, or, *number));
    }
    program
        .extend([u32::MAX, 0].map(|taken| SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, taken)));
    program
}
