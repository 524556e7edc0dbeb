//! Room for the requests that are worked on, shared so that no client can take all of it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::problem::Problem;

/// A client has at most this many times what is free: three quarters when it is alone, and less the
/// more others ask for. So there is always room for one that has none.
const SHARE_OF_FREE: usize = 3;
/// Seconds after which a full daemon may have room again.
const BUSY_RETRY_SECONDS: u64 = 1;

/// See the module.
pub(super) struct Room {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    /// Of clients that have some.
    by_client: HashMap<String, usize>,
}

impl Room {
    /// For so many requests.
    pub(super) fn new(max: usize) -> Self {
        Self { max, taken: Mutex::default() }
    }

    /// A place for a request, until it is dropped.
    ///
    /// # Errors
    /// 503 when there is none for this client.
    pub(super) fn enter(&self, client: &str) -> Result<Place<'_>, Problem> {
        let mut taken = self.taken();
        let free = self.max - taken.total;
        let own = taken.by_client.get(client).copied().unwrap_or_default();
        if free == 0 || (own > 0 && own >= SHARE_OF_FREE * free) {
            return Err(Problem::busy(BUSY_RETRY_SECONDS));
        }
        taken.total += 1;
        taken.by_client.insert(client.to_owned(), own + 1);
        Ok(Place { room: self, client: client.to_owned() })
    }

    /// Requests that are worked on.
    pub(super) fn taken_places(&self) -> usize {
        self.taken().total
    }

    /// Whether nobody finds a place.
    pub(super) fn is_full(&self) -> bool {
        self.taken().total >= self.max
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Room::enter`].
pub(super) struct Place<'a> {
    room: &'a Room,
    client: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.total -= 1;
        if let Some(own) = taken.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many places as a client finds.
    fn flood<'a>(room: &'a Room, client: &str) -> Vec<Place<'a>> {
        std::iter::from_fn(|| room.enter(client).ok()).collect()
    }

    #[test]
    fn no_client_and_no_two_take_all_the_room() {
        let room = Room::new(512);
        let one = flood(&room, "one");
        assert_eq!(one.len(), 384);
        let two = flood(&room, "two");
        assert!(two.len() > 90, "{}", two.len());
        let three = flood(&room, "three");
        assert!(three.len() > 20, "{}", three.len());
        assert!(!room.is_full());
        // What is given back is there for others.
        drop((one, three));
        assert!(flood(&room, "four").len() > 300);
        drop(two);
    }

    #[test]
    fn the_smallest_room_is_for_one_and_all_of_a_room_can_be_used() {
        let room = Room::new(1);
        let place = room.enter("a").ok();
        assert!(room.is_full() && room.enter("b").is_err());
        drop(place);
        assert!(room.enter("b").is_ok());
        let room = Room::new(2);
        assert_eq!(flood(&room, "a").len(), 2);
        assert!(room.taken().by_client.is_empty() && !room.is_full());
    }
}
