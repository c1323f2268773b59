//! Maps and sets that need little code in the binary.

/// Inserts these items one after the other into a new map or set.
///
/// `collect` builds a B-tree from a sorted list, and its sort function takes 4 kB in the binary for each item type.
pub fn inserted<C: Default + Extend<T>, T>(items: impl IntoIterator<Item = T>) -> C {
    let mut collection = C::default();
    collection.extend(items);
    collection
}
