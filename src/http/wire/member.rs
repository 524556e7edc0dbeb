//! What the members of a request are called in this generation of the API, and where they stand.

use std::borrow::Cow;

use crate::domain::member::{Alias, Form, Member, Message, Part, RequestKey};

/// The names of a JWK within a descriptor, by [`Alias`].
pub(super) const JWK: [&str; 2] = ["jwk", "key"];
/// The names of a PKCS#10 request within a public key source, by [`Alias`].
pub(super) const CSR: [&str; 3] = ["csrPem", "csr", "pemEncodedCsr"];
/// A document signer's key within a public key source.
pub(super) const IN_SOURCE: Alias = Alias(0);
/// A document signer's key under its legacy name, the only one that existing clients send.
pub(super) const LEGACY: Alias = Alias(1);

/// The JSON pointer (RFC 6901) of a member.
pub(in crate::http) fn pointer(member: Member) -> String {
    let fixed = match member {
        Member::CertificateData => "/certificateData",
        Member::Country => "/certificateData/country",
        Member::StateOrProvince => "/certificateData/stateOrProvinceName",
        Member::SubjectName => "/certificateData/subjectName",
        Member::SubjectAlternativeNames => "/certificateData/subjectAlternativeNames",
        Member::IssuerName => "/certificateData/issuerName",
        Member::IssuerAlternativeName => "/certificateData/issuerAlternativeNameConf",
        Member::NotBefore => "/certificateData/notBefore",
        Member::NotAfter => "/certificateData/notAfter",
        Member::CertificateAuthority => "/certificateData/isCertificateAuthority",
        Member::PathLength => "/certificateData/pathLengthConstraint",
        Member::KeyUsage => "/certificateData/keyUsage",
        Member::ExtendedKeyUsage => "/certificateData/extendedKeyUsageOids",
        Member::StoredCertificateId => "/storedCertificateId",
        Member::DescribedIaca => "/iacaSigner/certificateData",
        Member::DescribedNotBefore => "/iacaSigner/certificateData/notBefore",
        Member::DescribedNotAfter => "/iacaSigner/certificateData/notAfter",
        Member::IacaCertificate => "/iacaSigner/iacaPemEncodedCertificate",
        Member::IssuerCertificate => "/issuer/issuerCertificatePem",
        Member::PublicKeySource => "/subjectPublicKeySource",
        Member::Key(key) => descriptor(key),
        Member::KeyPath(key) => return format!("{}/keyIdPath", descriptor(key)),
        Member::Jwk(key, alias) => return format!("{}/{}", descriptor(key), alias.of(&JWK)),
        Member::Csr(key, alias) => return format!("{}/{}", source(key), alias.of(&CSR)),
        Member::JwkParameter(name) => return format!("/{name}"),
        Member::KeyType => "/keyType",
        Member::StoredCertificate => "/certificatePem",
        Member::ServiceType => "/type",
        Member::Token => "/token",
        Member::VicalKey => "/signingKeyId",
        Member::VicalSigner => "/signerCertificateId",
        Member::VicalChain(index) => return format!("/signerCertificateChainIds/{index}"),
        Member::DependencyAt(index) => return format!("/dependencies/{index}"),
        Member::Dependency => "/dependency",
        Member::VicalVersion => "/versionId",
        Member::IssuanceDate => "/issuanceDate",
        Member::NextUpdate => "/nextUpdate",
    };
    fixed.to_owned()
}

fn descriptor(key: RequestKey) -> &'static str {
    match key {
        RequestKey::Iaca => "/iacaKeyDesc",
        RequestKey::IssuingIaca => "/iacaSigner/iacaKeyDesc",
        RequestKey::DocumentSigner(LEGACY) => "/dsKeyDescriptor",
        RequestKey::DocumentSigner(_) => "/dsPublicKeySource/keyDescriptor",
        RequestKey::Issuer => "/issuer/issuerKeyDescriptor",
        RequestKey::Subject => "/subjectPublicKeySource/keyDescriptor",
        RequestKey::CsrSubject => "/subjectKeyDescriptor",
    }
}

/// The public key source that holds a descriptor or a PKCS#10 request.
fn source(key: RequestKey) -> &'static str {
    let descriptor = descriptor(key);
    descriptor.strip_suffix("/keyDescriptor").unwrap_or(descriptor)
}

/// A message in the words of this generation.
pub(in crate::http) fn prose(message: &Message) -> String {
    let parts = message.parts().iter().map(|part| match part {
        Part::Text(text) => Cow::Borrowed(&**text),
        Part::Name(member) => {
            let pointer = pointer(*member);
            pointer.rsplit('/').next().unwrap_or_default().to_owned().into()
        }
        Part::Path(member) => pointer(*member).trim_start_matches('/').replace('/', ".").into(),
        Part::Form(Form::KeyInHsm) => "kms-hosted-key-descriptor".into(),
        Part::Form(Form::SuppliedIaca) => "iaca-pem-cert-descriptor".into(),
    });
    parts.collect()
}

impl Alias {
    fn of(self, names: &[&'static str]) -> &'static str {
        names.get(usize::from(self.0)).or(names.first()).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_pointed_at_by_the_name_that_the_caller_used() {
        for (member, expected) in [
            (
                Member::Jwk(RequestKey::DocumentSigner(IN_SOURCE), Alias(0)),
                "/dsPublicKeySource/keyDescriptor/jwk",
            ),
            (Member::Jwk(RequestKey::DocumentSigner(LEGACY), Alias(1)), "/dsKeyDescriptor/key"),
            (
                Member::Csr(RequestKey::DocumentSigner(IN_SOURCE), Alias(2)),
                "/dsPublicKeySource/pemEncodedCsr",
            ),
            (Member::Csr(RequestKey::Subject, Alias(0)), "/subjectPublicKeySource/csrPem"),
            (Member::KeyPath(RequestKey::Issuer), "/issuer/issuerKeyDescriptor/keyIdPath"),
        ] {
            assert_eq!(pointer(member), expected);
        }
    }

    #[test]
    fn a_message_names_members_alone_or_with_the_way_to_them() {
        let message = Message::name(Member::PathLength)
            .text(" needs ")
            .and(Part::Path(Member::Key(RequestKey::IssuingIaca)))
            .text(" as a ")
            .and(Part::Form(Form::KeyInHsm));
        assert_eq!(
            prose(&message.at(Member::VicalChain(2))),
            "signerCertificateChainIds.2: pathLengthConstraint needs iacaSigner.iacaKeyDesc as a \
             kms-hosted-key-descriptor"
        );
    }
}
