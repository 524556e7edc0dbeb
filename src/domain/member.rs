//! Members of a request, by meaning, and messages that mention members. Only `http::wire::member`
//! knows their names and JSON pointers, because those belong to one generation of the API.

use std::{borrow::Cow, fmt};

/// A member of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// The names, validity and extensions that a certificate is asked to have, as a whole.
    CertificateData,
    /// The country of an IACA or a document signer.
    Country,
    /// Its state or province.
    StateOrProvince,
    /// The subject of an ordinary certificate.
    SubjectName,
    /// Its subject alternative names.
    SubjectAlternativeNames,
    /// The issuer that the caller expects.
    IssuerName,
    /// The issuer alternative name of an IACA.
    IssuerAlternativeName,
    /// The start of the validity.
    NotBefore,
    /// The end of the validity.
    NotAfter,
    /// Whether a CA is asked for.
    CertificateAuthority,
    /// The path length of a CA.
    PathLength,
    /// The key usages.
    KeyUsage,
    /// The extended key usages.
    ExtendedKeyUsage,
    /// The id in the attached stores.
    StoredCertificateId,
    /// The description of the IACA that signs, as a whole.
    DescribedIaca,
    /// The start of its validity.
    DescribedNotBefore,
    /// The end of its validity.
    DescribedNotAfter,
    /// The certificate of the IACA that signs.
    IacaCertificate,
    /// The certificate of the CA that signs.
    IssuerCertificate,
    /// Whose key an ordinary certificate certifies: a descriptor or a CSR.
    PublicKeySource,
    /// The descriptor of a key.
    Key(RequestKey),
    /// The path of a key in the HSM, within its descriptor.
    KeyPath(RequestKey),
    /// The JWK within a descriptor.
    Jwk(RequestKey, Alias),
    /// A PKCS#10 request in place of a descriptor.
    Csr(RequestKey, Alias),
    /// One parameter of a JWK that is the whole body (RFC 7518, section 6).
    JwkParameter(&'static str),
    /// The type of a key that is to be made.
    KeyType,
    /// The certificate that is put into a store.
    StoredCertificate,
    /// The type of a service.
    ServiceType,
    /// The token of a KMS.
    Token,
    /// The key that a VICAL service signs with.
    VicalKey,
    /// The stored certificate of that key.
    VicalSigner,
    /// A stored certificate above it, by position.
    VicalChain(usize),
    /// A dependency of a new service, by position.
    DependencyAt(usize),
    /// The one dependency that is attached or detached.
    Dependency,
    /// The id of a VICAL's version.
    VicalVersion,
    /// The date within a VICAL.
    IssuanceDate,
    /// When the next VICAL is to be expected.
    NextUpdate,
}

/// A key that a request describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKey {
    /// The key of a new IACA.
    Iaca,
    /// The key of the IACA that signs a document signer.
    IssuingIaca,
    /// The key of a new document signer.
    DocumentSigner(Alias),
    /// The key of the CA that signs an ordinary certificate.
    Issuer,
    /// The key that an ordinary certificate certifies.
    Subject,
    /// The key of a certification request.
    CsrSubject,
}

/// Which of several names for one member the caller used. Only the reader of the request gives the
/// number a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias(pub u8);

/// A message for the caller. Members in it are rendered by the layer that knows their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(Vec<Part>);

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(Cow<'static, str>),
    /// The name of a member.
    Name(Member),
    /// The path of a member: the names of the members around it, and its own.
    Path(Member),
    /// The name of a form of descriptor.
    Form(Form),
}

/// A form of descriptor that a caller may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A key in the HSM, by its path.
    KeyInHsm,
    /// The certificate of an IACA, not its description.
    SuppliedIaca,
}

impl Message {
    /// Starts a message with the name of a member.
    pub fn name(member: Member) -> Self {
        Self(vec![Part::Name(member)])
    }

    /// Starts a message with the path of a member.
    pub fn path(member: Member) -> Self {
        Self(vec![Part::Path(member)])
    }

    /// Appends text.
    #[must_use]
    pub fn text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.0.push(Part::Text(text.into()));
        self
    }

    /// Appends a part.
    #[must_use]
    pub fn and(mut self, part: Part) -> Self {
        self.0.push(part);
        self
    }

    /// The parts in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Prefixes the message with the path of a member and a colon.
    #[must_use]
    pub fn at(self, member: Member) -> Self {
        let mut parts = vec![Part::Path(member), Part::Text(Cow::Borrowed(": "))];
        parts.extend(self.0);
        Self(parts)
    }
}

impl<T: Into<Cow<'static, str>>> From<T> for Message {
    fn from(text: T) -> Self {
        Self(vec![Part::Text(text.into())])
    }
}

/// For logs and tests: shows members by their names here.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Name(member) | Part::Path(member) => write!(f, "{member:?}"),
            Part::Form(form) => write!(f, "{form:?}"),
        })
    }
}
