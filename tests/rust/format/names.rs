//! Names of files: what the code made it knows again, and nothing else.

use _core::format::names;

#[test]
fn a_name_comes_back_and_no_other_is_taken_for_one() {
    for number in [0, 7, names::MAX_SEGMENT_NUMBER] {
        assert_eq!(names::segment_number(&names::segment(number)), Some(number));
        assert!(names::is_prepared(&names::prepared(number)));
        let prefix = names::snapshot_prefix("a");
        assert_eq!(names::snapshot_seq(&names::snapshot("a", number), &prefix), Some(number));
    }
    for digits in ["", "7", "000000000000007", "00000000000000007", "+000000000000007", "000000000000000x"] {
        assert_eq!(names::segment_number(&format!("{digits}.log")), None, "{digits}");
        assert!(!names::is_prepared(&format!("{digits}.tmp")), "{digits}");
        assert_eq!(names::snapshot_seq(&format!("p-{digits}.snap"), "p-"), None, "{digits}");
    }
    let number = "0000000000000007";
    for end in ["", ".lo", ".log2", ".tmp"] {
        assert_eq!(names::segment_number(&format!("{number}{end}")), None, "{end}");
    }
    assert!(!names::is_prepared(&names::segment(7)));
}
