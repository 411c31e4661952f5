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
    use super::super::super::event::Event;
    use super::super::read::tests::earned;
    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_what_the_general_way_gives(earned in earned()) {
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
