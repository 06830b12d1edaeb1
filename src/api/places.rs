//! Who has a place at the endpoint, and who gives it up for whom (contract §3).
//!
//! Deterministic: knows no socket and no clock. Connections come one after the other, and that order is all the time
//! there is.
//!
//! Invariants:
//! - No more than `most` connections have a place, and no more than `most_of_one` of one account.
//! - A new connection takes the place of the one that has been open longest without a good token: of its own account
//!   where that has as many as it may, of all where there is no other place.
//! - One with a good token is never displaced. Where there is no other, the new one gets no place.

use std::net::IpAddr;

use litemap::LiteMap;

/// The places of connections `C`.
pub(super) struct Places<C> {
    most: usize,
    most_of_one: usize,
    /// By number, and so by age: the first has been open longest.
    taken: LiteMap<u64, Place<C>>,
    next: u64,
    displaced: u64,
    turned_away: u64,
}

struct Place<C> {
    account: IpAddr,
    connection: C,
}

/// How crowded it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowd {
    /// Connections at present.
    pub(super) connections: usize,
    /// How many have lost their place so far.
    pub(super) displaced: u64,
    /// How many have got none so far.
    pub(super) turned_away: u64,
}

impl<C> Places<C> {
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, taken: LiteMap::new(), next: 0, displaced: 0, turned_away: 0 }
    }

    /// Gives a new connection a place: its number, and who has lost it.
    ///
    /// # Errors
    /// The connection itself, where all that it could displace have a good token.
    pub(super) fn enter(
        &mut self,
        account: IpAddr,
        connection: C,
        has_good_token: impl Fn(&C) -> bool,
    ) -> Result<(u64, Option<C>), C> {
        let own = self.taken.values().filter(|place| place.account == account).count();
        let own_only = own >= self.most_of_one;
        let mut displaced = None;
        if own_only || self.taken.len() >= self.most {
            let longest = self.taken.iter().find(|(_, place)| {
                (!own_only || place.account == account) && !has_good_token(&place.connection)
            });
            let Some(id) = longest.map(|(id, _)| *id) else {
                self.turned_away += 1;
                return Err(connection);
            };
            displaced = self.leave(id);
            self.displaced += 1;
        }
        let id = self.next;
        self.next += 1;
        self.taken.insert(id, Place { account, connection });
        Ok((id, displaced))
    }

    /// The connection of this number; `None`: it has lost its place, or left.
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut C> {
        self.taken.get_mut(&id).map(|place| &mut place.connection)
    }

    /// Frees a place; one that was lost or left before is nobody's.
    pub(super) fn leave(&mut self, id: u64) -> Option<C> {
        self.taken.remove(&id).map(|place| place.connection)
    }

    pub(super) fn crowd(&self) -> Crowd {
        Crowd { connections: self.taken.len(), displaced: self.displaced, turned_away: self.turned_away }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::HashMap, net::Ipv4Addr, rc::Rc};

    use proptest::prelude::*;

    use super::*;

    /// A connection by its name, and whether it has shown a good token.
    type Named = (&'static str, bool);

    fn address(host: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, host).into()
    }

    /// Lets one come, and says whom it displaces.
    fn come(
        places: &mut Places<Named>,
        host: u8,
        named: Named,
    ) -> Result<Option<&'static str>, &'static str> {
        let entered = places.enter(address(host), named, |(_, good)| *good);
        entered.map(|(_, displaced)| displaced.map(|(name, _)| name)).map_err(|(name, _)| name)
    }

    #[test]
    fn an_account_at_its_limit_displaces_its_own_oldest_without_a_token() {
        let mut places = Places::new(10, 3);
        for (host, named) in [(1, ("other", false)), (2, ("a", true)), (2, ("b", false)), (2, ("c", false))] {
            assert_eq!(come(&mut places, host, named), Ok(None));
        }
        assert_eq!(come(&mut places, 2, ("d", true)), Ok(Some("b")));
        assert_eq!(come(&mut places, 2, ("e", true)), Ok(Some("c")));
        assert_eq!(come(&mut places, 2, ("f", false)), Err("f"));
        assert_eq!(come(&mut places, 1, ("g", false)), Ok(None));
        assert_eq!(places.crowd(), Crowd { connections: 5, displaced: 2, turned_away: 1 });
    }

    #[test]
    fn where_all_places_are_taken_the_oldest_of_all_without_a_token_goes() {
        let mut places = Places::new(3, 2);
        for (host, named) in [(1, ("a", true)), (1, ("b", false)), (2, ("c", false))] {
            assert_eq!(come(&mut places, host, named), Ok(None));
        }
        assert_eq!(come(&mut places, 3, ("d", true)), Ok(Some("b")));
        assert_eq!(come(&mut places, 3, ("e", true)), Ok(Some("c")));
        assert_eq!(come(&mut places, 4, ("f", true)), Err("f"));
    }

    #[test]
    fn an_account_at_its_limit_takes_nobody_elses_place_even_where_all_are_taken() {
        let mut places = Places::new(3, 2);
        for (host, named) in [(2, ("other", false)), (1, ("a", true)), (1, ("b", true))] {
            assert_eq!(come(&mut places, host, named), Ok(None));
        }
        assert_eq!(come(&mut places, 1, ("c", false)), Err("c"));
    }

    #[test]
    fn a_token_that_is_shown_later_counts_and_a_place_that_is_left_is_free() {
        let mut places = Places::new(2, 2);
        let (first, _) = places.enter(address(1), ("a", false), |(_, good)| *good).unwrap();
        let (second, _) = places.enter(address(1), ("b", false), |(_, good)| *good).unwrap();
        places.get_mut(first).unwrap().1 = true;
        assert_eq!(come(&mut places, 1, ("c", true)), Ok(Some("b")));
        assert!(places.get_mut(second).is_none() && places.leave(second).is_none());
        assert_eq!(come(&mut places, 1, ("d", false)), Err("d"));
        assert_eq!(places.leave(first), Some(("a", true)));
        assert_eq!(come(&mut places, 1, ("d", false)), Ok(None));
    }

    proptest! {
        /// Whatever comes, shows tokens, loses them again and leaves: the limits hold, nobody with a good token is
        /// displaced, and each that is was the oldest that could be.
        #[test]
        fn the_limits_hold_and_the_oldest_goes(
            steps in prop::collection::vec((0_u8..4, 0_u8..4, 0_usize..12), 1..200)
        ) {
            struct Guest { id: u64, host: u8, good: Rc<Cell<bool>> }
            const MOST: usize = 6;
            const MOST_OF_ONE: usize = 3;
            let mut places = Places::new(MOST, MOST_OF_ONE);
            let mut there: Vec<Guest> = Vec::new();
            for (step, host, which) in steps {
                match (step, there.get(which)) {
                    (0, Some(guest)) => guest.good.set(!guest.good.get()),
                    (1, Some(guest)) => {
                        prop_assert!(places.leave(guest.id).is_some());
                        there.remove(which);
                    }
                    _ => {
                        let good = Rc::new(Cell::new(false));
                        let of_one = there.iter().filter(|guest| guest.host == host).count();
                        let full = of_one == MOST_OF_ONE || there.len() == MOST;
                        let expected = there.iter().position(|guest| {
                            !guest.good.get() && (guest.host == host || of_one < MOST_OF_ONE)
                        });
                        match places.enter(address(host), good.clone(), |good| good.get()) {
                            Ok((id, displaced)) => {
                                prop_assert_eq!(displaced.is_some(), full);
                                if let Some(displaced) = displaced {
                                    let gone = there.remove(expected.unwrap());
                                    prop_assert!(Rc::ptr_eq(&gone.good, &displaced));
                                }
                                there.push(Guest { id, host, good });
                            }
                            Err(_) => prop_assert!(full && expected.is_none()),
                        }
                    }
                }
                let mut of_each = HashMap::new();
                for guest in &there {
                    *of_each.entry(guest.host).or_insert(0) += 1;
                    prop_assert!(places.get_mut(guest.id).is_some());
                }
                prop_assert_eq!(places.crowd().connections, there.len());
                prop_assert!(there.len() <= MOST && of_each.values().all(|count| *count <= MOST_OF_ONE));
            }
        }
    }
}
