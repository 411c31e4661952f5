//! Where an export comes from: the accounts of a snapshot, and the events of a book.

use std::collections::HashMap;

use crate::audit::files::hex;
use crate::audit::snapshot::{SnapshotError, SnapshotReader};
use crate::io::Disk;
use crate::journal::{self, Book, FrameBody, Genesis, JournalError, Preparer, Replay};
use crate::ledger::command::Standing;
use crate::ledger::event::{AssetBalances, Event};
use crate::ledger::ids::{AssetNo, CampaignNo, MemberNo, Op, ProgramNo, RewardNo, TagNo};
use crate::ledger::view::{BaseProgram, PIECES, late_for};
use crate::ledger::{self, HoldView, ImageError, Ledger, LotView, PageId, PageKind, PendingView, codec};

use super::ExportError;
use super::manifest::{Origin, ParentBook};
use super::rows::Ids;

/// Members of a page.
#[allow(clippy::cast_possible_truncation, reason = "512")]
pub(super) const MEMBERS_PER_PAGE: u32 = ledger::MEMBERS_PER_PAGE as u32;
/// Bytes of members' ids that are kept at hand while events are read: those of ten million with ids of 20 bytes.
const IDS_CACHED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A member in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberBooks {
    /// The member's program.
    pub program: ProgramNo,
    /// The member's id.
    pub id: String,
    /// The balances, by asset in order of their numbers: of points in any case.
    pub balances: Vec<AssetBalances>,
    /// The op of the member's newest event.
    pub last_op: Op,
    /// The member's lots.
    pub lots: Vec<LotView>,
    /// The member's open holds.
    pub holds: Vec<HoldView>,
    /// What is pending of the member.
    pub pending: Vec<PendingView>,
    /// What the member may do.
    pub standing: Standing,
    /// The local date on which the member joined, in days since the Unix epoch, if it was told.
    pub joined_day: Option<i32>,
    /// The member's tags, in order of their numbers.
    pub tags: Vec<TagNo>,
    /// Into whom the member went.
    pub merged_into: Option<MemberNo>,
}

/// The accounts at the op of a snapshot.
pub trait Accounts {
    /// Every program, by number.
    fn programs(&self) -> &[BaseProgram];
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

/// Shows the events from op `from` to op `to` in order, read. There are none where `to` is before `from`.
///
/// # Errors
/// As [`Events::each`], and where an event cannot be read; what `show` returns, at once.
pub fn each_event<E: From<ExportError>>(
    events: &dyn Events,
    from: u64,
    to: u64,
    show: &mut dyn FnMut(Op, i64, &Event<'_>) -> Result<(), E>,
) -> Result<(), E> {
    if to < from {
        return Ok(());
    }
    let mut stopped = None;
    let walked = events.each(from, to, &mut |op, time_us, bytes| {
        let event = codec::decode(bytes).map_err(|error| ExportError::Codec(op, error))?;
        show(Op(op), time_us, &event).map_err(|error| {
            stopped = Some(error);
            ExportError::Refused("stopped".to_owned())
        })
    });
    match stopped {
        Some(error) => Err(error),
        None => walked.map_err(E::from),
    }
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
        let mut range = Range { from, each, stopped: None };
        let scanned = journal::scan_to(self.0, None, to, &mut range);
        match (range.stopped, scanned) {
            (Some(error), _) => Err(error),
            (None, Err(JournalError::NotFound(_))) => Err(ExportError::BookEnds(to)),
            (None, scanned) => Ok(scanned?),
        }
    }
}

/// Why the snapshot `name` of the book on `data` has no file: it was never taken, was deleted, or lost it.
///
/// # Errors
/// Where the book cannot be read.
pub fn why_missing(data: &dyn Disk, name: String) -> Result<ExportError, ExportError> {
    let (mut taken, mut deleted) = (None, None);
    let read = Scanned(data).each(1, u64::MAX, &mut |op, _, bytes| {
        match codec::decode(bytes).map_err(|error| ExportError::Codec(op, error))? {
            Event::SnapshotTaken(event) if event.name == name => taken = Some(op),
            Event::SnapshotDeleted(event) if event.name == name => deleted = Some(op),
            _ => {}
        }
        Ok(())
    });
    // No book reaches as far as was asked.
    match read {
        Ok(()) | Err(ExportError::BookEnds(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(match (taken, deleted) {
        (_, Some(op)) => ExportError::Refused(format!("the snapshot {name} was deleted at op {op}")),
        (Some(op), None) => {
            ExportError::Refused(format!("the snapshot {name} was taken at op {op}, and its file is missing"))
        }
        (None, None) => SnapshotError::Missing(name).into(),
    })
}

/// Passes on the events from an op on.
struct Range<'a, 'e> {
    from: u64,
    each: &'a mut EachEvent<'e>,
    stopped: Option<ExportError>,
}

impl Replay for Range<'_, '_> {
    type Frame = FrameBody;

    fn preparer(&self) -> Preparer<FrameBody> {
        Box::new(|body| body)
    }

    fn events(&mut self, frame: &FrameBody, upto: u64) -> Result<(), String> {
        journal::each_event(frame, upto, &mut |visit| {
            if visit.op < self.from {
                return Ok(());
            }
            (self.each)(visit.op, visit.book_time_us, visit.event).map_err(|error| {
                let text = error.to_string();
                self.stopped = Some(error);
                text
            })
        })
    }
}

fn bad_image(page: PageId) -> impl FnOnce(ImageError) -> ExportError {
    move |error| ExportError::Refused(format!("the image of page {} of {:?}: {error}", page.number, page.kind))
}

/// A member's balances as a page of a snapshot has them, and those in points where it has none.
fn balances_of(mut balances: Vec<AssetBalances>) -> Vec<AssetBalances> {
    if balances.first().is_none_or(|first| first.asset != AssetNo::POINTS) {
        balances.insert(0, AssetBalances::default());
    }
    balances
}

/// The accounts that images of pages come to.
trait Images {
    fn image(&self, page: PageId) -> Result<Vec<u8>, ExportError>;

    /// The members who went into others, and into whom.
    fn merged(&self) -> &HashMap<MemberNo, MemberNo>;

    fn ids_of(&self, number: u32) -> Result<Vec<String>, ExportError> {
        let page = PageId { kind: PageKind::Names, number };
        let image = self.image(page)?;
        let names = ledger::names_of(&image).map_err(bad_image(page))?;
        Ok(names.into_iter().map(|(_, id)| id.to_owned()).collect())
    }

    fn members_of(&self, number: u32) -> Result<Vec<MemberBooks>, ExportError> {
        let (names, holdings) = (PageId { kind: PageKind::Names, number }, PageId { kind: PageKind::Holdings, number });
        let image = self.image(names)?;
        let ids = ledger::names_of(&image).map_err(bad_image(names))?;
        let held = ledger::holdings_of(&self.image(holdings)?).map_err(bad_image(holdings))?;
        if ids.len() != held.len() {
            return Err(ExportError::Refused(format!(
                "page {number} has {} ids and {} holdings",
                ids.len(),
                held.len()
            )));
        }
        let first = number.saturating_mul(MEMBERS_PER_PAGE);
        let member = |(number, ((program, id), held)): (u32, ((ProgramNo, &str), ledger::HoldingView))| MemberBooks {
            program,
            id: id.to_owned(),
            balances: balances_of(held.balances),
            last_op: held.head,
            lots: held.lots,
            holds: held.holds,
            pending: held.pending,
            standing: held.standing,
            joined_day: held.joined_day,
            tags: held.tags,
            merged_into: self.merged().get(&MemberNo(number)).copied(),
        };
        Ok((first..).zip(ids.into_iter().zip(held)).map(member).collect())
    }
}

/// The accounts of a snapshot, page by page from its file.
pub struct SnapshotAccounts<'a> {
    reader: &'a SnapshotReader,
    programs: Vec<BaseProgram>,
    merged: HashMap<MemberNo, MemberNo>,
    pages: u32,
}

impl<'a> SnapshotAccounts<'a> {
    /// Reads the base image.
    ///
    /// # Errors
    /// `Snapshot`, `Refused` where the file is not what was written.
    pub fn new(reader: &'a SnapshotReader) -> Result<Self, ExportError> {
        let base = reader.base()?;
        let bad = |error| ExportError::Refused(format!("the base image: {error}"));
        let programs = ledger::programs_of(&base).map_err(bad)?;
        let merged = ledger::merges_of(&base).map_err(bad)?.into_iter().collect();
        let names = reader.pages().filter(|(kind, _, _)| *kind == PageKind::Names.number()).count();
        Ok(Self { reader, programs, merged, pages: u32::try_from(names).unwrap_or(u32::MAX) })
    }
}

impl Images for SnapshotAccounts<'_> {
    fn image(&self, page: PageId) -> Result<Vec<u8>, ExportError> {
        let image = self.reader.page(page.kind.number(), page.number)?;
        image.ok_or_else(|| ExportError::Refused(format!("the snapshot lacks page {} of {:?}", page.number, page.kind)))
    }

    fn merged(&self) -> &HashMap<MemberNo, MemberNo> {
        &self.merged
    }
}

impl Accounts for SnapshotAccounts<'_> {
    fn programs(&self) -> &[BaseProgram] {
        &self.programs
    }

    fn pages(&self) -> u32 {
        self.pages
    }

    fn ids(&self, page: u32) -> Result<Vec<String>, ExportError> {
        self.ids_of(page)
    }

    fn members(&self, page: u32) -> Result<Vec<MemberBooks>, ExportError> {
        self.members_of(page)
    }
}

/// The accounts of a ledger as it stands: for a proof that needs no snapshot.
pub(super) struct LedgerAccounts {
    programs: Vec<BaseProgram>,
    merged: HashMap<MemberNo, MemberNo>,
    pages: u32,
    images: HashMap<PageId, Vec<u8>>,
}

impl LedgerAccounts {
    pub(super) fn new(ledger: &mut Ledger) -> Result<Self, ExportError> {
        let captured = ledger.begin_capture(true);
        let bad = |error| ExportError::Refused(format!("the base image: {error}"));
        let programs = ledger::programs_of(&captured.base).map_err(bad)?;
        let merged = ledger::merges_of(&captured.base).map_err(bad)?.into_iter().collect();
        let mut images = HashMap::new();
        while ledger.capturing() {
            for copy in ledger.capture_next(1) {
                let mut image = Vec::new();
                copy.encode(&mut image);
                images.insert(copy.id(), image);
            }
        }
        Ok(Self { programs, merged, pages: captured.pages, images })
    }
}

impl Images for LedgerAccounts {
    fn image(&self, page: PageId) -> Result<Vec<u8>, ExportError> {
        let image = self.images.get(&page).cloned();
        image.ok_or_else(|| ExportError::Refused(format!("there is no page {} of {:?}", page.number, page.kind)))
    }

    fn merged(&self) -> &HashMap<MemberNo, MemberNo> {
        &self.merged
    }
}

impl Accounts for LedgerAccounts {
    fn programs(&self) -> &[BaseProgram] {
        &self.programs
    }

    fn pages(&self) -> u32 {
        self.pages
    }

    fn ids(&self, page: u32) -> Result<Vec<String>, ExportError> {
        self.ids_of(page)
    }

    fn members(&self, page: u32) -> Result<Vec<MemberBooks>, ExportError> {
        self.members_of(page)
    }
}

impl Origin {
    /// That of the exports of a snapshot.
    #[must_use]
    pub fn of(reader: &SnapshotReader, genesis: &Genesis) -> Self {
        let manifest = reader.manifest();
        let parent = genesis.parent.as_ref().map(|parent| ParentBook {
            book_id: hex(&parent.book_id),
            op: parent.op,
            hash: hex(&parent.hash),
        });
        Self {
            snapshot: manifest.name.clone(),
            book_id: manifest.book_id.clone(),
            incarnation: manifest.incarnation,
            parent,
            to_op: manifest.op,
            to_time_us: manifest.book_time_us,
            head_hash: manifest.head_hash.clone(),
            state_hash: manifest.state_hash.clone(),
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
        self.accounts.programs().get(usize::from(number.0)).map(|program| program.trial.program.as_str())
    }

    fn asset(&self, program: ProgramNo, number: AssetNo) -> Option<&str> {
        if number == AssetNo::PIECES {
            return Some(PIECES);
        }
        let program = self.accounts.programs().get(usize::from(program.0))?;
        program.assets.get(usize::from(number.0)).map(String::as_str)
    }

    fn campaign(&self, program: ProgramNo, number: CampaignNo) -> Option<&str> {
        let program = self.accounts.programs().get(usize::from(program.0))?;
        program.campaigns.get(usize::from(number.0)).map(String::as_str)
    }

    fn late_for(&self, program: ProgramNo, op: Op, dated_us: i64) -> Option<i64> {
        late_for(&self.accounts.programs().get(usize::from(program.0))?.closings, op, dated_us)
    }

    fn reward(&self, program: ProgramNo, number: RewardNo) -> Option<&str> {
        let program = self.accounts.programs().get(usize::from(program.0))?;
        program.rewards.get(usize::from(number.0)).map(String::as_str)
    }

    fn tag(&self, program: ProgramNo, number: TagNo) -> Option<&str> {
        let program = self.accounts.programs().get(usize::from(program.0))?;
        program.tags.get(usize::from(number.0)).map(String::as_str)
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
