//! Opening behind a place in the book, and finding places in it, agree with reading all of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use crate::io::sim::{Crash, SimDisk};
use crate::io::{Disk, RealDisk};

use super::fixtures::{book_of, event, frame, genesis, open, options};
use super::{
    Book, Case, FrameBody, FrameBuilder, Journal, JournalError, Opened, Preparer, Replay, Waypoint, genesis_of, scan,
    scan_from, scan_to,
};

/// Remembers all that it is shown.
#[derive(Default)]
struct Follower {
    ops: Vec<u64>,
    ends: Vec<Waypoint>,
    refuse: Option<u64>,
}

impl Replay for Follower {
    type Frame = FrameBody;

    fn preparer(&self) -> Preparer<FrameBody> {
        Box::new(|body| body)
    }

    fn events(&mut self, frame: &FrameBody, upto: u64) -> Result<(), String> {
        for (op, shown) in (frame.first_op()..=upto).zip(frame.events()) {
            assert_eq!(shown, event(op));
            self.ops.push(op);
            if self.refuse == Some(op) {
                return Err(format!("op {op}: not this one"));
            }
        }
        Ok(())
    }

    fn frame_end(&mut self, at: &Waypoint) -> Result<(), String> {
        self.ends.push(*at);
        Ok(())
    }
}

fn open_at(disk: &Arc<dyn Disk>, from: Option<&Waypoint>) -> Result<(Opened, Follower), JournalError> {
    let mut follower = Follower::default();
    let opened = Journal::open_from(disk.clone(), genesis, options(), from, &mut follower)?;
    Ok((opened, follower))
}

fn copy(disk: &SimDisk) -> SimDisk {
    disk.crash(Crash::Kept)
}

const COUNTS: [u64; 10] = [1, 60, 2, 1, 60, 1, 3, 40, 60, 2];
const EVENTS: u64 = 230;

/// Frames of one to three pages over four segments.
fn four_segments() -> SimDisk {
    let disk = book_of(&COUNTS, true);
    assert!(disk.bytes_of("segment-00000003.0000").is_some());
    disk
}

fn ends(disk: &SimDisk) -> Vec<Waypoint> {
    let mut follower = Follower::default();
    let report = scan_from(disk, None, &mut follower).unwrap();
    assert_eq!((report.head.op, follower.ops.len()), (EVENTS, usize::try_from(EVENTS).unwrap()));
    follower.ends
}

#[test]
fn opening_behind_any_frame_shows_the_rest_and_reports_the_same_book() {
    let disk = four_segments();
    let whole = scan(&disk, &mut |_| Ok(()), &mut |_| {}).unwrap();
    for from in ends(&disk) {
        let disk: Arc<dyn Disk> = Arc::new(copy(&disk));
        let (mut opened, follower) = open_at(&disk, Some(&from)).unwrap();
        assert_eq!(follower.ops, (from.op + 1..=EVENTS).collect::<Vec<_>>());
        assert_eq!(opened.recovery.replayed_events, EVENTS - from.op);
        let (found, all) = (&opened.recovery, &whole.recovery);
        assert_eq!((found.frames, found.frame_bytes, found.events), (all.frames, all.frame_bytes, all.events));
        assert_eq!((found.case, found.segments, opened.book.head()), (all.case, all.segments, whole.head));
        for op in 1..=EVENTS {
            assert_eq!(opened.book.read(op).unwrap().bytes, event(op), "op {op} behind {from:?}");
        }
        let head = opened.writer.append(frame(EVENTS + 1, 30)).unwrap();
        assert_eq!(opened.book.read(EVENTS + 30).unwrap().bytes, event(EVENTS + 30));
        drop(opened);
        let (again, follower) = open_at(&disk, Some(&from)).unwrap();
        assert_eq!(
            (again.book.durable_op(), follower.ops.len()),
            (head.op, usize::try_from(head.op - from.op).unwrap())
        );
    }
}

#[test]
fn a_frame_end_shown_in_replay_is_the_waypoint_that_the_book_gives_however_it_was_opened() {
    let disk = four_segments();
    let ends = ends(&disk);
    let of_events: Vec<_> = ends.iter().enumerate().filter(|(at, end)| *at == 0 || ends[at - 1].op < end.op).collect();
    assert_eq!(of_events.len(), COUNTS.len());
    for from in [None, Some(&ends[2]), ends.last()] {
        let (opened, _) = open_at(&(Arc::new(copy(&disk)) as Arc<dyn Disk>), from).unwrap();
        for (_, end) in &of_events {
            assert_eq!(opened.book.waypoint_at(end.op).unwrap(), **end);
        }
        assert!(matches!(opened.book.waypoint_at(30), Err(JournalError::NotAFrameEnd(30))));
        for absent in [0, EVENTS + 1] {
            assert!(matches!(opened.book.waypoint_at(absent), Err(JournalError::NotFound(_))));
        }
    }
}

#[test]
fn the_bytes_of_all_frames_are_counted_on_while_the_book_grows() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let (mut opened, _) = open_at(&disk, None).unwrap();
    assert_eq!(opened.book.frame_bytes(), 0);
    opened.writer.append(frame(1, 1)).unwrap();
    assert_eq!(opened.book.frame_bytes(), 4096);
    let head = opened.writer.append(frame(2, 60)).unwrap();
    let at = opened.book.waypoint_at(head.op).unwrap();
    assert_eq!((at.frame_bytes, at.frames, at.hash), (opened.book.frame_bytes(), 2, head.hash));
    opened.writer.witness().unwrap();
    let bytes = opened.book.frame_bytes();
    drop(opened);
    let (opened, _) = open_at(&disk, Some(&at)).unwrap();
    assert_eq!(opened.book.frame_bytes(), bytes);
}

/// Opening is refused, and every file is as it was.
fn refused(disk: &SimDisk, from: &Waypoint) -> JournalError {
    let files = |disk: &SimDisk| disk.list().unwrap().into_iter().map(|name| disk.bytes_of(&name)).collect::<Vec<_>>();
    let before = files(disk);
    let error = open_at(&(Arc::new(disk.clone()) as Arc<dyn Disk>), Some(from)).err().unwrap();
    assert_eq!(files(disk), before);
    error
}

#[test]
fn a_book_that_ends_before_the_place_says_both_ops() {
    let disk = four_segments();
    let last = *ends(&disk).iter().rev().nth(1).unwrap();
    assert_eq!(last.op, EVENTS);
    for (counts, op) in [(&COUNTS[..9], EVENTS - 2), (&COUNTS[..2], 61), (&[][..], 0)] {
        let shorter = book_of(counts, true);
        let error = refused(&shorter, &last);
        let JournalError::EndsBefore { known_op: EVENTS, book_op } = error else { panic!("{error}") };
        assert_eq!(book_op, op);
        assert!(error.to_string().contains(&format!("op {op}, and it held op {EVENTS}")), "{error}");
    }
    let nothing = SimDisk::new(1);
    assert!(matches!(refused(&nothing, &last), JournalError::EndsBefore { known_op: EVENTS, book_op: 0 }));
    // A frame that was torn away is gone as well: it is not cut off quietly.
    let disk = book_of(&COUNTS, false);
    let name = format!("segment-{:08}.0000", last.segment);
    disk.flip(&name, usize::try_from(last.frame_offset).unwrap() + 130, 1);
    assert!(matches!(refused(&disk, &last), JournalError::EndsBefore { book_op: 228, .. }));
}

#[test]
fn a_book_with_another_past_is_told_from_one_that_ends_early() {
    let disk = four_segments();
    let at = ends(&disk)[4];
    for other in [
        Waypoint { hash: [9; 32], ..at },
        Waypoint { op: at.op - 1, ..at },
        Waypoint { book_time_us: at.book_time_us + 1, ..at },
        Waypoint { frame_offset: at.frame_offset + 4096, ..at },
        Waypoint { offset: at.offset + 1, ..at },
        Waypoint { segment: 0, ..at },
        Waypoint { segment: 77, ..at },
    ] {
        let error = refused(&disk, &other);
        assert!(matches!(error, JournalError::NotOnBook { op, .. } if op == other.op), "{error}");
    }
    assert!(open_at(&(Arc::new(disk) as Arc<dyn Disk>), Some(&at)).is_ok());
}

#[test]
fn damage_in_the_segment_of_the_place_or_behind_it_is_refused_and_before_it_is_found_when_read() {
    let disk = four_segments();
    let ends = ends(&disk);
    let at = *ends.iter().find(|end| end.segment == 2).unwrap();
    let first_of = |segment: u32| *ends.iter().find(|end| end.segment == segment).unwrap();
    for segment in [2, 3] {
        let hurt = copy(&disk);
        let frame = first_of(segment);
        hurt.flip(&format!("segment-{segment:08}.0000"), usize::try_from(frame.frame_offset).unwrap() + 125, 1);
        assert!(matches!(refused(&hurt, &at), JournalError::Damaged { case: Case::DamagedFrame, .. }));
    }
    let hurt = copy(&disk);
    hurt.flip("segment-00000001.0000", usize::try_from(first_of(1).frame_offset).unwrap() + 125, 1);
    let (opened, _) = open_at(&(Arc::new(hurt) as Arc<dyn Disk>), Some(&at)).unwrap();
    let damaged = opened.book.read(first_of(1).op);
    assert!(matches!(&damaged, Err(JournalError::Damaged { file, .. }) if file == "segment-00000001.0000"));
    // The headers of the segments before the place are held to what they are.
    for (name, at_byte) in [("segment-00000001.0000", 17), ("segment-00000000.0000", 4096 + 50)] {
        let hurt = copy(&disk);
        hurt.flip(name, at_byte, 1);
        assert!(matches!(refused(&hurt, &at), JournalError::Damaged { .. }));
    }
    let hurt = copy(&disk);
    hurt.take("segment-00000001.0000");
    assert!(matches!(refused(&hurt, &at), JournalError::Damaged { case: Case::MissingSegment, .. }));
}

#[test]
fn an_op_at_a_time_is_the_newest_of_the_last_frame_not_after_it() {
    let disk = SimDisk::new(1);
    let (mut opened, _) = open(&disk).unwrap();
    // Frames of one and of sixty events, two frames to a time.
    let (mut op, mut times) = (1, vec![(1_999, 0)]);
    for round in 0..40 {
        let time = 2_000 + round / 2 * 10;
        let mut builder = FrameBuilder::new(op, time);
        for _ in 0..if round % 3 == 0 { 60 } else { 1 } {
            op = builder.push(&event(op)).unwrap() + 1;
        }
        opened.writer.append(Arc::new(builder.close())).unwrap();
        if round % 5 == 0 {
            opened.writer.witness().unwrap();
        }
        times.push((time, op - 1));
    }
    let expected = |time: i64| times.iter().rev().find(|(of, _)| *of <= time).map_or(0, |(_, op)| *op);
    let from = opened.book.waypoint_at(times[30].1).unwrap();
    let check = |book: &Book| {
        for time in [i64::MIN, 0, i64::MAX].into_iter().chain(1_990..2_210) {
            assert_eq!(book.op_at_time(time).unwrap(), expected(time), "at {time}");
        }
    };
    check(&opened.book);
    drop(opened);
    check(&open_at(&(Arc::new(disk) as Arc<dyn Disk>), Some(&from)).unwrap().0.book);
    let empty = open(&SimDisk::new(2)).unwrap().0;
    assert_eq!(empty.book.op_at_time(i64::MAX).unwrap(), 0);
}

#[test]
fn a_scan_to_an_op_shows_all_up_to_it_even_inside_a_frame() {
    let disk = four_segments();
    let from = ends(&disk)[3];
    for (from, first) in [(None, 1), (Some(&from), from.op + 1)] {
        for op in first..=EVENTS {
            let mut follower = Follower::default();
            scan_to(&disk, from, op, &mut follower).unwrap();
            assert_eq!(follower.ops, (first..=op).collect::<Vec<_>>());
        }
    }
    let mut follower = Follower::default();
    scan_to(&disk, Some(&from), from.op, &mut follower).unwrap();
    assert!(follower.ops.is_empty());
    let beyond = scan_to(&disk, None, EVENTS + 1, &mut follower);
    assert!(matches!(beyond, Err(JournalError::NotFound(op)) if op == EVENTS + 1));
}

#[test]
fn on_a_real_disk_reading_ahead_shows_the_same_and_reports_what_comes_first_in_the_book() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (mut opened, _) = open_at(&disk, None).unwrap();
    let mut op = 1;
    for count in COUNTS.iter().cycle().take(200) {
        opened.writer.append(frame(op, *count)).unwrap();
        op += count;
    }
    let from = opened.book.waypoint_at(op - 1 - COUNTS[9] - COUNTS[8]).unwrap();
    drop(opened);
    let (opened, follower) = open_at(&disk, None).unwrap();
    assert_eq!(follower.ops, (1..op).collect::<Vec<_>>());
    assert!(opened.recovery.segments > 50 && opened.recovery.replayed_events == op - 1);
    drop(opened);
    let (opened, follower) = open_at(&disk, Some(&from)).unwrap();
    assert_eq!(follower.ops, (from.op + 1..op).collect::<Vec<_>>());
    drop(opened);
    // The frame behind the refused event is damaged; the refusal comes first.
    let name = disk.list().unwrap().into_iter().find(|name| name.starts_with("segment-00000040")).unwrap();
    let path = dir.path().join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 125] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut follower = Follower { refuse: Some(100), ..Follower::default() };
    let error = scan_from(&*disk, None, &mut follower).err().unwrap();
    assert!(matches!(&error, JournalError::Damaged { case: Case::EventRefused, .. }), "{error}");
    assert!(error.to_string().contains("op 100: not this one"));
    assert_eq!(follower.ops.last(), Some(&100));
    let mut follower = Follower::default();
    let error = scan_from(&*disk, None, &mut follower).err().unwrap();
    assert!(matches!(error, JournalError::Damaged { case: Case::DamagedFrame, .. }), "{error}");
    assert!(follower.ops.len() > 1_000, "what comes before the damage is shown");
    assert!(genesis_of(&*disk).unwrap().is_some());
}
