//! The run in the formats of other tools, made from what the run folder holds already, without secrets.

mod junit;
mod trajectory;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::Path;

use serde_json::Value;

pub(crate) use self::junit::escaped_xml;

use crate::run_folder::{EVENTS, JUNIT, RESULT, TRAJECTORY};

/// What is made of a run folder at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Exports {
    /// `junit.xml`: the run as a test.
    pub(crate) junit: bool,
    /// `trajectory.json`: the agent's steps in ATIF.
    pub(crate) trajectory: bool,
}

/// Makes the files in a run folder that has its result.
///
/// # Errors
/// The operating system's; or the result cannot be read.
pub(crate) fn write(folder: &Path, exports: Exports) -> io::Result<()> {
    let result: Value = serde_json::from_slice(&std::fs::read(folder.join(RESULT))?)?;
    if exports.junit {
        std::fs::write(folder.join(JUNIT), junit::report(&result))?;
    }
    if exports.trajectory {
        let events = BufReader::new(File::open(folder.join(EVENTS))?);
        let mut to = BufWriter::new(File::create(folder.join(TRAJECTORY))?);
        trajectory::write(events, &result, &mut to)?;
        to.flush()?;
    }
    Ok(())
}
