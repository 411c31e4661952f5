//! Units that go to another member, of the program or of another one.

use stampbook::ledger::command::{Action, Command, Standing};
use stampbook::ledger::event::{Expiry, LotId, Source};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{AssetKind, ProgramSpec};

use super::book::{Said, tell};
use super::member::Draft;
use super::{Case, Counterpart, Decided, Model, Program, Refusal, What, dates, more_of, roll};

/// The account of who receives, whom the event may create.
fn receiver(program: &Program, name: &str, like: &Draft) -> Result<Draft, Refusal> {
    let name = program.root(name);
    let draft = Draft::new(name, program.member(name), like.op, like.now_us);
    match draft.member.standing {
        Standing::Closed => Err((Reason::MemberClosed, "other")),
        _ => Ok(draft),
    }
}

/// Decides a transfer.
pub fn transfer(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Transfer { to, asset, units } = &case.command.action else { unreachable!() };
    let (asset, units) = (asset.0, i128::from(*units));
    if case.program.root(&to.id) == case.draft.name {
        return Err((Reason::SelfTransfer, "transfer.to"));
    }
    let mut other = receiver(case.program, &to.id, &case.draft)?;
    if case.draft.member.balances(asset)[0] < units {
        return Err((Reason::InsufficientPoints, "transfer.units"));
    }
    // Rolling units live as long as those that the receiver has, or, if he has none, no shorter than with the giver.
    let rolling = |id: &LotId| id.expiry == Expiry::Rolling;
    let of_asset = other.member.lots.iter().filter(|lot| lot.asset == asset);
    let has = of_asset.filter(|lot| rolling(&lot.id) && !lot.units.is_empty()).count() > 0;
    let alive = other.member.untils.get(&asset).is_some_and(|until| i64::from(*until) * dates::MINUTE > case.now_us);
    let taken = case.draft.spend(asset, units);
    if taken.iter().any(|(id, _)| rolling(id)) && !(has && alive) {
        let until = case.draft.member.untils[&asset];
        let own = other.member.untils.entry(asset).or_default();
        *own = until.max(*own);
    }
    for (id, units) in taken {
        let lapsed = other.credit(asset, LotId { source: Source::Transferred, ..id }, units, other.op);
        assert_eq!(lapsed, 0, "what could be spent has not lapsed");
    }
    let mut said = Said { what: "transferred".to_owned(), ..Said::default() };
    tell(&mut said.more, "asset", asset);
    tell(&mut said.more, "units", units);
    let other = Some(Counterpart { program: case.number, draft: other });
    Ok(Decided { other, ..case.decided(said, What::Other)? })
}

impl Model {
    /// What is given and received by the rate of the giver's program, if the other one takes it.
    pub fn rate(
        &self,
        program: &Program,
        spec: &ProgramSpec,
        command: &Command,
        occurred_at_us: i64,
    ) -> Result<(i128, i128), Refusal> {
        let Action::Convert { to_program, asset, to_asset, units, .. } = &command.action else { unreachable!() };
        let there = &self.programs[usize::from(to_program.0)];
        let to_asset = &more_of(there.version_at(occurred_at_us).1).assets[usize::from(to_asset.0)];
        if to_asset.kind != AssetKind::Spendable {
            return Err((Reason::AssetKindMismatch, "convert.to_asset"));
        }
        let rates = more_of(spec).conversions;
        let rate =
            rates.iter().find(|rate| rate.to == there.id && rate.asset == *asset && rate.to_asset == to_asset.id);
        let rate = rate.ok_or((Reason::ConversionUnknown, "convert.to_program"))?;
        if !more_of(there.newest()).accepts_from.contains(&program.id) {
            return Err((Reason::ConversionNotAccepted, "convert.to_program"));
        }
        let whole = i128::from(*units) / i128::from(rate.units);
        match whole {
            0 => Err((Reason::ConversionTooSmall, "convert.units")),
            _ => Ok((whole * i128::from(rate.units), whole * i128::from(rate.to_units))),
        }
    }

    /// Decides a conversion: two programs settle with each other what one member gives and another one receives.
    pub fn convert(&self, mut case: Case<'_>) -> Result<Decided, Refusal> {
        let Action::Convert { to_program, to, asset, to_asset, units: asked } = &case.command.action else {
            unreachable!()
        };
        let (asset, to_asset) = (asset.0, to_asset.0);
        let (given, received) = self.rate(case.program, case.spec, case.command, case.occurred_at_us)?;
        let number = usize::from(to_program.0);
        let there = &self.programs[number];
        let rules = there.version_at(case.occurred_at_us).1;
        let mut other = receiver(there, &to.id, &case.draft)?;
        if case.draft.member.balances(asset)[0] < given {
            return Err((Reason::InsufficientPoints, "convert.units"));
        }
        case.draft.spend(asset, given);
        case.draft.put(asset, &format!("conversion/{}", there.id), given);
        case.roll(asset);
        other.put(to_asset, &format!("conversion/{}", case.program.id), -received);
        roll(&mut other, rules, to_asset, case.occurred_at_us);
        let expiry = dates::expiry(rules, &more_of(rules).assets[usize::from(to_asset)].expiry, case.occurred_at_us);
        let id = LotId { source: Source::Transferred, expiry };
        let lapsed = other.credit(to_asset, id, received, other.op);
        let mut said = Said { what: "converted".to_owned(), ..Said::default() };
        tell(&mut said.more, "asset", asset);
        tell(&mut said.more, "asked", *asked);
        tell(&mut said.more, "units", given);
        tell(&mut said.more, "to asset", to_asset);
        tell(&mut said.more, "to units", received);
        tell(&mut said.more, "lapsed", lapsed);
        let other = Some(Counterpart { program: number, draft: other });
        Ok(Decided { other, ..case.decided(said, What::Other)? })
    }
}
