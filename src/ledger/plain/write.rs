//! The bytes of plain earns, put directly: what most events of a busy night are. They are those that the general way gives, in
//! bincode's standard layout; what is not plain is left to it.

use super::super::command::Basis;
use super::super::event::{Account, Common, Earned, Expiry, Leg, LotId, Share};
use super::super::ids::MemberRef;

/// Appends the struct of an earn to `out`; `false` where it says more than plain earns do, and `out` may then have a part of it.
pub(in crate::ledger) fn put(earned: &Earned<'_>, out: &mut Vec<u8>) -> bool {
    let Earned { common, basis, event_kind, version, base, shares, legs, more } = earned;
    if more.0.is_some() || !put_common(common, out) {
        return false;
    }
    match basis {
        Basis::Spend(amount) => {
            out.push(0);
            number(*amount, out);
        }
        Basis::Points(_) => return false,
    }
    match event_kind {
        Some(kind) => {
            out.push(1);
            text(kind, out);
        }
        None => out.push(0),
    }
    number(u64::from(version.0), out);
    number(*base, out);
    count(shares.len(), out) && shares.iter().all(|share| put_share(share, out)) && {
        count(legs.len(), out) && legs.iter().all(|leg| put_leg(leg, out))
    }
}

fn put_common(common: &Common<'_>, out: &mut Vec<u8>) -> bool {
    let Common { program, key, body_hash, member, member_link, behind_us, notes, after, others } = common;
    if notes.is_some() || others.0.is_some() {
        return false;
    }
    number(u64::from(program.0), out);
    text(key, out);
    out.extend_from_slice(body_hash);
    match member {
        MemberRef::Known(member) => {
            out.push(0);
            number(u64::from(member.0), out);
        }
        MemberRef::Opened(member, id) => {
            out.push(1);
            number(u64::from(member.0), out);
            text(id, out);
        }
        MemberRef::Unknown(_) => return false,
    }
    number(*member_link, out);
    signed(*behind_us, out);
    // No notes.
    out.push(0);
    signed(after.available, out);
    signed(after.debt, out);
    true
}

fn put_share(share: &Share, out: &mut Vec<u8>) -> bool {
    let Share { campaign, awarded, short, reason, stopped, cap } = share;
    if reason.is_some() || cap.is_some() {
        return false;
    }
    number(u64::from(campaign.0), out);
    number(*awarded, out);
    number(*short, out);
    // No reason, and no cap behind.
    out.extend_from_slice(&[0, u8::from(*stopped), 0]);
    true
}

fn put_leg(leg: &Leg, out: &mut Vec<u8>) -> bool {
    match leg.account {
        Account::Available { lot: LotId { source, expiry }, position } => {
            out.extend_from_slice(&[0, source.number()]);
            match expiry {
                Expiry::Never => out.push(0),
                Expiry::At(minute) => {
                    out.push(1);
                    number(u64::from(minute), out);
                }
                Expiry::Rolling => out.push(2),
            }
            number(position, out);
        }
        Account::Debt => out.push(1),
        Account::Issuance { link } => {
            out.push(2);
            number(link, out);
        }
        Account::Campaign { campaign, link } => {
            out.push(3);
            number(u64::from(campaign.0), out);
            number(link, out);
        }
        _ => return false,
    }
    out.push(leg.asset.0);
    signed(leg.amount, out);
    true
}

fn count(count: usize, out: &mut Vec<u8>) -> bool {
    u8::try_from(count).is_ok_and(|count| {
        out.push(count);
        true
    })
}

fn text(text: &str, out: &mut Vec<u8>) {
    number(u64::try_from(text.len()).unwrap_or(u64::MAX), out);
    out.extend_from_slice(text.as_bytes());
}

/// Zigzag, then as a number.
fn signed(value: i64, out: &mut Vec<u8>) {
    number((value << 1 ^ value >> 63).cast_unsigned(), out);
}

/// One byte up to 250; greater ones as 2, 4 or 8 bytes behind 251, 252 or 253.
fn number(value: u64, out: &mut Vec<u8>) {
    let bytes @ [a, b, c, d, ..] = value.to_le_bytes();
    match value {
        0..=250 => out.push(a),
        251..=0xffff => out.extend_from_slice(&[251, a, b]),
        0x1_0000..=0xffff_ffff => out.extend_from_slice(&[252, a, b, c, d]),
        _ => {
            out.push(253);
            out.extend_from_slice(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::super::super::codec::{self, general_earn};
    use super::super::super::event::{
        AssetBalances, Balances, CapSpan, CapUse, EarnMore, Event, Legs, NotesRef, Source, Text,
    };
    use super::super::super::ids::{AssetNo, CampaignNo, MemberNo, ProgramNo, RewardNo, VersionNo};
    use super::super::super::later::Later;
    use super::super::super::list::List;
    use super::super::super::reason::Reason;
    use super::super::super::spec::CapPer;
    use super::*;

    /// Numbers on both sides of every bound of their encoding.
    fn numbers() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..300, 0xff00_u64..0x1_0100, 0xffff_ff00_u64..0x1_0000_0100, any::<u64>()]
    }

    fn amounts() -> impl Strategy<Value = i64> {
        prop_oneof![-200_i64..200, any::<i64>()]
    }

    fn leg() -> impl Strategy<Value = Leg> {
        let source = prop_oneof![Just(Source::Base), Just(Source::Campaign), Just(Source::Granted)];
        let more = prop_oneof![Just(Source::Opening), Just(Source::Bonus), Just(Source::Transferred)];
        let expiry = prop_oneof![Just(Expiry::Never), any::<u32>().prop_map(Expiry::At), Just(Expiry::Rolling)];
        let lot = (prop_oneof![source, more], expiry).prop_map(|(source, expiry)| LotId { source, expiry });
        let account = prop_oneof![
            4 => (lot, numbers()).prop_map(|(lot, position)| Account::Available { lot, position }),
            1 => Just(Account::Debt),
            2 => numbers().prop_map(|link| Account::Issuance { link }),
            2 => (any::<u16>(), numbers())
                .prop_map(|(campaign, link)| Account::Campaign { campaign: CampaignNo(campaign), link }),
            1 => numbers().prop_map(|link| Account::Stock { reward: RewardNo(1), link }),
        ];
        (account, any::<u8>(), amounts()).prop_map(|(account, asset, amount)| Leg {
            account,
            asset: AssetNo(asset),
            amount,
        })
    }

    fn share() -> impl Strategy<Value = Share> {
        let reason = prop_oneof![9 => Just(None), 1 => Just(Some(Reason::CapReached))];
        let span = CapSpan { per: CapPer::Day, first_day: 9 };
        let cap = prop_oneof![9 => Just(None), 1 => numbers().prop_map(move |room| Some(CapUse { span, room }))];
        (any::<u16>(), numbers(), numbers(), reason, any::<bool>(), cap).prop_map(
            |(campaign, awarded, short, reason, stopped, cap)| Share {
                campaign: CampaignNo(campaign),
                awarded,
                short,
                reason,
                stopped,
                cap,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_put_is_what_the_general_way_gives(
            (key, id, kind) in ("[a-z]{0,300}", "[a-z]{1,64}", proptest::option::of("[a-z]{1,64}")),
            (program, member, version) in (any::<u16>(), any::<u32>(), any::<u32>()),
            (who, link, behind_us) in (0_u8..8, numbers(), amounts()),
            (available, debt, base, amount) in (amounts(), amounts(), numbers(), numbers()),
            (odd, points) in (0_u8..12, any::<bool>()),
            shares in proptest::collection::vec(share(), 0..4),
            legs in proptest::collection::vec(leg(), 0..9),
        ) {
            let clear = |text| Text { scheme: 0, text };
            let notes = NotesRef {
                reference: clear("r"), channel: clear(""), partner: clear(""), location: clear(""), metadata: Vec::new(),
            };
            let others = vec![AssetBalances { held: 1, ..AssetBalances::default() }];
            let mut list = Legs::default();
            prop_assert!(legs.iter().all(|leg| list.push(*leg)));
            let earned = Earned {
                common: Common {
                    program: ProgramNo(program),
                    key: &key,
                    body_hash: [7; 16],
                    member: match who {
                        0 => MemberRef::Unknown(&id),
                        1..4 => MemberRef::Opened(MemberNo(member), &id),
                        _ => MemberRef::Known(MemberNo(member)),
                    },
                    member_link: link,
                    behind_us,
                    notes: (odd == 1).then_some(notes),
                    after: Balances { available, debt },
                    others: if odd == 2 { Later::new(others) } else { Later::default() },
                },
                basis: if points { Basis::Points(amount) } else { Basis::Spend(amount) },
                event_kind: kind.as_deref(),
                version: VersionNo(version),
                base,
                shares: List(shares.into_iter().collect()),
                legs: list,
                more: match odd {
                    3 => Later::new(EarnMore { asset: AssetNo(1), ..EarnMore::default() }),
                    _ => Later::default(),
                },
            };
            let mut general = vec![0; codec::EVENT_HEADER_BYTES];
            general_earn(&earned, &mut general).unwrap();
            let mut direct = vec![0; codec::EVENT_HEADER_BYTES];
            if put(&earned, &mut direct) {
                prop_assert_eq!(&direct, &general);
            }
            // Whichever way it went, it is read as what it was.
            let (event, mut bytes) = (Event::Earned(earned), Vec::new());
            codec::encode(&event, &mut bytes).unwrap();
            prop_assert_eq!(bytes.get(codec::EVENT_HEADER_BYTES..), general.get(codec::EVENT_HEADER_BYTES..));
            prop_assert_eq!(codec::decode(&bytes).unwrap(), event);
        }
    }
}
