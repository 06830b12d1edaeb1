//! What is counted of answers, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;

/// Counted since the start.
#[derive(Default)]
pub(super) struct Counters {
    /// Answers by the first digit of their status, 1 to 5.
    answers: [AtomicU64; 5],
    /// 401 and 429.
    refused: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.answers.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the answers so far by the first digit of their status, from 1 on.
    pub(super) fn answers(&self) -> [u64; 5] {
        self.answers.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Returns the answers 401 and 429 so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
