//! How a reader waits for what another thread or process appends: it spins, naps ever longer, and then sleeps on the page.
//!
//! Owns the order of the three. Without a page it goes on napping. Knows what is awaited by two questions alone.

use std::time::Duration;

use super::{Control, LONGEST_SLEEP, Link, Slept};
use crate::{error::Result, format::control::WriterState, threads::Naps};

/// What somebody waits for.
pub trait Awaited {
    /// Asked again and again while spinning: a load or two.
    fn is_here(&mut self) -> bool;
    /// Whether it is there; `is_thorough`: looked for in the files, too, where it may be news to this process.
    ///
    /// # Errors
    /// Of looking.
    fn is_there(&mut self, is_thorough: bool) -> Result<bool>;
    /// Joins the page of the log.
    fn join(&self) -> Option<Control>;
}

/// Waits, at most `timeout`, for what is awaited; false when time is up. Also true where a writer rang for something else.
///
/// # Errors
/// Of looking.
pub fn wait(link: &Link, awaited: &mut impl Awaited, timeout: Duration) -> Result<bool> {
    let mut naps = Naps::new(timeout);
    if awaited.is_there(false)? || naps.spin(|| awaited.is_here()) {
        return Ok(true);
    }
    while !awaited.is_there(false)? {
        let control = naps.is_longest().then(|| link.control(|| awaited.join())).flatten();
        let is_time_left = match control {
            Some(control) if sleep(link, &control, awaited, naps.left())? => return Ok(true),
            Some(_) => !naps.left().is_zero(),
            None => naps.take(),
        };
        if !is_time_left {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sleep(link: &Link, control: &Control, awaited: &mut impl Awaited, left: Duration) -> Result<bool> {
    let has_writer = control.hints().is_some_and(|hints| hints.state == WriterState::Open);
    let slept = control.bell().sleep(left.min(LONGEST_SLEEP), has_writer, || awaited.is_there(true))?;
    let is_there = slept == Slept::NotAtAll || awaited.is_there(true)?;
    // Who was not woken for what came may have slept on a page that no writer knows.
    if slept == Slept::Refused || is_there && slept == Slept::TimeUp {
        link.leave();
    }
    Ok(is_there || slept == Slept::Rung)
}
