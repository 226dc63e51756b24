//! The options of a log as Python spells them.
//!
//! Owns their names, and that everything wrong with them is told at once. Limits of numbers are the engine's.

use std::{
    path::{PathBuf, absolute},
    sync::Arc,
    time::Duration,
};

use pyo3::prelude::*;

use super::{arguments::durability, encode::NonFinite, error::config_error};
use crate::{
    config::{Compression, Durability, Mode, Options, Recover},
    place::Place,
    vfs::{disk::Disk, memory::InMemory},
};

/// The directory at `path`, whatever becomes of the working directory; without one, this process' memory.
pub fn place_of(py: Python<'_>, path: Option<PathBuf>) -> PyResult<Place> {
    match path {
        Some(path) if path.as_os_str().is_empty() => {
            Err(config_error(py, vec!["path is empty, it takes a directory".to_owned()]))
        }
        Some(path) => Ok(Place { vfs: Arc::new(Disk), path: absolute(path)? }),
        None => Ok(Place { vfs: Arc::new(InMemory::default()), path: PathBuf::from("(memory)") }),
    }
}

/// The numbers among the options; an int of any size, so that a wrong one is told with the rest.
pub struct Numbers {
    pub sync_interval_ms: i128,
    pub segment_bytes: i128,
    pub memory_bytes: i128,
}

/// Options as Python spells them; all that is wrong with them is told at once.
pub fn options(
    py: Python<'_>,
    (mode, recover, durability_given, non_finite, sealing): (&str, &str, &str, &str, &str),
    numbers: &Numbers,
    force_filesystem: bool,
) -> PyResult<(Options, NonFinite)> {
    let mut problems = Vec::new();
    let mut options = Options { force_filesystem, ..Options::default() };
    options.mode = match mode {
        "rw" => Mode::ReadWrite,
        "r" => Mode::Read,
        other => {
            problems.push(format!("mode is {other:?}, it takes \"rw\" or \"r\""));
            Mode::Read
        }
    };
    options.recover = match recover {
        "strict" => Recover::Strict,
        "accept_loss" => Recover::AcceptLoss,
        other => {
            problems.push(format!("recover is {other:?}, it takes \"strict\" or \"accept_loss\""));
            Recover::Strict
        }
    };
    options.durability = durability(durability_given).unwrap_or_else(|problem| {
        problems.push(problem);
        Durability::Interval
    });
    options.sealing = match sealing {
        "zstd" => Some(Compression::Zstd),
        "lz4" => Some(Compression::Lz4),
        "none" => Some(Compression::None),
        "off" => None,
        other => {
            problems.push(format!("sealing is {other:?}, it takes \"zstd\", \"lz4\", \"none\" or \"off\""));
            None
        }
    };
    let non_finite = match non_finite {
        "null" => NonFinite::Null,
        "error" => NonFinite::Refuse,
        other => {
            problems.push(format!("non_finite is {other:?}, it takes \"null\" or \"error\""));
            NonFinite::Null
        }
    };
    // A number that no option can hold is told here; its default then passes the engine's check.
    let mut number = |name: &str, given: i128| {
        let fits = u64::try_from(given).ok();
        if fits.is_none() {
            problems.push(format!("{name} is {given}, it takes a positive number of 64 bits"));
        }
        fits
    };
    options.sync_interval = number("sync_interval_ms", numbers.sync_interval_ms)
        .map_or(options.sync_interval, Duration::from_millis);
    options.segment_bytes = number("segment_bytes", numbers.segment_bytes).unwrap_or(options.segment_bytes);
    options.memory_bytes = number("memory_bytes", numbers.memory_bytes).unwrap_or(options.memory_bytes);
    if let Err(crate::error::Error::Config { problems: found }) = options.check() {
        problems.extend(found);
    }
    if problems.is_empty() { Ok((options, non_finite)) } else { Err(config_error(py, problems)) }
}
