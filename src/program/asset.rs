//! What a program counts: its assets with their life, their debt and their worth, and what points are worth against a price.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::check::Place;
use super::conversion::{accepts_from, conversions};
use super::read::{Field, Remarks, Section};
use super::value::{Edge, basis_points, instant, lifetime, worth};
use super::{CAP_POINTS_MAX, GRACE_DAYS_MAX, NAME_BYTES_MAX, RATE_TERM_MAX, VALUES_MAX};
use crate::ledger::ids::AssetNo;
use crate::ledger::spec::{
    ASSETS_MAX, AssetKind, AssetSpec, DebtPolicy, ExpiryPolicy, FairValue, HOLD_DAYS_MAX, Lifetime, Offset,
    ProgramMore, Ratio, RoundUp,
};
use crate::ledger::view::PIECES;

const KINDS: [(&str, AssetKind); 4] = [
    ("spendable", AssetKind::Spendable),
    ("qualifying", AssetKind::Qualifying),
    ("stored_value", AssetKind::StoredValue),
    ("entitlement", AssetKind::Entitlement),
];

/// The assets of a program in the order of their numbers: `points`, then the others that its text lists.
pub(super) struct Assets<'t> {
    /// The id of each that has one, and its kind where that is sound, so that one fault is told once.
    known: Vec<(&'t str, Option<AssetKind>)>,
    /// The sound ones.
    pub(super) specs: Vec<AssetSpec>,
    /// Where each of them is listed; `points` need not be.
    pub(super) places: Vec<Option<Place>>,
}

impl Assets<'_> {
    /// The number of the asset that a field names. It must be one that is earned.
    pub(super) fn earned(&self, field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<AssetNo> {
        match self.named(field, remarks)? {
            (id, _, Some(AssetKind::StoredValue | AssetKind::Entitlement)) => {
                field.error(remarks, format!("{id:?} is not earned: only a spendable or a qualifying asset is"))
            }
            (_, number, _) => Some(number),
        }
    }

    /// The number of the spendable asset that a field names.
    pub(super) fn spent(&self, field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<AssetNo> {
        match self.named(field, remarks)? {
            (_, number, Some(AssetKind::Spendable) | None) => Some(number),
            (id, _, Some(_)) => field.error(remarks, format!("{id:?} is not spendable: nothing else is converted")),
        }
    }

    /// The asset that a field names: its id, its number and, where that is sound, its kind.
    fn named<'f>(&self, field: &Field<'f>, remarks: &mut Remarks<'_>) -> Option<(&'f str, AssetNo, Option<AssetKind>)> {
        let id = field.text(remarks)?;
        let Some(place) = self.known.iter().position(|(known, _)| *known == id) else {
            return field.error(remarks, format!("{id:?} is no asset of this program: list it under [[assets]]"));
        };
        let kind = self.known.get(place).and_then(|(_, kind)| *kind);
        u8::try_from(place).ok().map(|number| (id, AssetNo(number), kind))
    }
}

/// Reads the list of assets.
pub(super) fn assets<'t>(field: Option<Field<'t>>, zone: &TimeZone, remarks: &mut Remarks<'_>) -> Assets<'t> {
    let points = AssetSpec::points();
    let mut assets = Assets { known: vec![("points", Some(points.kind))], specs: vec![points], places: vec![None] };
    let Some((field, items)) = field.and_then(|field| field.items(ASSETS_MAX, remarks).map(|items| (field, items)))
    else {
        return assets;
    };
    let mut points_listed = false;
    for item in &items {
        let Some(mut section) = item.section(remarks) else {
            continue;
        };
        let place = Place { offset: section.offset(), path: item.path.clone() };
        let id = section.required("id", remarks).and_then(|field| {
            let id = field.id(remarks)?;
            if id == PIECES {
                return field.error(remarks, format!("{id:?} is what rewards are counted in"));
            }
            let is_points = id == "points";
            if if is_points { points_listed } else { assets.known.iter().any(|(known, _)| *known == id) } {
                return field.error(remarks, format!("{id:?} is taken"));
            }
            points_listed |= is_points;
            Some(id)
        });
        let kind = kind(&mut section, id, remarks);
        let read = asset(section, id, kind, zone, remarks);
        match id {
            Some("points") => {
                assets.specs.splice(..1, read);
                assets.places.splice(..1, [Some(place)]);
            }
            Some(id) => {
                assets.known.push((id, kind));
                assets.places.extend(read.is_some().then_some(Some(place)));
                assets.specs.extend(read);
            }
            None => {}
        }
    }
    if assets.known.len() > ASSETS_MAX {
        let message = format!("has {} items with \"points\", at most {ASSETS_MAX} are allowed", assets.known.len());
        field.error::<()>(remarks, message);
    }
    assets
}

/// The kind; `points` need not say it, and is always spendable.
fn kind(section: &mut Section<'_>, id: Option<&str>, remarks: &mut Remarks<'_>) -> Option<AssetKind> {
    let is_points = id == Some("points");
    let field = if is_points { section.optional("kind") } else { section.required("kind", remarks) };
    let Some(field) = field else {
        return is_points.then_some(AssetKind::Spendable);
    };
    let kind = field.choice(&KINDS, remarks)?;
    if is_points && kind != AssetKind::Spendable {
        return field.error(remarks, "is not \"spendable\", which points are in every program");
    }
    Some(kind)
}

/// The rest of an asset.
fn asset(
    mut section: Section<'_>,
    id: Option<&str>,
    kind: Option<AssetKind>,
    zone: &TimeZone,
    remarks: &mut Remarks<'_>,
) -> Option<AssetSpec> {
    let unit = match section.optional("unit") {
        Some(field) => field.line(NAME_BYTES_MAX, remarks),
        None if id == Some("points") => Some("point"),
        None => id,
    };
    let expiry = expiry(&mut section, zone, remarks);
    let policies = [("debt", DebtPolicy::Debt), ("clamp", DebtPolicy::Clamp), ("reject", DebtPolicy::Reject)];
    let debt = match section.optional("on_shortfall") {
        Some(field) => field.choice(&policies, remarks),
        None => kind.map(DebtPolicy::usual),
    };
    let debt_max = section.optional("debt_max").map(|field| {
        let most = field.integer(1..=CAP_POINTS_MAX, remarks)?;
        match debt {
            Some(DebtPolicy::Clamp | DebtPolicy::Reject) => {
                field.error(remarks, "goes with on_shortfall = \"debt\" alone: otherwise nobody owes anything")
            }
            _ => Some(most),
        }
    });
    let values = match section.optional("values") {
        Some(field) => values(&field, kind, zone, remarks),
        None => Some(Vec::new()),
    };
    section.finish(remarks);
    Some(AssetSpec {
        id: id?.to_owned(),
        kind: kind?,
        unit: unit?.to_owned(),
        expiry: expiry?,
        debt: debt?,
        debt_max: match debt_max {
            Some(read) => Some(read?),
            None => None,
        },
        values: values?,
    })
}

fn expiry(section: &mut Section<'_>, zone: &TimeZone, remarks: &mut Remarks<'_>) -> Option<ExpiryPolicy> {
    let expires = section.optional("expires");
    let lifetime = match &expires {
        Some(field) => lifetime(field, zone, remarks),
        None => Some(Lifetime::Never),
    };
    let words =
        [("day", RoundUp::Day), ("month", RoundUp::Month), ("quarter", RoundUp::Quarter), ("year", RoundUp::Year)];
    let round_up = match section.optional("round_up") {
        Some(field) => {
            if lifetime == Some(Lifetime::Never) {
                field.warn(remarks, "rounds nothing: the units never lapse");
            }
            field.choice(&words, remarks)
        }
        None => {
            if let (Some(field), Some(Lifetime::Until(instant_us))) = (&expires, lifetime) {
                warn_rounded(field, instant_us, zone, remarks);
            }
            Some(RoundUp::Month)
        }
    };
    Some(ExpiryPolicy { lifetime: lifetime?, round_up: round_up? })
}

/// A fixed time is rounded up as spans are, which the text may not have meant if it does not say so.
fn warn_rounded(field: &Field<'_>, instant_us: i64, zone: &TimeZone, remarks: &mut Remarks<'_>) {
    let local = |us: i64| Timestamp::from_microsecond(us).ok().map(|instant| zone.to_datetime(instant));
    let end = local(instant_us.saturating_sub(1)).and_then(|last| last.date().last_of_month().tomorrow().ok());
    if let Some(end) = end
        && local(instant_us) != Some(end.at(0, 0, 0, 0))
    {
        let message = format!("is rounded up to the end of its month: the units lapse with the beginning of {end}");
        field.warn(remarks, format!("{message}; round_up = \"day\" keeps the day"));
    }
}

fn values(
    field: &Field<'_>,
    kind: Option<AssetKind>,
    zone: &TimeZone,
    remarks: &mut Remarks<'_>,
) -> Option<Vec<FairValue>> {
    let items = field.items(VALUES_MAX, remarks)?;
    let mut before = None;
    let values: Vec<_> = items.iter().map(|item| value(item, kind, &mut before, zone, remarks)).collect();
    values.into_iter().collect()
}

/// One fair value; `before` is from when the one before it holds.
fn value(
    item: &Field<'_>,
    kind: Option<AssetKind>,
    before: &mut Option<i64>,
    zone: &TimeZone,
    remarks: &mut Remarks<'_>,
) -> Option<FairValue> {
    let mut section = item.section(remarks)?;
    let from_us = match section.optional("from") {
        Some(field) => instant(&field, zone, Edge::Start, remarks).and_then(|from_us| match *before {
            Some(before) if from_us <= before => field.error(remarks, "is not after that of the value before"),
            _ => Some(from_us),
        }),
        None if before.is_some() => {
            let text = "is missing: only the first value holds from the beginning";
            remarks.error(section.offset(), &section.path_of("from"), text);
            None
        }
        None => Some(i64::MIN),
    };
    *before = from_us.or(*before).or(Some(i64::MIN));
    let minor_per_unit = section.required("minor_per_unit", remarks).and_then(|field| {
        let ratio = worth(&field, remarks)?;
        if kind == Some(AssetKind::StoredValue) && ratio != (Ratio { numerator: 1, denominator: 1 }) {
            field.warn(remarks, "is not 1: units of stored value are minor units of the currency");
        }
        Some(ratio)
    });
    let redeemed_bp = match section.optional("redeemed") {
        Some(field) => basis_points(&field, remarks),
        None => Some(10_000),
    };
    section.finish(remarks);
    Some(FairValue { from_us: from_us?, minor_per_unit: minor_per_unit?, redeemed_bp: redeemed_bp? })
}

/// What the program `own` says beside rules and campaigns.
pub(super) fn terms(
    root: &mut Section<'_>,
    own: Option<&str>,
    assets: &Assets<'_>,
    remarks: &mut Remarks<'_>,
) -> Option<ProgramMore> {
    let offset = root.optional("offset").map(|field| offset(&field, remarks));
    let days = |field: Option<Field<'_>>, range, default, remarks: &mut Remarks<'_>| match field {
        Some(field) => field.integer(range, remarks).and_then(|days| u32::try_from(days).ok()),
        None => Some(default),
    };
    let grace_days = days(root.optional("grace_days"), 0..=GRACE_DAYS_MAX, 0, remarks);
    let hold_days_max = days(root.optional("hold_days_max"), 1..=u64::from(HOLD_DAYS_MAX), HOLD_DAYS_MAX, remarks);
    let conversions = match root.optional("conversions") {
        Some(field) => conversions(&field, own, assets, remarks),
        None => Some(Vec::new()),
    };
    let accepts_from = match root.optional("accepts_from") {
        Some(field) => accepts_from(&field, own, remarks),
        None => Some(Vec::new()),
    };
    Some(ProgramMore {
        assets: assets.specs.clone(),
        offset: match offset {
            Some(read) => Some(read?),
            None => None,
        },
        grace_days: grace_days?,
        hold_days_max: hold_days_max?,
        conversions: conversions?,
        accepts_from: accepts_from?,
    })
}

fn offset(field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<Offset> {
    let mut section = field.section(remarks)?;
    let points = section.required("points", remarks).and_then(|field| field.integer(1..=RATE_TERM_MAX, remarks));
    let minor = section.required("minor", remarks).and_then(|field| field.integer(1..=RATE_TERM_MAX, remarks));
    section.finish(remarks);
    Some(Offset { points: points?, minor: minor? })
}
