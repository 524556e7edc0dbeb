//! What this process remembers: whether its token is gone, and its open sessions.

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
    /// The sessions that hash what they sign, and with what.
    hashing: Vec<(CK_SESSION_HANDLE, CK_MECHANISM_TYPE)>,
    /// The key that each session signs with.
    signing: Vec<(CK_SESSION_HANDLE, CK_OBJECT_HANDLE)>,
    /// What each session searches for, and how much it has found.
    searching: Vec<Search>,
    /// Locked for as long as this process has the token for itself.
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

/// The token is gone: calls return this until the library is initialised anew.
pub(crate) fn remove(code: CK_RV) {
    state().removed = Some(code);
}

/// What calls return when the token is gone.
pub(crate) fn removed() -> Option<CK_RV> {
    state().removed
}

/// After `C_Finalize`: nothing is open, and the next `C_Initialize` looks for tokens anew.
pub(crate) fn finalized() {
    let mut state = state();
    state.removed = None;
    state.sessions.clear();
    state.hashing.clear();
    state.signing.clear();
    state.searching.clear();
    state.alone = None;
}

/// Whether no other process has the token: from now on, none gets it before this one has finalised.
pub(crate) fn has_token_alone() -> bool {
    let mut state = state();
    if state.alone.is_none() {
        let path = directory().map(|directory| directory.join("alone"));
        let file = path.and_then(|path| File::create(path).ok());
        state.alone = file.filter(|file| file.try_lock().is_ok());
    }
    state.alone.is_some()
}

/// How many sessions are open.
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

/// A session is about to sign with a key.
pub(crate) fn set_signs_with(session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) {
    let mut state = state();
    state.signing.retain(|(of, _)| *of != session);
    state.signing.push((session, key));
}

/// The key that a session signs with.
pub(crate) fn signs_with(session: CK_SESSION_HANDLE) -> Option<CK_OBJECT_HANDLE> {
    state().signing.iter().find(|(of, _)| *of == session).map(|(_, key)| *key)
}

/// A session begins to look for objects of a class, or of any.
pub(crate) fn begins_a_search(session: CK_SESSION_HANDLE, class: Option<CK_OBJECT_CLASS>) {
    let mut state = state();
    state.searching.retain(|search| search.session != session);
    state.searching.push(Search { session, class, found: 0 });
}

/// The class of the objects that a session looks for.
pub(crate) fn searches_for(session: CK_SESSION_HANDLE) -> Option<CK_OBJECT_CLASS> {
    state().searching.iter().find(|search| search.session == session)?.class
}

/// How many objects the search of a session has given.
pub(crate) fn found(session: CK_SESSION_HANDLE) -> CK_ULONG {
    let state = state();
    state.searching.iter().find(|search| search.session == session).map_or(0, |s| s.found)
}

/// The search of a session has given so many more.
pub(crate) fn has_found(session: CK_SESSION_HANDLE, more: CK_ULONG) {
    let mut state = state();
    if let Some(search) = state.searching.iter_mut().find(|search| search.session == session) {
        search.found += more;
    }
}

/// With what a session hashes what it signs, or that it does not.
pub(crate) fn set_hash(session: CK_SESSION_HANDLE, hash: Option<CK_MECHANISM_TYPE>) {
    let mut state = state();
    state.hashing.retain(|(of, _)| *of != session);
    state.hashing.extend(hash.map(|hash| (session, hash)));
}

/// The slot of a session that hashes, and with what it does.
pub(crate) fn hash(session: CK_SESSION_HANDLE) -> Option<(CK_SLOT_ID, CK_MECHANISM_TYPE)> {
    let state = state();
    let (slot, _) = state.sessions.iter().find(|(_, open)| *open == session)?;
    let (_, hash) = state.hashing.iter().find(|(of, _)| *of == session)?;
    Some((*slot, *hash))
}
