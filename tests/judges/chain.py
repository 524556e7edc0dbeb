#!/usr/bin/env python3
"""Judges certificates with pyca/cryptography.

    chain.py signature FILE ISSUER          the names chain and the issuer's key signed
    chain.py server HOST FILE ISSUER...     a TLS client that trusts the last would accept the first
    chain.py request FILE                   a PKCS#10 request signed by its own key

Ends with an exception when the answer is no.
"""

import sys

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store


def main(arguments):
    match arguments:
        case ["signature", path, issuer]:
            certificate(path).verify_directly_issued_by(certificate(issuer))
        case ["server", host, path, *issuers]:
            *intermediates, root = [certificate(issuer) for issuer in issuers]
            verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName(host))
            verifier.verify(certificate(path), intermediates)
        case ["request", path]:
            with open(path, "rb") as file:
                assert x509.load_pem_x509_csr(file.read()).is_signature_valid
        case _:
            sys.exit(__doc__)


def certificate(path):
    """A certificate whose every extension can be read."""
    with open(path, "rb") as file:
        parsed = x509.load_pem_x509_certificate(file.read())
    assert len(list(parsed.extensions)) > 0
    return parsed


if __name__ == "__main__":
    main(sys.argv[1:])
