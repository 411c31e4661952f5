//! When a request that got no answer is sent again: never at once, never without end, and never so often that retries themselves become
//! the load. Backoff is exponential with full jitter, what the server asks for is waited for before, and a token bucket bounds retries to a
//! share of first tries, in the spirit of gRFC A6.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::client;
use crate::rng::Rng;

/// Retries that the bucket holds at the begin: a handful of failures need no traffic before them.
const RESERVE: u64 = 10;
/// Retries that the bucket holds at most: what was saved up in hours of peace is not all spent on the first bad second.
const SAVED_MAX: u64 = 1_000;
/// The bucket counts in hundredths of a retry.
const RETRY: u64 = 100;
/// The pause that gRFC A6 lets a server ask for, in milliseconds; anything but a number means: not at all.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What a scenario says of retries.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    /// How often a request is sent at most, the first time included.
    pub(crate) attempts: u32,
    /// The longest pause before the second attempt; twice as long before each further one.
    pub(crate) backoff_ms: u64,
    /// The longest pause of all, apart from what the server asks for.
    pub(crate) backoff_ms_max: u64,
    /// Retries for each hundred first tries.
    pub(crate) budget_percent: u64,
}

impl Policy {
    /// No retries.
    pub(crate) const NONE: Self = Self { attempts: 1, backoff_ms: 1, backoff_ms_max: 1, budget_percent: 0 };
}

/// What an answer that is none says of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The server refused it for want of room: nothing was done.
    Shed(Pushback),
    /// Nobody knows whether it was done.
    Unknown(Pushback),
    /// Sending it again would not help.
    Final,
}

/// How long the server asks to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// At least so long; zero where it asks for nothing.
    Wait(Duration),
    /// Not to be sent again.
    Never,
}

impl Loss {
    /// Reads a status by the contract: what was shed carries a `RetryInfo`. RESOURCE_EXHAUSTED without one is of a connection whose server had
    /// enough of calls that were broken off, and says nothing of the command.
    pub(crate) fn of(status: &Status) -> Self {
        let info = status.get_details_retry_info();
        let pushback = match status.metadata().get(PUSHBACK).map(|value| value.to_str().unwrap_or_default().parse()) {
            Some(Ok(ms)) => Pushback::Wait(Duration::from_millis(ms)),
            Some(Err(_)) => Pushback::Never,
            None => Pushback::Wait(info.as_ref().and_then(|info| info.retry_delay).unwrap_or_default()),
        };
        match status.code() {
            Code::ResourceExhausted | Code::Unavailable if info.is_some() => Self::Shed(pushback),
            _ if client::is_worth_repeating(status) => Self::Unknown(pushback),
            _ => Self::Final,
        }
    }
}

/// Retries that may still be made.
#[derive(Debug)]
struct Budget {
    tokens: u64,
    percent: u64,
}

impl Budget {
    fn new(percent: u64) -> Self {
        Self { tokens: if percent == 0 { 0 } else { RESERVE * RETRY }, percent }
    }

    /// A request is sent for the first time: its share of a retry is saved.
    fn first_try(&mut self) {
        self.tokens = (self.tokens + self.percent).min(SAVED_MAX * RETRY);
    }

    /// Whether one more retry may be made; it is paid for then.
    fn take(&mut self) -> bool {
        let left = self.tokens.checked_sub(RETRY);
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }
}

/// The policy, and the budget that all requests of a run share.
#[derive(Debug)]
pub(crate) struct Retries {
    policy: Policy,
    budget: Mutex<Budget>,
    seed: u64,
}

impl Retries {
    /// `seed` decides the jitter.
    pub(crate) fn new(policy: Policy, seed: u64) -> Self {
        Self { policy, budget: Mutex::new(Budget::new(policy.budget_percent)), seed }
    }

    /// Whether a request may be needed a second time.
    pub(crate) fn are_made(&self) -> bool {
        self.policy.attempts > 1
    }

    /// How long a request may be sent again and again, where an attempt takes so long and the server asks for no pause.
    pub(crate) fn longest(&self, attempt: Duration) -> Duration {
        let each = attempt + Duration::from_millis(self.policy.backoff_ms_max);
        each.saturating_mul(self.policy.attempts)
    }

    /// Told of every request before its first attempt.
    pub(crate) fn first_try(&self) {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).first_try();
    }

    /// How long to wait before the request of that number is sent again, after so many attempts. `None`: it is given up.
    pub(crate) fn after(&self, request: u64, attempts: u32, pushback: Pushback) -> Option<Duration> {
        let Pushback::Wait(asked) = pushback else { return None };
        if attempts >= self.policy.attempts || !self.budget.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return None;
        }
        Some(asked + self.jitter(request, attempts))
    }

    /// Anything from nothing to the bound of that attempt: callers that failed together do not come back together.
    fn jitter(&self, request: u64, attempts: u32) -> Duration {
        let doubled = 1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(u64::MAX);
        let bound_ms = self.policy.backoff_ms.saturating_mul(doubled).min(self.policy.backoff_ms_max);
        let mut rng = Rng::new(self.seed ^ request.rotate_left(32), u64::from(attempts));
        Duration::from_micros(rng.below(bound_ms.saturating_mul(1_000) + 1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tonic_types::ErrorDetails;

    use super::*;

    const POLICY: Policy = Policy { attempts: 5, backoff_ms: 10, backoff_ms_max: 50, budget_percent: 20 };
    const AT_WILL: Pushback = Pushback::Wait(Duration::ZERO);

    #[test]
    fn retries_never_exceed_their_share_of_first_tries_beyond_the_reserve() {
        let retries = Retries::new(POLICY, 1);
        let (mut first_tries, mut made) = (0, 0);
        for request in 0..5_000 {
            retries.first_try();
            first_tries += 1;
            // Everything fails, as often as it is allowed to.
            let mut attempts = 1;
            while retries.after(request, attempts, AT_WILL).is_some() {
                (attempts, made) = (attempts + 1, made + 1);
            }
            assert!(attempts <= POLICY.attempts);
            assert!(made * 100 <= RESERVE * 100 + first_tries * POLICY.budget_percent, "{made} of {first_tries}");
        }
        assert!(made > 900, "the budget is used: {made}");
    }

    #[test]
    fn what_is_saved_in_peace_is_bounded() {
        let retries = Retries::new(POLICY, 1);
        (0..1_000_000).for_each(|_| retries.first_try());
        let made = (0..1_000_000).filter(|request| retries.after(*request, 1, AT_WILL).is_some()).count();
        assert_eq!(u64::try_from(made).unwrap(), SAVED_MAX);
    }

    #[test]
    fn without_a_budget_or_attempts_nothing_is_sent_again() {
        for policy in [Policy { budget_percent: 0, ..POLICY }, Policy { attempts: 1, ..POLICY }, Policy::NONE] {
            let retries = Retries::new(policy, 1);
            retries.first_try();
            assert_eq!(retries.after(1, 1, AT_WILL), None, "{policy:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_their_bound_and_lie_anywhere_below() {
        let longest = |attempts| {
            let pauses = (0..2_000).map(|request| Retries::new(POLICY, 3).after(request, attempts, AT_WILL).unwrap());
            let pauses: Vec<_> = pauses.collect();
            let (least, most) = (*pauses.iter().min().unwrap(), *pauses.iter().max().unwrap());
            assert!(least < most / 20, "full jitter: {least:?} to {most:?}");
            most
        };
        for (attempts, bound_ms) in [(1, 10), (2, 20), (3, 40), (4, 50)] {
            let (most, bound) = (longest(attempts), Duration::from_millis(bound_ms));
            assert!(most <= bound && most > bound * 9 / 10, "{attempts}: {most:?}");
        }
    }

    #[test]
    fn what_the_server_asks_for_is_waited_for_before_the_backoff() {
        let retries = Retries::new(POLICY, 1);
        let asked = Duration::from_secs(5);
        for request in 0..10 {
            let pause = retries.after(request, 1, Pushback::Wait(asked)).unwrap();
            assert!(pause >= asked && pause <= asked + Duration::from_millis(10));
        }
        assert_eq!(Retries::new(POLICY, 1).after(1, 1, Pushback::Never), None);
    }

    #[test]
    fn statuses_are_read_by_the_contract() {
        let told = |code| {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(50)));
            Loss::of(&Status::with_error_details(code, "", details))
        };
        let wait = |ms| Pushback::Wait(Duration::from_millis(ms));
        assert_eq!(told(Code::ResourceExhausted), Loss::Shed(wait(50)));
        assert_eq!(told(Code::Unavailable), Loss::Shed(wait(50)));
        assert_eq!(Loss::of(&Status::resource_exhausted("too many resets")), Loss::Unknown(wait(0)));
        assert_eq!(Loss::of(&Status::unavailable("the connection broke")), Loss::Unknown(wait(0)));
        assert_eq!(Loss::of(&Status::deadline_exceeded("")), Loss::Unknown(wait(0)));
        assert_eq!(Loss::of(&Status::invalid_argument("")), Loss::Final);
        for (pushback, read) in [("250", wait(250)), ("-1", Pushback::Never)] {
            let mut status = Status::unavailable("");
            status.metadata_mut().insert(PUSHBACK, pushback.parse().unwrap());
            assert_eq!(Loss::of(&status), Loss::Unknown(read));
        }
    }
}
