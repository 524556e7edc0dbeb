//! Certificates of every profile and key type, made with throw-away keys and judged by OpenSSL: we
//! do not grade only with our own reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use chancery::{domain, x509};

#[path = "../src/domain/fixtures.rs"]
mod fixtures;

use domain::{key::KeyType, request::PathLength};
use fixtures::SoftwareKey;
use x509::{
    Certificate, Issuer, SignedCertificate, UnsignedCertificate,
    csr::{CertificationRequest, UnsignedRequest},
    lint,
    plan::TbsPlan,
    profile::{document_signer, generic, iaca},
};

const EC: [KeyType; 3] = [KeyType::P256, KeyType::P384, KeyType::P521];

#[test]
fn openssl_accepts_an_iaca_and_its_document_signer_on_every_curve() {
    let desk = Desk::open("iso");
    for key_type in EC {
        let iaca_key = SoftwareKey::generate(key_type);
        let root = sign(iaca_plan(&iaca_key), &iaca_key);
        let certificate = Certificate::from_pem(&root.pem()).unwrap();
        assert!(certificate.is_self_signed());
        assert_eq!(lint::supplied_iaca(&certificate), Ok(()));

        let issuer = Issuer::of_certificate(&certificate).unwrap();
        let key = SoftwareKey::generate(key_type);
        let data = fixtures::document_signer_data();
        let validity = fixtures::document_signer_validity();
        let plan = document_signer::plan(fixtures::serial(), &data, validity, &issuer, &key.public);
        let signer = sign(plan.unwrap(), &iaca_key);
        assert!(Certificate::from_der(signer.der()).unwrap().is_signed_by(&iaca_key.public));

        let root_text = desk.text(&root);
        for expected in [
            "Version: 3 (0x2)",
            "Issuer: C = NL, CN = Acme Licence Root 2026, ST = Utrecht, O = Acme Vehicle Authority",
            "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0",
            "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign",
            "X509v3 Issuer Alternative Name: \n                email:pki@acme.example, URI:https://licences.acme.example/iaca",
            "URI:http://pki.acme.example/crl/root.crl",
        ] {
            assert!(root_text.contains(expected), "{expected}\n{root_text}");
        }
        let signer_text = desk.text(&signer);
        for expected in [
            "X509v3 Key Usage: critical\n                Digital Signature",
            "X509v3 Extended Key Usage: critical\n                1.0.18013.5.1.2",
            "X509v3 Authority Key Identifier: \n",
            "X509v3 Issuer Alternative Name: \n                email:pki@acme.example, URI:https://licences.acme.example/iaca",
        ] {
            assert!(signer_text.contains(expected), "{expected}\n{signer_text}");
        }
        assert!(!signer_text.contains("Basic Constraints"), "{signer_text}");
        desk.verify(&[&root], &signer);
    }
}

#[test]
fn openssl_accepts_generic_chains_of_three_on_every_key_type() {
    let desk = Desk::open("generic");
    for key_type in EC.into_iter().chain([KeyType::Rsa3072, KeyType::Rsa4096]) {
        let root_key = SoftwareKey::generate(key_type);
        let options = generic::Options::default();
        let validity = fixtures::iaca_validity();
        let data = fixtures::generic_ca();
        let plan =
            generic::self_signed(fixtures::serial(), &data, validity, &root_key.public, options);
        let root = sign(plan.unwrap(), &root_key);

        let middle_key = SoftwareKey::generate(KeyType::P256);
        let mut data = fixtures::generic_ca();
        data.subject = fixtures::name("NL", "Acme Intermediate 1");
        data.certificate_authority = Some(PathLength::Unlimited);
        let middle = sign(under(&root, &data, &middle_key), &root_key);
        assert_eq!(Certificate::from_der(middle.der()).unwrap().path_length(), Some(0));

        let leaf_key = SoftwareKey::generate(KeyType::P384);
        let data = fixtures::generic_leaf_with_everything();
        let leaf = sign(under(&middle, &data, &leaf_key), &middle_key);
        let text = desk.text(&leaf);
        for expected in [
            "X509v3 Basic Constraints: critical\n                CA:FALSE",
            "X509v3 Key Usage: critical\n                Digital Signature, Key Agreement, Decipher Only",
            "X509v3 Extended Key Usage: \n                TLS Web Server Authentication, TLS Web Client Authentication",
            "X509v3 Subject Alternative Name: \n                DNS:gateway.acme.example, DNS:*.acme.example, URI:urn:acme:gateway, email:gateway@acme.example, IP Address:192.0.2.17, IP Address:2001:DB8:0:0:0:0:0:17",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        desk.verify(&[&root, &middle], &leaf);
    }
}

#[test]
fn openssl_accepts_a_self_signed_leaf_on_every_key_type_that_signs_certificates() {
    let desk = Desk::open("leaf");
    for key_type in KeyType::ALL.into_iter().filter(|key_type| *key_type != KeyType::Ed25519) {
        let key = SoftwareKey::generate(key_type);
        let data = fixtures::generic_leaf();
        let options = generic::Options::default();
        let validity = fixtures::document_signer_validity();
        let plan = generic::self_signed(fixtures::serial(), &data, validity, &key.public, options);
        let leaf = sign(plan.unwrap(), &key);
        desk.verify(&[&leaf], &leaf);
    }
}

#[test]
fn openssl_accepts_our_requests_and_we_accept_those_of_openssl() {
    let desk = Desk::open("csr");
    for key_type in KeyType::ALL {
        let key = SoftwareKey::generate(key_type);
        for names in [fixtures::alternative_names(), Default::default()] {
            let subject = fixtures::generic_leaf().subject;
            let request = UnsignedRequest::encode(&subject, &names, &key.public).unwrap();
            let signature = key.sign(request.tbs_der());
            let signed = request.assemble(signature).unwrap();
            let path = desk.write("ours.csr", &signed.pem());
            let text = openssl(&["req", "-verify", "-noout", "-text", "-in", &path]);
            assert!(text.contains("Version: 1 (0x0)"), "{text}");
            assert_eq!(text.contains("DNS:gateway.acme.example"), !names.is_empty(), "{text}");
            let read = CertificationRequest::from_pem(&signed.pem()).unwrap();
            assert_eq!(*read.public_key(), key.public);
        }
    }
    let theirs = |digest: &str, key: &[&str]| {
        let path = desk.path("theirs.key");
        let path = path.to_str().unwrap();
        let new = ["req", "-new", "-nodes", "-keyout", path, "-subj", "/CN=theirs", digest];
        openssl(&[&new, key].concat())
    };
    let p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for digest in ["-sha256", "-sha384", "-sha512"] {
        for key in [&p256[..], &["-newkey", "rsa:2048"]] {
            CertificationRequest::from_pem(&theirs(digest, key)).unwrap();
        }
    }
    for key in [&p256[..], &["-newkey", "rsa:2048"]] {
        let refused = CertificationRequest::from_pem(&theirs("-sha1", key)).unwrap_err();
        assert_eq!(refused, x509::csr::CsrError::Sha1);
    }
    let k256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"];
    let refused = CertificationRequest::from_pem(&theirs("-sha256", &k256)).unwrap_err();
    assert_eq!(refused.to_string(), "key type secp256k1 is not supported");
    let edwards = CertificationRequest::from_pem(&theirs("-sha256", &["-newkey", "ed25519"]));
    assert_eq!(edwards.unwrap().public_key().key_type(), KeyType::Ed25519);
    let refused = CertificationRequest::from_pem(&theirs("-sha256", &["-newkey", "ed448"]));
    assert_eq!(refused.unwrap_err().to_string(), "key type Ed448 is not supported");
}

#[test]
fn an_iaca_that_openssl_made_is_an_iaca_and_signs_a_document_signer() {
    let desk = Desk::open("foreign");
    let made = |name: &str, extensions: &str, key: &[&str]| {
        let configuration = format!(
            "[req]\nprompt=no\ndistinguished_name=dn\nx509_extensions=ext\nstring_mask=default\n\
             [dn]\nC=NL\nST=Utrecht\nO=Foreign Authority\nCN=Foreign Root\n[ext]\n{extensions}\n"
        );
        let configuration = desk.write(&format!("{name}.cnf"), &configuration);
        let private = desk.path(&format!("{name}.key"));
        let private = private.to_str().unwrap();
        let new = ["req", "-x509", "-new", "-nodes", "-days", "3650", "-keyout", private];
        let text = openssl(&[&new, &["-config", &configuration][..], key].concat());
        (Certificate::from_pem(&text).unwrap(), private.to_owned())
    };
    let p384 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"];
    let good = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
                subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n\
                issuerAltName=email:pki@foreign.example";
    let (iaca, private) = made("good", good, &p384);
    assert!(iaca.is_self_signed());
    assert_eq!(lint::supplied_iaca(&iaca), Ok(()));
    assert_eq!(iaca.subject().to_string(), "C=NL,ST=Utrecht,O=Foreign Authority,CN=Foreign Root");

    let issuer = Issuer::of_certificate(&iaca).unwrap();
    let mut data = fixtures::document_signer_data();
    let now = iaca.validity().not_before();
    let validity = data.validity.resolve(now, document_signer::VALIDITY, Some(issuer.validity));
    data.subject.locality = None;
    let key = fixtures::second_key();
    let plan =
        document_signer::plan(fixtures::serial(), &data, validity.unwrap(), &issuer, &key).unwrap();
    let unsigned = UnsignedCertificate::encode(plan).unwrap();
    fs::write(desk.path("tbs"), unsigned.tbs_der()).unwrap();
    let (tbs, signature) = (desk.path("tbs"), desk.path("signature"));
    let (tbs, out) = (tbs.to_str().unwrap(), signature.to_str().unwrap());
    openssl(&["dgst", "-sha384", "-sign", &private, "-out", out, tbs]);
    let signature = domain::key::Signature::from_x509_octets(fs::read(&signature).unwrap());
    let signer = unsigned.assemble(signature).unwrap();
    let root = desk.write("root.pem", &iaca.pem());
    let leaf = desk.write("leaf.pem", &signer.pem());
    openssl(&["verify", "-x509_strict", "-CAfile", &root, &leaf]);

    for (change, to, words) in [
        ("pathlen:0", "pathlen:1", "pathLenConstraint must be 0"),
        (",cRLSign", "", "keyUsage must be exactly keyCertSign and cRLSign"),
        ("email:pki@", "DNS:pki.", "issuerAltName must have an e-mail address or a URI"),
    ] {
        let (other, _) = made("bad", &good.replace(change, to), &p384);
        assert_eq!(lint::supplied_iaca(&other).unwrap_err().detail, words);
    }
    for (key, words) in [
        (&["-newkey", "rsa:3072"][..], "the signature algorithm must be ECDSA"),
        (&["-newkey", "ed25519"], "the signature algorithm must be ECDSA"),
    ] {
        let (other, _) = made("bad", good, key);
        assert!(lint::supplied_iaca(&other).unwrap_err().detail.starts_with(words));
        assert_eq!(other.is_self_signed(), other.public_key().is_ok());
    }
}

fn iaca_plan(key: &SoftwareKey) -> TbsPlan {
    let data = fixtures::iaca_data_with_everything();
    let options = iaca::Options::default();
    let validity = fixtures::iaca_validity();
    iaca::plan(fixtures::serial(), &data, validity, &key.public, options).unwrap()
}

fn under(
    issuer: &SignedCertificate,
    data: &domain::request::GenericData,
    key: &SoftwareKey,
) -> TbsPlan {
    let certificate = Certificate::from_der(issuer.der()).unwrap();
    let issuer = Issuer::of_certificate(&certificate).unwrap();
    let validity = fixtures::document_signer_validity();
    let options = generic::Options::default();
    generic::ca_signed(fixtures::serial(), data, validity, &issuer, &key.public, options).unwrap()
}

fn sign(plan: TbsPlan, key: &SoftwareKey) -> SignedCertificate {
    let unsigned = UnsignedCertificate::encode(plan).unwrap();
    let signature = key.sign(unsigned.tbs_der());
    unsigned.assemble(signature).unwrap()
}

/// A directory for one test, and OpenSSL to ask.
struct Desk(PathBuf);

impl Desk {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("openssl-{name}"));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn text(&self, certificate: &SignedCertificate) -> String {
        let path = self.write("text.pem", &certificate.pem());
        openssl(&["x509", "-noout", "-text", "-nameopt", "oneline", "-in", &path])
    }

    /// `chain` begins with the root. The time is one at which all are valid.
    fn verify(&self, chain: &[&SignedCertificate], leaf: &SignedCertificate) {
        let root = self.write("root.pem", &chain[0].pem());
        let others: String = chain[1..].iter().map(|certificate| certificate.pem()).collect();
        let others = self.write("others.pem", &others);
        let leaf = self.write("leaf.pem", &leaf.pem());
        let now = fixtures::at("2026-07-01T00:00:00Z").unix().to_string();
        let mut arguments = vec!["verify", "-x509_strict", "-attime", &now];
        arguments.extend(["-CAfile", &root]);
        if chain.len() > 1 {
            arguments.extend(["-untrusted", &others]);
        }
        arguments.push(&leaf);
        let answer = openssl(&arguments);
        assert!(answer.contains("leaf.pem: OK"), "{answer}");
    }
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output();
    let output = output.expect("openssl is needed; ./tests/run.sh installs what is missing");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
