//! The object identifiers of names and extensions.

use der::asn1::ObjectIdentifier;

// RFC 5280, appendix A.1.
pub(super) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
pub(super) const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
pub(super) const LOCALITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.7");
pub(super) const STATE_OR_PROVINCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
pub(super) const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
pub(super) const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
pub(super) const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
pub(super) const EMAIL_ADDRESS: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

// RFC 5280, 4.2.1 and 4.2.2.
pub(super) const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
pub(super) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
pub(super) const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
pub(super) const ISSUER_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.18");
pub(super) const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
pub(super) const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
pub(super) const CRL_DISTRIBUTION_POINTS: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.5.29.31");
pub(super) const POLICY_MAPPINGS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.33");
pub(super) const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
pub(super) const POLICY_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.36");
pub(super) const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
pub(super) const ANY_EXTENDED_KEY_USAGE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.5.29.37.0");
pub(super) const FRESHEST_CRL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.46");
pub(super) const INHIBIT_ANY_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.54");

/// mdlDS (ISO/IEC 18013-5, Table B.3): may sign mobile security objects.
pub(super) const MDL_DOCUMENT_SIGNER: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.0.18013.5.1.2");

/// id-kp-OCSPSigning (RFC 5280, 4.2.1.12): may answer for the CA that has issued it.
pub(super) const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
/// The purposes of ISO/IEC 18013-5, each with a profile of its own.
pub(super) const MDL_PURPOSES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.0.18013.5.1");
/// Those of ISO/IEC 23220-4.
pub(super) const MDOC_PURPOSES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.0.23220.4.1");

/// mdlVICAL (ISO/IEC 18013-5, Table C.1): may sign VICALs.
pub(super) const MDL_VICAL_SIGNER: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.0.18013.5.1.8");
/// mdocVICAL (ISO/IEC 23220-4), beside the one above.
pub(super) const MDOC_VICAL_SIGNER: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.0.23220.4.1.8");

/// id-ExtensionReq (RFC 2985, 5.4.2).
pub(super) const EXTENSION_REQUEST: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
