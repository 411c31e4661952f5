//! Damage: refused where the book had gone on, cut where a crash could have left it, and told apart by name.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use crate::constants::PAGE_BYTES;
use crate::io::Disk;
use crate::io::sim::SimDisk;

use super::fixtures::{SEGMENT_BYTES, book_of, event, frame, genesis, open, scan_all};
use super::layout::{FrameHeader, FrameKind};
use super::{Case, JournalError, RecoveryReport, scan, to_u64, to_usize};

/// A frame of a test book: its segment, where it lies in the file, and what it is.
#[derive(Debug, Clone, Copy)]
struct Extent {
    segment: u32,
    start: usize,
    end: usize,
    kind: FrameKind,
}

/// The file of a segment of a book that was never restarted.
fn file(segment: u32) -> String {
    format!("segment-{segment:08}.0000")
}

/// All frames, in order.
fn frames(disk: &SimDisk) -> Vec<Extent> {
    let mut frames = Vec::new();
    for segment in 0.. {
        let Some(bytes) = disk.bytes_of(&file(segment)) else {
            return frames;
        };
        let mut start = if segment == 0 { 2 * PAGE_BYTES } else { PAGE_BYTES };
        while let Ok(header) = FrameHeader::decode(&bytes[start..], &genesis().segment_key(segment)) {
            let end = start + header.frame_bytes();
            frames.push(Extent { segment, start, end, kind: header.kind });
            start = end;
            if start == bytes.len() {
                break;
            }
        }
    }
    frames
}

/// Three segments with frames of one and two pages, and a spare.
fn three_segments(witnessed: bool) -> (SimDisk, Vec<Extent>) {
    let disk = book_of(&[1, 60, 2, 1, 60, 1], witnessed);
    let frames = frames(&disk);
    assert_eq!(frames.last().unwrap().segment, 2);
    assert!(frames.iter().any(|frame| frame.end - frame.start > PAGE_BYTES));
    (disk, frames)
}

fn files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    disk.list().unwrap().into_iter().map(|name| (name.clone(), disk.bytes_of(&name).unwrap())).collect()
}

fn damage(disk: &SimDisk) -> (String, usize, Case) {
    match scan_all(disk) {
        Err(JournalError::Damaged { file, offset, case, .. }) => (file, to_usize(offset), case),
        other => panic!("not refused: {other:?}"),
    }
}

/// Opening refuses as well, and leaves every file as it is.
fn assert_open_refuses(disk: &SimDisk) {
    let before = files(disk);
    assert!(matches!(open(disk), Err(JournalError::Damaged { .. })));
    assert_eq!(files(disk), before);
}

#[test]
fn every_flip_before_the_last_frame_is_refused_with_its_place() {
    let (disk, frames) = three_segments(true);
    let last = *frames.last().unwrap();
    assert_eq!(last.kind, FrameKind::Witness);
    for segment in 0..=last.segment {
        let end = if segment == last.segment { last.start } else { to_usize(SEGMENT_BYTES) };
        for at in 0..end {
            disk.flip(&file(segment), at, 1 << (at % 8));
            let (damaged, offset, case) = damage(&disk);
            let frame = frames.iter().find(|frame| frame.segment == segment && (frame.start..frame.end).contains(&at));
            let extent = match frame {
                Some(frame) => frame.start..frame.end,
                None if case == Case::BytesAfterSeal => at..at + 1,
                None => at / PAGE_BYTES * PAGE_BYTES..(at / PAGE_BYTES + 1) * PAGE_BYTES,
            };
            assert!(damaged == file(segment) && extent.contains(&offset), "{damaged} {at}: {case:?} at {offset}");
            if at % 997 == 0 {
                assert_open_refuses(&disk);
            }
            disk.flip(&file(segment), at, 1 << (at % 8));
        }
    }
    assert_eq!(scan_all(&disk).unwrap(), 125);
}

/// Opens a book whose last frame, with which op 5 begins, was changed in a tail of `bytes`; returns how.
fn open_cut(before: &SimDisk, tail: &str, bytes: &[u8], last: Extent) -> RecoveryReport {
    let disk = before.crash(crate::io::sim::Crash::Kept);
    disk.put(tail, bytes);
    let scanned = scan(&disk, &mut |_| Ok(()), &mut |_| {}).unwrap().recovery;
    let (mut opened, events) = open(&disk).unwrap();
    let kept = bytes.get(last.start..).unwrap_or_default();
    let used = kept.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let cut = opened.recovery.cut_file.clone();
    if events.len() == 4 {
        assert_eq!(opened.recovery.torn_bytes, to_u64(used));
        assert_eq!(cut.is_some(), used > 0);
        assert!(cut.is_none_or(|cut| cut == "cut-5" && disk.bytes_of(&cut).unwrap() == kept[..used]));
    }
    assert_eq!(events, (1..=to_u64(events.len())).map(event).collect::<Vec<_>>());
    // A scan says the same and does not cut.
    let RecoveryReport { cut_file, walk_us, rehome_us, .. } = opened.recovery.clone();
    let said = RecoveryReport { cut_file, walk_us, rehome_us, ..scanned };
    assert_eq!(said, opened.recovery);
    // The book goes on, and is clean.
    let next = to_u64(events.len()) + 1;
    opened.writer.append(frame(next, 1)).unwrap();
    let recovery = opened.recovery.clone();
    drop(opened);
    assert_eq!(scan_all(&disk).unwrap(), next);
    recovery
}

#[test]
fn an_unwitnessed_last_frame_that_is_not_whole_is_cut_loudly_and_all_before_it_is_kept() {
    let disk = book_of(&[1, 1, 2, 1], false);
    let last = *frames(&disk).last().unwrap();
    assert_eq!((last.kind, last.segment), (FrameKind::Events, 1));
    let tail = file(last.segment);
    let whole = disk.bytes_of(&tail).unwrap();
    let used = last.start + whole[last.start..last.end].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for at in last.start..last.end {
        let truncated = whole[..at].to_vec();
        let mut zeroed = whole.clone();
        zeroed[at..last.end].fill(0);
        let mut overwritten = whole.clone();
        overwritten[at] ^= 0xa5;
        let mut garbled = whole.clone();
        garbled[at..last.end].fill(0xa5);
        for (how, bytes) in
            [("truncated", truncated), ("zeroed", zeroed), ("overwritten", overwritten), ("garbled", garbled)]
        {
            // Beyond the frame's content all bytes look alike; a sample of them will do.
            if at > used && at % 64 != 0 {
                continue;
            }
            let recovery = open_cut(&disk, &tail, &bytes, last);
            let lacks_only_zeros = at >= used && matches!(how, "truncated" | "zeroed");
            let wiped = at == last.start && how == "zeroed";
            assert_eq!(recovery.events, if lacks_only_zeros { 5 } else { 4 }, "{how} from {at}");
            let loud = recovery.case != Case::CleanEnd;
            assert_eq!(loud, how == "truncated" || !(lacks_only_zeros || wiped), "{how} from {at}: {recovery:?}");
        }
    }
}

#[test]
fn a_missing_segment_is_damage_whichever_it_is() {
    let (disk, _) = three_segments(true);
    for missing in 0..3 {
        let disk = disk.crash(crate::io::sim::Crash::Kept);
        disk.take(&file(missing));
        assert_eq!(damage(&disk), (file(missing), 0, Case::MissingSegment));
        assert_open_refuses(&disk);
    }
    disk.take(&file(3));
    assert_eq!(scan_all(&disk).unwrap(), 125, "a spare is not missed");
    disk.take(&file(2));
    assert_eq!(damage(&disk), (file(2), 0, Case::SealWithoutSuccessor));
    assert_open_refuses(&disk);
}

#[test]
fn two_crashes_at_the_same_op_keep_the_bytes_of_both() {
    let disk = book_of(&[1, 1], false);
    let frame = frames(&disk)[1];
    disk.flip(&file(0), frame.start + 130, 1);
    drop(open(&disk).unwrap());
    let tail = disk.list().unwrap().into_iter().find(|name| name.starts_with("segment-00000000")).unwrap();
    disk.flip(&tail, frame.start + 5000, 1);
    let (opened, events) = open(&disk).unwrap();
    assert_eq!((events.len(), opened.recovery.cut_file.as_deref()), (1, Some("cut-2.2")));
    assert_ne!(disk.bytes_of("cut-2").unwrap(), disk.bytes_of("cut-2.2").unwrap());
}

#[test]
fn a_torn_first_frame_of_a_segment_is_cut_and_the_seal_before_it_kept() {
    let disk = book_of(&[1, 1, 1, 1], false);
    let frame = *frames(&disk).last().unwrap();
    assert_eq!((frame.segment, frame.start), (1, PAGE_BYTES));
    disk.flip(&file(1), frame.start + 7, 1);
    let (opened, events) = open(&disk).unwrap();
    assert_eq!((events.len(), opened.recovery.case), (3, Case::TornHeader));
    drop(opened);
    assert_eq!(scan_all(&disk).unwrap(), 3);
}

/// How a book of three segments is changed, and the case it then is.
fn changed(change: impl FnOnce(&SimDisk, &[Extent])) -> (String, usize, Case) {
    let (disk, frames) = three_segments(true);
    change(&disk, &frames);
    let found = damage(&disk);
    assert_open_refuses(&disk);
    found
}

fn edit(disk: &SimDisk, segment: u32, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.bytes_of(&file(segment)).unwrap();
    edit(&mut bytes);
    disk.put(&file(segment), &bytes);
}

#[test]
fn each_refused_case_has_its_name() {
    let wipe = |disk: &SimDisk, frame: Extent| edit(disk, frame.segment, |bytes| bytes[frame.start..frame.end].fill(0));
    assert_eq!(changed(|disk, frames| wipe(disk, frames[0])), (file(0), 8192, Case::DamagedFrame));
    let lost_seal = changed(|disk, frames| wipe(disk, *frames.iter().find(|f| f.kind == FrameKind::Seal).unwrap()));
    assert_eq!((lost_seal.0, lost_seal.2), (file(0), Case::LostSeal));
    let swapped = changed(|disk, _| edit(disk, 1, |bytes| bytes.copy_within(4096..8192, 8192)));
    assert_eq!((swapped.0, swapped.2), (file(1), Case::BrokenChain));
    assert_eq!(changed(|disk, _| disk.flip(&file(2), 17, 1)), (file(2), 0, Case::BadSegmentHeader));
    assert_eq!(changed(|disk, _| disk.flip(&file(0), 4096 + 50, 1)), (file(0), 4096, Case::BadGenesis));
    assert_eq!(changed(|disk, _| disk.flip(&file(3), 9999, 1)), (file(3), 9999, Case::DirtySpare));
    let renamed = changed(|disk, _| disk.put(&file(2), &disk.bytes_of(&file(1)).unwrap()));
    assert_eq!((renamed.0, renamed.2), (file(2), Case::BadSegmentHeader));
    let later = changed(|disk, _| {
        edit(disk, 1, |bytes| {
            bytes[8] = 2;
            let hash = blake3::hash(&bytes[..48]);
            bytes[48..80].copy_from_slice(hash.as_bytes());
        });
    });
    assert_eq!((later.0, later.2), (file(1), Case::UnknownVersion));
}

#[test]
fn a_sealed_segment_is_held_to_its_length_and_to_its_zeros() {
    // The second frame is too long for the rest of the first segment, and leaves a page of it unused.
    let make = || book_of(&[1, 1, 60, 1], true);
    let seal = *frames(&make()).iter().find(|frame| frame.kind == FrameKind::Seal).unwrap();
    assert_eq!((seal.segment, seal.end), (0, to_usize(SEGMENT_BYTES) - PAGE_BYTES));
    let disk = make();
    disk.flip(&file(0), seal.end + 9, 1);
    assert_eq!(damage(&disk), (file(0), seal.end + 9, Case::BytesAfterSeal));
    let disk = make();
    edit(&disk, 0, |bytes| bytes.truncate(seal.end + 9));
    assert_eq!(damage(&disk), (file(0), seal.end + 9, Case::ShortSegment));
}

#[test]
fn each_cut_case_has_its_name() {
    let case = |change: &dyn Fn(&mut Vec<u8>, Extent)| {
        let disk = book_of(&[1, 60], false);
        let frame = frames(&disk)[1];
        assert_eq!((frame.segment, frame.end - frame.start), (0, 2 * PAGE_BYTES));
        edit(&disk, 0, |bytes| change(bytes, frame));
        let (opened, events) = open(&disk).unwrap();
        assert_eq!(events.len(), 1);
        opened.recovery.case
    };
    assert_eq!(case(&|bytes, frame| bytes[frame.start + 20] ^= 1), Case::TornHeader);
    assert_eq!(case(&|bytes, frame| bytes[frame.start + 200] ^= 1), Case::TornBody);
    assert_eq!(case(&|bytes, frame| bytes[frame.start..frame.start + PAGE_BYTES].fill(0)), Case::LostHeader);
    assert_eq!(case(&|bytes, frame| bytes.truncate(frame.start)), Case::ShortTail);
    assert_eq!(case(&|bytes, frame| bytes[frame.start..frame.end].fill(0)), Case::CleanEnd);
}

#[test]
fn an_event_read_from_a_book_that_rots_under_the_server_is_refused() {
    let disk = SimDisk::new(1);
    let (mut opened, _) = open(&disk).unwrap();
    opened.writer.append(frame(1, 60)).unwrap();
    let lies = frames(&disk)[0];
    let bytes = disk.bytes_of(&file(0)).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for at in lies.start..used {
        disk.flip(&file(0), at, 4);
        let (one, whole) = (opened.book.read(40), opened.book.read_frame_of(40));
        for refused in [one.map(|_| ()), whole.map(|_| ())] {
            assert!(matches!(refused, Err(JournalError::Damaged { .. })), "byte {at}: {refused:?}");
        }
        disk.flip(&file(0), at, 4);
    }
    assert_eq!(opened.book.read(40).unwrap().bytes, event(40));
}

#[test]
fn the_format_page_names_every_case() {
    let page = include_str!("../FORMAT.md");
    for case in [
        Case::NewBook,
        Case::CleanEnd,
        Case::TornHeader,
        Case::TornBody,
        Case::LostHeader,
        Case::ShortTail,
        Case::DamagedFrame,
        Case::BrokenChain,
        Case::BadSegmentHeader,
        Case::BadGenesis,
        Case::MissingSegment,
        Case::SealWithoutSuccessor,
        Case::LostSeal,
        Case::ShortSegment,
        Case::BytesAfterSeal,
        Case::DirtySpare,
        Case::EventRefused,
        Case::UnknownVersion,
    ] {
        assert!(page.contains(&format!("| `{}` |", case.name())), "{}", case.name());
    }
}
