use std::os::unix::fs::PermissionsExt;

use super::*;

struct Kept {
    directory: tempfile::TempDir,
}

impl Kept {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("ledger.sqlite.tried-pins")
    }

    fn begin(&self, mark: &PinMark, wrong: WrongPins) -> Leave {
        begin(&self.file(), mark, wrong).unwrap()
    }

    fn end(&self, mark: &PinMark, how: End) {
        end(&self.file(), mark, how).unwrap();
    }
}

fn mark(serial: &str, pin: u32) -> PinMark {
    let digest = Some(format!("{pin:064x}"));
    PinMark { serial: serial.to_owned(), salt: format!("{pin:x}"), check: 7, digest }
}

const NEW: Leave = Leave::Granted { taken_before: false };
const KNOWN: Leave = Leave::Granted { taken_before: true };
const ALL: [WrongPins; 3] = [WrongPins::Some, WrongPins::None, WrongPins::Untold];

#[test]
fn a_try_without_an_end_is_judged_by_what_is_known() {
    for (taken_before, wrong, leave) in [
        (false, WrongPins::Some, Leave::RefusedBefore),
        (false, WrongPins::None, NEW),
        (false, WrongPins::Untold, Leave::Unsettled),
        (true, WrongPins::Some, Leave::RefusedBefore),
        (true, WrongPins::None, KNOWN),
        (true, WrongPins::Untold, KNOWN),
    ] {
        let kept = Kept::new();
        if taken_before {
            assert_eq!(kept.begin(&mark("one", 1), WrongPins::Untold), NEW);
            kept.end(&mark("one", 1), End::Taken);
        }
        // The first time, whoever gave a wrong PIN, it was another.
        let first = if taken_before { KNOWN } else { NEW };
        assert_eq!(kept.begin(&mark("one", 1), WrongPins::Some), first);
        for _ in 0..3 {
            assert_eq!(kept.begin(&mark("one", 1), wrong), leave, "{taken_before} {wrong:?}");
        }
    }
}

#[test]
fn a_refused_pin_is_granted_no_other_try_until_its_token_takes_one() {
    let kept = Kept::new();
    for wrong in [mark("one", 1), mark("two", 1)] {
        kept.begin(&wrong, WrongPins::Untold);
        kept.end(&wrong, End::Refused);
    }
    assert_eq!(fs::metadata(kept.file()).unwrap().permissions().mode() & 0o777, 0o600);
    for wrong in ALL {
        assert_eq!(kept.begin(&mark("one", 1), wrong), Leave::RefusedBefore);
    }
    kept.begin(&mark("one", 2), WrongPins::Untold);
    kept.end(&mark("one", 2), End::Taken);
    assert_eq!(kept.begin(&mark("one", 1), WrongPins::Untold), NEW);
    assert_eq!(kept.begin(&mark("two", 1), WrongPins::Untold), Leave::RefusedBefore);
}

#[test]
fn a_pin_that_was_taken_and_is_refused_stays_refused() {
    let kept = Kept::new();
    kept.begin(&mark("one", 1), WrongPins::Untold);
    kept.end(&mark("one", 1), End::Taken);
    kept.begin(&mark("one", 1), WrongPins::Untold);
    kept.end(&mark("one", 1), End::Refused);
    // The late word of a signer that was given up.
    kept.end(&mark("one", 1), End::Unanswered);
    assert_eq!(kept.begin(&mark("one", 1), WrongPins::Untold), Leave::RefusedBefore);
}

#[test]
fn a_try_that_the_token_did_not_look_at_leaves_things_as_they_were() {
    let kept = Kept::new();
    kept.begin(&mark("one", 1), WrongPins::Untold);
    kept.end(&mark("one", 1), End::Unanswered);
    assert_eq!(fs::read_dir(kept.directory.path()).unwrap().count(), 0, "nothing is left");
    assert_eq!(kept.begin(&mark("one", 1), WrongPins::Untold), NEW);
    kept.end(&mark("one", 1), End::Taken);
    kept.begin(&mark("one", 1), WrongPins::Untold);
    kept.end(&mark("one", 1), End::Unanswered);
    assert_eq!(load(&kept.file()).unwrap()[0].outcome, Outcome::Taken);
}

#[test]
fn of_a_pin_that_is_right_hardly_anything_is_kept() {
    let kept = Kept::new();
    let right = PinMark { digest: Some("ab".repeat(32)), ..mark("one", 1) };
    kept.begin(&right, WrongPins::Untold);
    kept.end(&right, End::Taken);
    let only = || load(&kept.file()).unwrap().remove(0).mark;
    assert_eq!(only().digest, None);
    kept.begin(&right, WrongPins::Untold);
    assert_eq!(only().digest, None);
    let other = PinMark { check: 8, ..right.clone() };
    assert!(!other.fits(&only()));
    // When it is refused after all, the token has another, and this one is no secret any more.
    kept.end(&PinMark { digest: None, ..right.clone() }, End::Refused);
    assert!(right.fits(&only()));
    kept.end(&right, End::Refused);
    assert_eq!(only(), right);
}

#[test]
fn the_latest_are_kept_and_only_so_many_of_a_token() {
    let kept = Kept::new();
    kept.begin(&mark("two", 1), WrongPins::Untold);
    for pin in 0..20 {
        kept.begin(&mark("one", pin), WrongPins::Untold);
        kept.end(&mark("one", pin), End::Refused);
    }
    let tries = load(&kept.file()).unwrap();
    assert_eq!(tries.len(), MARKS_MAX + 1);
    assert_eq!(tries.last().unwrap().mark, mark("one", 19));
}

#[test]
fn what_is_no_mark_is_not_written() {
    let kept = Kept::new();
    for bad in [
        PinMark { serial: "x".repeat(300), ..mark("one", 1) },
        PinMark { digest: Some("0".repeat(300)), ..mark("one", 1) },
    ] {
        assert!(begin(&kept.file(), &bad, WrongPins::None).is_err());
    }
    assert!(!kept.file().exists());
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let kept = Kept::new();
    fs::write(kept.file(), "[{").unwrap();
    assert!(load(&kept.file()).unwrap_err().contains("tried-pins"));
    assert!(begin(&kept.file(), &mark("one", 1), WrongPins::None).is_err());
    assert_eq!(fs::read(kept.file()).unwrap(), b"[{");
}

#[test]
fn marks_that_are_written_at_once_are_all_kept() {
    let kept = Kept::new();
    std::thread::scope(|scope| {
        for serial in 0..8_u32 {
            let kept = &kept;
            scope.spawn(move || {
                for pin in 0..8 {
                    kept.begin(&mark(&serial.to_string(), pin), WrongPins::None);
                }
            });
        }
    });
    assert_eq!(load(&kept.file()).unwrap().len(), 64);
}

/// `seconds` ago, a token that had taken the PIN before began to say nothing of it, once for each.
fn unexplained(seconds: &[u64]) -> Kept {
    let kept = Kept::new();
    kept.begin(&mark("one", 1), WrongPins::Untold);
    kept.end(&mark("one", 1), End::Taken);
    let mut tries = load(&kept.file()).unwrap();
    let now = seconds_since_1970();
    let at = seconds.iter().map(|ago| now - ago).collect();
    tries[0].outcome = Outcome::UnexplainedAfterTaken { at };
    fs::write(kept.file(), serde_json::to_vec(&tries).unwrap()).unwrap();
    kept
}

#[test]
fn what_a_token_does_not_explain_may_be_tried_after_pauses_and_three_times_an_hour() {
    let begin = |ago: &[u64]| unexplained(ago).begin(&mark("one", 1), WrongPins::Untold);
    for granted in [&[2][..], &[20, 7], &[3_700, 3_650, 10], &[4_000, 3_900, 3_800]] {
        assert_eq!(begin(granted), KNOWN, "{granted:?}");
    }
    for (denied, about) in [(&[0][..], 1), (&[20, 2], 3), (&[600, 500, 400], 3_000)] {
        let Leave::Later { seconds } = begin(denied) else { panic!("{denied:?}") };
        assert!((about - 1..=about).contains(&seconds), "{denied:?}: {seconds}");
    }
    let kept = unexplained(&[2]);
    assert_eq!(kept.begin(&mark("one", 1), WrongPins::Some), Leave::RefusedBefore);
}

#[test]
fn a_try_counts_from_its_begin_whoever_dies_and_a_good_one_ends_the_count() {
    let kept = unexplained(&[10]);
    assert_eq!(kept.begin(&mark("one", 1), WrongPins::Untold), KNOWN);
    let again = kept.begin(&mark("one", 1), WrongPins::Untold);
    assert!(matches!(again, Leave::Later { .. }), "{again:?}");
    kept.end(&mark("one", 1), End::Taken);
    assert_eq!(kept.begin(&mark("one", 1), WrongPins::Untold), KNOWN);
    kept.end(&mark("one", 1), End::Unexplained);
    let Outcome::UnexplainedAfterTaken { at } = &load(&kept.file()).unwrap()[0].outcome else {
        panic!("not noted")
    };
    assert_eq!(at.len(), 1);
}

#[test]
fn of_a_pin_that_was_never_taken_nothing_is_tried_again_without_a_word() {
    let kept = Kept::new();
    assert_eq!(kept.begin(&mark("one", 1), WrongPins::None), NEW);
    kept.end(&mark("one", 1), End::Unexplained);
    for wrong in [WrongPins::None, WrongPins::Untold] {
        assert_eq!(kept.begin(&mark("one", 1), wrong), Leave::Unexplained);
    }
    assert_eq!(kept.begin(&mark("one", 1), WrongPins::Some), Leave::RefusedBefore);
}
