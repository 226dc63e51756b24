//! The tree over a log's events: its shape and its proofs, what a log says of itself, and what a hostile edit cannot hide.

#[path = "evidence/against.rs"]
mod against;
#[path = "evidence/expired.rs"]
mod expired;
#[path = "evidence/heads.rs"]
mod heads;
mod support;
#[path = "evidence/tree.rs"]
mod tree;
