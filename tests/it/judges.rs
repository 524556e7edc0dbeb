//! Other implementations judge everything that the daemon issues: OpenSSL, webpki, pkilint,
//! pyca/cryptography, and a checker written from the tables of ISO/IEC 18013-5 Annex B.
//! Those in Python live where `./tests/run.sh` puts them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use serde_json::Value;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use crate::corpus::{Corpus, Issued, Kind};

/// TLS servers of the corpus.
const SERVERS: [(&str, &str); 4] = [
    ("leaf-with-everything", "gateway.acme.example"),
    ("leaf-secp384r1", "p384.acme.example"),
    ("leaf-secp256r1", "p256.acme.example"),
    ("leaf-rsa2048", "rsa.acme.example"),
];

/// 1.0.18013.5.1.2, mdlDS, as the content of an OBJECT IDENTIFIER.
const MDL_DS: &[u8] = &[0x28, 0x81, 0x8c, 0x5d, 0x05, 0x01, 0x02];

#[test]
fn openssl_verifies_every_certificate_strictly() {
    let corpus = Corpus::of_this_run();
    for issued in &corpus.certificates {
        let mut arguments =
            vec!["verify".to_owned(), "-x509_strict".into(), "-check_ss_sig".into()];
        arguments.extend(chain_arguments(corpus, issued));
        if let Some(second) = issued.valid_at {
            arguments.extend(["-attime".into(), second.to_string()]);
        }
        arguments.push(corpus.file(issued.name));
        openssl(&arguments);
    }
    for (name, host) in SERVERS {
        let mut arguments = vec!["verify".to_owned(), "-x509_strict".into()];
        arguments.extend(["-purpose", "sslserver", "-verify_hostname", host].map(str::to_owned));
        arguments.extend(chain_arguments(corpus, corpus.certificate(name)));
        arguments.push(corpus.file(name));
        openssl(&arguments);
    }
}

fn chain_arguments(corpus: &Corpus, issued: &Issued) -> Vec<String> {
    let mut chain = corpus.chain(issued);
    let root = chain.pop().unwrap_or(issued);
    let mut arguments = vec!["-no-CApath".to_owned(), "-CAfile".into(), corpus.file(root.name)];
    for intermediate in chain {
        arguments.extend(["-untrusted".into(), corpus.file(intermediate.name)]);
    }
    arguments
}

#[test]
fn openssl_reads_what_was_asked_for() {
    let corpus = Corpus::of_this_run();
    for issued in &corpus.certificates {
        let text = text_of(corpus, "x509", issued.name);
        let (shown, hidden): (&[_], &[_]) = match issued.kind {
            Kind::Iaca => (
                &[
                    "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0\n",
                    "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n",
                    "X509v3 Issuer Alternative Name: \n",
                ],
                &["Extended Key Usage", "Subject Alternative Name"],
            ),
            Kind::DocumentSigner => (
                &[
                    "X509v3 Key Usage: critical\n                Digital Signature\n",
                    "X509v3 Extended Key Usage: critical\n                1.0.18013.5.1.2\n",
                    "X509v3 Issuer Alternative Name: \n",
                    "X509v3 CRL Distribution Points: \n",
                ],
                &["Basic Constraints", "Subject Alternative Name"],
            ),
            Kind::Authority => (
                &[
                    "X509v3 Basic Constraints: critical\n                CA:TRUE",
                    "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n",
                ],
                &["Issuer Alternative Name"],
            ),
            Kind::Leaf => (
                &["X509v3 Basic Constraints: critical\n                CA:FALSE\n"],
                &["Issuer Alternative Name", "Certificate Sign"],
            ),
        };
        let always = ["Version: 3 (0x2)\n", "X509v3 Subject Key Identifier: \n"];
        let asked = issued.shows.iter().map(String::as_str);
        for fact in always.iter().chain(shown).copied().chain(asked) {
            assert!(text.contains(fact), "{} does not show {fact}\n{text}", issued.name);
        }
        for fact in hidden {
            assert!(!text.contains(fact), "{} shows {fact}\n{text}", issued.name);
        }
    }
}

#[test]
fn openssl_and_cryptography_verify_every_request() {
    let corpus = Corpus::of_this_run();
    for (name, shows) in &corpus.requests {
        let text = text_of(corpus, "req", name);
        for fact in shows {
            assert!(text.contains(fact), "{name} does not show {fact}\n{text}");
        }
        python("chain.py", &["request".into(), corpus.file(name)]);
    }
}

fn text_of(corpus: &Corpus, command: &str, name: &str) -> String {
    let mut arguments = vec![command, "-noout", "-text", "-nameopt", "oneline"];
    if command == "req" {
        arguments.push("-verify");
    }
    let file = corpus.file(name);
    arguments.extend(["-in", &file]);
    openssl(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
}

#[test]
fn webpki_accepts_generic_servers_and_no_other_root() {
    let corpus = Corpus::of_this_run();
    for (name, host) in SERVERS {
        let issued = corpus.certificate(name);
        let root = corpus.chain(issued).pop().unwrap().name;
        let der = der(corpus, name);
        let leaf = EndEntityCert::try_from(&der).unwrap();
        leaf.verify_is_valid_for_subject_name(&ServerName::try_from(host).unwrap()).unwrap();
        let elsewhere = ServerName::try_from("elsewhere.example").unwrap();
        assert!(leaf.verify_is_valid_for_subject_name(&elsewhere).is_err(), "{name}");

        webpki(corpus, issued, root, KeyUsage::server_auth())
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        for other in corpus.of_kind(Kind::Authority).filter(|other| other.is_self_signed()) {
            let refused = webpki(corpus, issued, other.name, KeyUsage::server_auth()).is_err();
            assert_eq!(refused, other.name != root, "{name} under {}", other.name);
        }
    }
}

#[test]
fn webpki_accepts_document_signers_for_mdl_ds_alone() {
    let corpus = Corpus::of_this_run();
    for issued in corpus.of_kind(Kind::DocumentSigner) {
        for iaca in corpus.of_kind(Kind::Iaca).filter(|iaca| iaca.valid_at.is_none()) {
            let accepted = webpki(corpus, issued, iaca.name, KeyUsage::required(MDL_DS)).is_ok();
            assert_eq!(accepted, iaca.name == issued.issuer, "{} {}", issued.name, iaca.name);
        }
        let refused = webpki(corpus, issued, issued.issuer, KeyUsage::server_auth()).unwrap_err();
        assert!(matches!(refused, Error::RequiredEkuNotFoundContext(_)), "{refused:?}");
    }
}

/// Whether webpki finds a path to one root, through the intermediates of the certificate's chain.
fn webpki(corpus: &Corpus, issued: &Issued, root: &str, usage: KeyUsage) -> Result<(), Error> {
    let root = der(corpus, root);
    let anchors = [anchor_from_trusted_cert(&root).unwrap()];
    let chain = corpus.chain(issued);
    let intermediates: Vec<_> = chain
        .iter()
        .filter(|issuer| !issuer.is_self_signed())
        .map(|issuer| der(corpus, issuer.name))
        .collect();
    let der = der(corpus, issued.name);
    let leaf = EndEntityCert::try_from(&der).unwrap();
    let now = issued.valid_at.map(|second| UnixTime::since_unix_epoch(Duration::from_secs(second)));
    let now = now.unwrap_or_else(UnixTime::now);
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &intermediates, now, usage, None, None)
        .map(drop)
}

fn der(corpus: &Corpus, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(corpus.pem(name).as_bytes()).unwrap()
}

#[test]
fn cryptography_verifies_every_signature_and_every_server() {
    let corpus = Corpus::of_this_run();
    for issued in &corpus.certificates {
        let (file, issuer) = (corpus.file(issued.name), corpus.file(issued.issuer));
        python("chain.py", &["signature".into(), file, issuer]);
    }
    for (name, host) in SERVERS {
        let mut arguments = vec!["server".to_owned(), host.into(), corpus.file(name)];
        let chain = corpus.chain(corpus.certificate(name));
        arguments.extend(chain.iter().map(|issuer| corpus.file(issuer.name)));
        python("chain.py", &arguments);
    }
}

#[test]
fn pkilint_finds_nothing_else_to_warn_of() {
    /// Findings that we accept: of which kind, with which code, about what, and why.
    const ACCEPTED: [(Kind, &str, &str, &str); 3] = [
        (
            Kind::Iaca,
            "pkix.authority_key_id_extension_missing",
            "",
            "RFC 5280 4.2.1.1: it may be omitted where a CA distributes its key in a self-signed \
             certificate; ISO/IEC 18013-5 Table B.1 has no row for it. The linter of pairs does not \
             ask whether issuer and subject are one.",
        ),
        (
            Kind::Leaf,
            "pkix.invalid_domain_name_syntax",
            "*.gateway.acme.example",
            "RFC 5280 4.2.1.6 leaves wildcards to specifications of their use; RFC 9525 6.3 allows \
             one as the whole leftmost label.",
        ),
        (
            Kind::Leaf,
            "pkix.invalid_uri_syntax",
            "urn:acme:gateway",
            "RFC 5280 4.2.1.6 wants a scheme and a scheme-specific part, and a host only where \
             there is an authority. The linter knows URLs alone.",
        ),
    ];

    let corpus = Corpus::of_this_run();
    let mut met = Vec::new();
    let mut findings = Vec::new();
    for issued in &corpus.certificates {
        let (file, issuer) = (corpus.file(issued.name), corpus.file(issued.issuer));
        let lint = pkilint("lint_pkix_cert", &[&file]);
        let pair = pkilint("lint_pkix_signer_signee_cert_chain", &[&issuer, &file]);
        for finding in lint.into_iter().chain(pair) {
            let accepted = ACCEPTED.iter().find(|(kind, code, about, _)| {
                *kind == issued.kind && finding.code == *code && finding.text.contains(about)
            });
            match accepted {
                Some(accepted) => met.push(accepted),
                None => {
                    findings.push(format!("{}: {} {}", issued.name, finding.code, finding.text));
                }
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    for accepted in &ACCEPTED {
        assert!(met.contains(&accepted), "no longer found: {accepted:?}");
    }
}

/// A finding of pkilint.
struct Finding {
    code: String,
    /// Severity, place and message.
    text: String,
}

/// The findings of a pkilint command, from WARNING upwards.
fn pkilint(command: &str, files: &[&str]) -> Vec<Finding> {
    let mut arguments = vec!["lint", "-s", "WARNING", "-f", "JSON"];
    arguments.extend(files);
    let output = judge(command, &arguments);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{command} {files:?}: {output:?}"));
    let mut findings = Vec::new();
    for result in report["results"].as_array().unwrap() {
        for finding in result["finding_descriptions"].as_array().unwrap() {
            findings.push(Finding {
                code: finding["code"].as_str().unwrap().to_owned(),
                text: format!(
                    "{} {} {}",
                    finding["severity"], result["node_path"], finding["message"]
                ),
            });
        }
    }
    // The exit status counts the findings.
    assert_eq!(output.status.success(), findings.is_empty(), "{output:?}");
    findings
}

#[test]
fn the_tables_of_annex_b_hold() {
    let corpus = Corpus::of_this_run();
    for issued in corpus.of_kind(Kind::Iaca) {
        let found = annex_b(&["iaca", &corpus.file(issued.name)]);
        assert!(found.is_empty(), "{}: {found}", issued.name);
    }
    for issued in corpus.of_kind(Kind::DocumentSigner) {
        let (file, iaca) = (corpus.file(issued.name), corpus.file(issued.issuer));
        let found = annex_b(&["document-signer", &file, &iaca]);
        assert!(found.is_empty(), "{}: {found}", issued.name);
        let other = corpus.file("iaca-late");
        assert!(annex_b(&["document-signer", &file, &other]).contains("signatureValue: "));
    }
    for issued in corpus.of_kind(Kind::Authority).chain(corpus.of_kind(Kind::Leaf)) {
        assert!(!annex_b(&["iaca", &corpus.file(issued.name)]).is_empty(), "{}", issued.name);
    }
}

#[test]
fn the_checker_of_annex_b_sees_what_is_wrong() {
    let forge = Forge::new();
    let iaca = forge.iaca("good", "", "");
    assert_eq!(annex_b(&["iaca", &iaca]), "");
    for (from, to, found) in [
        ("pathlen:0", "pathlen:1", "basicConstraints: pathLenConstraint is not 0"),
        ("=critical,CA:TRUE", "=CA:TRUE", "basicConstraints: is not critical"),
        ("CA:TRUE,pathlen:0", "CA:FALSE", "basicConstraints: cA is not TRUE"),
        ("keyUsage=critical,", "keyUsage=", "keyUsage: is not critical"),
        (",cRLSign", "", "keyUsage: is ['key_cert_sign']"),
        (",cRLSign", ",cRLSign,digitalSignature", "keyUsage: is ['crl_sign', 'digital_signature'"),
        ("issuerAltName=email", "issuerAltName=critical,email", "issuerAltName: is critical"),
        ("email:pki@foreign.example", "DNS:foreign.example", "issuerAltName: has neither"),
        ("issuerAltName=email:pki@foreign.example", "", "issuerAltName: is missing"),
        (
            "subjectKeyIdentifier=hash",
            "subjectKeyIdentifier=none",
            "subjectKeyIdentifier: is missing",
        ),
        ("Identifier=hash", "Identifier=0102", "subjectKeyIdentifier: is not the SHA-1"),
        ("[ext]", "[ext]\nextendedKeyUsage=serverAuth", "extKeyUsage: must be left out"),
        ("[ext]", "[ext]\nsubjectAltName=DNS:a.example", "subjectAltName: must be left out"),
        ("[ext]", "[ext]\nnameConstraints=permitted;DNS:a", "nameConstraints is prohibited"),
        ("[ext]", "[ext]\n1.2.3.4=critical,ASN1:NULL", "extensions: 1.2.3.4 is critical"),
        (
            "[ext]",
            "[ext]\ncrlDistributionPoints=p\n[p]\nfullname=URI:http://a.example\nreasons=CACompromise",
            "cRLDistributionPoints: has reasons",
        ),
        ("C=NL", "C=nl", "subject: countryName is not an upper-case"),
        ("C=NL\n", "", "subject: has no countryName"),
        ("CN=Foreign Root\n", "", "subject: has no commonName"),
        ("O=Foreign", "OU=Foreign", "subject: 2.5.4.11 has no row"),
        (
            "string_mask=utf8only",
            "string_mask=MASK:0x800",
            "neither PrintableString nor UTF8String",
        ),
    ] {
        let found_there = annex_b(&["iaca", &forge.iaca("bad", from, to)]);
        assert!(found_there.contains(found), "{from} -> {to}: {found_there}");
    }
    for (options, found) in [
        ("-days 7400", "validity: is longer than 20 years"),
        ("-set_serial 7", "serialNumber: has no room"),
        ("-set_serial -0x1122334455667788", "serialNumber: is not positive"),
        ("-newkey rsa:2048", "subjectPublicKeyInfo: is not an elliptic curve key"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:secp256k1", "is not on a curve of B.1.1"),
        (
            "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
            "is not on a curve of B.1.1, by name",
        ),
        ("-newkey ed25519", "signature: is not ECDSA"),
    ] {
        let found_there = annex_b(&["iaca", &forge.iaca_with("bad", options)]);
        assert!(found_there.contains(found), "{options}: {found_there}");
    }

    let signer = forge.document_signer("", "", "");
    assert_eq!(annex_b(&["document-signer", &signer, &iaca]), "");
    for (from, to, options, found) in [
        ("=critical,1.0.18013.5.1.2", "=1.0.18013.5.1.2", "", "extKeyUsage: is not critical"),
        ("1.0.18013.5.1.2", "1.0.18013.5.1.6", "", "extKeyUsage: does not have mdlDS"),
        ("1.0.18013.5.1.2", "1.0.18013.5.1.2,serverAuth", "", "extKeyUsage: has other purposes"),
        ("extendedKeyUsage=critical,1.0.18013.5.1.2", "", "", "extKeyUsage: is missing"),
        ("digitalSignature", "digitalSignature,nonRepudiation", "", "keyUsage: is ['content_"),
        ("[ext]", "[ext]\nbasicConstraints=CA:FALSE", "", "basicConstraints: must be left out"),
        ("keyid:always", "none", "", "authorityKeyIdentifier: is missing"),
        ("keyid:always", "keyid:always,issuer:always", "", "authorityKeyIdentifier: names issuer"),
        ("issuerAltName=email:pki@foreign.example", "", "", "issuerAltName: is missing"),
        (
            "crlDistributionPoints=URI:http://a.example/crl",
            "",
            "",
            "cRLDistributionPoints: is missing",
        ),
        (
            "crlDistributionPoints=URI",
            "crlDistributionPoints=email",
            "",
            "cRLDistributionPoints: is not a URI",
        ),
        ("C=NL", "C=BE", "", "subject: countryName is not the IACA's"),
        ("ST=Utrecht\n", "", "", "subject: stateOrProvinceName is not the IACA's"),
        ("", "", "-days 458", "validity: is longer than 457 days"),
        ("", "", "-sha1", "signature: is not ECDSA"),
    ] {
        let signer = forge.document_signer(from, to, options);
        let found_there = annex_b(&["document-signer", &signer, &iaca]);
        assert!(found_there.contains(found), "{from} -> {to} {options}: {found_there}");
    }
}

/// Makes certificates with OpenSSL, each one change away from a good one.
struct Forge(PathBuf);

impl Forge {
    const IACA: &str = "[req]\nprompt=no\ndistinguished_name=dn\nx509_extensions=ext\n\
        string_mask=utf8only\n[dn]\nC=NL\nST=Utrecht\nO=Foreign Authority\nCN=Foreign Root\n[ext]\n\
        basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
        subjectKeyIdentifier=hash\nissuerAltName=email:pki@foreign.example\n";
    const SIGNER: &str = "[req]\nprompt=no\ndistinguished_name=dn\nx509_extensions=ext\n\
        string_mask=utf8only\n[dn]\nC=NL\nST=Utrecht\nL=Amersfoort\nCN=Foreign Signer\n[ext]\n\
        keyUsage=critical,digitalSignature\nextendedKeyUsage=critical,1.0.18013.5.1.2\n\
        subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n\
        issuerAltName=email:pki@foreign.example\ncrlDistributionPoints=URI:http://a.example/crl\n";
    const P256: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

    fn new() -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("forged");
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn iaca(&self, name: &str, from: &str, to: &str) -> String {
        self.make(name, &changed(Self::IACA, from, to), &[Self::P256, "-days 3650"])
    }

    fn iaca_with(&self, name: &str, options: &str) -> String {
        let key = if options.contains("-newkey") { "" } else { Self::P256 };
        let days = if options.contains("-days") { "" } else { "-days 3650" };
        self.make(name, Self::IACA, &[key, days, options])
    }

    fn document_signer(&self, from: &str, to: &str, options: &str) -> String {
        let days = if options.contains("-days") { "" } else { "-days 457" };
        let issuer = format!("-CA {0}/good.pem -CAkey {0}/good.key", self.0.display());
        let configuration = changed(Self::SIGNER, from, to);
        self.make("signer", &configuration, &[Self::P256, &issuer, days, options])
    }

    fn make(&self, name: &str, configuration: &str, options: &[&str]) -> String {
        let path = |suffix: &str| self.0.join(format!("{name}.{suffix}")).display().to_string();
        fs::write(path("cnf"), configuration).unwrap();
        let mut arguments = format!("req -x509 -new -nodes -config {}", path("cnf"));
        for option in options {
            arguments.push_str(&format!(" {option}"));
        }
        arguments.push_str(&format!(" -keyout {} -out {}", path("key"), path("pem")));
        openssl(&arguments.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        path("pem")
    }
}

/// The text with a change that must be possible.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

/// What the checker of Annex B finds.
fn annex_b(arguments: &[&str]) -> String {
    let script = script("annex_b.py");
    let arguments: Vec<_> =
        [script.as_str()].into_iter().chain(arguments.iter().copied()).collect();
    let output = judge("python3", &arguments);
    let found = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{arguments:?}: {errors}");
    assert_eq!(output.status.success(), found.is_empty(), "{found}");
    found
}

fn python(name: &str, arguments: &[String]) {
    let script = script(name);
    let arguments: Vec<_> =
        [script.as_str()].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let output = judge("python3", &arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
}

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges").join(name).display().to_string()
}

/// Runs a program of the judges' virtual environment.
fn judge(program: &str, arguments: &[&str]) -> Output {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/judges/bin");
    let program = programs.join(program);
    assert!(
        program.exists(),
        "{} is missing: ./tests/run.sh installs the judges",
        program.display()
    );
    Command::new(program).args(arguments).output().unwrap()
}

fn openssl(arguments: &[String]) -> String {
    let output = Command::new("openssl").args(arguments).output();
    let output = output.expect("openssl is needed; ./tests/run.sh installs what is missing");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
