//! Parsed requests. Code below `http` sees these types and no JSON.

use super::{
    alternative_name::{HttpUrl, IssuerAlternativeName, SubjectAlternativeNames},
    jwk::PrivateJwk,
    key::{KeyType, PublicKey},
    member::{Member, RequestKey},
    name::DistinguishedName,
    oid::Oid,
    path::{KeyPath, PathElement},
    time::Timestamp,
    validity::RequestedValidity,
};

/// A key descriptor of a request.
#[derive(Debug)]
pub struct KeyDescriptor {
    /// Which key of the request it is.
    pub key: RequestKey,
    /// Where the key is.
    pub source: KeySource,
}

impl KeyDescriptor {
    /// The member that is the descriptor.
    pub fn member(&self) -> Member {
        Member::Key(self.key)
    }

    /// The member within it that says which key of the HSM it is; for a JWK, the descriptor.
    pub fn key_member(&self) -> Member {
        match self.source {
            KeySource::Kms(_) => Member::KeyPath(self.key),
            KeySource::PublicJwk { .. } | KeySource::PrivateJwk { .. } => self.member(),
        }
    }
}

/// Where a key is.
#[derive(Debug)]
pub enum KeySource {
    /// In the HSM.
    Kms(KeyPath),
    /// In the request, public half only: it can be certified, it cannot sign.
    PublicJwk {
        /// The key.
        key: PublicKey,
        /// The member that holds it.
        member: Member,
    },
    /// In the request, private half too: dev mode only.
    PrivateJwk {
        /// The key, unread.
        jwk: PrivateJwk,
        /// The member that holds it.
        member: Member,
    },
}

/// PEM text and the member that it came in.
#[derive(Debug, Clone)]
pub struct Pem {
    /// The member.
    pub member: Member,
    /// The text.
    pub text: String,
}

/// Whose public key is certified.
#[derive(Debug)]
pub enum SubjectKey {
    /// A described key.
    Descriptor(KeyDescriptor),
    /// The public key of a PKCS#10 request, and nothing else of it.
    Csr(Pem),
}

impl SubjectKey {
    /// The member that names the key.
    pub fn member(&self) -> Member {
        match self {
            Self::Descriptor(descriptor) => descriptor.member(),
            Self::Csr(pem) => pem.member,
        }
    }
}

/// Any request for a certificate.
#[derive(Debug)]
pub struct IssuanceRequest {
    /// The id in all attached stores, unchecked: it is ignored when no store is attached.
    pub stored_certificate_id: Option<String>,
    /// What is asked for.
    pub issuance: Issuance,
}

/// A certificate of one profile.
#[derive(Debug)]
pub enum Issuance {
    /// ISO/IEC 18013-5 Table B.1.
    Iaca(Box<IacaIssuance>),
    /// ISO/IEC 18013-5 Table B.3.
    DocumentSigner(Box<DocumentSignerIssuance>),
    /// RFC 5280.
    Generic(Box<GenericIssuance>),
}

/// An IACA root.
#[derive(Debug)]
pub struct IacaIssuance {
    /// Names and validity.
    pub data: IacaData,
    /// The key that signs and is certified.
    pub key: KeyDescriptor,
    /// When given, the stored copies become VICAL entries.
    pub metadata: Option<VicalMetadata>,
}

/// A document signer under an IACA.
#[derive(Debug)]
pub struct DocumentSignerIssuance {
    /// Names and validity.
    pub data: DocumentSignerData,
    /// The IACA that signs.
    pub iaca: IacaSigner,
    /// The key that is certified.
    pub subject_key: SubjectKey,
}

/// An ordinary certificate.
#[derive(Debug)]
pub struct GenericIssuance {
    /// Names, validity, extensions.
    pub data: GenericData,
    /// Who signs.
    pub signing: GenericSigning,
}

/// Who signs an ordinary certificate. The type has no form for a self-signed certificate of a CSR's
/// key, because nobody here has that private key.
#[derive(Debug)]
pub enum GenericSigning {
    /// The certified key signs.
    SelfSigned {
        /// Signs and is certified.
        key: KeyDescriptor,
    },
    /// A CA signs.
    CaSigned {
        /// The CA's key.
        issuer_key: KeyDescriptor,
        /// The CA's certificate; looked up when not given.
        issuer_certificate: Option<Pem>,
        /// The key that is certified.
        subject_key: SubjectKey,
    },
}

/// The members of an IACA's `certificateData`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IacaData {
    /// Country and common name, maybe state and organisation.
    pub subject: DistinguishedName,
    /// Contact.
    pub issuer_alternative_name: IssuerAlternativeName,
    /// Given ends.
    pub validity: RequestedValidity,
    /// CRL distribution point.
    pub crl_distribution_point: Option<HttpUrl>,
}

/// The members of a document signer's `certificateData`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentSignerData {
    /// Country and common name, maybe state, organisation, locality.
    pub subject: DistinguishedName,
    /// Given ends.
    pub validity: RequestedValidity,
    /// CRL distribution point.
    pub crl_distribution_point: HttpUrl,
}

/// The members of an ordinary certificate's `certificateData`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenericData {
    /// Subject.
    pub subject: DistinguishedName,
    /// The issuer that the caller expects.
    pub issuer_name: Option<DistinguishedName>,
    /// Given ends.
    pub validity: RequestedValidity,
    /// `None` for an end entity.
    pub certificate_authority: Option<PathLength>,
    /// In the order given; empty: no extension.
    pub key_usage: Vec<KeyUsage>,
    /// In the order given; empty: no extension.
    pub extended_key_usage: Vec<Oid>,
    /// Empty: no extension.
    pub subject_alternative_names: SubjectAlternativeNames,
    /// CRL distribution point.
    pub crl_distribution_point: Option<HttpUrl>,
}

/// How many CAs may follow below a CA (RFC 5280, 4.2.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathLength {
    /// No limit given.
    Unlimited,
    /// At most this many.
    AtMost(u8),
}

/// Key usage bits (RFC 5280, 4.2.1.3), in the order of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyUsage {
    /// Bit 0.
    DigitalSignature,
    /// Bit 1.
    NonRepudiation,
    /// Bit 2.
    KeyEncipherment,
    /// Bit 3.
    DataEncipherment,
    /// Bit 4.
    KeyAgreement,
    /// Bit 5.
    KeyCertSign,
    /// Bit 6.
    CrlSign,
    /// Bit 7.
    EncipherOnly,
    /// Bit 8.
    DecipherOnly,
}

impl KeyUsage {
    /// Whether keys of the type cannot have this usage: elliptic curve keys do not encipher (RFC
    /// 8813, 3), RSA does no key agreement (RFC 3279, 2.3.1), and Ed25519 does neither (RFC 8410,
    /// 5).
    pub fn is_against(self, key_type: KeyType) -> bool {
        let (enciphers, agrees) = match key_type {
            KeyType::P256 | KeyType::P384 | KeyType::P521 => (false, true),
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => (true, false),
            KeyType::Ed25519 => (false, false),
        };
        match self {
            Self::KeyEncipherment | Self::DataEncipherment => !enciphers,
            Self::KeyAgreement | Self::EncipherOnly | Self::DecipherOnly => !agrees,
            Self::DigitalSignature | Self::NonRepudiation | Self::KeyCertSign | Self::CrlSign => {
                false
            }
        }
    }

    /// All of them, bit 0 first.
    pub const ALL: [Self; 9] = [
        Self::DigitalSignature,
        Self::NonRepudiation,
        Self::KeyEncipherment,
        Self::DataEncipherment,
        Self::KeyAgreement,
        Self::KeyCertSign,
        Self::CrlSign,
        Self::EncipherOnly,
        Self::DecipherOnly,
    ];

    /// The API's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::DigitalSignature => "DigitalSignature",
            Self::NonRepudiation => "NonRepudiation",
            Self::KeyEncipherment => "KeyEncipherment",
            Self::DataEncipherment => "DataEncipherment",
            Self::KeyAgreement => "KeyAgreement",
            Self::KeyCertSign => "KeyCertSign",
            Self::CrlSign => "CRLSign",
            Self::EncipherOnly => "EncipherOnly",
            Self::DecipherOnly => "DecipherOnly",
        }
    }
}

/// The IACA that signs a document signer.
#[derive(Debug)]
pub struct IacaSigner {
    /// Its key.
    pub key: KeyDescriptor,
    /// Its certificate, supplied or described.
    pub certificate: IacaCertificate,
}

/// How a caller names an IACA.
#[derive(Debug)]
pub enum IacaCertificate {
    /// The certificate itself.
    Supplied(Pem),
    /// Its data, both ends of the validity among them.
    Described(Box<IacaData>),
}

/// `vicalEntryComplementaryMetadata`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VicalMetadata {
    /// Document types, at least one.
    pub doc_type: Vec<String>,
    /// Certificate profiles, free values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_profile: Option<Vec<String>>,
}

/// A request for a VICAL.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// Who publishes; not blank.
    pub provider: String,
    /// The id of the version; random when not given.
    pub version: Option<PathElement>,
    /// The date within; now when not given.
    pub issuance_date: Option<Timestamp>,
    /// When the next one is to be expected.
    pub next_update: Option<Timestamp>,
}

/// A request for a PKCS#10 certification request.
#[derive(Debug)]
pub struct CsrRequest {
    /// Which rules hold.
    pub kind: CsrKind,
    /// The key that signs and is named.
    pub key: KeyDescriptor,
    /// Subject.
    pub subject: DistinguishedName,
    /// Generic only; empty: no extension request.
    pub subject_alternative_names: SubjectAlternativeNames,
}

/// The two kinds of certification request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsrKind {
    /// RFC 2986, any offered key.
    Generic,
    /// For a document signer: EC keys, country required.
    DocumentSigner,
}
