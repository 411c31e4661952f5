//! The journal alone, by the size of its frames: `cargo bench --bench journal`. What a command costs at each other stage is in
//! `stages`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use stampbook::io::RealDisk;
use stampbook::journal::{FrameBuilder, Genesis, Journal, JournalOptions};

const NOW_US: i64 = 1_800_000_000_000_000;

fn journal(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let genesis =
        Genesis { book_id: [1; 16], secret: [2; 32], incarnation: 0, parent: None, created_at_us: 0, event_format: 1 };
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let mut opened = Journal::open(disk, || genesis, JournalOptions::default(), &mut |_| Ok(())).unwrap();
    let mut group = c.benchmark_group("frame, chained, written and synced");
    for events in [1_u64, 1_000, 8_000] {
        group.throughput(Throughput::Elements(events));
        group.bench_function(format!("{events} events of 100 bytes"), |b| {
            b.iter_batched(
                || {
                    let mut frame = FrameBuilder::new(opened.book.head().op + 1, NOW_US);
                    (0..events).for_each(|_| assert!(frame.push(&[5; 100]).is_ok()));
                    Arc::new(frame.close())
                },
                |frame| opened.writer.append(frame).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
