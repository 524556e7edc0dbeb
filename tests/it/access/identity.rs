//! Who a client is: its subject read as a name, and the CA that its certificate leads to.

use std::path::Path;

use crate::appliance::{Appliance, Daemon};

const PATH: &str = "/v1/test.tenant1.x509-store-1/x509-store-api/certificates/ids";

fn declare(appliance: &Appliance, name: &str, settings: &str) {
    appliance.declare(&format!(
        "[[clients]]\nname = \"{name}\"\n{settings}\n\
         grants = [{{ path = \"test\", permissions = [\"store:read\"] }}]\n"
    ));
}

/// `check` as a whole: whether it is content, and what it says.
fn check(appliance: &Appliance) -> (bool, String) {
    let config = appliance.config();
    let output = appliance.run(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

/// The status that a certificate gets, sent with all that its file holds.
fn status(appliance: &Appliance, daemon: &Daemon, certificate: &Path) -> String {
    let certificate = certificate.display();
    appliance.shell(&format!(
        "curl -s -o answer -w '%{{http_code}}' --cacert pki/server-ca.pem --cert {certificate}.pem \
             --key {certificate}.key --resolve localhost:{port}:127.0.0.1 \
             https://localhost:{port}{PATH}",
        port = daemon.api.port()
    ))
}

#[test]
fn a_subject_is_the_name_that_it_says_however_it_is_written() {
    let appliance = Appliance::new();
    let mut clients = Vec::new();
    for (index, (subject, written)) in [
        ("/O=Acme demo/CN=one", "O = Acme demo, CN = one"),
        ("/O=Acme demo/CN=two", "subject=O = Acme demo, CN = two"),
        ("/C=NL/O=Acme, Inc./CN=three", "c=NL, o = \"Acme, Inc.\" ,cn=three"),
        ("/C=NL/O=Acme, Inc./CN=four", "C=NL,O=Acme\\, Inc.,CN=four"),
        ("/O=Acme/serialNumber=7/CN=five", "O=Acme,2.5.4.5=#130137,CN=five"),
        ("/O=Acme/emailAddress=a@example.com/CN=six", "O=Acme, emailAddress=a@example.com, CN=six"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("s{index}");
        declare(&appliance, &name, &format!("subject = '{written}'"));
        clients.push(appliance.client_certificate(&name, subject, "-days 2"));
    }
    let daemon = appliance.start();
    for client in &clients {
        assert_eq!(status(&appliance, &daemon, client), "200", "{}", client.display());
    }
    daemon.stop();

    // What cannot be read is not taken for a name that nobody has.
    for subject in ["/O=Acme/CN=x", "Acme", "X=a,CN=b", "CN=a,"] {
        let appliance = Appliance::new();
        declare(&appliance, "bad", &format!("subject = '{subject}'"));
        let text = appliance.refuses_to_start();
        assert!(text.contains("clients 'bad': subject") && text.contains("C=NL,O=Acme"), "{text}");
    }
}

#[test]
fn a_client_that_is_bound_to_its_ca_is_nobody_under_another() {
    let appliance = Appliance::new();
    let bound = appliance.client_certificate("bound", "/CN=bound", "-days 2");
    let free = appliance.client_certificate("free", "/CN=free", "-days 2");
    // Another CA, and below it one that is called like ours.
    appliance.shell(
        "cd pki; ours=$(openssl x509 -in client-ca.pem -noout -subject -nameopt compat)
         ours=/${ours#*/}
         printf '%s\\n' basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign >ca.ext
         echo extendedKeyUsage=clientAuth >leaf.ext
         for key in ca2 false mine1 mine2 mine3; do
             openssl ecparam -name prime256v1 -genkey -noout -out $key.key; done
         openssl req -new -key ca2.key -subj '/CN=Second CA' | openssl x509 -req -signkey ca2.key \
             -days 9 -extfile ca.ext -out ca2.pem
         openssl req -new -key false.key -subj \"$ours\" | openssl x509 -req -CA ca2.pem \
             -CAkey ca2.key -set_serial 5 -days 9 -extfile ca.ext -out false.pem
         openssl req -new -key mine1.key -subj /CN=bound | openssl x509 -req -CA ca2.pem \
             -CAkey ca2.key -set_serial 6 -days 9 -extfile leaf.ext -out mine1.pem
         openssl req -new -key mine2.key -subj /CN=bound | openssl x509 -req -CA false.pem \
             -CAkey false.key -set_serial 7 -days 9 -extfile leaf.ext -out mine2.pem
         cat false.pem >>mine2.pem
         openssl req -new -key mine3.key -subj /CN=free | openssl x509 -req -CA ca2.pem \
             -CAkey ca2.key -set_serial 8 -days 9 -extfile leaf.ext -out mine3.pem",
    );
    let ours = appliance.shell("openssl x509 -in pki/client-ca.pem -noout -subject");
    declare(&appliance, "bound", &format!("subject = 'CN=bound'\nissuer = '''{}'''", ours.trim()));
    declare(&appliance, "free", "subject = 'CN=free'");
    let (good, text) = check(&appliance);
    assert!(good && !text.contains("warning: api.client_ca"), "{text}");
    appliance.shell("cat pki/ca2.pem >>pki/client-ca.pem");
    let (good, text) = check(&appliance);
    assert!(good && text.contains("warning: api.client_ca has 2 CAs"), "{text}");
    assert!(text.contains("'free'") && !text.contains("'bound'"), "{text}");

    let daemon = appliance.start();
    assert!(daemon.log().contains("api.client_ca has 2 CAs"), "{}", daemon.log());
    let of = |name: &str| status(&appliance, &daemon, &appliance.path("pki").join(name));
    assert_eq!(status(&appliance, &daemon, &bound), "200");
    assert_eq!(status(&appliance, &daemon, &free), "200");
    assert_eq!(of("mine1"), "401", "the other CA");
    assert_eq!(of("mine2"), "401", "a CA of the same name below the other");
    assert_eq!(of("mine3"), "200", "who is not bound is known by the subject alone");
    daemon.stop();

    declare(&appliance, "lost", "subject = 'CN=lost'\nissuer = 'CN=Third CA'");
    declare(&appliance, "turned", "subject = 'CN=turned,O=Acme'");
    let (good, text) = check(&appliance);
    assert!(!good && text.contains("problem: clients 'lost': issuer is not the subject"), "{text}");
    assert!(text.contains("warning: clients 'turned': subject begins with CN"), "{text}");
    assert!(appliance.refuses_to_start().contains("clients 'lost': issuer"));
}
