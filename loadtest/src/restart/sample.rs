//! Commands whose first receipts are kept, to be asked for again after a crash.

use prost::Message;
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::proto::{
    Balance, BatchGetMembersRequest, Command, Earn, Outcome, PostBatchRequest, Receipt, command::Action, earn::Basis,
};
use tonic::transport::Channel;

use crate::stage::{fill_batches, fill_request};
use crate::{Failure, client, program};

/// Batches of the fill that are asked for, evenly spread, the first and the last among them.
const FILLS: u64 = 24;
/// Members that nobody else posts to, and so many commands in one batch, one each.
const MEMBERS: usize = 100;
/// Batches of the sampler at most.
const SAMPLES_MAX: usize = 5_000;

/// Batches that filled the books, with the receipts that they get.
#[derive(Debug)]
pub(super) struct Fills(Vec<(PostBatchRequest, Vec<Receipt>)>);

impl Fills {
    /// Sends batches of the fill again and keeps their receipts, all of which must be of before.
    pub(super) async fn ask(address: &str, members: u64) -> Result<Self, Failure> {
        let mut ledger = client::ledger(client::connect(address).await?);
        let mut fills = Vec::new();
        for batch in spread(fill_batches(members)) {
            let request = PostBatchRequest::decode(fill_request(members, batch)?.0.as_slice())?;
            let receipts = again(&mut ledger, &request).await?;
            fills.push((request, receipts));
        }
        Ok(Self(fills))
    }

    /// The same again: the same receipts. How many.
    pub(super) async fn hold(&self, address: &str) -> Result<u64, Failure> {
        hold(address, &self.0).await
    }
}

/// [`FILLS`] of so many, the first and the last among them.
fn spread(batches: u64) -> Vec<u64> {
    let last = batches.saturating_sub(1);
    let mut spread: Vec<_> = (0..FILLS).map(|at| last * at / (FILLS - 1)).collect();
    spread.dedup();
    spread
}

/// A command that was sent before answers as it did.
async fn again(ledger: &mut LedgerServiceClient<Channel>, request: &PostBatchRequest) -> Result<Vec<Receipt>, Failure> {
    let receipts = ledger.post_batch(request.clone()).await?.into_inner().receipts;
    if receipts.len() != request.items.len() {
        return Err("a batch got the wrong number of receipts".into());
    }
    match receipts.iter().find(|receipt| !receipt.replayed) {
        Some(lost) => Err(format!("this was posted before and is not known: {lost:?}").into()),
        None => Ok(receipts),
    }
}

/// Batches sent again, against their first receipts.
async fn hold(address: &str, batches: &[(PostBatchRequest, Vec<Receipt>)]) -> Result<u64, Failure> {
    let mut ledger = client::ledger(client::connect(address).await?);
    let mut held = 0;
    for (request, firsts) in batches {
        let receipts = again(&mut ledger, request).await?;
        for (receipt, first) in receipts.iter().zip(firsts) {
            let expected = Receipt { replayed: true, ..first.clone() };
            if *receipt != expected {
                return Err(format!("the first receipt was {expected:?}, now it is {receipt:?}").into());
            }
            held += 1;
        }
    }
    Ok(held)
}

/// Posts for members of its own, and keeps every receipt.
#[derive(Debug)]
pub(super) struct Sampler {
    ledger: LedgerServiceClient<Channel>,
    batches: Vec<(PostBatchRequest, Vec<Receipt>)>,
    /// Of the members, by their last receipts.
    balances: Vec<Balance>,
}

impl Sampler {
    pub(super) fn new(channel: Channel) -> Self {
        Self { ledger: client::ledger(channel), batches: Vec::new(), balances: Vec::new() }
    }

    /// One command for each member; nothing once there are many.
    pub(super) async fn post(&mut self) -> Result<(), Failure> {
        if self.batches.len() == SAMPLES_MAX {
            return Ok(());
        }
        let round = self.batches.len();
        let items = (0..MEMBERS).map(|member| command(round, member)).collect();
        let request = PostBatchRequest { items, atomic: false };
        let receipts = self.ledger.post_batch(request.clone()).await?.into_inner().receipts;
        self.balances = receipts.iter().map(balance_of).collect::<Result<_, _>>()?;
        self.batches.push((request, receipts));
        Ok(())
    }

    /// All commands again: their first receipts. How many.
    pub(super) async fn hold_receipts(&self, address: &str) -> Result<u64, Failure> {
        hold(address, &self.batches).await
    }

    /// The members' balances are those of their last receipts. How many members.
    pub(super) async fn hold_balances(&self, address: &str) -> Result<u64, Failure> {
        if self.balances.is_empty() {
            return Ok(0);
        }
        let mut account = AccountServiceClient::new(client::connect(address).await?);
        let members = (0..MEMBERS).map(member_id).collect();
        let ask = BatchGetMembersRequest { program: program::LOAD.program.to_owned(), members };
        let found = account.batch_get_members(ask).await?.into_inner().members;
        if found.len() != MEMBERS {
            return Err(format!("{} of {MEMBERS} members are there", found.len()).into());
        }
        for (found, expected) in found.iter().zip(&self.balances) {
            if found.balance != Some(*expected) {
                return Err(format!("{found:?} should have {expected:?}").into());
            }
        }
        Ok(u64::try_from(MEMBERS)?)
    }
}

fn balance_of(receipt: &Receipt) -> Result<Balance, Failure> {
    match receipt.balance {
        Some(balance) if receipt.outcome() == Outcome::Applied && !receipt.replayed => Ok(balance),
        _ => Err(format!("a sample was not applied: {receipt:?}").into()),
    }
}

fn member_id(member: usize) -> String {
    format!("sample-{member:013}")
}

fn command(round: usize, member: usize) -> Command {
    let amount = i64::try_from(500 + round % 1_000 + member).unwrap_or(500);
    Command {
        program: program::LOAD.program.to_owned(),
        key: format!("sample-{round}-{member}"),
        member: member_id(member),
        action: Some(Action::Earn(Earn {
            basis: Some(Basis::AmountMinor(amount)),
            event_kind: "purchase".to_owned(),
            ..Default::default()
        })),
        ..Command::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_batch_are_among_those_asked_for() {
        assert_eq!(spread(1), [0]);
        assert_eq!(spread(3), [0, 1, 2]);
        let many = spread(5_000);
        assert_eq!((many.len(), many.first(), many.last()), (24, Some(&0), Some(&4_999)));
    }
}
