//! Hides what this process knows from the others in its sandbox.
//!
//! The agent's commands run as the same user, and an agent can be misled by what it reads. Without this, any of them could
//! read our keys in `/proc/<pid>/environ` or in our memory.

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt as _;

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

use crate::process::ancestry::stat_field;

/// Closes `/proc/<pid>` and the memory of this process to other processes of the same user. The first thing that a process
/// does: what it reads afterwards, no one else of this user can read.
pub(crate) fn hide() {
    // A kernel that refuses this is no reason to fail a run.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Whether a tracer was attached before this process could hide: it can still read everything. `false` where `/proc` does not
/// say.
#[must_use]
pub(crate) fn is_traced() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|pid| pid.trim() != "0")
}

/// Blanks the values of these variables in this process's environment. To be called when the variables have been read; a child
/// gets a blanked variable empty.
///
/// Root can still look into the memory itself; that is for the sandbox to prevent.
pub(crate) fn scrub(variables: &[&str]) {
    // The log is not there yet, and a sandbox whose /proc is different is no reason to fail a run.
    let _ = blank(variables);
    hide();
}

/// The kernel shows the bytes that the environment had at the start, wherever it lies now: they are overwritten in place.
fn blank(variables: &[&str]) -> io::Result<()> {
    let (start, end) = environment_range(&fs::read_to_string("/proc/self/stat")?)
        .ok_or_else(|| io::Error::other("no address of the environment"))?;
    let memory = OwnMemory::open();
    let mut environment = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
    memory.read(start, &mut environment)?;
    for (offset, length) in values(&environment, variables) {
        memory.write(start + offset, &vec![0; length])?;
    }
    Ok(())
}

/// This process's own memory, which needs no unsafe code: by a system call, which a hidden process may use without being root,
/// else by `/proc/self/mem`, where the call is forbidden (seccomp).
struct OwnMemory(Option<File>);

impl OwnMemory {
    fn open() -> Self {
        Self(File::options().read(true).write(true).open("/proc/self/mem").ok())
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        match &self.0 {
            Some(memory) => memory.read_exact_at(bytes, address),
            None => {
                let place = place(address, bytes.len())?;
                is_whole(process_vm_readv(Pid::this(), &mut [IoSliceMut::new(bytes)], &[place])?, place.len)
            }
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        match &self.0 {
            Some(memory) => memory.write_all_at(bytes, address),
            None => {
                let place = place(address, bytes.len())?;
                is_whole(process_vm_writev(Pid::this(), &[IoSlice::new(bytes)], &[place])?, place.len)
            }
        }
    }
}

fn place(address: u64, len: usize) -> io::Result<RemoteIoVec> {
    Ok(RemoteIoVec { base: usize::try_from(address).map_err(io::Error::other)?, len })
}

fn is_whole(count: usize, of: usize) -> io::Result<()> {
    if count == of { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Fields 50 and 51 of `/proc/self/stat` (proc(5)).
fn environment_range(stat: &str) -> Option<(u64, u64)> {
    let address = |field| stat_field(stat, field)?.parse().ok().filter(|address| *address != 0);
    let range: (u64, u64) = (address(50)?, address(51)?);
    (range.0 <= range.1).then_some(range)
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

    #[test]
    fn own_memory_is_read_and_written_both_ways() {
        for memory in [OwnMemory::open(), OwnMemory(None)] {
            let text = b"secret".to_vec();
            let address = text.as_ptr().expose_provenance() as u64;
            let mut read = [0; 6];
            memory.read(address, &mut read).unwrap();
            assert_eq!(&read, b"secret");
            memory.write(address, b"******").unwrap();
            memory.read(address, &mut read).unwrap();
            assert_eq!(&read, b"******");
            drop(text);
        }
    }
}
