//! What the books must show after the night.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use serde_json::Value;
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::{GetTrialBalanceRequest, Outcome, PostBatchRequest, Receipt, TrialBalanceRow};

use super::traffic::Shared;
use crate::tally::grouped;
use crate::{Failure, client, program};

/// Commands of a batch.
const BATCH: usize = 1_000;
/// Events of the program itself: its version and its campaign's budget.
const SET_UP_EVENTS: u64 = 2;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Acknowledged commands that the books do not show, or show otherwise than they were acknowledged.
    pub(super) lost: u64,
    /// Commands whose event another command has too.
    pub(super) twice: u64,
    pub(super) funded: i64,
    pub(super) left: i64,
    pub(super) awarded_by_campaign: i64,
    /// What `stampbook verify --rules --json` said.
    pub(super) verified: Value,
    commands: u64,
    applied: u64,
    rejected: u64,
    receipts_awarded: i64,
    receipts_awarded_by_campaign: i64,
    receipts_taken: i64,
    rows: Vec<TrialBalanceRow>,
    pub(super) op: u64,
    /// The last op of the books: that of the trial balance, or of the snapshot taken after it.
    pub(super) ends_at: u64,
}

/// Sends every command once more, to see that each answers with the op that acknowledged it, and holds the sum of their receipts against
/// the balances.
pub(super) async fn online(shared: &Shared, address: &str) -> Result<Findings, Failure> {
    let channel = client::connect(address).await?;
    let mut ledger = client::ledger(channel.clone());
    let mut findings = Findings::default();
    let mut ops = HashSet::with_capacity(shared.night.commands);
    for (batch, acknowledged) in shared.ops.chunks(BATCH).enumerate() {
        let items = (0..acknowledged.len()).map(|offset| shared.night.command(batch * BATCH + offset)).collect();
        let receipts = ledger.post_batch(PostBatchRequest { items, atomic: false }).await?.into_inner().receipts;
        if receipts.len() != acknowledged.len() {
            return Err("a batch got the wrong number of receipts".into());
        }
        for (receipt, op) in receipts.iter().zip(acknowledged) {
            findings.lost += u64::from(!receipt.replayed || receipt.op != op.load(Ordering::Relaxed));
            findings.twice += u64::from(!ops.insert(receipt.op));
            findings.count(receipt);
        }
    }
    let campaign = program::NIGHT.campaign(channel.clone()).await?;
    findings.funded = campaign.funded;
    findings.left = campaign.left;
    findings.awarded_by_campaign = campaign.awarded;
    let ask = GetTrialBalanceRequest { program: program::NIGHT.program.to_owned(), as_of: None, basis: 0 };
    let trial = AccountServiceClient::new(channel).get_trial_balance(ask).await?.into_inner();
    findings.rows = trial.rows;
    findings.op = trial.op;
    Ok(findings)
}

impl Findings {
    fn count(&mut self, receipt: &Receipt) {
        self.commands += 1;
        self.applied += u64::from(receipt.outcome() == Outcome::Applied);
        self.rejected += u64::from(receipt.outcome() == Outcome::Rejected);
        self.receipts_awarded += receipt.awarded;
        self.receipts_awarded_by_campaign +=
            receipt.awards.iter().filter(|award| !award.campaign.is_empty()).map(|award| award.awarded).sum::<i64>();
        self.receipts_taken += receipt.taken;
    }

    /// What members have by the trial balance, less what they owe.
    fn owed_to_members(&self) -> i64 {
        let of_members = self.rows.iter().filter(|row| row.account.starts_with("member/"));
        of_members.map(|row| row.credit - row.debit).sum()
    }

    /// For people.
    pub(super) fn print(&self) {
        println!("every command sent once more: {} replays", grouped(self.commands - self.lost));
        println!("  {} applied, {} rejected for want of points", grouped(self.applied), grouped(self.rejected));
        println!(
            "  {} acknowledged commands lost, {} events shared by two commands",
            grouped(self.lost),
            grouped(self.twice)
        );
        println!(
            "campaign {}: funded {}, awarded {}, left {}",
            program::NIGHT.campaign,
            grouped(self.funded),
            grouped(self.awarded_by_campaign),
            grouped(self.left)
        );
        println!("trial balance at op {}", grouped(self.op));
        println!("  {:<26} {:>16} {:>16}", "account", "debit", "credit");
        for row in &self.rows {
            println!("  {:<26} {:>16} {:>16}", row.account, column(row.debit), column(row.credit));
        }
        let sound = self.verified.get("sound").and_then(Value::as_bool) == Some(true);
        let head = self.verified.get("head").and_then(Value::as_str).unwrap_or("unknown");
        let op = self.verified.get("op").and_then(Value::as_u64).unwrap_or_default();
        let verdict = if sound { "sound, every award recomputed" } else { "NOT SOUND" };
        println!("stampbook verify: {verdict}\n  op {}, head {head}", grouped(op));
    }

    /// An error unless all is as it should be.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let balance = self.receipts_awarded - self.receipts_taken;
        let claims = [
            (self.lost == 0, "every acknowledged command is in the books as it was acknowledged"),
            (self.twice == 0, "no two commands share an event"),
            (self.op == self.commands + SET_UP_EVENTS, "the books hold one event for each command and no other"),
            (self.owed_to_members() == balance, "members have what their receipts say"),
            (self.awarded_by_campaign == self.receipts_awarded_by_campaign, "the campaign paid what the receipts say"),
            (self.funded - self.left == self.awarded_by_campaign, "the budget is down by what the campaign paid"),
            (self.verified.get("sound").and_then(Value::as_bool) == Some(true), "the books are sound"),
            (
                self.verified.get("op").and_then(Value::as_u64) == Some(self.ends_at),
                "the books on disk end where the server said",
            ),
        ];
        let broken: Vec<_> = claims.iter().filter(|(holds, _)| !holds).map(|(_, claim)| *claim).collect();
        if broken.is_empty() { Ok(()) } else { Err(format!("this does not hold: {}", broken.join("; ")).into()) }
    }
}

fn column(amount: i64) -> String {
    if amount == 0 { String::new() } else { grouped(amount) }
}
