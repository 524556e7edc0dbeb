//! The handshake: who is let in, with which protocol, and that nobody can block the door.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    appliance::{Appliance, Daemon, SOON, until},
    support::Raw,
};

/// An `openssl ca` on the provisioned client CA: the only tool that sets both ends of a validity.
pub const CA: &str = r#"
cd pki
cat >ca.conf <<'CONF'
[ca]
default_ca = d
[d]
database = index.txt
new_certs_dir = .
certificate = client-ca.pem
private_key = client-ca.key
default_md = sha256
policy = p
x509_extensions = e
rand_serial = yes
unique_subject = no
default_crl_days = 2
crlnumber = crlnumber
crl_extensions = crl
[p]
commonName = supplied
[e]
extendedKeyUsage = clientAuth
[crl]
authorityKeyIdentifier = keyid
CONF
[ -e index.txt ] || : >index.txt
[ -e crlnumber ] || echo 01 >crlnumber
make() {
    openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout "$1.key" -subj "/CN=$1" -out "$1.csr" 2>/dev/null
    openssl ca -batch -notext -config ca.conf -startdate "$2" -enddate "$3" -in "$1.csr" -out "$1.pem" 2>/dev/null
}
"#;

/// What curl says of a request with a certificate of the `pki` directory: HTTP status and version.
fn curl(appliance: &Appliance, daemon: &Daemon, options: &str) -> String {
    appliance.shell(&format!(
        "cd pki; curl -s --cacert server-ca.pem -o /dev/null -w '%{{http_code}} %{{http_version}}' \
         {options} {}/healthz || true",
        daemon.url
    ))
}

fn with(name: &str) -> String {
    format!("--cert {name}.pem --key {name}.key")
}

#[test]
fn only_a_valid_certificate_of_our_ca_for_clients_gets_an_answer() {
    let appliance = Appliance::new();
    appliance.client_certificate("stray", "/CN=stray", "-days 2");
    let usage = |usage: &str| format!("-days 2 -extfile <(echo extendedKeyUsage={usage})");
    appliance.client_certificate("server-usage", "/CN=x", &usage("serverAuth"));
    appliance.client_certificate("code-usage", "/CN=x", &usage("codeSigning"));
    appliance.client_certificate("both-usages", "/CN=x", &usage("serverAuth,clientAuth"));
    appliance.shell(&format!(
        "{CA}
         make expired 20200101000000Z 20210101000000Z
         make future 20800101000000Z 20810101000000Z
         make present 20200101000000Z 20810101000000Z
         openssl ecparam -name prime256v1 -genkey -noout -out foreign-ca.key
         openssl req -x509 -new -key foreign-ca.key -subj '/O=Chancery demo/CN=client-ca' \
             -days 2 -addext basicConstraints=critical,CA:TRUE -out foreign-ca.pem
         openssl ecparam -name prime256v1 -genkey -noout -out foreign.key
         openssl req -new -key foreign.key -subj '/O=Chancery demo/CN=demo' | openssl x509 -req \
             -CA foreign-ca.pem -CAkey foreign-ca.key -set_serial 7 -days 2 \
             -extfile <(echo extendedKeyUsage=clientAuth) -out foreign.pem 2>/dev/null
         openssl req -x509 -new -key foreign.key -subj '/O=Chancery demo/CN=demo' -days 2 \
             -addext extendedKeyUsage=clientAuth -out self.pem; cp foreign.key self.key"
    ));
    let daemon = appliance.start();
    let status =
        |options: &str| curl(&appliance, &daemon, options).split(' ').next().unwrap().to_owned();
    for version in ["--tlsv1.3", "--tls-max 1.2"] {
        let status = |name: &str| status(&format!("{version} {}", with(name)));
        assert_eq!(status("client"), "200", "{version}");
        for accepted in ["stray", "present", "both-usages"] {
            assert_eq!(status(accepted), "401", "{version} {accepted}");
        }
        for refused in ["expired", "future", "server-usage", "code-usage", "foreign", "self"] {
            assert_eq!(status(refused), "000", "{version} {refused}");
        }
        // Its own CA certificate, and the server's, are no clients'.
        assert_eq!(status("client-ca"), "000", "{version}");
        assert_eq!(status("server"), "000", "{version}");
    }
    assert_eq!(status(""), "000");
    assert_eq!(status("--tlsv1.3"), "000");
}

#[test]
fn a_revoked_certificate_fails_the_handshake() {
    let appliance = Appliance::new();
    appliance.shell(&format!(
        "{CA}
         make revoked 20200101000000Z 20810101000000Z
         make valid 20200101000000Z 20810101000000Z
         openssl ca -config ca.conf -revoke revoked.pem 2>/dev/null
         openssl ca -config ca.conf -gencrl -out client-ca.crl 2>/dev/null"
    ));
    let grants = "grants = []";
    appliance.declare(&format!(
        "[[clients]]\nname = \"revoked\"\nsubject = \"CN=revoked\"\n{grants}\n\
         [[clients]]\nname = \"valid\"\nsubject = \"CN=valid\"\n{grants}"
    ));
    let daemon = appliance.start();
    assert!(curl(&appliance, &daemon, &with("revoked")).starts_with("200"));
    daemon.stop();
    appliance.configure(|text| {
        text.replacen("client_ca = ", "client_crl = \"pki/client-ca.crl\"\nclient_ca = ", 1)
    });
    let daemon = appliance.start();
    assert!(curl(&appliance, &daemon, &with("revoked")).starts_with("000"));
    assert!(curl(&appliance, &daemon, &with("valid")).starts_with("200"));
    daemon.stop();
    // A CRL that cannot be used is told by its setting.
    appliance.shell("cp pki/client-ca.pem pki/client-ca.crl");
    let config = appliance.config();
    let output = appliance.run(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("problem: api.client_crl: "), "{text}");
    // Version 1, as a CRL without extensions is.
    appliance.shell(&format!(
        "{CA}
         sed -i '/^crl/d' ca.conf
         openssl ca -config ca.conf -gencrl -out client-ca.crl 2>/dev/null"
    ));
    let output = appliance.run(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("problem: api.client_crl: "), "{text}");
}

#[test]
fn http_1_and_2_are_served_over_tls_1_2_and_1_3() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    for tls in ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"] {
        for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
            let options = format!("{tls} {option} {}", with("client"));
            assert_eq!(curl(&appliance, &daemon, &options), format!("200 {version}"), "{options}");
        }
    }
}

/// `openssl s_client` with its input held open and its output in a file.
fn s_client(appliance: &Appliance, daemon: &Daemon, name: &str, options: &str) -> Child {
    let script = format!(
        "cd pki; exec openssl s_client -connect {} -CAfile server-ca.pem -cert client.pem \
         -key client.key {options} >{name}.log 2>&1",
        daemon.api
    );
    Command::new("bash")
        .args(["-c", &script])
        .current_dir(appliance.path(""))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

fn output(appliance: &Appliance, name: &str) -> String {
    let log = std::fs::read(appliance.path(&format!("pki/{name}.log"))).unwrap_or_default();
    String::from_utf8_lossy(&log).into_owned()
}

fn ended(child: &mut Child) -> bool {
    let ended = until(SOON, || child.try_wait().unwrap()).is_some();
    let _ = child.kill();
    child.wait().unwrap();
    ended
}

#[test]
fn older_protocols_and_weak_ciphers_are_refused() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let weak = "-cipher ALL:@SECLEVEL=0";
    for options in [
        format!("-tls1 {weak}"),
        format!("-tls1_1 {weak}"),
        "-tls1_2 -cipher AES128-SHA:@SECLEVEL=0".to_owned(),
        "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0".to_owned(),
        "-tls1_2 -cipher aNULL:@SECLEVEL=0".to_owned(),
    ] {
        let mut child = s_client(&appliance, &daemon, "old", &options);
        assert!(ended(&mut child), "{options}");
        let text = output(&appliance, "old");
        assert!(
            text.contains("alert protocol version") || text.contains("alert handshake failure"),
            "{options}\n{text}"
        );
        assert!(text.contains("Cipher is (NONE)"), "{options}\n{text}");
    }
}

#[test]
fn renegotiation_is_refused() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let mut child = s_client(&appliance, &daemon, "again", "-tls1_2");
    let done =
        |words: &str| until(SOON, || output(&appliance, "again").contains(words).then_some(()));
    done("Verify return code: 0").expect("no handshake");
    child.stdin.as_mut().unwrap().write_all(b"R\n").unwrap();
    done("RENEGOTIATING").expect("openssl did not try");
    assert!(ended(&mut child), "{}", output(&appliance, "again"));
    let text = output(&appliance, "again");
    assert!(text.contains("no renegotiation"), "{text}");
    assert_eq!(text.matches("Verify return code").count(), 1, "{text}");
    assert_eq!(daemon.client.get("/healthz").status, 200);
}

#[test]
fn silent_connections_are_dropped_while_others_are_served() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nhandshake_ms = 700\nrequest_head_ms = 700");
    let daemon = appliance.start();
    let started = Instant::now();
    let mut connections: Vec<TcpStream> = (0..40)
        .map(|index| {
            let mut stream = TcpStream::connect(daemon.api).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            // Half a ClientHello.
            if index % 2 == 0 {
                stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
            }
            stream
        })
        .collect();
    // A handshake, and then no request or half of one.
    let mut mute = s_client(&appliance, &daemon, "mute", "-quiet");
    let mut half = s_client(&appliance, &daemon, "half", "-quiet");
    half.stdin.as_mut().unwrap().write_all(b"GET /healthz HT").unwrap();
    for _ in 0..20 {
        assert_eq!(daemon.client.get("/healthz").status, 200);
    }
    assert!(started.elapsed() < SOON / 2, "served late: {:?}", started.elapsed());
    for stream in &mut connections {
        let mut rest = Vec::new();
        // The end, in order or not, is what counts; a time-out is none.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }
    assert!(started.elapsed() >= Duration::from_millis(600), "dropped before the time-out");
    assert!(ended(&mut mute), "a connection without request stays open");
    assert!(ended(&mut half), "a connection with half a request stays open");
    assert_eq!(daemon.client.get("/healthz").status, 200);
}

#[test]
fn what_is_not_tls_gets_no_answer() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let mut stream = TcpStream::connect(daemon.api).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(daemon.client.get("/healthz").status, 200);
}

#[test]
fn a_connection_ends_with_its_certificate_busy_or_idle() {
    let appliance = Appliance::new();
    appliance.declare("[[clients]]\nname = \"short\"\nsubject = \"CN=short\"\ngrants = []");
    let daemon = appliance.start();
    appliance.shell(&format!(
        "{CA}
         make short 20200101000000Z $(date -u -d '+8 seconds' +%Y%m%d%H%M%SZ)"
    ));
    let certificate = appliance.path("pki/short");
    let mut busy = Raw::open(&appliance, &daemon, &certificate);
    let mut idle = Raw::open(&appliance, &daemon, &certificate);
    assert_eq!((busy.status(), idle.status()), (Some(200), Some(200)));
    let last = until(SOON, || {
        busy.status().filter(|status| *status != 200).or_else(|| {
            // Ended between two requests.
            (busy.status().is_none()).then_some(401)
        })
    });
    assert_eq!(last, Some(401), "it is served on");
    assert!(idle.ends(), "it is there");
    // Others are served on.
    assert_eq!(Raw::demo(&appliance, &daemon).status(), Some(200));
}
