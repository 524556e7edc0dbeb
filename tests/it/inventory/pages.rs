//! Pages, newest first, that stay right while the list grows.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use serde_json::Value;

use super::{appliance, items, list, serials};
use crate::{
    appliance::{Client, SOON, until},
    support::leaf,
};

/// All pages from the first to the last; `between` runs before each but the first.
fn pages(client: &Client, query: &str, mut between: impl FnMut()) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = list(client, &format!("{query}{cursor}")).ok();
        pages.push(answer.json["items"].as_array().unwrap().clone());
        let Some(next) = answer.json.get("nextCursor") else { return pages };
        cursor = format!("&cursor={}", next.as_str().unwrap());
        between();
    }
}

fn index(item: &Value) -> u64 {
    item["auditIndex"].as_u64().unwrap()
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat() {
    let (appliance, _) = appliance();
    let daemon = appliance.start();
    let client = &daemon.client;
    for number in 0..23 {
        let name = format!("Leaf {}", number % 3);
        client.issue("certificate", &leaf("leaf-secp256r1", &name)).ok();
    }
    let all = items(client, "limit=500");
    assert_eq!(all.len(), 23);
    assert!(all.windows(2).all(|pair| index(&pair[0]) > index(&pair[1])), "newest first");
    for limit in [1, 2, 7, 22, 23, 24] {
        let pages = pages(client, &format!("limit={limit}"), || {});
        assert_eq!(pages.concat(), all, "{limit}");
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == limit), "{limit}");
        // The last page is not empty, also when the pages come out even.
        assert_eq!(pages.len(), 23_usize.div_ceil(limit), "{limit}");
    }
    let filtered = pages(client, "limit=3&subjectCommonName=Leaf+1", || {});
    assert_eq!(filtered.concat(), items(client, "subjectCommonName=Leaf+1"));
    assert_eq!(filtered.concat().len(), 8);
    // Without a limit, fifty.
    for _ in 0..30 {
        client.issue("certificate", &leaf("leaf-secp256r1", "More")).ok();
    }
    let sizes: Vec<_> = pages(client, "", || {}).iter().map(Vec::len).collect();
    assert_eq!(sizes, [50, 3]);
}

#[test]
fn pages_stay_right_while_certificates_are_issued() {
    let (appliance, _) = appliance();
    let daemon = appliance.start();
    let client = &daemon.client;
    for number in 0..30 {
        let name = format!("Leaf {}", number % 2);
        client.issue("certificate", &leaf("leaf-secp256r1", &name)).ok();
    }
    let initial = items(client, "limit=500");
    let half = items(client, "limit=500&subjectCommonName=Leaf+1");
    let done = AtomicBool::new(false);
    let issued = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    client.issue("certificate", &leaf("tls-secp256r1", "Leaf 1")).ok();
                    issued.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let finished = DoneOnDrop(&done);
        // Nothing is asked for before something new has come.
        let grow = || {
            let before = issued.load(Ordering::Relaxed);
            until(SOON, || (issued.load(Ordering::Relaxed) > before).then_some(())).unwrap();
        };
        for (query, wanted) in [("limit=7", &initial), ("limit=4&subjectCommonName=Leaf+1", &half)]
        {
            grow();
            let read = pages(client, query, grow).concat();
            assert!(read.windows(2).all(|pair| index(&pair[0]) > index(&pair[1])), "{query}");
            // What was there at first is there, at the end, and once.
            let old: Vec<_> =
                read.iter().filter(|item| index(item) <= index(&initial[0])).cloned().collect();
            assert_eq!(serials(&old), serials(wanted), "{query}");
            assert!(read.len() > old.len(), "nothing was new: {query}");
        }
        drop(finished);
    });
    // And what was issued meanwhile is all there.
    let now = pages(client, "limit=500", || {}).concat();
    assert_eq!(now.len(), initial.len() + issued.load(Ordering::Relaxed));
}

/// Ends the other threads also when an assertion fails.
struct DoneOnDrop<'a>(&'a AtomicBool);

impl Drop for DoneOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
