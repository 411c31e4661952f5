//! The recorded trade of `loadtest/data` as a book with a snapshot at its end.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use stampbook::audit::snapshot::{ManifestInput, SnapshotWriter};
use stampbook::constants::SNAPSHOTS_DIR;
use stampbook::io::RealDisk;
use stampbook::journal::{FrameBuilder, Genesis, Journal, JournalOptions, Writer};
use stampbook::ledger::command::{Action, AdminAction, AdminCommand, Basis, Command, Notes, Original};
use stampbook::ledger::event::Event;
use stampbook::ledger::ids::{AssetNo, ProgramNo};
use stampbook::ledger::print::Prints;
use stampbook::ledger::view::ProgramTrial;
use stampbook::ledger::{Decision, Ledger, Limits, Moment, codec};
use tempfile::TempDir;

const PROGRAM: &str = "online-retail";
const SECRET: [u8; 32] = [5; 32];
const BEGAN_US: i64 = 1_767_225_600_000_000;
/// Events of one frame, and a minute of book time between frames.
const FRAME_EVENTS: u64 = 1_000;
const FRAME_US: i64 = 60_000_000;

/// A book on a disk, and what the ledger says of it.
pub(crate) struct Trace {
    pub(crate) folder: TempDir,
    pub(crate) trial: Vec<ProgramTrial>,
    pub(crate) op: u64,
}

impl Trace {
    /// The directory of the book.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest").join(path)
}

struct Keeper {
    ledger: Ledger,
    prints: Prints,
    writer: Writer,
    open: Option<FrameBuilder>,
    now_us: i64,
}

impl Keeper {
    fn next(&mut self) -> Moment {
        let op = self.ledger.newest().next();
        if op.0.is_multiple_of(FRAME_EVENTS) {
            self.end_frame();
        }
        if self.open.is_none() {
            self.open = Some(FrameBuilder::new(op.0, self.now_us));
        }
        Moment { op, book_time_us: self.now_us }
    }

    fn end_frame(&mut self) {
        if let Some(frame) = self.open.take() {
            self.writer.append(Arc::new(frame.close())).unwrap();
            self.now_us += FRAME_US;
        }
    }

    fn book(&mut self, at: Moment, event: &Event<'_>) {
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).unwrap();
        self.ledger.replay(at, event, &self.prints).unwrap();
        self.open.as_mut().unwrap().push(&bytes).unwrap();
    }

    fn admin(&mut self, program: &str, action: AdminAction) {
        let at = self.next();
        let key = format!("operator-{}", at.op.0);
        let command = AdminCommand {
            program_id: program.into(),
            key_print: self.prints.key(program, &key),
            key,
            body_hash: [1; 16],
            actor: "ana".into(),
            reason: "the books".into(),
            action,
        };
        let event = self.ledger.decide_admin(&command, at);
        assert!(event.rejection().is_none(), "{event:?}");
        self.book(at, &event);
    }

    fn post(&mut self, row: &csv::StringRecord, zone: &TimeZone) {
        let [occurred_at, kind, invoice, member, amount, items, region] = std::array::from_fn(|at| &row[at]);
        let at = self.next();
        let key = format!("{kind}-{invoice}");
        let basis = Basis::Spend(amount.parse().unwrap());
        let event_kind = Some("purchase".into());
        let occurred_at: DateTime = occurred_at.parse().unwrap();
        let notes = Notes {
            reference: invoice.to_owned(),
            location: region.to_owned(),
            metadata: vec![("items".to_owned(), items.to_owned())],
            ..Notes::default()
        };
        let command = Command {
            program: ProgramNo(0),
            key_print: self.prints.key(PROGRAM, &key),
            key: key.into(),
            body_hash: [2; 16],
            member: member.into(),
            member_hash: self.prints.member(PROGRAM, member),
            occurred_at_us: Some(zone.to_ambiguous_timestamp(occurred_at).compatible().unwrap().as_microsecond()),
            currency: None,
            notes: Some(Box::new(notes)),
            action: match kind {
                "purchase" => Action::Earn { basis, event_kind, asset: AssetNo::POINTS, matures: None },
                _ => Action::Refund { original: Original::None, basis, event_kind },
            },
        };
        let Decision::Event(event) = self.ledger.decide(&command, None, at) else {
            panic!("the limits are wide enough")
        };
        self.book(at, &event);
    }

    /// Takes the snapshot `close` as the last event, and keeps its file.
    fn close(mut self, data: &Path) -> (Vec<ProgramTrial>, u64) {
        self.admin("", AdminAction::CreateSnapshot { name: "close".into(), retain_until_us: None });
        let book_time_us = self.now_us;
        self.end_frame();
        let head = self.writer.book().head();
        let disk = Arc::new(RealDisk::open(data.join(SNAPSHOTS_DIR)).unwrap());
        let trial = self.ledger.trial_balance();
        let genesis = self.writer.book().genesis();
        let input = ManifestInput {
            book_id: genesis.book_id,
            incarnation: genesis.incarnation,
            op: head.op,
            book_time_us,
            head_hash: head.hash,
            state_hash: self.ledger.state_hash(),
            members: self.ledger.counts().0,
            trial_balance: trial.clone(),
            retain_until_us: None,
            taken: Vec::new(),
        };
        let mut writer = SnapshotWriter::create(disk, "close", input).unwrap();
        let captured = self.ledger.begin_capture(true);
        writer.base(&captured.base).unwrap();
        for copy in self.ledger.capture_next(usize::MAX) {
            let mut image = Vec::new();
            copy.encode(&mut image);
            writer.page(copy.id().kind.number(), copy.id().number, &image).unwrap();
        }
        writer.finish().unwrap();
        self.writer.witness().unwrap();
        (trial, head.op)
    }
}

/// Posts the whole trace.
pub(crate) fn trace() -> Trace {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let genesis = || Genesis {
        book_id: [9; 16],
        secret: SECRET,
        incarnation: 0,
        parent: None,
        created_at_us: BEGAN_US,
        event_format: 1,
    };
    let disk = Arc::new(RealDisk::open(&data).unwrap());
    let options = JournalOptions::with_segment_bytes(4 << 20);
    let opened = Journal::open(disk, genesis, options, &mut |_| Ok(())).unwrap();
    let mut keeper = Keeper {
        ledger: Ledger::new(Limits { members_max: 10_000, cap_counters_max: 1_000, lots_bytes_max: usize::MAX }),
        prints: Prints::new(SECRET),
        writer: opened.writer,
        open: None,
        now_us: BEGAN_US,
    };
    let definition = std::fs::read_to_string(here("programs/online-retail.toml")).unwrap();
    let spec = Box::new(stampbook::program::parse(&definition, "test").unwrap().spec);
    keeper.admin(PROGRAM, AdminAction::PutProgram { expected_version: Some(0), spec, definition });
    let zone = TimeZone::get("Europe/London").unwrap();
    let mut posted = HashSet::new();
    for row in csv::Reader::from_path(here("data/online-retail-ii.csv")).unwrap().records() {
        let row = row.unwrap();
        if posted.insert((row[1].to_owned(), row[2].to_owned())) {
            keeper.post(&row, &zone);
        }
    }
    let (trial, op) = keeper.close(&data);
    Trace { folder, trial, op }
}
