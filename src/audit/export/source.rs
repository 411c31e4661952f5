//! Where an export comes from: the accounts of a snapshot, and the events of a book.

use std::collections::HashMap;

use crate::io::Disk;
use crate::journal::{self, Book};
use crate::ledger::event::Balances;
use crate::ledger::ids::{CampaignNo, MemberNo, Op, ProgramNo};
use crate::ledger::view::TrialRow;

use super::ExportError;
use super::rows::Ids;

/// Members of a page of [`Accounts`]; that of the state's pages.
pub const MEMBERS_PER_PAGE: u32 = 512;
/// Bytes of members' ids that are kept at hand while events are read: those of ten million with ids of 20 bytes.
const IDS_CACHED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A program in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramBooks {
    /// Its id.
    pub id: String,
    /// Its trial balance.
    pub rows: Vec<TrialRow>,
    /// The ids of its campaigns, by number.
    pub campaigns: Vec<String>,
}

/// A member in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberBooks {
    /// The member's program.
    pub program: ProgramNo,
    /// The member's id.
    pub id: String,
    /// The balances.
    pub balances: Balances,
    /// The op of the member's newest event.
    pub last_op: Op,
}

/// The accounts at the op of a snapshot.
pub trait Accounts {
    /// Every program, by number.
    fn programs(&self) -> &[ProgramBooks];
    /// How many pages of members there are: page `n` has the members from number 512 `n` on.
    fn pages(&self) -> u32;
    /// The ids of a page's members.
    ///
    /// # Errors
    /// Where the page cannot be read.
    fn ids(&self, page: u32) -> Result<Vec<String>, ExportError>;
    /// A page's members.
    ///
    /// # Errors
    /// Where the page cannot be read.
    fn members(&self, page: u32) -> Result<Vec<MemberBooks>, ExportError>;
}

/// What is done with an event: its op, its book time in microseconds since the Unix epoch, its bytes.
pub type EachEvent<'a> = dyn FnMut(u64, i64, &[u8]) -> Result<(), ExportError> + 'a;

/// The events of a book.
pub trait Events {
    /// Shows the events from op `from` to op `to` in order.
    ///
    /// # Errors
    /// Where the book cannot be read or ends before `to`; what `each` returns, at once.
    fn each(&self, from: u64, to: u64, each: &mut EachEvent<'_>) -> Result<(), ExportError>;
}

impl Events for Book {
    fn each(&self, from: u64, to: u64, each: &mut EachEvent<'_>) -> Result<(), ExportError> {
        let mut next = from;
        while next <= to {
            let frame = self.read_frame_of(next)?;
            let end = frame.first_op().saturating_add(u64::from(frame.count())).min(to.saturating_add(1));
            for op in next..end {
                let event = frame.event(op).ok_or(journal::JournalError::NotFound(op))?;
                each(op, frame.book_time_us(), event)?;
            }
            next = end;
        }
        Ok(())
    }
}

/// The events of a book that lies on a disk, read without a server, beside one or while there is none.
pub struct Scanned<'a>(pub &'a dyn Disk);

impl Events for Scanned<'_> {
    fn each(&self, from: u64, to: u64, each: &mut EachEvent<'_>) -> Result<(), ExportError> {
        let (mut stopped, mut newest) = (None, 0);
        let mut visit = |visit: journal::Visit<'_>| {
            newest = visit.op;
            if (from..=to).contains(&visit.op) {
                each(visit.op, visit.book_time_us, visit.event).map_err(|error| {
                    let text = error.to_string();
                    stopped = Some(error);
                    text
                })
            } else {
                Ok(())
            }
        };
        let scanned = journal::scan(self.0, &mut visit, &mut |_| {});
        match stopped {
            Some(error) => return Err(error),
            None => scanned?,
        };
        match newest < to {
            true => Err(ExportError::BookEnds { op: to, newest }),
            false => Ok(()),
        }
    }
}

/// The ids of a page's members, one after the other.
struct PageIds {
    text: String,
    ends: Vec<u32>,
}

impl PageIds {
    fn of(ids: Vec<String>) -> Self {
        let mut page = Self { text: String::with_capacity(ids.iter().map(String::len).sum()), ends: Vec::new() };
        page.ends.reserve_exact(ids.len());
        for id in ids {
            page.text.push_str(&id);
            page.ends.push(u32::try_from(page.text.len()).unwrap_or(u32::MAX));
        }
        page
    }

    fn get(&self, place: usize) -> Option<&str> {
        let end = |at: usize| self.ends.get(at).and_then(|end| usize::try_from(*end).ok());
        let start = if place == 0 { 0 } else { end(place - 1)? };
        self.text.get(start..end(place)?)
    }

    fn bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * 4
    }
}

/// Ids as a snapshot has them; pages of members' ids are read when they are asked for.
pub(super) struct SnapshotIds<'a> {
    accounts: &'a dyn Accounts,
    pages: HashMap<u32, PageIds>,
    bytes: usize,
}

impl<'a> SnapshotIds<'a> {
    pub(super) fn new(accounts: &'a dyn Accounts) -> Self {
        Self { accounts, pages: HashMap::new(), bytes: 0 }
    }
}

impl Ids for SnapshotIds<'_> {
    fn program(&self, number: ProgramNo) -> Option<&str> {
        self.accounts.programs().get(usize::from(number.0)).map(|program| program.id.as_str())
    }

    fn campaign(&self, program: ProgramNo, number: CampaignNo) -> Option<&str> {
        let program = self.accounts.programs().get(usize::from(program.0))?;
        program.campaigns.get(usize::from(number.0)).map(String::as_str)
    }

    fn member(&mut self, number: MemberNo) -> Result<String, ExportError> {
        let (page, place) = (number.0 / MEMBERS_PER_PAGE, number.0 % MEMBERS_PER_PAGE);
        if !self.pages.contains_key(&page) {
            if self.bytes >= IDS_CACHED_BYTES_MAX {
                self.pages.clear();
                self.bytes = 0;
            }
            let ids = PageIds::of(self.accounts.ids(page)?);
            self.bytes += ids.bytes();
            self.pages.insert(page, ids);
        }
        let id = self.pages.get(&page).and_then(|ids| ids.get(usize::try_from(place).unwrap_or(usize::MAX)));
        id.map(str::to_owned).ok_or(ExportError::MemberUnnamed(number.0))
    }
}
