//! Which register of a device is what, by its profile.

use crate::{
    domain::{
        Profile,
        profile::{LockProfile, Register, RegisterKind},
    },
    wire::modbus::Table,
};

/// What a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// The value of a line, counted from 1.
    Value(u16),
    /// The line-enable coil of a line, counted from 1.
    Enable(u16),
    /// How many codes wait.
    KeyCount,
    /// A word of the code that waits first, counted from 0.
    KeyCode(u16),
    /// Takes it off the queue.
    KeyNext,
    /// Opens the lock for so long.
    LockPulse,
    /// Opens the lock while it is on.
    LockCoil,
    /// The door contact.
    Contact,
    /// The button.
    Exit,
    /// A word of the identity, counted from 0.
    Identity(u16),
}

/// What lies at `address` of `table`; `None`: the device has no such register.
pub(super) fn at(profile: &Profile, table: Table, address: u16) -> Option<Cell> {
    let within = |register: Register, count: u16| {
        let offset = address.checked_sub(register.address).filter(|offset| *offset < count);
        offset.filter(|_| self::table(register.kind) == table)
    };
    let one = |register: Option<Register>| register.and_then(|register| within(register, 1));
    let coil = |address: u16| Register { kind: RegisterKind::Coil, address };
    let lines = profile.lines.as_ref().and_then(|lines| {
        let value = within(lines.value, lines.count).map(|offset| Cell::Value(offset + 1));
        let enable = || lines.enable.and_then(|enable| within(coil(enable), lines.count));
        value.or_else(|| enable().map(|offset| Cell::Enable(offset + 1)))
    });
    let keys = || {
        let keys = profile.keys.as_ref()?;
        let code = || within(keys.code, keys.words).map(Cell::KeyCode);
        let next = || one(Some(keys.next)).map(|_| Cell::KeyNext);
        one(Some(keys.count)).map(|_| Cell::KeyCount).or_else(code).or_else(next)
    };
    let lock = || match profile.lock? {
        LockProfile::Pulse { address, .. } => {
            one(Some(Register { kind: RegisterKind::Holding, address })).map(|_| Cell::LockPulse)
        }
        LockProfile::Coil(address) => one(Some(coil(address))).map(|_| Cell::LockCoil),
    };
    let door = || {
        let door = profile.door?;
        one(door.contact).map(|_| Cell::Contact).or_else(|| one(door.exit).map(|_| Cell::Exit))
    };
    let identity = || {
        let identity = profile.identity.as_ref()?;
        within(identity.model, identity.words).map(Cell::Identity)
    };
    lines.or_else(keys).or_else(lock).or_else(door).or_else(identity)
}

/// A profile's word for a table is the wire's.
fn table(kind: RegisterKind) -> Table {
    match kind {
        RegisterKind::Coil => Table::Coil,
        RegisterKind::Discrete => Table::Discrete,
        RegisterKind::Holding => Table::Holding,
        RegisterKind::Input => Table::Input,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::modbus::tests::{commutator, door_panel};

    #[test]
    fn registers_are_found_where_the_profile_has_them_and_nowhere_else() {
        let (commutator, door) = (commutator(), door_panel());
        for (profile, table, address, cell) in [
            (&commutator, Table::Input, 0, Some(Cell::Value(1))),
            (&commutator, Table::Input, 99, Some(Cell::Value(100))),
            (&commutator, Table::Input, 100, None),
            (&commutator, Table::Holding, 0, None),
            (&commutator, Table::Coil, 11, Some(Cell::Enable(12))),
            (&commutator, Table::Holding, 507, Some(Cell::Identity(7))),
            (&door, Table::Input, 400, Some(Cell::KeyCount)),
            (&door, Table::Input, 404, Some(Cell::KeyCode(3))),
            (&door, Table::Input, 405, None),
            (&door, Table::Coil, 410, Some(Cell::KeyNext)),
            (&door, Table::Holding, 430, Some(Cell::LockPulse)),
            (&door, Table::Discrete, 440, Some(Cell::Contact)),
            (&door, Table::Discrete, 441, Some(Cell::Exit)),
            (&door, Table::Input, 0, None),
        ] {
            assert_eq!(at(profile, table, address), cell, "{table:?} {address}");
        }
    }
}
