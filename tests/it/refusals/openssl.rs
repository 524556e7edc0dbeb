//! What another tool makes: keys, and certificates that ours would not.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::bench::Bench;

/// A signature that does not verify any more.
pub fn flip_last_octet(label: &str, pem: &str) -> String {
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut der = STANDARD.decode(base64).unwrap();
    *der.last_mut().unwrap() ^= 1;
    let base64 = STANDARD.encode(der);
    let lines: Vec<_> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The private JWK of a key that openssl makes; the key stays in `dev.pem`.
pub fn jwk(bench: &Bench, options: &str) -> Value {
    let script = format!(
        "openssl genpkey {options} -out dev.pem 2>/dev/null; openssl pkey -in dev.pem -text -noout"
    );
    let text = bench.shell(&script);
    let mut parts: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(hex) => parts.last_mut().unwrap().1.push_str(&hex.replace([':', ' '], "")),
            None => parts.push((line.split(':').next().unwrap().to_owned(), String::new())),
        }
    }
    let octets = |name: &str| -> Vec<u8> {
        let (_, hex) = parts.iter().find(|(part, _)| part == name).unwrap();
        let octets: Vec<u8> = (0..hex.len() / 2)
            .map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        octets.into_iter().skip_while(|octet| *octet == 0).collect()
    };
    let encode = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
    if options.contains("EC") {
        let point = &octets("pub")[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let mut d = octets("priv");
        while d.len() < x.len() {
            d.insert(0, 0);
        }
        let crv = options.rsplit(':').next().unwrap();
        return json!({ "kty": "EC", "crv": crv, "x": encode(x), "y": encode(y), "d": encode(&d) });
    }
    let mut jwk = json!({ "kty": "RSA", "e": "AQAB" });
    for (member, name) in [
        ("n", "modulus"),
        ("d", "privateExponent"),
        ("p", "prime1"),
        ("q", "prime2"),
        ("dp", "exponent1"),
        ("dq", "exponent2"),
        ("qi", "coefficient"),
    ] {
        jwk[member] = encode(&octets(name)).into();
    }
    jwk
}
