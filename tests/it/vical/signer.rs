//! Whose name stands above a VICAL: the signer's certificate and those above it.

use super::*;

const CHAINED: &str = "test.tenant1.vical-2";
const PERMISSIONS: [&str; 3] = ["vical:publish", "vical:read", "store:write"];

/// A VICAL service whose signer, over the key `leaf-secp256r1`, has two certificates above it.
fn chained(appliance: &Appliance) {
    let chain = format!(
        "{}\nsigner_certificate_chain = [\"{STORE}.middle\", \"{STORE}.top\"]",
        with_store()
    );
    appliance.declare(&service(CHAINED, "leaf-secp256r1", "signer", &chain));
}

/// Makes a top, a middle and a signer by those names; `name` stands in their subjects. `lines` are more
/// extensions of the middle one.
fn make_chain(appliance: &Appliance, name: &str, lines: &str) {
    appliance.shell(&format!(
        "mkdir -p {name}; cd {name}
         for key in top middle; do openssl ecparam -name prime256v1 -genkey -noout -out $key.key; done
         printf '%s\\n' basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign \\
             subjectKeyIdentifier=hash >top.ext
         (cat top.ext; printf '%s\\n' authorityKeyIdentifier=keyid; printf '{lines}') >middle.ext
         printf '%s\\n' keyUsage=critical,nonRepudiation extendedKeyUsage=critical,1.0.18013.5.1.8 \\
             subjectKeyIdentifier=hash authorityKeyIdentifier=keyid \\
             crlDistributionPoints=URI:http://crl.example/ca.crl >signer.ext
         openssl req -new -key top.key -subj '/C=NL/CN={name} VICAL CA' | openssl x509 -req \\
             -signkey top.key -days 900 -extfile top.ext -set_serial 1 -out top.pem
         openssl req -new -key middle.key -subj '/C=NL/CN={name} VICAL CA 2' | openssl x509 -req \\
             -CA top.pem -CAkey top.key -days 900 -extfile middle.ext -set_serial 2 -out middle.pem
         openssl x509 -req -in ../signer.csr -CA middle.pem -CAkey middle.key -days 800 \\
             -set_serial 0x$(openssl rand -hex 15)01 -extfile signer.ext -out signer.pem"
    ));
}

/// The request that each signer is made of.
fn signer_request(appliance: &Appliance, client: &Client) {
    let csr = client.issue(
        "csrs",
        &json!({
            "type": "generic", "subjectKeyDescriptor": key("leaf-secp256r1"),
            "subjectName": {
                "country": "NL", "organizationName": "Acme", "commonName": "Acme VICAL Signer",
            },
        }),
    );
    fs::write(appliance.path("signer.csr"), csr.ok().json["csrPem"].as_str().unwrap()).unwrap();
}

/// Puts a certificate of `make_chain` into the store; whatever stood there goes.
fn put(appliance: &Appliance, client: &Client, name: &str, id: &str) {
    let pem = fs::read_to_string(appliance.path(&format!("{name}/{id}.pem"))).unwrap();
    let path = format!("/v1/{STORE}.{id}/x509-store-api/certificates");
    client.send("DELETE", &path, &[], "").unwrap();
    let body = json!({ "type": "base", "certificatePem": pem });
    assert_eq!(client.post(&path, &body.to_string()).status, 201);
}

/// Makes a certificate of Acme's chain once more, by the same CA over the same key; `line` is an
/// extension in place of the one of its type.
fn reissue(appliance: &Appliance, id: &str, ca: &str, line: &str) {
    let name = line.split('=').next().unwrap().replace("2.5.29.35", "authorityKeyIdentifier");
    appliance.shell(&format!(
        "cd Acme; cp {id}.pem {id}.good; (grep -v '^{name}=' {id}.ext; echo '{line}') >new.ext
         subject=$(openssl x509 -in {id}.good -noout -subject -nameopt compat)
         openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout unused.key \\
             -subj \"/${{subject#*/}}\" | openssl x509 -req -CA {ca}.pem -CAkey {ca}.key -days 700 \\
             -extfile new.ext -set_serial 0x$(openssl rand -hex 15)01 \\
             -force_pubkey <(openssl x509 -in {id}.good -noout -pubkey) -out {id}.pem"
    ));
}

/// Undoes that.
fn put_back(appliance: &Appliance, client: &Client, id: &str) {
    appliance.shell(&format!("cd Acme; mv {id}.good {id}.pem"));
    put(appliance, client, "Acme", id);
}

#[track_caller]
fn refused(answer: &Answer) {
    let permission = format!("with resource:write on {CHAINED}");
    crate::support::refused(answer, 403, None, &permission);
}

#[test]
fn who_may_write_into_the_store_does_not_choose_under_whose_name_a_vical_is_published() {
    let appliance = appliance();
    chained(&appliance);
    let certificate = appliance.add_client("publisher", &[("test", &PERMISSIONS)]);
    let daemon = appliance.start();
    let admin = &daemon.client;
    let publisher = daemon.client_with(&appliance, &certificate);
    signer_request(&appliance, admin);
    admin.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    for name in ["Acme", "Evil", "Next"] {
        make_chain(&appliance, name, "");
    }
    for id in ["signer", "middle", "top"] {
        put(&appliance, &publisher, "Acme", id);
    }
    publish_at(&publisher, CHAINED, &by_acme()).ok();
    let changes = "select count(*) from audit_entries where cast(entry as text) like \
                   '%\"type\":\"vical-signer-changed\"%'";
    assert_eq!(appliance.count(changes), 0);

    // Another chain, whole; the same certificates as issued anew by the same CAs; one of them alone.
    let signed = "select count(*) from intents where purpose = 'vical'";
    let signed_before = appliance.count(signed);
    for id in ["signer", "middle", "top"] {
        put(&appliance, &publisher, "Evil", id);
    }
    refused(&publish_at(&publisher, CHAINED, &by_acme()));
    for id in ["signer", "middle", "top"] {
        put(&appliance, &publisher, "Acme", id);
    }
    publish_at(&publisher, CHAINED, &by_acme()).ok();
    for (id, ca) in [("signer", "middle"), ("middle", "top")] {
        reissue(&appliance, id, ca, "");
        put(&appliance, &publisher, "Acme", id);
        refused(&publish_at(&publisher, CHAINED, &by_acme()));
        put_back(&appliance, &publisher, id);
        publish_at(&publisher, CHAINED, &by_acme()).ok();
    }
    assert_eq!(appliance.count(signed), signed_before + 3, "nothing was signed for the refused");

    // Who has the right publishes a new signer; from then on it is the one, after a restart too.
    for id in ["signer", "middle", "top"] {
        put(&appliance, &publisher, "Next", id);
    }
    refused(&publish_at(&publisher, CHAINED, &by_acme()));
    let changed = publish_at(admin, CHAINED, &by_acme()).ok();
    let detail =
        format!("{changes} and cast(entry as text) like '%{}%'", sha256_of(&appliance, "Next"));
    assert_eq!(appliance.count(&detail), 1);
    assert_eq!(changed.json["entryCount"], 1);
    publish_at(&publisher, CHAINED, &by_acme()).ok();
    daemon.stop();
    let daemon = appliance.start();
    let publisher = daemon.client_with(&appliance, &certificate);
    publish_at(&publisher, CHAINED, &by_acme()).ok();
    for id in ["signer", "middle", "top"] {
        put(&appliance, &publisher, "Acme", id);
    }
    refused(&publish_at(&publisher, CHAINED, &by_acme()));
    assert_eq!(appliance.count(changes), 1);
    // The signer of another service is its own affair.
    issue_signer(&daemon.client);
    publish(&publisher, &by_acme()).ok();
    daemon.stop();

    // A ledger that was made before signers were recorded: the first publication records.
    appliance.ledger().execute("delete from vical_signers", []).unwrap();
    let daemon = appliance.start();
    let publisher = daemon.client_with(&appliance, &certificate);
    publish_at(&publisher, CHAINED, &by_acme()).ok();
    for id in ["signer", "middle", "top"] {
        put(&appliance, &publisher, "Evil", id);
    }
    refused(&publish_at(&publisher, CHAINED, &by_acme()));
    daemon.stop();
}

fn sha256_of(appliance: &Appliance, name: &str) -> String {
    let print = "openssl x509 -noout -fingerprint -sha256 -in";
    let printed = appliance.shell(&format!("{print} {name}/signer.pem"));
    printed.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
}

#[test]
fn of_two_first_publications_with_two_signers_one_is_refused() {
    let appliance = appliance();
    chained(&appliance);
    let certificate = appliance.add_client("publisher", &[("test", &PERMISSIONS)]);
    let daemon = appliance.start();
    signer_request(&appliance, &daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    for name in ["Acme", "Evil"] {
        make_chain(&appliance, name, "");
    }
    let publisher = daemon.client_with(&appliance, &certificate);
    let put_all = |name: &str| {
        for id in ["signer", "middle", "top"] {
            put(&appliance, &publisher, name, id);
        }
    };
    put_all("Acme");
    // The first has begun and waits for its signature while the second comes.
    let frozen = Frozen::signers_of(&daemon);
    thread::scope(|scope| {
        let first = scope.spawn(|| publish_at(&publisher.clone(), CHAINED, &by_acme()));
        let begun = "select count(*) from intents where purpose = 'vical' and state = 'open'";
        until(SOON, || (appliance.count(begun) == 1).then_some(())).expect("it has not begun");
        put_all("Evil");
        refused(&publish_at(&publisher, CHAINED, &by_acme()));
        frozen.thaw();
        first.join().unwrap().ok();
    });
    refused(&publish_at(&publisher, CHAINED, &by_acme()));
    daemon.stop();
}

#[test]
fn a_strict_signer_has_the_key_identifiers_of_its_own_key_and_of_its_issuers() {
    let appliance = appliance();
    chained(&appliance);
    let daemon = appliance.start();
    let admin = &daemon.client;
    signer_request(&appliance, admin);
    admin.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    make_chain(&appliance, "Acme", "");
    for id in ["signer", "middle", "top"] {
        put(&appliance, admin, "Acme", id);
    }
    publish_at(admin, CHAINED, &by_acme()).ok();
    assert!(!daemon.log().contains("does not have the VICAL signer profile"), "{}", daemon.log());
    daemon.stop();
    set(&appliance, "strict = true");
    let daemon = appliance.start();
    publish_at(&daemon.client, CHAINED, &by_acme()).ok();
    let other = "01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14";
    let raw_aki = "DER:30:16:80:14:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14";
    for (id, ca, line, words) in [
        (
            "signer",
            "middle",
            format!("subjectKeyIdentifier={other}"),
            "subjectKeyIdentifier must be",
        ),
        ("signer", "middle", format!("2.5.29.35={raw_aki}"), "authorityKeyIdentifier of"),
        ("middle", "top", format!("2.5.29.35={raw_aki}"), "authorityKeyIdentifier of"),
    ] {
        reissue(&appliance, id, ca, &line);
        put(&appliance, &daemon.client, "Acme", id);
        let answer = publish_at(&daemon.client, CHAINED, &by_acme());
        crate::support::refused(&answer, 400, None, words);
        put_back(&appliance, &daemon.client, id);
    }
    publish_at(&daemon.client, CHAINED, &by_acme()).ok();
    daemon.stop();
}
