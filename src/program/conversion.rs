//! What units of a program may be turned into in other programs, and the programs whose units it takes.

use super::RATE_TERM_MAX;
use super::asset::Assets;
use super::read::{Field, Remarks};
use crate::ledger::ids::AssetNo;
use crate::ledger::spec::{AssetSpec, CONVERSIONS_MAX, ConversionRate};

/// Reads the list of conversions of the program `own`.
pub(super) fn conversions(
    field: &Field<'_>,
    own: Option<&str>,
    assets: &Assets<'_>,
    remarks: &mut Remarks<'_>,
) -> Option<Vec<ConversionRate>> {
    let items = field.items(CONVERSIONS_MAX, remarks)?;
    let mut rates: Vec<ConversionRate> = Vec::with_capacity(items.len());
    let mut sound = true;
    for item in &items {
        let Some(rate) = conversion(item, own, assets, remarks) else {
            sound = false;
            continue;
        };
        let alike = |other: &ConversionRate| {
            (&other.to, other.asset, &other.to_asset) == (&rate.to, rate.asset, &rate.to_asset)
        };
        if rates.iter().any(alike) {
            sound = false;
            item.error::<()>(remarks, "has the program and the assets of one before it");
        }
        rates.push(rate);
    }
    sound.then_some(rates)
}

fn conversion(
    item: &Field<'_>,
    own: Option<&str>,
    assets: &Assets<'_>,
    remarks: &mut Remarks<'_>,
) -> Option<ConversionRate> {
    let mut section = item.section(remarks)?;
    let to = section.required("to", remarks).and_then(|field| other(&field, own, remarks));
    let asset = match section.optional("from") {
        Some(field) => assets.spent(&field, remarks),
        None => Some(AssetNo::POINTS),
    };
    let to_asset = match section.optional("to_asset") {
        Some(field) => field.id(remarks).map(str::to_owned),
        None => Some(AssetSpec::points().id),
    };
    let units = section.required("from_units", remarks).and_then(|f| f.integer(1..=RATE_TERM_MAX, remarks));
    let to_units = section.required("to_units", remarks).and_then(|f| f.integer(1..=RATE_TERM_MAX, remarks));
    section.finish(remarks);
    Some(ConversionRate { to: to?, asset: asset?, to_asset: to_asset?, units: units?, to_units: to_units? })
}

/// Reads the ids of the programs whose units are taken.
pub(super) fn accepts_from(field: &Field<'_>, own: Option<&str>, remarks: &mut Remarks<'_>) -> Option<Vec<String>> {
    let items = field.items(CONVERSIONS_MAX, remarks)?;
    let mut programs: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        let id = other(item, own, remarks)?;
        if programs.contains(&id) {
            return item.error(remarks, format!("{id:?} is named twice"));
        }
        programs.push(id);
    }
    Some(programs)
}

/// The id of another program; whether there is one is asked when units are to be turned.
fn other(field: &Field<'_>, own: Option<&str>, remarks: &mut Remarks<'_>) -> Option<String> {
    let id = field.id(remarks)?;
    match own == Some(id) {
        true => field.error(remarks, "is this program: units are turned into those of another one"),
        false => Some(id.to_owned()),
    }
}
