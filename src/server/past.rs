//! Reads as of an op or an instant that has passed: which op is meant, and what the book says of it.

use std::sync::Arc;

use tonic::{Code, Status};

use super::desk::{Desk, blocking};
use super::shape::Fault;
use super::status;
use crate::audit::cut_off::{self, Cut};
use crate::audit::past::{self, MemberThen, PastError};
use crate::constants::PAST_READS_MAX;
use crate::engine::request::{Answer, AnswerBody, MemberState, Read};
use crate::ledger::event::AssetBalances;
use crate::ledger::ids::Op;
use crate::ledger::view::ProgramTrial;
use crate::proto as pb;
use tokio::sync::Semaphore;

/// As of when a read is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AsOf {
    /// Right after this op.
    Op(u64),
    /// After the newest event booked at or before this instant.
    TimeUs(i64),
}

impl From<pb::get_member_request::AsOf> for AsOf {
    fn from(asked: pb::get_member_request::AsOf) -> Self {
        match asked {
            pb::get_member_request::AsOf::AsOfOp(op) => Self::Op(op),
            pb::get_member_request::AsOf::AsOfTimeUs(us) => Self::TimeUs(us),
        }
    }
}

impl From<pb::get_trial_balance_request::AsOf> for AsOf {
    fn from(asked: pb::get_trial_balance_request::AsOf) -> Self {
        match asked {
            pb::get_trial_balance_request::AsOf::AsOfOp(op) => Self::Op(op),
            pb::get_trial_balance_request::AsOf::AsOfTimeUs(us) => Self::TimeUs(us),
        }
    }
}

/// Where the past is read.
#[derive(Clone)]
pub(super) struct Past {
    desk: Desk,
    readers: Arc<Semaphore>,
}

impl Past {
    /// The past of the engine's book.
    #[must_use]
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk, readers: Arc::new(Semaphore::new(PAST_READS_MAX)) }
    }

    /// What has passed by now. To be asked before the engine is: what it books after that is booked no earlier.
    #[must_use]
    pub(super) fn now_us(&self) -> i64 {
        self.desk.handle().passed_us()
    }

    /// The op that is meant, given what [`Self::now_us`] said before the engine answered as of `newest`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what has not happened yet, and for a time before the book's first event.
    pub(super) async fn op(&self, as_of: AsOf, now_us: i64, newest: Op) -> Result<Op, Status> {
        let out_of_range = |field: &str, why: &str| status::invalid(&[Fault::out_of_range(field, why)]);
        match as_of {
            AsOf::Op(0) => Err(out_of_range("as_of_op", "must be at least 1")),
            AsOf::Op(op) if op > newest.0 => {
                Err(out_of_range("as_of_op", &format!("has not happened yet: the newest is {}", newest.0)))
            }
            AsOf::Op(op) => Ok(Op(op)),
            AsOf::TimeUs(us) => {
                let handle = self.desk.handle().clone();
                let (op, head) = blocking(move || {
                    let head = match newest.0 {
                        0 => i64::MIN,
                        op => handle.book().read_block_of(op)?.book_time_us(),
                    };
                    Ok::<_, crate::journal::JournalError>((handle.book().op_at_time(us)?, head))
                })
                .await?;
                if us >= now_us && us > head {
                    return Err(out_of_range("as_of_time_us", "has not passed yet"));
                }
                match op.min(newest.0) {
                    0 => Err(out_of_range("as_of_time_us", "lies before the book's first event")),
                    op => Ok(Op(op)),
                }
            }
        }
    }

    /// How a member stood right after an op, `now` being the balances after the member's newest event; `None` for a
    /// member that no posting had created by then.
    ///
    /// # Errors
    /// The status of a book that cannot be read, or of too long a way back.
    pub(super) async fn member(
        &self,
        state: MemberState,
        now: Vec<AssetBalances>,
        op: Op,
    ) -> Result<Option<MemberThen>, Status> {
        let MemberState { way, head, .. } = state;
        if head <= op {
            return Ok(Some(MemberThen { balances: now, head, events: 0 }));
        }
        let handle = self.desk.handle().clone();
        let walk = move || match past::member_at(handle.book(), &way, &now, head, op) {
            Ok(then) => Ok(Some(then)),
            // The walk led to the event that created the member.
            Err(PastError::MemberLater { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        off_the_runtime(walk).await
    }

    /// The trial balances right after an op, and how many events were read for them.
    ///
    /// # Errors
    /// The status of a book that cannot be read.
    pub(super) async fn trials(&self, op: Op) -> Result<(Vec<ProgramTrial>, u64), Status> {
        let _turn = self.readers.acquire().await.map_err(|_| status::unexpected())?;
        let handle = self.desk.handle().clone();
        off_the_runtime(move || {
            let base = handle.audit().trial_before(op.0);
            past::trial_balance_at(handle.book(), &handle.names(), base, op.0)
        })
        .await
    }
}

/// Trial balances by effective time.
pub(super) struct Effective {
    /// By program.
    pub trials: Vec<ProgramTrial>,
    /// What leads to them from those that were posted.
    pub lines: cut_off::Lines,
    /// Of when.
    pub cut: Cut,
    /// Events that were read.
    pub events: u64,
}

impl Past {
    /// The trial balances by effective time.
    ///
    /// # Errors
    /// As [`Self::op`] and [`Self::trials`].
    pub(super) async fn effective(&self, as_of: Option<AsOf>) -> Result<Effective, Status> {
        let now_us = self.now_us();
        let asked_us = match as_of {
            None => Some(now_us),
            Some(AsOf::TimeUs(us)) => Some(us),
            Some(AsOf::Op(_)) => None,
        };
        // Of an op the time is known once the book was asked, and the op must be one that there is.
        let at_us = match (asked_us, as_of) {
            (None, Some(AsOf::Op(op))) => {
                let newest = Op(self.desk.handle().book().durable_op());
                let op = self.op(AsOf::Op(op), now_us, newest).await?;
                let handle = self.desk.handle().clone();
                blocking(move || handle.book().read_block_of(op.0).map(|block| block.book_time_us())).await?
            }
            (asked_us, _) => asked_us.unwrap_or(now_us),
        };
        let Answer { op: known, body: AnswerBody::Unswept(unswept) } = self.desk.read(Read::Unswept(at_us)).await?
        else {
            return Err(status::unexpected());
        };
        let posted = match as_of {
            None => known,
            Some(as_of) => self.op(as_of, now_us, known).await?,
        };
        let cut = Cut { at_us, posted, known };
        let (mut trials, read) = self.trials(posted).await?;
        let handle = self.desk.handle().clone();
        let _turn = self.readers.acquire().await.map_err(|_| status::unexpected())?;
        let lines = blocking(move || cut_off::lines(handle.book(), &cut, &unswept)).await?;
        cut_off::add(&mut trials, &lines, &self.desk.handle().names());
        trials.sort_unstable_by(|a, b| a.program.cmp(&b.program));
        Ok(Effective { trials, lines, cut, events: read.saturating_add(known.0) })
    }
}

/// Runs a walk through the book where it holds up no other request.
async fn off_the_runtime<T: Send + 'static>(
    walk: impl FnOnce() -> Result<T, PastError> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(walk).await {
        Ok(Ok(walked)) => Ok(walked),
        Ok(Err(error @ PastError::TooFar(_))) => {
            Err(status::plain(Code::FailedPrecondition, pb::Reason::AsOfTooFar, error.to_string()))
        }
        Ok(Err(error)) => Err(status::unreadable(&error)),
        Err(error) => Err(status::unreadable(&error)),
    }
}
