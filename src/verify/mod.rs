//! Proving a book offline: every frame and the chain, every posting replayed on an empty ledger, the sums kept a second
//! time on a path of their own, and, if asked, every decision made again from the inputs in its event.
//!
//! The book is only read. Of a book that a server is writing, the state between two frames is proved.

pub mod beside;
mod rules;
mod sums;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::io::Disk;
use crate::journal::{self, Genesis, Head, JournalError, RecoveryReport, ScanReport, Visit};
use crate::ledger::codec::Named;
use crate::ledger::event::Event;
use crate::ledger::ids::Op;
use crate::ledger::print::Prints;
use crate::ledger::view::ProgramTrial;
use crate::ledger::{Ledger, Limits, Moment, codec, hashes_of};
use crate::store::Keys;

use beside::{Beside, Point};
use sums::Sums;

/// What is to be proved beside the book itself.
#[derive(Clone, Default)]
pub struct Options {
    /// A head that was noted earlier and that the book must still contain.
    pub extends: Option<Head>,
    /// Whether every award, refund, redemption and adjustment is decided again.
    pub rules: bool,
    /// What lies beside the book and must agree with it.
    pub beside: Beside,
}

/// What was proved of a sound book.
#[derive(Clone, Debug)]
pub struct Report {
    /// The book's genesis.
    pub genesis: Genesis,
    /// The last op and the hash of the last frame: note it, and hold later books to it.
    pub head: Head,
    /// How the book ends. What a crash leaves there looks like a tail that was damaged later.
    pub end: RecoveryReport,
    /// The hash of the state that the events come to.
    pub state_hash: [u8; 32],
    /// The balances, per program.
    pub trial_balance: Vec<ProgramTrial>,
    /// How many members there are.
    pub members: u64,
    /// How many decisions were made again; `None` if that was not asked.
    pub proved: Option<u64>,
}

/// Why a book is not sound, or could not be proved.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The book cannot be read, or it is damaged: the text says where and how.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The events do not come to balanced books.
    #[error("at op {op}: {what}")]
    Unbalanced {
        /// The last op.
        op: u64,
        /// What does not agree.
        what: String,
    },
    /// What lies beside the book is not what it says, or cannot be read.
    #[error("{0}")]
    Beside(String),
    /// A snapshot or checkpoint is not the state of the book at its op.
    #[error("{what} at op {op}: {detail}")]
    Differs {
        /// Which.
        what: String,
        /// Its op.
        op: u64,
        /// What does not agree.
        detail: &'static str,
    },
    /// The book does not contain the head that it was said to extend.
    #[error("the book does not contain {0:?}: it is another book, or its past was changed")]
    NotExtended(Head),
}

/// An event as the scan meets it, read.
struct Step<'a> {
    at: Moment,
    bytes: &'a [u8],
    event: Event<'a>,
}

fn read<'a>(visit: &Visit<'a>) -> Result<Step<'a>, String> {
    let at = Moment { op: Op(visit.op), book_time_us: visit.book_time_us };
    let event = codec::decode(visit.event).map_err(|error| format!("op {}: {error}", visit.op))?;
    Ok(Step { at, bytes: visit.event, event })
}

/// A ledger without bounds: what was accepted once is not refused for what a later configuration allows.
fn unbounded() -> Ledger {
    Ledger::new(Limits { members_max: u32::MAX, cap_counters_max: usize::MAX })
}

fn prints_of(disk: &dyn Disk) -> Result<Prints, JournalError> {
    let genesis = journal::genesis_of(disk)?.ok_or(JournalError::NoBook)?;
    Ok(Prints::new(genesis.secret))
}

/// The first pass: the book itself.
struct Books {
    ledger: Ledger,
    sums: Sums,
    newest: Moment,
    /// The earns that refunds name.
    originals: HashSet<Op>,
}

/// Holds what lies beside the book against the states that the events come to.
struct Held<'o> {
    beside: &'o Beside,
    /// The points whose head the book has.
    heads: usize,
    differs: Option<VerifyError>,
}

impl Held<'_> {
    fn at(&self, op: u64) -> impl Iterator<Item = &Point> {
        let first = self.beside.points.partition_point(|point| point.op < op);
        self.beside.points.iter().skip(first).take_while(move |point| point.op == op)
    }

    /// After the events of a frame that ends with `op`.
    fn frame(&mut self, op: u64, ledger: &Ledger) {
        if self.at(op).next().is_none() || self.differs.is_some() {
            return;
        }
        let state_hash = ledger.state_hash();
        let differs = self.at(op).find(|point| point.state_hash != state_hash).map(|point| point.what.clone());
        self.differs =
            differs.map(|what| VerifyError::Differs { what, op, detail: "it is not the state of the book there" });
    }

    /// A key of an event must be in the runs, as far as these reach.
    fn key(&mut self, op: Op, print: u128) {
        let lacks = |keys: &Arc<Keys>| op.0 <= keys.upto() && !keys.may_hold(print, 0);
        if self.differs.is_none() && self.beside.keys.as_ref().is_some_and(lacks) {
            let what = "the newest checkpoint".to_owned();
            self.differs = Some(VerifyError::Differs { what, op: op.0, detail: "its runs lack the key of this event" });
        }
    }

    fn end(self) -> Result<(), VerifyError> {
        match (self.differs, self.beside.points.get(self.heads)) {
            (Some(error), _) => Err(error),
            (None, Some(point)) => {
                let detail = "the book has no such frame there: it ends before, or has another past";
                Err(VerifyError::Differs { what: point.what.clone(), op: point.op, detail })
            }
            (None, None) => Ok(()),
        }
    }
}

impl Books {
    fn take(&mut self, step: &Step<'_>, prints: &Prints) -> Result<(), String> {
        let op = step.at.op;
        if op != self.newest.op.next() || step.at.book_time_us < self.newest.book_time_us {
            return Err(format!("op {}: its number or its time does not follow op {}", op.0, self.newest.op.0));
        }
        self.newest = step.at;
        self.sums.take(&step.event).map_err(|what| format!("op {}: {what}", op.0))?;
        self.ledger.replay(step.at, &step.event, prints).map_err(|error| error.to_string())?;
        if let Some(original) = original_of(op, &step.event) {
            self.originals.insert(original);
        }
        Ok(())
    }
}

fn original_of(op: Op, event: &Event<'_>) -> Option<Op> {
    match event {
        Event::Refunded(refund) => op.back(refund.from.as_ref()?.original_link),
        _ => None,
    }
}

/// Proves the book on `disk`. `progress` is told the number of events taken so far, now and then.
///
/// # Errors
/// [`VerifyError`] for the first thing that is wrong.
pub fn verify(disk: &dyn Disk, options: &Options, progress: &mut dyn FnMut(u64)) -> Result<Report, VerifyError> {
    let prints = prints_of(disk)?;
    let mut books = Books {
        ledger: unbounded(),
        sums: Sums::default(),
        newest: Moment { op: Op(0), book_time_us: i64::MIN },
        originals: HashSet::new(),
    };
    let mut extended = options.extends.is_none();
    let mut held = Held { beside: &options.beside, heads: 0, differs: None };
    let mut heads = 0;
    let ScanReport { genesis, head, recovery } = journal::scan(
        disk,
        &mut |visit| {
            tell(progress, visit.op);
            let step = read(&visit)?;
            books.take(&step, &prints)?;
            if options.beside.keys.is_some() {
                let id = |number| books.ledger.program_id(number);
                let hashes =
                    hashes_of(&Named::from(&step.event), id, &prints).ok_or("the event's program is unknown")?;
                held.key(step.at.op, hashes.key);
            }
            if visit.last_in_frame {
                held.frame(visit.op, &books.ledger);
            }
            Ok(())
        },
        &mut |head| {
            extended |= options.extends == Some(head);
            let points = options.beside.points.get(heads..).unwrap_or_default().iter();
            heads += points.take_while(|point| point.op == head.op && point.head_hash == head.hash).count();
        },
    )?;
    held.heads = heads;
    held.end()?;
    if let (false, Some(missing)) = (extended, options.extends) {
        return Err(VerifyError::NotExtended(missing));
    }
    let trial_balance = books.ledger.trial_balance();
    let unbalanced = |what| VerifyError::Unbalanced { op: head.op, what };
    books.ledger.check_sums().map_err(unbalanced)?;
    books.sums.agree(&trial_balance, |number| books.ledger.campaigns(number)).map_err(unbalanced)?;
    let (members, _) = books.ledger.counts();
    let state_hash = books.ledger.state_hash();
    let proved = match options.rules {
        true => Some(rules::prove(disk, &prints, head.op, books.originals, progress)?),
        false => None,
    };
    Ok(Report { genesis, head, end: recovery, state_hash, trial_balance, members, proved })
}

/// Events between two words on progress.
const PROGRESS_EVENTS: u64 = 100_000;

fn tell(progress: &mut dyn FnMut(u64), op: u64) {
    if op.is_multiple_of(PROGRESS_EVENTS) {
        progress(op);
    }
}

/// The bytes of events that will be asked for again.
type Kept = HashMap<Op, Box<[u8]>>;
