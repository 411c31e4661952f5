//! What an event says of moves between members, of what a member is, of pieces of rewards and of several commands as one.

use stampbook::ledger::event::{Claimed, Event};
use stampbook::ledger::ids::{Op, ProgramNo};

use super::Shelf;
use super::said::{Said, back, tell};

impl Shelf {
    /// Says the rest of an event of one of these kinds.
    pub(super) fn say_moves(&self, op: Op, event: &Event<'_>, said: &mut Said) {
        let program = event.identity().0;
        let more = &mut said.more;
        let mut tell = |name: &str, value: i128| tell(more, name, value);
        match event {
            Event::Transferred(e) => {
                tell("asset", e.asset.0.into());
                tell("units", e.units.into());
            }
            Event::Converted(e) => {
                tell("asset", e.asset.0.into());
                tell("asked", e.asked.into());
                tell("units", e.units.into());
                tell("to asset", e.to_asset.0.into());
                tell("to units", e.to_units.into());
                tell("lapsed", e.lapsed.into());
            }
            Event::MemberSet(e) => {
                tell("joined", e.joined_day.unwrap_or_default().into());
                for put in &e.added {
                    tell(&format!("adds {}", self.tag(program, put.tag)), 1);
                }
                for tag in &e.removed {
                    tell(&format!("removes {}", self.tag(program, *tag)), 1);
                }
            }
            Event::RewardPut(e) => {
                tell(&format!("puts {}", self.sku(program, e.reward)), 1);
                tell("asset", e.asset.0.into());
                tell("price", e.price.into());
                tell("open", i128::from(e.open));
                tell("stocked", e.stocked.into());
                tell("stock", e.stock_after.into());
            }
            Event::CheckedOut(e) => {
                for (place, link) in e.parts.iter().enumerate() {
                    tell(&format!("part {place}"), back(op, *link));
                }
                tell("earn", e.earn.map_or(0, |place| i128::from(place) + 1));
            }
            Event::Redeemed(e) => self.say_pieces(program, e.more.as_deref().and_then(|more| more.claimed), said),
            Event::Held(e) => self.say_pieces(program, e.claimed, said),
            _ => {}
        }
    }

    fn say_pieces(&self, program: ProgramNo, claimed: Option<Claimed>, said: &mut Said) {
        let Some(claimed) = claimed else { return };
        let name = format!("pieces of {}", self.sku(program, claimed.reward));
        tell(&mut said.more, &name, claimed.pieces);
        tell(&mut said.more, "price", claimed.price);
    }
}
