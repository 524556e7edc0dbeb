use std::{
    io::Write,
    sync::{Barrier, mpsc},
    thread,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn say(front: &mut UnixStream, message: &ToSigner) {
    let frame = protocol::encode(message, TO_SIGNER_BYTES_MAX).unwrap();
    front.write_all(&frame).unwrap();
}

fn ask(front: &mut UnixStream, id: u64) {
    say(front, &ToSigner::Request { id, request: Request::Catalogue });
}

/// The number of a thread and the id of a request that it got; `None` at the end of the socket.
type Served = (usize, Option<u64>);

/// Starts threads that report each request and then do `work`.
fn serving(
    inbox: &Inbox,
    threads: usize,
    work: impl Fn(u64) + Send + Clone + 'static,
) -> mpsc::Receiver<Served> {
    let (told, served) = mpsc::channel();
    for number in 0..threads {
        let (mut reader, told, work) = (inbox.reader(), told.clone(), work.clone());
        thread::spawn(move || {
            while let Some((id, _)) = reader.request() {
                told.send((number, Some(id))).unwrap();
                work(id);
            }
            told.send((number, None)).unwrap();
        });
    }
    served
}

fn next(served: &mpsc::Receiver<Served>, id: u64) -> usize {
    let (thread, served) = served.recv_timeout(PATIENCE).unwrap();
    assert_eq!(served, Some(id));
    thread
}

fn pair() -> (UnixStream, Inbox) {
    let (front, ours) = UnixStream::pair().unwrap();
    (front, Inbox::new(BufReader::new(ours)))
}

/// Sends requests until a thread leads.
fn until_fast(front: &mut UnixStream, inbox: &Inbox, served: &mpsc::Receiver<Served>) {
    let until = Instant::now() + PATIENCE;
    while !inbox.0.lock().speed.is_fast() {
        assert!(Instant::now() < until, "requests that take no time are not fast");
        ask(front, 0);
        next(served, 0);
    }
}

#[test]
fn each_thread_gets_what_it_waits_for_whoever_reads_it_and_all_hear_of_the_end() {
    let (mut front, inbox) = pair();
    let served = serving(&inbox, 3, |_| ());
    let (granted, decisions) = mpsc::channel();
    let waiting = inbox.clone();
    thread::spawn(move || {
        loop {
            let decision = waiting.login_decision();
            granted.send(decision).unwrap();
            if decision.is_none() {
                return;
            }
        }
    });
    for id in 0..500 {
        say(&mut front, &ToSigner::LoginDecision(LoginDecision::Granted { taken_before: true }));
        assert!(
            matches!(decisions.recv_timeout(PATIENCE), Ok(Some(LoginDecision::Granted { .. }))),
            "{id}"
        );
        ask(&mut front, id);
        next(&served, id);
    }
    drop(front);
    for _ in 0..3 {
        assert_eq!(served.recv_timeout(PATIENCE).unwrap().1, None);
    }
    assert!(matches!(decisions.recv_timeout(PATIENCE), Ok(None)));
}

#[test]
fn one_thread_does_what_is_done_fast_and_no_other_is_woken_for_it() {
    let (mut front, inbox) = pair();
    let served = serving(&inbox, 3, |_| ());
    until_fast(&mut front, &inbox, &served);
    let threads: Vec<_> = (1..=1_000)
        .map(|id| {
            ask(&mut front, id);
            next(&served, id)
        })
        .collect();
    let changes = threads.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes < 100, "{changes} times another thread");
    // No thread watches while there are no requests.
    let until = Instant::now() + PATIENCE;
    while inbox.0.lock().watched {
        assert!(Instant::now() < until, "a thread goes on watching");
        thread::sleep(CHECK_INTERVAL);
    }
}

#[test]
fn who_hangs_at_a_request_keeps_nothing_but_that_one() {
    let (mut front, inbox) = pair();
    let hangs = Arc::new(Mutex::new(()));
    let (held, hung) = (Arc::clone(&hangs), u64::MAX);
    let served = serving(&inbox, 3, move |id| {
        if id == hung {
            drop(held.lock());
        }
    });
    until_fast(&mut front, &inbox, &served);
    let hanging = hangs.lock();
    ask(&mut front, hung);
    let first = next(&served, hung);
    for id in 1..100 {
        ask(&mut front, id);
        assert_ne!(next(&served, id), first, "{id}");
    }
    // The second leader hangs too, and one thread is left.
    until_fast(&mut front, &inbox, &served);
    ask(&mut front, hung);
    let second = next(&served, hung);
    for id in 1..100 {
        ask(&mut front, id);
        let third = next(&served, id);
        assert!(third != first && third != second, "{id}");
    }
    drop(front);
    assert_eq!(served.recv_timeout(PATIENCE).unwrap().1, None, "of the thread that waits");
    drop(hanging);
    for _ in 0..2 {
        assert_eq!(served.recv_timeout(PATIENCE).unwrap().1, None, "of those that hung");
    }
}

#[test]
fn the_end_is_heard_while_the_thread_that_leads_is_at_work() {
    let (mut front, inbox) = pair();
    let hangs = Arc::new(Mutex::new(()));
    let held = Arc::clone(&hangs);
    let served = serving(&inbox, 3, move |id| {
        if id == 1 {
            drop(held.lock());
        }
    });
    until_fast(&mut front, &inbox, &served);
    let hanging = hangs.lock();
    ask(&mut front, 1);
    next(&served, 1);
    drop(front);
    for _ in 0..2 {
        assert_eq!(served.recv_timeout(PATIENCE).unwrap().1, None);
    }
    drop(hanging);
    assert_eq!(served.recv_timeout(PATIENCE).unwrap().1, None);
}

#[test]
fn a_login_is_heard_of_while_the_thread_that_leads_waits_for_it() {
    let (mut front, inbox) = pair();
    let (granted, login) = mpsc::channel();
    let login = Arc::new(Mutex::new(login));
    let served = serving(&inbox, 1, move |id| {
        if id == 1 {
            login.lock().unwrap().recv().unwrap();
        }
    });
    until_fast(&mut front, &inbox, &served);
    ask(&mut front, 1);
    next(&served, 1);
    say(&mut front, &ToSigner::LoginDecision(LoginDecision::Granted { taken_before: true }));
    let (heard, hearing) = mpsc::channel();
    let waiting = inbox.clone();
    thread::spawn(move || heard.send(waiting.login_decision()));
    assert!(matches!(hearing.recv_timeout(PATIENCE), Ok(Some(LoginDecision::Granted { .. }))));
    granted.send(()).unwrap();
    ask(&mut front, 2);
    next(&served, 2);
}

#[test]
fn what_is_slow_is_given_to_all_threads_at_once() {
    const THREADS: usize = 8;
    let (mut front, inbox) = pair();
    let all = Arc::new(Barrier::new(THREADS));
    let served = serving(&inbox, THREADS, move |_| {
        all.wait();
        thread::sleep(CHECK_INTERVAL);
    });
    // If each thread waited until the one before it lost the lead, it would take seven checks.
    let fastest = (0..10).map(|_| {
        let began = Instant::now();
        (0..THREADS as u64).for_each(|id| ask(&mut front, id));
        for _ in 0..THREADS {
            assert!(served.recv_timeout(PATIENCE).unwrap().1.is_some());
        }
        began.elapsed()
    });
    assert!(fastest.min().unwrap() < 5 * CHECK_INTERVAL);
}
