//! What a panel does not have of what its profile names, and what is told of it.

use super::{
    Panel,
    doubt::Denial,
    plan::{Block, table},
    turn::Job,
};
use crate::{
    domain::{Mono, PanelState, Trouble},
    panel::Event,
    wire::modbus::Request,
};

/// Refusals, and unanswered requests, in a row that are no sign that something is missing: on a line where every sixth
/// answer is lost, nine in a row are one in ten million.
const TOLERATED: (u32, u32) = (1, 8);

/// How often in a row something that is no block may be denied before that is certain.
pub(super) fn tolerated(denial: Denial) -> u32 {
    match denial {
        Denial::Refused => TOLERATED.0,
        Denial::Silent(_) => TOLERATED.1,
    }
}

impl Panel {
    /// The panel refused something for want of it, or gave no answer. What concerns the lock is the lock's matter.
    pub(super) fn denied(&mut self, now: Mono, job: Job, request: &Request, denial: Denial) {
        match job {
            Job::Block(number) => {
                if let Some(block) = self.blocks.denied(now, number, denial).cloned() {
                    self.tell_missing_lines(&block, request);
                }
            }
            Job::Whole(number) => self.blocks.put_off_merging(now, number),
            Job::Identity => {
                self.identity_doubt.strike(now, denial, tolerated(denial));
            }
            Job::Code => {
                self.code_doubt.strike(now, denial, tolerated(denial));
                if let Some(keys) = &mut self.keys {
                    keys.lost();
                }
            }
            Job::Next => {
                self.next_doubt.strike(now, denial, tolerated(denial));
                let at = self.next_doubt.not_before();
                match (&mut self.keys, denial) {
                    (Some(keys), Denial::Refused) => keys.refused(now, at),
                    (Some(keys), Denial::Silent(_)) => {
                        keys.lost();
                        keys.put_off(at);
                    }
                    (None, _) => {}
                }
            }
            Job::Lock(_) | Job::Again | Job::Measure(_) | Job::Enable | Job::Sound => {}
        }
    }

    fn tell_missing_lines(&mut self, block: &Block, request: &Request) {
        let of_lines = self.profile.lines.as_ref().map(|lines| lines.value.kind);
        if of_lines.is_some_and(|kind| table(kind) == block.table)
            && request.span() == (block.start, usize::from(block.count))
            && let Some((first, 0)) = self.lines_at(block.start, block.count)
            && self.lines.binary_search(&first).is_ok()
        {
            self.events.push_back(Event::LinesMissing { first, count: block.count });
        }
    }

    /// Whether the panel has no register for a line.
    pub(super) fn is_missing(&self, line: u16) -> bool {
        self.line_request(line, 1).is_some_and(|request| {
            let Request::Read { table, start, .. } = request else { return false };
            self.blocks.missing().any(|(block, _)| block.table == table && block.start == start)
        })
    }

    /// Tells what is wrong with the panel where that has changed.
    pub(super) fn tell_trouble(&mut self) {
        let trouble = self.trouble();
        if self.state == PanelState::Online && trouble != self.told {
            self.told.clone_from(&trouble);
            self.events.push_back(Event::State { state: PanelState::Online, trouble });
        }
    }

    /// What a door depends on comes first.
    fn trouble(&self) -> Option<Trouble> {
        let no_such = |section, (address, denial)| {
            let refused = denial == Denial::Refused;
            Trouble::NoSuchRegisters { section, address, refused }
        };
        let lock = self.lock.missing().map(|missing| no_such("lock", missing));
        let keys = || self.missing_keys().map(|missing| no_such("keys", missing));
        let door = || self.missing_door().map(|missing| no_such("door", missing));
        let lines = || self.missing_lines().map(|missing| no_such("lines", missing));
        let identity = || {
            let address = self.profile.identity.as_ref()?.model.address;
            Some(no_such("identity", (address, self.identity_doubt.missing()?)))
        };
        lock.or_else(keys).or_else(door).or_else(lines).or_else(identity).or_else(|| self.other_model.clone())
    }

    fn missing_keys(&self) -> Option<(u16, Denial)> {
        let keys = self.profile.keys.as_ref()?;
        let blocks =
            self.blocks.missing().filter(|(block, _)| block.covers(keys.count) || block.covers(keys.code));
        let blocks = blocks.map(|(block, denial)| (block.start, denial)).min_by_key(|(address, _)| *address);
        let code = || Some((keys.code.address, self.code_doubt.missing()?));
        let next = || Some((keys.next.address, self.next_doubt.missing()?));
        blocks.or_else(code).or_else(next)
    }

    fn missing_door(&self) -> Option<(u16, Denial)> {
        let door = self.profile.door?;
        let is_of_door =
            |block: &Block| [door.contact, door.exit].into_iter().flatten().any(|one| block.covers(one));
        let blocks = self.blocks.missing().filter(|(block, _)| is_of_door(block));
        blocks.map(|(block, denial)| (block.start, denial)).min_by_key(|(address, _)| *address)
    }

    /// Single missing lines are `unsupported`; only when all of them are missing is it the panel's trouble.
    fn missing_lines(&self) -> Option<(u16, Denial)> {
        let value = self.profile.lines.as_ref()?.value;
        let is_of_lines = |block: &Block| {
            block.table == table(value.kind)
                && self
                    .lines_at(block.start, block.count)
                    .is_some_and(|(line, _)| self.lines.binary_search(&line).is_ok())
        };
        let mut blocks = self.blocks.iter().map(|(_, block)| block).filter(|block| is_of_lines(block));
        let first = blocks.next()?.doubt.missing()?;
        blocks.all(|block| block.doubt.missing().is_some()).then_some((value.address, first))
    }
}
