//! Checks the unpacking of an archive from a sandbox: see [`crate::hostile`].

use super::folder::unpack;

/// Checks that any archive is unpacked only into its own folder.
pub fn archive(data: &[u8]) {
    let above = tempfile_dir();
    std::fs::write(above.join("canary"), "untouched").expect("a file");
    let _ = unpack(data, &above.join("folder"));
    let mut left: Vec<_> = std::fs::read_dir(&above).expect("the folder above").flatten().collect();
    left.retain(|entry| entry.file_name() != "folder");
    assert_eq!(left.len(), 1, "unpacked outside of its folder: {left:?}");
    assert_eq!(std::fs::read(above.join("canary")).expect("the file above"), b"untouched");
    if std::fs::remove_dir_all(&above).is_err() {
        // Folders may lack the permissions that are needed to remove them.
        let _ = std::process::Command::new("chmod").args(["-R", "u+rwx"]).arg(&above).output();
        std::fs::remove_dir_all(&above).expect("the folder can be removed");
    }
}

fn tempfile_dir() -> std::path::PathBuf {
    let path = std::path::Path::new("/dev/shm").join(format!("openhands-client-hostile-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&path).expect("a folder in memory");
    path
}
