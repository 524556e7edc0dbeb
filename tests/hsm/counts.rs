//! Modules that lie about counts and lengths.

use futures_util::future::join_all;

use super::{faults::Disturbed, *};

/// The function that lies, which the log has to name, and its orders.
const LIES: [(&str, &[&str]); 4] = [
    ("C_FindObjects", &["lie-count 2", "lie-count 500", "lie-count 18446744073709551615"]),
    // With `/2` the first call tells the truth and the second claims to have filled more room than it was
    // given.
    (
        "C_GetMechanismList",
        &[
            "lie-count 5000",
            "lie-count 1000000000000",
            "lie-count 18446744073709551615",
            "/2 lie-count 500",
        ],
    ),
    (
        "C_GetSlotList",
        &[
            "lie-count 5000",
            "lie-count 1000000000000",
            "lie-count 18446744073709551615",
            "/2 lie-count 500",
        ],
    ),
    (
        "C_GetAttributeValue",
        &[
            "lie-length CKA_LABEL 1000000000000",
            "lie-length CKA_LABEL 18446744073709551614",
            "lie-length CKA_SIGN 2",
            "lie-length CKA_KEY_TYPE 3",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_lies_about_a_count_or_a_length_is_named_and_nothing_panics() {
    join_all(LIES.map(|(function, lies)| async move {
        let disturbed = Disturbed::new(function);
        let token = started(TokenConfig { name: function.to_owned(), ..disturbed.config() }).await;
        let key = token.find("key").await.unwrap();
        for lie in lies {
            logbook::of(function);
            disturbed.tell(&format!("{function} {lie}"));
            disturbed.hsm.signers().into_iter().for_each(|pid| signal("-KILL", pid));
            let mut events = Vec::new();
            eventually(lie, PATIENCE, async || {
                token.wanted();
                events.extend(logbook::of(function));
                events.iter().any(|event| {
                    let fields = &event["fields"];
                    fields["message"] == "PKCS#11 fault" && fields["function"] == function
                })
            })
            .await;
            let text = format!("{events:?}");
            assert!(!text.contains("panicked") && !text.contains("allocation"), "{lie}: {text}");
            disturbed.tell("");
            eventually("service is back", PATIENCE, async || {
                sign(&token, &key, b"x").await.is_ok()
            })
            .await;
        }
        token.stop().await;
    }))
    .await;
}
