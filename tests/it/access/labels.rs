//! Two KMS services on one token whose keys could have one label: each would sign with the other's keys.

use serde_json::json;

use crate::{
    appliance::{Appliance, KMS},
    support::refused,
};

/// A second organisation with tenants that are called like those of the first.
const TREE: &str = "[[organisations]]\npath = \"beta\"\n[[tenants]]\npath = \"test.a\"\n\
                    [[tenants]]\npath = \"test.a.b\"\n[[tenants]]\npath = \"beta.a\"\n";

fn kms(path: &str, settings: &str) -> String {
    format!("[[services]]\npath = \"{path}\"\ntype = \"kms\"\n{settings}\n")
}

fn template(text: &str) -> String {
    format!("label_template = \"{text}\"")
}

/// What `check` says, and whether it is content; without tokens, as the configuration alone tells.
fn check(appliance: &Appliance) -> (bool, String) {
    let config = appliance.config();
    let config = config.to_str().unwrap();
    let output = appliance.run(&["check", "--config-only", "--config", config]);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

/// The token of the examples under a second name; `change` is made to its settings.
fn same_token_again(appliance: &Appliance, change: (&str, &str)) {
    appliance.configure(|text| {
        let (before, token) = text.split_once("[[tokens]]").unwrap();
        let (token, after) = token.split_once("[[organisations]]").unwrap();
        let again =
            token.replace("name = \"softhsm\"", "name = \"again\"").replace(change.0, change.1);
        format!("{before}[[tokens]]{token}[[tokens]]{again}[[organisations]]{after}")
            .replace("type = \"kms\"\n", "type = \"kms\"\ntoken = \"softhsm\"\n")
    });
}

#[test]
fn two_kms_that_could_lead_to_one_key_are_refused_unless_both_are_meant_to() {
    for (one, settings, other, other_settings) in [
        ("test.a.kms", template("{tenant}/{key}"), "beta.a.kms", template("{tenant}/{key}")),
        ("test.a.kms", template("{key}"), "beta.a.keys", template("{key}")),
        (
            "test.a.kms",
            template("{org}/{kms}/{key}"),
            "test.a.b.kms",
            template("{org}/{kms}/{key}"),
        ),
        (
            "test.a.kms",
            template("{org}/{tenant}/{key}"),
            "test.a.k2",
            template("{org}/{tenant}/{key}"),
        ),
        (
            "test.a.kms",
            template("{org}-{tenant}-{kms}-{key}"),
            "test.a.kms-x",
            template("{org}-{tenant}-{kms}-{key}"),
        ),
        ("test.a.kms", template("{key}"), "beta.a.kms", template("root-{key}")),
        (
            "test.a.kms",
            "labels = { a = 'G1' }".into(),
            "beta.a.kms",
            "labels = { z = 'G1' }".into(),
        ),
        ("test.a.kms", "labels = { a = 'old/b' }".into(), "beta.a.kms", template("old/{key}")),
        ("test.a.kms", String::new(), "beta.a.kms", "labels = { a = 'test.a.kms.root' }".into()),
        ("test.a.kms", String::new(), "beta.a.kms", template("test.a.kms.{key}")),
    ] {
        let refusal = |first: &str, second: &str| {
            let appliance = Appliance::new();
            let one = kms(one, &format!("{settings}\n{first}"));
            let other = kms(other, &format!("{other_settings}\n{second}"));
            appliance.declare(&format!("{TREE}{one}{other}"));
            (check(&appliance), appliance)
        };
        let (first, second) = (one.min(other), one.max(other));
        let said = format!("'{first}' and '{second}'");
        let turned = format!("'{second}' and '{first}'");
        let meant = "shared_labels = true";
        for (by_one, by_other) in [("", ""), (meant, ""), ("", meant)] {
            let ((good, text), appliance) = refusal(by_one, by_other);
            assert!(!good && (text.contains(&said) || text.contains(&turned)), "{text}");
            if by_one == by_other {
                let text = appliance.refuses_to_start();
                assert!(text.contains("shared_labels = true on both"), "{text}");
            }
        }
        let ((good, text), _) = refusal(meant, meant);
        assert!(good, "{text}");
    }
}

#[test]
fn kms_that_cannot_meet_are_taken() {
    let appliance = Appliance::new();
    let full = template("{org}/{tenant}/{kms}/{key}");
    appliance.declare(&format!(
        "{TREE}{}{}{}{}{}",
        kms("test.a.kms", &full),
        kms("test.a.kms2", &full),
        kms("test.a.b.kms", &full),
        kms("beta.a.kms", &full),
        // Alone with its form of label.
        kms("beta.a.old", "label_template = \"root:{key}\"\nlabels = { a = 'G1', b = 'G2' }"),
    ));
    let (good, text) = check(&appliance);
    assert!(good, "{text}");
    appliance.start().stop();
}

#[test]
fn one_token_under_two_names_is_one_token() {
    let same = "are one token";
    let two = [
        kms("test.a.kms", &format!("token = \"softhsm\"\n{}", template("{tenant}/{key}"))),
        kms("beta.a.kms", &format!("token = \"again\"\n{}", template("{tenant}/{key}"))),
    ]
    .concat();
    let twice = kms("test.a.kms", "tokens = [\"softhsm\", \"again\"]");
    for (services, words) in [(&two, "'beta.a.kms' and 'test.a.kms'"), (&twice, same)] {
        let appliance = Appliance::new();
        same_token_again(&appliance, ("", ""));
        appliance.declare(&format!("{TREE}{services}"));
        let (good, text) = check(&appliance);
        assert!(!good && text.contains(words), "{text}");
        let meant = services.replace("type = \"kms\"", "type = \"kms\"\nshared_labels = true");
        appliance.configure(|text| text.replace(services.as_str(), &meant));
        let (good, text) = check(&appliance);
        assert!(good, "{text}");
    }

    // A module of another name: only the tokens themselves tell that they are one.
    let appliance = Appliance::new();
    let copy = appliance.path("copy.so");
    std::fs::copy("/usr/lib/softhsm/libsofthsm2.so", &copy).unwrap();
    same_token_again(&appliance, ("/usr/lib/softhsm/libsofthsm2.so", copy.to_str().unwrap()));
    appliance.declare(&format!("{TREE}{two}"));
    let (good, text) = check(&appliance);
    assert!(good, "{text}");
    let config = appliance.config();
    let output = appliance.run(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("'beta.a.kms' and 'test.a.kms'"), "{text}");
}

#[test]
fn two_names_of_one_key_have_one_policy() {
    for (settings, is_good) in [
        ("labels = { a = 'G1', b = 'G1' }\npolicies = { a = ['iaca'] }", false),
        ("labels = { a = 'G1', b = 'G1' }\npolicies = { a = ['iaca'], b = ['iaca'] }", true),
        ("labels = { a = 'test.a.kms.b' }\npolicies = { b = ['iaca'] }", false),
        ("labels = { a = 'test.a.kms.b' }\npolicies = { a = ['iaca'] }", false),
        ("labels = { a = 'test.a.kms.b', b = 'G1' }\npolicies = { a = ['iaca'] }", true),
        ("labels = { a = 'test.a.kms.b' }", true),
    ] {
        let appliance = Appliance::new();
        appliance.declare(&format!("{TREE}{}", kms("test.a.kms", settings)));
        let (good, text) = check(&appliance);
        assert_eq!(good, is_good, "{settings}: {text}");
        assert_eq!(text.contains("different policies"), !is_good, "{text}");
    }
}

#[test]
fn a_kms_made_over_the_api_does_not_lead_to_keys_that_are_declared_for_another() {
    let appliance = Appliance::new();
    appliance.declare(&format!(
        "{TREE}{}{}",
        kms("beta.a.adopted", "labels = { root = 'test.a.old.root' }\nshared_labels = true"),
        kms("beta.a.made", "label_template = \"test.{tenant}.{kms}.{key}\""),
    ));
    let daemon = appliance.start();
    let create = |path: &str| {
        let target = format!("/v1/{path}/resource-api/services/create");
        daemon.client.post_json(&target, &json!({ "type": "kms" }))
    };
    for path in ["test.a.old", "test.a.made"] {
        refused(&create(path), 403, None, "labels of another KMS's keys");
        let found = daemon.client.get(&format!("/v1/{path}/resource-api/services"));
        refused(&found, 404, None, "does not exist");
    }
    for path in ["test.a.new", "test.a.b.old", "test.old"] {
        assert_eq!(create(path).status, 201, "{path}");
    }
    daemon.stop();

    // What a client made first is there to stay: the operator is told.
    appliance.declare(&kms("beta.a.late", "labels = { root = 'test.a.new.root' }"));
    let daemon = appliance.start();
    let told = "'beta.a.late' and 'test.a.new': keys of both can have the label 'test.a.new.root'";
    assert!(daemon.log().contains(told), "{}", daemon.log());
    assert!(!daemon.log().contains(KMS), "{}", daemon.log());
    daemon.stop();
}
