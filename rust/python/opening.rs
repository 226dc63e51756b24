//! The options of a log as Python spells them.
//!
//! Owns their names, and that everything wrong with them is told at once. Limits of numbers are the engine's.

use std::{
    path::{PathBuf, absolute},
    sync::Arc,
};

use pyo3::prelude::*;

use super::{arguments::durability, encode::NonFinite, error::config_error};
use crate::{
    config::{Durability, Mode, Options},
    place::Place,
    vfs::{disk::Disk, memory::InMemory},
};

/// The directory at `path`, whatever becomes of the working directory; without one, this process' memory.
pub fn place_of(path: Option<PathBuf>) -> PyResult<Place> {
    match path {
        Some(path) => Ok(Place { vfs: Arc::new(Disk), path: absolute(path)? }),
        None => Ok(Place { vfs: Arc::new(InMemory::default()), path: PathBuf::from("(memory)") }),
    }
}

/// Options as Python spells them; all that is wrong with them is told at once.
pub fn options(
    py: Python<'_>,
    (mode, durability_given, non_finite): (&str, &str, &str),
    mut options: Options,
) -> PyResult<(Options, NonFinite)> {
    let mut problems = Vec::new();
    options.mode = match mode {
        "rw" => Mode::ReadWrite,
        "r" => Mode::Read,
        other => {
            problems.push(format!("mode is {other:?}, it takes \"rw\" or \"r\""));
            Mode::Read
        }
    };
    options.durability = durability(durability_given).unwrap_or_else(|problem| {
        problems.push(problem);
        Durability::Interval
    });
    let non_finite = match non_finite {
        "null" => NonFinite::Null,
        "error" => NonFinite::Refuse,
        other => {
            problems.push(format!("non_finite is {other:?}, it takes \"null\" or \"error\""));
            NonFinite::Null
        }
    };
    if let Err(crate::error::Error::Config { problems: found }) = options.check() {
        problems.extend(found);
    }
    if problems.is_empty() { Ok((options, non_finite)) } else { Err(config_error(py, problems)) }
}
