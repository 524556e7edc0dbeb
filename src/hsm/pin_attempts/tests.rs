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

    fn begin(&self, fingerprint: &PinFingerprint, wrong: WrongPinFlag) -> LoginDecision {
        begin(&self.file(), fingerprint, wrong).unwrap()
    }

    fn end(&self, fingerprint: &PinFingerprint, how: LoginOutcome) {
        end(&self.file(), fingerprint, how).unwrap();
    }
}

fn fingerprint(serial: &str, pin: u32) -> PinFingerprint {
    let digest = Some(format!("{pin:064x}"));
    PinFingerprint { serial: serial.to_owned(), salt: format!("{pin:x}"), check: 7, digest }
}

const NEW: LoginDecision = LoginDecision::Granted { taken_before: false };
const KNOWN: LoginDecision = LoginDecision::Granted { taken_before: true };
const ALL: [WrongPinFlag; 3] = [WrongPinFlag::Set, WrongPinFlag::Clear, WrongPinFlag::Unreliable];

#[test]
fn a_try_without_an_end_is_judged_by_what_is_known() {
    for (taken_before, wrong, leave) in [
        (false, WrongPinFlag::Set, LoginDecision::RefusedBefore),
        (false, WrongPinFlag::Clear, NEW),
        (false, WrongPinFlag::Unreliable, LoginDecision::Unsettled),
        (true, WrongPinFlag::Set, LoginDecision::RefusedBefore),
        (true, WrongPinFlag::Clear, KNOWN),
        (true, WrongPinFlag::Unreliable, KNOWN),
    ] {
        let kept = Kept::new();
        if taken_before {
            assert_eq!(kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable), NEW);
            kept.end(&fingerprint("one", 1), LoginOutcome::Taken);
        }
        // Before the first attempt, a wrong PIN was another one.
        let first = if taken_before { KNOWN } else { NEW };
        assert_eq!(kept.begin(&fingerprint("one", 1), WrongPinFlag::Set), first);
        for _ in 0..3 {
            assert_eq!(
                kept.begin(&fingerprint("one", 1), wrong),
                leave,
                "{taken_before} {wrong:?}"
            );
        }
    }
}

#[test]
fn a_refused_pin_is_granted_no_other_try_until_its_token_takes_one() {
    let kept = Kept::new();
    for wrong in [fingerprint("one", 1), fingerprint("two", 1)] {
        kept.begin(&wrong, WrongPinFlag::Unreliable);
        kept.end(&wrong, LoginOutcome::Refused);
    }
    assert_eq!(fs::metadata(kept.file()).unwrap().permissions().mode() & 0o777, 0o600);
    for wrong in ALL {
        assert_eq!(kept.begin(&fingerprint("one", 1), wrong), LoginDecision::RefusedBefore);
    }
    kept.begin(&fingerprint("one", 2), WrongPinFlag::Unreliable);
    kept.end(&fingerprint("one", 2), LoginOutcome::Taken);
    assert_eq!(kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable), NEW);
    assert_eq!(
        kept.begin(&fingerprint("two", 1), WrongPinFlag::Unreliable),
        LoginDecision::RefusedBefore
    );
}

#[test]
fn a_pin_that_was_taken_and_is_refused_stays_refused() {
    let kept = Kept::new();
    kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable);
    kept.end(&fingerprint("one", 1), LoginOutcome::Taken);
    kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable);
    kept.end(&fingerprint("one", 1), LoginOutcome::Refused);
    // A late outcome of a signer that was given up.
    kept.end(&fingerprint("one", 1), LoginOutcome::Unanswered);
    assert_eq!(
        kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable),
        LoginDecision::RefusedBefore
    );
}

#[test]
fn a_try_that_the_token_did_not_look_at_leaves_things_as_they_were() {
    let kept = Kept::new();
    kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable);
    kept.end(&fingerprint("one", 1), LoginOutcome::Unanswered);
    assert_eq!(fs::read_dir(kept.directory.path()).unwrap().count(), 0, "nothing is left");
    assert_eq!(kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable), NEW);
    kept.end(&fingerprint("one", 1), LoginOutcome::Taken);
    kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable);
    kept.end(&fingerprint("one", 1), LoginOutcome::Unanswered);
    assert_eq!(load(&kept.file()).unwrap()[0].outcome, Outcome::Taken);
}

#[test]
fn of_a_pin_that_is_right_hardly_anything_is_kept() {
    let kept = Kept::new();
    let right = PinFingerprint { digest: Some("ab".repeat(32)), ..fingerprint("one", 1) };
    kept.begin(&right, WrongPinFlag::Unreliable);
    kept.end(&right, LoginOutcome::Taken);
    let only = || load(&kept.file()).unwrap().remove(0).fingerprint;
    assert_eq!(only().digest, None);
    kept.begin(&right, WrongPinFlag::Unreliable);
    assert_eq!(only().digest, None);
    let other = PinFingerprint { check: 8, ..right.clone() };
    assert!(!other.fits(&only()));
    // When it is refused after all, the token has another PIN, and this one is no secret any more.
    kept.end(&PinFingerprint { digest: None, ..right.clone() }, LoginOutcome::Refused);
    assert!(right.fits(&only()));
    kept.end(&right, LoginOutcome::Refused);
    assert_eq!(only(), right);
}

#[test]
fn the_latest_are_kept_and_only_so_many_of_a_token() {
    let kept = Kept::new();
    kept.begin(&fingerprint("two", 1), WrongPinFlag::Unreliable);
    for pin in 0..20 {
        kept.begin(&fingerprint("one", pin), WrongPinFlag::Unreliable);
        kept.end(&fingerprint("one", pin), LoginOutcome::Refused);
    }
    let attempts = load(&kept.file()).unwrap();
    assert_eq!(attempts.len(), ATTEMPTS_MAX + 1);
    assert_eq!(attempts.last().unwrap().fingerprint, fingerprint("one", 19));
}

#[test]
fn what_is_no_mark_is_not_written() {
    let kept = Kept::new();
    for bad in [
        PinFingerprint { serial: "x".repeat(300), ..fingerprint("one", 1) },
        PinFingerprint { digest: Some("0".repeat(300)), ..fingerprint("one", 1) },
    ] {
        assert!(begin(&kept.file(), &bad, WrongPinFlag::Clear).is_err());
    }
    assert!(!kept.file().exists());
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let kept = Kept::new();
    fs::write(kept.file(), "[{").unwrap();
    assert!(load(&kept.file()).unwrap_err().contains("tried-pins"));
    assert!(begin(&kept.file(), &fingerprint("one", 1), WrongPinFlag::Clear).is_err());
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
                    kept.begin(&fingerprint(&serial.to_string(), pin), WrongPinFlag::Clear);
                }
            });
        }
    });
    assert_eq!(load(&kept.file()).unwrap().len(), 64);
}

/// A PIN that was accepted before, and unexplained attempts this many seconds ago.
fn unexplained(seconds: &[u64]) -> Kept {
    let kept = Kept::new();
    kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable);
    kept.end(&fingerprint("one", 1), LoginOutcome::Taken);
    let mut attempts = load(&kept.file()).unwrap();
    let now = seconds_since_1970();
    let at = seconds.iter().map(|ago| now - ago).collect();
    attempts[0].outcome = Outcome::UnexplainedAfterTaken { at };
    fs::write(kept.file(), serde_json::to_vec(&attempts).unwrap()).unwrap();
    kept
}

#[test]
fn what_a_token_does_not_explain_may_be_tried_after_pauses_and_three_times_an_hour() {
    let begin =
        |ago: &[u64]| unexplained(ago).begin(&fingerprint("one", 1), WrongPinFlag::Unreliable);
    for granted in [&[2][..], &[20, 7], &[3_700, 3_650, 10], &[4_000, 3_900, 3_800]] {
        assert_eq!(begin(granted), KNOWN, "{granted:?}");
    }
    for (denied, about) in [(&[0][..], 1), (&[20, 2], 3), (&[600, 500, 400], 3_000)] {
        let LoginDecision::Later { seconds } = begin(denied) else { panic!("{denied:?}") };
        assert!((about - 1..=about).contains(&seconds), "{denied:?}: {seconds}");
    }
    let kept = unexplained(&[2]);
    assert_eq!(kept.begin(&fingerprint("one", 1), WrongPinFlag::Set), LoginDecision::RefusedBefore);
}

#[test]
fn a_try_counts_from_its_begin_whoever_dies_and_a_good_one_ends_the_count() {
    let kept = unexplained(&[10]);
    assert_eq!(kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable), KNOWN);
    let again = kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable);
    assert!(matches!(again, LoginDecision::Later { .. }), "{again:?}");
    kept.end(&fingerprint("one", 1), LoginOutcome::Taken);
    assert_eq!(kept.begin(&fingerprint("one", 1), WrongPinFlag::Unreliable), KNOWN);
    kept.end(&fingerprint("one", 1), LoginOutcome::Unexplained);
    let Outcome::UnexplainedAfterTaken { at } = &load(&kept.file()).unwrap()[0].outcome else {
        panic!("not noted")
    };
    assert_eq!(at.len(), 1);
}

#[test]
fn of_a_pin_that_was_never_taken_nothing_is_tried_again_without_a_word() {
    let kept = Kept::new();
    assert_eq!(kept.begin(&fingerprint("one", 1), WrongPinFlag::Clear), NEW);
    kept.end(&fingerprint("one", 1), LoginOutcome::Unexplained);
    for wrong in [WrongPinFlag::Clear, WrongPinFlag::Unreliable] {
        assert_eq!(kept.begin(&fingerprint("one", 1), wrong), LoginDecision::Unexplained);
    }
    assert_eq!(kept.begin(&fingerprint("one", 1), WrongPinFlag::Set), LoginDecision::RefusedBefore);
}
