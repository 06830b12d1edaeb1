//! The places as the loop that accepts and the connections share them.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    Limits, TokenInfo, Tokens,
    guard::account,
    places::{Crowd, Places},
};

/// All places of an endpoint.
pub(super) struct Room {
    tokens: Tokens,
    limits: Limits,
    places: Mutex<Places<Guest>>,
}

/// A connection that has a place.
struct Guest {
    /// The token that it has shown last.
    shown: Option<TokenInfo>,
    /// Gone with the place: that ends the connection.
    _lost: oneshot::Sender<Infallible>,
}

/// A connection's place, free again when this is dropped.
pub(super) struct Seat {
    id: u64,
    room: Arc<Room>,
    has_asked: AtomicBool,
    streams: AtomicBool,
}

impl Room {
    pub(super) fn new(limits: &Limits, tokens: Tokens) -> Self {
        Self {
            tokens,
            limits: *limits,
            places: Mutex::new(Places::new(limits.connections, limits.connections_of_one)),
        }
    }

    /// Gives a new connection from this address a place, and with it what resolves once the place is another's.
    /// `None`: there is none.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<(Seat, oneshot::Receiver<Infallible>)> {
        let (sender, lost) = oneshot::channel();
        let guest = Guest { shown: None, _lost: sender };
        let has_good_token =
            |guest: &Guest| guest.shown.as_ref().is_some_and(|token| self.tokens.in_force(token));
        let (id, _displaced) = self.places().enter(account(from), guest, has_good_token).ok()?;
        Some((
            Seat {
                id,
                room: self.clone(),
                has_asked: AtomicBool::new(false),
                streams: AtomicBool::new(false),
            },
            lost,
        ))
    }

    pub(super) fn crowd(&self) -> Crowd {
        self.places().crowd()
    }

    fn places(&self) -> MutexGuard<'_, Places<Guest>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Notes that a whole request has come.
    pub(super) fn asks(&self) {
        self.has_asked.store(true, Ordering::Relaxed);
    }

    /// Whether any whole request has come yet.
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed)
    }

    /// Notes that a stream is sent over the connection.
    pub(super) fn streams(&self) {
        self.streams.store(true, Ordering::Relaxed);
    }

    /// Returns for how long the client may take nothing of what is sent.
    pub(super) fn patience(&self) -> Duration {
        let limits = self.room.limits;
        if self.streams.load(Ordering::Relaxed) { limits.stream_stalled_for } else { limits.stalled_for }
    }

    /// Ends the connection, whatever is under way on it.
    pub(super) fn give_up(&self) {
        self.room.places().leave(self.id);
    }

    /// Notes a good token, which keeps the place from now on. `false`: the place was lost before, and nothing may be
    /// done any more for a client that will not hear of it.
    pub(super) fn show(&self, token: &TokenInfo) -> bool {
        let mut places = self.room.places();
        let Some(guest) = places.get_mut(self.id) else { return false };
        if guest.shown.as_ref() != Some(token) {
            guest.shown = Some(token.clone());
        }
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.places().leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    #[test]
    fn a_connection_that_has_lost_its_place_is_told_and_can_neither_show_a_token_nor_free_it() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&dir.path().join("tokens.json")).unwrap();
        let token = tokens.add("a", false, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let token = tokens.verify(&token).unwrap();
        let limits = Limits { connections: 1, ..Limits::default() };
        let room = Arc::new(Room::new(&limits, tokens.clone()));
        let from: IpAddr = "192.0.2.1".parse().unwrap();

        let (first, mut first_lost) = room.enter(from).unwrap();
        assert_eq!(first_lost.try_recv(), Err(TryRecvError::Empty));
        let (second, mut second_lost) = room.enter(from).unwrap();
        assert_eq!(first_lost.try_recv(), Err(TryRecvError::Closed));
        assert!(!first.show(&token) && second.show(&token));
        drop(first);
        assert!(room.enter(from).is_none(), "the second has it, with a good token");
        tokens.revoke("a").unwrap();
        let (_third, _) = room.enter(from).unwrap();
        assert_eq!(second_lost.try_recv(), Err(TryRecvError::Closed));
    }
}
