//! What is refused, and publishes nothing.

use super::*;

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, field: Option<&str>, words: &str) {
    assert_eq!(answer.status, status, "{}", answer.json);
    assert_eq!(answer.json["field"].as_str(), field, "{}", answer.json);
    let message = answer.json["message"].as_str().unwrap();
    assert!(message.contains(words), "{message}");
}

#[test]
fn what_breaks_a_rule_is_refused_and_nothing_is_published() {
    let appliance = appliance();
    appliance.configure(|text| {
        text.replace(
            &format!("path = \"{KMS}\"\ntype = \"kms\"\n"),
            &format!(
                "path = \"{KMS}\"\ntype = \"kms\"\n[services.policies]\n\
                 secp256r1 = [\"iaca\", \"generic\"]\n"
            ),
        )
    });
    let vical = |name: &str| format!("test.tenant1.{name}");
    for (name, key, certificate) in [
        ("mismatch", "leaf-secp256r1", "vical-signer"),
        ("no-key", "none", "vical-signer"),
        ("no-certificate", SIGNER_KEY, "none"),
        ("policy", "secp256r1", "vical-signer"),
        ("rsa", "root-rsa3072", "rsa"),
        ("chainless", "leaf-secp256r1", "leaf"),
        ("short-lived", "ds-secp256r1", "short-lived"),
    ] {
        appliance.declare(&service(&vical(name), key, certificate, &with_store()));
    }
    let wrong_chain = format!(
        "{}\nsigner_certificate_chain = [\"{STORE}.vical-signer\", \"{STORE}.rsa\"]",
        with_store()
    );
    appliance.declare(&service(&vical("wrong-chain"), "leaf-secp256r1", "leaf", &wrong_chain));
    appliance.declare(&service(&vical("storeless"), SIGNER_KEY, "vical-signer", ""));
    let daemon = appliance.start();
    let client = &daemon.client;
    issue_signer(client);
    client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let mut rsa = generic_ca("root-rsa3072", "RSA");
    rsa["storedCertificateId"] = "rsa".into();
    client.issue("certificate", &rsa).ok();
    let mut leaf = generic_ca(SIGNER_KEY, "Leaf");
    leaf["storedCertificateId"] = "leaf".into();
    leaf["certificateData"]["isCertificateAuthority"] = false.into();
    leaf["certificateData"]["keyUsage"] = json!(["NonRepudiation"]);
    leaf["subjectPublicKeySource"]["keyDescriptor"] = key("leaf-secp256r1");
    leaf["issuer"] = json!({ "type": "ca-signed", "issuerKeyDescriptor": key(SIGNER_KEY) });
    client.issue("certificate", &leaf).ok();
    let mut short = generic_ca("ds-secp256r1", "Short-lived");
    short["storedCertificateId"] = "short-lived".into();
    let soon = chancery::domain::time::Timestamp::now().plus_seconds(2);
    short["certificateData"]["notAfter"] = soon.to_string().into();
    short["certificateData"]["notBefore"] = "2026-01-01T00:00:00Z".into();
    client.issue("certificate", &short).ok();
    thread::sleep(Duration::from_secs(4));

    // Bodies.
    let at = "2026-06-15T09:40:00Z";
    let provider = |more: Value| {
        let mut body = by_acme();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, field, words) in [
        (json!({}), "/vicalProvider", "required"),
        (json!({ "vicalProvider": " " }), "/vicalProvider", "blank"),
        (provider(json!({ "versionId": "a.b" })), "/versionId", "versionId"),
        (provider(json!({ "versionId": "" })), "/versionId", "versionId"),
        (provider(json!({ "issuanceDate": "today" })), "/issuanceDate", "RFC 3339"),
        (provider(json!({ "unknown": 1 })), "/unknown", "unknown member 'unknown'"),
        (provider(json!({ "issuanceDate": at, "nextUpdate": at })), "/nextUpdate", "later than"),
        (provider(json!({ "nextUpdate": "2020-01-01T00:00:00Z" })), "/nextUpdate", "later than"),
    ] {
        assert_refused(&publish(client, &body), 400, Some(field), words);
    }

    // Signers and keys; nothing in the request is to blame.
    for (name, status, words) in [
        ("mismatch", 400, "does not belong to the signing key"),
        ("chainless", 400, "chain is missing"),
        ("wrong-chain", 400, "chain does not verify"),
        ("short-lived", 400, "not now"),
        ("rsa", 400, "RSA is not allowed"),
        ("storeless", 400, "no vical-entry in the attached stores"),
        ("policy", 403, "may not sign profile vical"),
        ("no-key", 404, "key test.tenant1.kms1.none not found"),
        ("no-certificate", 404, "does not exist"),
    ] {
        assert_refused(&publish_at(client, &vical(name), &by_acme()), status, None, words);
    }

    // Before the first publication.
    let none = fetch(&daemon, &latest("/manifest"), &[]);
    assert_eq!((none.status, none.text()), (404, "not found"));
    let none = client.get(&latest("/manifest"));
    assert_eq!((none.status, none.json["message"].as_str()), (404, Some("no version published")));
    let ids = client.get(&format!("/v1/{VICAL}/vical-service-api/versions/ids"));
    assert_eq!(ids.ok().json, json!([]));
    assert_eq!(appliance.count("select count(*) from intents where purpose = 'vical'"), 0);
    assert_eq!(publish(client, &by_acme()).ok().json["vicalIssueId"], 1);
    daemon.stop();
}

#[test]
fn what_another_organisation_has_is_not_signed_with() {
    let appliance = appliance();
    appliance.configure(|text| {
        text.replace("path = \"test\"\n", "path = \"test\"\n[[organisations]]\npath = \"other\"\n")
            .replace("{ path = \"test\", ", "{ path = \"other\", permissions = [\"resource:write\"] },\n    { path = \"test\", ")
    });
    let daemon = appliance.start();
    let body = json!({
        "type": "vical-service", "signingKeyId": format!("{KMS}.{SIGNER_KEY}"),
        "signerCertificateId": format!("{STORE}.vical-signer"),
    });
    let path = "/v1/other.vical/resource-api/services/create";
    let refused = daemon.client.post(path, &body.to_string());
    assert_refused(&refused, 400, Some("/signingKeyId"), "another organisation");
    daemon.stop();

    appliance.declare(&service("other.vical", SIGNER_KEY, "vical-signer", ""));
    let output = appliance.run(&["check", "--config", appliance.config().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("another organisation"), "{text}");
}

#[test]
fn the_strict_mode_refuses_what_is_only_reported_without_it() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let answer = publish(&daemon.client, &by_acme()).ok();
    assert!(daemon.log().contains("does not have the VICAL signer profile"));
    let index = answer.header("chancery-audit-index").unwrap();
    let warned = format!(
        "select count(*) from audit_entries where idx = {index} and \
         cast(entry as text) like '%VICAL signer profile%nonRepudiation%'"
    );
    assert_eq!(appliance.count(&warned), 1);
    // A signer with the whole profile, made elsewhere from a CSR of ours.
    let csr = daemon.client.issue(
        "csrs",
        &json!({
            "type": "generic", "subjectKeyDescriptor": key("leaf-secp256r1"),
            "subjectName": {
                "country": "NL", "organizationName": "Acme", "commonName": "Acme VICAL Signer",
            },
        }),
    );
    fs::write(appliance.path("signer.csr"), csr.ok().json["csrPem"].as_str().unwrap()).unwrap();
    appliance.shell(
        "openssl ecparam -name prime256v1 -genkey -noout -out ca.key
         openssl req -x509 -new -key ca.key -days 900 -subj '/C=NL/CN=VICAL CA' \
             -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign' \
             -out ca.pem
         printf '%s\\n' 'keyUsage=critical,nonRepudiation' \
             'extendedKeyUsage=critical,1.0.18013.5.1.8' 'subjectKeyIdentifier=hash' \
             'authorityKeyIdentifier=keyid' 'crlDistributionPoints=URI:http://crl.example/ca.crl' \
             >signer.ext
         openssl x509 -req -in signer.csr -CA ca.pem -CAkey ca.key -days 800 \
             -set_serial 0x$(openssl rand -hex 15)01 -extfile signer.ext -out signer.pem",
    );
    for (id, file) in [("profiled", "signer.pem"), ("vical-ca", "ca.pem")] {
        let pem = fs::read_to_string(appliance.path(file)).unwrap();
        let body = json!({ "type": "base", "certificatePem": pem }).to_string();
        let path = format!("/v1/{STORE}.{id}/x509-store-api/certificates");
        assert_eq!(daemon.client.post(&path, &body).status, 201);
    }
    daemon.stop();

    set(&appliance, "strict = true");
    let profiled = "test.tenant1.vical-2";
    let chain = format!("{}\nsigner_certificate_chain = [\"{STORE}.vical-ca\"]", with_store());
    appliance.declare(&service(profiled, "leaf-secp256r1", "profiled", &chain));
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let refused = publish(&daemon.client, &by_acme());
    assert_refused(&refused, 400, None, "does not have the VICAL signer profile");

    publish_at(&daemon.client, profiled, &by_acme()).ok();
    let path = format!("/v1/{profiled}/vical-service-api/latest");
    let octets = fetch(&daemon, &format!("{path}?format=cbor"), &[]).ok().body;
    let said = judged(&appliance, &octets);
    let names = json!(["CN=Acme VICAL Signer,O=Acme,C=NL", "CN=VICAL CA,C=NL"]);
    assert_eq!(said["chain"].as_array().unwrap().len(), 2);
    assert_eq!(said["chain"][1], names[1]);
    let trust = fetch(&daemon, &format!("{path}/trust-material"), &[]).ok().json();
    let ca = fs::read_to_string(appliance.path("ca.pem")).unwrap();
    assert_eq!(trust["signerCertificateChainPem"], json!([ca]));

    // In an entry, too.
    let pem = daemon.client.get(&format!("/v1/{STORE}.a/x509-store-api/certificates")).ok();
    let body = json!({
        "type": "vical-entry", "certificatePem": pem.json["data"]["pem"],
        "complementaryMetadata": { "docType": ["a"], "certificateProfile": ["free"] },
    });
    let entry = format!("/v1/{STORE}.b/x509-store-api/certificates");
    assert_eq!(daemon.client.post(&entry, &body.to_string()).status, 201);
    let refused = publish_at(&daemon.client, profiled, &by_acme());
    assert_refused(&refused, 400, None, "'free'");
    daemon.stop();
}

#[test]
fn what_the_signers_chain_forbids_is_not_published_strict_or_not() {
    let appliance = appliance();
    let profiled = "test.tenant1.vical-2";
    let chain = format!("{}\nsigner_certificate_chain = [\"{STORE}.ca\"]", with_store());
    appliance.declare(&service(profiled, "leaf-secp256r1", "signer", &chain));
    set(&appliance, "allow_empty = true");
    let daemon = appliance.start();
    let public = format!("/v1/{KMS}.leaf-secp256r1/kms-service-api/keys?format=pem");
    let pem = daemon.client.get(&public).ok().json["publicKeyPem"].as_str().unwrap().to_owned();
    fs::write(appliance.path("signer.pub"), pem).unwrap();
    appliance.shell("openssl ecparam -name prime256v1 -genkey -noout -out ca.key");
    let purpose = "extendedKeyUsage=critical,1.0.18013.5.1.8";
    for (of_ca, of_signer, words) in [
        (&[][..], &[][..], ""),
        (&["nameConstraints=critical,permitted;dirName:n", "[n]", "C=NL"], &[], ""),
        (
            &["nameConstraints=critical,permitted;dirName:n", "[n]", "C=DE"],
            &[],
            "forbid the subject",
        ),
        (
            &["nameConstraints=critical,excluded;DNS:acme.example"],
            &["subjectAltName=DNS:www.acme.example"],
            "forbid the DNS name",
        ),
        (&["1.2.3.4=critical,DER:0500"], &[], "critical extension 1.2.3.4"),
        (&["policyConstraints=requireExplicitPolicy:0"], &[], "certificate policy"),
        (&["extendedKeyUsage=serverAuth"], &[purpose], "does not hold 1.0.18013.5.1.8"),
        (&["extendedKeyUsage=1.0.18013.5.1.8"], &[purpose], ""),
        (&[], &["1.2.3.4=critical,DER:0500"], "critical extension 1.2.3.4"),
    ] {
        let ca = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"];
        fs::write(appliance.path("ca.ext"), [&ca[..], of_ca].concat().join("\n") + "\n").unwrap();
        let signer = ["keyUsage=critical,nonRepudiation"];
        let signer = [&signer[..], of_signer].concat().join("\n") + "\n";
        fs::write(appliance.path("signer.ext"), signer).unwrap();
        appliance.shell(
            "openssl x509 -new -key ca.key -days 900 -subj '/C=NL/CN=VICAL CA' -extfile ca.ext \
                 -out ca.pem 2>/dev/null
             openssl x509 -new -force_pubkey signer.pub -subj '/C=NL/CN=Signer' -CA ca.pem \
                 -CAkey ca.key -days 800 -set_serial 0x$(openssl rand -hex 15)01 \
                 -extfile signer.ext -out signer.pem 2>/dev/null",
        );
        for id in ["signer", "ca"] {
            let pem = fs::read_to_string(appliance.path(&format!("{id}.pem"))).unwrap();
            let body = json!({ "type": "base", "certificatePem": pem }).to_string();
            let path = format!("/v1/{STORE}.{id}/x509-store-api/certificates");
            let _ = daemon.client.send("DELETE", &path, &[], "");
            assert_eq!(daemon.client.post(&path, &body).status, 201);
        }
        let answer = publish_at(&daemon.client, profiled, &by_acme());
        match words {
            "" => {
                answer.ok();
            }
            words => assert_refused(&answer, 400, None, words),
        }
    }
}
