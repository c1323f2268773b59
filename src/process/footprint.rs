//! Keeps the resident memory of a process small.

use std::fs;

use rustix::mm::{Advice, madvise};

/// Gives back the pages of our own code and constants. The start has touched a good part of them, and what follows needs others: what is
/// needed again is mapped again.
pub(crate) fn give_back_code() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, end) in maps.lines().filter_map(code) {
        // SAFETY: a private mapping of a file that is not writable, and is executable or the one with the file's header, holds
        // what the file holds, and nothing else: relocations stand in others. After this it is read from there.
        #[expect(unsafe_code, reason = "no safe wrapper gives advice on a mapping that is not its own")]
        let _ = unsafe { madvise(std::ptr::with_exposed_provenance_mut(start), end - start, Advice::LinuxDontNeed) };
    }
}

/// The addresses of a line of `/proc/self/maps` (proc(5)), if it is of code that comes from a file, or of the constants before it.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (rights, offset) = (fields.next()?, fields.next()?);
    let is_first = offset.bytes().all(|digit| digit == b'0');
    let is_code = (rights == "r-xp" || (rights == "r--p" && is_first)) && fields.nth(2)?.starts_with('/');
    let address = |text| usize::from_str_radix(text, 16).ok();
    is_code.then_some((address(start)?, address(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_from_a_file_is_given_back() {
        for (line, range) in [
            ("1000-3000 r-xp 00024000 fe:00 55 /bin/program with spaces", Some((0x1000, 0x3000))),
            ("1000-3000 r--p 00000000 fe:00 55 /bin/program", Some((0x1000, 0x3000))),
            // Where relocations were written.
            ("1000-3000 r--p 00024000 fe:00 55 /bin/program", None),
            ("1000-3000 rwxp 00024000 fe:00 55 /bin/program", None),
            ("1000-3000 r-xp 00000000 00:00 0 [vdso]", None),
            ("1000-3000 r-xp 00000000 00:00 0", None),
            ("", None),
        ] {
            assert_eq!(code(line), range, "{line}");
        }
    }

    #[test]
    fn a_process_goes_on_after_it() {
        give_back_code();
        assert!(!fs::read_to_string("/proc/self/maps").unwrap().is_empty());
    }
}
