//! What the doctor says of the machine: the disk, the adapters.

use std::path::Path;

use super::check;
use crate::{
    config::{Bus, Config, Port},
    domain::{Check, Verdict},
    sys::{
        disk::{Room, Spare, Wear, room, wear},
        serial::{latency_timer, owner, user_of},
    },
};

/// Bytes that a disk should have left, and below which the journal is about to suffer.
const ROOM_WARN: u64 = 256 << 20;
const ROOM_BAD: u64 = 32 << 20;
/// Percent of its life from which on a disk is to be replaced soon, and now.
const WORN_WARN: u8 = 80;
const WORN_BAD: u8 = 100;
/// Milliseconds that an adapter may hold bytes back.
const LATENCY: u32 = 1;
/// The user of the systemd unit.
const SERVICE: &str = "intercom-gateway";
/// The group of serial ports, which the unit is in.
const SERIAL: &str = "dialout";

/// Looks at the room on the state directory's disk, and at its wear. Blocks.
pub(super) fn disk(state_dir: &Path) -> Vec<Check> {
    let room = match room(state_dir) {
        Ok(room) => judge_room(state_dir, room),
        Err(error) => {
            let detail = format!("{}: {error}; check state_dir of [gateway]", state_dir.display());
            check("disk", Verdict::Bad, detail)
        }
    };
    [room].into_iter().chain(wear(state_dir).map(judge_wear)).collect()
}

fn judge_room(state_dir: &Path, room: Room) -> Check {
    let dir = state_dir.display();
    let left = format!("{} MB of {} MB are free for {dir}", room.free / 1_000_000, room.size / 1_000_000);
    let (verdict, detail) = match room {
        Room { read_only: true, .. } => (
            Verdict::Bad,
            format!(
                "{dir} is on a file system that takes no writes: look into `dmesg` why, the disk may be dying"
            ),
        ),
        Room { without_inodes: true, .. } => {
            (Verdict::Bad, format!("the disk of {dir} takes no more files: delete some; {left}"))
        }
        Room { free: ..ROOM_BAD, .. } => (Verdict::Bad, format!("{left}: free some space")),
        Room { free: ..ROOM_WARN, .. } => (Verdict::Warn, format!("{left}: free some space")),
        Room { .. } => (Verdict::Ok, left),
    };
    check("disk", verdict, detail)
}

fn judge_wear(Wear { disk, used, spare }: Wear) -> Check {
    const REPLACE: &str = "make a `backup`, and replace it";
    let verdict = match (used, spare) {
        (Some(WORN_BAD..), _) | (_, Some(Spare::HardlyAny)) => Verdict::Bad,
        (Some(WORN_WARN..), _) | (_, Some(Spare::Little)) => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let used = match used {
        Some(used) if used > 100 => Some("its life is used up".to_owned()),
        Some(used) => Some(format!("{used} % of its life are used at most")),
        None => None,
    };
    let spare = match spare {
        Some(Spare::Little) => Some("less than 20 % of its spare blocks are left"),
        Some(Spare::HardlyAny) => Some("less than 10 % of its spare blocks are left"),
        Some(Spare::Enough) | None => None,
    };
    let told: Vec<String> = used.into_iter().chain(spare.map(ToOwned::to_owned)).collect();
    let detail = match (verdict, told.is_empty()) {
        (_, true) => format!("{disk} does not tell how worn it is, as SD cards do not: keep a `backup`"),
        (Verdict::Ok, false) => format!("{disk}: {}", told.join(", ")),
        (_, false) => format!("{disk}: {}: {REPLACE}", told.join(", ")),
    };
    check("disk wear", verdict, detail)
}

/// Looks at how long the adapters of buses hold bytes back, where they say. Blocks.
pub(super) fn latencies(config: &Config) -> Vec<Check> {
    let latency = |bus: &Bus| Some((format!("latency {}", bus.name), latency_timer(bus.port.tty()?)?));
    let judged = config.buses.iter().filter_map(latency).map(|(name, milliseconds)| {
        if milliseconds <= LATENCY {
            return check(name, Verdict::Ok, format!("the adapter holds bytes back for {milliseconds} ms"));
        }
        let detail = format!(
            "the adapter holds bytes back for {milliseconds} ms, which every exchange waits for: install 99-intercom-gateway.rules in /etc/udev/rules.d and plug it in again"
        );
        check(name, Verdict::Warn, detail)
    });
    judged.collect()
}

/// Says whether the ports are there and the service may open them. Opens none. Blocks.
pub(super) fn ports(config: &Config) -> Vec<Check> {
    // As whom the daemon ran, or is to run.
    let user = user_of(&config.gateway.state_dir).unwrap_or_else(|| SERVICE.to_owned());
    let port = |bus: &Bus| {
        let (verdict, detail) = match &bus.port {
            Port::Tty(path) => tty(path, &user),
            Port::Tcp { .. } => {
                (Verdict::Ok, "a serial server: not reached for without the daemon".to_owned())
            }
        };
        check(format!("port {}", bus.name), verdict, detail)
    };
    config.buses.iter().map(port).collect()
}

fn tty(path: &Path, user: &str) -> (Verdict, String) {
    let path_shown = path.display();
    let owner = match owner(path) {
        Ok(owner) => owner,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return (Verdict::Bad, format!("there is no {path_shown}: is the adapter plugged in?"));
        }
        Err(error) => return (Verdict::Bad, format!("{path_shown}: {error}; is `port` a serial port?")),
    };
    let rivals = crate::sys::holders(path);
    let rivals: Vec<_> = rivals.into_iter().filter(|holder| !holder.is_of_this_program()).collect();
    if !rivals.is_empty() {
        return (Verdict::Bad, crate::bus::in_the_way(&rivals));
    }
    if user != "root" && !owner.lets_in(user, &[user, SERIAL]) {
        let cure = match owner.group.as_str() {
            "root" => format!("give it to the group {SERIAL} by a udev rule"),
            group => {
                format!("write SupplementaryGroups={group} below [Service] into `systemctl edit {SERVICE}`")
            }
        };
        let detail = format!(
            "the user {user} may not open {path_shown}, which is of {}:{} with mode {:o}: {cure}",
            owner.user, owner.group, owner.mode
        );
        return (Verdict::Bad, detail);
    }
    (Verdict::Ok, format!("{path_shown} is there, and the user {user} may open it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_judged_by_its_room_and_its_wear() {
        let room = |free, read_only| {
            let room = Room { free, size: 8 << 30, without_inodes: false, read_only };
            judge_room(Path::new("/var/lib/x"), room).verdict
        };
        assert_eq!(room(1 << 30, false), Verdict::Ok);
        assert_eq!(room(100 << 20, false), Verdict::Warn);
        assert_eq!(room(1 << 20, false), Verdict::Bad);
        assert_eq!(room(1 << 30, true), Verdict::Bad);
        let wear = |used, spare| judge_wear(Wear { disk: "mmcblk0".into(), used, spare });
        assert_eq!(wear(Some(10), Some(Spare::Enough)).detail, "mmcblk0: 10 % of its life are used at most");
        assert_eq!(wear(Some(80), None).verdict, Verdict::Warn);
        assert_eq!(wear(Some(10), Some(Spare::Little)).verdict, Verdict::Warn);
        let over = wear(Some(110), Some(Spare::HardlyAny));
        assert_eq!(over.verdict, Verdict::Bad);
        assert!(
            over.detail.contains("its life is used up, less than 10 %") && over.detail.contains("replace it")
        );
        assert_eq!(wear(None, None).verdict, Verdict::Ok);
    }

    #[test]
    fn a_port_that_is_not_there_is_bad() {
        let (verdict, detail) = tty(Path::new("/dev/no-such-adapter"), SERVICE);
        assert_eq!(verdict, Verdict::Bad);
        assert!(detail.contains("plugged in?"), "{detail}");
        let (verdict, detail) = tty(Path::new("/proc/version"), SERVICE);
        assert_eq!(verdict, Verdict::Bad, "{detail}");
        let pty = nix::pty::openpty(None, None).unwrap();
        let path = nix::unistd::ttyname(&pty.slave).unwrap();
        let (verdict, detail) = tty(&path, &user_of(&path).unwrap());
        assert_eq!(verdict, Verdict::Ok, "{detail}");
        let (verdict, detail) = tty(&path, "somebody-else");
        assert!(verdict == Verdict::Bad && detail.contains("may not open"), "{detail}");
    }
}
