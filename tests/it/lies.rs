//! A token whose signatures are wrong: broken hardware, or a handle that means another key by now.

use std::{fs, time::Instant};

use crate::{
    appliance::{Appliance, SOON, key_label, until},
    evidence::{Held, assert_sound},
    load::{Load, assert_clean, assert_clean_refusal, leaf_stored_as},
};

/// PKCS#11 v2.40: after the version come the functions in the order of the standard.
const MODULE: &str = r#"
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
typedef unsigned long ulong;
typedef ulong sign(ulong, unsigned char *, ulong, unsigned char *, ulong *);
static struct list { unsigned char version[2]; void *functions[68]; } list;
static sign *honest;
enum { SIGN = 43 };

/* The first bit of a signature over 32 octets is wrong while the file is there. */
static ulong lie(ulong session, unsigned char *data, ulong size, unsigned char *out, ulong *length) {
    ulong value = honest(session, data, size, out, length);
    if (value == 0 && out && size == 32 && access(getenv("LIES_WHILE"), F_OK) == 0) out[0] ^= 0x80;
    return value;
}

ulong C_GetFunctionList(struct list **to) {
    void *module = dlopen(getenv("LIES_ABOUT"), RTLD_NOW);
    ulong (*functions)(struct list **) = dlsym(module, "C_GetFunctionList");
    struct list *real;
    ulong value = functions(&real);
    if (value != 0) return value;
    list = *real;
    honest = (sign *)list.functions[SIGN];
    list.functions[SIGN] = lie;
    *to = &list;
    return 0;
}
"#;

/// Puts the module before SoftHSM. Canary signatures, made with a P-384 key, stay honest: only
/// checking each signature finds these lies.
fn install(appliance: &Appliance) {
    fs::write(appliance.path("lies.c"), MODULE).unwrap();
    appliance.shell("cc -shared -fPIC -o lies.so lies.c -ldl");
    let path = |name: &str| appliance.path(name).display().to_string();
    appliance.configure_token(&format!(
        "module = {:?}\n\
         environment = {{ LIES_ABOUT = \"/usr/lib/softhsm/libsofthsm2.so\", LIES_WHILE = {:?} }}\n\
         canary_seconds = 1\n\
         canary_label = {:?}",
        path("lies.so"),
        path("lie"),
        key_label("iaca-secp384r1"),
    ));
}

#[test]
fn a_signature_that_does_not_verify_is_never_released() {
    let appliance = Appliance::new();
    install(&appliance);
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let body = leaf_stored_as("truth", "leaf-secp256r1");
    fs::write(appliance.path("lie"), "").unwrap();
    let before = daemon.signers();
    let refused = daemon.client.issue("certificate", &body);
    assert_clean_refusal(&refused);
    assert_eq!(refused.json["message"], "signing is unavailable; try again in 5 s");
    let log = daemon.log();
    assert!(log.contains("alarm=\"bad-signature\""), "{log}");
    let evidence = assert_sound(&appliance, &[], None);
    assert_eq!((evidence.intents.len(), evidence.certificates.len()), (1, 0));

    // The signer that made it is not trusted with another one.
    let replaced = || daemon.signers().iter().any(|pid| !before.contains(pid)).then_some(());
    assert!(until(SOON, replaced).is_some(), "{}", daemon.log());
    let load = Load::of_leaves(&appliance, &daemon, 2);
    load.wait_for(503, 10, SOON);
    assert_eq!(load.count(200), 0);
    fs::remove_file(appliance.path("lie")).unwrap();
    let took = load.recovery(Instant::now(), SOON);
    println!("token honest again: served after {took:?}");
    let mut held = assert_clean(&load.stop(), SOON);
    held.push(Held::of(&daemon.client.issue("certificate", &body).ok()));
    daemon.stop();
    let evidence = assert_sound(&appliance, &held, None);
    assert_eq!(evidence.certificates.len(), held.len());
}
