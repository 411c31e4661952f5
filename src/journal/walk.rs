//! Reads a book from its first byte to its last, believes nothing, and says where and how it ends.
//!
//! Used by opening and by offline verification alike; it changes nothing.

use std::sync::Arc;

use crate::constants::PAGE_BYTES;
use crate::io::{Disk, DiskFile};

use super::catalogue::{Catalogue, Counts, Place};
use super::error::{Case, JournalError};
use super::layout::{FrameHeader, FrameKind, Genesis, PageFault, SegmentHeader, is_zero};
use super::reader::{PAGE, Reader};
use super::segment::{Segment, SegmentFiles, segment_name};
use super::verify::{Fault, Frame};
use super::waypoint::Waypoint;
use super::{Head, to_u32, to_u64, to_usize};

/// One event of the book, as a replay meets it.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// Its op; ops come in order, from 1, without holes.
    pub op: u64,
    /// Book time of its frame, in microseconds since the Unix epoch.
    pub book_time_us: i64,
    /// The event's bytes.
    pub event: &'a [u8],
    /// Whether the frame ends with it.
    pub last_in_frame: bool,
}

/// A frame of the book, verified as a whole.
pub(crate) struct Seen<'a> {
    pub(crate) header: &'a FrameHeader,
    pub(crate) frame: &'a Frame<'a>,
    /// Where it ends, and what was counted up to there.
    pub(crate) end: Waypoint,
    /// The segment's file.
    pub(crate) file: &'a Arc<str>,
}

/// Why a walk ends before the book does.
pub(crate) enum Halt {
    /// Whoever is shown the frames has seen enough.
    Enough,
    Error(JournalError),
}

impl From<JournalError> for Halt {
    fn from(error: JournalError) -> Self {
        Self::Error(error)
    }
}

/// Who is shown the frames, in the order of the book.
pub(crate) type Sink<'a> = dyn FnMut(Seen<'_>) -> Result<(), Halt> + 'a;

/// The state of the chain between two frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Chain {
    pub(crate) head: Head,
    pub(crate) time_us: i64,
    /// Whether the last frame holds events, and so still lacks a witness.
    pub(crate) unwitnessed: bool,
}

impl Chain {
    /// Behind a frame.
    pub(crate) fn after(header: &FrameHeader) -> Self {
        let head = Head { op: header.first_op + u64::from(header.count) - 1, hash: header.hash };
        Self { head, time_us: header.book_time_us, unwitnessed: header.kind == FrameKind::Events }
    }
}

/// A segment that was walked.
pub(crate) struct WalkedSegment {
    pub(crate) segment: Segment,
    /// The chain before its first frame.
    pub(crate) start: Chain,
    /// Where its last frame ends.
    pub(crate) end: u64,
}

/// How far a walk has come.
pub(crate) struct Progress {
    pub(crate) chain: Chain,
    pub(crate) counts: Counts,
    pub(crate) catalogue: Catalogue,
    /// The place behind which frames are shown, until the walk has met it.
    pub(crate) sought: Option<Waypoint>,
}

impl Progress {
    pub(crate) fn at(chain: Chain) -> Self {
        Self { chain, counts: Counts::default(), catalogue: Catalogue::default(), sought: None }
    }

    /// Goes on to the end of a frame, at `place`.
    fn advance(&mut self, header: &FrameHeader, place: Place) -> Waypoint {
        let frame_bytes = to_u64(header.frame_bytes());
        self.chain = Chain::after(header);
        self.counts = self.counts.plus(Counts { frames: 1, frame_bytes });
        self.catalogue.note(header.first_op, place, frame_bytes);
        Waypoint {
            op: self.chain.head.op,
            hash: header.hash,
            book_time_us: header.book_time_us,
            segment: place.segment,
            frame_offset: place.offset,
            offset: place.offset + frame_bytes,
            frames: self.counts.frames,
            frame_bytes: self.counts.frame_bytes,
        }
    }

    /// Whether a frame that ends at `end` is to be shown. From the place that was sought on, the counts are of the whole book.
    fn shows(&mut self, end: &Waypoint) -> bool {
        let Some(sought) = self.sought else {
            return true;
        };
        let (frames, frame_bytes) = (sought.frames, sought.frame_bytes);
        if (Waypoint { frames, frame_bytes, ..*end }) == sought {
            self.counts = Counts { frames, frame_bytes };
            self.catalogue.counted(self.counts);
            self.sought = None;
        }
        false
    }
}

/// A book that was walked to its end.
pub(crate) struct Walked {
    pub(crate) genesis: Genesis,
    /// Which copy is in use of each segment up to the tail.
    pub(crate) copies: Vec<u32>,
    /// The segment before the tail, if it was walked.
    pub(crate) before: Option<WalkedSegment>,
    /// The segment that the next frame goes to.
    pub(crate) tail: WalkedSegment,
    /// Segments made ahead.
    pub(crate) spares: Vec<Segment>,
    pub(crate) rest: Rest,
    pub(crate) progress: Progress,
}

/// How the book ends.
pub(crate) struct Rest {
    pub(crate) case: Case,
    /// The segment's file.
    pub(crate) name: String,
    /// The end of the last frame.
    pub(crate) offset: u64,
    /// Bytes from there to the last that is not zero: none of a frame.
    pub(crate) torn_bytes: u64,
    pub(crate) detail: &'static str,
}

/// Walks all segments, or those from `from` on, and shows the frames behind it. `files.copies` is not empty.
///
/// The segment that holds `from` is verified from its first frame. If the book does not hold the frame of `from`, all of it up to
/// its end is looked at before that is said.
pub(crate) fn walk(
    disk: &dyn Disk,
    files: &SegmentFiles,
    from: Option<&Waypoint>,
    sink: &mut Sink<'_>,
) -> Result<Walked, Halt> {
    let (genesis, hash) = read_genesis(disk, files.copies.first().copied().unwrap_or(0))?;
    let head = Head { op: 0, hash };
    let mut progress = Progress::at(Chain { head, time_us: genesis.created_at_us, unwitnessed: false });
    progress.sought = from.copied();
    let first = skip_to(disk, files, &genesis, from, &mut progress)?;
    let (mut before, mut tail, mut spares) = (None, None, Vec::new());
    let mut ended: Option<Rest> = None;
    for (index, copy) in (0u32..).zip(files.copies.iter().copied()).skip(to_usize(first.into())) {
        let segment = open_segment(disk, index, copy, &genesis)?;
        let mut reader = Reader::new(&segment, genesis.segment_key(index))?;
        let start = progress.chain;
        let mut end = first_frame_offset(index);
        if let Some(rest) = &ended {
            check_spare(&mut reader, end, rest)?;
            spares.push(segment);
        } else {
            ended = walk_segment(&mut reader, index, &mut progress, &mut end, sink)?;
            before = tail.replace(WalkedSegment { segment, start, end });
        }
    }
    if let Some(from) = progress.sought {
        return Err(Halt::Error(not_on_book(&from, progress.chain.head)));
    }
    if let (Some(rest), Some(tail)) = (ended, tail) {
        let copies = files.copies.iter().copied().take(to_usize(tail.segment.header.index.into()) + 1).collect();
        return Ok(Walked { genesis, copies, before, tail, spares, rest, progress });
    }
    let missing = segment_name(to_u32(files.copies.len()), 0);
    let detail = "the seal of the segment before it says that it is there";
    Err(Halt::Error(JournalError::damaged(Case::SealWithoutSuccessor, &missing, 0, detail)))
}

/// Notes the segments before the one of `from`, by their headers and those of their first frames, and sets the chain to
/// where that one begins. Returns the segment to walk first: the very first if there is no frame where `from` leads.
fn skip_to(
    disk: &dyn Disk,
    files: &SegmentFiles,
    genesis: &Genesis,
    from: Option<&Waypoint>,
    progress: &mut Progress,
) -> Result<u32, JournalError> {
    let Some(target) = from.map(|from| from.segment).filter(|target| *target > 0) else {
        return Ok(0);
    };
    let mut catalogue = Catalogue::default();
    for (index, copy) in (0..=target).zip(files.copies.iter().copied()) {
        let segment = open_segment(disk, index, copy, genesis)?;
        let offset = first_frame_offset(index);
        let page = read_page(&*segment.file, offset, &segment.name())?;
        let Ok(header) = FrameHeader::decode(&page, &genesis.segment_key(index)) else {
            // The end of the book, or damage: the walk over all of it says which.
            return Ok(0);
        };
        if index == target {
            let head = Head { op: header.first_op.saturating_sub(1), hash: header.previous_hash };
            progress.chain = Chain { head, time_us: header.book_time_us, unwitnessed: false };
            progress.catalogue = catalogue;
            return Ok(target);
        }
        catalogue.skip(header.first_op);
    }
    Ok(0)
}

/// A book that ends before a place that was once durable has lost something; one that goes on past it has another past.
fn not_on_book(from: &Waypoint, head: Head) -> JournalError {
    if head.op < from.op {
        JournalError::EndsBefore { known_op: from.op, book_op: head.op }
    } else {
        JournalError::NotOnBook { op: from.op, segment: segment_name(from.segment, 0), offset: from.frame_offset }
    }
}

/// Where the frames of a segment begin.
pub(crate) fn first_frame_offset(index: u32) -> u64 {
    if index == 0 { 2 * PAGE } else { PAGE }
}

/// Reads the genesis, and the hash with which the chain begins.
pub(crate) fn read_genesis(disk: &dyn Disk, copy: u32) -> Result<(Genesis, [u8; 32]), JournalError> {
    let name = segment_name(0, copy);
    let file = disk.open(&name).map_err(JournalError::io("open", &name))?;
    let page = read_page(&*file, PAGE, &name)?;
    Genesis::decode(&page).map_err(|fault| page_damage(fault, Case::BadGenesis, &name, PAGE))
}

fn read_page(file: &dyn DiskFile, offset: u64, name: &str) -> Result<[u8; PAGE_BYTES], JournalError> {
    let mut page = [0; PAGE_BYTES];
    file.read_at(&mut page, offset).map_err(JournalError::io("read", name))?;
    Ok(page)
}

fn page_damage(fault: PageFault, case: Case, name: &str, offset: u64) -> JournalError {
    match fault {
        PageFault::Bad(what) => JournalError::damaged(case, name, offset, what),
        PageFault::Version(version) => {
            JournalError::damaged(Case::UnknownVersion, name, offset, format!("it is of format version {version}"))
        }
    }
}

/// Opens a segment's file and checks its header against its name and the book's.
pub(crate) fn open_segment(disk: &dyn Disk, index: u32, copy: u32, genesis: &Genesis) -> Result<Segment, JournalError> {
    let name = segment_name(index, copy);
    let file = disk.open(&name).map_err(JournalError::io("open", &name))?;
    let header = SegmentHeader::decode(&read_page(&*file, 0, &name)?)
        .map_err(|fault| page_damage(fault, Case::BadSegmentHeader, &name, 0))?;
    if (header.index, header.copy, header.book_id) != (index, copy, genesis.book_id) {
        let detail = "it is of another book, or was another segment's file";
        return Err(JournalError::damaged(Case::BadSegmentHeader, &name, 0, detail));
    }
    Ok(Segment { header, file })
}

/// Walks the frames of one segment. `None` if it is sealed, and else how the book ends in it.
pub(crate) fn walk_segment(
    reader: &mut Reader,
    index: u32,
    progress: &mut Progress,
    end: &mut u64,
    sink: &mut Sink<'_>,
) -> Result<Option<Rest>, Halt> {
    let file: Arc<str> = reader.name.as_str().into();
    while *end + PAGE <= reader.size {
        let (key, page) = (reader.key, reader.page(*end)?);
        if is_zero(page) {
            let rest = end_of_book(reader, *end, Case::LostHeader, "a page is empty, and later ones are not")?;
            return Ok(Some(rest));
        }
        let header = match FrameHeader::decode(page, &key) {
            Ok(header) => header,
            Err(PageFault::Bad(what)) => {
                return Ok(Some(end_of_book(reader, *end, Case::TornHeader, what)?));
            }
            Err(fault) => return Err(page_damage(fault, Case::UnknownVersion, &reader.name, *end).into()),
        };
        check_continues(reader, &header, &progress.chain, *end)?;
        let place = Place { segment: index, offset: *end };
        match visit_frame(
            &header,
            reader.slice(*end, header.frame_bytes())?,
            place,
            progress,
            &mut |header, frame, end| sink(Seen { header, frame, end, file: &file }),
        ) {
            Ok(()) => {}
            Err(FrameFault::Torn(fault)) => {
                let at = *end + to_u64(fault.at);
                let rest = end_of_book(reader, *end, Case::TornBody, fault.what);
                return Ok(Some(rest.map_err(|error| error.moved_to(at))?));
            }
            Err(FrameFault::Halt(halt)) => return Err(halt),
        }
        *end += to_u64(header.frame_bytes());
        if header.kind == FrameKind::Seal {
            return Ok(check_sealed(reader, *end).map(|()| None)?);
        }
    }
    Err(Halt::Error(reader.damaged(Case::BrokenChain, *end, "the frames leave no room for the seal")))
}

/// A frame whose header is sound continues the chain, or the book is not what was written.
fn check_continues(reader: &Reader, header: &FrameHeader, chain: &Chain, offset: u64) -> Result<(), JournalError> {
    let room = reader.size - offset;
    let what = if header.previous_hash != chain.head.hash {
        "the frame names another frame as the one before it"
    } else if header.first_op != chain.head.op + 1 {
        "the frame's ops are not the next"
    } else if header.book_time_us < chain.time_us {
        "the frame is older than the one before it"
    } else if to_u64(header.frame_bytes()) > room {
        "the frame is longer than its segment"
    } else if [header.count, header.block_count].map(|n| n > 0) != [header.kind == FrameKind::Events; 2] {
        "the frame's events are not of its kind"
    } else {
        return Ok(());
    };
    Err(reader.damaged(Case::BrokenChain, offset, what))
}

enum FrameFault {
    /// Not what was written.
    Torn(Fault),
    Halt(Halt),
}

/// Verifies a frame as a whole, then shows it if it is to be shown.
fn visit_frame(
    header: &FrameHeader,
    bytes: &[u8],
    place: Place,
    progress: &mut Progress,
    show: &mut dyn FnMut(&FrameHeader, &Frame<'_>, Waypoint) -> Result<(), Halt>,
) -> Result<(), FrameFault> {
    let frame = Frame::verify(header, bytes).map_err(FrameFault::Torn)?;
    frame.blocks().map_err(FrameFault::Torn)?;
    let end = progress.advance(header, place);
    if progress.shows(&end) { show(header, &frame, end).map_err(FrameFault::Halt) } else { Ok(()) }
}

/// Decides, for a segment without a sound frame at `offset`, whether the book may end there.
fn end_of_book(reader: &mut Reader, offset: u64, case: Case, detail: &'static str) -> Result<Rest, JournalError> {
    let survey = reader.survey(offset)?;
    if let Some(header) = survey.header {
        let detail = format!("{detail}, and a sound frame follows at byte {header}");
        return Err(reader.damaged(Case::DamagedFrame, offset, detail));
    }
    let (case, detail) = match survey.first_used {
        Some(_) => (case, detail),
        None if reader.length < reader.size => (Case::ShortTail, "the file is shorter than it was made"),
        None => (Case::CleanEnd, "nothing follows"),
    };
    Ok(Rest { case, name: reader.name.clone(), offset, torn_bytes: survey.used_end - offset, detail })
}

/// Behind a seal there is nothing, and all of it is there.
fn check_sealed(reader: &mut Reader, end: u64) -> Result<(), JournalError> {
    if let Some(used) = reader.survey(end)?.first_used {
        return Err(reader.damaged(Case::BytesAfterSeal, used, "there is something behind the seal"));
    }
    if reader.length < reader.size {
        let detail = format!("it has {} bytes of {}", reader.length, reader.size);
        return Err(reader.damaged(Case::ShortSegment, reader.length, detail));
    }
    Ok(())
}

/// A segment after the end of the book was made ahead and never written: else the end is not one.
fn check_spare(reader: &mut Reader, start: u64, rest: &Rest) -> Result<(), JournalError> {
    let key = reader.key;
    let first = FrameHeader::decode(reader.page(start)?, &key).is_ok();
    let survey = reader.survey(start)?;
    if first || survey.header.is_some() {
        let (case, what) = match rest.case {
            Case::CleanEnd | Case::ShortTail => (Case::LostSeal, "the segment ends here without a seal"),
            _ => (Case::DamagedFrame, rest.detail),
        };
        let detail = format!("{what}, and {} holds sound frames", reader.name);
        return Err(JournalError::damaged(case, &rest.name, rest.offset, detail));
    }
    match survey.first_used {
        Some(used) => Err(reader.damaged(Case::DirtySpare, used, "the book has not come this far")),
        None => Ok(()),
    }
}

impl JournalError {
    /// The same damage, seen more closely.
    fn moved_to(self, at: u64) -> Self {
        match self {
            Self::Damaged { file, case, detail, .. } => Self::Damaged { file, offset: at, case, detail },
            other => other,
        }
    }
}
