//! The effects of orders, as seen by OpenSC's pkcs11-tool on SoftHSM2.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use chancery_test_support::softhsm::{MODULE, PIN, SoftHsm};

const LOGIN: [&str; 5] = ["--login", "--pin", PIN, "--token-label", "test"];

/// A token with two keys, and a directory for orders.
struct Bed {
    hsm: SoftHsm,
}

impl Bed {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let hsm = SoftHsm::new(&format!("chaos-{number}"));
        fs::create_dir(hsm.directory.join("chaos")).unwrap();
        let bed = Self { hsm };
        for (label, id) in [("one", "01"), ("two", "02")] {
            let of = ["--keypairgen", "--key-type", "EC:prime256v1", "--label", label, "--id", id];
            bed.succeeds(&[&LOGIN[..], &of].concat());
        }
        bed
    }

    fn order(&self, orders: &str) {
        let draft = self.hsm.directory.join("draft");
        fs::write(&draft, orders).unwrap();
        fs::rename(draft, self.hsm.directory.join("chaos/orders")).unwrap();
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program)
            .args(arguments)
            .current_dir(&self.hsm.directory)
            .env("SOFTHSM2_CONF", self.hsm.conf())
            .env("CHAOS_MODULE", MODULE)
            .env("CHAOS_DIR", self.hsm.directory.join("chaos"))
            .output()
            .unwrap_or_else(|error| panic!("{program} is needed: {error}"))
    }

    /// Runs pkcs11-tool through the module. Returns whether it succeeded, and its output.
    fn tool(&self, arguments: &[&str]) -> (bool, String) {
        let module = env::current_exe().unwrap().with_file_name("libchancery_chaos.so");
        let module = ["--module", module.to_str().unwrap()];
        let output = self.run("pkcs11-tool", &[&module, arguments].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// The arguments of timeout(1) for a listing within two seconds.
    fn timed(&self) -> Vec<&'static str> {
        let module = env::current_exe().unwrap().with_file_name("libchancery_chaos.so");
        let module = module.to_str().unwrap().to_owned().leak();
        [&["2", "pkcs11-tool", "--module", module][..], &objects(true)].concat()
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let (succeeded, said) = self.tool(arguments);
        assert!(succeeded, "{said}");
        said
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], words: &str) {
        let (succeeded, said) = self.tool(arguments);
        assert!(!succeeded && said.contains(words), "{said}");
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.hsm.directory.join("chaos").join(name)).unwrap()
    }

    /// Whether a signature by the first key verifies with the public half of this key.
    fn verifies(&self, id: &str) -> bool {
        let path = |name: &str| self.hsm.directory.join(name).display().to_string();
        fs::write(path("data"), [7; 32]).unwrap();
        let sign = ["--sign", "-m", "ECDSA", "--id", "01", "-i", &path("data"), "-o", &path("sig")];
        let sign = [&sign[..], &["--signature-format", "openssl"]].concat();
        self.succeeds(&[&LOGIN[..], &sign].concat());
        let read = ["--read-object", "--type", "pubkey", "--id", id, "-o", &path("public")];
        self.succeeds(&[&LOGIN[..], &read].concat());
        let verify = "pkeyutl -verify -pubin -keyform DER -inkey public -in data -sigfile sig";
        self.run("openssl", &verify.split(' ').collect::<Vec<_>>()).status.success()
    }
}

fn objects(login: bool) -> Vec<&'static str> {
    let list = ["--list-objects", "--type", "privkey"];
    if login { [&LOGIN[..], &list].concat() } else { list.to_vec() }
}

#[test]
fn without_orders_every_call_goes_through() {
    let bed = Bed::new();
    assert_eq!(bed.succeeds(&objects(true)).matches("Private Key Object").count(), 2);
    assert!(bed.verifies("01") && !bed.verifies("02"));
    assert!(!bed.hsm.directory.join("chaos/trace").exists());
}

#[test]
fn calls_fail_by_number_over_all_processes() {
    let bed = Bed::new();
    bed.order("C_Login 2 fail CKR_DEVICE_ERROR");
    bed.succeeds(&objects(true));
    bed.fails(&objects(true), "CKR_DEVICE_ERROR");
    bed.succeeds(&objects(true));
    // The same order, given again.
    bed.order("C_Login 2-3 fail CKR_DEVICE_ERROR");
    for fails in [false, true, true, false] {
        assert_eq!(bed.tool(&objects(true)).0, !fails);
    }
    bed.order("C_Login /2 fail 0x80000042");
    for fails in [false, true, false, true] {
        assert_eq!(bed.tool(&objects(true)).0, !fails);
    }
}

#[test]
fn an_order_that_nobody_understands_is_no_silence() {
    let bed = Bed::new();
    bed.order("# a note\nC_Login fail CKR_DEVICE_EROR");
    bed.fails(&objects(true), "line 2, 'C_Login fail CKR_DEVICE_EROR'");
}

#[test]
fn calls_are_traced_and_logins_recorded_without_the_pin() {
    let bed = Bed::new();
    bed.order("* trace\nC_Login record\nC_Initialize record");
    bed.succeeds(&objects(true));
    let trace = bed.file("trace");
    let lines: Vec<Vec<_>> = trace.lines().map(|line| line.split(' ').collect()).collect();
    let begun = lines.iter().position(|words| words.len() == 4 && words[3] == "C_Login").unwrap();
    let ended = &lines[begun + 1];
    assert_eq!((ended.len(), ended[3], ended[4]), (6, "C_Login", "CKR_OK"), "{trace}");
    assert_eq!(lines.last().unwrap()[3..5], ["C_Finalize", "CKR_OK"]);
    let record = bed.file("record");
    assert!(record.contains("C_Login user 0x1 pin 4 octets"), "{record}");
    assert!(!record.contains("7391"));
}

#[test]
fn a_token_shows_what_it_is_told_to() {
    let bed = Bed::new();
    bed.order(
        "C_GetTokenInfo serial 0815\nC_GetTokenInfo model Brand new\n\
         C_GetTokenInfo manufacturer Nobody\nC_GetTokenInfo label other\n\
         C_GetTokenInfo set CKF_USER_PIN_FINAL_TRY\nC_GetTokenInfo clear CKF_LOGIN_REQUIRED",
    );
    let said = bed.succeeds(&["--list-slots"]);
    for words in ["0815", "Brand new", "Nobody", "other", "final user PIN try"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("login required"), "{said}");
}

#[test]
fn a_removed_token_is_in_no_slot() {
    let bed = Bed::new();
    bed.order("* removed CKR_TOKEN_NOT_PRESENT");
    bed.fails(&["--list-token-slots"], "No slots.");
    bed.order("C_OpenSession 1 removed CKR_DEVICE_REMOVED");
    bed.fails(&objects(true), "CKR_DEVICE_REMOVED");
    bed.succeeds(&objects(true));
}

#[test]
fn mechanisms_attributes_and_objects_are_hidden() {
    let bed = Bed::new();
    let mechanisms = ["--list-mechanisms"];
    assert!(bed.succeeds(&mechanisms).contains("  ECDSA,"));
    bed.order("C_GetMechanismList hide CKM_ECDSA");
    assert!(!bed.succeeds(&mechanisms).contains("  ECDSA,"));
    bed.order("C_FindObjects batch 0");
    assert!(!bed.succeeds(&objects(true)).contains("Private Key Object"));
    assert!(bed.succeeds(&objects(true)).len() < 400);
    bed.order("C_GetAttributeValue hide CKA_LABEL");
    assert!(!bed.succeeds(&objects(true)).contains("label:"));
    bed.order("C_GetAttributeValue lie CKA_LABEL 6162636465");
    assert_eq!(bed.succeeds(&objects(true)).matches("abcde").count(), 2);
    bed.order("C_GetAttributeValue lie CKA_LABEL");
    assert!(bed.succeeds(&objects(true)).contains("nne"));
}

#[test]
fn signatures_are_flipped_and_forged() {
    let bed = Bed::new();
    bed.order("C_Sign flip");
    assert!(!bed.verifies("01"));
    bed.order("C_Sign flip 48");
    assert!(bed.verifies("01"));
    bed.order("C_SignInit foreign one two");
    assert!(bed.verifies("02") && !bed.verifies("01"));
    bed.order("C_SignInit foreign two one");
    assert!(bed.verifies("01"));
}

#[test]
fn a_key_fails_alone() {
    let bed = Bed::new();
    bed.order("C_Sign key=one flip");
    assert!(!bed.verifies("01"));
    bed.order("C_Sign key=two flip\nC_SignInit key=tw* fail CKR_DEVICE_ERROR");
    assert!(bed.verifies("01"));
    bed.order("C_GetAttributeValue key=one lie CKA_LABEL 616263");
    let said = bed.succeeds(&objects(true));
    assert!(said.contains("abc") && said.contains("two") && !said.contains("one"), "{said}");
}

#[test]
fn listings_end_early_and_labels_are_not_available() {
    let bed = Bed::new();
    let all =
        || bed.succeeds(&[&LOGIN[..], &["--list-objects"]].concat()).matches("Object;").count();
    let before = all();
    bed.order("C_FindObjects end-after 1");
    assert!(before > 1 && all() == 1);
    bed.order("C_FindObjects end-after 0 CKO_CERTIFICATE");
    assert_eq!(all(), before);
    bed.order("C_FindObjects end-after 0 CKO_PRIVATE_KEY");
    let sign = ["--sign", "-m", "ECDSA", "--id", "01", "-i", "softhsm2.conf"];
    bed.fails(&[&LOGIN[..], &sign].concat(), "not found");
    bed.order("C_GetAttributeValue unavailable CKA_LABEL");
    assert!(!bed.succeeds(&objects(true)).contains("two"));
}

#[test]
fn calls_take_turns_over_all_processes() {
    let bed = Bed::new();
    bed.order("C_Login in-turn 400");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| bed.succeeds(&objects(true)));
        }
    });
    assert!(begin.elapsed() >= Duration::from_millis(1_200));
}

#[test]
fn a_process_that_hangs_for_good_does_so_without_the_order() {
    let bed = Bed::new();
    bed.order("C_Login hang for-good");
    let hanging = std::thread::scope(|scope| {
        let running = scope.spawn(|| bed.run("timeout", &bed.timed()));
        std::thread::sleep(Duration::from_millis(700));
        bed.order("");
        running.join().unwrap()
    });
    assert_eq!(hanging.status.code(), Some(124), "{hanging:?}");
}

#[test]
fn calls_wait_and_sessions_are_counted() {
    let bed = Bed::new();
    bed.order("C_Login delay 700");
    let begin = Instant::now();
    bed.succeeds(&objects(true));
    assert!(begin.elapsed() >= Duration::from_millis(700));
    bed.order("C_OpenSession limit 0");
    bed.fails(&objects(false), "CKR_SESSION_COUNT");
    bed.order("C_OpenSession limit 2");
    bed.succeeds(&objects(true));
}

#[test]
fn a_process_that_hangs_goes_on_when_the_order_is_gone() {
    let bed = Bed::new();
    bed.order("C_Login trace\nC_Login hang");
    std::thread::scope(|scope| {
        let running = scope.spawn(|| bed.succeeds(&objects(true)));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !bed.hsm.directory.join("chaos/trace").exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(bed.file("trace").lines().count(), 1);
        assert!(!running.is_finished());
        bed.order("");
        running.join().unwrap();
    });
}

#[test]
fn work_is_done_and_its_reply_lost() {
    let bed = Bed::new();
    bed.order("C_GenerateKeyPair 1 late CKR_FUNCTION_FAILED");
    let generate =
        ["--keypairgen", "--key-type", "EC:prime256v1", "--label", "three", "--id", "03"];
    bed.fails(&[&LOGIN[..], &generate].concat(), "CKR_FUNCTION_FAILED");
    assert!(bed.succeeds(&objects(true)).contains("three"));
    for how in ["abort", "segfault", "exit 7"] {
        bed.order(&format!("C_Login {how}"));
        assert!(!bed.tool(&objects(true)).0, "{how}");
    }
}

#[test]
fn a_module_that_is_not_there_is_named() {
    assert!(Path::new(MODULE).exists(), "these tests need SoftHSM2: apt-get install softhsm2");
    let bed = Bed::new();
    let module = env::current_exe().unwrap().with_file_name("libchancery_chaos.so");
    let output = Command::new("pkcs11-tool")
        .args(["--module", module.to_str().unwrap(), "--list-slots"])
        .env("CHAOS_MODULE", bed.hsm.directory.join("nothing.so"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("nothing.so"), "{said}");
}
