//! `stampbook snapshot create|list|show|delete`.

use std::fmt::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde_json::{Value, json};
use stampbook::proto::audit_service_client::AuditServiceClient;
use stampbook::proto::{
    CreateSnapshotRequest, DeleteSnapshotRequest, GetSnapshotRequest, ListSnapshotsRequest, Snapshot as Shot,
    SnapshotState,
};
use tonic::transport::Channel;

use super::{EXIT_REFUSED, Failure, Outcome, Server, Shown, remote};

/// How often a snapshot that is being written is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// A list of ten thousand snapshots, with room to spare.
const LIST_BYTES_MAX: usize = 64 << 20;

type Audit = AuditServiceClient<Channel>;

#[derive(Subcommand)]
pub(super) enum Snapshot {
    /// Keep the state of the book as it is now, under a name, and wait until the file is written.
    Create(Create),
    /// List all snapshots, newest first.
    List {
        #[command(flatten)]
        server: Server,
    },
    /// Show a snapshot with its manifest.
    Show {
        /// The snapshot's name.
        name: String,
        #[command(flatten)]
        server: Server,
    },
    /// Delete a snapshot, for good: its name is never used again.
    Delete(Delete),
}

#[derive(Args)]
pub(super) struct Create {
    /// The snapshot's name: 1 to 64 of a-z, 0-9, dot, underscore and hyphen, used once for ever.
    name: String,
    /// It cannot be deleted before this instant, such as 2030-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    retain_until: Option<Timestamp>,
    /// Answer as soon as the snapshot is in the books, before its file is written.
    #[arg(long)]
    no_wait: bool,
    /// The idempotency key. Left out: made from the name, so that the same command again is answered with the first receipt.
    #[arg(long)]
    key: Option<String>,
    /// Who does it.
    #[arg(long, default_value = "operator")]
    actor: String,
    /// Why.
    #[arg(long, default_value = "snapshot create")]
    reason: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(super) struct Delete {
    /// The snapshot's name.
    name: String,
    /// The idempotency key: the same command with the same key acts once.
    #[arg(long)]
    key: String,
    /// Who does it.
    #[arg(long)]
    actor: String,
    /// Why.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    server: Server,
}

impl Snapshot {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Create(create) => create.server.json,
            Self::Delete(delete) => delete.server.json,
            Self::List { server } | Self::Show { server, .. } => server.json,
        }
    }

    pub(super) fn run(self) -> Outcome {
        match self {
            Self::Create(args) => create(args),
            Self::List { server } => list(&server),
            Self::Show { name, server } => show(name, &server),
            Self::Delete(args) => delete(args),
        }
    }
}

fn ask<T, F>(server: &Server, question: impl FnOnce(Audit) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let client = |channel| Audit::new(channel).max_decoding_message_size(LIST_BYTES_MAX);
    remote::connected(&server.target, |channel| question(client(channel)))
}

fn create(args: Create) -> Outcome {
    ask(&args.server, async |mut audit| {
        let request = CreateSnapshotRequest {
            key: args.key.clone().unwrap_or_else(|| format!("snapshot-create-{}", args.name)),
            retain_until_us: args.retain_until.map(Timestamp::as_microsecond),
            name: args.name.clone(),
            actor: args.actor.clone(),
            reason: args.reason.clone(),
        };
        let answer = audit.create_snapshot(request).await.map_err(|status| remote::unanswered(&status))?.into_inner();
        let applied = remote::applied(answer.receipt.as_ref())?;
        let booked = remote::booked(answer.receipt.as_ref());
        let mut shot = answer.snapshot;
        if !args.no_wait {
            shot = Some(written(&mut audit, &args.name, &booked).await?);
        }
        let json = remote::with(applied, json!({ "snapshot": shot.as_ref().map(shot_json) }));
        let state = shot.as_ref().map(|shot| format!("{}\n", text_of(shot))).unwrap_or_default();
        Ok(Shown { text: format!("{state}{booked}"), json })
    })
}

/// Waits until the snapshot's file is written.
async fn written(audit: &mut Audit, name: &str, booked: &str) -> Result<Shot, Failure> {
    // Drawn where standard error is a terminal, and nowhere else.
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(LOOK);
    spinner.set_message(format!("{name} is in the books, {booked}; its file is being written"));
    loop {
        let shot = get(audit, name).await?;
        match shot.state() {
            SnapshotState::Preparing => {}
            SnapshotState::Missing => {
                spinner.finish_and_clear();
                let text = format!(
                    "{name} is in the books, {booked}, but not in a file: {}; the server's log says more",
                    shot.missing_because
                );
                return Err(Failure {
                    code: EXIT_REFUSED,
                    json: json!({ "error": text, "snapshot": shot_json(&shot) }),
                    text,
                });
            }
            _ => {
                spinner.finish_and_clear();
                return Ok(shot);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn get(audit: &mut Audit, name: &str) -> Result<Shot, Failure> {
    let request = GetSnapshotRequest { name: name.to_owned() };
    let answer = audit.get_snapshot(request).await.map_err(|status| remote::failure(&status))?;
    let nothing = || Failure::plain(EXIT_REFUSED, "the server answered without a snapshot");
    answer.into_inner().snapshot.ok_or_else(nothing)
}

fn list(server: &Server) -> Outcome {
    ask(server, async |mut audit| {
        let answer = audit.list_snapshots(ListSnapshotsRequest {}).await;
        let answer = answer.map_err(|status| remote::failure(&status))?.into_inner();
        let widest = answer.snapshots.iter().map(|shot| shot.name.len()).max().unwrap_or_default().max(4);
        let mut text = format!("{:<widest$}  {:<9}  {:>12}  {:<27}  kept until\n", "name", "state", "op", "taken");
        for shot in &answer.snapshots {
            let taken = remote::instant(shot.book_time_us);
            let kept = shot.retain_until_us.map(remote::instant).unwrap_or_default();
            let _ = writeln!(text, "{:<widest$}  {:<9}  {:>12}  {taken:<27}  {kept}", shot.name, state(shot), shot.op);
        }
        let _ = write!(text, "{} snapshots; book {} op {}", answer.snapshots.len(), answer.book_id, answer.op);
        let snapshots: Vec<_> = answer.snapshots.iter().map(shot_json).collect();
        Ok(Shown { text, json: json!({ "snapshots": snapshots, "book_id": answer.book_id, "op": answer.op }) })
    })
}

fn show(name: String, server: &Server) -> Outcome {
    ask(server, async |mut audit| {
        let shot = get(&mut audit, &name).await?;
        let manifest = if shot.manifest.is_empty() { String::new() } else { format!("\n{}", shot.manifest) };
        Ok(Shown { text: format!("{}{manifest}", text_of(&shot)), json: shot_json(&shot) })
    })
}

fn delete(args: Delete) -> Outcome {
    ask(&args.server, async |mut audit| {
        let request = DeleteSnapshotRequest {
            name: args.name.clone(),
            key: args.key.clone(),
            actor: args.actor.clone(),
            reason: args.reason.clone(),
        };
        let answer = audit.delete_snapshot(request).await.map_err(|status| remote::unanswered(&status))?.into_inner();
        let applied = remote::applied(answer.receipt.as_ref())?;
        let json = remote::with(applied, json!({ "snapshot": answer.snapshot.as_ref().map(shot_json) }));
        Ok(Shown { text: format!("{}: deleted, {}", args.name, remote::booked(answer.receipt.as_ref())), json })
    })
}

fn state(shot: &Shot) -> String {
    remote::short(shot.state().as_str_name(), "SNAPSHOT_STATE_").to_lowercase()
}

fn text_of(shot: &Shot) -> String {
    let mut text = format!("{}: {}, op {} at {}", shot.name, state(shot), shot.op, remote::instant(shot.book_time_us));
    if let Some(us) = shot.retain_until_us {
        let _ = write!(text, ", kept until {}", remote::instant(us));
    }
    if shot.state() == SnapshotState::Ready {
        let _ = write!(text, "\nhead {}:{}\nstate {}", shot.op, shot.head_hash, shot.state_hash);
    }
    if shot.state() == SnapshotState::Missing {
        let _ = write!(text, "\n{}", shot.missing_because);
    }
    text
}

fn shot_json(shot: &Shot) -> Value {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "name": shot.name,
        "state": state(shot),
        "op": shot.op,
        "book_time_us": shot.book_time_us,
        "retain_until_us": shot.retain_until_us,
        "deleted_op": (shot.deleted_op != 0).then_some(shot.deleted_op),
        "head": given(&shot.head_hash),
        "state_hash": given(&shot.state_hash),
        "missing_because": given(&shot.missing_because),
        "manifest": serde_json::from_str::<Value>(&shot.manifest).ok(),
    })
}
