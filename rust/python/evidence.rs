//! Heads, proofs and verification, between the engine and `aresbus.evidence`.
//!
//! Owns their way across: hashes as hexadecimal digits, ids as text. What they mean is the engine's.

use std::{path::PathBuf, sync::Arc};

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyBytes, PyDict},
};
use uuid::Uuid;

use super::{error::raised, log::PyLog, query::Moment, report};
use crate::{
    evidence::{Hash, Proof, TreeHead},
    place::Place,
    verify::{Wanted, verify_wanted},
    vfs::disk::Disk,
};

/// The fields of a head: log id, epoch, seq, tree size, root.
type HeadFields = (String, u32, Option<u64>, u64, String);
/// Those of a proof: record, texts, path, head.
type ProofFields<'py> = (Bound<'py, PyBytes>, Vec<String>, Vec<String>, HeadFields);

fn hex(hash: Hash) -> String {
    blake3::Hash::from(hash).to_hex().to_string()
}

fn hash_of(text: &str) -> PyResult<Hash> {
    let hash = blake3::Hash::from_hex(text);
    hash.map(Hash::from)
        .map_err(|_| PyValueError::new_err(format!("{text:?} is no hash: 64 hexadecimal digits")))
}

fn fields_of(head: &TreeHead) -> HeadFields {
    (report::uuid_text(head.log_id), head.epoch, head.seq, head.tree_size, hex(head.root))
}

/// A head as Python has it: whatever has its fields.
#[derive(FromPyObject)]
struct GivenHead {
    log_id: String,
    epoch: u32,
    seq: Option<u64>,
    tree_size: u64,
    root: String,
}

impl GivenHead {
    fn head(&self) -> PyResult<TreeHead> {
        let id = Uuid::parse_str(&self.log_id)
            .map_err(|_| PyValueError::new_err(format!("{:?} is no log's id", self.log_id)))?;
        let (epoch, seq, tree_size) = (self.epoch, self.seq, self.tree_size);
        Ok(TreeHead { log_id: id.into_bytes(), epoch, seq, tree_size, root: hash_of(&self.root)? })
    }
}

/// The argument `against`: a head, several, or None.
#[derive(Default)]
pub struct Heads(Vec<TreeHead>);

impl FromPyObject<'_, '_> for Heads {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self::default());
        }
        if let Ok(one) = value.extract::<GivenHead>() {
            return Ok(Self(vec![one.head()?]));
        }
        let heads = value.try_iter().and_then(|several| {
            several.map(|one| one?.extract::<GivenHead>()?.head()).collect::<PyResult<Vec<_>>>()
        });
        let heads = heads.map_err(|error| {
            if !error.is_instance_of::<PyTypeError>(value.py())
                && !error.is_instance_of::<pyo3::exceptions::PyAttributeError>(value.py())
            {
                return error;
            }
            PyTypeError::new_err("against: takes a TreeHead or several of them")
        })?;
        if heads.is_empty() {
            return Err(PyValueError::new_err("against: there is no head in it"));
        }
        Ok(Self(heads))
    }
}

/// Verifies with the GIL released; `progress(bytes)` is called now and then, and what it raises ends up with the caller.
fn verified<'py>(
    py: Python<'py>,
    place: &Place,
    against: Heads,
    since: Moment,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let wanted = Wanted { against: against.0, since: since.0 };
    let progress = progress.map(|progress| progress.clone().unbind());
    let mut failure = None;
    let mut tell = |bytes: u64| {
        if let (Some(progress), None) = (&progress, &failure) {
            failure = Python::attach(|py| progress.call1(py, (bytes,)).err());
        }
    };
    let found = py.detach(|| verify_wanted(place, &wanted, &mut tell));
    failure.map_or(Ok(()), Err)?;
    report::verification(py, &raised(py, found)?)
}

/// Verify a log without opening it: also one that `Log` refuses. `FileNotFoundError` if there is none.
#[pyfunction]
#[pyo3(
    signature = (path, *, against = Heads::default(), since = Moment(None), progress = None),
    text_signature = "(path, *, against=None, since=None, progress=None)"
)]
pub fn verify<'py>(
    py: Python<'py>,
    path: PathBuf,
    against: Heads,
    since: Moment,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    verified(py, &Place { vfs: Arc::new(Disk), path }, against, since, progress)
}

/// Whether a proof holds: `path` leads from the event at `seq` to `root`, the root of a tree of `tree_size` events.
#[pyfunction]
pub fn _proof_holds(
    record: &[u8],
    texts: Vec<String>,
    seq: u64,
    path: Vec<String>,
    head: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    let head = head.extract::<GivenHead>()?.head()?;
    let path = path.into_iter().map(|hash| hash_of(&hash)).collect::<PyResult<Vec<_>>>()?;
    Ok(Proof { seq, record: record.into(), texts, path, head }.holds())
}

#[pymethods]
impl PyLog {
    /// Check checksums, positions and aggregate chains of everything stored; all findings, not the first.
    #[pyo3(
        signature = (*, against = Heads::default(), since = Moment(None)),
        text_signature = "($self, *, against=None, since=None)"
    )]
    fn verify<'py>(&self, py: Python<'py>, against: Heads, since: Moment) -> PyResult<Bound<'py, PyDict>> {
        self.open_engine(py)?;
        verified(py, &self.place, against, since, None)
    }

    /// The fields of the head over everything durable now.
    fn _head(&self, py: Python<'_>) -> PyResult<HeadFields> {
        let engine = self.open_engine(py)?;
        self.hash_all(py)?;
        raised(py, py.detach(|| engine.tree_head())).map(|head| fields_of(&head))
    }

    /// The fields of the proof of the event at `seq`, in the tree of the first `size` events; None where there is none.
    fn _prove<'py>(
        &self,
        py: Python<'py>,
        seq: u64,
        size: Option<u64>,
    ) -> PyResult<Option<ProofFields<'py>>> {
        let engine = self.open_engine(py)?;
        self.hash_all(py)?;
        let proof = raised(py, py.detach(|| engine.prove(seq, size)))?;
        Ok(proof.map(|proof| {
            let path = proof.path.iter().map(|hash| hex(*hash)).collect();
            (PyBytes::new(py, &proof.record), proof.texts, path, fields_of(&proof.head))
        }))
    }
}

impl PyLog {
    /// Hashes what is missing, a part at a time, so that Ctrl-C works.
    fn hash_all(&self, py: Python<'_>) -> PyResult<()> {
        while !raised(py, py.detach(|| self.engine.hash_some()))? {
            py.check_signals()?;
        }
        Ok(())
    }
}
