//! The tables of an export and every column of them: the one place that says what they are called and what they mean.

use serde::{Deserialize, Serialize};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A whole number of 64 bits with a sign.
    Integer,
    /// An instant, to the microsecond: RFC 3339 in UTC in text formats, a timestamp in Parquet.
    Time,
    /// UTF-8; empty where there is nothing to say.
    Text,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub of: Type,
    /// Whether it may hold nothing; text is never absent but empty.
    pub optional: bool,
    /// What it means.
    pub about: &'static str,
}

/// What stands in one column of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Absent,
    /// A number.
    Integer(i64),
    /// Microseconds since the Unix epoch.
    Time(i64),
    /// Text.
    Text(String),
}

/// An instant, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub i64);

/// What can stand in a column.
trait Cell: Sized {
    const OF: Type;
    const OPTIONAL: bool = false;
    fn value(&self) -> Value;
    fn read(value: Value) -> Option<Self>;
}

impl Cell for i64 {
    const OF: Type = Type::Integer;
    fn value(&self) -> Value {
        Value::Integer(*self)
    }
    fn read(value: Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }
}

impl Cell for u64 {
    const OF: Type = Type::Integer;
    fn value(&self) -> Value {
        // Ops and units stay far below the sign.
        Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }
    fn read(value: Value) -> Option<Self> {
        i64::read(value).and_then(|number| u64::try_from(number).ok())
    }
}

impl Cell for Instant {
    const OF: Type = Type::Time;
    fn value(&self) -> Value {
        Value::Time(self.0)
    }
    fn read(value: Value) -> Option<Self> {
        match value {
            Value::Time(us) => Some(Self(us)),
            _ => None,
        }
    }
}

impl Cell for String {
    const OF: Type = Type::Text;
    fn value(&self) -> Value {
        Value::Text(self.clone())
    }
    fn read(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<T: Cell> Cell for Option<T> {
    const OF: Type = T::OF;
    const OPTIONAL: bool = true;
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Absent, T::value)
    }
    fn read(value: Value) -> Option<Self> {
        match value {
            Value::Absent => Some(None),
            value => T::read(value).map(Some),
        }
    }
}

/// A table's row as a struct.
pub(super) trait Row: Sized {
    /// The columns, in order.
    const COLUMNS: &'static [Column];
    /// What stands in them.
    fn values(&self) -> Vec<Value>;
    /// The row with these values; `None` if they are not of its columns' types.
    fn read(values: Vec<Value>) -> Option<Self>;
}

macro_rules! table {
    ($(#[$doc:meta])* $row:ident { $($field:ident: $cell:ty = $about:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $row { $(#[doc = $about] pub $field: $cell,)* }

        impl Row for $row {
            const COLUMNS: &'static [Column] = &[$(Column {
                name: stringify!($field),
                of: <$cell as Cell>::OF,
                optional: <$cell as Cell>::OPTIONAL,
                about: $about,
            },)*];

            fn values(&self) -> Vec<Value> {
                vec![$(self.$field.value(),)*]
            }

            fn read(values: Vec<Value>) -> Option<Self> {
                let mut values = values.into_iter();
                let row = Self { $($field: <$cell as Cell>::read(values.next()?)?,)* };
                values.next().is_none().then_some(row)
            }
        }
    };
}

table! {
    /// An account at the op of the snapshot.
    AccountRow {
        program: String = "The program's id.",
        account: String = "The account: member/available, member/debt, member/held, member/pending, issuance, campaign/<id>, redemption/<purpose>, reward/<sku>, and so on.",
        class: String = "The account's class in the chart of accounts.",
        member: String = "The member's id; empty for an account of the program itself.",
        asset: String = "What is counted.",
        debit: i64 = "The balance in units if it is a debit, else 0.",
        credit: i64 = "The balance in units if it is a credit, else 0.",
        last_op: Option<u64> = "The op of the member's newest event; absent for an account of the program itself.",
    }
}

table! {
    /// An event: every op has one, refused commands included.
    EventRow {
        op: u64 = "The event's number; they are dense.",
        book_time: Instant = "When it was booked.",
        occurred_at: Instant = "Business time.",
        effective_at: Option<Instant> = "When what the ledger did by itself was due: the lapse, the maturity, the hold's end.",
        kind: String = "What it did, or was asked to do: earn, refund, redeem, reverse, hold, capture, release, activate, top_up, grant, transfer, convert, merge, member_set, checkout, adjust, opening, standing, program_put, campaign_funded, reward_put, snapshot_taken, and so on; of what the ledger did by itself expired, matured, hold_ended, lots_merged.",
        outcome: String = "applied or rejected.",
        reason: String = "Why it was rejected, as the contract names it.",
        field: String = "The field at fault, where a single one is.",
        program: String = "The program's id; empty for an event of the whole book.",
        member: String = "The member's id; empty for an operator's event.",
        key: String = "The idempotency key; empty for what the ledger did by itself.",
        body_hash: String = "The hash of the command as sent, in hexadecimal digits; empty for what the ledger did by itself.",
        event_kind: String = "The event kind of an earn or of a refund without original.",
        amount_minor: Option<u64> = "Money in minor units of the program's currency, where the command was by spend and was applied.",
        asset: String = "The asset that units counts; of an earn or refund that of its base.",
        units: Option<i64> = "Units that the command was about, where it was applied: earned or refunded by points, redeemed, reversed, held, captured, released, topped up, granted, given to another member, converted, adjusted, brought over, funded; of what the ledger did by itself those that moved.",
        asked: Option<u64> = "Units that were asked for, where not all of them moved.",
        bonus: Option<u64> = "Units given on top of a top-up.",
        released: Option<u64> = "Units that a capture let go beside those that it spent.",
        lapsed: String = "Units that had lapsed by when they were booked and went to breakage, or of a refund came from there: a JSON object by asset; empty for none.",
        not_taken: String = "Units that count as taken back and were not: a JSON object by part: base, also, campaign/<id>; empty for none.",
        offset_minor: Option<u64> = "Money in minor units that the redeemed points stood for.",
        purpose: String = "What a redemption, hold or capture was for.",
        until: Option<Instant> = "Until when a hold pins, an earn is pending, or books are closed; an earn that waits for its activation has none.",
        rolls: String = "Until when the member's rolling units live from then on: a JSON object by asset; empty where nothing changed.",
        standing: String = "What became of the member: open, frozen or closed.",
        joined_on: String = "Of member_set: the date on which the member joined; empty where it stayed as it was.",
        tags_added: String = "Of member_set: the tags put on: a JSON array; empty for none.",
        tags_removed: String = "Of member_set: the tags taken off: a JSON array; empty for none.",
        rule_version: Option<u64> = "The version of the program that decided, or that was put.",
        original_op: Option<u64> = "The op of what is refunded, reversed, activated or has matured; of the hold that is captured, released or has ended.",
        campaign: String = "The campaign of a campaign's event.",
        reward: String = "The reward whose pieces the event is about.",
        pieces: Option<i64> = "Pieces of the reward: bought, reserved, let go, brought back; of reward_put those put in, negative where they were taken out.",
        price: Option<u64> = "Units of the asset that one piece costs, where the event says it.",
        snapshot: String = "The snapshot of a snapshot's event.",
        reference: String = "As sent.",
        channel: String = "As sent.",
        partner: String = "As sent.",
        location: String = "As sent.",
        metadata: String = "As sent: a JSON object; empty for none.",
        actor: String = "Who, for an operator's act.",
        actor_reason: String = "Why, for an operator's act.",
        available_after: Option<i64> = "The member's available points after it; absent where the event does not tell of a member's points.",
        held_after: Option<i64> = "The member's points that holds pin after it; absent as before.",
        pending_after: Option<i64> = "The member's pending points after it; absent as before.",
        debt_after: Option<i64> = "The member's debt in points after it; absent as before.",
        others_after: String = "The member's balances after it in other assets that it tells of: a JSON object by asset of available, held, pending, debt; empty for none.",
        legs: u64 = "How many rows it has in postings.",
        late_for: Option<Instant> = "Up to when the program's books were closed when it was booked, where it is dated before that; else absent.",
        other_program: String = "Of a transfer, conversion or merge: the program of the other member, who received; empty for other events, as the columns that follow.",
        other_member: String = "The other member's id.",
        other_asset: String = "Of a conversion: the asset received, in that program.",
        other_units: Option<u64> = "Of a conversion: the units received.",
        other_lapsed: String = "Of a conversion: units received that had lapsed by when they were booked and went to breakage there: a JSON object by asset; empty for none.",
        other_rolls: String = "Until when the other member's rolling units live from then on: a JSON object by asset; empty where nothing changed.",
        other_after: String = "The other member's balances after it in the assets that it touched: a JSON object by asset of available, held, pending, debt.",
    }
}

table! {
    /// A leg of an event; those of one event sum to zero per program and asset.
    PostingRow {
        op: u64 = "The event.",
        leg: u64 = "The leg's number within the event, from 1.",
        book_time: Instant = "When the event was booked.",
        occurred_at: Instant = "Business time of the event.",
        kind: String = "What the event did.",
        program: String = "The program's id.",
        member: String = "The member whose account it is; empty for an account of the program itself.",
        account: String = "The account, named as in accounts.",
        asset: String = "What is counted.",
        debit: i64 = "Units debited, else 0.",
        credit: i64 = "Units credited, else 0.",
        lot_source: String = "On member/available, held and pending: where the lot's units came from.",
        lot_lapses_at: Option<Instant> = "When the lot's units lapse; absent where they do not, or not at a date of their own.",
        lot_rolling: Option<u64> = "Whether the lot lapses so long after the member's last activity: 1 or 0; absent where there is no lot.",
        lot_position: Option<u64> = "The units that had entered the lot before a credit, or left it before a debit; absent where units do not enter or leave a lot.",
        key: String = "The event's idempotency key.",
        reference: String = "The event's reference.",
        rule_version: Option<u64> = "The version of the program that decided.",
    }
}

table! {
    /// A member at the op of the snapshot.
    MemberRow {
        program: String = "The program's id.",
        member: String = "The member's id.",
        standing: String = "What the member may do: open, frozen or closed.",
        joined_on: String = "The local date on which the member joined, such as 2026-11-21; empty where nobody told it.",
        tags: String = "The member's tags, in order of the alphabet: a JSON array; empty for none.",
        merged_into: String = "The member of the program into whom this one went, with all that it had; empty for who did not.",
    }
}

table! {
    /// A lot of a member at the op of the snapshot.
    LotRow {
        program: String = "The program's id.",
        member: String = "The member's id.",
        asset: String = "What is counted.",
        source: String = "Where its units came from: base, campaign, granted, opening, bonus or transferred.",
        lapses_at: Option<Instant> = "When its units lapse; absent where they do not, or not at a date of their own.",
        rolling: u64 = "Whether it lapses so long after the member's last activity: 1 or 0.",
        until: Option<Instant> = "Of a rolling lot, until when its units live as things stand.",
        entered: u64 = "Where units that enter it next begin, as lot_position has it.",
        left: u64 = "Where units that leave it next begin.",
        units: u64 = "The units in it: entered less left.",
        held: u64 = "How many of them holds pin; the others are available.",
        opened_op: u64 = "The op that put units into it when it was last empty.",
    }
}

table! {
    /// Units of one lot that an open hold pins, at the op of the snapshot.
    HoldRow {
        program: String = "The program's id.",
        member: String = "The member's id.",
        asset: String = "What is counted.",
        op: u64 = "The op of the hold.",
        purpose: String = "What the units are for.",
        until: Instant = "Until when they are pinned.",
        lot_source: String = "The lot, as in lots: where its units came from.",
        lot_lapses_at: Option<Instant> = "When the lot's units lapse; absent where they do not, or not at a date of their own.",
        lot_rolling: u64 = "Whether the lot lapses so long after the member's last activity: 1 or 0.",
        units: u64 = "The units of the lot that it pins.",
        reward: String = "The id of the reward whose pieces the hold reserves; empty for none.",
        pieces: Option<u64> = "How many of them the hold reserves in all, the same in each of its rows; absent where it reserves none.",
    }
}

table! {
    /// Units of a pending earn that will enter one lot, at the op of the snapshot.
    PendingRow {
        program: String = "The program's id.",
        member: String = "The member's id.",
        asset: String = "What is counted.",
        op: u64 = "The op of the earn.",
        matures_at: Option<Instant> = "When they become available; absent where they wait for an activation.",
        lot_source: String = "The lot that they will enter: where its units came from.",
        lot_lapses_at: Option<Instant> = "When the lot's units lapse; absent where they do not, or not at a date of their own.",
        lot_rolling: u64 = "Whether the lot lapses so long after the member's last activity: 1 or 0.",
        units: u64 = "The units.",
    }
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// The accounts at the op of the snapshot.
    Accounts,
    /// What members are there.
    Members,
    /// What the lots of members hold there.
    Lots,
    /// What open holds pin there.
    Holds,
    /// What is pending there.
    Pending,
    /// The events of the range of ops.
    Events,
    /// Their legs.
    Postings,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 7] =
        [Self::Accounts, Self::Members, Self::Lots, Self::Holds, Self::Pending, Self::Events, Self::Postings];

    /// Its name, in file names and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Members => "members",
            Self::Lots => "lots",
            Self::Holds => "holds",
            Self::Pending => "pending",
            Self::Events => "events",
            Self::Postings => "postings",
        }
    }

    /// Its columns, in order.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Accounts => AccountRow::COLUMNS,
            Self::Members => MemberRow::COLUMNS,
            Self::Lots => LotRow::COLUMNS,
            Self::Holds => HoldRow::COLUMNS,
            Self::Pending => PendingRow::COLUMNS,
            Self::Events => EventRow::COLUMNS,
            Self::Postings => PostingRow::COLUMNS,
        }
    }
}

/// A row of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a row lives on the stack until it is written")]
pub enum Record {
    /// Of accounts.
    Account(AccountRow),
    /// Of members.
    Member(MemberRow),
    /// Of lots.
    Lot(LotRow),
    /// Of holds.
    Hold(HoldRow),
    /// Of pending.
    Pending(PendingRow),
    /// Of events.
    Event(EventRow),
    /// Of postings.
    Posting(PostingRow),
}

impl Record {
    /// The table that it is a row of.
    #[must_use]
    pub fn table(&self) -> Table {
        match self {
            Self::Account(_) => Table::Accounts,
            Self::Member(_) => Table::Members,
            Self::Lot(_) => Table::Lots,
            Self::Hold(_) => Table::Holds,
            Self::Pending(_) => Table::Pending,
            Self::Event(_) => Table::Events,
            Self::Posting(_) => Table::Postings,
        }
    }

    /// What stands in its columns.
    #[must_use]
    pub fn values(&self) -> Vec<Value> {
        match self {
            Self::Account(row) => row.values(),
            Self::Member(row) => row.values(),
            Self::Lot(row) => row.values(),
            Self::Hold(row) => row.values(),
            Self::Pending(row) => row.values(),
            Self::Event(row) => row.values(),
            Self::Posting(row) => row.values(),
        }
    }

    /// The row of `table` with these values; `None` if they are not of its columns' types.
    #[must_use]
    pub fn read(table: Table, values: Vec<Value>) -> Option<Self> {
        match table {
            Table::Accounts => Row::read(values).map(Self::Account),
            Table::Members => Row::read(values).map(Self::Member),
            Table::Lots => Row::read(values).map(Self::Lot),
            Table::Holds => Row::read(values).map(Self::Hold),
            Table::Pending => Row::read(values).map(Self::Pending),
            Table::Events => Row::read(values).map(Self::Event),
            Table::Postings => Row::read(values).map(Self::Posting),
        }
    }

    /// Adds the row to a digest, in a form that no format has a part in and in which no two rows are alike.
    pub(super) fn digest(&self, hasher: &mut blake3::Hasher) {
        let tag = match self {
            Self::Account(_) => 0,
            Self::Event(_) => 1,
            Self::Posting(_) => 2,
            Self::Lot(_) => 3,
            Self::Hold(_) => 4,
            Self::Pending(_) => 5,
            Self::Member(_) => 6,
        };
        hasher.update(&[tag]);
        for value in self.values() {
            match value {
                Value::Absent => hasher.update(&[0]),
                Value::Integer(number) => hasher.update(&[1]).update(&number.to_le_bytes()),
                Value::Time(us) => hasher.update(&[2]).update(&us.to_le_bytes()),
                Value::Text(text) => {
                    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
                    hasher.update(&[3]).update(&length.to_le_bytes()).update(text.as_bytes())
                }
            };
        }
    }
}

/// An instant as the text formats write it.
#[must_use]
pub fn time_text(us: i64) -> String {
    // Every instant that a book holds has a calendar date; another is shown as its number.
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |at| at.to_string())
}

/// An instant from its text.
#[must_use]
pub fn time_of(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().map(|at| at.as_microsecond()).or_else(|_| text.parse()).ok()
}
