//! The calls of `Log` that read, follow and wait, as Python spells them.
//!
//! Owns their signatures. What matches is the engine's; how events are handed out is [`super::iterator`]'s.

use std::sync::Arc;

use pyo3::prelude::*;

use super::{
    error::raised,
    iterator::{AtEnd, Lost, PyEventIterator},
    log::PyLog,
    query::{Count, DirectionChoice, Listener, Moment, TimeChoice, Types, WantedTags},
    wait::{Timeout, in_slices},
};
use crate::{
    error::{Error, Result},
    log::Log,
    scan::{Direction, Query, Scan, TimeOf},
};

impl PyLog {
    fn iterate(
        &self,
        py: Python<'_>,
        query: Query,
        at_end: AtEnd,
        listener: Listener,
    ) -> PyResult<PyEventIterator> {
        let engine = self.open_engine(py)?;
        let from = query.after.map_or(0, |after| after.saturating_add(1));
        let is_told = listener.0.is_some();
        let begun = py.detach(|| {
            if is_told {
                return begin_with_what_is_kept(engine, query, at_end, from);
            }
            begin(engine, query, at_end).map(|scan| (scan, None))
        });
        let (scan, lost) = raised(py, begun)?;
        let life = Arc::clone(&self.life);
        Ok(match listener.0 {
            None => PyEventIterator::new(scan, at_end, life),
            Some(tell) => PyEventIterator::telling(scan, at_end, life, tell, Lost { from, before: lost }),
        })
    }
}

fn begin(engine: &Log, query: Query, at_end: AtEnd) -> Result<Scan> {
    match at_end {
        AtEnd::Stop => engine.read(query),
        AtEnd::Wait(_) => engine.follow(query),
    }
}

/// For who would rather be told: where it begins instead, and the oldest event kept, if that is later.
fn begin_with_what_is_kept(
    engine: &Log,
    mut query: Query,
    at_end: AtEnd,
    from: u64,
) -> Result<(Scan, Option<u64>)> {
    let mut lost = None;
    loop {
        match begin(engine, query.clone(), at_end) {
            Err(Error::Truncated { first_seq }) if first_seq > from => {
                lost = Some(first_seq);
                query.after = first_seq.checked_sub(1);
                if query.up_to.take_if(|up_to| *up_to < first_seq).is_some() {
                    query.limit = Some(0);
                }
            }
            begun => return Ok((begun?, lost)),
        }
    }
}

#[pymethods]
impl PyLog {
    /// Events committed so far that match; see the stub for what the arguments take.
    #[pyo3(
        signature = (
            after = Count(None), up_to = Count(None), since = Moment(None), until = Moment(None), *,
            time = TimeChoice(TimeOf::Append), limit = Count(None), types = Types(None), aggregate_id = None,
            correlation_id = None, source = None, tags = WantedTags::default(),
            direction = DirectionChoice(Direction::Forward), durable = false, on_message = Listener(None)
        ),
        text_signature = "($self, after=None, up_to=None, since=None, until=None, *, time='append', limit=None, \
            types=None, aggregate_id=None, correlation_id=None, source=None, tags=None, direction='forward', \
            durable=False, on_message=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn read(
        &self,
        py: Python<'_>,
        after: Count,
        up_to: Count,
        since: Moment,
        until: Moment,
        time: TimeChoice,
        limit: Count,
        types: Types,
        aggregate_id: Option<String>,
        correlation_id: Option<String>,
        source: Option<String>,
        tags: WantedTags,
        direction: DirectionChoice,
        durable: bool,
        on_message: Listener,
    ) -> PyResult<PyEventIterator> {
        let query = Query {
            after: after.0,
            up_to: up_to.0,
            since: since.0,
            until: until.0,
            time: time.0,
            limit: limit.0,
            types: types.0,
            aggregate_id,
            correlation_id,
            source,
            tags: tags.0,
            direction: direction.0,
            durable,
        };
        self.iterate(py, query, AtEnd::Stop, on_message)
    }

    /// As `read`, but at the end waits for the next event: across segments, the writer's death and the next writer.
    #[pyo3(
        signature = (
            after = Count(None), *, types = Types(None), aggregate_id = None, correlation_id = None, source = None,
            tags = WantedTags::default(), timeout = Timeout(None), on_message = Listener(None)
        ),
        text_signature = "($self, after=None, *, types=None, aggregate_id=None, correlation_id=None, source=None, \
            tags=None, timeout=None, on_message=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn follow(
        &self,
        py: Python<'_>,
        after: Count,
        types: Types,
        aggregate_id: Option<String>,
        correlation_id: Option<String>,
        source: Option<String>,
        tags: WantedTags,
        timeout: Timeout,
        on_message: Listener,
    ) -> PyResult<PyEventIterator> {
        let query = Query {
            after: after.0,
            types: types.0,
            aggregate_id,
            correlation_id,
            source,
            tags: tags.0,
            ..Query::default()
        };
        self.iterate(py, query, AtEnd::Wait(timeout), on_message)
    }

    /// Block, GIL released, until an event beyond `after` is committed (True) or time is up (False).
    #[pyo3(signature = (after, timeout = Timeout(None)), text_signature = "($self, after, timeout=None)")]
    fn wait(&self, py: Python<'_>, after: Count, timeout: Timeout) -> PyResult<bool> {
        let engine = self.open_engine(py)?;
        in_slices(py, timeout, |slice| engine.wait_committed(after.0, slice))
    }

    /// Block, GIL released, until `durable_seq >= seq` (True) or time is up. Raises `LogPoisonedError`.
    #[pyo3(signature = (seq, timeout = Timeout(None)), text_signature = "($self, seq, timeout=None)")]
    fn wait_durable(&self, py: Python<'_>, seq: u64, timeout: Timeout) -> PyResult<bool> {
        let engine = self.open_engine(py)?;
        in_slices(py, timeout, |slice| engine.wait_durable(seq, Some(slice)))
    }
}
