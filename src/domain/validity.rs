//! Validity periods of certificates.

use super::{member::Member, time::Timestamp};

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 86_400;

/// A validity period whose start lies before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Validity {
    /// # Errors
    /// [`ValidityError::Order`] unless `not_before` is earlier than `not_after`.
    pub fn new(not_before: Timestamp, not_after: Timestamp) -> Result<Self, ValidityError> {
        if not_before < not_after {
            Ok(Self { not_before, not_after })
        } else {
            Err(ValidityError::Order)
        }
    }

    /// First second of validity.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Last second of validity (RFC 5280, 4.1.2.5: both ends included).
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// `notAfter - notBefore`, in seconds.
    pub fn span_seconds(&self) -> i64 {
        self.not_after.unix() - self.not_before.unix()
    }

    /// Whether `moment` is within, both ends included.
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.not_before <= moment && moment <= self.not_after
    }
}

/// The default and the longest validity of a profile.
#[derive(Debug, Clone, Copy)]
pub struct ValidityRule {
    /// Added to notBefore when no notAfter is given.
    pub default_seconds: i64,
    /// Longest `notAfter - notBefore`, and the message of the refusal.
    pub longest: Option<(i64, &'static str)>,
}

/// The validity in a request; each end may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestedValidity {
    /// Given start.
    pub not_before: Option<Timestamp>,
    /// Given end.
    pub not_after: Option<Timestamp>,
}

impl RequestedValidity {
    /// The effective validity. Given values are taken as they are or refused; only defaults are
    /// clipped to the issuer's validity, at both ends.
    ///
    /// # Errors
    /// [`ValidityError`] says which rule the given values break.
    pub fn resolve(
        &self,
        now: Timestamp,
        rule: ValidityRule,
        issuer: Option<Validity>,
    ) -> Result<Validity, ValidityError> {
        let not_before = match (self.not_before, issuer) {
            (Some(given), _) => given,
            (None, Some(issuer)) => now.max(issuer.not_before),
            (None, None) => now,
        };
        let not_after = match (self.not_after, issuer) {
            (Some(given), _) => given,
            (None, Some(issuer)) => {
                not_before.plus_seconds(rule.default_seconds).min(issuer.not_after)
            }
            (None, None) => not_before.plus_seconds(rule.default_seconds),
        };
        if not_after <= now {
            return Err(match self.not_after {
                Some(_) => ValidityError::EndInPast,
                None => ValidityError::DefaultEndInPast(not_after),
            });
        }
        if let Some(issuer) = issuer {
            // Checked before the order of the ends, because "beyond the issuer" explains an
            // inverted period better.
            if not_before < issuer.not_before || not_before > issuer.not_after {
                return Err(ValidityError::StartOutsideIssuer(not_before, issuer));
            }
            if not_after > issuer.not_after || not_after < issuer.not_before {
                return Err(ValidityError::EndOutsideIssuer(not_after, issuer));
            }
        }
        let validity = Validity::new(not_before, not_after)?;
        match rule.longest {
            Some((seconds, words)) if validity.span_seconds() > seconds => {
                Err(ValidityError::TooLong(words))
            }
            _ => Ok(validity),
        }
    }
}

/// The broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidityError {
    /// End not after start.
    #[error("notAfter must be later than notBefore")]
    Order,
    /// The given end lies in the past.
    #[error("notAfter lies in the past")]
    EndInPast,
    /// The default end, counted from the given start, lies in the past.
    #[error("notBefore is so early that the certificate would have ended on {0}; give notAfter")]
    DefaultEndInPast(Timestamp),
    /// Longer than the profile allows.
    #[error("{0}")]
    TooLong(&'static str),
    /// Start outside the issuer's validity.
    #[error("notBefore {0} is outside the issuer's validity, {from} to {to}", from = .1.not_before, to = .1.not_after)]
    StartOutsideIssuer(Timestamp, Validity),
    /// End beyond the issuer's validity.
    #[error("notAfter {0} is beyond the issuer's {to}", to = .1.not_after)]
    EndOutsideIssuer(Timestamp, Validity),
}

impl ValidityError {
    /// The request member that is to blame.
    pub fn member(&self) -> Member {
        match self {
            Self::Order | Self::EndInPast | Self::TooLong(_) | Self::EndOutsideIssuer(..) => {
                Member::NotAfter
            }
            Self::DefaultEndInPast(_) | Self::StartOutsideIssuer(..) => Member::NotBefore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: ValidityRule =
        ValidityRule { default_seconds: 100, longest: Some((200, "too long")) };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    fn asked(not_before: Option<i64>, not_after: Option<i64>) -> RequestedValidity {
        RequestedValidity { not_before: not_before.map(at), not_after: not_after.map(at) }
    }

    #[test]
    fn defaults_are_clipped_to_the_issuer_and_given_values_are_refused_beyond_it() {
        let issuer = Some(Validity::new(at(1_000), at(1_050)).unwrap());
        let clipped = asked(None, None).resolve(at(990), RULE, issuer).unwrap();
        assert_eq!(clipped, Validity::new(at(1_000), at(1_050)).unwrap());
        assert_eq!(
            asked(None, Some(1_051)).resolve(at(1_010), RULE, issuer).unwrap_err().member(),
            Member::NotAfter
        );
        assert_eq!(
            asked(Some(999), None).resolve(at(1_010), RULE, issuer).unwrap_err().member(),
            Member::NotBefore
        );
    }

    #[test]
    fn the_span_may_be_the_whole_maximum_and_not_a_second_more() {
        assert!(asked(Some(0), Some(200)).resolve(at(50), RULE, None).is_ok());
        assert_eq!(
            asked(Some(0), Some(201)).resolve(at(50), RULE, None),
            Err(ValidityError::TooLong("too long"))
        );
    }

    #[test]
    fn a_certificate_does_not_end_before_it_starts_or_before_now() {
        assert_eq!(
            asked(Some(90), Some(90)).resolve(at(50), RULE, None),
            Err(ValidityError::Order)
        );
        assert_eq!(
            asked(Some(10), Some(50)).resolve(at(50), RULE, None),
            Err(ValidityError::EndInPast)
        );
        assert!(matches!(
            asked(Some(-200), None).resolve(at(50), RULE, None),
            Err(ValidityError::DefaultEndInPast(_))
        ));
    }
}
