//! `stampbook audit roll-forward|trial-balance`.

use std::fmt::Write;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::audit_service_client::AuditServiceClient;
use stampbook::proto::get_trial_balance_request::AsOf;
use stampbook::proto::roll_forward_request::{From, Until};
use stampbook::proto::{
    GetTrialBalanceRequest, GetTrialBalanceResponse, RollForwardAmounts, RollForwardKind, RollForwardLine,
    RollForwardRequest, TrialBasis,
};

use super::{Outcome, Server, Shown, remote};

/// How long an answer may take for which all of a book is read.
const WALK_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// The lines of thirty-two assets over decades, with room to spare.
const LINES_BYTES_MAX: usize = 256 << 20;

#[derive(Subcommand)]
pub(super) enum Audit {
    /// Tell how what is owed to members went from the beginning of a period to its end, by asset, source and month of the earn.
    RollForward(RollForward),
    /// Tell where all units stand, as posted or by effective time with the cut-off lines.
    TrialBalance(TrialBalance),
}

#[derive(Args)]
pub(super) struct RollForward {
    /// The program's id.
    #[arg(long)]
    program: String,
    /// One asset alone.
    #[arg(long)]
    asset: Option<String>,
    /// Where the period begins: a month 2026-01 or a date 2026-01-31 of the program, or an instant. Left out: with the book.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The first month, date or instant behind the period. Left out: with all that is booked.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Print comma-separated values: a line of units and a line of money for each.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    server: Server,
}

/// By what time events count.
#[derive(Clone, Copy, ValueEnum)]
enum Basis {
    /// By when they were booked.
    Posted,
    /// By when they are dated.
    Effective,
}

#[derive(Args)]
pub(super) struct TrialBalance {
    /// The program's id. Left out: all programs.
    #[arg(long, default_value = "")]
    program: String,
    /// By what time events count.
    #[arg(long, value_enum, default_value = "posted")]
    basis: Basis,
    /// As of an instant, such as 2030-01-01T00:00:00Z. Left out: now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    server: Server,
}

impl Audit {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::RollForward(args) => args.server.json,
            Self::TrialBalance(args) => args.server.json,
        }
    }

    pub(super) fn run(self) -> Outcome {
        match self {
            Self::RollForward(args) => roll_forward(&args),
            Self::TrialBalance(args) => trial_balance(&args),
        }
    }
}

fn instant_of(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

fn roll_forward(args: &RollForward) -> Outcome {
    let from = args.from.as_ref().map(|text| instant_of(text).map_or(From::FromDate(text.clone()), From::FromUs));
    let until = args.until.as_ref().map(|text| instant_of(text).map_or(Until::UntilDate(text.clone()), Until::UntilUs));
    let (program, asset) = (args.program.clone(), args.asset.clone().unwrap_or_default());
    let request = RollForwardRequest { program, asset, from, until };
    remote::connected_for(WALK_TIMEOUT, &args.server.target, async |channel| {
        let mut audit = AuditServiceClient::new(channel).max_decoding_message_size(LINES_BYTES_MAX);
        let answer = audit.roll_forward(request).await.map_err(|status| remote::failure(&status))?.into_inner();
        let ops = format!("ops {} to {}", answer.opening_op, answer.closing_op);
        let text = match args.csv {
            true => csv(&answer.lines),
            false => format!("{}{ops}; book {}; money in {}", table(&answer.lines), answer.book_id, answer.currency),
        };
        let lines: Vec<_> = answer.lines.iter().map(line_json).collect();
        let json = json!({
            "lines": lines,
            "currency": answer.currency,
            "opening_op": answer.opening_op,
            "closing_op": answer.closing_op,
            "book_id": answer.book_id,
            "events_read": answer.events_read,
        });
        Ok(Shown { text, json })
    })
}

/// The amounts of a line, in order, with their names.
fn named(amounts: &RollForwardAmounts) -> [(&'static str, i64); 12] {
    [
        ("opening", amounts.opening),
        ("issued", amounts.issued),
        ("moved_in", amounts.moved_in),
        ("redeemed", amounts.redeemed),
        ("expired", amounts.expired),
        ("taken_back", amounts.taken_back),
        ("adjusted", amounts.adjusted),
        ("converted", amounts.converted),
        ("transferred", amounts.transferred),
        ("settled", amounts.settled),
        ("value_change", amounts.value_change),
        ("closing", amounts.closing),
    ]
}

fn kind_of(line: &RollForwardLine) -> String {
    remote::short(line.kind().as_str_name(), "ROLL_FORWARD_KIND_").to_lowercase()
}

/// What a line is of: the source of lots, `debt` or `liability`.
fn of(line: &RollForwardLine) -> String {
    match line.kind() {
        RollForwardKind::Lots => remote::short(line.source().as_str_name(), "SOURCE_").to_lowercase(),
        _ => kind_of(line),
    }
}

fn both(line: &RollForwardLine) -> [(&'static str, RollForwardAmounts); 2] {
    [("units", line.units.unwrap_or_default()), ("minor", line.minor.unwrap_or_default())]
}

/// A table of the columns that hold anything.
fn table(lines: &[RollForwardLine]) -> String {
    let head = named(&RollForwardAmounts::default()).map(|(name, _)| name.to_owned());
    let mut rows = vec![["asset", "of", "month", "in"].map(str::to_owned).into_iter().chain(head).collect::<Vec<_>>()];
    for line in lines {
        for (unit, amounts) in both(line)
            .into_iter()
            .filter(|(unit, amounts)| *unit == "units" || *amounts != RollForwardAmounts::default())
        {
            let first = [line.asset.clone(), of(line), line.month.clone(), unit.to_owned()];
            rows.push(first.into_iter().chain(named(&amounts).map(|(_, amount)| amount.to_string())).collect());
        }
    }
    let used = |column: usize| {
        let cells = rows.iter().skip(1).filter_map(|row| row.get(column));
        column < 5 || column == 15 || cells.into_iter().any(|cell| cell != "0")
    };
    let used: Vec<usize> = (0..16).filter(|column| used(*column)).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<(usize, usize)> = used.into_iter().map(|column| (column, width(column))).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, width) in &widths {
            let cell = row.get(*column).map(String::as_str).unwrap_or_default();
            let _ = match *column < 4 {
                true => write!(line, "{cell:<width$}  "),
                false => write!(line, "{cell:>width$}  "),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn csv(lines: &[RollForwardLine]) -> String {
    let head = named(&RollForwardAmounts::default()).map(|(name, _)| name);
    let mut text = format!("asset,kind,source,month,in,{}\n", head.join(","));
    for line in lines {
        let lots = line.kind() == RollForwardKind::Lots;
        let source = if lots { of(line) } else { String::new() };
        for (unit, amounts) in both(line) {
            // Ids of assets and names of sources hold neither commas nor quotes.
            let amounts = named(&amounts).map(|(_, amount)| amount.to_string());
            let (asset, kind, month) = (&line.asset, kind_of(line), &line.month);
            let _ = writeln!(text, "{asset},{kind},{source},{month},{unit},{}", amounts.join(","));
        }
    }
    text
}

fn line_json(line: &RollForwardLine) -> Value {
    let object = |amounts: &RollForwardAmounts| -> Value {
        named(amounts).map(|(name, amount)| (name.to_owned(), json!(amount))).into_iter().collect::<Map<_, _>>().into()
    };
    let [(_, units), (_, minor)] = both(line);
    json!({
        "asset": line.asset,
        "kind": kind_of(line),
        "source": (line.kind() == RollForwardKind::Lots).then(|| of(line)),
        "month": (!line.month.is_empty()).then(|| line.month.clone()),
        "units": object(&units),
        "minor": object(&minor),
    })
}

fn trial_balance(args: &TrialBalance) -> Outcome {
    let basis = match args.basis {
        Basis::Posted => TrialBasis::Posted,
        Basis::Effective => TrialBasis::Effective,
    };
    let as_of = args.at.map(|at| AsOf::AsOfTimeUs(at.as_microsecond()));
    let request = GetTrialBalanceRequest { program: args.program.clone(), as_of, basis: basis.into() };
    remote::connected_for(WALK_TIMEOUT, &args.server.target, async |channel| {
        let mut accounts = AccountServiceClient::new(channel).max_decoding_message_size(LINES_BYTES_MAX);
        let answer = accounts.get_trial_balance(request).await.map_err(|status| remote::failure(&status))?.into_inner();
        Ok(Shown { text: trial_text(&answer), json: trial_json(&answer) })
    })
}

fn trial_text(answer: &GetTrialBalanceResponse) -> String {
    let mut text = String::new();
    for row in &answer.rows {
        let of = format!("{} {} {}", row.program, row.asset, row.account);
        let _ = writeln!(text, "{of:<48}  {:>16}  {:>16}", row.debit, row.credit);
    }
    for total in &answer.totals {
        let of = format!("{} {} in all", total.program, total.asset);
        let _ = writeln!(text, "{of:<48}  {:>16}  {:>16}", total.debit, total.credit);
    }
    for line in &answer.cut_off {
        let why = remote::short(line.why().as_str_name(), "CUT_OFF_").to_lowercase().replace('_', " ");
        let of = format!("{} {} {}: {why}", line.program, line.asset, line.account);
        let (debit, credit) = (line.amount.min(0).saturating_neg(), line.amount.max(0));
        let _ = writeln!(text, "{of:<48}  {debit:>16}  {credit:>16}");
    }
    let known = if answer.known_op == 0 { String::new() } else { format!(", known up to op {}", answer.known_op) };
    let _ = write!(text, "debit, credit; book {} op {}{known}", answer.book_id, answer.op);
    text
}

fn trial_json(answer: &GetTrialBalanceResponse) -> Value {
    let rows: Vec<_> = answer
        .rows
        .iter()
        .map(|row| {
            json!({
                "program": row.program, "account": row.account, "asset": row.asset, "debit": row.debit, "credit": row.credit,
            })
        })
        .collect();
    let totals: Vec<_> = answer
        .totals
        .iter()
        .map(|total| {
            json!({
                "program": total.program, "asset": total.asset, "debit": total.debit, "credit": total.credit,
                "members": total.members,
            })
        })
        .collect();
    let lines: Vec<_> = answer
        .cut_off
        .iter()
        .map(|line| {
            let why = remote::short(line.why().as_str_name(), "CUT_OFF_").to_lowercase();
            json!({
                "program": line.program, "account": line.account, "asset": line.asset, "why": why, "amount": line.amount,
            })
        })
        .collect();
    json!({
        "rows": rows,
        "totals": totals,
        "cut_off": lines,
        "book_id": answer.book_id,
        "op": answer.op,
        "known_op": answer.known_op,
    })
}
