//! What the points are in a build with faults.

use std::{
    fmt::Display,
    path::PathBuf,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// The fault that the environment asks for.
static FAULT: LazyLock<Option<Fault>> = LazyLock::new(Fault::read);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Panic,
    Hang,
}

struct Fault {
    kind: Kind,
    unit: String,
    /// Not before this exists.
    when: PathBuf,
    has_struck: AtomicBool,
}

impl Fault {
    fn read() -> Option<Self> {
        let text = std::env::var("INTERCOM_GATEWAY_FAULT").ok()?;
        let (kind, unit) = text.split_once(':')?;
        let kind = match kind {
            "panic" => Kind::Panic,
            "hang" => Kind::Hang,
            other => panic!("INTERCOM_GATEWAY_FAULT: there is no fault {other:?}"),
        };
        let when =
            std::env::var_os("INTERCOM_GATEWAY_FAULT_WHEN").expect("INTERCOM_GATEWAY_FAULT_WHEN is set");
        Some(Self { kind, unit: unit.to_owned(), when: when.into(), has_struck: AtomicBool::new(false) })
    }

    /// Returns the fault that strikes `unit` now, once.
    fn strikes(unit: &impl Display) -> Option<Kind> {
        let fault = FAULT.as_ref()?;
        if fault.unit != unit.to_string() || !fault.when.exists() {
            return None;
        }
        let is_first = !fault.has_struck.swap(true, Ordering::Relaxed);
        is_first.then(|| {
            tracing::warn!("a fault on purpose: {:?} of {unit}", fault.kind);
            fault.kind
        })
    }
}

/// Marks a turn of the loop of a thread: here it may panic, or stand still for ever.
pub fn point(unit: impl Display) {
    match Fault::strikes(&unit) {
        None => {}
        Some(Kind::Panic) => panic!("on purpose"),
        Some(Kind::Hang) => loop {
            thread::sleep(Duration::from_secs(3600));
        },
    }
}

/// Marks a turn of the loop of a task: here it may panic, or wait for ever.
pub async fn pause(unit: impl Display) {
    match Fault::strikes(&unit) {
        None => {}
        Some(Kind::Panic) => panic!("on purpose"),
        Some(Kind::Hang) => std::future::pending().await,
    }
}

/// Prints these lines and ends the process, where the environment asks for a list.
pub fn list(units: &[String]) {
    if std::env::var_os("INTERCOM_GATEWAY_FAULT").is_some_and(|fault| fault == "list") {
        println!("{}", units.join("\n"));
        std::process::exit(0);
    }
}
