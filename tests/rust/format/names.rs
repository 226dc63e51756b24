//! Names of files: what the code made it knows again, and nothing else.

use _core::format::names::{self, SnapshotName};

#[test]
fn a_name_comes_back_and_no_other_is_taken_for_one() {
    for number in [0, 7, names::MAX_SEGMENT_NUMBER] {
        assert_eq!(names::segment_number(&names::segment(number)), Some(number));
        assert!(names::is_prepared(&names::prepared(number)));
        let snapshot = SnapshotName::new("a", number);
        assert_eq!(SnapshotName::parse(&names::snapshot("a", number)), Some(snapshot));
        assert_eq!(snapshot.seq, number);
    }
    for digits in ["", "7", "000000000000007", "00000000000000007", "+000000000000007", "000000000000000x"] {
        assert_eq!(names::segment_number(&format!("{digits}.log")), None, "{digits}");
        assert!(!names::is_prepared(&format!("{digits}.tmp")), "{digits}");
        assert_eq!(SnapshotName::parse(&format!("{:032x}-{digits}.snap", 7)), None, "{digits}");
    }
    let number = "0000000000000007";
    for end in ["", ".lo", ".log2", ".tmp"] {
        assert_eq!(names::segment_number(&format!("{number}{end}")), None, "{end}");
    }
    assert!(!names::is_prepared(&names::segment(7)));
    for hash in ["", "7", &"F".repeat(32), &format!("+{}", "f".repeat(31)), &"f".repeat(33), "../../etc"] {
        assert_eq!(SnapshotName::parse(&format!("{hash}-{number}.snap")), None, "{hash}");
    }
}
