//! Every kind of certificate and request that the daemon issues, obtained from it once per run, for
//! other implementations to judge.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::appliance::{Appliance, Client, KMS, documented, generic_ca, key};

/// What is judged, and the files it is in.
pub struct Corpus {
    directory: PathBuf,
    /// Issuers stand before what they issued.
    pub certificates: Vec<Issued>,
    /// Requests: name, and what `openssl req -text` must show.
    pub requests: Vec<(&'static str, Vec<&'static str>)>,
}

/// A certificate that the daemon issued.
pub struct Issued {
    /// Names it in this corpus.
    pub name: &'static str,
    /// What it was asked to be.
    pub kind: Kind,
    /// The name of its issuer's certificate, its own when self-signed.
    pub issuer: &'static str,
    /// What `openssl x509 -text` must show beyond what its kind demands.
    pub shows: Vec<String>,
    /// A second at which it and its chain are valid, unless that is now.
    pub valid_at: Option<u64>,
}

/// The four profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ISO/IEC 18013-5 Table B.1.
    Iaca,
    /// ISO/IEC 18013-5 Table B.3.
    DocumentSigner,
    /// A generic certificate with cA TRUE.
    Authority,
    /// A generic certificate without.
    Leaf,
}

/// 2032-01-01T00:00:00Z.
const IN_2032: u64 = 1_956_528_000;

impl Corpus {
    /// The corpus of this run.
    pub fn of_this_run() -> &'static Self {
        static CORPUS: OnceLock<Corpus> = OnceLock::new();
        CORPUS.get_or_init(Self::issue)
    }

    /// The certificate with a name.
    pub fn certificate(&self, name: &str) -> &Issued {
        self.certificates.iter().find(|issued| issued.name == name).unwrap()
    }

    /// The certificates of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Issued> {
        self.certificates.iter().filter(move |issued| issued.kind == kind)
    }

    /// From the certificate's issuer up to its root; empty for a root.
    pub fn chain<'a>(&'a self, issued: &'a Issued) -> Vec<&'a Issued> {
        let mut chain = Vec::new();
        let mut last = issued;
        while !last.is_self_signed() {
            last = self.certificate(last.issuer);
            chain.push(last);
        }
        chain
    }

    /// The PEM file of a certificate or request.
    pub fn file(&self, name: &str) -> String {
        self.directory.join(format!("{name}.pem")).to_str().unwrap().to_owned()
    }

    /// The PEM of a certificate or request.
    pub fn pem(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    fn issue() -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("judged");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let appliance = Appliance::new();
        for (index, (name, key_type)) in [
            ("iaca-everything", "EC:secp256r1"),
            ("iaca-late", "EC:secp256r1"),
            ("root-secp521r1", "EC:secp521r1"),
            ("intermediate-secp384r1", "EC:secp384r1"),
            ("ds-secp384r1", "EC:secp384r1"),
            ("ds-secp521r1", "EC:secp521r1"),
            ("ds-ed25519", "EC:edwards25519"),
        ]
        .into_iter()
        .enumerate()
        {
            appliance.generate_key(&format!("{KMS}.{name}"), &format!("c0{index:02}"), key_type);
        }
        appliance.declare("[issuance]\ned25519_subjects = true");
        let daemon = appliance.start();
        let mut desk = Desk {
            client: &daemon.client,
            corpus: Self { directory, certificates: Vec::new(), requests: Vec::new() },
        };
        desk.iacas();
        desk.document_signers();
        desk.generic_elliptic();
        desk.generic_rsa();
        desk.requests();
        let corpus = desk.corpus;
        daemon.stop();
        corpus
    }
}

impl Issued {
    /// Whether it is its own issuer.
    pub fn is_self_signed(&self) -> bool {
        self.issuer == self.name
    }
}

/// Asks the daemon and files what it answers.
struct Desk<'a> {
    client: &'a Client,
    corpus: Corpus,
}

impl Desk<'_> {
    fn iacas(&mut self) {
        let documented_iaca = documented("iacas-create.request.json");
        self.iaca(
            "iaca-secp256r1",
            &documented_iaca,
            &[
                "Issuer: C = US, CN = Example IACA\n",
                "ecdsa-with-SHA256",
                "X509v3 Issuer Alternative Name: \n                URI:https://iaca.example.com\n",
            ],
        );
        for (name, hash) in
            [("iaca-secp384r1", "ecdsa-with-SHA384"), ("iaca-secp521r1", "ecdsa-with-SHA512")]
        {
            let data = json!({
                "country": "NL", "commonName": "Acme Licence Root",
                "issuerAlternativeNameConf": { "email": "pki@acme.example" },
            });
            let request = json!({ "certificateData": data, "iacaKeyDesc": key(name) });
            self.iaca(
                name,
                &request,
                &[
                    hash,
                    "X509v3 Issuer Alternative Name: \n                email:pki@acme.example\n",
                ],
            );
        }
        let everything = json!({
            "storedCertificateId": "iaca-everything",
            "certificateData": {
                "country": "NL", "commonName": "Acme Licence Root 2026",
                "stateOrProvinceName": "Utrecht", "organizationName": "Acme Vehicle Authority",
                "issuerAlternativeNameConf":
                    { "uri": "https://licences.acme.example/iaca", "email": "pki@acme.example" },
                "notBefore": "2026-03-01T00:00:00Z", "notAfter": "2045-12-01T00:00:00Z",
                "crlDistributionPointUri": "http://pki.acme.example/crl/root.crl",
            },
            "iacaKeyDesc": key("iaca-everything"),
            "vicalEntryComplementaryMetadata": { "docType": ["org.iso.18013.5.1.mDL"] },
        });
        self.iaca("iaca-everything", &everything, &[
            "Subject: C = NL, CN = Acme Licence Root 2026, ST = Utrecht, O = Acme Vehicle Authority\n",
            "email:pki@acme.example, URI:https://licences.acme.example/iaca\n",
            "URI:http://pki.acme.example/crl/root.crl\n",
        ]);
        // One end is a UTCTime, the other a GeneralizedTime.
        let mut late = documented_iaca;
        late["storedCertificateId"] = "iaca-late".into();
        late["iacaKeyDesc"] = key("iaca-late");
        late["certificateData"]["notBefore"] = "2031-01-01T00:00:00Z".into();
        late["certificateData"]["notAfter"] = "2050-12-01T00:00:00Z".into();
        let late = self.iaca("iaca-late", &late, &[]);
        late.valid_at = Some(IN_2032);
    }

    fn document_signers(&mut self) {
        // The description is pinned before a certificate of it exists.
        let described = documented("document-signers-create.request.json");
        let signer = self.certificate("iso/document-signers", &described);
        let mut iaca = described["iacaSigner"].clone();
        iaca.as_object_mut().unwrap().remove("type");
        self.iaca("iaca-described", &iaca, &[]);
        self.file(
            &signer,
            "ds-described",
            Kind::DocumentSigner,
            "iaca-described",
            &["Subject: C = US, CN = Example DS\n", "URI:https://crl-example.com\n"],
        );

        let acme = |name: &str| {
            json!({
                "country": "NL", "commonName": name,
                "crlDistributionPointUri": "http://pki.acme.example/crl/root.crl",
            })
        };
        self.document_signer(
            "ds-of-pem-iaca",
            "iaca-secp384r1",
            &acme("Acme Document Signer 07"),
            json!({ "type": "key-descriptor", "keyDescriptor": key("ds-secp384r1") }),
            &["ecdsa-with-SHA384", "NIST CURVE: P-384"],
        );
        self.document_signer(
            "ds-ed25519",
            "iaca-secp384r1",
            &acme("Acme Document Signer 10"),
            json!({ "type": "key-descriptor", "keyDescriptor": key("ds-ed25519") }),
            &["ecdsa-with-SHA384", "Public Key Algorithm: ED25519"],
        );
        let csr = self.csr(
            "csr-iso",
            &["Subject: C = NL, CN = Acme Document Signer 08\n"],
            json!({
                "type": "iso-document-signer",
                "subjectKeyDescriptor": key("ds-from-csr"),
                "certificateData": { "country": "NL", "commonName": "Acme Document Signer 08" },
            }),
        );
        self.document_signer(
            "ds-from-csr",
            "iaca-secp521r1",
            &acme("Acme Document Signer 08"),
            json!({ "type": "csr", "csrPem": csr["csrPem"] }),
            &["ecdsa-with-SHA512", "NIST CURVE: P-256"],
        );
        let csr = self.csr(
            "csr-secp521r1",
            &["CN = Acme Document Signer 09"],
            json!({
                "type": "iso-document-signer",
                "subjectKeyDescriptor": key("ds-secp521r1"),
                "subjectName": { "country": "NL", "commonName": "Acme Document Signer 09" },
            }),
        );
        let mut everything = acme("Acme Document Signer 09");
        for (member, value) in [
            ("stateOrProvinceName", "Utrecht"),
            ("organizationName", "Acme Vehicle Authority"),
            ("localityName", "Amersfoort"),
        ] {
            everything[member] = value.into();
        }
        // All that Table B.3 allows, to the second.
        let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
        let end = yesterday + SignedDuration::from_hours(457 * 24);
        everything["notBefore"] = yesterday.to_string().into();
        everything["notAfter"] = end.to_string().into();
        let jwk = &csr["publicKeyJwk"];
        self.document_signer(
            "ds-of-public-jwk",
            "iaca-everything",
            &everything,
            json!({
                "type": "key-descriptor",
                "keyDescriptor": { "type": "jwk-encoded-key-descriptor", "jwk": jwk },
            }),
            &[
                "Subject: C = NL, CN = Acme Document Signer 09, ST = Utrecht, \
                 O = Acme Vehicle Authority, L = Amersfoort\n",
                "NIST CURVE: P-521",
            ],
        );
    }

    fn generic_elliptic(&mut self) {
        let request = documented("certificate-self-signed-leaf.request.json");
        self.generic(
            "leaf-self-signed",
            "leaf-self-signed",
            &request,
            &["Subject: C = US, CN = Example Leaf, O = Example Org\n"],
        );

        let mut request = generic_ca("root-secp256r1", "Example Root");
        request["certificateData"]["pathLengthConstraint"] = 1.into();
        self.generic("root-secp256r1", "root-secp256r1", &request, &["CA:TRUE, pathlen:1\n"]);
        let request = documented("certificate-ca-signed-intermediate.request.json");
        self.generic("intermediate", "root-secp256r1", &request, &["CA:TRUE, pathlen:0\n"]);
        let csr = self.csr(
            "csr-generic",
            &["DNS:gateway.acme.example, URI:urn:acme:gateway"],
            json!({
                "type": "generic",
                "subjectKeyDescriptor": key("tls-secp256r1"),
                "subjectName": { "commonName": "gateway.acme.example", "country": "NL" },
                "subjectAlternativeNames":
                    { "dnsNames": ["gateway.acme.example"], "uris": ["urn:acme:gateway"] },
            }),
        );
        let request = json!({
            "certificateData": {
                "subjectName": {
                    "commonName": "gateway.acme.example", "country": "NL",
                    "stateOrProvinceName": "Utrecht", "organizationName": "Acme Vehicle Authority",
                    "localityName": "Amersfoort", "organizationalUnitName": "Platform",
                },
                "issuerName": { "commonName": "Example Intermediate CA", "country": "US" },
                "isCertificateAuthority": false,
                "keyUsage": ["DigitalSignature", "KeyAgreement", "DecipherOnly"],
                "extendedKeyUsageOids": ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"],
                "subjectAlternativeNames": {
                    "dnsNames": ["gateway.acme.example", "*.gateway.acme.example"],
                    "uris": ["urn:acme:gateway"], "emails": ["gateway@acme.example"],
                    "ipAddresses": ["192.0.2.17", "2001:db8::17"],
                },
                "crlDistributionPointUri": "http://pki.acme.example/crl/intermediate.crl",
            },
            "subjectPublicKeySource": { "type": "csr", "csrPem": csr["csrPem"] },
            "issuer": { "type": "ca-signed", "issuerKeyDescriptor": key("intermediate-secp256r1") },
        });
        self.generic("leaf-with-everything", "intermediate", &request, &[
            "Subject: C = NL, CN = gateway.acme.example, ST = Utrecht, O = Acme Vehicle Authority, \
             L = Amersfoort, OU = Platform\n",
            "X509v3 Key Usage: critical\n                Digital Signature, Key Agreement, Decipher Only\n",
            "X509v3 Extended Key Usage: \n                TLS Web Server Authentication, \
             TLS Web Client Authentication\n",
            "X509v3 Subject Alternative Name: \n                DNS:gateway.acme.example, \
             DNS:*.gateway.acme.example, URI:urn:acme:gateway, email:gateway@acme.example, \
             IP Address:192.0.2.17, IP Address:2001:DB8:0:0:0:0:0:17\n",
            "URI:http://pki.acme.example/crl/intermediate.crl\n",
        ]);

        let mut request = generic_ca("root-secp521r1", "Example Root of 2055");
        request["certificateData"]["notAfter"] = "2055-01-01T00:00:00Z".into();
        self.generic(
            "root-secp521r1",
            "root-secp521r1",
            &request,
            &["ecdsa-with-SHA512", "CA:TRUE\n", "Not After : Jan  1 00:00:00 2055 GMT"],
        );
        let request = server("p384.acme.example", "ds-secp384r1", "root-secp521r1");
        self.generic("leaf-secp384r1", "root-secp521r1", &request, &["NIST CURVE: P-384"]);
    }

    fn generic_rsa(&mut self) {
        let request = generic_ca("root-rsa3072", "Example Root RSA-3072");
        self.generic("root-rsa3072", "root-rsa3072", &request, &["sha384WithRSAEncryption"]);
        let request = server("rsa.acme.example", "rsa2048", "root-rsa3072");
        self.generic("leaf-rsa2048", "root-rsa3072", &request, &["Public-Key: (2048 bit)"]);

        let request = generic_ca("root-rsa4096", "Example Root RSA-4096");
        self.generic("root-rsa4096", "root-rsa4096", &request, &["sha512WithRSAEncryption"]);
        let mut request = generic_ca("intermediate-secp384r1", "Example Intermediate P-384");
        request["issuer"] =
            json!({ "type": "ca-signed", "issuerKeyDescriptor": key("root-rsa4096") });
        self.generic("intermediate-secp384r1", "root-rsa4096", &request, &["CA:TRUE\n"]);
        let request = server("p256.acme.example", "tls-secp256r1", "intermediate-secp384r1");
        self.generic("leaf-secp256r1", "intermediate-secp384r1", &request, &["ecdsa-with-SHA384"]);
        let request = server("ed25519.acme.example", "ds-ed25519", "intermediate-secp384r1");
        let shows = "Public Key Algorithm: ED25519";
        self.generic("leaf-ed25519", "intermediate-secp384r1", &request, &[shows]);

        let mut request = documented("certificate-self-signed-leaf.request.json");
        request["storedCertificateId"] = "leaf-self-signed-rsa2048".into();
        request["subjectPublicKeySource"]["keyDescriptor"] = key("rsa2048");
        self.generic(
            "leaf-self-signed-rsa2048",
            "leaf-self-signed-rsa2048",
            &request,
            &["sha256WithRSAEncryption"],
        );
    }

    fn requests(&mut self) {
        for (name, signing_key, signature) in [
            ("csr-secp384r1", "ds-secp384r1", "ecdsa-with-SHA384"),
            ("csr-ed25519", "ds-ed25519", "Signature Algorithm: ED25519"),
            ("csr-rsa2048", "rsa2048", "sha256WithRSAEncryption"),
            ("csr-rsa3072", "root-rsa3072", "sha384WithRSAEncryption"),
        ] {
            self.csr(
                name,
                &[signature],
                json!({
                    "type": "generic",
                    "subjectKeyDescriptor": key(signing_key),
                    "subjectName": { "commonName": "gateway.acme.example" },
                }),
            );
        }
    }

    fn iaca(&mut self, name: &'static str, request: &Value, shows: &[&'static str]) -> &mut Issued {
        let answer = self.certificate("iso/iacas", request);
        self.file(&answer, name, Kind::Iaca, name, shows)
    }

    fn document_signer(
        &mut self,
        name: &'static str,
        iaca: &'static str,
        data: &Value,
        public_key: Value,
        shows: &[&'static str],
    ) {
        let answer = self.certificate(
            "iso/document-signers",
            &json!({
                "iacaSigner": {
                    "type": "iaca-pem-cert-descriptor",
                    "iacaPemEncodedCertificate": self.corpus.pem(iaca),
                    "iacaKeyDesc": key(iaca),
                },
                "certificateData": data,
                "dsPublicKeySource": public_key,
            }),
        );
        self.file(&answer, name, Kind::DocumentSigner, iaca, shows);
    }

    fn generic(
        &mut self,
        name: &'static str,
        issuer: &'static str,
        request: &Value,
        shows: &[&'static str],
    ) {
        let authority = request["certificateData"]["isCertificateAuthority"] == true;
        let kind = if authority { Kind::Authority } else { Kind::Leaf };
        let answer = self.certificate("certificate", request);
        self.file(&answer, name, kind, issuer, shows);
    }

    fn csr(&mut self, name: &'static str, shows: &[&'static str], request: Value) -> Value {
        let answer = self.client.issue("csrs", &request).ok().json;
        fs::write(self.corpus.file(name), answer["csrPem"].as_str().unwrap()).unwrap();
        self.corpus.requests.push((name, shows.to_vec()));
        answer
    }

    fn certificate(&self, route: &str, request: &Value) -> Value {
        self.client.issue(route, request).ok().json
    }

    fn file(
        &mut self,
        answer: &Value,
        name: &'static str,
        kind: Kind,
        issuer: &'static str,
        shows: &[&'static str],
    ) -> &mut Issued {
        fs::write(self.corpus.file(name), answer["certificatePEM"].as_str().unwrap()).unwrap();
        let end = |member: &str| {
            let time: Timestamp =
                answer["certificateData"][member].as_str().unwrap().parse().unwrap();
            time.strftime("%b %e %H:%M:%S %Y GMT\n").to_string()
        };
        let mut shows: Vec<_> = shows.iter().map(|&fact| fact.to_owned()).collect();
        shows.push(format!("Not Before: {}", end("notBefore")));
        shows.push(format!("Not After : {}", end("notAfter")));
        self.corpus.certificates.push(Issued { name, kind, issuer, shows, valid_at: None });
        self.corpus.certificates.last_mut().unwrap()
    }
}

/// A TLS server's certificate from a CA.
fn server(host: &str, subject_key: &str, issuer_key: &str) -> Value {
    json!({
        "certificateData": {
            "subjectName": { "commonName": host },
            "keyUsage": ["DigitalSignature"],
            "extendedKeyUsageOids": ["1.3.6.1.5.5.7.3.1"],
            "subjectAlternativeNames": { "dnsNames": [host] },
        },
        "subjectPublicKeySource": { "type": "key-descriptor", "keyDescriptor": key(subject_key) },
        "issuer": { "type": "ca-signed", "issuerKeyDescriptor": key(issuer_key) },
    })
}
