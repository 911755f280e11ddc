//! Tests that run one after the other, in the order of their list, while those of other lanes run beside them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

/// A lane: one test at a time.
#[derive(Clone, Default)]
pub struct Lane(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    is_taken: bool,
    /// Places in the list of those that wait.
    waiting: BTreeSet<usize>,
}

/// Who has this is on the lane.
struct Turn<'a>(&'a Inner);

impl Lane {
    /// Runs this when nobody is on the lane, and nobody waits whose place is before `place`.
    pub fn run<T>(&self, place: usize, run: impl FnOnce() -> T) -> T {
        let inner = &*self.0;
        let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(place);
        while state.is_taken || state.waiting.first() != Some(&place) {
            let woken = inner.left.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.remove(&place);
        state.is_taken = true;
        drop(state);
        let _turn = Turn(inner);
        run()
    }
}

impl Drop for Turn<'_> {
    /// Also after a panic.
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_taken = false;
        self.0.left.notify_all();
    }
}

/// The lists as one, in which they take turns as long as they last.
pub fn in_turns<T>(lists: impl IntoIterator<Item = Vec<T>>) -> Vec<T> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(lists.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}
