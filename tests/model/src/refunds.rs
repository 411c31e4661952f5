//! What a refund takes back, by the book of rules: every earlier refund of the same earn is looked up and summed.

use std::collections::BTreeMap;

use stampbook::ledger::command::{Action, Basis, Original};
use stampbook::ledger::event::{LotId, Source};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{AssetSpec, DebtPolicy};

use super::book::{Part, Said, tell};
use super::earns::{awards_of, budget_or_issuance};
use super::member::Draft;
use super::{Back, Case, Decided, Earned, Happened, Model, Refunded, Refusal, What, more_of};

fn amount_of(basis: Basis) -> i128 {
    match basis {
        Basis::Spend(amount) | Basis::Points(amount) => amount.into(),
    }
}

/// What a take-back found of what it asked for in an asset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Units that came from what had lapsed of the original's own.
    pub lapsed: i128,
    /// Units that count as taken and were not.
    pub not_taken: i128,
}

/// Of each part what it asks, up to what is there; then what one part lacks from what the other one leaves.
fn shared(asked: [i128; 2], there: [i128; 2]) -> [i128; 2] {
    let [a, b] = [asked[0].min(there[0]), asked[1].min(there[1])];
    let rest = asked[0] + asked[1] - a - b;
    let more_a = rest.min(there[0] - a);
    [a + more_a, b + (rest - more_a).min(there[1] - b)]
}

/// Takes units of an asset back that an event gave, asked for by the source of the lots that they went to. `of` is the
/// event; none for a refund that names no original.
pub fn take_back(
    draft: &mut Draft,
    policy: &AssetSpec,
    asset: u8,
    of: Option<usize>,
    asked: [(Source, i128); 2],
) -> Result<Found, Refusal> {
    let mut rest = asked[0].1 + asked[1].1;
    let mut found = Found::default();
    if let Some(of) = of {
        rest -= take_pending(draft, asset, of, asked);
        let left = if rest == asked[0].1 + asked[1].1 { asked } else { [(asked[0].0, rest), (asked[1].0, 0)] };
        rest -= take_own(draft, asset, of, left);
        let lapsed = draft.member.lapsed.entry((of, asset)).or_default();
        found.lapsed = rest.min(*lapsed);
        *lapsed -= found.lapsed;
        rest -= found.lapsed;
        draft.put(asset, "breakage", -found.lapsed);
    }
    rest -= draft.spend(asset, rest).into_iter().map(|(_, units)| units).sum::<i128>();
    match policy.debt {
        DebtPolicy::Debt => {
            let room = policy.debt_max.map_or(rest, |most| (i128::from(most) - draft.member.debt(asset)).max(0));
            draft.owe(asset, rest.min(room));
            found.not_taken = rest - rest.min(room);
        }
        DebtPolicy::Clamp => found.not_taken = rest,
        DebtPolicy::Reject if rest > 0 => return Err((Reason::RefundNotCovered, "original")),
        DebtPolicy::Reject => {}
    }
    Ok(found)
}

/// Takes what is pending of the event; how many.
fn take_pending(draft: &mut Draft, asset: u8, of: usize, asked: [(Source, i128); 2]) -> i128 {
    let Some(at) = draft.member.waiting.iter().position(|entry| entry.op == of) else { return 0 };
    let parts = draft.member.waiting[at].parts.clone();
    let place = |source: Source| parts.iter().position(|(part, id, _)| *part == asset && id.source == source);
    let places = asked.map(|(source, _)| place(source));
    let there = places.map(|place| place.map_or(0, |place| parts[place].2));
    let taken = shared(asked.map(|(_, units)| units), there);
    for (place, units) in places.into_iter().zip(taken) {
        let Some(place) = place else { continue };
        draft.member.waiting[at].parts[place].2 -= units;
        draft.put_pending(asset, parts[place].1, of, -units);
    }
    draft.member.waiting[at].parts.retain(|(_, _, units)| *units > 0);
    taken.iter().sum()
}

/// Takes what is free of the event's own units, whichever lots they lie in by now; how many.
fn take_own(draft: &mut Draft, asset: u8, of: usize, asked: [(Source, i128); 2]) -> i128 {
    let lots = asked.map(|(source, _)| {
        let own = |lot: &&super::member::Lot| lot.units.iter().any(|(op, _)| *op == of);
        let lots = draft.member.lots.iter().filter(|lot| lot.asset == asset && lot.id.source == source);
        let found: Vec<LotId> = lots.filter(own).map(|lot| lot.id).collect();
        assert!(found.len() <= 1, "what an event put into one lot stays together");
        found.first().copied()
    });
    let there = lots.map(|id| id.map_or(0, |id| draft.member.own(asset, id, of)));
    let taken = shared(asked.map(|(_, units)| units), there);
    for (id, units) in lots.into_iter().zip(taken) {
        if let Some(id) = id {
            assert_eq!(draft.debit(asset, id, units), units);
        }
    }
    taken.iter().sum()
}

impl Model {
    /// Decides a refund.
    pub fn refund(&self, case: Case<'_>) -> Result<Decided, Refusal> {
        let Action::Refund { original, basis, .. } = &case.command.action else { unreachable!() };
        if *original == Original::None {
            return refund_alone(case);
        }
        let at = self.named(&case, original).ok_or((Reason::OriginalNotFound, "original"))?;
        let What::Earned(earned) = &self.history[at].what else {
            return Err((Reason::OriginalNotRefundable, "original"));
        };
        self.original(&case, original)?;
        if matches!(earned.basis, Basis::Spend(_)) != matches!(basis, Basis::Spend(_)) {
            return Err((Reason::RefundBasisMismatch, "amount"));
        }
        let before: Vec<&Refunded> = self.refunds_of(at).collect();
        let refunded = before.iter().map(|refund| refund.amount).sum::<i128>() + amount_of(*basis);
        if refunded > amount_of(earned.basis) {
            return Err((Reason::RefundExceedsOriginal, "amount"));
        }
        refund_earn(case, at, earned, &before, refunded)
    }

    fn refunds_of(&self, at: usize) -> impl Iterator<Item = &Refunded> {
        self.take_backs_of(at).filter_map(|what| match what {
            What::Refunded(refunded) => Some(refunded),
            _ => None,
        })
    }

    /// Where in the history stands what a command names, whosever it is; a reference names the newest applied
    /// earn with it, or the newest event that can be undone.
    pub fn named(&self, case: &Case<'_>, original: &Original) -> Option<usize> {
        let at = self.named_itself(case, original)?;
        match (&self.history[at].what, &case.command.action) {
            // What several commands earned is the earn among them.
            (What::CheckedOut { earn: Some(earn), .. }, Action::Refund { .. } | Action::Activate { .. }) => Some(*earn),
            _ => Some(at),
        }
    }

    fn named_itself(&self, case: &Case<'_>, original: &Original) -> Option<usize> {
        match original {
            Original::None => None,
            Original::Op(op) => usize::try_from(op.0).ok()?.checked_sub(1).filter(|at| *at < self.history.len()),
            Original::Key(print) => self.stands.get(print).copied(),
            Original::Reference(reference) => {
                let reverses = matches!(case.command.action, Action::Reverse { .. });
                let is_it = |event: &Happened| {
                    event.program == case.program.id
                        && is_of(case, event)
                        && event.reference == *reference
                        && if reverses { is_reversible(&event.what) } else { matches!(event.what, What::Earned(_)) }
                };
                self.history.iter().rposition(is_it)
            }
        }
    }

    /// The same, if it is this member's.
    pub fn original(&self, case: &Case<'_>, original: &Original) -> Result<usize, Refusal> {
        let at = self.named(case, original).ok_or((Reason::OriginalNotFound, "original"))?;
        if self.history[at].program != case.program.id {
            return Err((Reason::OriginalNotFound, "original"));
        }
        if !is_of(case, &self.history[at]) {
            return Err((Reason::OriginalOtherMember, "original"));
        }
        Ok(at)
    }
}

/// Whether an event is the member's, or one's who went into him.
fn is_of(case: &Case<'_>, event: &Happened) -> bool {
    event.member.as_ref().is_some_and(|member| case.program.root(member) == case.draft.name)
}

/// Whether an event can be undone.
pub fn is_reversible(what: &What) -> bool {
    match what {
        What::Spent { account, .. } => account != "redemption/charity",
        What::Given { .. } => true,
        _ => false,
    }
}

/// What a refund asks of the parts of an award, in their order: base, second award, campaigns.
struct Asked {
    asset: u8,
    campaign: Option<String>,
    source: Source,
    asked: i128,
    not_taken: i128,
}

fn part(asset: u8, campaign: Option<&str>, asked: i128) -> Asked {
    let source = if campaign.is_some() { Source::Campaign } else { Source::Base };
    Asked { asset, campaign: campaign.map(str::to_owned), source, asked, not_taken: 0 }
}

/// Takes the parts back, asset by asset, and puts what was really taken where it came from; what lapsed of it, by asset.
fn take_parts(
    case: &mut Case<'_>,
    assets: &[AssetSpec],
    of: Option<usize>,
    parts: &mut [Asked],
    said: &mut Said,
) -> Result<BTreeMap<u8, i128>, Refusal> {
    let mut lapsed = BTreeMap::new();
    let mut in_order: Vec<u8> = parts.iter().map(|part| part.asset).collect();
    in_order.sort_unstable();
    in_order.dedup();
    for asset in in_order {
        let asked = |source: Source| -> (Source, i128) {
            let of_source = parts.iter().filter(|part| part.asset == asset && part.source == source);
            (source, of_source.map(|part| part.asked).sum())
        };
        let asked = [asked(Source::Base), asked(Source::Campaign)];
        let found = take_back(&mut case.draft, &assets[usize::from(asset)], asset, of, asked)?;
        lapsed.insert(asset, found.lapsed);
        let mut short = found.not_taken;
        // The last campaign falls short first, the base last.
        for part in parts.iter_mut().rev().filter(|part| part.asset == asset) {
            part.not_taken = short.min(part.asked);
            short -= part.not_taken;
        }
        assert_eq!(short, 0);
    }
    let mut campaigns = 0_i128;
    for part in parts.iter() {
        let account = match &part.campaign {
            None => "issuance".to_owned(),
            Some(campaign) => budget_or_issuance(case.program, campaign),
        };
        case.draft.put(part.asset, &account, part.asked - part.not_taken);
        let number = match (&part.campaign, part.asset) {
            (Some(_), _) => {
                campaigns += 1;
                1 + campaigns
            }
            (None, asset) => i128::from(asset != parts[0].asset),
        };
        tell(&mut said.more, &format!("not taken of part {number}"), part.not_taken);
    }
    for (asset, units) in &lapsed {
        tell(&mut said.more, &format!("lapsed of {asset}"), *units);
    }
    Ok(lapsed)
}

/// Takes back a part of an earn: each leg's part up to now, less what earlier refunds asked of it.
fn refund_earn(
    mut case: Case<'_>,
    at: usize,
    earned: &Earned,
    before: &[&Refunded],
    refunded: i128,
) -> Result<Decided, Refusal> {
    let amount = amount_of(earned.basis);
    let so_far = |leg: i128| leg * refunded / amount;
    let base_total = so_far(earned.base);
    let base = base_total - before.iter().map(|refund| refund.base).sum::<i128>();
    let mut said = Said { what: "refunded".to_owned(), version: Some(earned.version), base, ..Said::default() };
    tell(&mut said.more, "asset", earned.asset);
    tell(&mut said.more, "original", at + 1);
    tell(&mut said.more, "amount so far", refunded);
    tell(&mut said.more, "base so far", base_total);
    let mut parts = vec![part(earned.asset, None, base)];
    let mut also = 0;
    if let Some((asset, units)) = earned.also.filter(|(_, units)| *units > 0) {
        also = so_far(units) - before.iter().map(|refund| refund.also).sum::<i128>();
        tell(&mut said.more, "also asset", asset);
        tell(&mut said.more, "also of", units);
        tell(&mut said.more, "also", also);
        tell(&mut said.more, "also so far", so_far(units));
        parts.push(part(asset, None, also));
    }
    for award in &earned.awards {
        let earlier = before.iter().flat_map(|refund| &refund.parts).filter(|back| back.campaign == award.campaign);
        let asked = so_far(award.points) - earlier.map(|back| back.asked).sum::<i128>();
        let campaign = award.campaign.clone();
        tell(&mut said.more, &format!("{campaign} so far"), so_far(award.points));
        said.parts.push(Part { campaign, desired: award.points, moved: asked, reason: None });
        parts.push(part(award.asset, Some(&award.campaign), asked));
    }
    // The rules of the earn hold, not those of today.
    let index = usize::try_from(earned.version).unwrap() - 1;
    let assets = more_of(&case.program.versions[index].spec).assets;
    let lapsed = take_parts(&mut case, &assets, Some(at + 1), &mut parts, &mut said)?;
    for (asset, units) in &lapsed {
        let earlier = before.iter().filter_map(|refund| refund.lapsed.get(asset)).sum::<i128>();
        tell(&mut said.more, &format!("lapsed of {asset} so far"), earlier + units);
    }
    let back = |part: &Asked| {
        let campaign = part.campaign.clone()?;
        Some(Back { campaign, asked: part.asked, taken: part.asked - part.not_taken })
    };
    let refund = Refunded {
        original: at,
        amount: refunded - before.iter().map(|refund| refund.amount).sum::<i128>(),
        base,
        also,
        parts: parts.iter().filter_map(back).collect(),
        lapsed,
    };
    case.decided(said, What::Refunded(refund))
}

/// A refund that names no original: the awards of its own time for as much spend, and no bonus.
fn refund_alone(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Refund { basis, event_kind, .. } = &case.command.action else { unreachable!() };
    let (base, also) = awards_of(case.spec, *basis, event_kind.as_deref(), "refund.event_kind")?;
    let mut said = Said { what: "refunded".to_owned(), version: Some(case.version), base, ..Said::default() };
    let mut parts = vec![part(0, None, base)];
    if let Some((asset, units)) = also.filter(|(_, units)| *units > 0) {
        tell(&mut said.more, "also asset", asset);
        tell(&mut said.more, "also", units);
        parts.push(part(asset, None, units));
    }
    let assets = more_of(case.spec).assets;
    take_parts(&mut case, &assets, None, &mut parts, &mut said)?;
    case.decided(said, What::Other)
}
