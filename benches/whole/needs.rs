//! What the daemon needs: memory after a start, around an import and a snapshot, and later; processor at rest.

use std::{thread, time::Duration};

use anyhow::Context;
use intercom_gateway::clock;

use super::{
    common::{cards::Openings, daemon, verdicts::Verdicts},
    rig::Rig,
};

/// What a start, an import or a snapshot leaves to do (checkpoint, new directory) is over by then.
const AFTERMATH: Duration = Duration::from_secs(10);
/// Swipes while it runs on for long: 2,000 a day.
const SWIPE: Duration = Duration::from_millis(43_200);

/// How long things are looked at.
pub struct Times {
    /// At rest.
    pub rest: Duration,
    /// After import and snapshot, until memory is looked at once more.
    pub later: Duration,
}

/// Measures all of it with one daemon.
pub fn measure(rig: &mut Rig, times: &Times, verdicts: &mut Verdicts) -> anyhow::Result<()> {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    eprintln!("a start …");
    let daemon = rig.daemon(|_| Ok(()))?;
    thread::sleep(AFTERMATH.min(times.rest));
    verdicts.at_most("resident after a start".into(), megabytes(daemon.memory("VmRSS")?), 20.0, "MB");

    eprintln!("at rest …");
    let (begun, before) = (clock::mono(), daemon.processor_time()?);
    thread::sleep(times.rest);
    let used = daemon.processor_time()?.saturating_sub(before);
    let share = used.as_secs_f64() / clock::mono().since(begun).as_secs_f64();
    verdicts.at_most("processor at rest, of one core".into(), 100.0 * share, 1.0, "%");

    eprintln!("an import …");
    let document = daemon::write_revision(rig.premises.folder(), 2)?;
    let document = document.to_str().context("the folder's name is no text")?;
    rig.cloud.become_revision(2)?;
    daemon.forget_peak()?;
    daemon::command(&rig.premises.config, &["import", document])?;
    rig.cloud.in_force()?;
    thread::sleep(AFTERMATH.min(times.rest));
    let most = megabytes(daemon.memory("VmHWM")?);
    verdicts.at_most("most resident around an import of 100,000 keys".into(), most, 60.0, "MB");

    eprintln!("a snapshot …");
    rig.cloud.become_revision(3)?;
    daemon.forget_peak()?;
    rig.cloud.bring()?;
    rig.cloud.in_force()?;
    thread::sleep(AFTERMATH.min(times.rest));
    let most = megabytes(daemon.memory("VmHWM")?);
    verdicts.at_most("most resident around a signed snapshot of 100,000 keys".into(), most, 60.0, "MB");

    eprintln!("{} s later …", times.later.as_secs());
    let until = clock::mono() + times.later;
    while until.since(clock::mono()) > SWIPE {
        rig.present(Duration::from_millis(1), &mut Openings::default())?;
        thread::sleep(SWIPE.min(until.since(clock::mono())));
    }
    thread::sleep(until.since(clock::mono()));
    let resident = megabytes(daemon.memory("VmRSS")?);
    verdicts.at_most(format!("resident {} s later", times.later.as_secs()), resident, 20.0, "MB");
    daemon.stop()
}
