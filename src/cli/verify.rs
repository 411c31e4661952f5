//! `stampbook verify`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use stampbook::io::RealDisk;
use stampbook::journal::{Case, Head, JournalError};
use stampbook::ledger::view::ProgramTrial;
use stampbook::verify::beside::{Beside, Point, gather};
use stampbook::verify::{Options, Report, ShownSnapshot, VerifyError, verify};

use super::{EXIT_BAD_INPUT, EXIT_DAMAGED, EXIT_IO, Failure, Outcome, Shown};

#[derive(Args)]
pub(super) struct Verify {
    /// The directory of the book.
    #[arg(long, value_name = "DIR", required_unless_present = "export")]
    data: Option<PathBuf>,
    /// The directory of an export: prove that, and with --data that every row is the book's, which a server may have open.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["extends", "rules"])]
    export: Option<PathBuf>,
    /// A head noted earlier, as printed: refuse a book that does not contain it.
    #[arg(long, value_name = "OP:HASH")]
    extends: Option<NotedHead>,
    /// Decide every member's command that was applied again from the inputs in its event, and what fell due by itself from the state
    /// before it, and name the first that differs.
    #[arg(long)]
    rules: bool,
    /// Print one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A head as it is printed: `OP:HASH`.
#[derive(Clone, Copy)]
struct NotedHead(Head);

impl FromStr for NotedHead {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = "a head is OP:HASH, a number and 64 hexadecimal digits";
        let (op, hash) = text.split_once(':').ok_or(bad)?;
        let hash = blake3::Hash::from_hex(hash).map_err(|_| bad)?;
        Ok(Self(Head { op: op.parse().map_err(|_| bad)?, hash: *hash.as_bytes() }))
    }
}

impl Verify {
    pub(super) fn run(self) -> Outcome {
        if let Some(export) = &self.export {
            return super::export::verify(export, self.data.as_deref());
        }
        let data = self.data.unwrap_or_default();
        let disk = RealDisk::open_existing(&data)
            .map_err(|error| Failure::plain(EXIT_IO, format!("{}: {error}", data.display())))?;
        // A book that is being written has no end to hold it to.
        if disk.is_held() {
            let open = format!("{}: a server has this book open: stop it, or verify a copy", data.display());
            return Err(Failure::plain(EXIT_IO, open));
        }
        let beside = gather(&data).map_err(|error| failure(&error))?;
        let options = Options { extends: self.extends.map(|noted| noted.0), rules: self.rules, beside };
        // Hidden where standard error is no terminal.
        let bar = ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("{spinner} {human_pos} events, {per_sec}, {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        let proved = verify(&disk, &options, &mut |events| bar.set_position(events));
        bar.finish_and_clear();
        match proved {
            Ok(report) => {
                let text = text_of(&report) + &beside_text(&options.beside, &report);
                Ok(Shown { text, json: json_of(&report, &options.beside) })
            }
            Err(error) => Err(failure(&error)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text_of(report: &Report) -> String {
    let Report { genesis, head, end, .. } = report;
    let mut text = format!("book {} incarnation {}: sound\n", hex(&genesis.book_id), genesis.incarnation);
    let _ = writeln!(text, "head {}:{}", head.op, hex(&head.hash));
    let _ = writeln!(text, "state {}", hex(&report.state_hash));
    let _ = writeln!(
        text,
        "events {}, frames {} of {} bytes, {} an event; segments {}, members {}",
        end.events,
        end.frames,
        end.frame_bytes,
        end.frame_bytes / end.events.max(1),
        end.segments,
        report.members
    );
    if let Some(proved) = report.proved {
        let _ = writeln!(text, "decisions made again {proved}, all alike");
    }
    if end.case != Case::CleanEnd {
        // A short file has no bytes to count, and says no less that something may be gone.
        let _ = writeln!(
            text,
            "torn: {} ends at byte {} ({}), {} bytes behind it are no frame and the next start cuts them; a crash \
             leaves such an end, and so does a tail that lost what was acknowledged: only --extends tells them apart",
            end.end_file,
            end.end_offset,
            end.case.name(),
            end.torn_bytes,
        );
    }
    for program in &report.trial_balance {
        let _ = writeln!(text, "trial balance of {}, {} members", program.program, program.members);
        for row in &program.rows {
            let _ = writeln!(text, "  {:<40} {:>20} {}", row.account, row.balance, row.asset);
        }
    }
    text
}

/// What lies beside the book, in words.
fn beside_text(beside: &Beside, report: &Report) -> String {
    let mut text = String::new();
    for shot in &report.beside.snapshots {
        let kept = match (shot.deleted, shot.present) {
            (true, _) => "deleted, its manifest kept: ",
            (false, true) => "",
            (false, false) => "only its manifest is there: ",
        };
        let state = match shot.of_version_before {
            true => "of an earlier build, its state not held against the book",
            false => "the state of the book there",
        };
        let _ = writeln!(text, "snapshot {:?} at op {}: {kept}{state}", shot.name, shot.op);
    }
    for point in &beside.points {
        let _ = writeln!(text, "{} at op {}: the state of the book there", point.what, point.op);
    }
    if let Some(store) = &beside.store {
        let (named, disk) = (store.bytes_named, store.disk_bytes());
        // Hundredths, since no float is wanted for a ratio.
        let percent = disk.saturating_mul(100) / named.max(1);
        let _ = writeln!(
            text,
            "store {disk} bytes on disk for {named} that its checkpoints name ({percent} %); keys {} in at most {} runs, {} bytes \
             of filters",
            store.keys.keys, store.keys.runs, store.keys.filter_bytes
        );
    }
    for note in &report.beside.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn beside_json(beside: &Beside, report: &Report) -> Value {
    let shot = |shot: &ShownSnapshot| {
        let ShownSnapshot { name, op, state_hash, deleted, present, of_version_before } = shot;
        let what = format!("snapshot {name:?}");
        json!({ "what": what, "op": op, "state_hash": hex(state_hash), "deleted": deleted, "present": present,
            "of_version_before": of_version_before })
    };
    let point = |point: &Point| json!({ "what": point.what, "op": point.op, "state_hash": hex(&point.state_hash) });
    let store = beside.store.as_ref().map(|store| {
        json!({ "disk_bytes": store.disk_bytes(), "bytes_named": store.bytes_named, "keys": store.keys.keys, "runs": store.keys.runs,
            "filter_bytes": store.keys.filter_bytes })
    });
    let points: Vec<_> = report.beside.snapshots.iter().map(shot).chain(beside.points.iter().map(point)).collect();
    json!({ "points": points, "store": store, "notes": report.beside.notes })
}

fn trial_json(program: &ProgramTrial) -> Value {
    json!({ "program": program.program, "members": program.members, "rows": program.rows })
}

fn json_of(report: &Report, beside: &Beside) -> Value {
    let Report { genesis, head, end, .. } = report;
    json!({
        "sound": true,
        "book_id": hex(&genesis.book_id),
        "incarnation": genesis.incarnation,
        "op": head.op,
        "head": hex(&head.hash),
        "state_hash": hex(&report.state_hash),
        "events": end.events,
        "frames": end.frames,
        "frame_bytes": end.frame_bytes,
        "segments": end.segments,
        "members": report.members,
        "proved": report.proved,
        "torn_bytes": end.torn_bytes,
        "end_case": end.case.name(),
        "end_file": end.end_file,
        "end_offset": end.end_offset,
        "beside": beside_json(beside, report),
        "trial_balance": report.trial_balance.iter().map(trial_json).collect::<Vec<_>>(),
    })
}

fn failure(error: &VerifyError) -> Failure {
    let text = error.to_string();
    let (code, json) = match error {
        VerifyError::Journal(JournalError::Damaged { file, offset, case, detail }) => {
            let place = json!({ "file": file, "offset": offset, "case": case.name(), "detail": detail });
            (EXIT_DAMAGED, json!({ "sound": false, "error": text, "damage": place }))
        }
        VerifyError::Unbalanced { .. }
        | VerifyError::NotExtended(_)
        | VerifyError::Beside(_)
        | VerifyError::Differs { .. } => (EXIT_DAMAGED, json!({ "sound": false, "error": text })),
        VerifyError::Journal(JournalError::NoBook) => (EXIT_BAD_INPUT, json!({ "error": text })),
        VerifyError::Journal(_) => (EXIT_IO, json!({ "error": text })),
    };
    Failure { code, text, json }
}
