//! A cache of bounded memory.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Values by key. When they take more memory than is allowed, those go first that were used the longest time ago, and of
/// those used at one time the most dispensable.
pub(super) struct Kept<K, V> {
    values: HashMap<K, Entry<V>>,
    /// The keys in the order in which they go.
    ranks: BTreeMap<Rank, K>,
    limit: usize,
    bytes: usize,
    now: u64,
    count: u64,
}

/// Compared in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    used: u64,
    worth: u32,
    /// How many were put before it.
    number: u64,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    rank: Rank,
}

impl<K: Hash + Eq + Clone, V> Kept<K, V> {
    /// A cache of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { values: HashMap::new(), ranks: BTreeMap::new(), limit, bytes: 0, now: 0, count: 0 }
    }

    /// Another time begins: what is used from now on outlives what was used before.
    pub(super) fn begin(&mut self) {
        self.now += 1;
    }

    /// The value of a key, which counts as its use.
    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        let entry = self.values.get_mut(key)?;
        if entry.rank.used != self.now {
            let key = self.ranks.remove(&entry.rank)?;
            entry.rank.used = self.now;
            self.ranks.insert(entry.rank, key);
        }
        Some(&entry.value)
    }

    /// Keeps a value of so many bytes, in the place of another of the same key. Of values used at one time the one of least
    /// `worth` goes first. One that is larger than everything is not kept.
    pub(super) fn put(&mut self, key: K, value: V, bytes: usize, worth: u32) {
        self.remove(&key);
        self.count += 1;
        self.bytes += bytes;
        let rank = Rank { used: self.now, worth, number: self.count };
        self.ranks.insert(rank, key.clone());
        self.values.insert(key, Entry { value, bytes, rank });
        while self.bytes > self.limit {
            let Some((_, key)) = self.ranks.pop_first() else { return };
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.values.remove(key) {
            self.bytes -= entry.bytes;
            self.ranks.remove(&entry.rank);
        }
    }

    /// The memory that the values take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    #[test]
    fn what_was_used_last_stays() {
        let mut kept = Kept::new(30);
        for (time, key) in ["a", "b", "c"].into_iter().enumerate() {
            kept.begin();
            kept.put(key, time, 10, 0);
        }
        kept.begin();
        assert_eq!(kept.get(&"a"), Some(&0));
        kept.put("d", 3, 10, 0);
        assert_eq!(kept.bytes(), 30);
        assert_eq!(kept.get(&"b"), None);
        assert_eq!(["a", "c", "d"].map(|key| kept.get(&key).copied()), [Some(0), Some(2), Some(3)]);
    }

    #[test]
    fn of_one_time_the_most_dispensable_goes() {
        let mut kept = Kept::new(40);
        for step in 0..8u32 {
            kept.put(step, step, 10, step.trailing_zeros());
        }
        let mut left: Vec<u32> = (0..8).filter(|step| kept.get(step).is_some()).collect();
        left.sort_unstable();
        assert_eq!(left.len(), 4);
        assert!(left.contains(&0) && left.contains(&4), "{left:?}");
    }

    #[test]
    fn a_key_has_one_value_and_nothing_exceeds_the_limit() {
        let mut kept = Kept::new(25);
        kept.put(1, "first", 10, 0);
        kept.put(1, "second", 20, 0);
        assert_eq!((kept.bytes(), kept.get(&1)), (20, Some(&"second")));
        kept.put(2, "too large", 26, 9);
        assert!(kept.bytes() <= 25);
        assert_eq!(kept.get(&2), None);
    }
}
