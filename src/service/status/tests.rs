use std::collections::BTreeMap;

use super::*;
use crate::ledger::Ledger;

fn well() -> Status {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = Ledger::open(&directory.path().join("ledger.db")).unwrap();
    Status {
        started_at: Timestamp::now(),
        dev: false,
        import_keys: false,
        front: Front::default(),
        tokens: BTreeMap::new(),
        twins: BTreeMap::new(),
        pinned_keys: BTreeMap::new(),
        ledger: LedgerState::Writable,
        ledger_figures: ledger.figures(),
        last_reload: None,
        jobs: BTreeMap::new(),
    }
}

fn with_pinned_keys(usable: usize, refused: &str) -> Status {
    let key = KeyPath::parse(refused).unwrap();
    let keys = PinnedKeys { usable, refused: BTreeMap::from([(key.clone(), PinFault::Missing)]) };
    Status { pinned_keys: BTreeMap::from([(key.kms(), keys)]), ..well() }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pinned_key_that_is_gone_degrades_and_all_of_a_kms_make_not_ready() {
    assert_eq!(well().health(), Health::Ready);

    let one = with_pinned_keys(1, "acme.kms.lost");
    assert_eq!(one.health(), Health::Degraded);
    let refused: Vec<_> = one.refused_keys().map(|(key, _)| key.as_str()).collect();
    assert_eq!(refused, ["acme.kms.lost"]);
    assert!(one.checks().values().all(|word| word == "ok"), "{:?}", one.checks());
    assert_eq!(one.warnings(), ["KMS acme.kms: 1 pinned keys cannot be used; the log names them"]);

    let all = with_pinned_keys(0, "acme.kms.lost");
    assert_eq!(all.health(), Health::NotReady);
    assert_eq!(all.checks()["kms:acme.kms"], "no pinned key can be used");
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_and_queue_are_needed() {
    for (state, word) in [(LedgerState::Slow, "slow"), (LedgerState::NotWritable, "not writable")] {
        let status = Status { ledger: state, ..well() };
        assert_eq!(status.health(), Health::NotReady);
        assert_eq!((&*status.checks()["database"], &*status.checks()["audit"]), (word, word));
    }
    let full = Status { front: Front { is_full: true, ..Front::default() }, ..well() };
    assert_eq!((full.health(), &*full.checks()["queue"]), (Health::NotReady, "full"));
}
