//! Atomic writes: a file is written as a whole or not at all.

use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_setfl};

/// Replaces the content of a file, or creates it. As with `cp`, a link stays and its target is written, even if the target does
/// not exist yet. The mode of an existing file is kept.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = &behind_links(path)?;
    let older = path.symlink_metadata().ok();
    if older.as_ref().is_some_and(|there| !there.is_file()) {
        // A device or a pipe is kept and written to. If it has no reader, it must not block the other receivers of the result.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let mut file = std::fs::File::options().write(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        fcntl_setfl(&file, OFlags::empty())?;
        return file.write_all(content);
    }
    // The name is random and the file must not exist yet, so another user of the folder cannot have put a link there.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
    let temporary = path.with_file_name(name);
    let written = std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            older.map_or(Ok(()), |older| file.set_permissions(older.permissions()))
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // Removes the incomplete file. The first error is reported.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Appends lines to a file, or creates it. They start on a new line, even if the file does not end with a line break.
pub(crate) fn append(path: &Path, lines: &str) -> io::Result<()> {
    appended(path, lines).map(drop)
}

/// Does the same, and returns after the data is on the disk.
pub(crate) fn append_synced(path: &Path, lines: &str) -> io::Result<()> {
    appended(path, lines)?.sync_data()
}

fn appended(path: &Path, lines: &str) -> io::Result<std::fs::File> {
    let mut file = std::fs::File::options().read(true).append(true).create(true).open(path)?;
    let mut last = *b"\n";
    let about = file.metadata()?;
    if about.is_file() && about.len() > 0 {
        file.read_exact_at(&mut last, about.len() - 1)?;
    }
    // Written in one call, so that no other process writes in between.
    let lines = if last == *b"\n" { lines.to_owned() } else { format!("\n{lines}") };
    file.write_all(lines.as_bytes())?;
    Ok(file)
}

/// Follows the links at the end of a path, and returns its target. A link that belongs to another user is an error: it may point
/// to a file that only this user may write.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    /// A longer chain counts as a loop.
    const MOST_LINKS: usize = 40;
    let own = rustix::process::geteuid().as_raw();
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match path.symlink_metadata() {
            Ok(there) if there.is_symlink() && there.uid() != own => {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the path is a link of another user"));
            }
            Ok(there) if there.is_symlink() => {
                let target = std::fs::read_link(&path)?;
                // An absolute target replaces the whole path.
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            _ => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("result.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(replace(&directory.path().join("no/result.json"), b"x").is_err());
    }

    #[test]
    fn added_lines_begin_on_a_line_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("output");
        append(&path, "a=1\n").unwrap();
        append(&path, "b=2").unwrap();
        append(&path, "c=3\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a=1\nb=2\nc=3\n");
        append(Path::new("/dev/null"), "d=4\n").unwrap();
    }

    #[test]
    fn the_mode_of_a_file_and_a_link_to_nothing_are_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("result.json"), directory.path().join("link"));
        std::os::unix::fs::symlink("result.json", &link).unwrap();
        replace(&link, b"one").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        std::os::unix::fs::symlink("loop", directory.path().join("loop")).unwrap();
        assert!(replace(&directory.path().join("loop"), b"x").is_err());
    }

    #[test]
    fn a_link_of_another_user_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("precious"), directory.path().join("link"));
        std::fs::write(&path, b"precious").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        // Only root can make another user the owner of a link.
        if std::os::unix::fs::lchown(&link, Some(65534), None).is_err() {
            return;
        }
        assert!(replace(&link, b"x").unwrap_err().to_string().contains("a link of another user"));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn what_is_no_file_of_its_own_is_written_to_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("result.json"), directory.path().join("link"));
        std::fs::write(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"new");

        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reading = {
            let pipe = pipe.clone();
            std::thread::spawn(move || std::fs::read(pipe).unwrap())
        };
        while replace(&pipe, b"result").is_err() {
            assert!(!reading.is_finished());
        }
        assert_eq!(reading.join().unwrap(), b"result");
        assert_eq!(replace(&pipe, b"result").unwrap_err().raw_os_error(), Some(rustix::io::Errno::NXIO.raw_os_error()));
        assert!(replace(directory.path(), b"x").is_err());
    }
}
