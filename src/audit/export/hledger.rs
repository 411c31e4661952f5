//! A journal for hledger: a transaction for each event with legs, a comment for each without, and at the end an
//! assertion of every account's balance.
//!
//! Commodities are `"program:asset"`; a debit is positive, so liabilities are negative. The account `member/available` of
//! the member `ann` of `shop` is `shop:member:available:ann`, so that `hledger balance --flat --depth 3` is the trial balance.
//! Ids, keys and references keep ASCII letters, digits and `. _ - @ +`; every other byte is written as `%` and two
//! hexadecimal digits.

use std::fmt::Write as _;
use std::io::BufRead;

use crate::audit::chart::class_of;

use super::ExportError;
use super::columns::{AccountRow, EventRow, Instant, PostingRow, Record, time_of, time_text};
use super::format::{Content, FileReader};
use super::manifest::Total;
use super::rows::sides;

/// Assertions under one date.
const ASSERTIONS_A_TRANSACTION: u64 = 1_000;
/// The account that opening balances come from; it ends at zero.
const BROUGHT_FORWARD: &str = "brought-forward";

/// What a journal shows of a row.
pub(super) fn shown(record: Record) -> Record {
    match record {
        Record::Account(row) => Record::Account(AccountRow { last_op: None, ..row }),
        Record::Event(row) => Record::Event(EventRow {
            op: row.op,
            book_time: row.book_time,
            kind: row.kind,
            outcome: row.outcome,
            reason: row.reason,
            program: row.program,
            member: row.member,
            key: row.key,
            reference: row.reference,
            legs: row.legs,
            ..EventRow::default()
        }),
        Record::Posting(row) => Record::Posting(PostingRow {
            op: row.op,
            leg: row.leg,
            program: row.program,
            member: row.member,
            account: row.account,
            asset: row.asset,
            debit: row.debit,
            credit: row.credit,
            lot_source: row.lot_source,
            lot_lapses_at: row.lot_lapses_at,
            lot_rolling: row.lot_rolling,
            lot_position: row.lot_position,
            ..PostingRow::default()
        }),
        Record::Member(_) | Record::Lot(_) | Record::Hold(_) | Record::Pending(_) => record,
    }
}

/// Writes one file of a journal.
pub(super) struct Writer {
    content: Content,
    date: String,
    rows: u64,
}

impl Writer {
    pub(super) fn begin(content: Content, date_us: i64) -> Self {
        Self { content, date: date(date_us), rows: 0 }
    }

    /// Appends a row. A posting follows its event or another posting of it.
    pub(super) fn append(&mut self, record: &Record, out: &mut Vec<u8>) {
        let mut text = String::new();
        match record {
            Record::Event(row) if row.legs == 0 => text = format!("; {}\n", header(row)),
            Record::Event(row) => text = format!("\n{}\n", header(row)),
            Record::Posting(row) => text = format!("{}\n", posting(row)),
            Record::Account(row) if self.content == Content::Opening => {
                text = format!("\n{} opening balance\n{}\n", self.date, opening(row));
            }
            Record::Account(row) => {
                if self.rows.is_multiple_of(ASSERTIONS_A_TRANSACTION) {
                    text = format!("\n{} balances\n", self.date);
                }
                let _ = writeln!(text, "{}", assertion(row));
                self.rows += 1;
            }
            // A journal names the lot of each posting, and has no table of members or lots.
            Record::Member(_) | Record::Lot(_) | Record::Hold(_) | Record::Pending(_) => {}
        }
        out.extend_from_slice(text.as_bytes());
    }
}

/// The file that names the others in order, and every commodity: those that the rows come to totals of.
pub(super) fn index<'a>(totals: &[Total], files: impl Iterator<Item = &'a str>) -> String {
    let mut text = "; hledger -f this-file check; hledger -f this-file balance --flat --depth 3\n".to_owned();
    for total in totals {
        let _ = writeln!(text, "commodity 1000. {}", commodity(&total.program, &total.asset));
    }
    for file in files {
        let _ = writeln!(text, "include {file}");
    }
    text
}

fn date(us: i64) -> String {
    time_text(us).split('T').next().unwrap_or_default().to_owned()
}

fn header(row: &EventRow) -> String {
    let mut text =
        format!("{} ({}) {}  ; booked:{}", date(row.book_time.0), row.op, row.kind, time_text(row.book_time.0));
    let mut tag = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(text, ", {name}:{}", escape(value));
        }
    };
    tag("program", &row.program);
    tag("member", &row.member);
    tag("key", &row.key);
    tag("reference", &row.reference);
    tag("outcome", &row.outcome);
    tag("reason", &row.reason);
    text
}

fn read_header(line: &str, legs: u64) -> Option<EventRow> {
    let (front, tags) = line.split_once("  ; ")?;
    let (_, rest) = front.split_once(" (")?;
    let (op, kind) = rest.split_once(") ")?;
    let mut row = EventRow { op: op.parse().ok()?, kind: kind.to_owned(), legs, ..EventRow::default() };
    for tag in tags.split(", ") {
        let (name, value) = tag.split_once(':')?;
        match name {
            "booked" => row.book_time = Instant(time_of(value)?),
            "program" => row.program = unescape(value)?,
            "member" => row.member = unescape(value)?,
            "key" => row.key = unescape(value)?,
            "reference" => row.reference = unescape(value)?,
            "outcome" => row.outcome = unescape(value)?,
            "reason" => row.reason = unescape(value)?,
            _ => return None,
        }
    }
    // Only the one way of writing it is taken, so that nothing on the line can differ from what was written.
    (header(&row) == line).then_some(row)
}

fn posting(row: &PostingRow) -> String {
    let account = account(&row.program, &row.account, &row.member);
    let amount = row.debit.saturating_sub(row.credit);
    let mut text = format!("    {account}  {amount} {}", commodity(&row.program, &row.asset));
    if row.lot_source.is_empty() {
        return text;
    }
    let _ = write!(text, "  ; lot:{}", row.lot_source);
    if let Some(Instant(us)) = row.lot_lapses_at {
        let _ = write!(text, ", lapses:{}", time_text(us));
    }
    if row.lot_rolling == Some(1) {
        let _ = write!(text, ", lapses:rolling");
    }
    if let Some(position) = row.lot_position {
        let _ = write!(text, ", position:{position}");
    }
    text
}

fn read_posting(line: &str, op: u64, leg: u64) -> Option<PostingRow> {
    let (front, lot) = match line.split_once("  ; lot:") {
        Some((front, lot)) => (front, Some(lot)),
        None => (line, None),
    };
    let (name, amount) = front.strip_prefix("    ")?.split_once("  ")?;
    let (place, asset, balance) = read_amount(name, amount)?;
    let (debit, credit) = sides(balance);
    let (program, account, member) = place;
    let mut row = PostingRow {
        op,
        leg,
        program,
        member,
        account,
        asset,
        debit,
        credit,
        lot_rolling: lot.map(|_| 0),
        ..PostingRow::default()
    };
    let mut tags = lot.unwrap_or_default().split(", ");
    tags.next().unwrap_or_default().clone_into(&mut row.lot_source);
    for tag in tags {
        match tag.split_once(':')? {
            ("lapses", "rolling") => row.lot_rolling = Some(1),
            ("lapses", at) => row.lot_lapses_at = Some(Instant(time_of(at)?)),
            ("position", position) => row.lot_position = Some(position.parse().ok()?),
            _ => return None,
        }
    }
    (posting(&row) == line).then_some(row)
}

fn opening(row: &AccountRow) -> String {
    let account = account(&row.program, &row.account, &row.member);
    let (amount, commodity) = (row.debit.saturating_sub(row.credit), commodity(&row.program, &row.asset));
    let against = amount.saturating_neg();
    format!("    {account}  {amount} {commodity}\n    {}:{BROUGHT_FORWARD}  {against} {commodity}", row.program)
}

fn assertion(row: &AccountRow) -> String {
    let account = account(&row.program, &row.account, &row.member);
    let (amount, commodity) = (row.debit.saturating_sub(row.credit), commodity(&row.program, &row.asset));
    format!("    {account}  0 {commodity} = {amount} {commodity}")
}

fn read_account(line: &str, form: fn(&AccountRow) -> String) -> Option<AccountRow> {
    let first = line.lines().next()?;
    let (name, amount) = first.strip_prefix("    ")?.split_once("  ")?;
    let amount = amount.split_once(" = ").map_or(amount, |(_, asserted)| asserted);
    let ((program, account, member), asset, balance) = read_amount(name, amount)?;
    let (debit, credit) = sides(balance);
    let class = class_of(&account).to_owned();
    let row = AccountRow { program, account, class, member, asset, debit, credit, last_op: None };
    (form(&row) == line).then_some(row)
}

/// Program, account and member; the asset; the balance, credit positive.
type Amount = ((String, String, String), String, i64);

fn read_amount(name: &str, amount: &str) -> Option<Amount> {
    let (number, commodity) = amount.split_once(' ')?;
    let (_, asset) = commodity.trim_matches('"').split_once(':')?;
    Some((read_account_name(name)?, asset.to_owned(), number.parse::<i64>().ok()?.checked_neg()?))
}

fn commodity(program: &str, asset: &str) -> String {
    format!("\"{program}:{asset}\"")
}

fn account(program: &str, account: &str, member: &str) -> String {
    let mut text = format!("{program}:{}", account.replace('/', ":"));
    if !member.is_empty() {
        text.push(':');
        text.push_str(&escape(member));
    }
    text
}

fn read_account_name(name: &str) -> Option<(String, String, String)> {
    let (program, rest) = name.split_once(':')?;
    if let Some(sku) = rest.strip_prefix("reward:") {
        return Some((program.to_owned(), format!("reward/{}", sku.replace(':', "/")), String::new()));
    }
    let mut parts = rest.splitn(3, ':');
    let account = [parts.next(), parts.next()].into_iter().flatten().collect::<Vec<_>>().join("/");
    let member = parts.next().map_or(Some(String::new()), unescape)?;
    Some((program.to_owned(), account, member))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let [high, low] = [rest.next()?, rest.next()?].map(|digit| char::from(digit).to_digit(16));
        bytes.push(u8::try_from(high? * 16 + low?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Reads every row of a file.
pub(super) fn read(
    file: FileReader,
    content: Content,
    each: &mut dyn FnMut(Record) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let name = file.name().to_owned();
    // The lines of the transaction that is being read, its date first.
    let mut lines: Vec<String> = Vec::new();
    for (number, line) in (1_u64..).zip(file.buffered().lines()) {
        let line = line.map_err(ExportError::io(&name))?;
        let bad = || {
            ExportError::damaged(&name, format!("line {number}, or the transaction before it, is not what was written"))
        };
        if line.starts_with("    ") && !lines.is_empty() {
            lines.push(line);
            continue;
        }
        for record in read_lines(content, &lines).ok_or_else(bad)? {
            each(record)?;
        }
        lines.clear();
        match line.strip_prefix("; ") {
            Some(comment) => each(Record::Event(read_header(comment, 0).ok_or_else(bad)?))?,
            None if line.is_empty() => {}
            None => lines.push(line),
        }
    }
    let bad = || ExportError::damaged(&name, "its last transaction is not what was written");
    read_lines(content, &lines).ok_or_else(bad)?.into_iter().try_for_each(each)
}

/// Reads a transaction; none for no lines.
fn read_lines(content: Content, lines: &[String]) -> Option<Vec<Record>> {
    let Some((first, rest)) = lines.split_first() else { return Some(Vec::new()) };
    let mut records = Vec::with_capacity(lines.len());
    match content {
        Content::Opening => {
            first.strip_suffix(" opening balance")?;
            records.push(Record::Account(read_account(&rest.join("\n"), opening)?));
        }
        Content::Assertions => {
            first.strip_suffix(" balances")?;
            for line in rest {
                records.push(Record::Account(read_account(line, assertion)?));
            }
        }
        _ => {
            let event = read_header(first, u64::try_from(rest.len()).ok()?)?;
            let op = event.op;
            records.push(Record::Event(event));
            for (leg, line) in (1..).zip(rest) {
                records.push(Record::Posting(read_posting(line, op, leg)?));
            }
        }
    }
    Some(records)
}
