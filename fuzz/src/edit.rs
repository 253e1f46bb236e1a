//! A fuzzer's bytes as changes to something good.

/// Lines that a farm or network file may have once more.
const SNIPPETS: [&str; 12] = [
    "[[node]]\nname = \"dog\"\nreach = \"public\"\naddress = \"2001:db8:a::d1/64\"",
    "[[node]]\nname = \"elk\"\nreach = \"hidden\"\nfamilies = [\"ipv4\", \"ipv6\"]",
    "[[slot]]\nslot = 3\nholders = [\"ant\"]",
    "[[slot]]\nslot = 15\nholders = [\"bee\", \"ant\"]\npublic_v4 = \"203.0.113.99/24\"\ndefault_v4 = \"203.0.113.1\"",
    "[[workload]]\nname = \"new\"\nnode = \"bee\"",
    "[[workload]]\nname = \"far\"\nnode = \"cat\"\nnumber = 254",
    "[[expose]]\nworkload = \"new\"\nprotocol = \"udp\"\nport = 1",
    "prefix = \"2001:db8:a::/48\"",
    "host_firewall = true",
    "management = [\"192.0.2.0/24\", \"2001:db8:a:1000::/52\"]",
    "mtu = 1360",
    "address_v4 = \"203.0.113.77/24\"",
];

/// Bytes read from the front; zeros when there are none left, so that every input is some change.
struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// One of some good inputs with pieces of it cut out and others put in; for one number in sixteen the bytes themselves.
#[must_use]
pub fn bytes_of(good: &[Vec<u8>], change: &[u8]) -> Vec<u8> {
    let mut tape = Tape(change);
    let which = usize::from(tape.byte());
    if which % 16 == 15 || good.is_empty() {
        return tape.0.to_vec();
    }
    let mut bytes = good[which % good.len()].clone();
    while !tape.0.is_empty() {
        let at = tape.number() % (bytes.len() + 1);
        let (cut, put) = (usize::from(tape.byte()), usize::from(tape.byte() % 32));
        let end = (at + cut % 64).min(bytes.len());
        bytes.splice(at..end, tape.take(put).iter().copied());
    }
    bytes
}

/// One of some good texts with lines left out, doubled, moved, put in, and other numbers and letters in them.
#[must_use]
pub fn text_of(good: &[String], change: &[u8]) -> String {
    let mut tape = Tape(change);
    let which = usize::from(tape.byte());
    if which % 16 == 15 || good.is_empty() {
        return String::from_utf8_lossy(tape.0).into_owned();
    }
    let mut lines: Vec<String> = good[which % good.len()].lines().map(str::to_owned).collect();
    while !tape.0.is_empty() && lines.len() < 400 {
        let (kind, at) = (tape.byte(), tape.number() % lines.len().max(1));
        match kind % 8 {
            0 if !lines.is_empty() => drop(lines.remove(at)),
            1 if !lines.is_empty() => lines.insert(at, lines[at].clone()),
            2 if !lines.is_empty() => {
                let other = tape.number() % lines.len();
                lines.swap(at, other);
            }
            3 | 4 => {
                let snippet = SNIPPETS[usize::from(tape.byte()) % SNIPPETS.len()];
                lines.splice(at..at, snippet.lines().map(str::to_owned));
            }
            5 | 6 if !lines.is_empty() => lines[at] = with_number(&lines[at], &mut tape),
            _ if !lines.is_empty() => lines[at] = with_letters(&lines[at], &mut tape),
            _ => {}
        }
    }
    lines.join("\n") + "\n"
}

/// The line with one of its numbers replaced.
fn with_number(line: &str, tape: &mut Tape<'_>) -> String {
    let starts: Vec<usize> = line
        .char_indices()
        .filter(|(at, c)| c.is_ascii_digit() && !line[..*at].ends_with(|c: char| c.is_ascii_digit()))
        .map(|(at, _)| at)
        .collect();
    let Some(start) = starts.get(usize::from(tape.byte()) % starts.len().max(1)) else {
        return line.to_owned();
    };
    let length = line[*start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len() - start);
    format!("{}{}{}", &line[..*start], tape.number(), &line[start + length..])
}

/// The line with some of its letters replaced.
fn with_letters(line: &str, tape: &mut Tape<'_>) -> String {
    let mut bytes = line.as_bytes().to_vec();
    let at = usize::from(tape.byte()) % (bytes.len() + 1);
    let end = (at + usize::from(tape.byte() % 16)).min(bytes.len());
    let put = usize::from(tape.byte() % 16);
    bytes.splice(at..end, tape.take(put).iter().copied());
    String::from_utf8_lossy(&bytes).into_owned()
}
