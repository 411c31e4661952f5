//! `stampbook program check|apply|close-period|show`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};
use stampbook::ledger::ids::{ProgramNo, VersionNo};
use stampbook::ledger::view::ProgramView;
use stampbook::program::{Parsed, Remark, parse};
use stampbook::proto::{ClosePeriodRequest, GetProgramRequest, Program as State, PutProgramRequest};
use tonic::Status;
use tonic_types::StatusExt;

use super::remote::{self, Admin};
use super::rules;
use super::{EXIT_BAD_INPUT, EXIT_IO, EXIT_REFUSED, Failure, Outcome, Server, Shown};

#[derive(Subcommand)]
pub(super) enum Program {
    /// Check a file without a server.
    Check {
        /// The program, in TOML.
        file: PathBuf,
        /// Print one line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a file the newest version of its program.
    Apply(Apply),
    /// Close a program's books up to an instant: what is dated before it and booked later is marked.
    ClosePeriod(ClosePeriod),
    /// Print the newest version of a program: its text, under a comment that says which it is.
    Show {
        /// The program's id.
        program: String,
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Args)]
pub(super) struct Apply {
    /// The program, in TOML.
    file: PathBuf,
    /// The number of the version that this one follows, 0 for none. Left out: the newest there is, and a file that is
    /// already the newest version changes nothing.
    #[arg(long, value_name = "N")]
    expected_version: Option<u32>,
    /// The idempotency key. Left out: made from the file and the version it follows, so that the same command again is
    /// answered with the first receipt.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Who does it.
    #[arg(long, default_value = "operator")]
    actor: String,
    /// Why.
    #[arg(long, default_value = "program apply")]
    reason: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(super) struct ClosePeriod {
    /// The program's id.
    #[arg(long)]
    program: String,
    /// The first instant that is not closed, such as 2030-01-01T00:00:00+08:00.
    #[arg(long, value_name = "TIME")]
    until: Timestamp,
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

impl Program {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Check { json, .. } => *json,
            Self::Apply(apply) => apply.server.json,
            Self::ClosePeriod(close) => close.server.json,
            Self::Show { server, .. } => server.json,
        }
    }

    pub(super) fn run(self) -> Outcome {
        match self {
            Self::Check { file, .. } => check(&file),
            Self::Apply(args) => apply(&args),
            Self::ClosePeriod(args) => close_period(args),
            Self::Show { program, server } => show(program, &server),
        }
    }
}

fn close_period(args: ClosePeriod) -> Outcome {
    remote::ask(&args.server, async |mut admin| {
        let ClosePeriod { program, until, key, actor, reason, .. } = &args;
        let request = ClosePeriodRequest {
            program: program.clone(),
            until_us: until.as_microsecond(),
            key: key.clone(),
            actor: actor.clone(),
            reason: reason.clone(),
        };
        let answer = admin.close_period(request).await.map_err(|status| remote::unanswered(&status))?.into_inner();
        let json = remote::applied(answer.receipt.as_ref())?;
        let booked = remote::booked(answer.receipt.as_ref());
        Ok(Shown { text: format!("{program} is closed up to {until}, {booked}"), json })
    })
}

fn lines(remarks: &[Remark], prefix: &str) -> String {
    remarks.iter().map(|remark| format!("{prefix}{remark}\n")).collect()
}

fn remarks_json(remarks: &[Remark]) -> Value {
    let one = |r: &Remark| json!({ "line": r.line, "column": r.column, "field": r.field, "message": r.message });
    remarks.iter().map(one).collect()
}

/// Reads and checks a file.
fn load(file: &Path) -> Result<(String, Parsed), Failure> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|error| Failure::plain(EXIT_IO, format!("{name}: {error}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::plain(EXIT_BAD_INPUT, format!("{name}: is not UTF-8 text: {error}")))?;
    match parse(&text, &name) {
        Ok(parsed) => Ok((text, parsed)),
        Err(errors) => Err(Failure {
            code: EXIT_BAD_INPUT,
            text: lines(&errors, ""),
            json: json!({ "sound": false, "file": name, "errors": remarks_json(&errors) }),
        }),
    }
}

fn check(file: &Path) -> Outcome {
    let (definition, parsed) = load(file)?;
    let warnings = lines(&parsed.warnings, "warning: ");
    let remarks = remarks_json(&parsed.warnings);
    let campaigns = parsed.spec.campaigns.len();
    let program = shown(&definition, parsed);
    let name = file.display();
    let (rules_count, assets) = (program.rules.len(), program.assets.len());
    let counts = format!("rules {rules_count}, campaigns {campaigns}, assets {assets}");
    let text = format!("{warnings}{name}: sound: program {}, {counts}{}", program.id, rules::lines(&program));
    let json = json!({
        "sound": true,
        "file": name.to_string(),
        "program": program.id,
        "rules": rules_count,
        "campaigns": campaigns,
        "warnings": remarks,
    });
    Ok(Shown { text, json: remote::with(json, rules::json(&program)) })
}

/// A checked program as a server would show it.
fn shown(definition: &str, parsed: Parsed) -> State {
    stampbook::server::rules::program(&ProgramView {
        number: ProgramNo(0),
        id: parsed.id,
        version: VersionNo(0),
        effective_from_us: parsed.spec.effective_from_us.unwrap_or(i64::MIN),
        spec: Arc::new(parsed.spec),
        definition: definition.into(),
        closings: Vec::new(),
    })
}

/// The key of a version that comes from this text and follows that version.
fn key_of(text: &str, expected_version: u32) -> String {
    let hash = blake3::Hasher::new_derive_key("stampbook program apply: key")
        .update(&expected_version.to_le_bytes())
        .update(text.as_bytes())
        .finalize();
    format!("apply-{}", hash.to_hex().get(..32).unwrap_or_default())
}

fn apply(args: &Apply) -> Outcome {
    let (text, parsed) = load(&args.file)?;
    let warnings = lines(&parsed.warnings, "warning: ");
    remote::ask(&args.server, async |mut admin| {
        let expected = match args.expected_version {
            Some(version) => version,
            None => match newest(&mut admin, &parsed.id).await? {
                Some((version, definition)) if definition == text => {
                    return Ok(Shown {
                        text: format!("{warnings}{} version {version}: unchanged", parsed.id),
                        json: json!({ "program": parsed.id, "version": version, "unchanged": true }),
                    });
                }
                Some((version, _)) => version,
                None => 0,
            },
        };
        let request = PutProgramRequest {
            program: parsed.id.clone(),
            key: args.key.clone().unwrap_or_else(|| key_of(&text, expected)),
            definition: text,
            expected_version: Some(expected),
            actor: args.actor.clone(),
            reason: args.reason.clone(),
        };
        let answer = admin.put_program(request).await.map_err(|status| in_file(&status, &args.file))?.into_inner();
        let version = json!({
            "program": parsed.id,
            "version": answer.version,
            "warnings": remarks_json(&parsed.warnings),
        });
        let json = remote::with(remote::applied(answer.receipt.as_ref())?, version);
        let booked = remote::booked(answer.receipt.as_ref());
        Ok(Shown { text: format!("{warnings}{} version {}: {booked}", parsed.id, answer.version), json })
    })
}

/// The newest version's number and text; `None` where there is no such program.
async fn newest(admin: &mut Admin, program: &str) -> Result<Option<(u32, String)>, Failure> {
    match admin.get_program(GetProgramRequest { program: program.to_owned() }).await {
        Ok(answer) => Ok(answer.into_inner().program.map(|p| (p.version, p.definition))),
        Err(status) if unknown_program(&status) => Ok(None),
        Err(status) => Err(remote::failure(&status)),
    }
}

fn unknown_program(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == "PROGRAM_UNKNOWN")
}

/// The server's remarks on a definition (`definition:LINE:COLUMN:path`), under the name of the file it came from.
fn in_file(status: &Status, file: &Path) -> Failure {
    let mut failure = remote::unanswered(status);
    for before in [" ", "\n"] {
        let here = format!("{before}{}:", file.display());
        failure.text = failure.text.replace(&format!("{before}definition:"), &here);
    }
    failure
}

fn show(program: String, server: &Server) -> Outcome {
    remote::ask(server, async |mut admin| {
        let request = GetProgramRequest { program };
        let answer = admin.get_program(request).await.map_err(|status| remote::failure(&status))?.into_inner();
        let Some(program) = answer.program else {
            return Err(Failure::plain(EXIT_REFUSED, "the server answered without a program"));
        };
        let from = program.effective_from_us.map_or_else(|| "always".to_owned(), remote::instant);
        let text = format!(
            "# {} version {}, holds from {from}; book {} op {}\n{}",
            program.id, program.version, answer.book_id, answer.op, program.definition,
        );
        let json = json!({
            "program": program.id,
            "version": program.version,
            "effective_from_us": program.effective_from_us,
            "name": program.name,
            "currency": program.currency,
            "time_zone": program.time_zone,
            "tz_version": program.tz_version,
            "import": program.import,
            "definition": program.definition,
            "book_id": answer.book_id,
            "op": answer.op,
        });
        Ok(Shown { text, json: remote::with(json, rules::json(&program)) })
    })
}
