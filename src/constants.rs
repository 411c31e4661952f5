//! The limits that more than one part knows, related by compile-time assertions: the design is checked before it runs. Those of one
//! part stand in it (`store/limits.rs`, `program/mod.rs`, `ledger/state.rs`).
//!
//! Units and qualifiers come last in a name (`_BYTES_MAX`, `_MS`). A limit that a client can meet is answered
//! with INVALID or SHED; one that it cannot meet is an assertion here.

// --- What a client may send ---------------------------------------------------------------------------------

/// Commands in one batch request, and so in one atomic batch.
pub const COMMANDS_PER_BATCH_MAX: usize = 10_000;
/// Bytes of one gRPC message.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that gRPC puts before a message; they count as in flight with it.
pub const MESSAGE_PREFIX_BYTES: usize = 5;
/// Bytes of a member's id; at least one.
pub const MEMBER_ID_BYTES_MAX: usize = 64;
/// Bytes of an idempotency key; at least one.
pub const KEY_BYTES_MAX: usize = 128;
/// Pairs of metadata on a command.
pub const METADATA_PAIRS_MAX: usize = 8;
/// Bytes of all metadata of a command, keys and values together.
pub const METADATA_BYTES_MAX: usize = 512;
/// Points that one command may move.
pub const POINTS_MAX: i64 = 1_000_000_000_000;
/// The greatest amount of money in one command, in minor units of the program's currency.
pub const AMOUNT_MINOR_MAX: i64 = 1_000_000_000_000;

/// Bytes of a program's or a campaign's id; at least one.
pub const PROGRAM_ID_BYTES_MAX: usize = 64;
/// Bytes of an asset's id; at least one.
pub const ASSET_ID_BYTES_MAX: usize = 64;
/// Bytes of a reward's id; at least one.
pub const REWARD_ID_BYTES_MAX: usize = 64;
/// Bytes of a reward's name; at least one.
pub const REWARD_NAME_BYTES_MAX: usize = 128;
/// Pieces of a reward that one command moves.
pub const PIECES_MAX: i64 = 1_000_000;
/// Bytes of a tag of members.
pub const TAG_BYTES_MAX: usize = 64;
/// Tags that a member has.
pub const TAGS_PER_MEMBER_MAX: usize = 32;
/// Bytes of a reference.
pub const REFERENCE_BYTES_MAX: usize = 128;
/// Bytes of a channel, partner or location.
pub const PLACE_BYTES_MAX: usize = 64;
/// Bytes of an event kind.
pub const EVENT_KIND_BYTES_MAX: usize = 64;
/// Bytes of an actor's name; at least one.
pub const ACTOR_BYTES_MAX: usize = 64;
/// Bytes of an actor's reason; at least one.
pub const ACTOR_REASON_BYTES_MAX: usize = 256;
/// Commands in one message of a stream.
pub const STREAM_ITEMS_MAX: usize = 1_000;
/// Members in one read of balances.
pub const MEMBERS_PER_READ_MAX: usize = 1_000;
/// The earliest business time that has a calendar date in every time zone: 0001-01-03, in microseconds since the Unix epoch.
pub const OCCURRED_US_MIN: i64 = -62_135_424_000_000_000;
/// The latest business time that has a calendar date in every time zone: 9999-12-28, in microseconds since the Unix epoch.
pub const OCCURRED_US_MAX: i64 = 253_401_955_200_000_000;

/// Remarks on a program's definition that one answer holds.
pub const REMARKS_SHOWN_MAX: usize = 32;

// --- What a reader may ask ----------------------------------------------------------------------------------

/// Days ahead that a question about lapsing units may look.
pub const EXPIRING_DAYS_MAX: u32 = 3_660;
/// Microseconds of a day of 24 hours.
pub const US_PER_DAY: i64 = 24 * 3_600 * 1_000_000;
/// Events on a page of a statement.
pub const PAGE_EVENTS_MAX: usize = 500;
/// Events on a page of a statement when the caller does not say.
pub const PAGE_EVENTS_DEFAULT: usize = 50;
/// Events that one page of a statement may look at.
pub const PAGE_SCAN_EVENTS_MAX: usize = 10_000;

/// Reads of past trial balances that run at a time; others wait, for each may read much of the book.
pub const PAST_READS_MAX: usize = 2;
/// Roll-forwards that are made at a time; others wait, for each holds up to `audit::roll_forward::RUNS_MAX` runs.
pub const ROLL_FORWARDS_MAX: usize = 1;
/// Exports and backups that run at a time, over all connections.
pub const EXPORTS_MAX: usize = 2;
/// Bytes of file in one message of an export or a backup.
pub const FILE_CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Messages of an export or a backup that wait for the caller to read them.
pub const FILE_CHUNKS_WAITING_MAX: usize = 4;
/// Files of a backup, segments of a book, and so files that a caller may say it has.
pub const HELD_FILES_MAX: usize = 100_000;

// --- What is in flight --------------------------------------------------------------------------------------

/// Bytes of requests between arrival and answer, over all connections.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Requests waiting for the engine; one request is one item, however many commands it carries.
pub const QUEUE_REQUESTS_MAX: usize = 8_192;
/// Requests between headers and answer, over all connections; a stream counts as one.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 32_768;
/// Requests that one connection may have open at a time.
pub const REQUESTS_PER_CONNECTION_MAX: u32 = 1_024;
/// Requests of one connection that its client may have ended before we came to look at them; at one more the connection is closed, since whoever
/// opens requests only to end them costs work and waits for nothing. As many as may be open, so that a client all of whose calls reach their
/// deadline at once is not taken for one; the library would allow 20.
pub const RESETS_PER_CONNECTION_MAX: usize = 1_024;
/// Commands of one stream between arrival and answer.
pub const STREAM_COMMANDS_IN_FLIGHT_MAX: usize = 16_384;
/// Groups of commands of one stream between arrival and answer.
pub const STREAM_GROUPS_IN_FLIGHT_MAX: usize = 64;
/// A stream gathers commands that have arrived until it has this many, then sends them to the engine together.
pub const STREAM_GROUP_COMMANDS: usize = 500;
/// Frames that the engine may have decided and the journal not yet synced.
pub const FRAMES_AHEAD_MAX: usize = 2;
/// What a view of the state may keep of slots that changed since it was begun, in bytes; past it nothing new is taken.
pub const CAPTURE_LOG_BYTES_MAX: usize = 192 * 1024 * 1024;
/// The folder of the store in the data directory: it can be removed at any time while no server runs.
pub const STORE_DIR: &str = "store";
/// The folder of the snapshots in the data directory.
pub const SNAPSHOTS_DIR: &str = "snapshots";
/// Keys that a generation holds in memory before a run is made of it.
///
/// Its tables are at most three quarters full and grow by doubling: this many fit the size before the next doubling, at 24
/// bytes a key.
pub const KEYS_PER_GENERATION: u64 = 2_800_000;
/// Bytes of filters over older keys, unless the settings say otherwise: enough for some 450 million keys.
pub const KEY_FILTER_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Generations of keys that may wait to become runs; past it nothing new is taken.
pub const GENERATIONS_SEALING_MAX: usize = 4;
/// Requests for snapshots that may wait for another checkpoint or snapshot to be over.
pub const SNAPSHOTS_WAITING_MAX: usize = 16;
/// How far the book may be ahead of the newest checkpoint, unless the settings say otherwise, in bytes.
pub const TAIL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How long a book that grows goes without a checkpoint, unless the settings say otherwise, in seconds.
pub const CHECKPOINT_SECONDS: u64 = 600;
/// Idle time after which the last frame of the book gets a witness, in milliseconds.
pub const IDLE_WITNESS_MS: u64 = 10;

// --- The book's clock ---------------------------------------------------------------------------------------

/// How far the wall clock may run ahead of the book's time and the time that has passed since, in microseconds: past it nothing
/// is written until an operator confirms the time. An operator's own clock may differ from the server's by as much.
pub const CLOCK_AHEAD_US_MAX: i64 = 5 * 60 * 1_000_000;
/// The same at a start, when nobody knows how much time has passed: how far it may be ahead of the newest event.
pub const CLOCK_AHEAD_AT_START_US_MAX: i64 = 30 * 24 * 3_600 * 1_000_000;

// --- Events, blocks, frames, segments (drawn in FORMAT.md) ----------------------------------------------------

/// Bytes of the event of one member's command.
pub const EVENT_BYTES_MAX: usize = 5 * 1024;
/// Bytes of an event of a program's definition, and so of any event: one event lies in one block.
pub const PROGRAM_EVENT_BYTES_MAX: usize = 15 * 1024;
/// Bytes of the event of one member's command together with the events of the lots that are merged behind it, and their
/// offsets.
pub const COMMAND_BYTES_MAX: usize = 5 * 1024 + 640;
/// Events of what falls due by itself that one frame takes on beside what callers ask.
pub const DUE_EVENTS_PER_FRAME: usize = 128;
/// Events of what falls due that one request has written of members whose holds are over and reserve pieces which it wants: one
/// for each command of the greatest batch. Where more are needed it is not decided, and to be sent
/// again; what is of a stream goes on instead, so much at a time.
pub const FREEING_EVENTS_MAX: usize = COMMANDS_PER_BATCH_MAX;
/// Pages of members that the sweep looks through at a time.
pub const DUE_PAGES_PER_LOOK: usize = 4;
/// How long the sweep rests when nothing is due, in microseconds.
pub const DUE_REST_US: i64 = 1_000_000;
/// Bytes of a block, its table of offsets included.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one entry in a block's table of offsets.
pub const EVENT_OFFSET_BYTES: usize = 2;
/// Bytes of a block's entry in the index of its frame.
pub const BLOCK_ENTRY_BYTES: usize = 40;
/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 120;
/// Frames and headers begin and end on this boundary, so that no write touches a sector of a synced frame.
pub const PAGE_BYTES: usize = 4 * 1024;
/// Bytes of a frame, padding included.
pub const FRAME_BYTES_MAX: usize = 56 * 1024 * 1024;
/// Bytes of a segment file unless the options say otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 128 * 1024 * 1024;
/// Bytes of book that one entry of the op -> frame catalogue covers at least.
pub const CATALOGUE_STRIDE_BYTES: u64 = 64 * 1024;
/// Tables of segments that the catalogue keeps in memory beside that of the last one; each is 32 KiB at most for a segment of
/// the default size. A table that is missed is built again from the headers of the segment's frames.
pub const CATALOGUE_TABLES_MAX: usize = 1_024;
/// Bytes of frames that a replay reads ahead in one hand-over, unless one frame is larger.
pub const REPLAY_HANDOVER_BYTES: usize = 1024 * 1024;
/// Hand-overs that a replay may have read ahead of what it has shown.
pub const REPLAY_HANDOVERS_AHEAD_MAX: usize = 2;
/// Events whose memory a replay brings near together before it follows the first of them.
pub const REPLAY_PASS_EVENTS: usize = 64;
/// Bytes of the manifest of a backup.
pub const BACKUP_MANIFEST_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Segment files that readers keep open at a time.
pub const SEGMENTS_OPEN_MAX: usize = 64;

/// A closed block of members' events is at least this full: the next event did not fit.
const BLOCK_FILL_BYTES_MIN: usize = BLOCK_BYTES_MAX - (EVENT_BYTES_MAX + EVENT_OFFSET_BYTES) + 1;
/// Events and offsets of the greatest batch.
const BATCH_BYTES_MAX: usize = COMMANDS_PER_BATCH_MAX * (COMMAND_BYTES_MAX + EVENT_OFFSET_BYTES);
/// Blocks of the greatest batch, the open one and the one that a full frame holds in reserve included.
const BATCH_BLOCKS_MAX: usize = BATCH_BYTES_MAX / BLOCK_FILL_BYTES_MIN + 2;

const _: () = assert!(
    FRAME_HEADER_BYTES + BATCH_BYTES_MAX + BATCH_BLOCKS_MAX * BLOCK_ENTRY_BYTES + PAGE_BYTES <= FRAME_BYTES_MAX,
    "the greatest legal atomic batch lies in one frame"
);
const _: () = assert!(
    2 * FRAME_BYTES_MAX as u64 + 3 * PAGE_BYTES as u64 <= SEGMENT_BYTES_DEFAULT,
    "a segment holds two of the greatest frames beside its header, the genesis and its seal"
);
const _: () = assert!(
    PROGRAM_EVENT_BYTES_MAX + EVENT_OFFSET_BYTES <= BLOCK_BYTES_MAX && EVENT_BYTES_MAX <= PROGRAM_EVENT_BYTES_MAX,
    "every event fits a block with its offset"
);
const _: () = assert!(BLOCK_BYTES_MAX <= 1 << 16, "offsets in a block are 16 bits wide");
const _: () = assert!(FRAME_BYTES_MAX < 1 << 32, "lengths in a frame are 32 bits wide");
const _: () = assert!(
    FRAME_BYTES_MAX.is_multiple_of(PAGE_BYTES) && SEGMENT_BYTES_DEFAULT.is_multiple_of(PAGE_BYTES as u64),
    "frames and segments are whole pages"
);
const _: () = assert!(FRAME_HEADER_BYTES <= PAGE_BYTES, "a frame's header lies in its first page");
const _: () = assert!(
    MESSAGE_PREFIX_BYTES + MESSAGE_BYTES_MAX <= IN_FLIGHT_BYTES_MAX,
    "the greatest message can be admitted when nothing else is"
);
const _: () = assert!(
    RESETS_PER_CONNECTION_MAX == REQUESTS_PER_CONNECTION_MAX as usize,
    "a client may end all of its calls at once"
);
const _: () = assert!(
    MEMBER_ID_BYTES_MAX + KEY_BYTES_MAX + METADATA_BYTES_MAX < EVENT_BYTES_MAX / 4,
    "what a client names leaves most of an event to what happened"
);
const _: () = assert!(
    POINTS_MAX == AMOUNT_MINOR_MAX,
    "points and money of one command have one bound, so that either may stand for the other in a rate of one to one"
);
const _: () = assert!(
    POINTS_MAX as u64 * (COMMANDS_PER_BATCH_MAX as u64) < i64::MAX as u64,
    "a batch of the greatest movements sums without overflow"
);
