//! What happened in a run, read from the lines of its events: as a page and as plain text.
//!
//! ```text
//! lines (run folder, or the output of `--format jsonl`) ─► Story ─┬► page: one HTML file
//!                                                                 └► plain: text for a terminal
//! ```

mod extract;
mod page;
mod plain;
mod reader;
mod source;
mod story;
mod timeline;
mod unseen;

use std::io;
use std::path::Path;

use crate::files::replace;
use crate::run_folder::REPORT;

pub(crate) use page::{page, page_environment, seconds_for_people};
pub(crate) use plain::plain;
pub(crate) use reader::StoryReader;
pub(crate) use source::{SourceError, read};
pub(crate) use story::Story;

/// Writes the page of a run folder into it.
///
/// # Errors
/// The folder cannot be read or written.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let story = read(folder).map_err(io::Error::other)?;
    replace(&folder.join(REPORT), page(&story).map_err(io::Error::other)?.as_bytes())
}
