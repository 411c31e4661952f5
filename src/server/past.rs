//! Reads as of an op or an instant that has passed: which op is meant, and what the book says of it.

use tonic::{Code, Status};

use super::desk::{Desk, blocking};
use super::shape::Fault;
use super::status;
use super::walks::{Waiting, Walks};
use crate::audit::cut_off::{self, Cut};
use crate::audit::export::source::Events;
use crate::audit::past::{self, MemberThen, PastError};
use crate::constants::PAST_READS_MAX;
use crate::engine::Handle;
use crate::engine::request::{Answer, AnswerBody, MemberState, Read};
use crate::ledger::event::AssetBalances;
use crate::ledger::ids::Op;
use crate::ledger::view::ProgramTrial;
use crate::proto as pb;

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
    walks: Walks,
}

impl Past {
    /// The past of the engine's book.
    #[must_use]
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk, walks: Walks::new(PAST_READS_MAX) }
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
                let head = blocking(move || match newest.0 {
                    0 => Ok(i64::MIN),
                    op => handle.book().read_block_of(op).map(|block| block.book_time_us()),
                });
                if us >= now_us && us > head.await? {
                    return Err(out_of_range("as_of_time_us", "has not passed yet"));
                }
                match self.booked_by(us, newest).await? {
                    Op(0) => Err(out_of_range("as_of_time_us", "lies before the book's first event")),
                    op => Ok(op),
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
            Ok(then) => Ok(Ok(Some(then))),
            // The walk led to the event that created the member.
            Err(PastError::MemberLater { .. }) => Ok(Ok(None)),
            Err(error @ PastError::TooFar(_)) => Ok(Err(error)),
            Err(error) => Err(error),
        };
        let then = blocking(walk).await?;
        then.map_err(|error| status::plain(Code::FailedPrecondition, pb::Reason::AsOfTooFar, error.to_string()))
    }

    /// The trial balances right after an op, and how many events were read for them.
    ///
    /// # Errors
    /// The status of a book that cannot be read.
    pub(super) async fn trials(&self, op: Op) -> Result<(Vec<ProgramTrial>, u64), Status> {
        let handle = self.desk.handle().clone();
        self.walks.walk(move |waiting| trials_at(&handle, &waiting.of(handle.book()), op)).await
    }
}

/// Trial balances by effective time.
pub(super) struct Effective {
    /// By program.
    pub trials: Vec<ProgramTrial>,
    /// What leads to them from those that were posted.
    pub lines: Vec<cut_off::Line>,
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
        let at_us = match as_of {
            None => now_us,
            Some(AsOf::TimeUs(us)) => us,
            // The time is known once the book was asked, and the op must be one that there is.
            Some(as_of @ AsOf::Op(_)) => {
                let op = self.op(as_of, now_us, Op(self.desk.handle().book().durable_op())).await?;
                let handle = self.desk.handle().clone();
                blocking(move || handle.book().read_block_of(op.0).map(|block| block.book_time_us())).await?
            }
        };
        let Answer { op: known, body: AnswerBody::Unswept(unswept) } = self.desk.read(Read::Unswept(at_us)).await?
        else {
            return Err(status::unexpected());
        };
        // All that is booked by then, and no less: not what was booked since it was now, and the whole frame of an op.
        let posted = match as_of {
            Some(as_of @ AsOf::TimeUs(_)) => self.op(as_of, now_us, known).await?,
            None | Some(AsOf::Op(_)) => self.booked_by(at_us, known).await?,
        };
        let cut = Cut { at_us, posted, known };
        let handle = self.desk.handle().clone();
        let walk = move |waiting: &Waiting| {
            let (book, names) = (waiting.of(handle.book()), handle.names());
            let (mut trials, read) = trials_at(&handle, &book, posted)?;
            let lines = cut_off::named(&cut_off::lines(&book, &cut, &unswept)?, &names)?;
            cut_off::add(&mut trials, &lines);
            trials.sort_unstable_by(|a, b| a.program.cmp(&b.program));
            Ok::<_, PastError>(Effective { trials, lines, cut, events: read.saturating_add(known.0) })
        };
        self.walks.walk(walk).await
    }

    /// The newest op booked at or before an instant, of those up to `known`; 0 if there is none.
    async fn booked_by(&self, us: i64, known: Op) -> Result<Op, Status> {
        let handle = self.desk.handle().clone();
        let op = blocking(move || handle.book().op_at_time(us)).await?;
        Ok(Op(op).min(known))
    }
}

/// The trial balances right after an op, and how many events were read for them.
fn trials_at(handle: &Handle, book: &dyn Events, op: Op) -> Result<(Vec<ProgramTrial>, u64), PastError> {
    past::trial_balance_at(book, &handle.names(), handle.audit().trial_before(op.0), op.0)
}
