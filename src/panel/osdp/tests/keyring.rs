//! A model of everything that may happen while a panel gets its key: losses, power cuts, a slow disk, panels swapped.

use proptest::{collection::vec, prelude::*};

use super::{
    super::{
        Security,
        keyring::{Candidate, KEYSETS, Keyring, REST, Step},
    },
    *,
};

const SERIAL: Option<u32> = Some(7);

/// Each key is another one.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        self.0 = self.0.wrapping_add(1).max(1);
        out.fill(self.0);
        true
    }
}

/// What a device does with a key.
#[derive(Clone, Debug, PartialEq)]
enum Device {
    /// As it left the factory.
    New,
    Has(PanelKey),
}

/// What may happen between two looks at the panel, and how the look ends.
#[derive(Clone, Debug)]
enum Happens {
    /// A link with a handshake; KEYSET arrives or not, and its acknowledgement.
    Link {
        arrives: bool,
        acknowledged: bool,
    },
    /// The disk takes what it was last given.
    Disk,
    /// The gateway starts with what is on the disk.
    Restart,
    /// `panel pair`.
    Pair,
    /// `panel rekey`; where the configuration has the key, another is written there first.
    Rekey,
    /// Another device, new, is put in, or the one before is put back.
    Swap,
    Wait(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => any::<(bool, bool)>()
            .prop_map(|(arrives, acknowledged)| Happens::Link { arrives, acknowledged }),
        4 => Just(Happens::Disk),
        1 => Just(Happens::Restart),
        1 => Just(Happens::Pair),
        2 => Just(Happens::Rekey),
        1 => Just(Happens::Swap),
        3 => (1_u64..70).prop_map(Happens::Wait),
    ]
}

struct Model {
    security: Security,
    configured: Option<PanelKey>,
    ring: Keyring,
    entropy: Counting,
    now: Mono,
    disk: KeyRecord,
    devices: [Device; 2],
    here: usize,
    pairs: u32,
    keysets: Vec<Mono>,
    /// The key of the session that is open.
    session: Option<PanelKey>,
}

impl Model {
    fn new(security: Security, configured: Option<PanelKey>) -> Self {
        let record = KeyRecord { from_config: configured.clone(), ..KeyRecord::default() };
        Self {
            security,
            configured,
            ring: Keyring::new(security, record.clone(), None, Vec::new()),
            entropy: Counting(0),
            now: Mono::ZERO + REST,
            disk: record,
            devices: [Device::New, Device::New],
            here: 0,
            pairs: 0,
            keysets: Vec::new(),
            session: None,
        }
    }

    fn happen(&mut self, what: &Happens) {
        match what {
            Happens::Link { arrives, acknowledged } => drop(self.link(*arrives, *acknowledged)),
            Happens::Disk => self.write(),
            Happens::Rekey => self.rekey(),
            Happens::Restart => {
                self.session = None;
                let record = KeyRecord { from_config: self.configured.clone(), ..self.disk.clone() };
                self.ring = Keyring::new(self.security, record, None, Vec::new());
            }
            Happens::Pair => {
                self.pairs += 1;
                self.ring.arm(self.now + Duration::from_secs(600));
            }
            Happens::Swap => {
                self.session = None;
                self.here = 1 - self.here;
            }
            Happens::Wait(seconds) => self.now = self.now + Duration::from_secs(*seconds),
        }
    }

    fn write(&mut self) {
        let (record, version) = self.ring.record();
        self.disk = record.clone();
        self.ring.record_stored(version);
    }

    fn rekey(&mut self) {
        let Some(held) = self.session.clone() else { return };
        let to = self.configured.as_ref().map(|_| {
            let mut key = [0; 16];
            self.entropy.fill(&mut key);
            PanelKey::new(Scbk::new(key)).unwrap()
        });
        if self.ring.rekey(&held, to.clone(), &mut self.entropy).is_ok() && to.is_some() {
            // Where the power fails before the disk has the old key, the file is put back: as if neither had happened.
            self.configured = to;
            self.write();
        }
    }

    /// KEYSET in the session, where it is due.
    fn change(&mut self, held: &PanelKey, arrives: bool, acknowledged: bool) {
        let Some(new) = self.ring.to_set().cloned() else { return };
        let on_disk = self.disk.pending.as_ref() == Some(&new);
        assert!(
            on_disk && self.is_reachable(&Device::Has(held.clone())),
            "a key that is nowhere is to be set"
        );
        self.ring.changing(&new);
        if arrives {
            self.devices[self.here] = Device::Has(new);
        } else if acknowledged {
            self.ring.change_refused();
        }
        self.ring.set();
        self.session = None;
    }

    /// One link; whether it came to a session under an own key.
    fn link(&mut self, arrives: bool, acknowledged: bool) -> bool {
        let Step::Try(candidate) = self.ring.step(self.now, SERIAL, &mut self.entropy) else {
            return false;
        };
        let device = self.devices[self.here].clone();
        match (&candidate, device) {
            (Candidate::Own(key), Device::Has(held)) if *key == held => {
                self.ring.proven(key, SERIAL);
                self.session = Some(key.clone());
                self.change(key, arrives, acknowledged);
                return true;
            }
            (Candidate::Default { then }, Device::New) => {
                let on_disk =
                    self.disk.pending.as_ref() == Some(then) || self.configured.as_ref() == Some(then);
                assert!(on_disk, "a key that is nowhere is to be set");
                self.ring.setting(self.now, then);
                self.keysets.push(self.now);
                if arrives {
                    self.devices[self.here] = Device::Has(then.clone());
                    if acknowledged {
                        self.ring.set();
                    }
                }
            }
            _ => self.ring.failed(self.now, &candidate, SERIAL, Trouble::WrongKey),
        }
        false
    }

    /// The door has a key that the gateway would find again after a power cut now.
    fn is_reachable(&self, device: &Device) -> bool {
        let Device::Has(held) = device else { return true };
        let record = KeyRecord { from_config: self.configured.clone(), ..self.disk.clone() };
        Keyring::new(self.security, record, None, Vec::new()).own(SERIAL).contains(held)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is lost and whenever the power fails: no door without a key that opens it, no key that nobody set, and
    /// not more KEYSET than allowed.
    #[test]
    fn no_door_is_left_without_a_key(
        steps in vec(happens(), 1..80),
        install: bool,
        configured: bool,
    ) {
        let configured = configured.then(|| PanelKey::new(Scbk::new([0xC0; 16])).unwrap());
        let security = if install { Security::Install } else { Security::Required };
        let mut model = Model::new(security, configured);
        let mut paired: Option<usize> = None;
        for step in &steps {
            let before = model.devices.clone();
            model.happen(step);
            for (number, device) in model.devices.clone().iter().enumerate() {
                if *device != before[number] {
                    // A device that was given another one's pending key, or displaced it as the last that was paired.
                    paired = Some(number);
                }
            }
            if matches!(step, Happens::Rekey) && model.session.is_some() {
                // The record is the panel's that is here.
                paired = Some(model.here);
            }
            if let Some(number) = paired {
                prop_assert!(model.is_reachable(&model.devices[number]), "{step:?}: the door is locked out");
            }
            prop_assert!(model.keysets.windows(2).all(|pair| pair[0] <= pair[1]));
            let allowed = usize::from(KEYSETS) * (1 + model.pairs as usize) * (1 + steps.len());
            prop_assert!(model.keysets.len() <= allowed);
            if security == Security::Required && model.pairs == 0 {
                prop_assert!(model.keysets.is_empty(), "nobody asked for pairing");
            }
        }
        // In the end somebody pairs, the disk works and nothing is lost: the panel comes to its key.
        model.happen(&Happens::Disk);
        model.happen(&Happens::Pair);
        let mut tries = 0;
        while !model.link(true, true) {
            model.write();
            model.now = model.now + Duration::from_secs(3);
            tries += 1;
            prop_assert!(tries < 120, "never paired: {:?}", model.devices);
            if let Device::Has(held) = &model.devices[model.here]
                && !model.is_reachable(&Device::Has(held.clone()))
            {
                // Another panel took its place in the record: a reset at the factory is what helps.
                return Ok(());
            }
        }
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);

#[test]
fn a_panel_that_no_key_fits_is_left_alone_for_five_seconds_to_the_nanosecond() {
    let record = KeyRecord { current: known(2), ..KeyRecord::default() };
    let mut ring = Keyring::new(Security::Required, record, None, Vec::new());
    let (now, own) = (Mono::ZERO + REST, Candidate::Own(panel_key(2)));
    for _ in 0..2 {
        assert_eq!(ring.step(now, SERIAL, &mut Counting(0)), Step::Try(own.clone()));
        ring.failed(now, &own, SERIAL, Trouble::WrongKey);
    }
    let until = now + Duration::from_secs(5);
    for early in [now, now + NANOSECOND, until - NANOSECOND] {
        assert_eq!(ring.step(early, SERIAL, &mut Counting(0)), Step::Rest(until));
    }
    assert_eq!(ring.step(until, SERIAL, &mut Counting(0)), Step::Try(own));
}

#[test]
fn the_time_of_panel_pair_ends_to_the_nanosecond() {
    let until = Mono::ZERO + Duration::from_secs(600);
    for (now, may_set) in [(until - NANOSECOND, true), (until, false)] {
        let mut ring = Keyring::new(Security::Required, KeyRecord::default(), None, Vec::new());
        assert!(ring.arm(until));
        let step = ring.step(now, SERIAL, &mut Counting(0));
        assert_eq!(step, if may_set { Step::Store(now + REST) } else { Step::Rest(now + REST) });
    }
}
