use super::*;
use crate::config::raw::RawGrant;

/// What is complained of.
fn problems<T>(of: impl FnOnce(&mut Check<'_>) -> T) -> Vec<String> {
    let mut check = Check {
        directory: Path::new("/"),
        credentials: Credentials::NotNeeded,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    of(&mut check);
    check.problems
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> T {
    toml::from_str(text).unwrap()
}

fn client(name: &str, certificate: &str) -> RawClient {
    read(&format!("name = '{name}'\n{certificate}"))
}

fn token(name: &str, more: &str) -> RawToken {
    let files = "module = '/dev/null'\npin_file = 'credential:pin'\nlabel = 'l'";
    read(&format!("name = '{name}'\n{files}\n{more}"))
}

#[test]
fn words_are_of_a_list_and_the_complaint_gives_it() {
    for (found, expected) in [
        (
            problems(|check| check.log(read("format = 'xml'"))),
            "log.format: 'xml' is not one of auto, text, json",
        ),
        (
            problems(|check| check.expired_crl(Some("ignore"))),
            "api.client_crl_expired: 'ignore' is not one of warn, refuse",
        ),
        (
            problems(|check| check.issuance(read("described_iaca = 'maybe'"), &read(""))),
            "issuance.described_iaca: 'maybe' is not one of pin, registered-only",
        ),
    ] {
        assert_eq!(found, [expected]);
    }
}

#[test]
fn operations_are_served_to_this_machine_alone() {
    for (address, is_fine) in [("127.0.0.1:1", true), ("[::1]:1", true), ("0.0.0.0:1", false)] {
        let found = problems(|check| check.operations(address.parse().ok()));
        assert_eq!(found.is_empty(), is_fine, "{found:?}");
    }
}

#[test]
fn every_wrong_figure_of_a_token_is_told_with_its_range() {
    let wrong = token("t", "processes = 0\nsessions = 1025\ncanary_seconds = 0");
    let found = problems(|check| check.tokens(vec![wrong], Path::new("/tried")));
    assert_eq!(
        found,
        [
            "tokens 't': processes is 0, not 1 to 64",
            "tokens 't': sessions is 1025, not 1 to 1024",
            "tokens 't': canary_seconds is 0, not 1 to 3600",
        ]
    );
}

#[test]
fn there_is_a_token_and_its_name_is_an_element_of_paths_and_its_own() {
    let found = |tokens| problems(|check| check.tokens(tokens, Path::new("/tried")));
    assert_eq!(found(vec![token("one", ""), token("two", "")]), Vec::<String>::new());
    assert_eq!(found(Vec::new()), ["tokens: at least one is needed"]);
    assert_eq!(found(vec![token("t", ""), token("t", "")]), ["tokens 't': declared twice"]);
    assert_eq!(
        found(vec![token("a b", "")]),
        ["tokens 'a b': a name holds only letters, digits, '-' and '_'"]
    );
}

#[test]
fn a_client_has_one_certificate_that_no_other_client_has() {
    let found = |clients| problems(|check| check.clients(clients));
    let (ops, web) = ("subject = 'CN=ops'", "subject = 'CN=web'");
    assert_eq!(found(vec![client("a", ops), client("b", web)]), Vec::<String>::new());
    for (clients, expected) in [
        (vec![client("a", "")], "clients 'a': give subject or certificate_sha256"),
        (vec![client(" ", ops)], "clients ' ': a name is not blank"),
        (vec![client("a", ops), client("a", web)], "clients 'a': declared twice"),
        (
            vec![client("a", ops), client("b", ops)],
            "clients 'b': another client has the same certificate",
        ),
        (
            vec![client("a", ops), client("b", "subject = 'CN=ops'\nissuer = 'CN=ca'")],
            "clients 'b': has the subject of 'a', and only one of them an issuer; give both one",
        ),
    ] {
        assert_eq!(found(clients), [expected]);
    }
}

#[test]
fn one_wrong_permission_hides_no_other_problem() {
    let grants: Vec<RawGrant> = vec![
        read("path = 'acme'\npermissions = ['issue:everything', 'issue:iaca']"),
        read("path = 'a..b'\npermissions = ['issue:iaca']"),
    ];
    let mut granted = Vec::new();
    let found = problems(|check| granted = check.grants("clients 'a'", grants));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(granted.len(), 1);
}
