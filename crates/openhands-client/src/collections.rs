//! Maps and sets that take little code.

/// A map or a set of these items, inserted one after the other.
///
/// `collect` makes a B-tree from a sorted list: each type of its items has 4 kB of code of a sort of its own in the binary.
pub fn inserted<C: Default + Extend<T>, T>(items: impl IntoIterator<Item = T>) -> C {
    let mut collection = C::default();
    collection.extend(items);
    collection
}
