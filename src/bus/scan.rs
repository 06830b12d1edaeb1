//! A survey of a running bus: what it is asked with, what it gives, and how the thread of the bus passes it on.

use std::sync::Arc;

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::{core::Core, shell::Shell, timing::Timing};
use crate::{
    domain::{Name, Profile},
    panel::{OsEntropy, osdp::Security},
    survey::{Language, Output, Speed, Walk},
    wire::osdp::Scbk,
};

/// What is found and not taken yet. Full: nobody else is asked before somebody has taken some of it.
const OUTPUTS: usize = 64;

/// How a running bus is to be surveyed.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// The panel keys that are known, for a bus that speaks OSDP.
    pub keys: Arc<[Scbk]>,
    /// Profiles by whose identities devices are known, besides those of the bus's panels; for one that speaks Modbus.
    pub profiles: Vec<Arc<Profile>>,
    /// Whether each address is asked a second time, and in another way.
    pub thorough: bool,
}

/// A survey that has begun.
pub struct Scanning {
    /// What is spoken.
    pub language: Language,
    /// The speed of the line.
    pub speed: Speed,
    /// The bus's own panels, which are not asked.
    pub panels: Vec<Placed>,
    /// What is found, to its end.
    pub outputs: mpsc::Receiver<Output>,
}

/// Where one of the bus's panels is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub name: Name,
    /// Its address.
    pub address: u8,
    /// How securely it is to be connected; `None`: it speaks Modbus.
    pub security: Option<Security>,
}

/// Why a bus is not surveyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// One survey at a time.
    #[error("a scan of this bus is under way: wait for its end")]
    UnderWay,
    /// There is no line to ask.
    #[error("the port of this bus is not open: {0}")]
    NoPort(String),
    /// The bus has too much to do, or is ending.
    #[error("the bus takes no commands just now")]
    Busy,
}

/// Answers the caller of a survey.
pub(super) type Begun = oneshot::Sender<Result<Scanning, ScanError>>;

/// A survey that is under way.
pub(super) struct Scan {
    outputs: mpsc::Sender<Output>,
    /// What found the channel full.
    waiting: Option<Output>,
}

impl Shell {
    /// Begins a survey, where one can be.
    pub(super) fn begin_scan(&mut self, core: &mut Core, request: ScanRequest, begun: Begun) {
        let result = self.scanning(core, request);
        // A caller that went away is noticed when something is to be passed on.
        let _ = begun.send(result);
    }

    fn scanning(&mut self, core: &mut Core, request: ScanRequest) -> Result<Scanning, ScanError> {
        if self.stopping.is_some() {
            return Err(ScanError::Busy);
        }
        if self.scan.is_some() {
            return Err(ScanError::UnderWay);
        }
        let status = self.status.borrow();
        if !status.open {
            let why = status.error.clone().unwrap_or_else(|| "it is being opened".to_owned());
            return Err(ScanError::NoPort(why));
        }
        drop(status);
        let speed = Speed { baud: core.line_baud().unwrap_or(self.port.baud), parity: self.port.parity };
        let language = if self.is_modbus {
            let profiles = core.profiles().into_iter().chain(request.profiles);
            Language::Modbus { profiles: profiles.collect() }
        } else {
            Language::Osdp { keys: request.keys }
        };
        let panels = core.placed();
        let is_free = |address: &u8| panels.iter().all(|panel| panel.address != *address);
        let Timing { adapter, gap, .. } = core.timing();
        let addresses = language.addresses().filter(is_free);
        let entropy = Box::new(OsEntropy);
        core.invite(Walk::new(language.clone(), speed, request.thorough, addresses, adapter + gap, entropy));
        let (sender, outputs) = mpsc::channel(OUTPUTS);
        self.scan = Some(Scan { outputs: sender, waiting: None });
        Ok(Scanning { language, speed, panels, outputs })
    }

    /// Passes on what the survey has found; ends it where it is over, or nobody takes it any more.
    pub(super) fn pass_on(&mut self, core: &mut Core) {
        let Some(scan) = &mut self.scan else { return };
        while let Some(walk) = core.guest() {
            let Some(output) = scan.waiting.take().or_else(|| walk.poll_output()) else {
                if walk.is_over() {
                    break;
                }
                return;
            };
            match scan.outputs.try_send(output) {
                Ok(()) => {}
                Err(TrySendError::Full(output)) => {
                    scan.waiting = Some(output);
                    return;
                }
                Err(TrySendError::Closed(_)) => break,
            }
        }
        self.end_scan(core);
    }

    /// Ends a survey: its caller sees the end.
    pub(super) fn end_scan(&mut self, core: &mut Core) {
        core.dismiss();
        self.scan = None;
    }
}
