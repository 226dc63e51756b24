//! The dictionary of a segment as its readers share it.

use _core::format::Names;

#[test]
fn nobody_sees_a_text_beyond_their_own_count() {
    let mut first: Names = ["a", "b"].into_iter().collect();
    let before = first.clone();
    assert!(first.push("c"));
    assert_eq!((first.count(), first.get(2), first.get(3)), (3, Some("c"), None));
    assert_eq!((before.count(), before.get(1), before.get(2)), (2, Some("b"), None));
    assert_eq!(before.iter().collect::<Vec<_>>(), ["a", "b"]);
}

/// Two readers of a segment that changed between them: each keeps what it saw, and they share what they agree on.
#[test]
fn each_keeps_the_text_that_it_learnt() {
    let mut one: Names = (0..40).map(|number| number.to_string()).collect();
    let (mut same, mut other) = (one.clone(), one.clone());
    assert!(one.push("x") && same.push("x") && other.push("y"));
    assert!(one.push("z") && same.push("z") && other.push("z"));
    for (names, learnt) in [(&one, "x"), (&same, "x"), (&other, "y")] {
        assert_eq!((names.count(), names.get(40), names.get(41)), (42, Some(learnt), Some("z")));
        assert!((0..40).all(|number| names.get(number) == Some(number.to_string().as_str())));
    }
    let shared = |names: &Names| names.get(40).unwrap().as_ptr();
    assert_eq!(shared(&one), shared(&same));
    assert_ne!(shared(&one), shared(&other));
}
