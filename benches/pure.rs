//! The steps of an issuance that need neither token nor disk, one by one.

#![allow(missing_docs, reason = "the macros of criterion make public functions")]
#![expect(clippy::unwrap_used, reason = "a measurement ends where it fails")]

use std::{fs, hint::black_box, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use chancery::{
    audit::{AuditRecord, EntryKind},
    domain::{
        alternative_name::SubjectAlternativeNames,
        key::{KeyType, PublicKey, Signature},
        request::{IacaCertificate, IacaData, Issuance, IssuanceRequest},
        serial::SerialNumber,
        time::Timestamp,
        validity::Validity,
    },
    http::{
        invalid::Invalid,
        json::{self, Node},
        wire,
    },
    x509::{
        Certificate, Issuer, UnsignedCertificate,
        csr::{CertificationRequest, UnsignedRequest},
        lint::{self, SignedBy},
        plan::TbsPlan,
        profile::{Profile, document_signer, generic, iaca},
    },
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

type Read = fn(Node<'_>) -> Result<IssuanceRequest, Invalid>;

const REQUESTS: [(&str, Read); 4] = [
    ("iacas-create", wire::iaca::request),
    ("document-signers-create", wire::document_signer::request),
    ("certificate-self-signed-leaf", wire::generic::request),
    ("certificate-ca-signed-intermediate", wire::generic::request),
];

fn body(name: &str) -> Vec<u8> {
    let requests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requests");
    fs::read(requests.join(format!("{name}.request.json"))).unwrap()
}

fn parsed(body: &[u8], read: Read) -> IssuanceRequest {
    read(Node::body(&json::parse(body).unwrap())).unwrap()
}

fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body to request");
    for (name, read) in REQUESTS {
        let body = body(name);
        group.bench_function(name, |bencher| bencher.iter(|| parsed(black_box(&body), read)));
    }
}

/// A key in software, as a token would hold it.
struct Key {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl Key {
    fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let public = PublicKey::from_ec_point(KeyType::P256, point).unwrap();
        Self { pair, public }
    }

    fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.pair.sign(&SystemRandom::new(), message).unwrap();
        Signature::from_x509_octets(signature.as_ref().to_vec())
    }
}

/// What the documented requests lead to.
struct Case {
    issuance: Issuance,
    issuer: Option<Issuer>,
    subject: PublicKey,
    validity: Validity,
}

impl Case {
    fn all(ca: &Key, subject: &Key) -> Vec<(&'static str, Self)> {
        let case = |(name, read): (&'static str, Read)| {
            let issuance = parsed(&body(name), read).issuance;
            let (now, year) = (Timestamp::now(), 365 * 86_400);
            let validity = Validity::new(now, now.plus_seconds(year)).unwrap();
            let issuer = match &issuance {
                Issuance::DocumentSigner(request) => match &request.iaca.certificate {
                    IacaCertificate::Described(data) => Some(described(data, ca)),
                    IacaCertificate::Supplied(_) => None,
                },
                Issuance::Generic(_) if name.contains("ca-signed") => {
                    Some(Issuer { path_length: None, ..described(&iaca_data(), ca) })
                }
                Issuance::Iaca(_) | Issuance::Generic(_) => None,
            };
            (name, Self { issuance, issuer, subject: subject.public.clone(), validity })
        };
        REQUESTS.map(case).into()
    }

    fn plan(&self) -> TbsPlan {
        let serial = SerialNumber::from_random([0x5A; 16]);
        let key = &self.subject;
        match (&self.issuance, &self.issuer) {
            (Issuance::Iaca(request), _) => {
                let options = iaca::Options::default();
                iaca::plan(serial, &request.data, self.validity, key, options)
            }
            (Issuance::DocumentSigner(request), Some(issuer)) => {
                document_signer::plan(serial, &request.data, self.validity, issuer, key)
            }
            (Issuance::Generic(request), issuer) => {
                let (data, options) = (&request.data, generic::Options::default());
                match issuer {
                    None => generic::self_signed(serial, data, self.validity, key, options),
                    Some(issuer) => {
                        generic::ca_signed(serial, data, self.validity, issuer, key, options)
                    }
                }
            }
            (Issuance::DocumentSigner(_), None) => unreachable!("the documented one is described"),
        }
        .unwrap()
    }

    fn profile(&self) -> Profile {
        match &self.issuance {
            Issuance::Iaca(_) => Profile::Iaca,
            Issuance::DocumentSigner(_) => Profile::DocumentSigner,
            Issuance::Generic(_) => Profile::Generic,
        }
    }
}

fn iaca_data() -> IacaData {
    match parsed(&body("iacas-create"), wire::iaca::request).issuance {
        Issuance::Iaca(request) => request.data,
        Issuance::DocumentSigner(_) | Issuance::Generic(_) => unreachable!("it is an IACA's"),
    }
}

fn described(data: &IacaData, ca: &Key) -> Issuer {
    let validity = data.validity.resolve(Timestamp::now(), iaca::VALIDITY, None).unwrap();
    Issuer::described_iaca(data, validity, &ca.public).unwrap()
}

fn certificates(criterion: &mut Criterion) {
    let (ca, subject) = (Key::generate(), Key::generate());
    for (name, case) in Case::all(&ca, &subject) {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("plan", |bencher| bencher.iter(|| case.plan()));
        group.bench_function("encode and lint", |bencher| {
            let encode = |plan| UnsignedCertificate::encode(plan).unwrap();
            bencher.iter_batched(|| case.plan(), encode, BatchSize::SmallInput);
        });
        let unsigned = || UnsignedCertificate::encode(case.plan()).unwrap();
        let tbs = unsigned().tbs_der().to_vec();
        group.bench_function("lint alone", |bencher| {
            let signed_by = case.issuer.as_ref().map_or(SignedBy::Itself, SignedBy::Issuer);
            bencher.iter(|| lint::tbs(case.profile(), black_box(&tbs), signed_by, false).unwrap());
        });
        let signer = if case.issuer.is_some() { &ca } else { &subject };
        let signature = signer.sign(&tbs);
        group.bench_function("verify and assemble", |bencher| {
            let inputs = || (unsigned(), signature.clone());
            bencher.iter_batched(
                inputs,
                |(unsigned, signature)| unsigned.assemble(signature).unwrap(),
                BatchSize::SmallInput,
            );
        });
        let signed = unsigned().assemble(signature.clone()).unwrap();
        group.bench_function("to PEM", |bencher| bencher.iter(|| signed.pem()));
        let pem = signed.pem();
        group.bench_function("from PEM", |bencher| {
            bencher.iter(|| Certificate::from_pem(black_box(&pem)).unwrap());
        });
    }
}

fn requests(criterion: &mut Criterion) {
    let key = Key::generate();
    let subject = iaca_data().subject;
    let names = SubjectAlternativeNames::default();
    let unsigned = UnsignedRequest::encode(&subject, &names, &key.public).unwrap();
    let signature = key.sign(unsigned.tbs_der());
    let pem = unsigned.assemble(signature).unwrap().pem();
    criterion.bench_function("CSR from PEM, verified", |bencher| {
        bencher.iter(|| CertificationRequest::from_pem(black_box(&pem)).unwrap());
    });
}

fn entries(criterion: &mut Criterion) {
    let now = Timestamp::now();
    let detail = serde_json::json!({
        "serial": "5a".repeat(16),
        "profile": "iso-document-signer",
        "issuerKeyPath": "test.tenant1.kms1.iaca-secp256r1",
        "subjectKeyPath": "test.tenant1.kms1.ds-secp256r1",
        "tbsSha256": "ab".repeat(32),
        "storedCertificateIds": ["test.tenant1.x509-store-1.ds-mainline-2026-01"],
        "devKey": false,
    });
    criterion.bench_function("audit entry", |bencher| {
        bencher.iter(|| {
            let service = Some("test.tenant1.x509-service-1");
            let id = Some("0d9c6c5e-3f9b-4c0d-8a3e-5b5f3c1d2e4f");
            AuditRecord::new(EntryKind::Issued, now, id, Some("demo"), service, &detail)
        });
    });
}

criterion_group!(pure, bodies, certificates, requests, entries);
criterion_main!(pure);
