//! Proving a book offline: every frame and the chain, every posting replayed on an empty ledger, the sums kept a second
//! time on a path of their own, and, if asked, every decision made again from the inputs in its event.
//!
//! The book is only read. Of a book that a server is writing, the state between two frames is proved.

pub mod beside;
mod held;
mod rules;
mod sums;

use std::collections::{HashMap, HashSet};

use crate::io::Disk;
use crate::journal::{self, Genesis, Head, JournalError, RecoveryReport, ScanReport, Visit};
use crate::ledger::codec::Named;
use crate::ledger::event::Event;
use crate::ledger::ids::{Op, ProgramNo};
use crate::ledger::original::taken_by;
use crate::ledger::print::Prints;
use crate::ledger::view::{ProgramTrial, asset_ids};
use crate::ledger::{Ledger, Limits, Moment, codec, hashes_of};

use beside::Beside;
use held::{Heads, Held};
pub use held::{Shown, ShownSnapshot};
use sums::{Ids, Sums};

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
    /// What lies beside the book, held against it.
    pub beside: Shown,
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
        detail: String,
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
    Ledger::new(Limits { members_max: u32::MAX, cap_counters_max: usize::MAX, lots_bytes_max: usize::MAX })
}

/// The first pass: the book itself.
struct Books {
    ledger: Ledger,
    sums: Sums,
    newest: Moment,
    /// The events that refunds, reversals and activations name.
    originals: HashSet<Op>,
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

/// The event whose facts an event was decided from.
fn original_of(op: Op, event: &Event<'_>) -> Option<Op> {
    match event {
        Event::Activated(activated) => op.back(activated.earn_link),
        _ => taken_by(op, event),
    }
}

/// Proves the book on `disk`. `progress` is told the number of events taken so far, now and then.
///
/// # Errors
/// [`VerifyError`] for the first thing that is wrong.
pub fn verify(disk: &dyn Disk, options: &Options, progress: &mut dyn FnMut(u64)) -> Result<Report, VerifyError> {
    let genesis = journal::genesis_of(disk)?.ok_or(JournalError::NoBook)?;
    let prints = Prints::new(genesis.secret);
    let mut books = Books {
        ledger: unbounded(),
        sums: Sums::default(),
        newest: Moment { op: Op(0), book_time_us: i64::MIN },
        originals: HashSet::new(),
    };
    let mut extended = options.extends.is_none();
    let mut held = Held::new(&options.beside, &genesis);
    let mut heads = Heads::new(&options.beside);
    let ScanReport { head, recovery, .. } = journal::scan(
        disk,
        &mut |visit| {
            tell(progress, visit.op);
            let step = read(&visit)?;
            books.take(&step, &prints)?;
            if options.beside.keys.is_some() {
                let id = |number| books.ledger.program_id(number);
                let hashes = hashes_of(&Named::from(&step.event), step.at.op, id, &prints);
                let hashes = hashes.ok_or("the event's program is unknown")?;
                held.key(step.at.op, hashes.key);
            }
            if visit.last_in_frame {
                held.frame(step.at, &books.ledger);
            }
            Ok(())
        },
        &mut |head| {
            extended |= options.extends == Some(head);
            heads.take(head);
        },
    )?;
    let beside = held.end(&heads, &books.ledger, books.newest.book_time_us)?;
    if let (false, Some(missing)) = (extended, options.extends) {
        return Err(VerifyError::NotExtended(missing));
    }
    let trial_balance = books.ledger.trial_balance();
    let unbalanced = |what| VerifyError::Unbalanced { op: head.op, what };
    books.ledger.check_sums().map_err(unbalanced)?;
    let programs = books.ledger.programs();
    let ids = |number: ProgramNo| Ids {
        assets: programs
            .iter()
            .find(|view| view.number == number)
            .map(|view| asset_ids(&view.spec))
            .unwrap_or_default(),
        campaigns: books.ledger.campaigns(number),
        rewards: books.ledger.rewards(number),
        programs: programs.iter().map(|view| view.id.clone()).collect(),
    };
    books.sums.agree(&trial_balance, ids).map_err(unbalanced)?;
    let (members, _) = books.ledger.counts();
    let state_hash = books.ledger.state_hash();
    let proved = match options.rules {
        true => Some(rules::prove(disk, &prints, head.op, books.originals, progress)?),
        false => None,
    };
    Ok(Report { genesis, head, end: recovery, state_hash, trial_balance, members, proved, beside })
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
