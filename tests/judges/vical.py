#!/usr/bin/env python3
"""Reads a VICAL (ISO/IEC 18013-5 C.1.7) with cbor2 and cryptography, and prints what it says.

    vical.py FILE

Fails unless the COSE_Sign1 verifies with the first certificate of its x5chain, the chain holds
together, and everything that is said of a listed certificate is what the certificate says.
"""

import io
import json
import sys

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtensionOID, NameOID

ALGORITHMS = {
    -7: (hashes.SHA256(), "secp256r1"),
    -35: (hashes.SHA384(), "secp384r1"),
    -36: (hashes.SHA512(), "secp521r1"),
}
PAYLOAD = ["version", "vicalProvider", "date", "vicalIssueID", "nextUpdate", "certificateInfos"]
INFO = [
    "certificate", "serialNumber", "ski", "docType", "certificateProfile", "issuingAuthority",
    "issuingCountry", "stateOrProvinceName", "issuer", "subject", "notBefore", "notAfter",
]


def main(path):
    with open(path, "rb") as file:
        octets = file.read()
    tagged = octets[0] == 0xD2
    stream = io.BytesIO(octets[1:] if tagged else octets)
    protected, unprotected, payload, signature = cbor2.CBORDecoder(stream).decode()
    assert stream.read() == b"", "something follows the structure"

    headers = cbor2.loads(protected)
    assert list(headers) == [1], headers
    assert list(unprotected) == [33], unprotected
    x5chain = unprotected[33]
    single = isinstance(x5chain, bytes)
    assert single or len(x5chain) > 1, "an array for one certificate"
    chain = [x509.load_der_x509_certificate(der) for der in ([x5chain] if single else x5chain)]
    for below, above in zip(chain, chain[1:]):
        below.verify_directly_issued_by(above)

    verify(chain[0].public_key(), headers[1], protected, payload, signature)
    said = cbor2.loads(payload)
    # Definite lengths, shortest forms, tags: another encoder comes to the same octets.
    assert cbor2.dumps(said, datetime_as_timestamp=False) == payload, "not preferred serialization"
    in_order(said, PAYLOAD)
    for info in said["certificateInfos"]:
        check(info)
    json.dump(
        {
            "tagged": tagged,
            "algorithm": headers[1],
            "chain": [certificate.subject.rfc4514_string() for certificate in chain],
            "provider": said["vicalProvider"],
            "version": said["version"],
            "date": text(said["date"]),
            "issueId": said["vicalIssueID"],
            "nextUpdate": text(said["nextUpdate"]) if "nextUpdate" in said else None,
            "entries": [
                {
                    "authority": info["issuingAuthority"],
                    "country": info.get("issuingCountry"),
                    "state": info.get("stateOrProvinceName"),
                    "docType": info["docType"],
                    "certificateProfile": info.get("certificateProfile"),
                }
                for info in said["certificateInfos"]
            ],
        },
        sys.stdout,
    )


def verify(key, algorithm, protected, payload, signature):
    """RFC 9052, 4.4; RFC 9053, 2.1."""
    hash_function, curve = ALGORITHMS[algorithm]
    assert key.curve.name == curve, key.curve.name
    octets = (key.curve.key_size + 7) // 8
    assert len(signature) == 2 * octets, len(signature)
    r, s = (int.from_bytes(signature[at : at + octets], "big") for at in (0, octets))
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hash_function))


def check(info):
    in_order(info, INFO)
    certificate = x509.load_der_x509_certificate(info["certificate"])
    ski = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    assert info["serialNumber"] == certificate.serial_number
    assert info["ski"] == ski.value.digest
    assert info["docType"] and all(isinstance(name, str) for name in info["docType"])
    assert info["issuingAuthority"] == certificate.issuer.rfc4514_string()
    assert info.get("issuingCountry") == attribute(certificate.issuer, NameOID.COUNTRY_NAME)
    assert info.get("stateOrProvinceName") == attribute(
        certificate.subject, NameOID.STATE_OR_PROVINCE_NAME
    )
    assert info["issuer"] == certificate.issuer.public_bytes()
    assert info["subject"] == certificate.subject.public_bytes()
    assert info["notBefore"] == certificate.not_valid_before_utc
    assert info["notAfter"] == certificate.not_valid_after_utc


def in_order(members, known):
    names = list(members)
    assert names == [name for name in known if name in names], names


def attribute(name, oid):
    found = name.get_attributes_for_oid(oid)
    return found[0].value if found else None


def text(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


main(sys.argv[1])
