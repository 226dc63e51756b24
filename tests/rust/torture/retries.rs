//! What was appended under an id of its caller's is appended again, as after an answer that got lost.

use _core::{config::Patience, error::Error};

use super::{model::Offer, world::World};

impl World {
    /// The same event again, or another under its id; either way nothing is written. What expired is known no more.
    pub fn retry(&mut self) {
        let kept = usize::try_from(self.log().first_seq()).unwrap()..self.model.history.len();
        let known: Vec<usize> = kept.filter(|at| self.model.history[*at].event_id.is_some()).collect();
        let Some(seq) = self.dice.choice(&known).copied() else { return };
        let mut offer = self.model.history[seq].clone();
        let is_same = self.dice.u8(..3) > 0;
        if !is_same {
            offer.payload.push(b' ');
        }
        self.note(format_args!("again {seq} same={is_same}"));
        let log = self.log.as_ref().unwrap();
        let again = |patience| Offer::lend(&[offer.clone()], |events| log.append(&events[0], patience));
        let outcome = match again(Patience::Try) {
            Err(Error::WouldBlock) => again(Patience::Wait),
            outcome => outcome,
        };
        if self.disk.is_off() {
            return;
        }
        match outcome {
            Ok(receipt) => {
                assert!(is_same && receipt.is_duplicate, "a retry was appended");
                assert_eq!(receipt.seq, seq as u64);
                assert!(!self.is_poisoned, "answered after a failed sync");
            }
            Err(Error::Duplicate { seq: cited, .. }) => {
                assert!(!is_same, "a retry was taken for another event");
                assert_eq!(cited, Some(seq as u64));
            }
            Err(error) => self.refused(&error, false, 0),
        }
    }
}
