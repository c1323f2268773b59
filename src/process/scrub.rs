//! Hides what this process knows from the others in its sandbox.
//!
//! The agent's commands run as the same user, and an agent can be misled by what it reads. Without this, any of them could
//! read our keys in `/proc/<pid>/environ`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::process::ancestry::stat_field;

/// Blanks the values of these variables in this process's environment, and closes `/proc/<pid>` to other processes of the
/// same user. To be called when the variables have been read; a child gets a blanked variable empty.
///
/// Root can still look into the memory itself; that is for the sandbox to prevent.
pub(crate) fn scrub(variables: &[&str]) {
    // The log is not there yet, and a sandbox whose /proc is different is no reason to fail a run.
    let _ = blank(variables);
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// The kernel shows the bytes that the environment had at the start, wherever it lies now: they are overwritten in place,
/// through `/proc/self/mem`, which needs no unsafe code.
fn blank(variables: &[&str]) -> io::Result<()> {
    let environment = fs::read("/proc/self/environ")?;
    let start = environment_start(&fs::read_to_string("/proc/self/stat")?)
        .ok_or_else(|| io::Error::other("no address of the environment"))?;
    let memory = File::options().write(true).open("/proc/self/mem")?;
    for (offset, length) in values(&environment, variables) {
        memory.write_all_at(&vec![0; length], start + offset)?;
    }
    Ok(())
}

/// Field 50 of `/proc/self/stat` (proc(5)).
fn environment_start(stat: &str) -> Option<u64> {
    stat_field(stat, 50)?.parse().ok().filter(|address| *address != 0)
}

/// Offset and length of the values of these variables.
fn values(environment: &[u8], variables: &[&str]) -> Vec<(u64, usize)> {
    let mut found = Vec::new();
    let mut offset = 0;
    for entry in environment.split(|byte| *byte == 0) {
        if let Some(name) = entry.iter().position(|byte| *byte == b'=')
            && variables.iter().any(|variable| variable.as_bytes() == &entry[..name])
        {
            found.push((offset + name as u64 + 1, entry.len() - name - 1));
        }
        offset += entry.len() as u64 + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_the_whole_name() {
        let environment = b"A=1\0KEY=abc\0KEY2=x\0EMPTY=\0odd\0KEY=again\0";
        assert_eq!(values(environment, &["KEY", "EMPTY"]), [(8, 3), (25, 0), (34, 5)]);
    }
}
