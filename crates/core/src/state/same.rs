//! A part that many namespaces have alike: one copy in memory, and equal at a glance.
//!
//! Owns: that sharing never shows. A part is changed as if it were nobody else's, and compared by what it holds.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that costs nothing to copy, nor to compare with a copy of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Same<T>(Arc<T>);

impl<T> Same<T> {
    /// Takes the copy that `other` holds, if it is equal: from then on both are one in memory.
    pub fn share(&mut self, other: &Self)
    where
        T: Eq,
    {
        if *self == *other {
            self.0 = Arc::clone(&other.0);
        }
    }
}

// Derived, it would ask for a `T` that can be cloned.
impl<T> Clone for Same<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> From<T> for Same<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Same<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Whoever changes it gets a copy of its own first, if there are others.
impl<T: Clone> DerefMut for Same<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<'a, T> IntoIterator for &'a Same<Vec<T>> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T, I> FromIterator<I> for Same<T>
where
    T: FromIterator<I>,
{
    fn from_iter<F: IntoIterator<Item = I>>(values: F) -> Self {
        T::from_iter(values).into()
    }
}

impl<T: Serialize> Serialize for Same<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Same<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_one_copy_is_no_change_of_the_other() {
        let one = Same::from(vec![1, 2]);
        let mut other = one.clone();
        other.push(3);
        assert_eq!((one.len(), other.len()), (2, 3));
        assert_ne!(one, other);
    }

    #[test]
    fn only_what_is_equal_is_shared() {
        let (one, mut equal, mut else_) = (Same::from(vec![1]), Same::from(vec![1]), Same::from(vec![2]));
        equal.share(&one);
        else_.share(&one);
        assert!(std::ptr::eq(&*equal, &*one));
        assert_eq!(*else_, [2]);
    }

    #[test]
    fn it_is_written_and_read_as_what_it_holds() {
        let same: Same<Vec<u8>> = [1, 2].into_iter().collect();
        let text = serde_json::to_string(&same).unwrap();
        assert_eq!(text, "[1,2]");
        assert_eq!(serde_json::from_str::<Same<Vec<u8>>>(&text).unwrap(), same);
    }
}
