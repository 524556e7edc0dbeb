#!/usr/bin/env python3
"""Judges certificates by the profile tables of ISO/IEC 18013-5 Annex B.

    annex_b.py iaca FILE                    Table B.1, IACA root certificate
    annex_b.py document-signer FILE IACA    Table B.3, document signer certificate

Prints one line per finding, the row first; the exit status is 1 when there is any. Written from the
tables, not from Chancery's own linter, so that the two can disagree.
"""

import datetime
import hashlib
import sys
import warnings

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID

MDL_DS = "1.0.18013.5.1.2"
# ISO/IEC 23220-4; recommended beside the former by the second edition.
MDOC_DS = "1.0.23220.4.1.2"
ECDSA_WITH_SHA2 = {"1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4"}
CURVES = {
    "1.2.840.10045.3.1.7": "P-256",
    "1.3.132.0.34": "P-384",
    "1.3.132.0.35": "P-521",
    "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1",
    "1.3.36.3.3.2.8.1.1.9": "brainpoolP320r1",
    "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
    "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
}
EC_PUBLIC_KEY = "1.2.840.10045.2.1"
PROHIBITED = {
    ExtensionOID.POLICY_MAPPINGS: "policyMappings",
    ExtensionOID.NAME_CONSTRAINTS: "nameConstraints",
    ExtensionOID.POLICY_CONSTRAINTS: "policyConstraints",
    ExtensionOID.INHIBIT_ANY_POLICY: "inhibitAnyPolicy",
    ExtensionOID.FRESHEST_CRL: "freshestCRL",
}
UTF8_STRING, PRINTABLE_STRING, UTC_TIME, GENERALIZED_TIME = 0x0C, 0x13, 0x17, 0x18


def main(arguments):
    # The library warns of some of what is reported here.
    warnings.simplefilter("ignore")
    match arguments:
        case ["iaca", path]:
            findings = Iaca(Certificate(path)).findings()
        case ["document-signer", path, iaca]:
            findings = DocumentSigner(Certificate(path), Certificate(iaca)).findings()
        case _:
            sys.exit(__doc__)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


class Certificate:
    """A certificate, and those of its octets that a parsed form no longer shows."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.parsed = x509.load_pem_x509_certificate(file.read())
        (certificate,) = elements(self.parsed.public_bytes(Encoding.DER))
        tbs, self.outer_algorithm, _ = certificate.children()
        fields = tbs.children()
        self.has_version = fields[0].tag == 0xA0
        if self.has_version:
            fields = fields[1:]
        self.serial, self.inner_algorithm, self.issuer, validity, self.subject, self.spki = fields[:6]
        self.not_before, self.not_after = validity.children()

    def public_key_bits(self):
        """The content of subjectPublicKey without the octet of unused bits."""
        return self.spki.children()[1].content[1:]

    def extension(self, oid):
        try:
            return self.parsed.extensions.get_extension_for_oid(oid)
        except x509.ExtensionNotFound:
            return None

    def first(self, oid):
        values = self.parsed.subject.get_attributes_for_oid(oid)
        return values[0].value if values else None


class Element:
    """A DER element."""

    def __init__(self, octets, header, end):
        self.octets, self.tag, self.content = octets[:end], octets[0], octets[header:end]

    def children(self):
        return list(elements(self.content))


def elements(octets):
    while octets:
        length, header = octets[1], 2
        if length & 0x80:
            header += length & 0x7F
            length = int.from_bytes(octets[2:header], "big")
        yield Element(octets, header, header + length)
        octets = octets[header + length :]


class Profile:
    """What the two tables have in common (B.1.1)."""

    def __init__(self, certificate, iaca):
        self.certificate, self.iaca, self._findings = certificate, iaca, []

    def check(self, row, holds, words):
        if not holds:
            self._findings.append(f"{row}: {words}")

    def findings(self):
        self.version_and_serial()
        self.algorithms()
        self.names()
        self.times()
        self.key_identifiers()
        self.foreign_extensions()
        self.rows()
        return self._findings

    def version_and_serial(self):
        certificate = self.certificate
        self.check("version", certificate.parsed.version == x509.Version.v3, "is not v3")
        octets = certificate.serial.content
        self.check("serialNumber", octets[0] < 0x80 and any(octets), "is not positive")
        self.check("serialNumber", len(octets) <= 20, "is longer than 20 octets")
        self.check("serialNumber", len(octets) >= 8, "has no room for 63 random bits")

    def algorithms(self):
        certificate = self.certificate
        inner, outer = certificate.inner_algorithm, certificate.outer_algorithm
        self.check("signature", inner.octets == outer.octets, "differs from signatureAlgorithm")
        oid = certificate.parsed.signature_algorithm_oid.dotted_string
        self.check("signature", oid in ECDSA_WITH_SHA2, "is not ECDSA with SHA-256, 384 or 512")
        if oid in ECDSA_WITH_SHA2:
            self.check("signature", len(outer.children()) == 1, "has parameters")
        algorithm = [decoded_oid(part.content) for part in certificate.spki.children()[0].children()
                     if part.tag == 0x06]
        if algorithm[0] == EC_PUBLIC_KEY:
            self.check("subjectPublicKeyInfo", len(algorithm) == 2 and algorithm[1] in CURVES,
                       "is not on a curve of B.1.1, by name")
            self.check("subjectPublicKeyInfo", certificate.public_key_bits()[:1] == b"\x04",
                       "is not an uncompressed point")

    def names(self):
        for row, name in (("issuer", self.certificate.issuer), ("subject", self.certificate.subject)):
            for relative in name.children():
                for attribute in relative.children():
                    oid, value = attribute.children()
                    dotted = decoded_oid(oid.content)
                    if dotted in (NameOID.COUNTRY_NAME.dotted_string,
                                  NameOID.SERIAL_NUMBER.dotted_string):
                        self.check(row, value.tag == PRINTABLE_STRING,
                                   f"{dotted} is not a PrintableString")
                    elif dotted.startswith("2.5.4."):
                        self.check(row, value.tag in (PRINTABLE_STRING, UTF8_STRING),
                                   f"{dotted} is neither PrintableString nor UTF8String")
        country = self.certificate.first(NameOID.COUNTRY_NAME)
        self.check("subject", country is not None, "has no countryName")
        if country is not None:
            self.check("subject", len(country) == 2 and country.isascii() and country.isalpha()
                       and country.isupper(), "countryName is not an upper-case alpha-2 code")
        self.check("subject", self.certificate.first(NameOID.COMMON_NAME), "has no commonName")
        self.check("issuer", self.certificate.issuer.octets == self.iaca.subject.octets,
                   "is not octet for octet the subject of the IACA")

    def times(self):
        for row, time in (("notBefore", self.certificate.not_before),
                          ("notAfter", self.certificate.not_after)):
            text = time.content.decode("ascii")
            if time.tag == UTC_TIME:
                self.check(row, len(text) == 13 and text.endswith("Z"), "is not YYMMDDHHMMSSZ")
            else:
                self.check(row, time.tag == GENERALIZED_TIME and len(text) == 15
                           and text.endswith("Z"), "is not YYYYMMDDHHMMSSZ")
                self.check(row, text[:4] >= "2050", "is a GeneralizedTime before 2050")
        self.check("validity", self.not_before() < self.not_after(), "ends before it begins")

    def not_before(self):
        return self.certificate.parsed.not_valid_before_utc

    def not_after(self):
        return self.certificate.parsed.not_valid_after_utc

    def key_identifiers(self):
        subject = self.extension(ExtensionOID.SUBJECT_KEY_IDENTIFIER, "subjectKeyIdentifier", False)
        if subject:
            digest = hashlib.sha1(self.certificate.public_key_bits()).digest()
            self.check("subjectKeyIdentifier", subject.digest == digest,
                       "is not the SHA-1 of the public key")
        authority = self.certificate.extension(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
        if authority:
            self.check("authorityKeyIdentifier", not authority.critical, "is critical")
            value = authority.value
            self.check("authorityKeyIdentifier", value.authority_cert_issuer is None
                       and value.authority_cert_serial_number is None, "names issuer and serial")
            theirs = self.iaca.extension(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
            self.check("authorityKeyIdentifier",
                       theirs and value.key_identifier == theirs.value.digest,
                       "is not the subjectKeyIdentifier of the IACA")

    def foreign_extensions(self):
        for extension in self.certificate.parsed.extensions:
            self.check("extensions", extension.oid not in PROHIBITED,
                       f"{PROHIBITED.get(extension.oid)} is prohibited")
            self.check("extensions", not extension.critical or extension.oid in self.MAY_BE_CRITICAL,
                       f"{extension.oid.dotted_string} is critical")

    def extension(self, oid, row, critical):
        """The value of an extension that must be there."""
        extension = self.certificate.extension(oid)
        self.check(row, extension is not None, "is missing")
        if extension is None:
            return None
        self.check(row, extension.critical == critical,
                   "is critical" if extension.critical else "is not critical")
        return extension.value

    def absent(self, oid, row):
        self.check(row, self.certificate.extension(oid) is None, "must be left out")

    def public_key(self, words, *kinds):
        try:
            self.check("subjectPublicKeyInfo",
                       isinstance(self.certificate.parsed.public_key(), kinds), f"is not {words}")
        except (ValueError, UnsupportedAlgorithm) as error:
            self.check("subjectPublicKeyInfo", False, f"cannot be read ({error})")

    def key_usage(self, *wanted):
        usage = self.extension(ExtensionOID.KEY_USAGE, "keyUsage", True)
        if usage:
            bits = {name for name in (
                "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                "key_agreement", "key_cert_sign", "crl_sign") if getattr(usage, name)}
            self.check("keyUsage", bits == set(wanted), f"is {sorted(bits)}")

    def issuer_alternative_name(self):
        names = self.extension(ExtensionOID.ISSUER_ALTERNATIVE_NAME, "issuerAltName", False)
        if names is not None:
            self.check("issuerAltName",
                       any(isinstance(name, (x509.RFC822Name, x509.UniformResourceIdentifier))
                           for name in names), "has neither an e-mail address nor a URI")

    def distribution_points(self, points):
        for point in points:
            self.check("cRLDistributionPoints", point.reasons is None, "has reasons")
            self.check("cRLDistributionPoints", point.crl_issuer is None, "has a cRLIssuer")
            self.check("cRLDistributionPoints",
                       point.full_name and all(isinstance(name, x509.UniformResourceIdentifier)
                                               for name in point.full_name), "is not a URI")

    def signature(self):
        try:
            self.certificate.parsed.verify_directly_issued_by(self.iaca.parsed)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            self.check("signatureValue", False, f"is not the IACA's ({type(error).__name__})")

    def attributes(self, allowed):
        for attribute in self.certificate.parsed.subject:
            self.check("subject", attribute.oid in allowed,
                       f"{attribute.oid.dotted_string} has no row")


class Iaca(Profile):
    """Table B.1."""

    MAY_BE_CRITICAL = {ExtensionOID.KEY_USAGE, ExtensionOID.BASIC_CONSTRAINTS}

    def __init__(self, certificate):
        super().__init__(certificate, certificate)

    def rows(self):
        self.attributes({NameOID.COUNTRY_NAME, NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER,
                         NameOID.STATE_OR_PROVINCE_NAME, NameOID.ORGANIZATION_NAME})
        begin = self.not_before()
        # No 29 February in the years that count: the 28th is a day early at worst.
        day = 28 if (begin.month, begin.day) == (2, 29) else begin.day
        end = begin.replace(year=begin.year + 20, day=day)
        self.check("validity", self.not_after() <= end, "is longer than 20 years")
        self.public_key("an elliptic curve key", ec.EllipticCurvePublicKey)
        self.key_usage("key_cert_sign", "crl_sign")
        basic = self.extension(ExtensionOID.BASIC_CONSTRAINTS, "basicConstraints", True)
        if basic:
            self.check("basicConstraints", basic.ca, "cA is not TRUE")
            self.check("basicConstraints", basic.path_length == 0, "pathLenConstraint is not 0")
        self.issuer_alternative_name()
        self.absent(ExtensionOID.EXTENDED_KEY_USAGE, "extKeyUsage")
        self.absent(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, "subjectAltName")
        points = self.certificate.extension(ExtensionOID.CRL_DISTRIBUTION_POINTS)
        if points:
            self.check("cRLDistributionPoints", not points.critical, "is critical")
            self.distribution_points(points.value)
        self.signature()


class DocumentSigner(Profile):
    """Table B.3."""

    MAY_BE_CRITICAL = {ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE}

    def rows(self):
        certificate, iaca = self.certificate, self.iaca
        self.attributes({NameOID.COUNTRY_NAME, NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER,
                         NameOID.STATE_OR_PROVINCE_NAME, NameOID.ORGANIZATION_NAME,
                         NameOID.LOCALITY_NAME})
        self.check("subject", certificate.first(NameOID.COUNTRY_NAME)
                   == iaca.first(NameOID.COUNTRY_NAME), "countryName is not the IACA's")
        state = iaca.first(NameOID.STATE_OR_PROVINCE_NAME)
        if state is not None:
            self.check("subject", certificate.first(NameOID.STATE_OR_PROVINCE_NAME) == state,
                       "stateOrProvinceName is not the IACA's")
        self.check("validity", self.not_after() - self.not_before()
                   <= datetime.timedelta(days=457), "is longer than 457 days")
        self.check("validity", iaca.parsed.not_valid_before_utc <= self.not_before()
                   and self.not_after() <= iaca.parsed.not_valid_after_utc,
                   "is not within the IACA's")
        self.public_key("an elliptic or Edwards curve key", ec.EllipticCurvePublicKey,
                        ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
        self.check("subjectPublicKeyInfo", certificate.spki.octets != iaca.spki.octets,
                   "is the IACA's")
        self.extension(ExtensionOID.AUTHORITY_KEY_IDENTIFIER, "authorityKeyIdentifier", False)
        self.key_usage("digital_signature")
        self.absent(ExtensionOID.BASIC_CONSTRAINTS, "basicConstraints")
        purposes = self.extension(ExtensionOID.EXTENDED_KEY_USAGE, "extKeyUsage", True)
        if purposes:
            purposes = {purpose.dotted_string for purpose in purposes}
            self.check("extKeyUsage", MDL_DS in purposes, "does not have mdlDS")
            self.check("extKeyUsage", purposes <= {MDL_DS, MDOC_DS}, "has other purposes")
        self.issuer_alternative_name()
        points = self.extension(ExtensionOID.CRL_DISTRIBUTION_POINTS, "cRLDistributionPoints", False)
        if points is not None:
            self.distribution_points(points)
        self.signature()


def decoded_oid(content):
    arcs, arc = [], 0
    for octet in content:
        arc = arc << 7 | octet & 0x7F
        if octet < 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
