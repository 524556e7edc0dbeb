use super::*;
use crate::domain::key::SignatureAlgorithm;

type Reply = oneshot::Receiver<Result<MadeBy, HsmError>>;

fn job(client: &str, label: &str, deadline: Instant) -> (Job, Reply) {
    let (reply, answer) = oneshot::channel();
    let request = SignRequest {
        label: label.to_owned(),
        id: vec![],
        spki_sha256: [0; 32],
        algorithm: SignatureAlgorithm::EcdsaSha256,
        message: None,
        digest: vec![0; 32],
    };
    let job = Job {
        request,
        client: client.into(),
        since: Instant::now(),
        deadline,
        given_at: None,
        retried: false,
        reply,
    };
    (job, answer)
}

fn at_once(_: &Job) -> Duration {
    Duration::ZERO
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Queues jobs, named after their client and a number, with `max` as the limit.
fn push(
    queue: &mut Queue,
    client: &str,
    numbers: std::ops::Range<usize>,
    max: usize,
) -> Vec<Reply> {
    numbers
        .map(|number| {
            let (job, answer) = job(client, &format!("{client}{number}"), soon());
            queue.push(job, max, Instant::now());
            answer
        })
        .collect()
}

fn order_of_service(queue: &mut Queue) -> Vec<String> {
    let next = || queue.pop(Instant::now(), at_once).map(|job| job.request.label);
    std::iter::from_fn(next).collect()
}

fn busy(replies: &mut [Reply]) -> usize {
    let is_busy = |reply: &mut Reply| matches!(reply.try_recv(), Ok(Err(HsmError::Busy { .. })));
    replies.iter_mut().filter_map(|reply| is_busy(reply).then_some(())).count()
}

#[test]
fn one_more_than_the_queue_holds_is_busy() {
    let mut queue = Queue::default();
    let mut replies = push(&mut queue, "a", 0..2, 1);
    assert!(replies[0].try_recv().is_err());
    let refused = replies[1].try_recv();
    assert!(matches!(refused, Ok(Err(HsmError::Busy { retry_after_seconds: 1 }))));
    assert_eq!(queue.len(), 1);
}

#[test]
fn clients_take_turns_and_each_keeps_its_order() {
    let mut queue = Queue::default();
    let _flood = push(&mut queue, "flood", 0..5, 99);
    let _quiet = push(&mut queue, "quiet", 0..2, 99);
    let _third = push(&mut queue, "third", 0..1, 99);
    let served = order_of_service(&mut queue);
    let fair = ["flood0", "quiet0", "third0", "flood1", "quiet1", "flood2", "flood3", "flood4"];
    assert_eq!(served, fair);
    assert!(queue.is_empty());
}

#[test]
fn a_client_that_comes_late_waits_for_one_of_the_flood_not_for_all() {
    let mut queue = Queue::default();
    let _flood = push(&mut queue, "flood", 0..1_000, 1_000_000);
    assert_eq!(queue.pop(Instant::now(), at_once).unwrap().request.label, "flood0");
    let _quiet = push(&mut queue, "quiet", 0..1, 1_000_000);
    let served = order_of_service(&mut queue);
    assert_eq!(served.iter().position(|label| label == "quiet0"), Some(1));
    assert_eq!(served.len(), 1_000);
}

#[test]
fn a_full_queue_sheds_the_flood_and_takes_the_quiet_in() {
    let mut queue = Queue::default();
    let mut flood = push(&mut queue, "flood", 0..12, 10);
    assert_eq!(busy(&mut flood), 2);
    let mut quiet = push(&mut queue, "quiet", 0..5, 10);
    assert_eq!((busy(&mut flood), busy(&mut quiet)), (5, 0), "each has a half");
    // Beyond its half, this client has the most jobs itself.
    let mut more = push(&mut queue, "quiet", 5..6, 10);
    assert_eq!((busy(&mut flood), busy(&mut more)), (0, 1));
    let mut third = push(&mut queue, "third", 0..3, 10);
    assert_eq!(busy(&mut third), 0);
    assert_eq!(queue.len(), 10);
    // The newest job was shed, not the oldest.
    assert_eq!(queue.pop(Instant::now(), at_once).unwrap().request.label, "flood0");
}

#[test]
fn what_nobody_waits_for_any_more_makes_room() {
    let mut queue = Queue::default();
    drop(push(&mut queue, "gone", 0..4, 4));
    let mut replies = push(&mut queue, "a", 0..4, 4);
    assert_eq!(busy(&mut replies), 0);
    assert_eq!(queue.len(), 4);
}

#[test]
fn a_job_is_given_back_once_and_goes_first() {
    let mut queue = Queue::default();
    let (lost, mut answer) = job("a", "lost", soon());
    let _other = push(&mut queue, "other", 0..1, 9);
    queue.give_back(lost);
    let again = queue.pop(Instant::now(), at_once).unwrap();
    assert_eq!(again.request.label, "lost");
    queue.give_back(again);
    assert!(matches!(answer.try_recv(), Ok(Err(HsmError::Unavailable { .. }))));
    assert_eq!(queue.pop(Instant::now(), at_once).unwrap().request.label, "other0");
}

#[test]
fn jobs_that_nobody_waits_for_are_not_signed() {
    let mut queue = Queue::default();
    let (gone, answer) = job("a", "gone", soon());
    let (late, _late) = job("a", "late", Instant::now());
    drop(answer);
    queue.push(gone, 9, Instant::now());
    queue.push(late, 9, Instant::now());
    assert!(queue.pop(Instant::now(), at_once).is_none());
    assert!(queue.is_empty());
}

#[test]
fn everybody_who_waits_is_told_when_there_is_no_hope() {
    let mut queue = Queue::default();
    let mut replies = push(&mut queue, "a", 0..2, 9);
    replies.extend(push(&mut queue, "b", 0..1, 9));
    let (lost, answer) = job("c", "lost", soon());
    queue.give_back(lost);
    replies.push(answer);
    queue.refuse_all(Duration::from_millis(1_500));
    for reply in &mut replies {
        let told = reply.try_recv().unwrap().err();
        assert_eq!(told, Some(HsmError::Unavailable { retry_after_seconds: 2 }));
    }
    assert!(queue.is_empty() && queue.pop(Instant::now(), at_once).is_none());
}

#[test]
fn retry_after_is_whole_seconds_and_never_zero() {
    assert_eq!(whole_seconds(Duration::ZERO), 1);
    assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
    assert_eq!(whole_seconds(Duration::from_secs(5)), 5);
}

#[test]
fn what_cannot_be_there_in_time_is_refused_and_not_made() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let mut replies = Vec::new();
    for (label, seconds) in [("late", 2), ("later", 3), ("in time", 4)] {
        let (job, answer) = job("a", label, now + Duration::from_secs(seconds));
        queue.push(job, 9, now);
        replies.push(answer);
    }
    let next = queue.pop(now, |_| Duration::from_secs(3)).unwrap();
    assert_eq!(next.request.label, "in time");
    assert_eq!(busy(&mut replies), 2);
    queue.give_back(next);
    assert!(queue.pop(now + Duration::from_secs(2), |_| Duration::from_secs(3)).is_none());
    assert_eq!(busy(&mut replies[2..]), 1);
}

#[test]
fn jobs_of_a_key_in_question_are_held_until_it_is_released_or_refused() {
    let mut queue = Queue::default();
    let mut replies = Vec::new();
    for label in ["good", "bad", "bad"] {
        let (job, answer) = job("a", label, soon());
        queue.hold(job, 2);
        replies.push(answer);
    }
    assert_eq!(busy(&mut replies[2..]), 1, "one more than may be held");
    assert!(queue.pop(Instant::now(), at_once).is_none() && queue.len() == 2);
    let key = |label: &str| KeyRef { label: label.to_owned(), spki_sha256: [0; 32] };
    queue.release(&key("good"));
    assert_eq!(queue.pop(Instant::now(), at_once).unwrap().request.label, "good");
    queue.refuse(&key("bad"), &HsmError::Unavailable { retry_after_seconds: 7 });
    let refused = replies[1].try_recv();
    assert!(matches!(refused, Ok(Err(HsmError::Unavailable { retry_after_seconds: 7 }))));
    assert!(queue.is_empty());
}
