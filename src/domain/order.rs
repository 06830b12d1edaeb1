//! Order for short lists, by one copy of the machine code.
//!
//! The standard library's sort is compiled again for each type, 5 kB each time, and `collect()` into a `BTreeMap` or a
//! `BTreeSet` brings one along. What has thousands of elements, or stands in the way of a swipe, uses it all the same.

use std::{cmp::Ordering, mem};

use litemap::LiteMap;

/// Sorts a short list. Elements that are equal stay in their order.
pub fn sort<T: Ord>(items: &mut Vec<T>) {
    sort_by(items, T::cmp);
}

/// Sorts a short list by a key. Elements with equal keys stay in their order.
pub fn sort_by_key<T, K: Ord>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts a short list by how two elements compare. Those that are equal stay in their order.
pub fn sort_by<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let mut places: Vec<usize> = (0..items.len()).collect();
    sort_places(&mut places, &|one, other| match (items.get(one), items.get(other)) {
        (Some(one), Some(other)) => compare(one, other),
        _ => Ordering::Equal,
    });
    let mut unsorted: Vec<Option<T>> = mem::take(items).into_iter().map(Some).collect();
    items.extend(places.iter().filter_map(|place| unsorted.get_mut(*place)?.take()));
}

fn sort_places(places: &mut [usize], compare: &dyn Fn(usize, usize) -> Ordering) {
    places.sort_by(|one, other| compare(*one, *other));
}

/// What every iterator can do besides.
pub trait Ordered: Iterator {
    /// Inserts all elements into a sorted collection, one after the other.
    fn ordered<C: Default + Extend<Self::Item>>(self) -> C;
}

/// Puts entries into a sorted list by their keys, one after the other: what its own `collect()` does with a sort.
pub fn sorted_list<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> LiteMap<K, V> {
    let mut list = LiteMap::new();
    for (key, value) in entries {
        list.insert(key, value);
    }
    list
}

impl<I: Iterator> Ordered for I {
    fn ordered<C: Default + Extend<Self::Item>>(self) -> C {
        let mut collection = C::default();
        collection.extend(self);
        collection
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_order_of_the_standard_library(items in vec((0..5_u8, any::<u8>()), 0..40)) {
            let mut sorted = items.clone();
            sorted.sort_by_key(|(key, _)| *key);
            let mut by_key = items.clone();
            sort_by_key(&mut by_key, |(key, _)| *key);
            prop_assert_eq!(&by_key, &sorted);

            sorted.sort();
            let mut whole = items.clone();
            sort(&mut whole);
            prop_assert_eq!(&whole, &sorted);

            let map: BTreeMap<u8, u8> = items.iter().copied().ordered();
            prop_assert_eq!(&map, &items.iter().copied().collect::<BTreeMap<u8, u8>>());
            prop_assert!(sorted_list(items).iter().eq(&map));
        }
    }
}
