//! Warnings about ledger contents of earlier versions that this version would refuse.
//!
//! Only warnings: services keep what they use, and keys keep their first role.

use std::collections::{BTreeMap, HashSet};

use data_encoding::HEXLOWER;

use super::resources::{Definition, store_of};
use crate::{
    domain::{
        client::KeyPurpose,
        key::{PublicKey, sha256},
        path::{KeyPath, ResourcePath},
        time::Timestamp,
        tree::{Node, Service},
    },
    ledger::{CertificateOrigin, IacaPin, Inherited, InheritedResource},
    x509::Certificate,
};

/// The largest number of warnings. One more warning has the number of the others.
const WARNINGS_MAX: usize = 20;
/// The largest number of paths that one warning names.
const NAMED_MAX: usize = 4;
/// The largest number of RSA keys that are checked, because each check takes a tenth of a second of processor time.
const RSA_MAX: usize = 32;

/// Returns one warning for each service and each key that this version would refuse. Takes seconds if there are
/// many RSA keys.
pub fn warnings(held: &Inherited, now: Timestamp) -> Vec<String> {
    let keys = CaKeys::of(held, now);
    let mut warnings: Vec<_> = held.resources.iter().filter_map(outside).collect();
    warnings.extend(keys.all.iter().filter_map(|(spki, key)| key.two_roles(spki)));
    warnings.extend(keys.all.iter().filter_map(|(spki, key)| key.descriptions(spki)));
    warnings.extend(bad_keys(held, &keys));
    if held.is_cut {
        warnings.push(
            "the ledger holds more than is looked at for what earlier versions have left"
                .to_owned(),
        );
    }
    let rest = warnings.len().saturating_sub(WARNINGS_MAX);
    warnings.truncate(WARNINGS_MAX);
    if rest > 0 {
        warnings.push(format!(
            "{rest} more warnings about what an earlier version has left in the ledger are not told"
        ));
    }
    warnings
}

/// The warning about a service that uses services outside its own tenant.
fn outside(InheritedResource { now, before }: &InheritedResource) -> Option<String> {
    let tenant = now.path.parent()?;
    let before = uses(before)?;
    let is_unknown = |used: &ResourcePath| !used.is_at_or_under(&tenant) && before.contains(used);
    let used: Vec<_> = uses(&now.definition)?.into_iter().filter(is_unknown).collect();
    let (named, rest) = used.split_at(used.len().min(NAMED_MAX));
    let mut named: Vec<_> = named.iter().map(ToString::to_string).collect();
    if named.is_empty() {
        return None;
    }
    if !rest.is_empty() {
        named.push(format!("{} more", rest.len()));
    }
    Some(format!(
        "service {} was made over the API before its maker needed resource:write on what it uses, and it \
         uses {}, outside {tenant}; it keeps that. If it should not, narrow who has grants on it, or what \
         the keys may sign (policies of the KMS service)",
        now.path,
        named.join(", ")
    ))
}

/// The paths of the services that a service uses, each once.
fn uses(definition: &str) -> Option<Vec<ResourcePath>> {
    // A definition that cannot be parsed is skipped, because it prevents the start with a message of its own.
    let node = serde_json::from_str::<Definition>(definition).ok()?.into_node().ok()?;
    let Node::Service(service) = node else { return None };
    let mut uses = service.dependencies().unwrap_or_default().to_vec();
    if let Service::Vical(vical) = &service {
        uses.push(vical.signing_key.kms());
        uses.push(store_of(&vical.signer_certificate));
        uses.extend(vical.signer_certificate_chain.iter().map(store_of));
    }
    let mut seen = HashSet::new();
    uses.retain(|used| seen.insert(used.clone()));
    Some(uses)
}

/// The keys of CAs, with the certificates that were issued here and the descriptions, by the SHA-256 of the public
/// key.
struct CaKeys<'a> {
    all: BTreeMap<[u8; 32], CaKey<'a>>,
}

#[derive(Default)]
struct CaKey<'a> {
    cas: Vec<Ca<'a>>,
    /// Descriptions that still count.
    pins: Vec<&'a IacaPin>,
}

struct Ca<'a> {
    certificate: Certificate,
    is_iaca: bool,
    has_ended: bool,
    service: &'a ResourcePath,
    key_path: Option<&'a KeyPath>,
    since: Timestamp,
}

impl<'a> CaKeys<'a> {
    fn of(held: &'a Inherited, now: Timestamp) -> Self {
        let mut all = BTreeMap::<_, CaKey<'_>>::new();
        for known in &held.cas {
            let CertificateOrigin::Issued { service, profile, subject_key_path, issued_at, .. } =
                &known.origin
            else {
                continue;
            };
            let Ok(certificate) = Certificate::from_der(&known.der) else { continue };
            all.entry(certificate.spki_sha256()).or_default().cas.push(Ca {
                is_iaca: *profile == KeyPurpose::Iaca,
                has_ended: certificate.validity().not_after() < now,
                certificate,
                service,
                key_path: subject_key_path.as_ref(),
                since: *issued_at,
            });
        }
        for pin in &held.iaca_pins {
            all.entry(pin.spki_sha256).or_default().pins.push(pin);
        }
        Self { all }
    }
}

impl CaKey<'_> {
    fn iacas(&self) -> impl Iterator<Item = &Ca<'_>> {
        self.cas.iter().filter(|ca| ca.is_iaca)
    }

    fn path(&self) -> Option<&KeyPath> {
        let of_pin = self.pins.iter().find_map(|pin| pin.key_path.as_ref());
        self.cas.iter().find_map(|ca| ca.key_path).or(of_pin)
    }

    /// The warning about a key that is recorded as an IACA's and another CA's. It keeps the first role.
    fn two_roles(&self, spki_sha256: &[u8; 32]) -> Option<String> {
        let is_registered = self.iacas().next().is_some();
        let certified = self.iacas().filter(|ca| !ca.has_ended).map(|ca| ca.since);
        let described = self.pins.iter().filter(|_| !is_registered).map(|pin| pin.pinned_at);
        let iaca = certified.chain(described).min()?;
        // A certificate for a public key from a request counts only in the service that issued it.
        let counts = |ca: &&Ca<'_>| {
            ca.key_path.is_some()
                || ca.certificate.is_self_signed()
                || self.iacas().any(|iaca| iaca.service == ca.service)
        };
        let others = self.cas.iter().filter(|ca| !ca.is_iaca && !ca.has_ended).filter(counts);
        let other = others.map(|ca| ca.since).min()?;
        let key = name_of(self.path(), spki_sha256);
        let keeps = match iaca <= other {
            true => {
                "an IACA's, which was first: it signs document signers, and refuses generic \
                 certificates, and CSRs and VICALs unless its policy lists them"
            }
            false => {
                "another CA's, which was first: it signs generic certificates, and refuses IACAs and \
                 document signers"
            }
        };
        Some(format!(
            "{key} is on record both as an IACA's and as another CA's, and a key has one role now; it is \
             {keeps}. Generate another key for what it refuses"
        ))
    }

    /// The warning about descriptions that no longer count because the IACA is registered.
    fn descriptions(&self, spki_sha256: &[u8; 32]) -> Option<String> {
        self.iacas().next()?;
        let is_none = |pin: &&&IacaPin| !self.iacas().any(|ca| describes(pin, &ca.certificate));
        let ended = self.pins.iter().filter(is_none).count();
        if ended == 0 {
            return None;
        }
        let key = name_of(self.path(), spki_sha256);
        Some(format!(
            "{key}: {ended} described IACAs count no more, because an IACA certificate is registered for \
             the key and differs from them. Describe that one, or name its certificate; chancery key \
             iaca-pins shows the descriptions, and drop-iaca-pins drops them"
        ))
    }
}

fn describes(pin: &IacaPin, certificate: &Certificate) -> bool {
    let contact = certificate.issuer_alternative_name().unwrap_or_default();
    let validity = certificate.validity();
    pin.subject_der == certificate.subject().as_der()
        && pin.email == contact.email
        && pin.uri == contact.uri
        && pin.not_before == validity.not_before()
        && pin.not_after == validity.not_after()
}

/// Warnings about pinned keys and CA keys that are known to be bad.
fn bad_keys(held: &Inherited, cas: &CaKeys<'_>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut rsa = 0;
    let pinned = held
        .keys
        .iter()
        .filter_map(|(path, spki)| Some((Some(path), PublicKey::from_spki_der(spki).ok()?)));
    let of_cas = cas.all.values().filter_map(|key| {
        let ca = key.cas.iter().find(|ca| !ca.has_ended)?;
        Some((key.path(), ca.certificate.public_key().ok()?))
    });
    let mut warnings = Vec::new();
    for (path, key) in pinned.chain(of_cas) {
        if !seen.insert(key.spki_sha256()) {
            continue;
        }
        rsa += usize::from(key.modulus().is_some());
        if key.modulus().is_some() && rsa > RSA_MAX {
            continue;
        }
        if let Some(weakness) = key.weakness() {
            let key = name_of(path, &sha256(key.spki_der()));
            warnings.push(format!(
                "{key} is known to be bad: {weakness}; it signs no more and is not certified. Generate \
                 another key, and replace the certificates over this one"
            ));
        }
    }
    if rsa > RSA_MAX {
        warnings.push(format!(
            "{} RSA keys of the ledger are not looked at for known weaknesses now; each is when it is used",
            rsa - RSA_MAX
        ));
    }
    warnings
}

fn name_of(path: Option<&KeyPath>, spki_sha256: &[u8; 32]) -> String {
    match path {
        Some(path) => format!("key {path}"),
        None => {
            format!(
                "the key whose SubjectPublicKeyInfo has SHA-256 {}",
                HEXLOWER.encode(spki_sha256)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::StoredResource;

    fn service(path: &str, now: &[&str], before: &[&str]) -> InheritedResource {
        let definition = |uses: &[&str]| {
            serde_json::json!({ "type": "x509-service", "dependencies": uses }).to_string()
        };
        InheritedResource {
            now: StoredResource {
                path: ResourcePath::parse(path).unwrap(),
                definition: definition(now),
            },
            before: definition(before),
        }
    }

    fn told(resources: Vec<InheritedResource>) -> Vec<String> {
        let held = Inherited { resources, ..Inherited::default() };
        warnings(&held, Timestamp::from_unix(1_780_000_000).unwrap())
    }

    #[test]
    fn a_service_is_told_for_what_it_has_used_since_before_outside_its_tenant() {
        let other = "a.c.kms";
        for (now, before, is_told) in [
            (vec![other], vec![other], true),
            (vec!["a.b.kms", other], vec![other], true),
            // The parent tenant, and a tenant whose name has the same beginning.
            (vec!["a.kms"], vec!["a.kms"], true),
            (vec!["a.bb.kms"], vec!["a.bb.kms"], true),
            (vec!["a.b.kms"], vec!["a.b.kms"], false),
            (vec!["a.b.d.kms"], vec!["a.b.d.kms"], false),
            // Detached since then, and attached under the rules of this version.
            (vec![], vec![other], false),
            (vec![other], vec![], false),
        ] {
            let told = told(vec![service("a.b.x509", &now, &before)]);
            assert_eq!(told.len(), usize::from(is_told), "{now:?} {before:?}: {told:?}");
        }
        let vical = r#"{"type":"vical-service","signingKey":"a.c.kms.k","signerCertificate":"a.d.certs.s",
            "signerCertificateChain":["a.e.certs.root"],"dependencies":["a.f.certs"]}"#;
        let mut signer = service("a.b.vical", &[], &[]);
        (signer.now.definition, signer.before) = (vical.to_owned(), vical.to_owned());
        let told = told(vec![signer]);
        assert!(
            told[0].contains("uses a.f.certs, a.c.kms, a.d.certs, a.e.certs, outside"),
            "{told:?}"
        );
    }

    #[test]
    fn of_many_warnings_twenty_are_told_and_the_rest_is_counted() {
        let many = |count: usize| {
            told((0..count).map(|n| service(&format!("a.b.s{n}"), &["c"], &["c"])).collect())
        };
        assert_eq!(many(20).len(), 20);
        assert_eq!(many(10_000).len(), 21);
        assert!(many(25)[20].starts_with("5 more warnings"), "{:?}", many(25));
        let far: Vec<_> = (0..100).map(|n| format!("c.s{n}")).collect();
        let far: Vec<_> = far.iter().map(String::as_str).collect();
        let told = told(vec![service("a.b.x509", &far, &far)]);
        assert!(told[0].contains("c.s3, 96 more, outside a.b"), "{told:?}");
    }
}
