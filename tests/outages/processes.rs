//! Signer processes that end, freeze, crash or leak.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    appliance::{Frozen, SOON, signal, until},
    outage::{signers_up, wait_for_signers},
    scene::{
        End, Outage,
        Refused::{Anybody, Nobody},
        Scene, outage,
    },
};

pub fn outages() -> Vec<Outage> {
    vec![
        outage("one of two signers killed", Nobody, |scene| {
            let victim = scene.daemon().signers()[0];
            signal(victim, "KILL");
            let killed = Instant::now();
            wait_for_signers(scene.daemon(), &[victim]);
            End::Healed { since: killed }
        }),
        outage("all signers killed", Anybody, |scene| {
            let victims = scene.daemon().signers();
            scene.kill_signers();
            let killed = Instant::now();
            wait_for_signers(scene.daemon(), &victims);
            End::Healed { since: killed }
        }),
        outage("one of two signers frozen", Nobody, |scene| {
            let victim = scene.daemon().signers()[0];
            signal(victim, "STOP");
            let frozen = Instant::now();
            wait_for_signers(scene.daemon(), &[victim]);
            End::Healed { since: frozen }
        }),
        outage("all signers frozen", Nobody, |scene| {
            let frozen = Frozen::signers_of(scene.daemon());
            let since = Instant::now();
            wait_for_signers(scene.daemon(), frozen.pids());
            End::Healed { since }
        }),
        outage("signers killed again and again", Anybody, |scene| {
            // Not during a login, because SoftHSM 2.6.1 truncates its token's file for a moment then, and a
            // kill in that moment destroys the token.
            for _ in 0..10 {
                let up = until(SOON, || {
                    let up = signers_up(scene.daemon());
                    (!up.is_empty()).then_some(up)
                });
                up.expect("no signer comes up").into_iter().for_each(|pid| signal(pid, "KILL"));
            }
            End::Mended(Instant::now())
        }),
        outage("all signers frozen for half a second", Nobody, |scene| {
            let frozen = Frozen::signers_of(scene.daemon());
            let since = Instant::now();
            // Shorter than what makes a signer count as frozen.
            thread::sleep(Duration::from_millis(500));
            frozen.thaw();
            scene.load().wait_for(200, 20, SOON);
            End::Healed { since }
        }),
        outage("module crashes in C_Sign", Nobody, |scene| one_by(scene, "C_Sign 10 segfault")),
        outage("module aborts in C_SignInit", Nobody, |scene| one_by(scene, "C_SignInit 10 abort")),
        outage("module ends the process in C_Sign", Nobody, |scene| {
            one_by(scene, "C_Sign 10 exit 0")
        }),
        outage("module crashes again and again", Anybody, |scene| {
            let before = scene.daemon().signers();
            scene.chaos.order("C_Sign /40 segfault");
            wait_for_lost(scene, 6);
            let end = scene.mend();
            wait_for_signers(scene.daemon(), &before);
            end
        }),
        outage("module leaks memory", Nobody, |scene| is_recycled(scene, "C_Sign leak 2000000"))
            .with("recycling = { memory_mb = 256 }"),
        outage("module leaks descriptors", Nobody, |scene| {
            is_recycled(scene, "C_Sign leak-descriptor")
        })
        .with("recycling = { descriptors = 64 }"),
        outage("module leaks sessions", Nobody, |scene| {
            is_recycled(
                scene,
                "C_GetTokenInfo count-sessions\nC_OpenSession limit 100\nC_CloseSession leak\n\
                 C_Sign /10 fail CKR_SESSION_HANDLE_INVALID",
            )
        }),
        outage("module leaks memory until there is none", Anybody, |scene| {
            let leaky = scene.daemon().signers();
            for pid in &leaky {
                let of = ["--pid", &pid.to_string(), "--data=200000000"];
                assert!(Command::new("prlimit").args(of).status().unwrap().success());
            }
            scene.chaos.order("C_Sign leak 5000000");
            let since = Instant::now();
            wait_until_gone(scene, &leaky);
            scene.mend();
            End::Healed { since }
        }),
        outage("module leaks descriptors until there are none", Anybody, |scene| {
            let leaky = scene.daemon().signers();
            for pid in &leaky {
                let of = ["--pid", &pid.to_string(), "--nofile=64"];
                assert!(Command::new("prlimit").args(of).status().unwrap().success());
            }
            scene.chaos.order("C_Sign leak-descriptor");
            let since = Instant::now();
            wait_until_gone(scene, &leaky);
            scene.mend();
            End::Healed { since }
        }),
    ]
}

/// One signer is lost and replaced.
fn one_by(scene: &Scene, order: &str) -> End {
    let before = scene.daemon().signers();
    scene.chaos.order(order);
    let since = Instant::now();
    wait_for_lost(scene, 1);
    let stays = || scene.daemon().signers().iter().filter(|pid| before.contains(pid)).count();
    assert_eq!(stays(), 1, "one signer is lost by {order}");
    End::Healed { since }
}

/// Signers are recycled before they meet a limit, one after the other, and none is lost.
fn is_recycled(scene: &Scene, orders: &str) -> End {
    scene.chaos.order(orders);
    let since = Instant::now();
    let said = |words: &str| scene.daemon().log().matches(words).count();
    until(2 * SOON, || (said("signer recycled") >= 4).then_some(()))
        .expect("no signer is replaced");
    scene.mend();
    assert_eq!(said("signer lost"), 0, "signers met a limit:\n{}", scene.daemon().log());
    End::Healed { since }
}

fn wait_for_lost(scene: &Scene, count: usize) {
    let lost = || scene.daemon().log().matches("signer lost").count();
    until(SOON, || (lost() >= count).then_some(())).expect("signers are not lost");
}

fn wait_until_gone(scene: &Scene, pids: &[u32]) {
    let gone = || scene.daemon().signers().iter().all(|pid| !pids.contains(pid));
    until(SOON, || gone().then_some(())).expect("a signer that can do nothing stays");
}
