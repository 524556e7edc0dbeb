//! One key on several tokens (replicas). Checks that the tokens hold the same key, balances
//! signatures between them, and fails over when a token goes down.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

use crate::{
    domain::key::Signature,
    hsm::{HsmError, Prospect, Token, TokenKey},
};

/// Hedged requests: after the deadline divided by this without an answer, the next token is asked
/// too.
const IMPATIENT_AFTER: u32 = 4;

/// Why the tokens of a KMS lead to no key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FindError {
    /// They show different public keys under one label.
    Different(String),
    /// The error of one token.
    Hsm(HsmError),
}

/// A key on one token.
#[derive(Clone)]
struct KeyReplica {
    token: Token,
    key: TokenKey,
}

/// One key on one token or on several.
#[derive(Clone)]
pub(super) struct KeyReplicas {
    /// Never empty. All show the same public key.
    all: Vec<KeyReplica>,
    /// Index of the token that made the last signature.
    maker: Arc<AtomicUsize>,
    /// The signer of that token that made it.
    signer: Arc<AtomicU64>,
}

impl KeyReplicas {
    /// Finds the key with that label on each of the tokens. Tokens that are up must hold the same
    /// key. A token that is down counts as replica it only if its last listing shows the same key.
    pub(super) async fn find(tokens: &[Token], label: &str) -> Result<Self, FindError> {
        if let [token] = tokens {
            let key = token.find(label).await.map_err(FindError::Hsm)?;
            return Ok(Self::of(vec![KeyReplica { token: token.clone(), key }]));
        }
        let up: Vec<_> = tokens.iter().filter(|token| is_up(token)).collect();
        let listed = up.iter().map(|token| token.look_up(label));
        let found = agreed(up.iter().copied().zip(listed))?;
        let mut all = match found.is_empty() {
            false => found,
            // The listings may be out of date or not there yet, so ask the tokens themselves.
            true if up.is_empty() => find_on(&tokens.iter().collect::<Vec<_>>(), label).await?,
            true => match find_on(&up, label).await {
                // No token that is up has the key, so only those that are down can tell.
                Err(FindError::Hsm(HsmError::Missing)) if up.len() < tokens.len() => {
                    let away: Vec<_> = tokens.iter().filter(|token| !is_up(token)).collect();
                    find_on(&away, label).await?
                }
                found => found?,
            },
        };
        let public_key = all.first().map(|replica| replica.key.public_key.clone());
        for token in tokens.iter().filter(|token| !is_up(token)) {
            let is_new = all.iter().all(|replica| replica.token.name() != token.name());
            if let Ok(key) = token.look_up(label)
                && is_new
                && Some(&key.public_key) == public_key.as_ref()
            {
                all.push(KeyReplica { token: token.clone(), key });
            }
        }
        Ok(Self::of(all))
    }

    fn of(all: Vec<KeyReplica>) -> Self {
        Self { all, maker: Arc::default(), signer: Arc::default() }
    }

    /// The key as the first of its tokens lists it.
    pub(super) fn key(&self) -> &TokenKey {
        &self.all[0].key
    }

    /// The configured name of the first token that has it.
    pub(super) fn token_name(&self) -> &str {
        self.all[0].token.name()
    }

    /// The serial number of the first token that has it.
    pub(super) fn token_serial(&self) -> Option<String> {
        self.all[0].token.facts().map(|facts| facts.serial.clone())
    }

    /// Whether its private half may leave one of its tokens.
    pub(super) fn is_extractable(&self) -> bool {
        self.all.iter().any(|KeyReplica { token, key }| token.is_extractable(key))
    }

    /// Waits until one of its tokens could sign, and returns the deadline of the signature.
    pub(super) async fn until_up(&self) -> Result<Instant, HsmError> {
        let deadline = Instant::now() + self.patience();
        let mut waiting: FuturesUnordered<_> =
            self.all.iter().map(|replica| replica.token.until_up(deadline)).collect();
        let mut refusals = Vec::new();
        while let Some(result) = waiting.next().await {
            match result {
                Ok(()) => return Ok(deadline),
                Err(error) => refusals.push(error),
            }
        }
        Err(most_hopeful(refusals))
    }

    fn patience(&self) -> Duration {
        let deadlines = self.all.iter().map(|replica| replica.token.sign_deadline());
        deadlines.max().unwrap_or_default()
    }

    /// Asks the best token to sign. If it fails, or has not answered after a quarter of the
    /// deadline, asks the next one too and takes the first signature. A second signature over the
    /// same message is harmless.
    pub(super) async fn sign(
        &self,
        client: &str,
        message: &[u8],
        deadline: Instant,
    ) -> Result<Signature, HsmError> {
        let patience = self.patience();
        if let [KeyReplica { token, key }] = &self.all[..] {
            let made = token.sign_for(client, key, message, deadline).await?;
            self.signer.store(made.maker, Relaxed);
            return Ok(made.signature);
        }
        let attempt = |at: usize| async move {
            let KeyReplica { token, key } = &self.all[at];
            (at, token.sign_for(client, key, message, deadline).await)
        };
        let mut order = self.best_first().into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut asked = order.next().unwrap_or_default();
        let mut refusals = Vec::new();
        attempts.push(attempt(asked));
        let mut impatient_at = Instant::now() + patience / IMPATIENT_AFTER;
        loop {
            tokio::select! {
                Some((at, result)) = attempts.next() => match result {
                    Ok(made) => {
                        self.maker.store(at, Relaxed);
                        self.signer.store(made.maker, Relaxed);
                        return Ok(made.signature);
                    }
                    Err(error) => {
                        self.log_move(at, &error.to_string());
                        refusals.push(error);
                    }
                },
                () = sleep_until(impatient_at), if order.len() > 0 => {
                    impatient_at = Instant::now() + patience / IMPATIENT_AFTER;
                    // A token that signs others' requests meanwhile is busy, not stuck; the next
                    // one may be as busy.
                    if self.all[asked].token.has_signed_within(patience / IMPATIENT_AFTER) {
                        continue;
                    }
                    self.log_move(asked, "it is silent");
                    self.all[asked].token.doubt();
                }
            }
            if let Some(next) = order.next() {
                asked = next;
                attempts.push(attempt(asked));
            } else if attempts.is_empty() {
                return Err(most_hopeful(refusals));
            }
        }
    }

    /// Has the key sign on each of its tokens that is up, at least on one.
    pub(super) async fn prove(&self) -> Result<(), HsmError> {
        let up: Vec<_> = self.all.iter().filter(|replica| is_up(&replica.token)).collect();
        let asked = if up.is_empty() { self.all.iter().take(1).collect() } else { up };
        let proofs = asked.iter().map(|replica| replica.token.prove_key(&replica.key));
        join_all(proofs).await.into_iter().collect()
    }

    /// Tells the token that made the last signature that it does not verify.
    pub(super) fn report_bad_signature(&self) {
        let KeyReplica { token, key } = &self.all[self.maker.load(Relaxed).min(self.all.len() - 1)];
        token.report_bad_signature(key, self.signer.load(Relaxed));
    }

    /// Indices of the tokens: best prospect first, then least load; equal ones take turns (round
    /// robin).
    fn best_first(&self) -> Vec<usize> {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let turn = TURN.fetch_add(1, Relaxed);
        let mut order: Vec<_> = (0..self.all.len())
            .map(|place| (place + turn) % self.all.len())
            .map(|at| (self.all[at].token.prospect(), self.all[at].token.load(), at))
            .collect();
        // A stable sort, so that equal tokens stay in round-robin order.
        order.sort_by(|one, other| (one.0.cmp(&other.0)).then(one.1.total_cmp(&other.1)));
        for (prospect, _, at) in &order {
            if *prospect == Prospect::None {
                self.all[*at].token.hurry();
            }
        }
        order.into_iter().map(|(_, _, at)| at).collect()
    }

    fn log_move(&self, at: usize, reason: &str) {
        let KeyReplica { token, key } = &self.all[at];
        tracing::warn!(
            token = token.name(),
            key = key.label,
            reason,
            action = "ask the next token that holds the key, if there is one",
            "no signature from one of several tokens"
        );
    }
}

fn is_up(token: &Token) -> bool {
    token.state().is_up()
}

/// Asks the tokens themselves.
async fn find_on(tokens: &[&Token], label: &str) -> Result<Vec<KeyReplica>, FindError> {
    let found = join_all(tokens.iter().map(|token| token.find(label))).await;
    let refusals: Vec<_> = found.iter().filter_map(|found| found.as_ref().err()).cloned().collect();
    let replicas = agreed(tokens.iter().copied().zip(found))?;
    match replicas.is_empty() {
        true => Err(FindError::Hsm(most_hopeful(refusals))),
        false => Ok(replicas),
    }
}

/// Collects the tokens that have the key, and refuses if two hold different keys.
fn agreed<'a>(
    found: impl Iterator<Item = (&'a Token, Result<TokenKey, HsmError>)>,
) -> Result<Vec<KeyReplica>, FindError> {
    let mut replicas: Vec<KeyReplica> = Vec::new();
    for (token, found) in found {
        let key = match found {
            Ok(key) => key,
            Err(ambiguous @ HsmError::Ambiguous { .. }) => return Err(FindError::Hsm(ambiguous)),
            Err(_) => continue,
        };
        if let Some(first) = replicas.first()
            && first.key.public_key != key.public_key
        {
            let words = format!("{} and {}", first.token.name(), token.name());
            return Err(FindError::Different(words));
        }
        replicas.push(KeyReplica { token: token.clone(), key });
    }
    Ok(replicas)
}

/// Picks the error to report when all tokens have refused: the one after which a retry is most
/// likely to succeed.
fn most_hopeful(refusals: Vec<HsmError>) -> HsmError {
    let rank = |error: &HsmError| match error {
        HsmError::Busy { retry_after_seconds } => (0, *retry_after_seconds),
        HsmError::DeadlineMissed { retry_after_seconds } => (1, *retry_after_seconds),
        HsmError::Unavailable { retry_after_seconds } => (2, *retry_after_seconds),
        HsmError::Unusable { .. } => (3, 0),
        HsmError::Ambiguous { .. } => (4, 0),
        HsmError::Missing => (5, 0),
    };
    refusals
        .into_iter()
        .min_by_key(rank)
        .unwrap_or(HsmError::Unavailable { retry_after_seconds: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_refusals_the_caller_hears_the_one_that_promises_most() {
        let busy = |retry_after_seconds| HsmError::Busy { retry_after_seconds };
        let late = HsmError::DeadlineMissed { retry_after_seconds: 1 };
        let away = |retry_after_seconds| HsmError::Unavailable { retry_after_seconds };
        let unusable = HsmError::Unusable { reason: String::new() };
        let best_first = [
            busy(2),
            busy(9),
            late,
            away(1),
            away(30),
            unusable,
            HsmError::Ambiguous { count: 2 },
            HsmError::Missing,
        ];
        for (index, best) in best_first.iter().enumerate() {
            let mut refusals = best_first[index..].to_vec();
            refusals.reverse();
            assert_eq!(most_hopeful(refusals), *best);
        }
        assert_eq!(most_hopeful(Vec::new()), away(1));
    }
}
