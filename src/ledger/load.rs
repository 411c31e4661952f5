//! A state from its images. What the images say is checked as far as it can be without the book: their form, that they
//! belong together, and that the balances come to the totals.

use super::capture::{members_in, pages_of};
use super::holding::Holding;
use super::ids::{MemberNo, Op};
use super::image::{PageId, PageKind, names_of, read_holdings};
use super::members::MEMBERS_PER_PAGE;
use super::print::Prints;
use super::state::Ledger;
use super::varint::ImageError;

fn wrong(what: &'static str) -> ImageError {
    ImageError { what, at: 0 }
}

/// The hashes of the ids of a page of names, in order, for [`Ledger::load_names`]. `program_ids` are those of the base
/// image in order of their numbers, see [`super::programs_of`]. It needs no ledger, so that another thread may do it.
///
/// # Errors
/// [`ImageError`] where the bytes are no image of such a page, or name a program that there is not.
pub fn hash_names(bytes: &[u8], program_ids: &[String], prints: &Prints) -> Result<Vec<u128>, ImageError> {
    let hash = |(program, id): (super::ids::ProgramNo, &str)| {
        let program_id = program_ids.get(usize::from(program.0)).ok_or(wrong("a member's program is unknown"))?;
        Ok(prints.member(program_id, id))
    };
    names_of(bytes)?.into_iter().map(hash).collect()
}

impl Ledger {
    /// Loads one page: all pages of names in ascending order, then all of holdings.
    ///
    /// # Errors
    /// [`ImageError`] where the bytes are no image of that page, or do not fit what was loaded so far.
    pub fn load_page(&mut self, id: PageId, bytes: &[u8], prints: &Prints) -> Result<(), ImageError> {
        match id.kind {
            PageKind::Names => {
                let program_ids: Vec<String> = self.programs.iter().map(|program| program.id.to_string()).collect();
                self.load_names(id, bytes, &hash_names(bytes, &program_ids, prints)?)
            }
            PageKind::Holdings => self.load_holdings(id.number, bytes),
        }
    }

    /// Loads one page of names whose hashes are made already, see [`hash_names`].
    ///
    /// # Errors
    /// As [`Ledger::load_page`].
    pub fn load_names(&mut self, id: PageId, bytes: &[u8], hashes: &[u128]) -> Result<(), ImageError> {
        let expected = usize::try_from(self.members_to_load()).unwrap_or(usize::MAX);
        let number = usize::try_from(id.number).unwrap_or(usize::MAX);
        let names = names_of(bytes)?;
        let follows = id.kind == PageKind::Names && number.checked_mul(MEMBERS_PER_PAGE) == Some(self.members.len());
        if !follows || names.len() != members_in(number, expected) || names.len() != hashes.len() {
            return Err(wrong("a page of names does not follow the one before it, or has not as many as it should"));
        }
        hashes.iter().for_each(|hash| self.members.touch(*hash));
        for ((program, name), hash) in names.into_iter().zip(hashes) {
            if self.program(program).is_none() {
                return Err(wrong("a member's program is unknown"));
            }
            self.members.open(program, *hash, name).ok_or(wrong("an id stands for two members"))?;
        }
        if let Some(names) = self.members.names.last_mut() {
            names.changed = false;
        }
        Ok(())
    }

    fn load_holdings(&mut self, number: u32, bytes: &[u8]) -> Result<(), ImageError> {
        let (holdings, caps) = read_holdings(bytes, number)?;
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        // A page counts as changed from when its names were loaded until its holdings are.
        let fits = |page: &super::members::Page| page.changed && page.slots.len() == holdings.len();
        if !self.members.pages.get(place).is_some_and(fits) {
            return Err(wrong("a page of holdings has no page of names, or not as many members, or was loaded before"));
        }
        let first = u64::from(number) * u64::try_from(MEMBERS_PER_PAGE).unwrap_or(0);
        for (member, holding) in (first..).zip(&holdings) {
            let member = u32::try_from(member).map_err(|_| wrong("a member's number is too great"))?;
            if holding.head > self.newest {
                return Err(wrong("a member's newest event is none of the book"));
            }
            let program = self.members.program(MemberNo(member));
            let program =
                program.and_then(|program| self.program_mut(program)).ok_or(wrong("a member has no program"))?;
            program.count_lapsing(holding).map_err(wrong)?;
            program.rewards.reserving.follow(MemberNo(member), &[], &holding.holds);
            self.members.set_holding(MemberNo(member), holding);
        }
        caps.into_iter().for_each(|(key, used)| self.members.set_cap(key, Some(used)));
        if let Some(page) = self.members.pages.get_mut(place) {
            page.changed = false;
        }
        Ok(())
    }

    /// Ends a load: every page is there, and the members' balances come to the totals.
    ///
    /// # Errors
    /// [`ImageError`] where they do not.
    pub fn finish_load(&self) -> Result<(), ImageError> {
        let all = u64::try_from(self.members.len()).ok() == Some(self.members_to_load())
            && self.members.pages.len() == usize::try_from(pages_of(self.members.len())).unwrap_or(usize::MAX)
            && self.members.pages.iter().all(|page| !page.changed);
        let went = |(goer, into): &(MemberNo, MemberNo)| {
            let program = self.members.program(*goer);
            let left = self.members.holding(*goer).map(|holding| Holding { head: Op(0), ..holding });
            program.is_some() && program == self.members.program(*into) && left == Some(Holding::default())
        };
        match all && self.members.aliases.steps().iter().all(went) {
            false => Err(wrong("pages are missing, or a member who went into another has something left")),
            true => self.check_sums().map_err(|_| wrong("the balances of the pages do not come to the base's totals")),
        }
    }
}
