//! Every limit of the store, related by compile-time assertions.

use std::time::Duration;

use crate::constants::BLOCK_BYTES_MAX;

/// Bytes of one value in a shelf. A sled leaf holds up to sixteen values, and one over a quarter of a segment goes to a
/// file of its own in `blobs/`, which nobody syncs: so sixteen values and their keys stay under it.
pub const VALUE_BYTES_MAX: usize = 12 * 1024;
/// Bytes that precede the payload of a value: op and checksum.
pub const VALUE_HEADER_BYTES: usize = 8 + CHECK_BYTES;
/// Bytes of the checksum of a value, and of what names an index or a filter.
pub const CHECK_BYTES: usize = 16;
/// Bytes of a blob (a page, a meta, a trial balance, a filter, an index) that lie in one value.
pub const CHUNK_BYTES_MAX: usize = VALUE_BYTES_MAX - VALUE_HEADER_BYTES - CHUNK_HEADER_BYTES;
/// Bytes that precede a blob's part in a value: the blob's whole length.
pub const CHUNK_HEADER_BYTES: usize = 4;
/// Bytes of a blob.
pub const BLOB_BYTES_MAX: usize = CHUNK_BYTES_MAX * (u16::MAX as usize + 1);
/// Bytes of values that are gathered before they are written together.
pub const WRITE_BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Bytes written to a folder after which they are synced: many small waits for the device, so that one long one at the end
/// of a checkpoint does not hold up the journal's syncs.
pub const SYNC_STRIDE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of a segment of a sled database.
pub const SLED_SEGMENT_BYTES: usize = 1024 * 1024;
/// Bytes that sled is told to cache of one database. It holds itself to this only roughly: see [`SLED_READ_BYTES_MAX`].
pub const SLED_CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes read from a database, by leaves, or written to it after which it is opened anew, since sled's cache counts late
/// and grows past its bound.
pub const SLED_READ_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes of changes after which a writer waits until sled has written them. Each segment of its log is written by one of
/// sled's own threads, which then takes the lock of the segments. Where the log grows, sled 0.34.7 holds that lock and waits
/// until the file is as short as it was made before (`SegmentAccountant::bump_tip`), which is work for one of the same
/// threads: were all of them waiting for the lock, nothing would ever go on. So fewer segments than that are under way, where
/// keys come in order, as they do; whatever hangs all the same fails after [`SHELF_TIME_MAX`].
pub const SLED_STRIDE_BYTES: usize = 512 * 1024;
/// What sled writes for changes in the order of their keys, in times of their bytes, at most: 1.2 was measured where
/// [`super::shelf::Shelf::write`] is given many of them, 2.5 where each is given alone.
pub const SLED_STRIDE_TIMES: usize = 3;
/// Threads that sled never lets go of.
pub const SLED_THREADS: usize = 7;
/// Values that a leaf of sled holds at most.
pub const SLED_LEAF_VALUES: usize = 16;
/// Values that a leaf holds when it was filled in order: what one look-up brings into sled's cache.
pub const SLED_LEAF_VALUES_USUAL: usize = 8;
/// Time in which a database opens or closes, a stride is written, or the next page arrives; one that takes longer hangs.
pub const SHELF_TIME_MAX: Duration = Duration::from_secs(60);

/// Bytes of the image of one page: all counters of caps that a book may hold, were they of the members of one page.
pub const PAGE_IMAGE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Folders that the pages of one checkpoint lie in. When there are so many, the next checkpoint is whole.
pub const PAGE_FOLDERS_MAX: usize = 12;
/// Pages that are read ahead of a load, for each folder.
pub const PAGES_READ_AHEAD: usize = 8;
/// Tenths of what the newest checkpoint's pages hold that their folders may take on disk before the next one is whole.
pub const OUTGROWN_TENTHS: u64 = 23;
/// Trial balances remembered. Beyond it every second one of the older half goes.
pub const TRIALS_MAX: usize = 4_096;
/// Metas kept.
pub const METAS_KEPT: usize = 2;

/// Partitions of the keys, by the first byte of the print.
pub const PARTITIONS: usize = 256;
/// Runs of one partition at which some of them are merged.
pub const RUNS_MERGED_AT: usize = 6;
/// Runs of one partition, newer than those of a merge under way, at which some of them are merged first.
pub const RUNS_MERGED_FIRST_AT: usize = 4;
/// Runs of one partition, and so filters that a look-up probes, at most: where merges do not keep up. At this many a seal
/// waits for a merge of two or for the end of one under way, or writes the newest one again with what it adds.
pub const RUNS_PER_PARTITION_MAX: usize = 10;
/// Keys under one filter: what building one takes is bounded by it, some 40 bytes a key.
pub const FILTER_KEYS_MAX: usize = 1 << 20;
/// Bytes of one entry: the print without the byte that its partition says, and the op counted from its run's base.
pub const ENTRY_BYTES: usize = 7 + 6;
/// Entries in one block of a run: about 4 KiB, so that a leaf of sled, which is what it reads, stays small too.
pub const ENTRIES_PER_BLOCK: usize = 4 * 1024 / ENTRY_BYTES;
/// Blocks that a merge reads at a time.
pub const BLOCKS_READ_AHEAD: usize = 64;
/// Ops that one run may span.
pub const RUN_OPS_MAX: u64 = (1 << 48) - 1;
/// Entries in one seal.
pub const SEAL_ENTRIES_MAX: usize = 1 << 28;

const _: () = assert!(
    (SLED_LEAF_VALUES + 4) * (VALUE_BYTES_MAX + 64) < SLED_SEGMENT_BYTES / 4,
    "a leaf, the greatest that a merge of two makes included, lies in the log and not in blobs"
);
const _: () = assert!(
    2 * ((SLED_STRIDE_BYTES + VALUE_BYTES_MAX) * SLED_STRIDE_TIMES / SLED_SEGMENT_BYTES + 2) < SLED_THREADS,
    "two strides, the first and last segment of each in part, since a thread may still want the lock when its stride is \
     written, leave one of sled's threads for what is not a segment"
);
const _: () = assert!(
    ENTRIES_PER_BLOCK * ENTRY_BYTES + VALUE_HEADER_BYTES <= VALUE_BYTES_MAX && VALUE_BYTES_MAX <= BLOCK_BYTES_MAX,
    "a block of a run lies in one value, and a value is no larger than a block of the book"
);
const _: () =
    assert!(PAGE_IMAGE_BYTES_MAX <= BLOB_BYTES_MAX && BLOB_BYTES_MAX < u32::MAX as usize, "lengths are 32 bits wide");
const _: () = assert!(PARTITIONS == 1 << u8::BITS, "a partition is a byte");
const _: () = assert!(
    RUNS_MERGED_AT + RUNS_MERGED_FIRST_AT <= RUNS_PER_PARTITION_MAX,
    "while all runs of a partition are in a merge, so many newer ones come that they may be merged first"
);
