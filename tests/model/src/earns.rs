//! What an earn comes to: the base award, a second one, the campaigns of each, all of it at once or pending.

use std::collections::BTreeMap;

use stampbook::ledger::command::{Action, Basis, Matures};
use stampbook::ledger::event::{LotId, Source};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{CampaignSpec, OnExhausted, ProgramSpec, Rule};
use stampbook::ledger::view::CampaignStatus;

use super::award::{self, AMOUNT_MAX, Candidate};
use super::book::{Part, Said, tell};
use super::caps::cap_span;
use super::member::Waiting;
use super::refunds::is_reversible;
use super::{Award, Case, Decided, Earned, Model, Program, Refusal, What, asset_of_campaign, dates};

/// Pending earns that a member may have.
pub const PENDING_MAX: usize = 64;

/// The base award, and the second one that the rule gives for the same spend.
pub fn awards_of(
    spec: &ProgramSpec,
    basis: Basis,
    kind: Option<&str>,
    field: &'static str,
) -> Result<(i128, Option<(u8, i128)>), Refusal> {
    let rule = spec.rules.iter().find(|rule| Some(rule.kind.as_str()) == kind);
    let also_of = |rule: &Rule| rule.more.as_deref().and_then(|more| more.also);
    let (base, also) = match (basis, kind, rule) {
        (Basis::Points(points), None, _) | (Basis::Points(points), _, Some(_)) => (points.into(), None),
        (Basis::Spend(minor_units), _, Some(rule)) => {
            let also = also_of(rule);
            let also = also.map(|also| (also.asset.0, award::of_spend(also.rate, also.rounding, minor_units.into())));
            (award::of_spend(rule.rate, rule.rounding, minor_units.into()), also)
        }
        (_, _, None) => return Err((Reason::EventKindUnknown, field)),
    };
    match base > AMOUNT_MAX || also.is_some_and(|(_, units)| units > AMOUNT_MAX) {
        true => Err((Reason::AmountOverflow, "amount")),
        false => Ok((base, also)),
    }
}

impl Model {
    /// Decides an earn.
    pub fn earn(&self, mut case: Case<'_>) -> Result<Decided, Refusal> {
        let Action::Earn { basis, event_kind, asset, matures } = &case.command.action else { unreachable!() };
        let (asset, kind, spec) = (asset.0, event_kind.as_deref(), case.spec);
        let (base, also) = awards_of(spec, *basis, kind, "earn.event_kind")?;
        let mut parts = Vec::new();
        for (asset, units) in [Some((asset, base)), also].into_iter().flatten() {
            let candidates = match kind {
                Some(kind) if units > 0 => self.candidates(&case, asset, kind),
                _ => Vec::new(),
            };
            parts.extend(award::parts(units, spec.greatest_total, &candidates).into_iter().map(|part| (asset, part)));
        }
        parts.sort_by(|a, b| a.1.campaign.cmp(&b.1.campaign));
        let matures = pending_until(&case, *matures, kind);
        let mut said = Said { what: "earned".to_owned(), version: Some(case.version), base, ..Said::default() };
        tell(&mut said.more, "asset", asset);
        if let Some((asset, units)) = also.filter(|(_, units)| *units > 0) {
            tell(&mut said.more, "also asset", asset);
            tell(&mut said.more, "also", units);
        }
        let credits = credits(&mut case, (asset, base), also, &parts);
        case.roll(asset);
        if let Some((also, _)) = also {
            case.roll(also);
        }
        self.pay_out(&mut case, credits, matures, &mut said)?;
        let awards = parts.iter().map(|(asset, part)| Award {
            campaign: part.campaign.clone(),
            asset: *asset,
            points: part.moved,
            cap_span: campaign(spec, part).cap.map(|cap| cap_span(spec, cap.per, case.occurred_at_us)),
        });
        let awards = awards.collect();
        let what = What::Earned(Earned { basis: *basis, version: case.version, asset, base, also, awards });
        let stops = parts
            .iter()
            .filter(|(_, part)| part.reason == Some(Reason::CampaignBudgetExhausted))
            .filter(|(_, part)| campaign(spec, part).on_exhausted == OnExhausted::Stop)
            .map(|(_, part)| part.campaign.clone())
            .collect();
        said.parts = parts.into_iter().map(|(_, part)| part).collect();
        Ok(Decided { stops, ..case.decided(said, what)? })
    }

    /// Credits an award, or lets it wait.
    fn pay_out(
        &self,
        case: &mut Case<'_>,
        credits: Vec<(u8, LotId, i128)>,
        matures: Option<Option<i64>>,
        said: &mut Said,
    ) -> Result<(), Refusal> {
        let op = case.draft.op;
        let Some(matures_us) = matures.filter(|_| !credits.is_empty()) else {
            let mut lapsed: BTreeMap<u8, i128> = BTreeMap::new();
            for (asset, id, units) in credits {
                *lapsed.entry(asset).or_default() += case.draft.credit(asset, id, units, op);
            }
            say_lapsed(said, &lapsed);
            return Ok(());
        };
        if case.draft.member.waiting.len() >= PENDING_MAX {
            return Err((Reason::PendingFull, "member"));
        }
        tell(&mut said.more, "matures", matures_us.unwrap_or(-1));
        for (asset, id, units) in &credits {
            case.draft.put_pending(*asset, *id, op, *units);
        }
        case.draft.member.waiting.push(Waiting { op, matures_us, parts: credits });
        Ok(())
    }

    /// Decides what makes an earn available that is pending.
    pub fn activate(&self, mut case: Case<'_>) -> Result<Decided, Refusal> {
        let Action::Activate { original } = &case.command.action else { unreachable!() };
        let at = self.named(&case, original).ok_or((Reason::OriginalNotFound, "original"))?;
        let what = &self.history[at].what;
        if !matches!(what, What::Earned(_)) && !is_reversible(what) {
            return Err((Reason::NotPending, "original"));
        }
        let earn = self.original(&case, original)? + 1;
        if !case.draft.member.waiting.iter().any(|entry| entry.op == earn) {
            return Err((Reason::NotPending, "original"));
        }
        let lapsed = super::due::activate(&mut case.draft, earn);
        let mut said = Said { what: "activated".to_owned(), ..Said::default() };
        tell(&mut said.more, "earn", earn);
        say_lapsed(&mut said, &lapsed);
        case.decided(said, What::Other)
    }

    /// The campaigns of the rules in force that take part in an award of an asset.
    fn candidates(&self, case: &Case<'_>, asset: u8, kind: &str) -> Vec<Candidate> {
        let Case { program, spec, occurred_at_us, .. } = *case;
        let counters = self.counters();
        let takes_part = |campaign: &&CampaignSpec| {
            (campaign.start_us..campaign.end_us).contains(&occurred_at_us)
                && (campaign.kinds.is_empty() || campaign.kinds.iter().any(|of| of == kind))
                && asset_of_campaign(campaign) == asset
                && program.campaigns[&campaign.id] == CampaignStatus::Open
        };
        let candidate = |campaign: &CampaignSpec| Candidate {
            id: campaign.id.clone(),
            group: campaign.group.clone(),
            multiplier: campaign.multiplier,
            budget_left: program.balance(&program.budget(&campaign.id)),
            cap_room: campaign.cap.map(|cap| {
                let span = cap_span(spec, cap.per, occurred_at_us);
                let counter = (program.id.clone(), case.draft.name.clone(), campaign.id.clone(), span);
                let used = counters.get(&counter).copied().unwrap_or(0);
                (i128::from(cap.points) - used).max(0)
            }),
        };
        spec.campaigns.iter().filter(takes_part).map(candidate).collect()
    }
}

fn campaign<'s>(spec: &'s ProgramSpec, part: &Part) -> &'s CampaignSpec {
    spec.campaigns.iter().find(|campaign| campaign.id == part.campaign).unwrap()
}

/// Tells what had lapsed before it was booked, by asset.
pub fn say_lapsed(said: &mut Said, lapsed: &BTreeMap<u8, i128>) {
    for (asset, units) in lapsed {
        tell(&mut said.more, &format!("lapsed of {asset}"), *units);
    }
}

/// Until when an award waits; outer `None`: not at all, inner: until it is activated.
fn pending_until(case: &Case<'_>, asked: Option<Matures>, kind: Option<&str>) -> Option<Option<i64>> {
    let rule = case.spec.rules.iter().find(|rule| Some(rule.kind.as_str()) == kind);
    let by_rule = rule.and_then(|rule| rule.more.as_deref()).and_then(|more| more.pending);
    let until = match (asked, by_rule) {
        (Some(Matures::At(instant)), _) => Some(instant),
        (Some(Matures::Activated), _) => None,
        (None, Some(rule)) => dates::matures(case.spec, rule, case.occurred_at_us),
        (None, None) => return None,
    };
    match until {
        Some(instant) if instant <= case.now_us => None,
        until => Some(until),
    }
}

/// Puts what pays for an award on its accounts; what is to be credited, part after part.
fn credits(
    case: &mut Case<'_>,
    base: (u8, i128),
    also: Option<(u8, i128)>,
    parts: &[(u8, Part)],
) -> Vec<(u8, LotId, i128)> {
    let mut credits = Vec::new();
    for (asset, units) in [Some(base), also].into_iter().flatten() {
        case.draft.put(asset, "issuance", -units);
        credits.push((asset, case.lot(asset, Source::Base), units));
    }
    for asset in [Some(base), also].into_iter().flatten().map(|(asset, _)| asset) {
        let of_asset = || parts.iter().filter(|(of, _)| *of == asset).map(|(_, part)| part);
        for part in of_asset() {
            case.draft.put(asset, &format!("campaign/{}", part.campaign), -part.moved);
        }
        let bonus = of_asset().map(|part| part.moved).sum();
        credits.push((asset, case.lot(asset, Source::Campaign), bonus));
    }
    credits.retain(|(_, _, units)| *units > 0);
    credits
}

/// Where a campaign's share goes back to.
pub fn budget_or_issuance(program: &Program, campaign: &str) -> String {
    match program.campaigns[campaign] {
        CampaignStatus::Closed => "issuance".to_owned(),
        _ => format!("campaign/{campaign}"),
    }
}
