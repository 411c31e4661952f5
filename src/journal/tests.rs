//! What the journal does when nothing goes wrong, and what it refuses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::ErrorKind;
use std::sync::Arc;

use crate::io::sim::SimDisk;
use crate::io::{Disk, RealDisk};

use super::fixtures::{book_of, event, frame, genesis, open, options, scan_all};
use super::{Case, FrameBuilder, Head, Journal, JournalError, JournalOptions, genesis_of, scan};

fn no_visit(_: super::Visit<'_>) -> Result<(), String> {
    Ok(())
}

#[test]
fn what_was_appended_is_read_back_at_once_and_after_a_restart() {
    let disk = SimDisk::new(1);
    let (mut opened, events) = open(&disk).unwrap();
    assert!(events.is_empty());
    assert_eq!(opened.recovery.case, Case::NewBook);
    let mut op = 1;
    for count in [1, 3, 20, 1, 50, 7, 30, 2] {
        let head = opened.writer.append(frame(op, count)).unwrap();
        op += count;
        assert_eq!((head.op, opened.book.head(), opened.book.durable_op()), (op - 1, head, op - 1));
    }
    let check = |book: &super::Book| {
        for op in 1..op {
            let stored = book.read(op).unwrap();
            assert_eq!((stored.op, &stored.bytes), (op, &event(op)));
            let whole = book.read_frame_of(op).unwrap();
            assert_eq!((whole.event(op).unwrap(), whole.book_time_us()), (&event(op)[..], stored.book_time_us));
            let block = book.read_block_of(op).unwrap();
            assert_eq!((block.event(op), block.book_time_us()), (Some(&event(op)[..]), stored.book_time_us));
            let others = (0..op + 100).filter_map(|op| Some((op, block.event(op)?)));
            assert!(others.into_iter().all(|(op, bytes)| bytes == event(op)));
        }
        for absent in [0, op, u64::MAX] {
            assert!(matches!(book.read(absent), Err(JournalError::NotFound(found)) if found == absent));
        }
    };
    check(&opened.book);
    let before = opened.book.head();
    drop(opened);
    let (opened, events) = open(&disk).unwrap();
    assert_eq!(events, (1..op).map(event).collect::<Vec<_>>());
    assert_eq!(opened.recovery.case, Case::CleanEnd);
    assert!(opened.recovery.segments >= 3, "{:?}", opened.recovery);
    assert_eq!((opened.book.head().op, opened.genesis.clone()), (before.op, genesis()));
    check(&opened.book);
}

#[test]
fn an_event_of_the_greatest_size_and_frames_of_many_blocks_are_read_back() {
    let disk = SimDisk::new(1);
    let options = JournalOptions::with_segment_bytes(1 << 20);
    let mut opened = Journal::open(Arc::new(disk.clone()), genesis, options, &mut no_visit).unwrap();
    let mut builder = FrameBuilder::new(1, 2_000);
    let lengths = [15 * 1024, 1, 0, 15 * 1024, 4096, 4096, 4096, 4096, 16, 15 * 1024];
    for (fill, length) in (1u8..).zip(lengths) {
        builder.push(&vec![fill; length]).unwrap();
    }
    opened.writer.append(Arc::new(builder.close())).unwrap();
    let whole = opened.book.read_frame_of(3).unwrap();
    for ((op, fill), length) in (1..).zip(1u8..).zip(lengths) {
        assert_eq!(opened.book.read(op).unwrap().bytes, vec![fill; length]);
        assert_eq!(whole.event(op).unwrap(), vec![fill; length]);
    }
    let mut last = Vec::new();
    scan(
        &disk,
        &mut |visit| {
            last.push(visit.last_in_frame);
            Ok(())
        },
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(last.iter().position(|last| *last), Some(lengths.len() - 1));
}

#[test]
fn the_catalogue_finds_every_op_of_a_book_of_many_small_and_large_frames() {
    let disk = SimDisk::new(1);
    let open =
        || Journal::open(Arc::new(disk.clone()), genesis, JournalOptions::with_segment_bytes(1 << 18), &mut no_visit);
    let mut opened = open().unwrap();
    let mut op = 1;
    for round in 0..120 {
        let count = if round % 10 == 0 { 300 } else { 1 };
        opened.writer.append(frame(op, count)).unwrap();
        op += count;
    }
    for restart in [false, true] {
        if restart {
            drop(opened);
            opened = open().unwrap();
        }
        assert!((1..op).all(|op| opened.book.read(op).unwrap().bytes == event(op)));
    }
}

#[test]
fn a_witness_is_written_once_and_a_restart_leaves_the_book_witnessed() {
    let disk = SimDisk::new(1);
    let (mut opened, _) = open(&disk).unwrap();
    let empty = opened.writer.witness().unwrap();
    assert_eq!(empty, Head { op: 0, hash: genesis().encode().1 });
    let head = opened.writer.append(frame(1, 2)).unwrap();
    let witnessed = opened.writer.witness().unwrap();
    assert_eq!(witnessed.op, head.op);
    assert_ne!(witnessed.hash, head.hash);
    assert_eq!(opened.writer.witness().unwrap(), witnessed);
    assert_eq!(opened.book.head(), witnessed);
    let last = opened.writer.append(frame(3, 1)).unwrap();
    drop(opened);
    let (opened, _) = open(&disk).unwrap();
    assert_ne!(opened.book.head().hash, last.hash);
    let again = opened.book.head();
    drop(opened);
    assert_eq!(open(&disk).unwrap().0.book.head(), again);
}

#[test]
fn two_books_of_the_same_events_have_the_same_heads_and_one_other_byte_changes_all_later_ones() {
    let heads = |changed: bool| {
        let disk = SimDisk::new(1);
        let (mut opened, _) = open(&disk).unwrap();
        let mut heads = Vec::new();
        for op in 1..6 {
            let mut builder = FrameBuilder::new(op, 5_000);
            builder.push(&[u8::from(changed && op == 3)]).unwrap();
            heads.push(opened.writer.append(Arc::new(builder.close())).unwrap());
        }
        let mut scanned = Vec::new();
        scan(&disk, &mut no_visit, &mut |head| scanned.push(head)).unwrap();
        assert!(heads.iter().all(|head| scanned.contains(head)));
        heads
    };
    let (one, same, other) = (heads(false), heads(false), heads(true));
    assert_eq!(one, same);
    assert_eq!(one[..2], other[..2]);
    assert!((2..5).all(|at| one[at].hash != other[at].hash));
}

#[test]
fn a_frame_that_does_not_continue_the_book_is_refused_and_latches() {
    for (first_op, time) in [(1, 9_000), (4, 9_000), (3, 1_000)] {
        let disk = SimDisk::new(1);
        let (mut opened, _) = open(&disk).unwrap();
        opened.writer.append(frame(1, 2)).unwrap();
        let mut builder = FrameBuilder::new(first_op, time);
        builder.push(b"x").unwrap();
        let refused = opened.writer.append(Arc::new(builder.close()));
        assert!(matches!(refused, Err(JournalError::OutOfOrder { .. })), "{refused:?}");
        assert!(matches!(opened.writer.append(frame(3, 1)), Err(JournalError::Latched)));
        assert!(matches!(opened.writer.witness(), Err(JournalError::Latched)));
    }
}

#[test]
fn a_frame_without_events_changes_nothing() {
    let disk = SimDisk::new(1);
    let (mut opened, _) = open(&disk).unwrap();
    let before = (opened.book.head(), disk.operations());
    let head = opened.writer.append(Arc::new(FrameBuilder::new(1, 5_000).close())).unwrap();
    assert_eq!((head, disk.operations()), before);
}

#[test]
fn a_frame_that_no_segment_holds_is_refused() {
    let disk = SimDisk::new(1);
    let (mut opened, _) = open(&disk).unwrap();
    assert!(matches!(opened.writer.append(frame(1, 400)), Err(JournalError::TooLarge { .. })));
}

#[test]
fn a_full_disk_is_named_and_latches() {
    let disk = SimDisk::new(1);
    let (mut opened, _) = open(&disk).unwrap();
    opened.writer.append(frame(1, 1)).unwrap();
    disk.fail_at_with(disk.operations() + 1, ErrorKind::StorageFull);
    assert!(matches!(opened.writer.append(frame(2, 1)), Err(JournalError::Full { .. })));
    assert!(matches!(opened.writer.append(frame(2, 1)), Err(JournalError::Latched)));
    assert_eq!(opened.book.durable_op(), 1);
}

#[test]
fn a_second_opener_is_refused_until_the_writer_is_gone() {
    let disk = SimDisk::new(1);
    let (opened, _) = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(JournalError::Locked)));
    let book = opened.book.clone();
    drop(opened);
    open(&disk).unwrap();
    assert_eq!(book.durable_op(), 0);
}

#[test]
fn an_event_that_the_visitor_refuses_is_damage_at_its_frame() {
    let disk = book_of(&[1, 1, 2], true);
    let refused = Journal::open(Arc::new(disk), genesis, options(), &mut |visit| match visit.op {
        2 => Err("its legs do not sum to zero".to_owned()),
        _ => Ok(()),
    });
    let error = refused.err().unwrap();
    assert!(error.to_string().contains("legs do not sum"), "{error}");
    let JournalError::Damaged { case: Case::EventRefused, offset, .. } = error else { panic!("{error}") };
    assert_eq!(offset, 3 * 4096);
}

#[test]
fn the_genesis_is_kept_and_found_before_the_replay() {
    assert_eq!(genesis_of(&SimDisk::new(1)).unwrap(), None);
    let parent = super::Parent { book_id: [9; 16], op: 77, hash: [8; 32] };
    let restored = super::Genesis { incarnation: 1, parent: Some(parent), ..genesis() };
    let disk = SimDisk::new(1);
    drop(Journal::open(Arc::new(disk.clone()), || restored.clone(), options(), &mut no_visit).unwrap());
    assert_eq!(genesis_of(&disk).unwrap(), Some(restored.clone()));
    let opened = Journal::open(Arc::new(disk), || unreachable!(), options(), &mut no_visit).unwrap();
    assert_eq!(opened.genesis, restored);
}

#[test]
fn options_that_make_no_segment_are_refused() {
    for bytes in [0, 4096 * 4, 4096 * 6 + 1] {
        let opened =
            Journal::open(Arc::new(SimDisk::new(1)), genesis, JournalOptions::with_segment_bytes(bytes), &mut no_visit);
        assert!(matches!(opened, Err(JournalError::Options(_))));
    }
}

#[test]
fn a_scan_of_an_empty_directory_says_that_there_is_no_book() {
    assert!(matches!(scan_all(&SimDisk::new(1)), Err(JournalError::NoBook)));
}

#[test]
fn on_a_real_disk_segments_are_made_ahead_and_the_book_survives_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut op = 1;
    for round in 0..4 {
        let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
        let mut events = Vec::new();
        let mut opened = Journal::open(disk.clone(), genesis, options(), &mut |visit| {
            events.push(visit.event.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(events, (1..op).map(event).collect::<Vec<_>>(), "round {round}");
        for count in [1, 5, 20, 2, 2] {
            opened.writer.append(frame(op, count)).unwrap();
            op += count;
        }
        assert_eq!(opened.book.read(op - 1).unwrap().bytes, event(op - 1));
        assert!(matches!(Journal::open(disk.clone(), genesis, options(), &mut no_visit), Err(JournalError::Locked)));
        drop(opened);
        let unfinished = disk.list().unwrap().into_iter().filter(|name| name.ends_with(".new"));
        assert!(unfinished.count() <= 1);
    }
    assert_eq!(scan_all(&RealDisk::open_existing(dir.path()).unwrap()).unwrap(), op - 1);
}
