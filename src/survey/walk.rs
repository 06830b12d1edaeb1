//! A survey of the addresses of a line that a daemon goes on using: one question a turn, among the panels' own.
//!
//! It wants turns of one kind alone, probes, and each is over within [`TURN`] where nobody answers: the line's schedule gives
//! probes a quarter of the time, and no panel waits longer for its own.

use std::{collections::VecDeque, time::Duration};

use super::{Finding, Language, Output, Speed, finding::Lists, found::Verdict, inquiry::Inquiry};
use crate::{
    domain::Mono,
    panel::{Entropy, Heard, Turn, TurnKind},
};

/// How long a question to a silent address takes, from the gap before it until it is given up.
const TURN: Duration = Duration::from_millis(60);
/// The least that is waited for an answer, however slow the line.
const SHORTEST_WINDOW: Duration = Duration::from_millis(8);
/// Outputs that wait for somebody to take them before the next question is asked.
const MOST_WAITING: usize = 8;

/// The questions to the addresses of a line in use.
pub struct Walk {
    language: Language,
    speed: Speed,
    thorough: bool,
    entropy: Box<dyn Entropy>,
    /// What the adapter adds to an answer, and the silence before a question.
    overhead: Duration,
    queue: VecDeque<u8>,
    inquiry: Option<Inquiry>,
    /// When the last question ended.
    ended: Mono,
    is_answered: bool,
    lists: Lists,
    is_over: bool,
    outputs: VecDeque<Output>,
}

impl Walk {
    /// Begins with the first of these addresses. `overhead`: what the adapter adds to an answer, and the silence before a
    /// question.
    pub fn new(
        language: Language,
        speed: Speed,
        thorough: bool,
        addresses: impl IntoIterator<Item = u8>,
        overhead: Duration,
        entropy: Box<dyn Entropy>,
    ) -> Self {
        let mut walk = Self {
            language,
            speed,
            thorough,
            entropy,
            overhead,
            queue: addresses.into_iter().collect(),
            inquiry: None,
            ended: Mono::ZERO,
            is_answered: false,
            lists: Lists::default(),
            is_over: false,
            outputs: VecDeque::new(),
        };
        walk.next_address();
        walk
    }

    /// Returns whether nothing is left to be done, but to take the outputs.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Leaves an address out: a panel was configured there meanwhile.
    pub fn leave_out(&mut self, address: u8) {
        self.queue.retain(|waiting| *waiting != address);
    }

    /// Returns the turn that it wants next.
    pub fn next(&self) -> Option<Turn> {
        let inquiry = self.inquiry.as_ref().filter(|_| self.outputs.len() <= MOST_WAITING)?;
        let sent = self.speed.character() * inquiry.question_characters();
        let window = TURN.saturating_sub(self.overhead + sent).max(SHORTEST_WINDOW);
        Some(Turn {
            kind: TurnKind::Probe,
            from: inquiry.not_before(),
            deadline: self.ended,
            window,
            answer_characters: 0,
        })
    }

    /// Appends the next question; `false`: there is none.
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        self.is_answered = false;
        self.inquiry.as_mut().is_some_and(|inquiry| inquiry.ask(now, out))
    }

    /// Looks at what was received since the question.
    pub fn hear(&mut self, now: Mono, buffer: &[u8]) -> Heard {
        let Some(inquiry) = &mut self.inquiry else { return Heard::Noise(buffer.len().max(1)) };
        let heard = inquiry.hear(now, buffer);
        self.is_answered |= matches!(heard, Heard::Done(_));
        heard
    }

    /// Ends the turn; `bytes`: how many came that were part of nothing whole, idle marks left out.
    pub fn end_turn(&mut self, now: Mono, bytes: usize) {
        self.ended = now;
        let Some(inquiry) = &mut self.inquiry else { return };
        if std::mem::take(&mut self.is_answered) {
            inquiry.settled();
        } else {
            inquiry.unanswered(bytes);
        }
        let masters = std::mem::take(&mut inquiry.answers().masters);
        if !masters.is_empty() {
            let speed = self.speed;
            self.outputs.push_back(Output::Finding(Finding::OtherMaster { speed, addresses: masters }));
            (self.inquiry, self.is_over) = (None, true);
            return;
        }
        let Some(verdict) = inquiry.verdict() else { return };
        let echoes = inquiry.answers().echoes;
        self.outputs.extend(self.lists.echoed(echoes).map(Output::Finding));
        match verdict {
            Verdict::Silent => {}
            Verdict::Damaged(address) => self.lists.damaged.push(address),
            Verdict::Found(found) => {
                self.lists.answering.insert(found.address);
                let findings = found.findings(self.speed, false);
                self.outputs.push_back(Output::Panel(self.speed, found));
                self.outputs.extend(findings.into_iter().map(Output::Finding));
            }
        }
        self.next_address();
    }

    fn next_address(&mut self) {
        let Some(address) = self.queue.pop_front() else { return self.end() };
        self.inquiry = Some(Inquiry::new(&self.language, address, self.thorough, &mut *self.entropy));
        self.outputs.push_back(Output::Progress { speed: self.speed, address });
    }

    fn end(&mut self) {
        (self.inquiry, self.is_over) = (None, true);
        let damaged = self.lists.damaged_findings(self.speed);
        self.outputs.extend(damaged.into_iter().map(Output::Finding));
        self.outputs.push_back(Output::Finding(Finding::QuickOnly));
        if !self.thorough {
            self.outputs.push_back(Output::Finding(Finding::NotThorough));
        }
    }
}
