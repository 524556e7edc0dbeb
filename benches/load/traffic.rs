//! Requests on many connections at once, and what came of them.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::task::LocalSet;

use crate::{
    appliance::{Daemon, Usage, cpu_of},
    client::{Client, Connection, post},
};

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_millis(1_000);
/// One answer in so many is kept and verified after the run.
const SAMPLE_EVERY: usize = 997;
/// How long a caller waits that was refused.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);
/// Streams that share a connection of HTTP/2.
const STREAMS: usize = 8;

/// How requests travel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Travel {
    /// HTTP/1.1 on connections that stay open.
    KeepAlive,
    /// HTTP/2, eight streams to a connection.
    Http2,
    /// A full handshake for each request.
    FullHandshake,
    /// A resumed handshake for each request.
    Resumed,
}

/// The same POST again and again.
pub struct Load {
    pub name: &'static str,
    pub path: String,
    pub body: String,
    /// Whether an answer is the one that is wanted.
    pub is_answer: fn(u16, &[u8]) -> bool,
}

/// A certificate.
pub fn is_issued(status: u16, answer: &[u8]) -> bool {
    status == 200 && answer.starts_with(b"{\"certificatePEM\":\"-----BEGIN CERTIFICATE-----")
}

/// What came of it.
pub struct Measured {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// Per answer, all answers counted.
    pub front_cpu: Duration,
    pub signers_cpu: Duration,
    pub client_cpu: Duration,
    pub resident_mib: f64,
    /// Answers other than 200, by status; 0 stands for a broken connection.
    pub refused: BTreeMap<u16, usize>,
    /// Some of the answers.
    pub samples: Vec<Vec<u8>>,
    /// Front alone, of the time that passed.
    pub front_share: f64,
}

impl Measured {
    pub fn cpu(&self) -> Duration {
        self.front_cpu + self.signers_cpu
    }
}

/// Sends `load` on `concurrency` connections (or streams) for `seconds`.
pub fn run(
    daemon: &mut Daemon,
    client: &Client,
    load: &Load,
    travel: Travel,
    concurrency: usize,
    seconds: u64,
) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let phase = Rc::new(Cell::new(Phase::WarmUp));
        let mut callers = Vec::new();
        for index in 0..concurrency {
            callers.push(Caller::new(client, load, travel, index, callers.last()).await.unwrap());
        }
        let tasks: Vec<_> = callers
            .into_iter()
            .map(|caller| tokio::task::spawn_local(caller.call_until_end(Rc::clone(&phase))))
            .collect();
        tokio::time::sleep(WARM_UP).await;
        let (begin, started) = (snapshot(daemon), Instant::now());
        phase.set(Phase::Counting);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        phase.set(Phase::End);
        let (end, took) = (snapshot(daemon), started.elapsed());
        let resident_mib = daemon.resident_mib();
        let mut all = Tally::default();
        for task in tasks {
            all.add(task.await.unwrap());
        }
        all.measured(begin, end, took, resident_mib)
    })
}

fn snapshot(daemon: &mut Daemon) -> (Usage, Duration) {
    (daemon.usage(), cpu_of("self"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Counting,
    End,
}

/// One connection, or one stream of a shared connection.
struct Caller {
    way: Way,
    request: Vec<u8>,
    path: String,
    body: Bytes,
    is_answer: fn(u16, &[u8]) -> bool,
}

enum Way {
    Kept { client: Client, connection: Box<Connection> },
    Fresh { client: Client, resume: bool },
    Stream(SendRequest<Bytes>),
}

impl Caller {
    async fn new(
        client: &Client,
        load: &Load,
        travel: Travel,
        index: usize,
        previous: Option<&Self>,
    ) -> io::Result<Self> {
        let way = match (travel, previous.map(|previous| &previous.way)) {
            (Travel::KeepAlive, _) => {
                let connection = Box::new(client.connect().await?);
                Way::Kept { client: client.clone(), connection }
            }
            (Travel::FullHandshake, _) => Way::Fresh { client: client.clone(), resume: false },
            (Travel::Resumed, _) => Way::Fresh { client: client.clone(), resume: true },
            (Travel::Http2, Some(Way::Stream(sender))) if !index.is_multiple_of(STREAMS) => {
                Way::Stream(sender.clone())
            }
            (Travel::Http2, _) => {
                let handshake = h2::client::handshake(client.stream().await?);
                let (sender, connection) = handshake.await.map_err(io::Error::other)?;
                tokio::task::spawn_local(connection);
                Way::Stream(sender)
            }
        };
        Ok(Self {
            way,
            request: post(&load.path, &load.body),
            path: load.path.clone(),
            body: Bytes::from(load.body.clone()),
            is_answer: load.is_answer,
        })
    }

    async fn call_until_end(mut self, phase: Rc<Cell<Phase>>) -> Tally {
        let mut tally = Tally::default();
        let mut answer = Vec::new();
        while phase.get() != Phase::End {
            let begin = Instant::now();
            let status = self.call(&mut answer).await.unwrap_or(0);
            if phase.get() == Phase::Counting {
                let time = begin.elapsed();
                match (self.is_answer)(status, &answer) {
                    true => tally.count(time, &answer),
                    false => *tally.refused.entry(status).or_default() += 1,
                }
            }
            if status == 0 {
                return tally;
            }
        }
        tally
    }

    async fn call(&mut self, answer: &mut Vec<u8>) -> io::Result<u16> {
        answer.clear();
        match &mut self.way {
            Way::Kept { client, connection } => {
                if connection.is_closing {
                    // The server had no room: a moment, and a new connection.
                    tokio::time::sleep(AFTER_REFUSAL).await;
                    **connection = client.connect().await?;
                }
                let (status, body) = connection.exchange(&self.request).await?;
                answer.extend_from_slice(body);
                Ok(status)
            }
            Way::Fresh { client, resume } => {
                let mut connection = client.connect().await?;
                let (status, body) = connection.exchange(&self.request).await?;
                answer.extend_from_slice(body);
                // The first of all connections has nothing to resume.
                let as_wanted = connection.is_resumed() == *resume;
                Ok(if as_wanted { status } else { NOT_RESUMED })
            }
            Way::Stream(sender) => stream(sender, &self.path, self.body.clone(), answer)
                .await
                .map_err(io::Error::other),
        }
    }
}

/// Stands for a handshake of the other kind.
const NOT_RESUMED: u16 = 1;

async fn stream(
    sender: &mut SendRequest<Bytes>,
    path: &str,
    body: Bytes,
    answer: &mut Vec<u8>,
) -> Result<u16, h2::Error> {
    let request = http::Request::post(format!("https://localhost{path}"))
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    std::future::poll_fn(|context| sender.poll_ready(context)).await?;
    let (response, mut send) = sender.send_request(request, false)?;
    send.send_data(body, true)?;
    let response = response.await?;
    let status = response.status().as_u16();
    let mut received = response.into_body();
    while let Some(chunk) = received.data().await {
        let chunk = chunk?;
        answer.extend_from_slice(&chunk);
        received.flow_control().release_capacity(chunk.len())?;
    }
    Ok(status)
}

#[derive(Default)]
struct Tally {
    times: Vec<Duration>,
    refused: BTreeMap<u16, usize>,
    samples: Vec<Vec<u8>>,
}

impl Tally {
    fn count(&mut self, time: Duration, answer: &[u8]) {
        if self.times.len().is_multiple_of(SAMPLE_EVERY) {
            self.samples.push(answer.to_vec());
        }
        self.times.push(time);
    }

    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.samples.extend(other.samples);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
    }

    fn measured(
        mut self,
        begin: (Usage, Duration),
        end: (Usage, Duration),
        took: Duration,
        resident_mib: f64,
    ) -> Measured {
        self.times.sort_unstable();
        let wanted = self.times.len();
        assert!(wanted > 0, "only other answers: {:?}", self.refused);
        let answers = u32::try_from(wanted + self.refused.values().sum::<usize>()).unwrap();
        let front = end.0.front - begin.0.front;
        Measured {
            per_second: f64::from(u32::try_from(wanted).unwrap()) / took.as_secs_f64(),
            p50: self.times[wanted / 2],
            p99: self.times[wanted * 99 / 100],
            front_cpu: front / answers,
            signers_cpu: (end.0.signers - begin.0.signers) / answers,
            client_cpu: (end.1 - begin.1) / answers,
            resident_mib,
            refused: self.refused,
            samples: self.samples,
            front_share: front.as_secs_f64() / took.as_secs_f64(),
        }
    }
}
