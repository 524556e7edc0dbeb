//! What is told of the tokens.

use crate::{
    metrics::{Page, Sample, flag},
    service::Services,
};

/// Adds the figures of all tokens.
pub(super) fn show(page: &mut Page, services: &Services) {
    let mut tokens: Vec<_> = services.keyring.tokens().collect();
    tokens.sort_by_key(|token| token.name());
    let states: Vec<_> = tokens.iter().map(|token| (token.name(), token.state())).collect();
    page.gauges(
        "chancery_token_up",
        "Whether the token can be expected to sign.",
        states
            .iter()
            .map(|(token, state)| Sample::new([("token", *token)], flag(state.is_ready()))),
    );
}
