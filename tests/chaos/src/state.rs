//! State of this process: whether its token is gone, and its open sessions.

use std::{
    fs::File,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cryptoki_sys::*;

use crate::orders::directory;

static STATE: Mutex<State> = Mutex::new(State {
    removed: None,
    sessions: Vec::new(),
    hashing: Vec::new(),
    signing: Vec::new(),
    searching: Vec::new(),
    alone: None,
});

struct State {
    removed: Option<CK_RV>,
    sessions: Vec<(CK_SLOT_ID, CK_SESSION_HANDLE)>,
    /// The sessions that hash, and their hash mechanisms.
    hashing: Vec<(CK_SESSION_HANDLE, CK_MECHANISM_TYPE)>,
    /// The key of each session's signature.
    signing: Vec<(CK_SESSION_HANDLE, CK_OBJECT_HANDLE)>,
    /// The search of each session.
    searching: Vec<Search>,
    /// Locked while this process has the token for itself.
    alone: Option<File>,
}

struct Search {
    session: CK_SESSION_HANDLE,
    class: Option<CK_OBJECT_CLASS>,
    found: CK_ULONG,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the token: calls return this code until the library is initialised again.
pub(crate) fn remove(code: CK_RV) {
    state().removed = Some(code);
}

/// What calls return when the token is gone.
pub(crate) fn removed() -> Option<CK_RV> {
    state().removed
}

/// After `C_Finalize`, nothing is open, and the next `C_Initialize` finds tokens again.
pub(crate) fn finalized() {
    let mut state = state();
    state.removed = None;
    state.sessions.clear();
    state.hashing.clear();
    state.signing.clear();
    state.searching.clear();
    state.alone = None;
}

/// Claims the token. Returns false when another process has claimed it and not finalised yet.
pub(crate) fn has_token_alone() -> bool {
    let mut state = state();
    if state.alone.is_none() {
        let path = directory().map(|directory| directory.join("alone"));
        let file = path.and_then(|path| File::create(path).ok());
        state.alone = file.filter(|file| file.try_lock().is_ok());
    }
    state.alone.is_some()
}

/// Number of open sessions.
pub(crate) fn sessions() -> usize {
    state().sessions.len()
}

pub(crate) fn opened(slot: CK_SLOT_ID, session: CK_SESSION_HANDLE) {
    state().sessions.push((slot, session));
}

pub(crate) fn closed(session: CK_SESSION_HANDLE) {
    state().sessions.retain(|(_, open)| *open != session);
}

pub(crate) fn closed_all(slot: CK_SLOT_ID) {
    state().sessions.retain(|(of, _)| *of != slot);
}

/// A session begins a signature with a key.
pub(crate) fn set_signs_with(session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) {
    let mut state = state();
    state.signing.retain(|(of, _)| *of != session);
    state.signing.push((session, key));
}

/// The key that a session signs with.
pub(crate) fn signs_with(session: CK_SESSION_HANDLE) -> Option<CK_OBJECT_HANDLE> {
    state().signing.iter().find(|(of, _)| *of == session).map(|(_, key)| *key)
}

/// A session begins a search for objects of a class, or of any.
pub(crate) fn begins_a_search(session: CK_SESSION_HANDLE, class: Option<CK_OBJECT_CLASS>) {
    let mut state = state();
    state.searching.retain(|search| search.session != session);
    state.searching.push(Search { session, class, found: 0 });
}

/// The class of the objects that a session looks for.
pub(crate) fn searches_for(session: CK_SESSION_HANDLE) -> Option<CK_OBJECT_CLASS> {
    state().searching.iter().find(|search| search.session == session)?.class
}

/// Number of objects that the search of a session has returned.
pub(crate) fn found(session: CK_SESSION_HANDLE) -> CK_ULONG {
    let state = state();
    state.searching.iter().find(|search| search.session == session).map_or(0, |s| s.found)
}

/// Adds to that number.
pub(crate) fn has_found(session: CK_SESSION_HANDLE, more: CK_ULONG) {
    let mut state = state();
    if let Some(search) = state.searching.iter_mut().find(|search| search.session == session) {
        search.found += more;
    }
}

/// Sets the hash mechanism of a session, or none.
pub(crate) fn set_hash(session: CK_SESSION_HANDLE, hash: Option<CK_MECHANISM_TYPE>) {
    let mut state = state();
    state.hashing.retain(|(of, _)| *of != session);
    state.hashing.extend(hash.map(|hash| (session, hash)));
}

/// The slot and hash mechanism of a session that hashes.
pub(crate) fn hash(session: CK_SESSION_HANDLE) -> Option<(CK_SLOT_ID, CK_MECHANISM_TYPE)> {
    let state = state();
    let (slot, _) = state.sessions.iter().find(|(_, open)| *open == session)?;
    let (_, hash) = state.hashing.iter().find(|(of, _)| *of == session)?;
    Some((*slot, *hash))
}
