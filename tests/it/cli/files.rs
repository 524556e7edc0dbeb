//! The TLS files of whoever types: what is wrong with one is said, with its flag and its name.

use std::{fs, process::Command};

use super::{run, set_up, text};
use crate::appliance::{Appliance, KMS, SOON};

/// Files that are not what they are to be. `$1` is where the right ones are.
const WRONG_FILES: &str = r#"
cp client.key good.key
openssl ecparam -name prime256v1 -genkey -noout -out other.key
openssl req -x509 -newkey rsa:2048 -nodes -keyout rsa.key -out rsa.pem -subj /CN=rsa -days 2 2>/dev/null
openssl pkcs8 -topk8 -in client.key -passout pass:secret -out encrypted.key
openssl ec -in client.key -aes256 -passout pass:secret -out legacy.key 2>/dev/null
(printf '\xEF\xBB\xBF'; cat client.key) >bom.key
(printf '\xEF\xBB\xBF'; cat client.pem) >bom.pem
iconv -t UTF-16 client.key >utf16.key
openssl pkey -in client.key -outform DER -out der.key
openssl x509 -in client.pem -outform DER -out der.pem
: >empty
printf -- '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' >garbage.pem
"#;

#[test]
fn a_key_or_certificate_that_cannot_be_used_is_told_and_nothing_panics() {
    let appliance = Appliance::new();
    let _daemon = set_up(&appliance);
    appliance.shell(&format!("cd pki\n{WRONG_FILES}"));
    let path = |name: &str| appliance.path("pki").join(name).display().to_string();
    let fits = "the private key is not that of the first certificate";
    for (flag, file, words) in [
        ("--key", "other.key", fits),
        ("--key", "rsa.key", fits),
        ("--key", "server.key", fits),
        ("--cert", "server.pem", fits),
        ("--cert", "rsa.pem", fits),
        ("--key", "encrypted.key", "is encrypted"),
        ("--key", "legacy.key", "is encrypted"),
        ("--key", "bom.key", "byte order mark"),
        ("--key", "utf16.key", "UTF-16"),
        ("--key", "der.key", "binary"),
        ("--key", "empty", "the file is empty"),
        ("--key", "client.pem", "no private key in it, but CERTIFICATE"),
        ("--cert", "bom.pem", "byte order mark"),
        ("--cert", "der.pem", "binary"),
        ("--cert", "empty", "the file is empty"),
        ("--cert", "client.key", "no certificate in it"),
        ("--cert", "garbage.pem", ""),
        ("--cert", "none", "No such file"),
        ("--cacert", "empty", "the file is empty"),
        ("--cacert", "client.key", "no certificate in it"),
        ("--cacert", "garbage.pem", ""),
    ] {
        for command in [&["key", "list", KMS][..], &["status"]] {
            let file = path(file);
            let (code, _, said) = text(&run(&appliance, &[command, &[flag, &file]].concat()));
            let wanted = if command[0] == "status" { 2 } else { 4 };
            assert_eq!(code, Some(wanted), "{command:?} {flag} {file}: {said}");
            assert!(said.contains(&file) && said.contains(flag), "{flag} {file}: {said}");
            assert!(said.contains(words) && !said.contains("panicked"), "{flag} {file}: {said}");
        }
    }
}

#[test]
fn the_daemon_says_of_its_own_files_what_is_wrong_with_them() {
    let appliance = Appliance::new();
    appliance.shell(&format!("cd pki\n{WRONG_FILES}"));
    let server = fs::read(appliance.path("pki/server.key")).unwrap();
    appliance.shell(
        "cd pki; openssl pkcs8 -topk8 -in server.key -passout pass:secret -out s-encrypted.key
         (printf '\\xEF\\xBB\\xBF'; cat server.key) >s-bom.key",
    );
    for (file, words) in [
        ("s-encrypted.key", "is encrypted, which is not supported"),
        ("s-bom.key", "begins with a byte order mark"),
        ("other.key", "the private key is not that of the first certificate"),
        ("der.key", "binary"),
        ("server.pem", "no private key in it, but CERTIFICATE"),
    ] {
        appliance.shell(&format!("cp pki/{file} pki/server.key"));
        let said = appliance.refuses_to_start();
        assert!(said.contains("api.private_key") && said.contains(words), "{file}: {said}");
        let config = appliance.config().display().to_string();
        let output = appliance.run(&["check", "--config", &config]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(words), "{file}: {told}");
    }
    fs::write(appliance.path("pki/server.key"), server).unwrap();
    appliance.start().stop();
}

/// What `demo.sh --serve` prints is typed in a shell, in a directory of any name.
#[test]
fn the_commands_of_the_demo_work_in_a_directory_of_any_name() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/softhsm/demo.sh");
    let script = fs::read_to_string(demo).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let odd = directory.path().join(r#"a b'c"d$HOME`e`\f;g&h*"#);
    fs::create_dir_all(odd.join("tests/requests")).unwrap();
    fs::write(odd.join("tests/requests/iacas-create.request.json"), "{}").unwrap();
    // Its functions without its end, with a curl that only says what it was given.
    let functions =
        script.replace("main \"$@\"", "").replace("provision.sh\"\n", "provision.sh\"; ROOT=$2\n");
    let head = r#"set -- "" "$ODD"
"#;
    let tail = r#"
BIN=$ODD/chancery
printf '[api]\nlisten = "127.0.0.1:1"\n[distribution]\nlisten = "127.0.0.1:2"\n' >"$ODD/chancery.toml"
write_env "$ODD" http://127.0.0.1:3
print_commands "$ODD"
"#;
    let file = directory.path().join("demo.sh");
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/softhsm/");
    let functions = functions.replace("$ROOT/softhsm/", here);
    fs::write(&file, format!("{head}{functions}{tail}")).unwrap();
    let limit = SOON.as_secs().to_string();
    let bash = |script: &str| {
        let output = Command::new("timeout")
            .args([&limit, "bash", "-c", script])
            .env("ODD", &odd)
            .env("FILE", &file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let printed = bash("bash \"$FILE\"");
    let commands: String = printed
        .lines()
        .skip_while(|line| !line.starts_with(". "))
        .take_while(|line| !line.starts_with("Ctrl-C"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(directory.path().join("typed"), commands).unwrap();
    let typed = directory.path().join("typed").display().to_string();
    // Each shell that a reader may have.
    for shell in ["bash", "sh"] {
        let told = bash(&format!(
            "{shell} -euc 'curl() {{ for word; do printf \"%s\\n\" \"$word\"; done; }}; . {typed}'"
        ));
        let odd = odd.display().to_string();
        for wanted in [
            format!("{odd}/pki/server-ca.pem"),
            format!("{odd}/pki/client.key"),
            format!("@{odd}/tests/requests/iacas-create.request.json"),
            "http://127.0.0.1:3/readyz".to_owned(),
        ] {
            assert!(told.lines().any(|word| word == wanted), "{shell}: {wanted} in\n{told}");
        }
    }
}
